#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod activity;
mod checks;
mod error;
pub mod features;
mod format;
mod layout;
pub mod level;
pub mod live;
mod mp4;
mod opus;
mod packets;
mod pcm;
pub mod phrase_span;
mod reader;
mod resample;
mod source;
#[cfg(test)]
mod tests;
mod whole;

pub use error::{Error, FileError, FileProblem, Result};
pub use format::{Content, EXTENSIONS, FORMATS, UNSUPPORTED_EXTENSIONS, content};
pub use reader::AudioReader;

use std::{io::Cursor, path::Path};

use wakeling_core::files;

/// Sample rate of everything past this module, in Hz.
pub const SAMPLE_RATE: u32 = wakeling_shared::timebase::SAMPLE_RATE_HZ as u32;

/// Sample rates that a file may have, in Hz. Outside of this range the header is damaged, or the
/// file is not sound. Telephones use 8,000 and the best converters 768,000.
const PLAUSIBLE_RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Number of i16 steps in a decoder's full scale of 1.
const FULL_SCALE: f32 = 32_768.0;

/// Decoder of a file, block by block, at the file's own rate.
trait Frames: Send {
    /// Appends the next frames to `out`, one channel in units of an i16 step. Returns false if no
    /// frames follow these.
    fn next(&mut self, out: &mut Vec<f32>) -> Result<bool>;

    /// Describes what is missing at the end of the file; complete once the end is reached.
    fn shortfall(&self) -> Option<String>;
}

/// Audio format of a file, detected from its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileFormat {
    /// WAVE, in RIFF, RF64 or Wave64.
    Wav,
    /// FLAC, in any container.
    Flac,
    /// MPEG audio, in any container.
    Mp3,
    /// Vorbis, in Ogg or Matroska.
    Ogg,
    /// Opus, in any container.
    Opus,
    /// Advanced Audio Coding, in any container.
    Aac,
    /// Apple Lossless, in MP4 or CAF.
    Alac,
    /// Uncompressed sound in AIFF.
    Aiff,
    /// Uncompressed sound in CAF.
    Caf,
    /// Sun and NeXT audio.
    Au,
    /// Another codec in MP4 or Matroska.
    Other,
}

/// File inside an uncompressed archive, as a range of bytes of the archive.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Name in the archive.
    pub name: String,
    /// Offset of its first byte in the archive.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Decoded recording, with the rate and the format of its file.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Samples at 16 kHz, mono.
    pub samples: Vec<i16>,
    /// Sample rate of the file, in Hz.
    pub rate_hz: u32,
    /// Format of the file.
    pub format: FileFormat,
    /// Description of what is missing at the end, if the file was cut off.
    pub shortfall: Option<String>,
}

/// Part of a file, in seconds from its start.
#[derive(Clone, Copy)]
struct Range {
    offset_s: f64,
    duration_s: Option<f64>,
}

impl Range {
    const ALL: Self = Self { offset_s: 0.0, duration_s: None };

    fn checked(path: &Path, offset_s: f64, duration_s: Option<f64>) -> Result<Self> {
        let is_time = |t: f64| t.is_finite() && t >= 0.0;
        if is_time(offset_s) && duration_s.is_none_or(is_time) {
            return Ok(Self { offset_s, duration_s });
        }
        Err(FileProblem::NotAPart { offset_s, duration_s }.of(path))
    }

    /// Returns the first frame, and the number of frames from there on.
    fn bounds(self, rate: u32) -> (u64, u64) {
        // `as` saturates, and both factors are finite and not negative.
        let frames = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
        (frames(self.offset_s), self.duration_s.map_or(u64::MAX, frames))
    }

    /// Returns the frames `start..end` of a file of `frames` frames. A duration that reaches beyond
    /// the end is cut there, since manifests round it.
    fn frames(self, path: &Path, rate: u32, frames: u64) -> Result<std::ops::Range<u64>> {
        let (start, length) = self.bounds(rate);
        let end = start.saturating_add(length).min(frames);
        if start >= end {
            let length_s = frames as f64 / f64::from(rate);
            let (offset_s, duration_s) = (self.offset_s, self.duration_s);
            return Err(FileProblem::EmptyPart { offset_s, duration_s, length_s }.of(path));
        }
        Ok(start..end)
    }
}

/// Reads a whole file of one of the [`FORMATS`] as 16 kHz mono. Any rate is accepted, and channels
/// are averaged.
///
/// A file of `n` frames at `r` Hz gives `round(n · 16000 / r)` samples, aligned with the input. If
/// the file was cut off, the samples present are returned, and a line on stderr reports it.
///
/// ```
/// let path = std::env::temp_dir().join(format!("wakeling-read-{}.wav", std::process::id()));
/// let tone: Vec<i16> = (0..16_000).map(|n| (8_000.0 * (n as f32 * 0.17).sin()) as i16).collect();
/// wakeling_audio::write_wav(&path, &tone)?;
/// assert_eq!(wakeling_audio::read(&path)?, tone); // 16 kHz mono passes bit exact
/// assert_eq!(wakeling_audio::read_range(&path, 0.25, Some(0.5))?, tone[4_000..12_000]);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_audio::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] if the file is not audio, is damaged, or holds no sample; [`Error::Core`] if it
/// cannot be read.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<i16>> {
    let path = path.as_ref();
    Ok(logged(path, read_recording(path, None, 0.0, None)?))
}

/// Reads `duration_s` seconds from `offset_s` on, as [`read`] does. `None` reads to the end.
///
/// The part is cut at the file's own rate and resampled alone. A long WAV is therefore read only
/// where it is needed; compressed files are decoded from their start. A duration that reaches
/// beyond the end is cut there.
///
/// # Errors
/// As [`read`], and [`Error::File`] if the part is not a time or holds no sample.
pub fn read_range(
    path: impl AsRef<Path>,
    offset_s: f64,
    duration_s: Option<f64>,
) -> Result<Vec<i16>> {
    let path = path.as_ref();
    Ok(logged(path, read_recording(path, None, offset_s, duration_s)?))
}

/// Logs a shortfall, if there is one, and returns the samples.
fn logged(path: &Path, recording: Recording) -> Vec<i16> {
    if let Some(what) = &recording.shortfall {
        log_shortfall(&path.display().to_string(), what);
    }
    recording.samples
}

/// Logs that a recording was cut off, and that the sound present is used.
pub fn log_shortfall(name: &str, what: &str) {
    log::info!("{name}: the file is cut off ({what}); what is there is used");
}

/// Reads a file, or a file inside an archive, as [`read_range`] does. Also returns the rate and
/// format of the file, and logs nothing.
///
/// # Errors
/// As [`read_range`]. An error about a file inside an archive names the archive and the file.
pub fn read_recording(
    path: impl AsRef<Path>,
    member: Option<&Member>,
    offset_s: f64,
    duration_s: Option<f64>,
) -> Result<Recording> {
    AudioReader::open_part(path, member, offset_s, duration_s)?.collect_recording()
}

/// Rounds to the nearest integer, ties away from zero, and saturates to −32,768 … 32,767.
///
/// ```
/// assert_eq!(wakeling_audio::to_i16(&[0.5, -1.4, 40_000.0]), [1, -1, 32_767]);
/// ```
pub fn to_i16(samples: &[f32]) -> Vec<i16> {
    // `as` saturates, and maps NaN to 0.
    samples.iter().map(|x| x.round() as i16).collect()
}

/// Writes a 16 kHz mono 16-bit WAV atomically (see [`files::write_atomic`]).
///
/// # Errors
/// [`Error::Core`] if the file cannot be written, [`Error::TooLongForWav`] if the samples exceed the 4 GiB of
/// a WAV.
pub fn write_wav(path: impl AsRef<Path>, samples: &[i16]) -> Result<()> {
    const HEADER_BYTES: usize = 44;
    let path = path.as_ref();
    let too_long = || Error::TooLongForWav { samples: samples.len() };
    let bytes = samples.len().checked_mul(2).and_then(|b| b.checked_add(HEADER_BYTES));
    let bytes = bytes.filter(|&b| u32::try_from(b).is_ok()).ok_or_else(too_long)?;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut buffer = Cursor::new(Vec::with_capacity(bytes));
    encode(&mut buffer, spec, samples)
        .map_err(|e| Error::io(path, "write")(std::io::Error::other(e)))?;
    Ok(files::write_atomic(path, &buffer.into_inner())?)
}

fn encode(
    buffer: &mut Cursor<Vec<u8>>,
    spec: hound::WavSpec,
    samples: &[i16],
) -> Result<(), hound::Error> {
    let mut writer = hound::WavWriter::new(buffer, spec)?;
    for &sample in samples {
        writer.write_sample(sample)?;
    }
    writer.finalize()
}
