//! Per-channel normalization of TensorFlow Lite: square root, noise reduction, gain control,
//! logarithm. The quantization is that of microWakeWord.
//!
//! Sources: `tensorflow/lite/experimental/microfrontend/lib/{noise_reduction,pcan_gain_control,
//! log_scale}.c`, and ESPHome's `micro_wake_word` for the last step. The scales are those of the
//! source, so that networks trained on its features receive the same ones here.
//!
//! In: 40 `u64` in Q6. Out: 40 `i8`. State: 40 noise estimates in Q10.

use super::log::{LOG_BITS, log2_q16};
use super::params::words;
use super::{Features, MEL_CHANNELS, MelPowers};

/// Entries of the gain table: two, then three and an unused one for each octave from 2 to 32 bits.
pub const GAIN_TABLE_WORDS: usize = 4 * 32 - 3;
/// Number of fractional bits of a smoothing factor.
pub const SHARE_BITS: u32 = 14;

/// Shift from the root of a power in Q6 to the source's magnitude, which is `|X|/8`.
const MAGNITUDE_SHIFT: u32 = 6;
/// Constant `smoothing_bits` of the source.
const ESTIMATE_BITS: u32 = 10;
/// Upper clamp of a magnitude, so that an estimate fits 32 bits. Samples give less than 2²⁰.
const LARGEST_MAGNITUDE: u64 = u32::MAX as u64 >> ESTIMATE_BITS;
/// Constant `correction_bits` of the source: log₂(512) - 12/2.
const CORRECTION_BITS: u32 = 3;
/// Constants `kPcanSnrBits` and `kPcanOutputBits` of the source.
const SNR_BITS: u32 = 12;
const OUTPUT_BITS: u32 = 6;
/// `gain_bits - correction_bits - kPcanSnrBits`.
const SNR_SHIFT: u32 = 21 - CORRECTION_BITS - SNR_BITS;
/// Constant `kLogCoeff` of the source: `round(2¹⁶ · ln 2)`.
const LN_2_Q16: u64 = 45_426;
/// Constant `scale_shift` of the source: features are 64 · ln(x).
const LOG_SCALE_SHIFT: u32 = 6;
/// Range of microWakeWord's quantization: 0…666 (25.6 · 26) onto 256 steps.
const QUANTIZE_RANGE: i32 = 666;

/// Parameters of [`Normalization::Pcan`](super::Normalization::Pcan).
#[derive(Clone, Copy)]
pub(super) struct Pcan<'a> {
    pub even_smoothing: u16,
    pub odd_smoothing: u16,
    pub min_signal_remaining: u16,
    pub gain_table: &'a [u8],
}

impl Pcan<'_> {
    /// Processes one frame. `estimates` are the noise estimates, zeros at first.
    pub fn process(&self, powers: &MelPowers, estimates: &mut [u64; MEL_CHANNELS]) -> Features {
        let mut features = [0; MEL_CHANNELS];
        for (channel, ((y, &power), estimate)) in
            features.iter_mut().zip(powers).zip(estimates).enumerate()
        {
            let smoothing = if channel & 1 == 0 { self.even_smoothing } else { self.odd_smoothing };
            let magnitude = root(power >> (2 * MAGNITUDE_SHIFT)).min(LARGEST_MAGNITUDE);
            let signal = self.reduce_noise(magnitude, smoothing, estimate);
            let snr = (signal * self.gain(*estimate)) >> SNR_SHIFT;
            *y = quantize(log_scale(shrink(snr) << CORRECTION_BITS));
        }
        features
    }

    /// Subtracts the noise estimate (`NoiseReductionApply`).
    fn reduce_noise(&self, magnitude: u64, smoothing: u16, estimate: &mut u64) -> u64 {
        let smoothing = u64::from(smoothing);
        let scaled = magnitude << ESTIMATE_BITS;
        let kept = (1u64 << SHARE_BITS).saturating_sub(smoothing);
        *estimate = (scaled * smoothing + *estimate * kept) >> SHARE_BITS;
        let floor = (magnitude * u64::from(self.min_signal_remaining)) >> SHARE_BITS;
        (scaled.saturating_sub(*estimate) >> ESTIMATE_BITS).max(floor)
    }

    /// Returns the gain at a noise estimate, quadratic within an octave (`WideDynamicFunction`).
    fn gain(&self, estimate: u64) -> u64 {
        let entry = |index: usize| {
            let word = words(self.gain_table).nth(index).unwrap_or(0);
            i64::from(word as i16)
        };
        if estimate <= 2 {
            return entry(estimate as usize).max(0) as u64;
        }
        let interval = estimate.ilog2() + 1;
        let position =
            if interval < 11 { estimate << (11 - interval) } else { estimate >> (interval - 11) };
        let position = (position & 0x3FF) as i64;
        let first = 4 * interval as usize - 6;
        let slope = ((entry(first + 2) * position) >> 5) + (entry(first + 1) << 5);
        let gain = ((slope * position + (1 << 14)) >> 15) + entry(first);
        gain.clamp(0, i64::from(i16::MAX)) as u64
    }
}

/// Returns `⌊√x⌋`: the root of the upper word, then bit by bit. A 64-bit division is 1 KB of flash.
fn root(x: u64) -> u64 {
    let bits = u64::BITS - x.leading_zeros();
    let beyond = bits.saturating_sub(u32::BITS).div_ceil(2);
    let mut root = u64::from(((x >> (2 * beyond)) as u32).isqrt());
    for bit in (0..beyond).rev() {
        root *= 2;
        // The root fits a word, so this does as well.
        let next = root + 1;
        if next * next <= x >> (2 * bit) {
            root = next;
        }
    }
    root
}

/// Compresses the SNR: quadratic below 2, linear above (`PcanShrink`).
fn shrink(snr: u64) -> u64 {
    if snr < 2 << SNR_BITS {
        (snr * snr) >> (2 + 2 * SNR_BITS - OUTPUT_BITS)
    } else {
        (snr >> (SNR_BITS - OUTPUT_BITS)) - (1 << OUTPUT_BITS)
    }
}

/// Returns `64 · ln(x)`, rounded; 0 for 0 and 1 (`LogScaleApply`).
fn log_scale(x: u64) -> u16 {
    let half = 1u64 << (LOG_BITS - 1);
    let natural = (u64::from(log2_q16(x)) * LN_2_Q16 + half) >> LOG_BITS;
    (((natural << LOG_SCALE_SHIFT) + half) >> LOG_BITS).min(u64::from(u16::MAX)) as u16
}

/// Returns `sat8((256·x + 333) / 666 - 128)`.
fn quantize(x: u16) -> i8 {
    ((i32::from(x) * 256 + QUANTIZE_RANGE / 2) / QUANTIZE_RANGE - 128).clamp(-128, 127) as i8
}

#[cfg(test)]
mod tests {
    use super::root;

    #[test]
    fn roots_are_rounded_down() {
        for bit in 0..32 {
            for root_near in [1u64 << bit, (1 << bit) + 1, (3 << bit) >> 1, (2 << bit) - 1] {
                let square = root_near * root_near;
                for x in [square.saturating_sub(1), square, square.saturating_add(1)] {
                    assert_eq!(root(x), x.isqrt(), "{x}");
                }
            }
        }
        assert_eq!(root(0), 0);
        assert_eq!(root(u64::MAX), u64::from(u32::MAX));
    }
}
