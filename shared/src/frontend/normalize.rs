//! Normalization: mel powers to `i8` features, with state from frame to frame.
//!
//! The model selects the formula: [`Normalization`]. Each takes 40 `u64` in Q6 and returns 40 `i8`.

use super::log::log2_q8;
use super::params::{Level, LevelStatistic, Normalization};
use super::pcan::Pcan;
use super::{Features, MEL_CHANNELS, MelPowers};

/// Upper clamp of a power: 16 times the largest that samples can give, so that sums fit `u64`.
const LARGEST_POWER: u64 = 1 << 56;
/// Number of fractional bits of the running level beyond its Q8.
const LEVEL_EXTRA_BITS: u32 = 16;
/// Number of fractional bits of a smoothed power beyond its Q6.
const SMOOTH_EXTRA_BITS: u32 = 6;

/// A [`Normalization`] and its state (about 350 bytes).
#[derive(Clone, Debug)]
pub struct Normalizer<'a> {
    params: Normalization<'a>,
    /// `true` once a frame was processed since the reset.
    started: bool,
    /// State of `Log`: the running level, Q8 with 16 more bits.
    level: i32,
    /// State of `LogPcen`: smoothed powers in Q12. State of `Pcan`: noise estimates in Q10.
    channels: [u64; MEL_CHANNELS],
}

impl<'a> Normalizer<'a> {
    /// Creates the initial state. `params` must have passed [`Normalization::validate`].
    #[inline(always)]
    pub fn new(params: Normalization<'a>) -> Self {
        Self { params, started: false, level: 0, channels: [0; MEL_CHANNELS] }
    }

    /// Resets to the initial state.
    pub fn reset(&mut self) {
        self.started = false;
        self.level = 0;
        self.channels = [0; MEL_CHANNELS];
    }

    /// Returns the features of the next frame.
    pub fn process(&mut self, powers: &MelPowers) -> Features {
        self.frame(powers, true)
    }

    /// Returns the features of a frame that carries no information about the room, and leaves the
    /// running level of `Log` as it is. The other two formulas update their state, which falls as
    /// fast as it rises.
    pub fn process_apart(&mut self, powers: &MelPowers) -> Features {
        self.frame(powers, false)
    }

    fn frame(&mut self, powers: &MelPowers, follows: bool) -> Features {
        let mut features = [0; MEL_CHANNELS];
        match self.params {
            Normalization::Log { floor, level, quantizer } => {
                let mut logs = [0; MEL_CHANNELS];
                for (log, &p) in logs.iter_mut().zip(powers) {
                    *log = log2_q8(p.min(LARGEST_POWER) + floor);
                }
                let level_q8 = level.map_or(0, |level| self.follow(&logs, level, follows));
                for (y, log) in features.iter_mut().zip(logs) {
                    *y = quantizer.quantize(log - level_q8);
                }
            }
            Normalization::LogPcen { floor, strength_q8, smoothing_shift, quantizer } => {
                let smoothing = self.started.then_some(smoothing_shift);
                for ((y, &p), m) in features.iter_mut().zip(powers).zip(&mut self.channels) {
                    let p = p.min(LARGEST_POWER);
                    smooth(p, smoothing, m);
                    let level = log2_q8((*m >> SMOOTH_EXTRA_BITS) + floor);
                    let gain = (level * i32::from(strength_q8) + 128) >> 8;
                    *y = quantizer.quantize(log2_q8(p + floor) - gain);
                }
            }
            Normalization::Pcan {
                even_smoothing,
                odd_smoothing,
                min_signal_remaining,
                gain_table,
            } => {
                features = Pcan { even_smoothing, odd_smoothing, min_signal_remaining, gain_table }
                    .process(powers, &mut self.channels);
            }
        }
        self.started = true;
        features
    }

    /// Running level subtracted from the features of the latest frame, in units of a feature, Q8.
    /// At most 2²³ in magnitude; 0 if the formula has no such level.
    pub fn level(&self) -> i32 {
        match self.params {
            Normalization::Log { level: Some(_), quantizer, .. } => {
                let scaled = i64::from(self.level_q8()) * i64::from(quantizer.scale_q16);
                (scaled >> 8) as i32
            }
            _ => 0,
        }
    }

    /// Running level in Q8, rounded half up.
    fn level_q8(&self) -> i32 {
        (self.level + (1 << (LEVEL_EXTRA_BITS - 1))) >> LEVEL_EXTRA_BITS
    }

    /// Moves the running level towards that of this frame if `moves`. Returns it in Q8, rounded
    /// half up.
    fn follow(&mut self, logs: &[i32; MEL_CHANNELS], level: Level, moves: bool) -> i32 {
        if !self.started {
            self.level = i32::from(level.initial_q8) << LEVEL_EXTRA_BITS;
        }
        if moves {
            let observed = match level.statistic {
                LevelStatistic::Mean => logs.iter().sum::<i32>() / MEL_CHANNELS as i32,
                LevelStatistic::Max => logs.iter().copied().max().unwrap_or(0),
            };
            let gap = (i64::from(observed) << LEVEL_EXTRA_BITS) - i64::from(self.level);
            let shift = if gap > 0 { level.attack_shift } else { level.decay_shift };
            self.level = (i64::from(self.level) + (gap >> shift)) as i32;
        }
        self.level_q8()
    }
}

/// Computes `M += (P - M) / 2^shift`, rounded down; without a shift `M = P`, as in the first frame.
fn smooth(p: u64, shift: Option<u8>, m: &mut u64) {
    let p = p << SMOOTH_EXTRA_BITS;
    *m = match shift {
        Some(shift) => m.wrapping_add_signed((p as i64 - *m as i64) >> shift),
        None => p,
    };
}
