//! Packs: other speech and noise, small enough to ship with a base.
//!
//! A pack holds log-mel frames, not sound: 40 numbers every 10 ms in steps of 3 dB. Fine-tuning a
//! head needs no more of what the word is not.
//!
//! File, little-endian: `WKNP`, version `u16`, then a zlib stream (RFC 1950) of
//! `clips: u32`, and for each clip `kind: u8` (0 speech, 1 noise), in version 2 the transcript as
//! `bytes: u32` and UTF-8 (empty if unknown), `frames: u32`, and `frames · 40` bytes: the difference, modulo 256, to the same band one frame earlier (0 before the
//! first) of `round(log₂ power)`.
//! Reading adds an even dither of one step, so that steady sounds are not flat.

use std::{
    io::{Read, Write},
    path::Path,
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_shared::frontend::MEL_CHANNELS;

use crate::{
    Error, Result,
    features::LogMel,
    files,
    negatives::{Negatives, Speech},
};

const MAGIC: &[u8; 4] = b"WKNP";
const VERSION: u16 = 2;
/// Versions that are read.
const READABLE: std::ops::RangeInclusive<u16> = 1..=VERSION;
/// One step, in the Q8 octaves of [`LogMel`]: an octave of power, 3 dB. A band of noise fluctuates
/// more than that from frame to frame.
const STEP: i16 = 256;
/// No pack expands beyond this: a hostile file must not fill the memory.
const LARGEST_BYTES: u64 = 1 << 28;

/// Writes a pack, whole or not at all.
pub fn write(path: &Path, negatives: &Negatives) -> Result<()> {
    files::write_atomic(path, &encode(negatives).map_err(Error::io(path, "write"))?)
}

/// The bytes of a pack.
pub fn encode(negatives: &Negatives) -> std::io::Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    let mut zlib = ZlibEncoder::new(bytes, Compression::best());
    let clips = negatives.speech.len() + negatives.noise.len();
    zlib.write_all(&(clips as u32).to_le_bytes())?;
    let speech = negatives.speech.iter().map(|s| (0u8, s.text.as_str(), &s.frames));
    let noise = negatives.noise.iter().map(|frames| (1, "", frames));
    for (kind, text, clip) in speech.chain(noise) {
        zlib.write_all(&[kind])?;
        zlib.write_all(&(text.len() as u32).to_le_bytes())?;
        zlib.write_all(text.as_bytes())?;
        zlib.write_all(&(clip.len() as u32).to_le_bytes())?;
        let mut last = [0u8; MEL_CHANNELS];
        for frame in clip {
            let coded = frame.map(|x| ((x + STEP / 2).div_euclid(STEP)).clamp(0, 255) as u8);
            let deltas: [u8; MEL_CHANNELS] =
                std::array::from_fn(|c| coded[c].wrapping_sub(last[c]));
            zlib.write_all(&deltas)?;
            last = coded;
        }
    }
    zlib.finish()
}

/// Reads a pack.
///
/// # Errors
/// [`Error::Input`] if the file is no pack, of another version, or damaged.
pub fn read(path: &Path) -> Result<Negatives> {
    let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
    decode(&bytes).map_err(|problem| {
        Error::input(path, problem, "copy it again, or make it again with `wakeling pack`")
    })
}

fn decode(bytes: &[u8]) -> std::result::Result<Negatives, String> {
    let body = bytes.strip_prefix(MAGIC).ok_or("not a pack (it does not begin with WKNP)")?;
    let (version, body) = body.split_first_chunk::<2>().ok_or("truncated")?;
    let version = u16::from_le_bytes(*version);
    if !READABLE.contains(&version) {
        return Err(format!("version {version}, at most {VERSION} expected"));
    }
    let damaged = |_| "damaged or truncated".to_owned();
    let mut raw = Vec::new();
    ZlibDecoder::new(body).take(LARGEST_BYTES).read_to_end(&mut raw).map_err(damaged)?;
    let mut rest = raw.as_slice();
    let mut negatives = Negatives::default();
    let mut rng = StdRng::seed_from_u64(0);
    for _ in 0..number(&mut rest)? {
        let (&kind, after) = rest.split_first().ok_or("truncated")?;
        rest = after;
        let text = if version > 1 { text(&mut rest)? } else { String::new() };
        let frames = number(&mut rest)? as usize;
        let size = frames.checked_mul(MEL_CHANNELS).ok_or("damaged")?;
        let (clip, after) = rest.split_at_checked(size).ok_or("truncated")?;
        rest = after;
        let mut last = [0u8; MEL_CHANNELS];
        let frame = |deltas: &[u8; MEL_CHANNELS]| {
            last = std::array::from_fn(|c| last[c].wrapping_add(deltas[c]));
            last.map(|q| i16::from(q) * STEP + rng.random_range(-STEP / 2..STEP / 2))
        };
        let clip: LogMel = clip.as_chunks::<MEL_CHANNELS>().0.iter().map(frame).collect();
        match kind {
            0 => negatives.speech.push(Speech { frames: clip, text }),
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

    fn negatives() -> Negatives {
        let clip = |seed: u64, frames: usize| -> LogMel {
            let mut rng = StdRng::seed_from_u64(seed);
            (0..frames).map(|_| std::array::from_fn(|_| rng.random_range(0..12_000))).collect()
        };
        let speech =
            |seed, frames, text: &str| Speech { frames: clip(seed, frames), text: text.into() };
        Negatives {
            speech: vec![speech(1, 70, "one 一"), speech(2, 0, "")],
            noise: vec![clip(3, 9)],
        }
    }

    #[test]
    fn a_pack_reads_back_to_within_a_step() {
        let written = negatives();
        let read = decode(&encode(&written).unwrap()).unwrap();
        assert_eq!((read.speech.len(), read.noise.len()), (2, 1));
        assert_eq!(read.speech[0].text, "one 一");
        for (a, b) in written.speech[0].frames.iter().zip(&read.speech[0].frames) {
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= STEP, "{a} {b}");
            }
        }
    }

    #[test]
    fn every_truncation_is_refused_and_no_flip_panics() {
        let bytes = encode(&negatives()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&bytes);
        }
    }
}
