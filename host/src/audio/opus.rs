//! Opus packets (RFC 6716), with the header that Ogg, Matroska and MP4 carry (RFC 7845, section 5.1).

use opus_decoder::{OpusDecoder, OpusError, OpusMultistreamDecoder};

/// The rate to which packets are decoded, whatever was encoded.
pub(super) const RATE: u32 = 48_000;
/// Frames of the longest packet, 120 ms.
const LONGEST_PACKET: usize = 5_760;

/// Decoder of one track.
pub(super) struct OpusTrack {
    decoder: Streams,
    pub(super) channels: usize,
    /// Frames before the sound.
    pub(super) pre_skip: u64,
    gain: f32,
    pcm: Vec<f32>,
}

enum Streams {
    One(Box<OpusDecoder>),
    Several(Box<OpusMultistreamDecoder>),
}

impl OpusTrack {
    /// Reads the header that begins with `OpusHead`; `big` where numbers in it are big-endian, as in
    /// MP4. Without a header, `channels` is what the container says.
    pub(super) fn new(header: &[u8], big: bool, channels: usize) -> Result<Self, OpusError> {
        let header = header.strip_prefix(b"OpusHead").unwrap_or_default();
        let u16_at = |at: usize| {
            let pair = header.get(at..at + 2).and_then(|b| b.try_into().ok()).unwrap_or([0; 2]);
            if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let channels = header.get(1).map_or(channels, |&count| usize::from(count));
        let gain_db = f32::from(u16_at(8).cast_signed()) / 256.0;
        let decoder = match header.get(10) {
            None | Some(0) => Streams::One(Box::new(OpusDecoder::new(RATE, channels)?)),
            Some(_) => {
                let mapping = header.get(13..).and_then(|m| m.get(..channels));
                let (&[streams, coupled], Some(mapping)) =
                    (header.get(11..13).unwrap_or_default(), mapping)
                else {
                    return Err(OpusError::InvalidArgument("channel mapping"));
                };
                let (streams, coupled) = (usize::from(streams), usize::from(coupled));
                let decoder =
                    OpusMultistreamDecoder::new(RATE, channels, streams, coupled, mapping)?;
                Streams::Several(Box::new(decoder))
            }
        };
        Ok(Self {
            decoder,
            channels,
            pre_skip: u64::from(u16_at(2)),
            gain: 10f32.powf(gain_db / 20.0),
            pcm: vec![0.0; LONGEST_PACKET * channels],
        })
    }

    /// Decodes a packet; interleaved, full scale is 1. An empty packet is lost sound.
    pub(super) fn decode(&mut self, packet: &[u8]) -> Result<&[f32], OpusError> {
        let frames = match &mut self.decoder {
            Streams::One(decoder) => decoder.decode_float(packet, &mut self.pcm, false)?,
            Streams::Several(decoder) => decoder.decode_float(packet, &mut self.pcm, false)?,
        };
        let samples = (frames * self.channels).min(self.pcm.len());
        let decoded = &mut self.pcm[..samples];
        // Exactly one where no gain is asked for.
        if self.gain != 1.0 {
            decoded.iter_mut().for_each(|x| *x *= self.gain);
        }
        Ok(decoded)
    }
}
