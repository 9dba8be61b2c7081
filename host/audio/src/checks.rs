//! Checks and error messages that all decoders share.

use std::path::Path;

use super::{Error, FileProblem, PLAUSIBLE_RATES, Result};

/// Error for a file that is shorter than its header states.
pub(super) fn truncated(path: &Path, found: u64, promised: u64) -> Error {
    FileProblem::Truncated { found, expected: promised }.of(path)
}

/// Error for a file with a valid header and no samples.
pub(super) fn no_samples(path: &Path) -> Error {
    FileProblem::NoSamples.of(path)
}

/// Averages interleaved channels, frame by frame.
pub(super) fn downmix(interleaved: &[f32], channels: usize) -> impl Iterator<Item = f32> {
    interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / frame.len() as f32)
}

/// Error for a sample that is not a finite number.
pub(super) fn not_a_number(path: &Path, at: usize) -> Error {
    FileProblem::undecodable(format!("sample {at} is infinite or not a number")).of(path)
}

/// Rejects sample rates that no recorder has.
pub(super) fn check_rate(path: &Path, rate: u32) -> Result<()> {
    if PLAUSIBLE_RATES.contains(&rate) {
        return Ok(());
    }
    Err(FileProblem::ImplausibleRate { rate }.of(path))
}
