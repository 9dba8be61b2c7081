//! Normalization: mel powers to `i8` features, with what must be remembered from frame to frame.
//!
//! Which formula is run is data of the model: [`Normalization`]. Each takes 40 `u64` in Q6 and gives
//! 40 `i8`.

use super::log::log2_q8;
use super::params::{Level, LevelStatistic, Normalization, Quantizer};
use super::pcan::Pcan;
use super::{Features, MEL_CHANNELS, MelPowers};

/// Powers above it count as this much: 16 times what samples can give, so that sums stay in `u64`.
const LARGEST_POWER: u64 = 1 << 56;
/// Fractional bits of the running level beyond its Q8.
const LEVEL_EXTRA_BITS: u32 = 16;
/// Fractional bits of a smoothed power beyond its Q6.
const SMOOTH_EXTRA_BITS: u32 = 6;

/// A [`Normalization`] and its memory (about 350 bytes).
#[derive(Clone, Debug)]
pub struct Normalizer<'a> {
    params: Normalization<'a>,
    /// Whether a frame has been seen since the reset.
    started: bool,
    /// `Log`: the running level, Q8 with 16 more bits.
    level: i32,
    /// `LogPcen`: smoothed powers in Q12. `Pcan`: noise estimates in Q10.
    channels: [u64; MEL_CHANNELS],
}

impl<'a> Normalizer<'a> {
    /// Fresh memory. `params` must have passed [`Normalization::validate`].
    pub fn new(params: Normalization<'a>) -> Self {
        Self { params, started: false, level: 0, channels: [0; MEL_CHANNELS] }
    }

    /// Forgets every frame, as if new.
    pub fn reset(&mut self) {
        self.started = false;
        self.level = 0;
        self.channels = [0; MEL_CHANNELS];
    }

    /// The features of the next frame.
    pub fn process(&mut self, powers: &MelPowers) -> Features {
        let powers = powers.map(|p| p.min(LARGEST_POWER));
        let features = match self.params {
            Normalization::Log { floor, level, quantizer } => {
                self.log(&powers, floor, level, quantizer)
            }
            Normalization::LogPcen { floor, strength_q8, smoothing_shift, quantizer } => {
                self.smooth(&powers, smoothing_shift);
                let mut features = [0; MEL_CHANNELS];
                for ((y, &p), &m) in features.iter_mut().zip(&powers).zip(&self.channels) {
                    let level = log2_q8((m >> SMOOTH_EXTRA_BITS) + floor);
                    let gain = (level * i32::from(strength_q8) + 128) >> 8;
                    *y = quantizer.quantize(log2_q8(p + floor) - gain);
                }
                features
            }
            Normalization::Pcan {
                even_smoothing,
                odd_smoothing,
                min_signal_remaining,
                gain_table,
            } => Pcan { even_smoothing, odd_smoothing, min_signal_remaining, gain_table }
                .process(&powers, &mut self.channels),
        };
        self.started = true;
        features
    }

    fn log(
        &mut self,
        powers: &MelPowers,
        floor: u64,
        level: Option<Level>,
        quantizer: Quantizer,
    ) -> Features {
        let logs = powers.map(|p| log2_q8(p + floor));
        let level_q8 = level.map_or(0, |level| self.follow(&logs, level));
        logs.map(|x| quantizer.quantize(x - level_q8))
    }

    /// Moves the running level towards this frame's and returns it in Q8, rounded half up.
    fn follow(&mut self, logs: &[i32; MEL_CHANNELS], level: Level) -> i32 {
        if !self.started {
            self.level = i32::from(level.initial_q8) << LEVEL_EXTRA_BITS;
        }
        let heard = match level.statistic {
            LevelStatistic::Mean => logs.iter().sum::<i32>() / MEL_CHANNELS as i32,
            LevelStatistic::Max => logs.iter().copied().max().unwrap_or(0),
        };
        let gap = (i64::from(heard) << LEVEL_EXTRA_BITS) - i64::from(self.level);
        let shift = if gap > 0 { level.attack_shift } else { level.decay_shift };
        self.level = (i64::from(self.level) + (gap >> shift)) as i32;
        (self.level + (1 << (LEVEL_EXTRA_BITS - 1))) >> LEVEL_EXTRA_BITS
    }

    /// `M += (P - M) / 2^shift`, rounded down; the first frame sets `M = P`.
    fn smooth(&mut self, powers: &MelPowers, shift: u8) {
        for (m, &p) in self.channels.iter_mut().zip(powers) {
            let p = p << SMOOTH_EXTRA_BITS;
            *m = if self.started {
                m.wrapping_add_signed((p as i64 - *m as i64) >> shift)
            } else {
                p
            };
        }
    }
}
