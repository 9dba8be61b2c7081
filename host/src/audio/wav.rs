//! WAV files: our own walk over the chunks, hound's decoding of the samples.
//!
//! hound reads a strict header in stream order. Real files have odd-sized chunks with their padding
//! byte, longer `fact` and `fmt ` chunks, wrong byte rates, and data lengths that were never filled
//! in. So the chunks are found here, checked against the size of the file (that is how a truncated
//! file is told), and hound is handed a clean header followed by exactly the bytes wanted. This also
//! makes a part of a long file one seek. Shapes: file in, one channel `(frames)` of f32 out.

use std::{
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use super::{
    Decoded, FileFormat, Range,
    checks::{CONVERT, check_rate, downmix, no_samples, not_a_number, truncated},
};
use crate::{Error, Result};

/// Bytes of `RIFF size WAVE`.
const RIFF_HEADER: u64 = 12;
/// Bytes of a chunk's name and size.
const CHUNK_HEADER: u64 = 8;
/// Bytes of `WAVEFORMATEXTENSIBLE`, the longest format chunk that means anything to us.
const FMT_MAX: usize = 40;
/// Chunks looked at before we give up; a real file has a handful.
const CHUNKS_MAX: usize = 10_000;
/// Data lengths that a program writes when it streams and cannot come back to fill in the real one
/// (ffmpeg: all ones; sox: 2^31 − 1 less the header).
const UNKNOWN_LENGTH: u32 = 0x7fff_f000;

/// Decodes and down-mixes the given part of a WAV file of `length` bytes.
pub(super) fn decode(
    path: &Path,
    file: impl Read + Seek,
    length: u64,
    range: Range,
) -> Result<Decoded> {
    let mut file = BufReader::with_capacity(1 << 16, file);
    let layout = Layout::find(path, &mut file, length)?;
    check_rate(path, layout.rate)?;
    let frame_bytes = u64::from(layout.frame_bytes);
    let present = length - layout.data_at;
    let streamed = layout.data_bytes >= UNKNOWN_LENGTH && u64::from(layout.data_bytes) > present;
    let promised = if streamed { present } else { u64::from(layout.data_bytes) };
    if promised > present {
        return Err(truncated(path, present / frame_bytes, promised / frame_bytes));
    }
    let frames = promised / frame_bytes;
    if frames == 0 {
        return Err(no_samples_or_unfinished(path, present));
    }
    let part = range.frames(path, layout.rate, frames)?;
    file.seek(SeekFrom::Start(layout.data_at + part.start * frame_bytes))
        .map_err(Error::io(path, "read"))?;
    let bytes = (part.end - part.start) * frame_bytes;
    // Fits: `bytes` is at most `promised`, which is a u32 or, streamed, the rest of the file.
    let bytes = u32::try_from(bytes).map_err(|_| {
        Error::input(path, "more than 4 GiB of samples", "split it into shorter files")
    })?;
    if let Some(channels) = layout.pcm16_channels() {
        let samples = pcm16(path, file, bytes, channels)?;
        return Ok(Decoded { samples, rate: layout.rate, format: FileFormat::Wav });
    }
    let header = Cursor::new(layout.clean_header(bytes));
    let reader = hound::WavReader::new(header.chain(file)).map_err(refused(path))?;
    Ok(Decoded { samples: samples(path, reader)?, rate: layout.rate, format: FileFormat::Wav })
}

/// The samples of what nearly every file holds. hound gives the same, one by one, at a tenth of the
/// speed.
fn pcm16(path: &Path, file: impl Read, bytes: u32, channels: usize) -> Result<Vec<f32>> {
    let mut data = Vec::with_capacity(bytes as usize);
    file.take(u64::from(bytes)).read_to_end(&mut data).map_err(Error::io(path, "read"))?;
    let sample = |pair: &[u8; 2]| f32::from(i16::from_le_bytes(*pair));
    let interleaved: Vec<f32> = data.as_chunks().0.iter().map(sample).collect();
    if interleaved.len() * 2 != bytes as usize {
        return Err(truncated(path, (data.len() / 2 / channels) as u64, u64::from(bytes / 2)));
    }
    if channels == 1 {
        return Ok(interleaved);
    }
    Ok(downmix(&interleaved, channels).collect())
}

/// An interrupted recorder leaves a length of zero in front of its sound.
fn no_samples_or_unfinished(path: &Path, present: u64) -> Error {
    if present <= CHUNK_HEADER {
        return no_samples(path);
    }
    Error::input(
        path,
        format!("the header says 0 samples, but {present} bytes follow: recording was interrupted"),
        "repair it with `sox --ignore-length IN.wav OUT.wav`, or record it again",
    )
}

fn refused(path: &Path) -> impl Fn(hound::Error) -> Error {
    move |e| match e {
        hound::Error::IoError(source) => Error::io(path, "read")(source),
        hound::Error::Unsupported | hound::Error::TooWide => {
            Error::input(path, "this kind of WAV (codec or bit depth) is not supported", CONVERT)
        }
        other => Error::input(path, other.to_string(), CONVERT),
    }
}

fn samples<R: Read>(path: &Path, mut reader: hound::WavReader<R>) -> Result<Vec<f32>> {
    let spec = reader.spec();
    let interleaved: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => {
            let full_scale = 32_768.0;
            let all: Result<Vec<f32>, _> =
                reader.samples::<f32>().map(|x| x.map(|x| x * full_scale)).collect();
            all.map_err(refused(path))?
        }
        hound::SampleFormat::Int => {
            // In f64 because 32-bit integers need it; the quotient is an i16 step.
            let unit = f64::from(spec.bits_per_sample) - 16.0;
            let scale = (-unit).exp2();
            let all: Result<Vec<f32>, _> =
                reader.samples::<i32>().map(|x| x.map(|x| (f64::from(x) * scale) as f32)).collect();
            all.map_err(refused(path))?
        }
    };
    if let Some(at) = interleaved.iter().position(|x| !x.is_finite()) {
        return Err(not_a_number(path, at));
    }
    Ok(downmix(&interleaved, usize::from(spec.channels)).collect())
}

/// Where things are in the file.
struct Layout {
    fmt: Vec<u8>,
    rate: u32,
    frame_bytes: u16,
    data_at: u64,
    data_bytes: u32,
}

impl Layout {
    fn find(path: &Path, file: &mut (impl Read + Seek), length: u64) -> Result<Self> {
        let mut at = RIFF_HEADER;
        let mut fmt = None;
        for _ in 0..CHUNKS_MAX {
            if length.saturating_sub(at) < CHUNK_HEADER {
                break;
            }
            let io = Error::io(path, "read");
            let (name, size) = chunk_header(file, at).map_err(io)?;
            let body = at + CHUNK_HEADER;
            match &name {
                b"fmt " => fmt = Some(Self::read_format(path, file, size)?),
                b"data" => {
                    let fmt: Vec<u8> = fmt.ok_or_else(|| {
                        Error::input(path, "the data comes before its format", CONVERT)
                    })?;
                    return Self::checked(path, fmt, body, size);
                }
                _ => {}
            }
            // Chunks are padded to an even length.
            at = body + u64::from(size) + u64::from(size & 1);
        }
        Err(Error::input(
            path,
            format!("the file is truncated: its {length} bytes hold no sound (no `data` chunk)"),
            "copy or record it again, or leave it out",
        ))
    }

    fn read_format(path: &Path, file: &mut impl Read, size: u32) -> Result<Vec<u8>> {
        let mut fmt = Vec::with_capacity(FMT_MAX);
        file.take(u64::from(size).min(FMT_MAX as u64))
            .read_to_end(&mut fmt)
            .map_err(Error::io(path, "read"))?;
        if fmt.len() < 16 {
            return Err(Error::input(path, "the format chunk is too short", CONVERT));
        }
        Ok(fmt)
    }

    fn checked(path: &Path, mut fmt: Vec<u8>, data_at: u64, data_bytes: u32) -> Result<Self> {
        let u16_at = |fmt: &[u8], i: usize| u16::from_le_bytes([fmt[i], fmt[i + 1]]);
        let tag = u16_at(&fmt, 0);
        let channels = u16_at(&fmt, 2);
        let rate = u32::from_le_bytes([fmt[4], fmt[5], fmt[6], fmt[7]]);
        let frame_bytes = u16_at(&fmt, 12);
        if channels == 0 || frame_bytes == 0 || frame_bytes % channels != 0 {
            return Err(Error::input(
                path,
                format!("the header gives {channels} channels in frames of {frame_bytes} bytes"),
                "the header is damaged: record or copy the file again, or leave it out",
            ));
        }
        check_rate(path, rate)?;
        // hound insists on a byte rate that agrees; it is redundant, and often wrong.
        let byte_rate = rate.wrapping_mul(u32::from(frame_bytes));
        fmt[8..12].copy_from_slice(&byte_rate.to_le_bytes());
        // hound takes the bare 16 bytes for PCM and float, and exactly 40 for the extensible form.
        const EXTENSIBLE: u16 = 0xfffe;
        if tag != EXTENSIBLE {
            fmt.truncate(16);
        } else if fmt.len() == FMT_MAX {
            fmt[16..18].copy_from_slice(&22u16.to_le_bytes());
        }
        Ok(Self { fmt, rate, frame_bytes, data_at, data_bytes })
    }

    /// The number of channels, if the samples are 16-bit integers and nothing else.
    fn pcm16_channels(&self) -> Option<usize> {
        const PCM: u16 = 1;
        let u16_at = |i: usize| u16::from_le_bytes([self.fmt[i], self.fmt[i + 1]]);
        let (tag, channels, bits) = (u16_at(0), u16_at(2), u16_at(14));
        let plain = tag == PCM && bits == 16 && self.frame_bytes == channels.checked_mul(2)?;
        plain.then_some(usize::from(channels))
    }

    /// `RIFF`, `fmt ` and the head of `data`, as hound expects them.
    fn clean_header(&self, data_bytes: u32) -> Vec<u8> {
        let fmt_bytes = self.fmt.len() as u32; // at most FMT_MAX
        let mut header = Vec::with_capacity(28 + self.fmt.len());
        header.extend_from_slice(b"RIFF");
        header.extend_from_slice(&data_bytes.saturating_add(fmt_bytes + 20).to_le_bytes());
        header.extend_from_slice(b"WAVEfmt ");
        header.extend_from_slice(&fmt_bytes.to_le_bytes());
        header.extend_from_slice(&self.fmt);
        header.extend_from_slice(b"data");
        header.extend_from_slice(&data_bytes.to_le_bytes());
        header
    }
}

fn chunk_header(file: &mut (impl Read + Seek), at: u64) -> io::Result<([u8; 4], u32)> {
    let mut header = [0; CHUNK_HEADER as usize];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut header)?;
    let [a, b, c, d, size @ ..] = header;
    Ok(([a, b, c, d], u32::from_le_bytes(size)))
}
