//! Levels of sound, and detection of clipping.
//!
//! Levels are in dB of full scale (dBFS): `20 · log₁₀(x / 32,768)` of a peak or of a root mean
//! square. A full-scale sine has a peak of 0 and a root mean square of −3.

use std::collections::VecDeque;

use crate::SAMPLE_RATE;

/// Level of silence in dBFS.
pub const SILENCE_DB: f32 = -96.0;
/// Lowest peak of a usable phrase in dBFS. Below it, samples use only about ten of their sixteen
/// bits.
pub const QUIET_DB: f32 = -36.0;
/// Smallest magnitude that counts as the converter's limit; some end a little below full scale.
const RAIL: u16 = 32_600;
/// Number of such samples in a row that are clipping; a single one may be a peak that just fits.
const CLIPPED_RUN: usize = 3;
/// Seconds for which the meter holds a peak or a warning.
const HOLD_S: usize = 1;

/// Converts a magnitude in i16 steps to dBFS, at least [`SILENCE_DB`].
pub fn decibels(steps: f32) -> f32 {
    (20.0 * (steps / 32_768.0).log10()).max(SILENCE_DB)
}

/// Level of a stretch of sound.
///
/// ```
/// use wakeling_audio::level::Level;
///
/// let sine = |peak: f32| (0..16_000).map(|n| (peak * (n as f32 * 0.1).sin()) as i16).collect::<Vec<_>>();
/// let level = Level::of(&sine(3_276.8)); // a tenth of full scale
/// assert!((level.peak_db + 20.0).abs() < 0.1 && (level.rms_db + 23.0).abs() < 0.1);
/// assert!(!level.is_clipped && Level::of(&sine(60_000.0)).is_clipped);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Magnitude of the largest sample, in dBFS.
    pub peak_db: f32,
    /// Root mean square, in dBFS.
    pub rms_db: f32,
    /// True if three samples in a row are at the converter's limit.
    pub is_clipped: bool,
}

impl Level {
    /// Level of no sound.
    pub const SILENCE: Self = Self { peak_db: SILENCE_DB, rms_db: SILENCE_DB, is_clipped: false };

    /// Measures samples; [`Level::SILENCE`] if there are none.
    pub fn of(pcm: &[i16]) -> Self {
        if pcm.is_empty() {
            return Self::SILENCE;
        }
        let peak = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        let energy: f64 = pcm.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
        let at_rail = |run: &[i16]| run.iter().all(|s| s.unsigned_abs() >= RAIL);
        Self {
            peak_db: decibels(f32::from(peak)),
            rms_db: decibels((energy / pcm.len() as f64).sqrt() as f32),
            is_clipped: pcm.windows(CLIPPED_RUN).any(at_rail),
        }
    }
}

/// Level meter: the present level, and the peak and clipping of the last second.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    blocks: VecDeque<(Level, usize)>,
    samples: usize,
}

impl Meter {
    /// Takes the next block of sound.
    pub fn push(&mut self, pcm: &[i16]) {
        if pcm.is_empty() {
            return;
        }
        self.blocks.push_back((Level::of(pcm), pcm.len()));
        self.samples += pcm.len();
        while let Some(&(_, length)) = self.blocks.front() {
            if self.samples - length < HOLD_S * SAMPLE_RATE as usize {
                break;
            }
            self.samples -= length;
            self.blocks.pop_front();
        }
    }

    /// Returns the last block's root mean square, and the last second's peak and clipping.
    pub fn level(&self) -> Level {
        let held = |(peak, clipped): (f32, bool), (level, _): &(Level, usize)| {
            (peak.max(level.peak_db), clipped || level.is_clipped)
        };
        let (peak_db, is_clipped) = self.blocks.iter().fold((SILENCE_DB, false), held);
        let rms_db = self.blocks.back().map_or(SILENCE_DB, |(level, _)| level.rms_db);
        Level { peak_db, rms_db, is_clipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(peak: f32, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|i| (peak * (i as f32 * 0.1).sin()).clamp(-32_768.0, 32_767.0) as i16)
            .collect()
    }

    #[test]
    fn a_sine_is_three_decibels_below_its_peak() {
        let level = Level::of(&sine(3_276.8, 16_000));
        assert!(
            (level.peak_db + 20.0).abs() < 0.05 && (level.rms_db + 23.0).abs() < 0.05,
            "{level:?}"
        );
        assert_eq!(Level::of(&[]), Level::SILENCE);
        assert_eq!(Level::of(&[0; 9]), Level::SILENCE);
        assert_eq!(Level::of(&[i16::MIN]).peak_db, 0.0);
    }

    #[test]
    fn a_cut_wave_is_clipped_and_a_peak_that_fits_is_not() {
        assert!(!Level::of(&sine(32_000.0, 4_000)).is_clipped);
        assert!(Level::of(&sine(60_000.0, 4_000)).is_clipped);
        assert!(!Level::of(&[0, i16::MAX, i16::MAX, 0]).is_clipped);
        assert!(Level::of(&[0, i16::MIN, i16::MAX, i16::MAX]).is_clipped);
    }

    #[test]
    fn the_meter_holds_for_a_second() {
        let mut meter = Meter::default();
        meter.push(&sine(60_000.0, 160));
        for _ in 0..99 {
            meter.push(&[10; 160]);
        }
        let level = meter.level();
        assert!(level.is_clipped && level.peak_db > -1.0 && level.rms_db < -60.0, "{level:?}");
        meter.push(&[10; 160]);
        assert!(!meter.level().is_clipped && meter.level().peak_db < -60.0);
    }
}
