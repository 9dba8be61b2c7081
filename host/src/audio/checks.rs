//! What every decoder checks, and how it says so.

use std::path::Path;

use super::PLAUSIBLE_RATES;
use crate::{Error, Result};

/// What a user can always do with a file that we cannot read.
pub(super) const CONVERT: &str =
    "convert it with `ffmpeg -i INPUT -ac 1 -ar 16000 -c:a pcm_s16le OUTPUT.wav`, or leave it out";

/// The error for a file that is shorter than its own header says.
pub(super) fn truncated(path: &Path, found: u64, promised: u64) -> Error {
    Error::input(
        path,
        format!("the file is truncated: {found} of {promised} samples per channel are there"),
        "copy or record it again, rewrite it with ffmpeg to keep what is there, or leave it out",
    )
}

/// The error for a file whose header is fine and whose sound is missing.
pub(super) fn no_samples(path: &Path) -> Error {
    Error::input(path, "the file holds no samples", "record it again, or leave it out")
}

/// Averages interleaved channels, frame by frame.
pub(super) fn downmix(interleaved: &[f32], channels: usize) -> impl Iterator<Item = f32> {
    interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / frame.len() as f32)
}

/// The error for a sample that is no number.
pub(super) fn not_a_number(path: &Path, at: usize) -> Error {
    Error::input(path, format!("sample {at} is infinite or not a number"), CONVERT)
}

/// Refuses rates that no recorder has.
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
