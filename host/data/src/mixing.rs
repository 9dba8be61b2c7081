//! Mixing: training streams composed of clips and noise, in the domain of mel powers.
//!
//! A device receives an endless stream and its network is always warm. Training must therefore not
//! let the network learn where a clip begins. A training stream ([`MelStream`]) lasts many seconds and
//! holds several clips, with background between and under them. A [`Mixer`] owns what is mixed in.
//!
//! All operations work on cached [`LogMel`] frames. Powers of independent sounds add, so noise
//! costs one addition per band. The augmentations are operations on 40 numbers per frame: gain,
//! equalization, the band limit of a telephone, tempo, vocal tract length (Jaitly & Hinton 2013),
//! and reverberation (an exponential decay, as in the diffuse field of Polack's model). The
//! device's own `Normalizer` then computes features from the sum.
//!
//! Shapes: a clip is `(frames, 40)` of log₂ power in Q8; a row is `(frames, 40)` of power.

mod background;
mod mixer;

use std::sync::{Arc, LazyLock};

pub use background::BackgroundMix;
pub use mixer::Mixer;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wakeling_shared::frontend::{FrontendParams, MEL_CHANNELS, MelPowers, Normalizer};

use wakeling_audio::features::{LogMel, band_center_hz};
use wakeling_core::random::normal;

/// Power of each band, frame by frame, on the scale of `MelPowers`.
pub type Powers = Vec<[f32; MEL_CHANNELS]>;

/// Frames per second.
pub const FRAMES_PER_SECOND: f32 = 100.0;

/// Steps per second of a network that takes `frames_per_step` frames per step.
pub fn steps_per_second(frames_per_step: usize) -> f64 {
    f64::from(FRAMES_PER_SECOND) / frames_per_step.max(1) as f64
}

/// Octaves of power per decibel.
const OCTAVES_PER_DB: f32 = 0.332_193;

/// Ranges of the augmentation of a clip, sampled anew for each clip. Every chance is a probability.
///
/// ```
/// use rand::{SeedableRng, rngs::StdRng};
/// use wakeling_data::mixing::FeatureAugmentation;
///
/// let clip = [[20 * 256; 40]; 100]; // a second at 2²⁰ in every band
/// let mut rng = StdRng::seed_from_u64(1);
/// let plain = FeatureAugmentation::NONE.apply(&clip, &mut rng);
/// assert_eq!(plain[0][0], 1_048_576.0);
/// let augmented = FeatureAugmentation::STRONG.apply(&clip, &mut rng);
/// assert!((89..=114).contains(&augmented.len())); // ± 12 % of tempo
/// assert_ne!(augmented[0], plain[0]);
/// ```
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FeatureAugmentation {
    /// Tempo is sampled from `1 ± this`.
    pub tempo: f32,
    /// Stretch of the frequency axis is sampled from `1 ± this`.
    pub vocal_tract: f32,
    /// Gain is sampled from `± this`, in dB.
    pub gain_db: f32,
    /// Spectral tilt over the 40 bands and one broad peak are each sampled from `± this`, in dB.
    pub equalizer_db: f32,
    /// Probability of the upper band limit of a telephone or a cheap microphone.
    pub low_pass_chance: f64,
    /// Probability of reverberation.
    pub room_chance: f64,
}

impl FeatureAugmentation {
    /// Augmentation for training a backbone.
    pub const STRONG: Self = Self {
        tempo: 0.12,
        vocal_tract: 0.08,
        gain_db: 10.0,
        equalizer_db: 6.0,
        low_pass_chance: 0.2,
        room_chance: 0.3,
    };
    /// No augmentation: clips stay as recorded.
    pub const NONE: Self = Self {
        tempo: 0.0,
        vocal_tract: 0.0,
        gain_db: 0.0,
        equalizer_db: 0.0,
        low_pass_chance: 0.0,
        room_chance: 0.0,
    };

    /// Samples one augmentation and applies it to a clip. Tempo changes the number of frames.
    pub fn apply(&self, clip: &[[i16; MEL_CHANNELS]], rng: &mut impl Rng) -> Powers {
        let mut around = |width: f32| 1.0 + width * rng.random_range(-1.0..=1.0f32);
        let (tempo, warp) = (around(self.tempo), around(self.vocal_tract));
        let curve = self.curve(rng);
        let mut powers = resample(clip, tempo, warp, &curve);
        if rng.random_bool(self.room_chance) {
            let decay_s = rng.random_range(0.1..0.7);
            let direct_to_tail_db = rng.random_range(0.0..12.0);
            reverberate(&mut powers, decay_s, direct_to_tail_db);
        }
        powers
    }

    /// Samples the gain of each band, in octaves of power.
    fn curve(&self, rng: &mut impl Rng) -> [f32; MEL_CHANNELS] {
        let mut db = |range: f32| range * rng.random_range(-1.0..=1.0f32);
        let (gain, tilt, peak) = (db(self.gain_db), db(self.equalizer_db), db(self.equalizer_db));
        let center = rng.random_range(0.0..MEL_CHANNELS as f32);
        let width = rng.random_range(3.0..12.0f32);
        let limit_hz = if rng.random_bool(self.low_pass_chance) {
            [3_300.0, 3_800.0, 4_500.0, 5_500.0, 6_500.0][rng.random_range(0..5)]
        } else {
            f32::INFINITY
        };
        let stop_db = rng.random_range(30.0..60.0f32);
        std::array::from_fn(|c| {
            let position = c as f32 / (MEL_CHANNELS - 1) as f32 - 0.5;
            let distance = (c as f32 - center) / width;
            let stop = if band_center_hz(c) > limit_hz { -stop_db } else { 0.0 };
            let db = gain + 2.0 * tilt * position + peak * (-distance * distance).exp() + stop;
            db * OCTAVES_PER_DB
        })
    }
}

/// Changes tempo and frequency axis by linear interpolation of the logarithms, then applies a gain.
fn resample(
    clip: &[[i16; MEL_CHANNELS]],
    tempo: f32,
    warp: f32,
    gain_octaves: &[f32; MEL_CHANNELS],
) -> Powers {
    let frames = (clip.len() as f32 / tempo).round() as usize;
    let mut out = Vec::with_capacity(frames);
    let plan: [(usize, f32); MEL_CHANNELS] = std::array::from_fn(|c| {
        let position = (c as f32 * warp).min((MEL_CHANNELS - 1) as f32);
        let below = (position as usize).min(MEL_CHANNELS - 2);
        (below, position - below as f32)
    });
    for t in 0..frames {
        let position = (t as f32 * tempo).min(clip.len().saturating_sub(1) as f32);
        let before = (position as usize).min(clip.len().saturating_sub(2));
        let share = position - before as f32;
        let (Some(a), b) = (clip.get(before), clip.get(before + 1)) else { break };
        let b = b.unwrap_or(a);
        let mixed: [f32; MEL_CHANNELS] =
            std::array::from_fn(|c| f32::from(a[c]) + share * (f32::from(b[c]) - f32::from(a[c])));
        out.push(std::array::from_fn(|c| {
            let (below, share) = plan[c];
            let x = mixed[below] + share * (mixed[below + 1] - mixed[below]);
            exp2_q8(x + 256.0 * gain_octaves[c])
        }));
    }
    out
}

/// Returns `2^(x/256)`, to within 0.14 %, with `x` clamped to 0 … 60 · 256.
fn exp2_q8(x: f32) -> f32 {
    static FRACTIONS: LazyLock<[f32; 256]> =
        LazyLock::new(|| std::array::from_fn(|i| (i as f32 / 256.0).exp2()));
    let x = x.clamp(0.0, 60.0 * 256.0) as u32;
    let octave = f32::from_bits((127 + (x >> 8)) << 23);
    octave * FRACTIONS[(x & 255) as usize]
}

/// Adds a diffuse reverberation tail that decays by 60 dB in `decay_s` seconds.
fn reverberate(powers: &mut Powers, decay_s: f32, direct_to_tail_db: f32) {
    let keep = 10f32.powf(-6.0 / (decay_s * FRAMES_PER_SECOND));
    let level = (1.0 - keep) * 10f32.powf(-direct_to_tail_db / 10.0);
    let mut tail = [0.0f32; MEL_CHANNELS];
    for frame in powers {
        for (power, tail) in frame.iter_mut().zip(&mut tail) {
            let direct = *power;
            *power += level * *tail;
            *tail = keep * *tail + direct;
        }
    }
}

/// Returns the mean power, summed over all bands, of the loudest third of the frames. This
/// estimates the level of the speech.
pub fn loudness(powers: &[[f32; MEL_CHANNELS]]) -> f32 {
    let mut totals: Vec<f32> = powers.iter().map(|f| f.iter().sum()).collect();
    totals.sort_by(|a, b| b.total_cmp(a));
    let loudest = totals.len().div_ceil(3);
    totals.iter().take(loudest).sum::<f32>() / loudest.max(1) as f32
}

/// Training stream under construction: mel powers per frame.
///
/// ```
/// use wakeling_audio::features::{FrontendTables, NormalizationKind};
/// use wakeling_data::mixing::{MelStream, loudness};
///
/// let mut stream = MelStream::new(300); // three seconds
/// stream.add_clip(100, &[[24 * 256; 40]; 50]); // half a second of sound in the middle
/// let speech = loudness(&stream.powers()[100..150]);
/// let noise = [[1.0; 40]; 10]; // repeated as often as needed
/// stream.add_below(&noise, speech, 20.0, 0); // at an SNR of 20 dB
/// let share = stream.powers()[0][0] / stream.powers()[120][0];
/// assert!((share - 0.0099).abs() < 0.0001);
///
/// let tables = FrontendTables::default();
/// assert_eq!(stream.features(&tables.params(NormalizationKind::Log)).len(), 300 * 40);
/// ```
#[derive(Clone, Debug)]
pub struct MelStream {
    powers: Powers,
}

impl MelStream {
    /// Creates a silent row.
    pub fn new(frames: usize) -> Self {
        Self { powers: vec![[0.0; MEL_CHANNELS]; frames] }
    }

    /// Adds a sound from frame `at` on. Frames beyond the end of the row are dropped.
    pub fn add(&mut self, at: usize, sound: &[[f32; MEL_CHANNELS]], gain: f32) {
        for (stream, sound) in self.powers.iter_mut().skip(at).zip(sound) {
            stream.iter_mut().zip(sound).for_each(|(r, s)| *r += gain * s);
        }
    }

    /// Adds a clip as recorded, from frame `at` on. Frames beyond the end of the row are dropped.
    pub fn add_clip(&mut self, at: usize, clip: &[[i16; MEL_CHANNELS]]) {
        for (stream, frame) in self.powers.iter_mut().skip(at).zip(clip) {
            stream.iter_mut().zip(frame).for_each(|(r, &x)| *r += exp2_q8(f32::from(x)));
        }
    }

    /// Adds a sound over the whole row, starting at its frame `start` and repeated as often as
    /// needed.
    pub fn add_background(&mut self, sound: &[[f32; MEL_CHANNELS]], gain: f32, start: usize) {
        if sound.is_empty() {
            return;
        }
        let repeated = sound.iter().cycle().skip(start % sound.len());
        for (stream, sound) in self.powers.iter_mut().zip(repeated) {
            stream.iter_mut().zip(sound).for_each(|(r, s)| *r += gain * s);
        }
    }

    /// Adds a background from `pool`, `snr_db` below `level`, the [`loudness`] of the speech.
    pub fn add_noise_below(
        &mut self,
        pool: &NoisePool,
        level: f32,
        snr_db: f32,
        rng: &mut impl Rng,
    ) {
        let noise = pool.sample(self.powers.len(), rng);
        let start = rng.random_range(0..noise.len().max(1));
        self.add_below(&noise, level, snr_db, start);
    }

    /// Adds a sound as [`MelStream::add_background`] does, at `snr_db` below `level`.
    pub fn add_below(
        &mut self,
        sound: &[[f32; MEL_CHANNELS]],
        level: f32,
        snr_db: f32,
        start: usize,
    ) {
        let gain = level / loudness(sound).max(1e-3) * 10f32.powf(-snr_db / 10.0);
        self.add_background(sound, gain, start);
    }

    /// Returns the powers of every frame.
    pub fn powers(&self) -> &[[f32; MEL_CHANNELS]] {
        &self.powers
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.powers.len()
    }

    /// Returns the length in minutes.
    pub fn minutes(&self) -> f64 {
        self.len() as f64 / f64::from(FRAMES_PER_SECOND) / 60.0
    }

    /// Returns `true` if the row has no frames.
    pub fn is_empty(&self) -> bool {
        self.powers.is_empty()
    }

    /// Returns the features of the row, frame after frame, from a normalizer in its initial state.
    pub fn features(&self, params: &FrontendParams<'_>) -> Vec<i8> {
        let mut normalizer = Normalizer::new(params.normalization);
        let mut features = Vec::with_capacity(self.powers.len() * MEL_CHANNELS);
        for frame in &self.powers {
            let powers: MelPowers = frame.map(|p| p as u64);
            features.extend(normalizer.process(&powers));
        }
        features
    }
}

/// Pool of recorded noise to mix under speech. Its copies share the clips.
#[derive(Clone, Debug, Default)]
pub struct NoisePool {
    clips: Arc<[LogMel]>,
}

impl NoisePool {
    /// Creates a pool from recorded noise. Clips of 10 frames or fewer are dropped; the pool may be
    /// empty.
    pub fn new(clips: Vec<LogMel>) -> Self {
        Self { clips: clips.into_iter().filter(|c| c.len() > 10).collect() }
    }

    /// Returns a random background: with probability 0.6 a recorded one, if the pool has any;
    /// otherwise `frames` frames of steady synthetic noise.
    pub fn sample(&self, frames: usize, rng: &mut impl Rng) -> Powers {
        if rng.random_range(0..100) < 60 && !self.clips.is_empty() {
            let clip = &self.clips[rng.random_range(0..self.clips.len())];
            let mild = FeatureAugmentation {
                room_chance: 0.0,
                low_pass_chance: 0.1,
                ..FeatureAugmentation::STRONG
            };
            return mild.apply(clip, rng);
        }
        steady_noise(frames, rng)
    }
}

/// Returns steady noise of a random colour. The power of a band of `n` bins of Gaussian noise
/// fluctuates like a mean of `n` exponential variables, `-ln(Π u) / n` with uniform `u`; here `n`
/// is 2 to 9.
fn steady_noise(frames: usize, rng: &mut impl Rng) -> Powers {
    let tilt = rng.random_range(-0.25..0.1f32);
    let bumps: [f32; MEL_CHANNELS] = std::array::from_fn(|_| 0.5 * normal(rng));
    (0..frames)
        .map(|_| {
            std::array::from_fn(|c| {
                let bins = 2 + c / 5;
                let product: f32 = (0..bins).map(|_| rng.random::<f32>()).product();
                let fluctuation = -product.max(f32::MIN_POSITIVE).ln() / bins as f32;
                (tilt * c as f32 + bumps[c] + 12.0).exp2() * fluctuation
            })
        })
        .collect()
}

/// Sets random bands and stretches of time to 0 (SpecAugment: Park et al. 2019): up to two groups
/// of bands, and up to two stretches per 200 frames.
pub fn mask(features: &mut [i8], rng: &mut impl Rng) {
    let frames = features.len() / MEL_CHANNELS;
    for _ in 0..rng.random_range(0..=2) {
        let width = rng.random_range(1..=6);
        let first = rng.random_range(0..=MEL_CHANNELS - width);
        for frame in features.chunks_exact_mut(MEL_CHANNELS) {
            frame[first..first + width].fill(0);
        }
    }
    for _ in 0..rng.random_range(0..=2 * frames / 200) {
        let length = rng.random_range(1..=12);
        let first = rng.random_range(0..frames);
        for frame in features.chunks_exact_mut(MEL_CHANNELS).skip(first).take(length) {
            frame.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn ramp(frames: usize) -> LogMel {
        (0..frames)
            .map(|t| std::array::from_fn(|c| (5_000 + 7 * t as i16) + 11 * c as i16))
            .collect()
    }

    #[test]
    fn without_augmentation_a_clip_keeps_its_powers() {
        let clip = ramp(50);
        let powers = FeatureAugmentation::NONE.apply(&clip, &mut StdRng::seed_from_u64(1));
        assert_eq!(powers.len(), 50);
        for (found, clip) in powers.iter().zip(&clip) {
            for (found, x) in found.iter().zip(clip) {
                let exact = (f32::from(*x) / 256.0).exp2();
                assert!((found / exact - 1.0).abs() < 2e-3, "{found} {exact}");
            }
        }
    }

    #[test]
    fn tempo_changes_the_length_and_gain_the_level() {
        let clip = ramp(100);
        let flat = [0.0; MEL_CHANNELS];
        assert_eq!(resample(&clip, 1.25, 1.0, &flat).len(), 80);
        let louder = resample(&clip, 1.0, 1.0, &[10.0 * OCTAVES_PER_DB; MEL_CHANNELS]);
        let ratio = loudness(&louder) / loudness(&resample(&clip, 1.0, 1.0, &flat));
        assert!((ratio - 10.0).abs() < 0.1, "{ratio}");
    }

    #[test]
    fn a_room_rings_on_after_the_sound() {
        let mut powers = vec![[0.0; MEL_CHANNELS]; 60];
        powers[0] = [1e6; MEL_CHANNELS];
        reverberate(&mut powers, 0.3, 0.0);
        // 60 dB in 30 frames.
        let ratio = 10.0 * (powers[1][0] / powers[31][0]).log10();
        assert!((ratio - 60.0).abs() < 0.1, "{ratio}");
        // At 0 dB the tail holds as much energy as the sound.
        let tail: f32 = powers[1..].iter().map(|f| f[0]).sum();
        assert!((tail / 1e6 - 1.0).abs() < 0.25, "{tail}");
    }

    #[test]
    fn a_row_is_the_sum_of_its_sounds() {
        let mut stream = MelStream::new(5);
        stream.add(3, &[[2.0; MEL_CHANNELS]; 9], 0.5);
        stream.add_background(&[[1.0; MEL_CHANNELS], [3.0; MEL_CHANNELS]], 1.0, 1);
        let first: Vec<f32> = stream.powers.iter().map(|f| f[0]).collect();
        assert_eq!(first, [3.0, 1.0, 3.0, 2.0, 4.0]);
    }

    #[test]
    fn steady_noise_fluctuates_as_much_as_its_bins_let_it() {
        let noise = steady_noise(20_000, &mut StdRng::seed_from_u64(5));
        for (c, bins) in [(0, 2.0), (12, 4.0), (39, 9.0)] {
            let powers: Vec<f64> = noise.iter().map(|frame| f64::from(frame[c])).collect();
            let mean = powers.iter().sum::<f64>() / powers.len() as f64;
            let variance =
                powers.iter().map(|p| (p / mean - 1.0).powi(2)).sum::<f64>() / powers.len() as f64;
            assert!((variance * bins - 1.0).abs() < 0.1, "{c}: {variance}");
        }
    }

    #[test]
    fn edge_cases_do_not_panic() {
        let mut rng = StdRng::seed_from_u64(2);
        for frames in 0..4 {
            FeatureAugmentation::STRONG.apply(&ramp(frames), &mut rng);
        }
        MelStream::new(3).add_background(&[], 1.0, 5);
        NoisePool::default().sample(10, &mut rng);
        mask(&mut [1; 40], &mut rng);
    }
}
