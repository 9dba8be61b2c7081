//! Converts sound from a device to 16 kHz mono, and 16 kHz mono to the rate of a playback device.
//!
//! The resampling filter is that for files, with shorter blocks. A block of 32 ms and half a block
//! of filter delay give a latency of about 48 ms. The filter's edge is still above 7.5 kHz, where
//! the features end. Sound at 16 kHz with one channel passes bit exact.
//!
//! Shapes: interleaved `(frames · channels)` at any rate in, `(samples)` at 16 kHz out.

use rubato::{Fft, Resampler, audioadapter_buffers::direct::InterleavedSlice};

use super::{Error, PLAUSIBLE_RATES, Result, SAMPLE_RATE, checks::downmix, resample, to_i16};

/// Length of a block, in seconds.
const BLOCK_S: f64 = 0.032;

/// Converts the sound of one device to 16 kHz mono, block by block.
///
/// ```
/// use wakeling_audio::live::Live;
///
/// let mut live = Live::new(48_000, 2)?; // a stereo microphone
/// let mut pcm = Vec::new();
/// for block in vec![1_000.0; 2 * 48_000].chunks(1_024) { // a second, interleaved
///     live.push(block, &mut pcm);
/// }
/// assert!((15_000..=16_000).contains(&pcm.len())); // the last 48 ms are still inside
/// assert!(pcm[8_000].abs_diff(1_000) <= 1);
/// # Ok::<(), wakeling_audio::Error>(())
/// ```
pub struct Live {
    channels: usize,
    resampler: Option<Fft<f32>>,
    /// Mono samples at the device's rate that do not fill a block yet.
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Samples of resampler delay that are still to be dropped.
    skip: usize,
}

impl Live {
    /// Creates a converter for a device with `rate` in Hz and this number of channels.
    ///
    /// # Errors
    /// [`Error::MicrophoneFormat`] if the rate is implausible or if there is no channel;
    /// [`Error::MicrophoneRate`] if the rate cannot be resampled.
    pub fn new(rate: u32, channels: u16) -> Result<Self> {
        if channels == 0 || !PLAUSIBLE_RATES.contains(&rate) {
            return Err(Error::MicrophoneFormat { channels, rate });
        }
        let resampler = match rate {
            SAMPLE_RATE => None,
            _ => Some(
                resample::resampler(rate, SAMPLE_RATE, BLOCK_S)
                    .map_err(|e| Error::MicrophoneRate { rate, reason: e.to_string() })?,
            ),
        };
        Ok(Self {
            channels: usize::from(channels),
            block: vec![0.0; resampler.as_ref().map_or(0, |r| r.output_frames_max())],
            skip: resampler.as_ref().map_or(0, |r| r.output_delay()),
            resampler,
            pending: Vec::new(),
        })
    }

    /// Takes interleaved frames in units of an i16 step, and appends the samples that they complete
    /// to `out`.
    pub fn push(&mut self, interleaved: &[f32], out: &mut Vec<i16>) {
        let Some(resampler) = &mut self.resampler else {
            self.pending.extend(downmix(interleaved, self.channels));
            out.extend(to_i16(&self.pending));
            self.pending.clear();
            return;
        };
        self.pending.extend(downmix(interleaved, self.channels));
        let mut taken = 0;
        while let Some(input) = self.pending.get(taken..taken + resampler.input_frames_next()) {
            taken += input.len();
            let frames = self.block.len();
            let written = InterleavedSlice::new(input, 1, input.len())
                .and_then(|input| {
                    Ok((input, InterleavedSlice::new_mut(&mut self.block, 1, frames)?))
                })
                .ok()
                .and_then(|(input, mut output)| {
                    resampler.process_into_buffer(&input, &mut output, None).ok()
                });
            // rubato rejects only buffers that are too short, and these have the sizes that it
            // gave.
            let written = written.map_or(0, |(_, written)| written);
            let skipped = self.skip.min(written);
            self.skip -= skipped;
            out.extend(to_i16(&self.block[skipped..written]));
        }
        self.pending.drain(..taken);
    }
}

/// Resamples 16 kHz mono to `rate` Hz for playback, in units of full scale, −1 … 1.
///
/// # Errors
/// [`Error::PlaybackRate`] if the rate is not supported.
pub fn for_playback(pcm: &[i16], rate: u32) -> Result<Vec<f32>> {
    let samples: Vec<f32> = pcm.iter().map(|&s| f32::from(s) / 32_768.0).collect();
    if rate == SAMPLE_RATE || samples.is_empty() {
        return Ok(samples);
    }
    resample::whole(&samples, SAMPLE_RATE, rate)
        .map_err(|e| Error::PlaybackRate { rate, reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes a tone of 1 kHz in every channel, in blocks of varying length, and returns the
    /// output.
    fn resampled(rate: u32, channels: u16, seconds: f64) -> Vec<i16> {
        let frames = (f64::from(rate) * seconds) as usize;
        let tone = |i: usize| (std::f32::consts::TAU * 1_000.0 * i as f32 / rate as f32).sin();
        let sound: Vec<f32> = (0..frames)
            .flat_map(|i| std::iter::repeat_n(8_000.0 * tone(i), usize::from(channels)))
            .collect();
        let mut live = Live::new(rate, channels).unwrap();
        let (mut out, mut rest, mut length) = (Vec::new(), &sound[..], 1);
        while !rest.is_empty() {
            let (block, others) = rest.split_at((length * usize::from(channels)).min(rest.len()));
            live.push(block, &mut out);
            (rest, length) = (others, length * 7 % 1_931 + 1);
        }
        out
    }

    #[test]
    fn every_rate_and_count_of_channels_becomes_16_khz_mono_in_time() {
        for (rate, channels) in
            [(8_000, 1), (16_000, 1), (44_100, 2), (48_000, 1), (48_000, 6), (192_000, 2)]
        {
            let out = resampled(rate, channels, 1.0);
            assert!(out.len() <= 16_000 && out.len() > 14_500, "{rate} Hz: {}", out.len());
            // The output is in phase with the tone at 16 kHz, except at the ends.
            for (i, &found) in out.iter().enumerate().take(14_000).skip(1_000) {
                let expected = 8_000.0 * (std::f32::consts::TAU * i as f32 / 16.0).sin();
                assert!((f32::from(found) - expected).abs() < 90.0, "{rate} Hz, {i}: {found}");
            }
        }
    }

    #[test]
    fn sixteen_khz_mono_is_bit_exact() {
        let pcm: Vec<f32> = (-32_768..32_768).map(|i| i as f32).collect();
        let mut out = Vec::new();
        Live::new(16_000, 1).unwrap().push(&pcm, &mut out);
        assert!(out.iter().zip(i16::MIN..=i16::MAX).all(|(&a, b)| a == b));
    }

    #[test]
    fn no_device_has_no_channel_or_no_rate() {
        assert!(Live::new(16_000, 0).is_err() && Live::new(0, 1).is_err());
    }

    #[test]
    fn resampled_output_has_the_length_of_its_input() {
        let pcm: Vec<i16> = (0..16_000).map(|i| ((i % 100) * 50) as i16).collect();
        for rate in [16_000, 44_100, 48_000] {
            let playback = for_playback(&pcm, rate).unwrap();
            assert!(playback.len().abs_diff(rate as usize) < 2, "{rate}: {}", playback.len());
        }
    }
}
