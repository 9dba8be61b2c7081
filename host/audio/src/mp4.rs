//! Edit lists of MP4 files (ISO/IEC 14496-12, 8.6.6), which state the part of a track that is
//! played.
//!
//! An encoder's first frames contain no recorded sound, and the edit list leaves them out.

use std::io::{self, Read, Seek, SeekFrom};

/// Largest index that is read, in bytes.
const INDEX_MAX: u64 = 1 << 26;
/// Largest number of top-level boxes that is visited.
const BOXES_MAX: usize = 10_000;

/// Part of a track that is played, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Edit {
    pub(super) skip_s: f64,
    pub(super) length_s: Option<f64>,
}

/// Returns the edit of a track, or the whole track if no edit cuts it.
///
/// # Errors
/// Errors from reading the file.
pub(super) fn edit(file: &mut (impl Read + Seek), track: u32) -> io::Result<Edit> {
    let Some(index) = index(file)? else { return Ok(Edit::default()) };
    Ok(edit_in(&index, track).unwrap_or_default())
}

/// Describes what is missing from a file of `length` bytes; none if its last box is whole.
///
/// # Errors
/// Errors from reading the file.
pub(super) fn is_cut(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<String>> {
    let mut cut = None;
    each_box(file, |_, at, end| {
        if end > length {
            cut = Some(format!("the box at byte {at} has {} of {} bytes", length - at, end - at));
        }
        Ok(end <= length)
    })?;
    Ok(cut)
}

/// Reads the body of the box `moov`; none if there is no such box.
fn index(file: &mut (impl Read + Seek)) -> io::Result<Option<Vec<u8>>> {
    let mut found = None;
    each_box(file, |name, body, end| {
        if name == b"moov" {
            found = Some((body, end));
        }
        Ok(found.is_none())
    })?;
    let Some((at, end)) = found else { return Ok(None) };
    let mut body = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.by_ref().take((end - at).min(INDEX_MAX)).read_to_end(&mut body)?;
    Ok(Some(body))
}

/// Visits the top-level boxes of a file until `visit` returns false. `visit` takes the name, the
/// offset of the body and the end. A box without a size reaches to the end of the file and is not
/// visited.
fn each_box(
    file: &mut (impl Read + Seek),
    mut visit: impl FnMut(&[u8], u64, u64) -> io::Result<bool>,
) -> io::Result<()> {
    let mut at = 0u64;
    for _ in 0..BOXES_MAX {
        file.seek(SeekFrom::Start(at))?;
        let mut header = Vec::with_capacity(16);
        file.by_ref().take(16).read_to_end(&mut header)?;
        let (Some(size), Some(name)) = (u32_at(&header, 0), header.get(4..8)) else { break };
        let (header_bytes, size) = match size {
            0 => break,
            1 => (16, u64_at(&header, 8).unwrap_or(0)),
            size => (8, u64::from(size)),
        };
        let Some(end) = at.checked_add(size).filter(|_| size >= header_bytes) else { break };
        if !visit(name, at + header_bytes, end)? {
            break;
        }
        at = end;
    }
    Ok(())
}

fn edit_in(index: &[u8], track: u32) -> Option<Edit> {
    let movie_scale = timescale(child(index, b"mvhd")?)?;
    let track =
        boxes(index).filter(|(name, _)| name == b"trak").map(|(_, body)| body).find(|t| {
            let header = child(t, b"tkhd");
            header.is_some_and(|h| {
                u32_at(h, if h.first() == Some(&1) { 20 } else { 12 }) == Some(track)
            })
        })?;
    let media_scale = timescale(child(child(track, b"mdia")?, b"mdhd")?)?;
    let list = child(child(track, b"edts")?, b"elst")?;
    let is_long = list.first() == Some(&1);
    let entry_bytes = if is_long { 20 } else { 12 };
    let count = u32_at(list, 4)? as usize;
    let mut scored = list.get(8..)?.chunks_exact(entry_bytes).take(count).filter_map(|entry| {
        let (length, begin) = match is_long {
            true => (u64_at(entry, 0)?, u64_at(entry, 8)?.cast_signed()),
            false => (u64::from(u32_at(entry, 0)?), i64::from(u32_at(entry, 4)?.cast_signed())),
        };
        // A negative start is a pause before the sound.
        (begin >= 0).then_some((length, begin))
    });
    let (length, begin) = scored.next()?;
    let skip_s = begin as f64 / f64::from(media_scale);
    // Several parts are played as one. A fragmented file does not state its length in advance.
    let is_single = scored.next().is_none();
    let length_s = length as f64 / f64::from(movie_scale);
    Some(Edit { skip_s, length_s: (is_single && length > 0).then_some(length_s) })
}

/// Units per second, from `mvhd` or `mdhd`.
fn timescale(header: &[u8]) -> Option<u32> {
    u32_at(header, if header.first() == Some(&1) { 20 } else { 12 }).filter(|&scale| scale > 0)
}

fn child<'b>(body: &'b [u8], name: &[u8; 4]) -> Option<&'b [u8]> {
    boxes(body).find(|(found, _)| found == name).map(|(_, body)| body)
}

/// Returns the boxes in a body, with their names.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = u32_at(rest, 0)? as usize;
        let name: [u8; 4] = rest.get(4..8)?.try_into().ok()?;
        let size = if size == 0 { rest.len() } else { size };
        let body = rest.get(8..size)?;
        rest = &rest[size..];
        Some((name, body))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
