//! Features on the host. This module builds the tables that [`wakeling_shared::frontend`] reads,
//! defines default parameters, and runs the device's own code over whole recordings.
//!
//! No feature is computed here. The trainer keeps [`LogMel`] (80 bytes per frame), augments it, and
//! gets network inputs through [`normalize`], which is the device's [`Normalizer`].
//!
//! Shapes: `n` samples give `1 + ⌊(n - 480)/160⌋` frames (none below 480) of 40 bands.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use wakeling_shared::frontend::{
    FFT_SIZE, Features, FrontendParams, HOP_SAMPLES, Level, LevelStatistic, MEL_CHANNELS,
    MelPowers, Normalization, Normalizer, PowerFrontend, Quantizer, SAMPLE_RATE_HZ, WINDOW_SAMPLES,
    log2_q8,
};

use wakeling_core::simd;

use crate::{Error, Result};

/// Lower edge of the lowest band, in Hz.
pub const DEFAULT_LOW_HZ: f64 = 125.0;
/// Upper edge of the highest band, in Hz.
pub const DEFAULT_HIGH_HZ: f64 = 7_500.0;

/// Log-mel frames: `round(256 · log₂ P)` of each band's power `P` in Q6; 0 for no power.
pub type LogMel = Vec<[i16; MEL_CHANNELS]>;

/// Kinds of normalization with default parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormalizationKind {
    /// Logarithm above a fixed floor, minus the frame's running level.
    Log,
    /// Logarithm above a fixed floor.
    LogPlain,
    /// Logarithm minus the running logarithm of the same band (PCEN).
    LogPcen,
    /// Normalization of TensorFlow Lite's micro front end and microWakeWord.
    Pcan,
}

wakeling_core::choices!(NormalizationKind {
    Log: "log", "Logarithm above a fixed floor, minus the frame's running level";
    LogPlain: "log-plain", "Logarithm above a fixed floor";
    LogPcen: "log-pcen", "Logarithm minus the running logarithm of the same band (PCEN)";
    Pcan: "pcan", "Normalization of TensorFlow Lite's micro front end and microWakeWord";
});

impl NormalizationKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Log, Self::LogPlain, Self::LogPcen, Self::Pcan];
}

/// Owned tables from which a model's [`FrontendParams`] borrow.
///
/// ```
/// use wakeling_audio::features::{FrontendTables, NormalizationKind, features};
///
/// let tables = FrontendTables::default();
/// let params = tables.params(NormalizationKind::Log); // as stored in a model
/// assert_eq!(params.validate(), Ok(()));
/// assert!(FrontendTables::new(125.0, 9_000.0).is_err()); // above half the sample rate
///
/// let tone: Vec<i16> = (0..16_000).map(|n| (100.0 * (n as f32 * 0.393).sin()) as i16).collect();
/// let frames = features(&tone, &params); // the device's features, bit for bit
/// let loudest = (0..40).max_by_key(|&band| frames[50][band]).unwrap();
/// assert_eq!((frames.len(), loudest), (98, 12)); // 1 kHz
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendTables {
    mel_starts: Vec<u8>,
    mel_weights: Vec<u8>,
    gain_table: Vec<u8>,
}

impl FrontendTables {
    /// Builds bands of equal width in mel (`1127 · ln(1 + f/700)`) from `low_hz` to `high_hz`, laid
    /// out as in TensorFlow Lite's `microfrontend/lib/filterbank_util.c`: a bin at mel `m` between
    /// the centres `a < m ≤ b` gives `(b - m)/(b - a)` to the band at `a`, and the rest to the band
    /// at `b`.
    ///
    /// # Errors
    /// [`Error::MelBands`] unless `0 ≤ low_hz < high_hz < 8,000`.
    pub fn new(low_hz: f64, high_hz: f64) -> Result<Self> {
        let nyquist_hz = SAMPLE_RATE_HZ as f64 / 2.0;
        if !(low_hz >= 0.0 && low_hz < high_hz && high_hz < nyquist_hz) {
            return Err(Error::MelBands { low_hz, high_hz, nyquist_hz });
        }
        let hz_per_bin = SAMPLE_RATE_HZ as f64 / FFT_SIZE as f64;
        let (mel_low, mel_high) = (mel(low_hz), mel(high_hz));
        let spacing = (mel_high - mel_low) / (MEL_CHANNELS + 1) as f64;
        // First bin above the edge, but never bin 0, the constant part.
        let mut bin = (1.5 + low_hz / hz_per_bin) as u16;
        let (mut starts, mut weights) = (vec![bin], Vec::new());
        for segment in 0..=MEL_CHANNELS {
            let upper = mel_low + spacing * (segment + 1) as f64;
            while mel(f64::from(bin) * hz_per_bin) <= upper {
                let share = (upper - mel(f64::from(bin) * hz_per_bin)) / spacing;
                weights.push((share.min(1.0) * 4_096.0).round() as u16);
                bin += 1;
            }
            starts.push(bin);
        }
        Ok(Self {
            mel_starts: little_endian(starts),
            mel_weights: little_endian(weights),
            gain_table: little_endian(pcan_gain_table().into_iter().map(|gain| gain as u16)),
        })
    }

    /// Returns the parameters with a custom normalization.
    pub fn with<'a>(&'a self, normalization: Normalization<'a>) -> FrontendParams<'a> {
        FrontendParams {
            mel_starts: &self.mel_starts,
            mel_weights: &self.mel_weights,
            normalization,
        }
    }

    /// Returns the parameters with a default normalization.
    pub fn params(&self, kind: NormalizationKind) -> FrontendParams<'_> {
        self.with(match kind {
            NormalizationKind::Log => LOG,
            NormalizationKind::LogPlain => LOG_PLAIN,
            NormalizationKind::LogPcen => LOG_PCEN,
            NormalizationKind::Pcan => Normalization::Pcan {
                even_smoothing: 409,       // 0.025
                odd_smoothing: 983,        // 0.06
                min_signal_remaining: 819, // 0.05
                gain_table: &self.gain_table,
            },
        })
    }
}

impl Default for FrontendTables {
    /// Builds tables for 125 to 7,500 Hz.
    fn default() -> Self {
        Self::new(DEFAULT_LOW_HZ, DEFAULT_HIGH_HZ).expect("the default band edges are in order")
    }
}

/// Power floor, 2¹⁶ in Q6: white noise of about 2.4 units of a 16-bit sample, below the noise of
/// any microphone.
const FLOOR: u64 = 1 << 16;

/// Eight steps per octave, 0.38 dB each; 32 octaves in all.
const STEPS_PER_OCTAVE_8: u16 = 8 * 256;
/// Ten steps per octave; 25.6 octaves in all.
const STEPS_PER_OCTAVE_10: u16 = 10 * 256;

/// Plain logarithm. Real speech ranges from 2¹⁶ (the floor) to 2⁴⁶, which 31 ± 16 octaves cover.
const LOG_PLAIN: Normalization<'static> = Normalization::Log {
    floor: FLOOR,
    level: None,
    quantizer: Quantizer { offset_q8: 31 * 256, scale_q16: STEPS_PER_OCTAVE_8 },
};

/// Logarithm with level. The mean logarithm is tracked with time constants of 0.6 s upward and 2.6
/// s downward, and becomes 0. The initial level is that of the first frames of typical recordings.
/// The range of 1 ± 16 octaves covers speech around it.
const LOG: Normalization<'static> = Normalization::Log {
    floor: FLOOR,
    level: Some(Level {
        statistic: LevelStatistic::Mean,
        initial_q8: 26 * 256,
        attack_shift: 6,
        decay_shift: 8,
    }),
    quantizer: Quantizer { offset_q8: 256, scale_q16: STEPS_PER_OCTAVE_8 },
};

/// PCEN of strength 0.8, smoothed over 0.6 s. Steady sound of 2¹⁶…2⁴⁶ gives 3…9 octaves, an onset
/// up to 12 more, and a decay 10 less. The range of 4 ± 12.8 octaves covers nearly all of them.
const LOG_PCEN: Normalization<'static> = Normalization::LogPcen {
    floor: FLOOR,
    strength_q8: 205,
    smoothing_shift: 6,
    quantizer: Quantizer { offset_q8: 4 * 256, scale_q16: STEPS_PER_OCTAVE_10 },
};

/// Converts a frequency to the mel scale: `1127 · ln(1 + f/700)`.
pub fn mel(hz: f64) -> f64 {
    1127.0 * (hz / 700.0).ln_1p()
}

/// Converts from the mel scale to Hz; inverse of [`mel`].
pub fn hz(mel: f64) -> f64 {
    700.0 * (mel / 1127.0).exp_m1()
}

/// Centre frequency of a band between the default edges, in Hz.
pub fn band_center_hz(channel: usize) -> f32 {
    let (low, high) = (mel(DEFAULT_LOW_HZ), mel(DEFAULT_HIGH_HZ));
    let m = low + (high - low) * (channel + 1) as f64 / (MEL_CHANNELS + 1) as f64;
    hz(m) as f32
}

fn little_endian(words: impl IntoIterator<Item = u16>) -> Vec<u8> {
    words.into_iter().flat_map(u16::to_le_bytes).collect()
}

/// Builds the table of `PcanGainControlPopulateState` in
/// `microfrontend/lib/pcan_gain_control_util.c`, in `f32` as there: 2²¹ · (x/2⁷ + 80)^-0.95 as
/// quadratics over octaves of `x`.
fn pcan_gain_table() -> Vec<i16> {
    const STRENGTH: f32 = 0.95;
    const OFFSET: f32 = 80.0;
    const UNIT_GAIN: f32 = (1 << 21) as f32;
    const INPUT_UNIT: f32 = (1 << 7) as f32;
    fn gain(x: u32) -> i32 {
        let gain = UNIT_GAIN * (x as f32 / INPUT_UNIT + OFFSET).powf(-STRENGTH);
        (gain + 0.5).min(f32::from(i16::MAX)) as i32
    }
    let mut table = vec![gain(0) as i16, gain(1) as i16];
    for interval in 2..=32 {
        let start = 1u32 << (interval - 1);
        let end = start.saturating_mul(2);
        let (y0, y1, y2) = (gain(start), gain(start + start / 2), gain(end));
        let linear = 4 * (y1 - y0) - (y2 - y0);
        table.extend([y0 as i16, linear as i16, (y2 - y0 - linear) as i16, 0]);
    }
    table.pop();
    table
}

simd! {
    /// Computes the mel powers of a whole recording with the device's [`PowerFrontend`], compiled
    /// for the vector instructions of this machine.
    ///
    /// `params` must be valid; those of [`FrontendTables`] are.
    pub fn mel_powers(pcm: &[i16], params: &FrontendParams<'_>) -> Vec<MelPowers> {
        let mut frames = Vec::with_capacity(frame_count(pcm.len()));
        push_mel_powers(&mut PowerFrontend::new(params), pcm, &mut frames);
        frames
    }

    /// Appends the mel powers of the frames that the next samples complete. Blocks may have any
    /// length.
    pub fn push_mel_powers(
        frontend: &mut PowerFrontend<'_>,
        pcm: &[i16],
        frames: &mut Vec<MelPowers>,
    ) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let (consumed, ready) = frontend.push(rest);
            rest = &rest[consumed..];
            if ready {
                frames.push(*frontend.powers());
            }
        }
    }
}

/// Returns the number of frames in `samples` samples.
pub fn frame_count(samples: usize) -> usize {
    samples.checked_sub(WINDOW_SAMPLES).map_or(0, |rest| 1 + rest / HOP_SAMPLES)
}

/// Converts powers to their compact form; [`to_powers`] inverts it to within 0.6/256 octave.
///
/// ```
/// use wakeling_audio::features::{FrontendTables, NormalizationKind, features, log_mel, mel_powers, normalize};
///
/// let tables = FrontendTables::default();
/// let params = tables.params(NormalizationKind::Log);
/// let noise: Vec<i16> = (0..8_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 20) as i16 - 2_048).collect();
/// let cached = log_mel(&mel_powers(&noise, &params)); // 80 bytes a frame
/// // The features of the cached form are those of the sound, give or take rounding.
/// let pairs = normalize(&cached, &params).into_iter().zip(features(&noise, &params));
/// assert!(pairs.into_iter().all(|(a, b)| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 1)));
/// ```
pub fn log_mel(powers: &[MelPowers]) -> LogMel {
    powers.iter().map(|frame| frame.map(|p| log2_q8(p) as i16)).collect()
}

/// Returns `round(2^(x/256))` per band; 0 for a negative `x`, and at most `u64::MAX`.
pub fn to_powers(frame: &[i16; MEL_CHANNELS]) -> MelPowers {
    const FRACTION_BITS: u32 = 52;
    static FRACTIONS: LazyLock<Vec<u64>> = LazyLock::new(|| {
        (0..256).map(|i| (f64::exp2(f64::from(i) / 256.0 + 52.0)).round() as u64).collect()
    });
    frame.map(|x| {
        let Ok(x) = u16::try_from(x) else { return 0 };
        let (octave, mantissa) = (u32::from(x >> 8), FRACTIONS[usize::from(x & 255)]);
        match octave.checked_sub(FRACTION_BITS) {
            Some(up) if up <= mantissa.leading_zeros() => mantissa << up,
            Some(_) => u64::MAX,
            None => (mantissa + (1 << (FRACTION_BITS - 1 - octave))) >> (FRACTION_BITS - octave),
        }
    })
}

/// Computes the features of a recording from its first frame on, with the device's [`Normalizer`].
pub fn normalize(log_mel: &[[i16; MEL_CHANNELS]], params: &FrontendParams<'_>) -> Vec<Features> {
    let mut normalizer = Normalizer::new(params.normalization);
    log_mel.iter().map(|frame| normalizer.process(&to_powers(frame))).collect()
}

/// Computes the features of a whole recording, bit-identical to the device.
pub fn features(pcm: &[i16], params: &FrontendParams<'_>) -> Vec<Features> {
    let mut normalizer = Normalizer::new(params.normalization);
    mel_powers(pcm, params).iter().map(|powers| normalizer.process(powers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_tables_are_valid_and_cover_125_to_7500_hz() {
        let tables = FrontendTables::default();
        for kind in NormalizationKind::ALL {
            assert_eq!(tables.params(kind).validate(), Ok(()));
        }
        assert_eq!(tables.mel_starts[..2], [5, 0]);
        assert!(matches!(tables.mel_starts[82..], [240 | 241, 0]));
        assert!(FrontendTables::new(300.0, 200.0).is_err());
        assert!(FrontendTables::new(0.0, f64::NAN).is_err());
        let widest = FrontendTables::new(0.0, 7_999.0).unwrap();
        assert_eq!(widest.params(NormalizationKind::Pcan).validate(), Ok(()));
    }

    #[test]
    fn powers_survive_the_compact_form() {
        for x in 0..(56 * 256) {
            let power = to_powers(&[x; MEL_CHANNELS])[0];
            let back = log2_q8(power);
            // One unit of a small power corresponds to many units of its logarithm.
            let step = 256.0 / (power as f64 * std::f64::consts::LN_2);
            assert!(
                f64::from((back - i32::from(x)).abs()) <= 1.0 + 0.75 * step,
                "{x} {power} {back}"
            );
        }
        assert_eq!(to_powers(&[-1; MEL_CHANNELS])[0], 0);
        assert_eq!(to_powers(&[i16::MAX; MEL_CHANNELS])[0], u64::MAX);
    }

    #[test]
    fn frames_are_counted() {
        let tables = FrontendTables::default();
        let params = tables.params(NormalizationKind::Log);
        for samples in [0, 479, 480, 481, 639, 640, 641, 3_000] {
            assert_eq!(mel_powers(&vec![1; samples], &params).len(), frame_count(samples));
        }
    }
}
