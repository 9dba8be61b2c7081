//! Decodes Opus packets (RFC 6716), with the header that Ogg, Matroska and MP4 carry (RFC 7845,
//! section 5.1).

use ropus::OpusMSDecoder;

/// Sample rate of decoded packets in Hz, whatever rate was encoded.
pub(super) const RATE: u32 = 48_000;
/// Frames of the longest packet, 120 ms.
const LONGEST_PACKET: usize = 5_760;

/// Decoder for one track.
pub(super) struct OpusTrack {
    decoder: OpusMSDecoder,
    pub(super) channels: usize,
    /// Decoded frames that precede the sound.
    pub(super) pre_skip: u64,
    pcm: Vec<i16>,
}

/// Error code of libopus (`opus_defines.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match self.0 {
    -1 => "invalid header",
    -4 => "damaged packet",
    _ => "the decoder failed",
})]
pub(super) struct OpusError(i32);

const BAD_ARGUMENT: OpusError = OpusError(-1);

impl OpusTrack {
    /// Creates a decoder from the header that begins with `OpusHead`. `big` means that its numbers
    /// are big-endian, as in MP4. Without a header, `channels` is the container's count.
    pub(super) fn new(header: &[u8], big: bool, channels: usize) -> Result<Self, OpusError> {
        let header = header.strip_prefix(b"OpusHead").unwrap_or_default();
        let u16_at = |at: usize| {
            let pair = header.get(at..at + 2).and_then(|b| b.try_into().ok()).unwrap_or([0; 2]);
            if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let channels = header.get(1).map_or(channels, |&count| usize::from(count));
        let (streams, coupled, mapping) = match (header.get(10), channels) {
            (None | Some(0), 1) => (1, 0, &[0][..]),
            (None | Some(0), 2) => (1, 1, &[0, 1][..]),
            (Some(1..), 1..) => {
                let mapping = header.get(13..).and_then(|m| m.get(..channels));
                match (header.get(11..13), mapping) {
                    (Some(&[streams, coupled]), Some(mapping)) => (streams, coupled, mapping),
                    _ => return Err(BAD_ARGUMENT),
                }
            }
            _ => return Err(BAD_ARGUMENT),
        };
        let count = i32::try_from(channels).map_err(|_| BAD_ARGUMENT)?;
        let (streams, coupled) = (i32::from(streams), i32::from(coupled));
        let mut decoder = OpusMSDecoder::new(RATE.cast_signed(), count, streams, coupled, mapping)
            .map_err(OpusError)?;
        // The gain is in 1/256 dB. Every value of its type is in range.
        decoder.set_gain(u16_at(8).cast_signed().into());
        let (pre_skip, pcm) = (u64::from(u16_at(2)), vec![0; LONGEST_PACKET * channels]);
        Ok(Self { decoder, channels, pre_skip, pcm })
    }

    /// Decodes a packet to interleaved samples. An empty packet marks lost sound, as long as the
    /// packet before it.
    pub(super) fn decode(&mut self, packet: &[u8]) -> Result<&[i16], OpusError> {
        let frames = match packet {
            [] => self.decoder.get_last_packet_duration(),
            _ => LONGEST_PACKET as i32,
        };
        if frames <= 0 {
            return Ok(&[]);
        }
        let data = (!packet.is_empty()).then_some(packet);
        // A packet of a container is far below 2 GiB; a longer one is rejected.
        let length = i32::try_from(packet.len()).map_err(|_| BAD_ARGUMENT)?;
        let decoded = self.decoder.decode(data, length, &mut self.pcm, frames, false);
        let frames = usize::try_from(decoded.map_err(OpusError)?).unwrap_or(0);
        Ok(&self.pcm[..(frames * self.channels).min(self.pcm.len())])
    }
}
