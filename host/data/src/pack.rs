//! Packs: compressed negative speech and noise, small enough to ship with a pretrained model.
//!
//! A pack holds log-mel frames, not audio: 40 numbers every 20 ms in steps of 3 dB. Fine-tuning a
//! head needs no finer negative data.
//!
//! File, little-endian: `WKNP`, version `u16`, CRC-32 `u32` of all that follows, then `length: u32`
//! of a zlib stream (RFC 1950), the stream, and the frames of all clips as the module `frames` encodes them.
//! The stream holds `clips: u32`, and for each clip `kind: u8` (0 speech, 1 noise), the transcript
//! as `bytes: u32` and UTF-8 (empty if unknown), and `frames: u32` of 10 ms.
//!
//! Versions 1 and 2 are not supported. They had a frame every 10 ms, and half of the speech in the
//! same number of bytes.

mod frames;
mod range;

use std::{
    io::{Read, Write},
    path::Path,
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use rand::{SeedableRng, rngs::StdRng};

use crate::negatives::{Negatives, SpeechClip};
use crate::{Error, Result};
use wakeling_audio::features::LogMel;
use wakeling_core::files;

const MAGIC: &[u8; 4] = b"WKNP";
const VERSION: u16 = 3;
/// Maximum number of frames of a pack, a hundred hours. A malicious file must not exhaust the
/// memory.
const MOST_FRAMES: usize = 36_000_000;
/// Maximum size of the table of clips, in bytes.
const LARGEST_TABLE: u64 = 1 << 26;

/// Writes a pack atomically.
pub fn write(path: &Path, negatives: &Negatives) -> Result<()> {
    Ok(files::write_atomic(path, &encode(negatives).map_err(Error::io(path, "write"))?)?)
}

/// Encodes a pack.
///
/// ```
/// use wakeling_data::{negatives::{Negatives, SpeechClip}, pack};
///
/// let speech = SpeechClip { frames: vec![[20 * 256; 40]; 400], text: "good morning".into() };
/// let negatives = Negatives { speech: vec![speech], noise: vec![] };
/// let path = std::env::temp_dir().join(format!("wakeling-pack-{}.pack", std::process::id()));
/// pack::write(&path, &negatives)?;
/// assert!(std::fs::metadata(&path).unwrap().len() < 2_000); // instead of 32,000 bytes of frames
/// let read = pack::read(&path)?;
/// assert_eq!((read.speech[0].text.as_str(), read.speech[0].frames.len()), ("good morning", 400));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_data::Error>(())
/// ```
pub fn encode(negatives: &Negatives) -> std::io::Result<Vec<u8>> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    let clips = negatives.speech.len() + negatives.noise.len();
    zlib.write_all(&(clips as u32).to_le_bytes())?;
    let speech = negatives.speech.iter().map(|s| (0u8, s.text.as_str(), &s.frames));
    let noise = negatives.noise.iter().map(|frames| (1, "", frames));
    let all: Vec<(u8, &str, &LogMel)> = speech.chain(noise).collect();
    for (kind, text, clip) in &all {
        zlib.write_all(&[*kind])?;
        zlib.write_all(&(text.len() as u32).to_le_bytes())?;
        zlib.write_all(text.as_bytes())?;
        zlib.write_all(&(clip.len() as u32).to_le_bytes())?;
    }
    let table = zlib.finish()?;
    let mut body = (table.len() as u32).to_le_bytes().to_vec();
    body.extend(table);
    body.extend(frames::encode(all.iter().map(|(_, _, clip)| *clip)));
    Ok(sealed(&body))
}

/// Adds magic, version and checksum before a body.
fn sealed(body: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), &crc32(body).to_le_bytes(), body].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Reads a pack.
///
/// # Errors
/// [`Error::InvalidPack`] if the file is no pack, has another version, or is damaged; [`Error::Core`] if it
/// cannot be read.
pub fn read(path: &Path) -> Result<Negatives> {
    let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
    decode(&bytes).map_err(|problem| Error::InvalidPack { path: path.to_owned(), problem })
}

fn decode(bytes: &[u8]) -> std::result::Result<Negatives, String> {
    let body = bytes.strip_prefix(MAGIC).ok_or("not a pack (it does not begin with WKNP)")?;
    let (version, body) = body.split_first_chunk::<2>().ok_or("truncated")?;
    let version = u16::from_le_bytes(*version);
    if version != VERSION {
        return Err(format!("version {version}, {VERSION} expected"));
    }
    let (crc, body) = body.split_first_chunk::<4>().ok_or("truncated")?;
    if crc32(body) != u32::from_le_bytes(*crc) {
        return Err("damaged or truncated".into());
    }
    let mut rest = body;
    let length = number(&mut rest)? as usize;
    let (table, coded) = rest.split_at_checked(length).ok_or("truncated")?;
    let mut raw = Vec::new();
    let damaged = |_| "damaged".to_owned();
    ZlibDecoder::new(table).take(LARGEST_TABLE).read_to_end(&mut raw).map_err(damaged)?;
    let mut rest = raw.as_slice();
    let mut negatives = Negatives::default();
    let mut rng = StdRng::seed_from_u64(0);
    let mut clips = frames::Clips::new(coded);
    let mut frames_left = MOST_FRAMES;
    for _ in 0..number(&mut rest)? {
        let (&kind, after) = rest.split_first().ok_or("truncated")?;
        rest = after;
        let text = text(&mut rest)?;
        let frames = number(&mut rest)? as usize;
        frames_left = frames_left.checked_sub(frames).ok_or("more than a hundred hours")?;
        let clip = clips.next(frames, &mut rng).ok_or("it ends before its clips do")?;
        match kind {
            0 => negatives.speech.push(SpeechClip { frames: clip, text }),
            1 => negatives.noise.push(clip),
            other => return Err(format!("a clip of unknown kind {other}")),
        }
    }
    Ok(negatives)
}

fn text(rest: &mut &[u8]) -> std::result::Result<String, String> {
    let length = number(rest)? as usize;
    let (bytes, after) = rest.split_at_checked(length).ok_or("truncated")?;
    *rest = after;
    String::from_utf8(bytes.to_vec()).map_err(|_| "damaged".to_owned())
}

fn number(rest: &mut &[u8]) -> std::result::Result<u32, String> {
    let (bytes, after) = rest.split_first_chunk::<4>().ok_or("truncated")?;
    *rest = after;
    Ok(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn negatives() -> Negatives {
        let clip = |seed: u64, frames: usize| -> LogMel {
            let mut rng = StdRng::seed_from_u64(seed);
            (0..frames).map(|_| std::array::from_fn(|_| rng.random_range(0..12_000))).collect()
        };
        let speech =
            |seed, frames, text: &str| SpeechClip { frames: clip(seed, frames), text: text.into() };
        Negatives {
            speech: vec![speech(1, 70, "one 一"), speech(2, 0, "")],
            noise: vec![clip(3, 9)],
        }
    }

    #[test]
    fn a_pack_reads_back() {
        let read = decode(&encode(&negatives()).unwrap()).unwrap();
        assert_eq!((read.speech.len(), read.noise.len()), (2, 1));
        assert_eq!(read.speech[0].text, "one 一");
        let lengths =
            [read.speech[0].frames.len(), read.speech[1].frames.len(), read.noise[0].len()];
        assert_eq!(lengths, [70, 0, 9]);
    }

    #[test]
    fn every_truncation_and_every_flip_is_refused() {
        let bytes = encode(&negatives()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "{bit}");
        }
    }

    #[test]
    fn a_clip_longer_than_the_frames_that_are_there_is_refused() {
        let bytes = encode(&negatives()).unwrap();
        let length = u32::from_le_bytes(bytes[10..14].try_into().unwrap()) as usize;
        let mut table = Vec::new();
        ZlibDecoder::new(&bytes[14..14 + length]).read_to_end(&mut table).unwrap();
        let last = table.len() - 4;
        table[last..].copy_from_slice(&30_000_000u32.to_le_bytes());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&table).unwrap();
        let table = zlib.finish().unwrap();
        let body =
            [&(table.len() as u32).to_le_bytes(), &table[..], &bytes[14 + length..]].concat();
        let forged = sealed(&body);
        assert_eq!(decode(&forged).err().as_deref(), Some("it ends before its clips do"));
    }

    #[test]
    fn a_forged_body_with_the_right_checksum_does_not_panic() {
        let bytes = encode(&negatives()).unwrap();
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..300 {
            let mut bytes = bytes.clone();
            let at = rng.random_range(10..bytes.len());
            bytes[at] = rng.random();
            let _ = decode(&sealed(&bytes[10..]));
        }
    }
}
