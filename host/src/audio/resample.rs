//! Brings sound to 16 kHz.
//!
//! rubato's FFT resampler: the ratio is fixed and the clip is in memory, so its anti-aliasing filter
//! may be as long as we like. Blocks of at least 128 ms put the filter's edge just below the lower
//! Nyquist frequency. Shapes: `(n)` at `r` Hz in, `(round(n · 16000 / r))` out, delay removed.

use std::path::Path;

use rubato::{
    Fft, FixedSync, Resampler, WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

use super::{Decoded, SAMPLE_RATE};
use crate::{Error, Result};

/// Length of an FFT block, in seconds: 2,048 samples at 16 kHz.
const BLOCK_S: f64 = 0.128;

pub(super) fn to_16k(path: &Path, decoded: Decoded) -> Result<Vec<f32>> {
    let Decoded { samples, rate, .. } = decoded;
    if rate == SAMPLE_RATE {
        return Ok(samples);
    }
    let frames = samples.len();
    let wanted = output_length(frames, rate);
    if wanted == 0 {
        return Err(super::checks::no_samples(path));
    }
    let mut output = run(&samples, rate).map_err(|e| {
        Error::input(
            path,
            format!("cannot be resampled from {rate} Hz: {e}"),
            super::checks::CONVERT,
        )
    })?;
    // rubato rounds the length up.
    output.resize(wanted, 0.0);
    Ok(output)
}

/// `round(n · 16000 / rate)`, in integers.
fn output_length(frames: usize, rate: u32) -> usize {
    let rate = u128::from(rate);
    let scaled = frames as u128 * u128::from(SAMPLE_RATE);
    ((2 * scaled + rate) / (2 * rate)) as usize
}

fn run(samples: &[f32], rate: u32) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    whole(samples, rate, SAMPLE_RATE)
}

/// A whole clip from one rate to another, delay removed; its length is rounded up.
pub(super) fn whole(
    samples: &[f32],
    from: u32,
    to: u32,
) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    let mut resampler = resampler(from, to, BLOCK_S)?;
    let input = InterleavedSlice::new(samples, 1, samples.len())?;
    Ok(resampler.process_all(&input, samples.len(), None)?.take_data())
}

/// A resampler of one channel in blocks of at least `block_s` seconds.
pub(super) fn resampler(
    from: u32,
    to: u32,
    block_s: f64,
) -> Result<Fft<f32>, rubato::ResamplerConstructionError> {
    // The filter is centred on half a block, so the block must be an even multiple of the smallest
    // one that both rates share; otherwise everything shifts by half an input sample.
    let even = 2 * from / greatest_common_divisor(from, to);
    let block = ((f64::from(from) * block_s) as u32).div_ceil(even).max(1) * even;
    let window = WindowFunction::BlackmanHarris2;
    let (from, to) = (from as usize, to as usize);
    Fft::new_custom(from, to, block as usize, 1, 1, window, FixedSync::Both)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
