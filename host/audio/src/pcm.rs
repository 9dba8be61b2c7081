//! Decodes uncompressed sound from WAV (RIFF, RIFX, RF64), Wave64 and AU, in integers, floats,
//! A-law and µ-law.
//!
//! Real files have odd-sized chunks with their padding byte, longer `fact` and `fmt ` chunks, wrong
//! byte rates, and data lengths that were never filled in. [`layout`](super::layout) finds the
//! chunks and checks them against the size of the file. This module turns the bytes of whole frames
//! into one channel. A part of a long file is reached by one seek.
//!
//! Shapes: bytes of frames in, one channel `(frames)` of f32 in i16 steps out.

use std::{
    io::{BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    Error, FULL_SCALE, Frames, Result,
    checks::{downmix, not_a_number, truncated},
    source::Source,
};

/// Number of bytes decoded at once.
const BLOCK_BYTES: usize = 1 << 16;

/// Storage format of a sample. `big` means big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Unsigned; 128 is zero.
    U8,
    /// Signed, in a container of 1 to 4 bytes. `bits` defines full scale. It is the width of the
    /// container for samples at its top, and the width of the samples for those at its bottom.
    Int { bytes: usize, bits: u32, big: bool },
    /// 32-bit float with a full scale of 1.
    F32 { big: bool },
    /// 64-bit float with a full scale of 1.
    F64 { big: bool },
    /// ITU-T G.711, A-law.
    ALaw,
    /// ITU-T G.711, µ-law.
    MuLaw,
}

impl Coding {
    /// Bytes per sample.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::ALaw | Self::MuLaw => 1,
            Self::Int { bytes, .. } => bytes,
            Self::F32 { .. } => 4,
            Self::F64 { .. } => 8,
        }
    }

    /// Decodes whole samples into units of an i16 step, and appends them to `out`.
    fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::U8 => out.extend(bytes.iter().map(|&b| f32::from(i16::from(b) - 128) * 256.0)),
            Self::ALaw => out.extend(bytes.iter().map(|&b| f32::from(a_law(b)))),
            Self::MuLaw => out.extend(bytes.iter().map(|&b| f32::from(mu_law(b)))),
            Self::Int { bytes: 2, bits: 16, big } => {
                let sample = |pair: &[u8; 2]| match big {
                    true => i16::from_be_bytes(*pair),
                    false => i16::from_le_bytes(*pair),
                };
                out.extend(bytes.as_chunks().0.iter().map(|pair| f32::from(sample(pair))));
            }
            Self::Int { bytes: width, bits, big } => {
                // 32-bit integers need f64; the product is in i16 steps.
                let scale = (16.0 - f64::from(bits)).exp2();
                let sample = |b: &[u8]| (f64::from(integer(b, big)) * scale) as f32;
                out.extend(bytes.chunks_exact(width).map(sample));
            }
            Self::F32 { big } => {
                let sample = |b: &[u8; 4]| match big {
                    true => f32::from_be_bytes(*b),
                    false => f32::from_le_bytes(*b),
                };
                out.extend(bytes.as_chunks().0.iter().map(|b| sample(b) * FULL_SCALE));
            }
            Self::F64 { big } => {
                let sample = |b: &[u8; 8]| match big {
                    true => f64::from_be_bytes(*b),
                    false => f64::from_le_bytes(*b),
                };
                let scale = f64::from(FULL_SCALE);
                out.extend(bytes.as_chunks().0.iter().map(|b| (sample(b) * scale) as f32));
            }
        }
    }
}

/// Decodes a signed integer of 1 to 4 bytes.
pub(super) fn integer(bytes: &[u8], big: bool) -> i32 {
    // The bytes go to the top of an i32, and the shift down extends the sign.
    let mut top = [0; 4];
    let shift = 8 * (4 - bytes.len().min(4)) as u32;
    if big {
        top[..bytes.len()].copy_from_slice(bytes);
        i32::from_be_bytes(top) >> shift
    } else {
        top[4 - bytes.len()..].copy_from_slice(bytes);
        i32::from_le_bytes(top) >> shift
    }
}

/// Decodes ITU-T G.711 A-law (table 1) to 13 bits at the top of 16.
fn a_law(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let (segment, step) = (u32::from(code >> 4 & 7), i16::from(code & 15) << 4);
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

/// Decodes ITU-T G.711 µ-law (table 2) to 14 bits at the top of 16.
fn mu_law(byte: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let code = !byte;
    let (segment, step) = (u32::from(code >> 4 & 7), i16::from(code & 15));
    let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// Position and format of the sound in a file.
#[derive(Clone, Debug)]
pub(super) struct PcmLayout {
    pub(super) coding: Coding,
    pub(super) channels: usize,
    pub(super) rate: u32,
    /// Offset of the first frame, in bytes.
    pub(super) data_at: u64,
    /// Number of whole frames present.
    pub(super) frames: u64,
    /// Description of what is missing at the end.
    pub(super) shortfall: Option<String>,
}

impl PcmLayout {
    pub(super) fn frame_bytes(&self) -> usize {
        self.coding.bytes() * self.channels
    }
}

/// Decoder for a part of uncompressed sound, block by block.
pub(super) struct PcmFrames {
    path: PathBuf,
    file: BufReader<Source>,
    layout: PcmLayout,
    /// Number of frames left to decode.
    left: u64,
    wanted: u64,
    /// Number of samples decoded so far, over all channels.
    decoded: usize,
    bytes: Vec<u8>,
    interleaved: Vec<f32>,
}

impl PcmFrames {
    /// Creates a decoder, and seeks to the first frame of `part`.
    pub(super) fn new(
        path: &Path,
        source: Source,
        layout: PcmLayout,
        part: Range<u64>,
    ) -> Result<Self> {
        let mut file = BufReader::with_capacity(BLOCK_BYTES, source);
        file.seek(SeekFrom::Start(layout.data_at + part.start * layout.frame_bytes() as u64))
            .map_err(Error::io(path, "read"))?;
        let left = part.end - part.start;
        let (bytes, interleaved) = (Vec::new(), Vec::new());
        let path = path.to_owned();
        Ok(Self { path, file, layout, left, wanted: left, decoded: 0, bytes, interleaved })
    }
}

impl Frames for PcmFrames {
    fn next(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        let frame_bytes = self.layout.frame_bytes();
        let most = (BLOCK_BYTES / frame_bytes).max(1) as u64;
        let frames = self.left.min(most);
        self.bytes.resize(frames as usize * frame_bytes, 0);
        self.file.read_exact(&mut self.bytes).map_err(|error| match error.kind() {
            // The file was longer when it was opened.
            std::io::ErrorKind::UnexpectedEof => {
                truncated(&self.path, self.wanted - self.left, self.wanted)
            }
            _ => Error::io(&self.path, "read")(error),
        })?;
        self.left -= frames;
        self.interleaved.clear();
        self.layout.coding.decode(&self.bytes, &mut self.interleaved);
        if let Some(at) = self.interleaved.iter().position(|x| !x.is_finite()) {
            return Err(not_a_number(&self.path, self.decoded + at));
        }
        self.decoded += self.interleaved.len();
        match self.layout.channels {
            1 => out.extend_from_slice(&self.interleaved),
            channels => out.extend(downmix(&self.interleaved, channels)),
        }
        Ok(true)
    }

    fn shortfall(&self) -> Option<String> {
        self.layout.shortfall.clone()
    }
}
