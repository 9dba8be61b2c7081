//! The parameters of the features, as they travel in a model: postcard, tables borrowed from flash.
//!
//! Tables are little-endian 16-bit words in byte slices, because flash need not be aligned.

use serde::{Deserialize, Serialize};

use super::MEL_CHANNELS;
use super::error::FrontendError;
use super::fft::COMPLEX_POINTS;
use super::pcan::{GAIN_TABLE_WORDS, SHARE_BITS};

/// Fractional bits of a mel weight: 4,096 stands for 1.
pub const MEL_WEIGHT_BITS: u32 = 12;
/// Entries of [`FrontendParams::mel_starts`]: 41 segments have 42 ends.
pub const MEL_STARTS: usize = MEL_CHANNELS + 2;
/// The largest floor: the largest power, 2⁵².
const LARGEST_FLOOR: u64 = 1 << 52;
/// The largest exponent of a time constant: 2¹⁵ frames are 5½ minutes.
const LARGEST_SHIFT: u64 = 15;
/// 1 in Q8.
const Q8_ONE: u64 = 256;

/// Everything that the front end of one model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontendParams<'a> {
    /// 42 `u16`: the first bin of each of the 41 segments between band centres, and the bin after
    /// the last segment. Ascending, from 1 to 256.
    #[serde(borrow)]
    pub mel_starts: &'a [u8],
    /// One `u16` in Q12 for each bin from the first start to the last: the share of its power for
    /// the lower band of the two around it, 0…4,096.
    pub mel_weights: &'a [u8],
    /// From powers to features.
    pub normalization: Normalization<'a>,
}

/// From mel powers `P` to features; see [`Normalizer`](super::Normalizer) for how each is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalization<'a> {
    /// `quantize(log₂(P + floor) - level)`.
    Log {
        /// Added to each power, in Q6: silence below it looks the same. At most 2⁵².
        floor: u64,
        /// What to subtract; `None` subtracts nothing.
        level: Option<Level>,
        /// Onto `i8`.
        quantizer: Quantizer,
    },
    /// `quantize(log₂(P + floor) - strength · log₂(M + floor))`, where `M` is the smoothed power of
    /// the band: per-channel energy normalization (Wang et al. 2017, "Trainable Frontend for Robust
    /// and Far-Field Keyword Spotting", eq. 1 and 2) before its root compression, as a logarithm.
    LogPcen {
        /// Added to both powers, in Q6, at most 2⁵².
        floor: u64,
        /// Exponent of the gain in Q8, 0…256.
        strength_q8: u16,
        /// `M += (P - M) / 2^shift` a frame, at most 15. `M` starts as the first `P`.
        smoothing_shift: u8,
        /// Onto `i8`.
        quantizer: Quantizer,
    },
    /// Noise reduction, per-channel automatic gain, logarithm and quantization as TensorFlow Lite's
    /// micro front end and microWakeWord do them.
    Pcan {
        /// Smoothing of the noise estimate of channels 0, 2, …, in Q14.
        even_smoothing: u16,
        /// Smoothing of the noise estimate of channels 1, 3, …, in Q14.
        odd_smoothing: u16,
        /// The share of a signal that noise reduction leaves at least, in Q14.
        min_signal_remaining: u16,
        /// 125 `i16`: the gain as a function of the noise estimate, piecewise quadratic over
        /// octaves (`PcanGainLookupFunction`, gain bits 21).
        #[serde(borrow)]
        gain_table: &'a [u8],
    },
}

/// A slow running level of the whole frame, to take loudness out of the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// What is followed.
    pub statistic: LevelStatistic,
    /// The level at the start, log₂ in Q8.
    pub initial_q8: i16,
    /// A rising level moves `1 / 2^attack_shift` of the way each frame; at most 15.
    pub attack_shift: u8,
    /// A falling level moves `1 / 2^decay_shift` of the way each frame; at most 15.
    pub decay_shift: u8,
}

/// The loudness of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LevelStatistic {
    /// The mean of the 40 logarithms, rounded down.
    Mean,
    /// The largest of the 40 logarithms.
    Max,
}

/// `sat8(⌊(x - offset) · scale / 2¹⁶ + ½⌋)` of a logarithm `x` in Q8: `scale / 256` steps an octave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantizer {
    /// The logarithm that becomes 0, in Q8.
    pub offset_q8: i16,
    /// Steps of the feature for each unit of Q8, in Q16; not 0.
    pub scale_q16: u16,
}

impl Quantizer {
    /// The formula above. Exact for any `x_q8` of less than 30 bits.
    #[inline]
    pub fn quantize(&self, x_q8: i32) -> i8 {
        let scaled = i64::from(x_q8 - i32::from(self.offset_q8)) * i64::from(self.scale_q16);
        (((scaled + (1 << 15)) >> 16) as i32).clamp(-128, 127) as i8
    }

    fn validate(&self) -> Result<(), FrontendError> {
        if self.scale_q16 == 0 { Err(FrontendError::ZeroScale) } else { Ok(()) }
    }
}

/// The little-endian words of a table.
pub(super) fn words(table: &[u8]) -> impl Iterator<Item = u16> + '_ {
    table.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair))
}

fn bytes(table: &'static str, expected: usize, found: &[u8]) -> Result<(), FrontendError> {
    if found.len() == expected {
        Ok(())
    } else {
        Err(FrontendError::TableBytes { table, expected, found: found.len() })
    }
}

fn at_most(parameter: &'static str, largest: u64, found: u64) -> Result<(), FrontendError> {
    if found <= largest { Ok(()) } else { Err(FrontendError::Range { parameter, found, largest }) }
}

impl FrontendParams<'_> {
    /// Checks every table and number; after it nothing in the front end can overflow or fail.
    ///
    /// # Errors
    /// The first inconsistency, as [`FrontendError`] describes it.
    pub fn validate(&self) -> Result<(), FrontendError> {
        self.validate_tables()?;
        self.normalization.validate()
    }

    /// Checks the mel bands alone.
    pub(super) fn validate_tables(&self) -> Result<(), FrontendError> {
        bytes("mel start", 2 * MEL_STARTS, self.mel_starts)?;
        let (mut lowest, mut last) = (None, 1);
        for (index, bin) in words(self.mel_starts).enumerate() {
            if bin < last || usize::from(bin) > COMPLEX_POINTS {
                return Err(FrontendError::MelStart { index, bin });
            }
            lowest.get_or_insert(bin);
            last = bin;
        }
        let bins = usize::from(last - lowest.unwrap_or(last));
        bytes("mel weight", 2 * bins, self.mel_weights)?;
        for (index, weight) in words(self.mel_weights).enumerate() {
            if weight > 1 << MEL_WEIGHT_BITS {
                return Err(FrontendError::MelWeight { index, weight });
            }
        }
        Ok(())
    }
}

impl Normalization<'_> {
    /// Checks the numbers of the variant.
    ///
    /// # Errors
    /// The first inconsistency, as [`FrontendError`] describes it.
    pub fn validate(&self) -> Result<(), FrontendError> {
        match self {
            Self::Log { floor, level, quantizer } => {
                at_most("floor", LARGEST_FLOOR, *floor)?;
                if let Some(level) = level {
                    at_most("attack shift", LARGEST_SHIFT, level.attack_shift.into())?;
                    at_most("decay shift", LARGEST_SHIFT, level.decay_shift.into())?;
                }
                quantizer.validate()
            }
            Self::LogPcen { floor, strength_q8, smoothing_shift, quantizer } => {
                at_most("floor", LARGEST_FLOOR, *floor)?;
                at_most("strength", Q8_ONE, u64::from(*strength_q8))?;
                at_most("smoothing shift", LARGEST_SHIFT, u64::from(*smoothing_shift))?;
                quantizer.validate()
            }
            Self::Pcan { even_smoothing, odd_smoothing, min_signal_remaining, gain_table } => {
                for (parameter, &share) in [
                    ("even smoothing", even_smoothing),
                    ("odd smoothing", odd_smoothing),
                    ("minimal signal remaining", min_signal_remaining),
                ] {
                    at_most(parameter, 1 << SHARE_BITS, share.into())?;
                }
                bytes("gain", 2 * GAIN_TABLE_WORDS, gain_table)
            }
        }
    }
}
