//! Parameters of the features, as stored in a model: postcard, with tables borrowed from flash.
//!
//! Tables are byte slices of little-endian 16-bit words, since their place in flash need not be
//! aligned.

use serde::{Deserialize, Serialize};

use super::MEL_CHANNELS;
use super::error::FrontendError;
use super::fft::COMPLEX_POINTS;
use super::pcan::{GAIN_TABLE_WORDS, SHARE_BITS};

/// Number of fractional bits of a mel weight: 4,096 represents 1.
pub const MEL_WEIGHT_BITS: u32 = 12;
/// Number of entries in [`FrontendParams::mel_starts`]: 41 segments have 42 ends.
pub const MEL_STARTS: usize = MEL_CHANNELS + 2;
/// Largest floor, equal to the largest power, 2⁵².
const LARGEST_FLOOR: u64 = 1 << 52;
/// Largest exponent of a time constant: 2¹⁵ frames are 5½ minutes.
const LARGEST_SHIFT: u64 = 15;
/// 1 in Q8.
const Q8_ONE: u64 = 256;

/// Parameters of the front end of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontendParams<'a> {
    /// First bin of each of the 41 segments between band centres, and the bin after the last
    /// segment: 42 `u16`. Ascending, from 1 to 256.
    #[serde(borrow)]
    pub mel_starts: &'a [u8],
    /// One `u16` in Q12 for each bin from the first start to the last: the share of its power for
    /// the lower of the two bands around it, 0…4,096.
    pub mel_weights: &'a [u8],
    /// Formula from powers to features.
    pub normalization: Normalization<'a>,
}

/// Formula from mel powers `P` to features; [`Normalizer`](super::Normalizer) computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalization<'a> {
    /// `quantize(log₂(P + floor) - level)`.
    Log {
        /// Constant added to each power, in Q6, at most 2⁵². It hides differences between sounds
        /// below it.
        floor: u64,
        /// Level to subtract; `None` subtracts nothing.
        level: Option<Level>,
        /// Map onto `i8`.
        quantizer: Quantizer,
    },
    /// `quantize(log₂(P + floor) - strength · log₂(M + floor))`, where `M` is the smoothed power of
    /// the band. It is per-channel energy normalization (Wang et al. 2017, "Trainable Frontend for
    /// Robust and Far-Field Keyword Spotting", eq. 1 and 2) before its root compression, as a
    /// logarithm.
    LogPcen {
        /// Constant added to both powers, in Q6, at most 2⁵².
        floor: u64,
        /// Exponent of the gain in Q8, 0…256.
        strength_q8: u16,
        /// Exponent in `M += (P - M) / 2^shift` per frame, at most 15. `M` starts as the first `P`.
        smoothing_shift: u8,
        /// Map onto `i8`.
        quantizer: Quantizer,
    },
    /// Noise reduction, per-channel automatic gain, logarithm and quantization as in TensorFlow
    /// Lite's micro front end and microWakeWord.
    Pcan {
        /// Smoothing factor of the noise estimate of channels 0, 2, …, in Q14.
        even_smoothing: u16,
        /// Smoothing factor of the noise estimate of channels 1, 3, …, in Q14.
        odd_smoothing: u16,
        /// Least share of a signal that noise reduction keeps, in Q14.
        min_signal_remaining: u16,
        /// Gain as a function of the noise estimate, piecewise quadratic over octaves: 125 `i16`
        /// (`PcanGainLookupFunction`, gain bits 21).
        #[serde(borrow)]
        gain_table: &'a [u8],
    },
}

/// A slow running level of the whole frame, which removes loudness from the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Loudness that the level follows.
    pub statistic: LevelStatistic,
    /// Level at the start, log₂ in Q8.
    pub initial_q8: i16,
    /// Exponent of the attack: a rising level moves `1 / 2^attack_shift` of the gap per frame; at
    /// most 15.
    pub attack_shift: u8,
    /// Exponent of the decay: a falling level moves `1 / 2^decay_shift` of the gap per frame; at
    /// most 15.
    pub decay_shift: u8,
}

/// Loudness of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LevelStatistic {
    /// Mean of the 40 logarithms, rounded down.
    Mean,
    /// Largest of the 40 logarithms.
    Max,
}

/// Map of a logarithm `x` in Q8 onto `i8`: `sat8(⌊(x - offset) · scale / 2¹⁶ + ½⌋)`. An octave has
/// `scale / 256` units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantizer {
    /// Logarithm that becomes 0, in Q8.
    pub offset_q8: i16,
    /// Units of the feature for each unit of Q8, in Q16; not 0.
    pub scale_q16: u16,
}

impl Quantizer {
    /// Computes the formula of [`Quantizer`]. Exact for any `x_q8` of less than 30 bits.
    #[inline]
    pub fn quantize(&self, x_q8: i32) -> i8 {
        let scaled = i64::from(x_q8 - i32::from(self.offset_q8)) * i64::from(self.scale_q16);
        (((scaled + (1 << 15)) >> 16) as i32).clamp(-128, 127) as i8
    }

    fn validate(&self) -> Result<(), FrontendError> {
        if self.scale_q16 == 0 { Err(FrontendError::ZeroScale) } else { Ok(()) }
    }
}

/// Iterates over the little-endian words of a table.
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
    /// Checks every table and number. With valid parameters the front end cannot overflow or fail.
    ///
    /// # Errors
    /// Returns the first inconsistency as a [`FrontendError`].
    pub fn validate(&self) -> Result<(), FrontendError> {
        self.validate_tables()?;
        self.normalization.validate()
    }

    /// Checks the tables of the mel bands.
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
    /// Returns the first inconsistency as a [`FrontendError`].
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
