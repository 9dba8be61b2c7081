//! Checks and error messages that all decoders share.

use std::path::Path;

use super::PLAUSIBLE_RATES;
use wakeling_core::{Error, Result};

/// Remedy for a file that cannot be decoded.
pub(super) const CONVERT: &str =
    "convert it with `ffmpeg -i INPUT -ac 1 -ar 16000 -c:a pcm_s16le OUTPUT.wav`, or leave it out";

/// Error for a file that is shorter than its header states.
pub(super) fn truncated(path: &Path, found: u64, promised: u64) -> Error {
    Error::input(
        path,
        format!("the file is truncated: {found} of {promised} samples per channel are there"),
        "copy or record it again, rewrite it with ffmpeg to keep what is there, or leave it out",
    )
}

/// Error for a file with a valid header and no samples.
pub(super) fn no_samples(path: &Path) -> Error {
    Error::input(path, "the file holds no samples", "record it again, or leave it out")
}

/// Averages interleaved channels, frame by frame.
pub(super) fn downmix(interleaved: &[f32], channels: usize) -> impl Iterator<Item = f32> {
    interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / frame.len() as f32)
}

/// Error for a sample that is not a finite number.
pub(super) fn not_a_number(path: &Path, at: usize) -> Error {
    Error::input(path, format!("sample {at} is infinite or not a number"), CONVERT)
}

/// Rejects sample rates that no recorder has.
pub(super) fn check_rate(path: &Path, rate: u32) -> Result<()> {
    if PLAUSIBLE_RATES.contains(&rate) {
        return Ok(());
    }
    Err(Error::input(
        path,
        format!(
            "the header gives a sample rate of {rate} Hz; {} to {} Hz are plausible",
            PLAUSIBLE_RATES.start(),
            PLAUSIBLE_RATES.end()
        ),
        "the header is probably damaged: record or copy the file again, or leave it out",
    ))
}
