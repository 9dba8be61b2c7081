//! Detection of Ogg, MP3 and AAC files that end too early.
//!
//! Their decoders take the end of the bytes for the end of the sound. A copy that broke off then
//! reads as a shorter clip with a wrong transcript. The containers reveal the cut. Ogg marks its
//! last page (RFC 3533, section 6). MP3 states each frame's length (ISO/IEC 11172-3, 2.4.2.3), and
//! most encoders write the number of frames in front of the first. An MP3 without that number looks
//! like a shorter one if it was cut exactly between two frames.

use std::io::{self, BufRead, Read, Seek};

/// Bytes of a page header before its segment table.
const PAGE_HEADER: usize = 27;
const LAST_PAGE: u8 = 4;
/// Number of frames by which counts may differ: an encoder's own header, and the decoder's delay.
const FRAMES_SLACK: u32 = 2;

/// Describes what is missing from an Ogg file; none if it is whole.
///
/// # Errors
/// Errors from reading the file.
pub(super) fn ogg_is_cut(file: &mut (impl BufRead + Seek)) -> io::Result<Option<String>> {
    let (mut at, mut ended) = (0u64, false);
    let mut header = Vec::with_capacity(PAGE_HEADER + 255);
    loop {
        header.clear();
        file.by_ref().take(PAGE_HEADER as u64).read_to_end(&mut header)?;
        if !header.starts_with(b"OggS") {
            break;
        }
        let segments = header.get(26).copied().map_or(0, usize::from);
        file.by_ref().take(segments as u64).read_to_end(&mut header)?;
        if header.len() < PAGE_HEADER + segments {
            return Ok(Some(format!("it ends in the header of the page at byte {at}")));
        }
        let body: u64 = header[PAGE_HEADER..].iter().map(|&length| u64::from(length)).sum();
        let found = skip(file, body)?;
        let (found, length) = (header.len() as u64 + found, header.len() as u64 + body);
        if found < length {
            return Ok(Some(format!("the page at byte {at} has {found} of {length} bytes")));
        }
        ended = header[5] & LAST_PAGE != 0;
        at += length;
    }
    Ok((!ended).then(|| "its last page is missing".to_owned()))
}

/// Describes what is missing from an MP3 file; none if it is whole, or if that cannot be
/// determined.
///
/// # Errors
/// Errors from reading the file.
pub(super) fn mp3_is_cut(file: &mut (impl BufRead + Seek)) -> io::Result<Option<String>> {
    if !skip_id3(file)? {
        return Ok(None);
    }
    let (mut frames, mut promised) = (0u32, None);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        file.by_ref().take(4).read_to_end(&mut bytes)?;
        let Some(frame) = Frame::of(&bytes) else { break };
        file.by_ref().take(frame.bytes.saturating_sub(4) as u64).read_to_end(&mut bytes)?;
        if frames == 0 && promised.is_none() {
            promised = frame.promised(&bytes);
            frames = u32::from(promised.is_none());
        } else {
            frames += 1;
        }
        if bytes.len() < frame.bytes {
            return Ok(Some(format!(
                "its last frame has {} of {} bytes",
                bytes.len(),
                frame.bytes
            )));
        }
    }
    let promised = promised.filter(|p| frames.saturating_add(FRAMES_SLACK) < *p);
    Ok(promised.map(|promised| format!("{frames} of {promised} frames are there")))
}

/// Describes what is missing from AAC in ADTS frames (ISO/IEC 13818-7, 6.2); none if the file is
/// whole, or if that cannot be determined.
///
/// # Errors
/// Errors from reading the file.
pub(super) fn adts_is_cut(file: &mut (impl BufRead + Seek)) -> io::Result<Option<String>> {
    const HEADER: u64 = 7;
    if !skip_id3(file)? {
        return Ok(None);
    }
    let mut header = Vec::new();
    loop {
        header.clear();
        file.by_ref().take(HEADER).read_to_end(&mut header)?;
        if header.starts_with(&[0xff]) && (header.len() as u64) < HEADER {
            return Ok(Some("it ends in the header of a frame".to_owned()));
        }
        let &[0xff, sync, _, b3, b4, b5, _] = &header[..] else { return Ok(None) };
        if sync & 0xf6 != 0xf0 {
            return Ok(None);
        }
        let length = u64::from(b3 & 3) << 11 | u64::from(b4) << 3 | u64::from(b5) >> 5;
        let found = HEADER + skip(file, length.saturating_sub(HEADER))?;
        if found < length {
            return Ok(Some(format!("its last frame has {found} of {length} bytes")));
        }
    }
}

/// Skips `bytes` bytes; returns the number skipped.
fn skip(file: &mut (impl BufRead + Seek), bytes: u64) -> io::Result<u64> {
    io::copy(&mut file.by_ref().take(bytes), &mut io::sink())
}

/// Skips ID3v2 tags (id3.org, "ID3 tag version 2.4.0", section 3.1). Returns false if the file ends
/// there.
fn skip_id3(file: &mut (impl BufRead + Seek)) -> io::Result<bool> {
    loop {
        let begin = file.stream_position()?;
        let mut header = Vec::new();
        file.by_ref().take(10).read_to_end(&mut header)?;
        if !header.starts_with(b"ID3") {
            file.seek(io::SeekFrom::Start(begin))?;
            return Ok(true);
        }
        let &[.., flags, a, b, c, d] = &header[..] else { return Ok(false) };
        let size = [a, b, c, d].iter().fold(0u64, |sum, b| sum << 7 | u64::from(b & 0x7f));
        let footer = if header.len() == 10 && flags & 0x10 != 0 { 10 } else { 0 };
        if header.len() < 10 || skip(file, size + footer)? < size + footer {
            return Ok(false);
        }
    }
}

/// Header of one frame.
struct Frame {
    bytes: usize,
    /// End of layer III's side information, counted from the frame's first byte.
    side_end: usize,
}

impl Frame {
    /// Parses a header of layer III, the layer of MP3 files; none for anything else.
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

    /// Returns the number of frames that a first frame states (Xing's and LAME's tag, or
    /// Fraunhofer's).
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
    use std::io::Cursor;

    use super::*;

    fn ogg(bytes: &[u8]) -> Option<String> {
        ogg_is_cut(&mut Cursor::new(bytes)).unwrap()
    }

    fn mp3(bytes: &[u8]) -> Option<String> {
        mp3_is_cut(&mut Cursor::new(bytes)).unwrap()
    }

    /// Ogg page with a body of `body` bytes.
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
    fn reports_every_cut_of_an_ogg_file() {
        let whole = [page(2, 30), page(0, 600), page(4, 255)].concat();
        assert_eq!(ogg(&whole), None);
        for length in 0..whole.len() {
            assert!(ogg(&whole[..length]).is_some(), "{length}");
        }
        // Tags behind the end are not sound.
        assert_eq!(ogg(&[&whole[..], b"TAG"].concat()), None);
    }

    /// Frame of MPEG-2 layer III, 16 kHz mono, 32 kbit/s: 144 bytes.
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
    fn reports_a_cut_mp3_file() {
        let tagged =
            [b"ID3\x04\0\0\0\0\0\x03abc".to_vec(), frame(Some(9)), frame(None).repeat(9)].concat();
        let bare = frame(None).repeat(9);
        let id3v1 = [&bare[..], b"TAG", &[0; 125]].concat();
        for whole in [&tagged, &bare, &id3v1] {
            assert_eq!(mp3(whole), None);
        }
        for length in 20..tagged.len() - FRAMES_SLACK as usize * 144 {
            assert!(mp3(&tagged[..length]).is_some(), "{length}");
        }
        for length in (4..bare.len()).filter(|length| length % 144 > 4) {
            assert!(mp3(&bare[..length]).is_some(), "{length}");
        }
        assert_eq!(mp3(&bare[..144 * 5]), None);
        assert_eq!(mp3(b""), None);
    }
}
