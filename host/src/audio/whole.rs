//! Whether an Ogg or MP3 file is all there.
//!
//! Their decoders take the end of the bytes for the end of the sound, so that a copy that broke off
//! reads as a shorter clip whose transcript is then wrong. The containers tell: Ogg marks its last
//! page (RFC 3533, section 6); MP3 states each frame's length (ISO/IEC 11172-3, 2.4.2.3), and most
//! encoders the number of frames in front of the first. An MP3 without that number which was cut
//! exactly between two frames cannot be told from a shorter one.

/// Bytes of a page's header before its segment table.
const PAGE_HEADER: usize = 27;
const LAST_PAGE: u8 = 4;
/// Frames that an encoder may count differently: its own header, and the decoder's delay.
const FRAMES_SLACK: u32 = 2;

/// What is missing of an Ogg file; none if it is whole.
pub(super) fn ogg_is_cut(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    let mut ended = false;
    while rest.starts_with(b"OggS") {
        let at = bytes.len() - rest.len();
        let header = rest.get(..PAGE_HEADER);
        let table = header.and_then(|h| rest.get(PAGE_HEADER..PAGE_HEADER + usize::from(h[26])));
        let (Some(header), Some(table)) = (header, table) else {
            return Some(format!("it ends in the header of the page at byte {at}"));
        };
        let body: usize = table.iter().map(|&length| usize::from(length)).sum();
        let length = PAGE_HEADER + table.len() + body;
        if rest.len() < length {
            return Some(format!("the page at byte {at} has {} of {length} bytes", rest.len()));
        }
        ended = header[5] & LAST_PAGE != 0;
        rest = &rest[length..];
    }
    (!ended).then(|| "its last page is missing".to_owned())
}

/// What is missing of an MP3 file; none if it is whole, or if nobody can tell.
pub(super) fn mp3_is_cut(bytes: &[u8]) -> Option<String> {
    let mut rest = after_id3(bytes)?;
    let (mut frames, mut promised) = (0u32, None);
    while let Some(frame) = Frame::of(rest) {
        if frames == 0 && promised.is_none() {
            promised = frame.promised(rest);
            frames = u32::from(promised.is_none());
        } else {
            frames += 1;
        }
        if rest.len() < frame.bytes {
            return Some(format!("its last frame has {} of {} bytes", rest.len(), frame.bytes));
        }
        rest = &rest[frame.bytes..];
    }
    let promised = promised.filter(|p| frames.saturating_add(FRAMES_SLACK) < *p)?;
    Some(format!("{frames} of {promised} frames are there"))
}

/// What follows tags of ID3v2 (id3.org, "ID3 tag version 2.4.0", section 3.1).
fn after_id3(mut bytes: &[u8]) -> Option<&[u8]> {
    while bytes.starts_with(b"ID3") {
        let size = bytes.get(6..10)?;
        let size = size.iter().fold(0usize, |sum, b| sum << 7 | usize::from(b & 0x7f));
        let footer = if bytes[5] & 0x10 != 0 { 10 } else { 0 };
        bytes = bytes.get(10 + size + footer..)?;
    }
    Some(bytes)
}

/// The header of one frame.
struct Frame {
    bytes: usize,
    /// Where layer III's side information ends, counted from the frame's first byte.
    side_end: usize,
}

impl Frame {
    /// Layer III only, which is what MP3 files hold; none for anything else.
    fn of(bytes: &[u8]) -> Option<Self> {
        const KBPS_1: [usize; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        const KBPS_2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
        let &[0xff, b1, b2, b3, ..] = bytes else { return None };
        if b1 & 0xe6 != 0xe2 {
            return None;
        }
        let version = b1 >> 3 & 3;
        let (first, halvings) = match version {
            3 => (true, 0),
            2 => (false, 1),
            0 => (false, 2),
            _ => return None,
        };
        let kbps = if first { KBPS_1 } else { KBPS_2 };
        let kbps = *kbps.get(usize::from(b2 >> 4).checked_sub(1)?)?;
        let rate = *[44_100usize, 48_000, 32_000].get(usize::from(b2 >> 2 & 3))? >> halvings;
        let samples_by_8 = if first { 144 } else { 72 };
        let padding = usize::from(b2 >> 1 & 1);
        let mono = b3 >> 6 == 3;
        let side = match (first, mono) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        };
        Some(Self { bytes: samples_by_8 * kbps * 1_000 / rate + padding, side_end: 4 + side })
    }

    /// The number of frames that a first frame states (Xing's and LAME's tag, or Fraunhofer's).
    fn promised(&self, bytes: &[u8]) -> Option<u32> {
        let u32_at = |at: usize| -> Option<u32> {
            Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let xing = bytes.get(self.side_end..self.side_end + 4)?;
        if xing == b"Xing" || xing == b"Info" {
            return (u32_at(self.side_end + 4)? & 1 == 1).then(|| u32_at(self.side_end + 8))?;
        }
        (bytes.get(36..40)? == b"VBRI").then(|| u32_at(36 + 14))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of `body` bytes.
    fn page(flags: u8, body: usize) -> Vec<u8> {
        let mut table = vec![255u8; body / 255];
        table.push((body % 255) as u8);
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.resize(26, 7);
        page.push(table.len() as u8);
        page.extend(table);
        page.resize(page.len() + body, 9);
        page
    }

    #[test]
    fn every_cut_of_an_ogg_file_is_told() {
        let whole = [page(2, 30), page(0, 600), page(4, 255)].concat();
        assert_eq!(ogg_is_cut(&whole), None);
        for length in 0..whole.len() {
            assert!(ogg_is_cut(&whole[..length]).is_some(), "{length}");
        }
        // Tags behind the end are no sound.
        assert_eq!(ogg_is_cut(&[&whole[..], b"TAG"].concat()), None);
    }

    /// A frame of MPEG-2 layer III, 16 kHz mono, 32 kbit/s: 144 bytes.
    fn frame(tag: Option<u32>) -> Vec<u8> {
        let mut frame = vec![0xff, 0xf3, 0x48, 0xc0];
        frame.resize(144, 0);
        if let Some(count) = tag {
            frame[13..17].copy_from_slice(b"Info");
            frame[20] = 1;
            frame[21..25].copy_from_slice(&count.to_be_bytes());
        }
        frame
    }

    #[test]
    fn a_cut_mp3_file_is_told() {
        let tagged =
            [b"ID3\x04\0\0\0\0\0\x03abc".to_vec(), frame(Some(9)), frame(None).repeat(9)].concat();
        let bare = frame(None).repeat(9);
        let id3v1 = [&bare[..], b"TAG", &[0; 125]].concat();
        for whole in [&tagged, &bare, &id3v1] {
            assert_eq!(mp3_is_cut(whole), None);
        }
        for length in 20..tagged.len() - FRAMES_SLACK as usize * 144 {
            assert!(mp3_is_cut(&tagged[..length]).is_some(), "{length}");
        }
        for length in (4..bare.len()).filter(|length| length % 144 > 4) {
            assert!(mp3_is_cut(&bare[..length]).is_some(), "{length}");
        }
        assert_eq!(mp3_is_cut(&bare[..144 * 5]), None);
        assert_eq!(mp3_is_cut(b""), None);
    }
}
