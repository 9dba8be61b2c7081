//! Resamples sound to 16 kHz with rubato's FFT resampler.
//!
//! The ratio is fixed and latency does not matter for a clip, so the anti-aliasing filter may be
//! long. Blocks of at least 128 ms put the filter's edge just below the lower Nyquist frequency.
//!
//! Shapes: `(n)` at `r` Hz in, `(round(n · 16000 / r))` out, delay removed.

use std::path::Path;

use rubato::{
    Fft, FixedSync, Indexing, Resampler, WindowFunction,
    audioadapter_buffers::direct::InterleavedSlice,
};

use super::{Error, FileProblem, Result, SAMPLE_RATE};

/// Length of an FFT block, in seconds: 2,048 samples at 16 kHz.
const BLOCK_S: f64 = 0.128;

/// Resamples one clip to 16 kHz, block by block. The sizes of the input blocks do not change the
/// result.
pub(super) struct Stream {
    rate: u32,
    /// None at 16 kHz.
    resampler: Option<Fft<f32>>,
    /// Input samples that do not fill a block yet.
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Samples of resampler delay that are still to be dropped.
    skip: usize,
    frames_in: u64,
    frames_out: u64,
}

impl Stream {
    /// Creates a resampler for a clip of this rate in Hz.
    pub(super) fn new(path: &Path, rate: u32) -> Result<Self> {
        let resampler = match rate {
            SAMPLE_RATE => None,
            _ => Some(resampler(rate, SAMPLE_RATE, BLOCK_S).map_err(|e| refused(path, rate, &e))?),
        };
        Ok(Self {
            rate,
            pending: Vec::new(),
            block: vec![0.0; resampler.as_ref().map_or(0, |r| r.output_frames_max())],
            skip: resampler.as_ref().map_or(0, |r| r.output_delay()),
            resampler,
            frames_in: 0,
            frames_out: 0,
        })
    }

    /// Takes samples, and appends those that they complete to `out`.
    pub(super) fn push(&mut self, path: &Path, samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        self.frames_in += samples.len() as u64;
        let Some(length) = self.resampler.as_ref().map(|r| r.input_frames_next()) else {
            self.frames_out += samples.len() as u64;
            out.extend_from_slice(samples);
            return Ok(());
        };
        self.pending.extend_from_slice(samples);
        let mut taken = 0;
        // A block that may be the last one is kept back, since `finish` treats the last one apart.
        while self.pending.len() - taken > length {
            self.run(path, taken..taken + length, out)?;
            taken += length;
        }
        self.pending.drain(..taken);
        Ok(())
    }

    /// Appends the remaining samples after all input. The total is then [`output_length`].
    pub(super) fn finish(&mut self, path: &Path, out: &mut Vec<f32>) -> Result<()> {
        let wanted = output_length(self.frames_in, self.rate);
        let last = 0..self.pending.len();
        if self.resampler.is_some() && !last.is_empty() {
            self.run(path, last, out)?;
        }
        while self.resampler.is_some() && self.frames_out < wanted {
            self.run(path, 0..0, out)?;
        }
        let surplus = self.frames_out.saturating_sub(wanted) as usize;
        out.truncate(out.len().saturating_sub(surplus));
        self.frames_out = wanted;
        Ok(())
    }

    /// Resamples one block of the pending samples. A short block is padded with zeros.
    fn run(&mut self, path: &Path, part: std::ops::Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let (rate, input) = (self.rate, &self.pending[part]);
        let Some(resampler) = &mut self.resampler else { return Ok(()) };
        let is_short = input.len() < resampler.input_frames_next();
        let indexing = is_short.then_some(Indexing {
            input_offset: 0,
            output_offset: 0,
            active_channels_mask: None,
            partial_len: Some(input.len()),
        });
        let room = self.block.len();
        let mut run = || -> Result<usize, Box<dyn std::error::Error>> {
            let input = InterleavedSlice::new(input, 1, input.len())?;
            let mut output = InterleavedSlice::new_mut(&mut self.block, 1, room)?;
            Ok(resampler.process_into_buffer(&input, &mut output, indexing.as_ref())?.1)
        };
        let written = run().map_err(|e| refused(path, rate, e.as_ref()))?;
        let skipped = self.skip.min(written);
        self.skip -= skipped;
        out.extend_from_slice(&self.block[skipped..written]);
        self.frames_out += (written - skipped) as u64;
        Ok(())
    }
}

fn refused(path: &Path, rate: u32, error: &dyn std::error::Error) -> Error {
    FileProblem::undecodable(format!("cannot be resampled from {rate} Hz: {error}")).of(path)
}

/// Returns `round(n · 16000 / rate)`, in integer arithmetic.
fn output_length(frames: u64, rate: u32) -> u64 {
    let rate = u128::from(rate);
    let scaled = u128::from(frames) * u128::from(SAMPLE_RATE);
    ((2 * scaled + rate) / (2 * rate)) as u64
}

/// Resamples a whole clip and removes the delay. The length is rounded up.
pub(super) fn whole(
    samples: &[f32],
    from: u32,
    to: u32,
) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    let mut resampler = resampler(from, to, BLOCK_S)?;
    let input = InterleavedSlice::new(samples, 1, samples.len())?;
    Ok(resampler.process_all(&input, samples.len(), None)?.take_data())
}

/// Creates a resampler for one channel in blocks of at least `block_s` seconds.
pub(super) fn resampler(
    from: u32,
    to: u32,
    block_s: f64,
) -> Result<Fft<f32>, rubato::ResamplerConstructionError> {
    // The filter is centred on half a block, so the block must be an even multiple of the smallest
    // one that both rates share. Otherwise everything shifts by half an input sample.
    let even = 2 * from / greatest_common_divisor(from, to);
    let block = ((f64::from(from) * block_s) as u32).div_ceil(even).max(1) * even;
    let window = WindowFunction::BlackmanHarris2;
    let (from, to) = (from as usize, to as usize);
    Fft::new_custom(from, to, block as usize, 1, 1, window, FixedSync::Both)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
