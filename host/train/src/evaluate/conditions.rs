//! Test conditions for recordings of a keyword: silence, or noise at a given signal-to-noise ratio.
//!
//! A level is the energy of the loudest 32 ms, as in Picovoice's wake word benchmark (`mixer.py`).
//! It compares the loudest vowel with the loudest moment of the noise under the recording,
//! regardless of pauses in either.
//!
//! Shapes: `(samples)` of 16 kHz mono i16 in and out.

use std::{ops::Range, path::Path};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;
use wakeling_shared::frontend::FrontendParams;

use crate::{Error, Result};
use wakeling_audio::{
    SAMPLE_RATE,
    features::{log_mel, mel_powers},
    to_i16,
};
use wakeling_core::{console, progress::progress_bar};
use wakeling_data::{dataset::Example, mixing::MelStream};

/// Silence before a recording, in samples: 2 s.
pub(super) const LEAD_SAMPLES: usize = 32_000;
/// Noise before a recording, in samples: 4 s, in which normalization and network settle.
const NOISE_LEAD_SAMPLES: usize = 64_000;
/// Silence or noise after a recording, in samples: 1.2 s.
pub(super) const TAIL_SAMPLES: usize = 19_200;
/// Length of the section whose energy is a level, in samples: 32 ms.
const LEVEL_SAMPLES: usize = 512;
/// Minimum energy of the noise under the recording, relative to the whole noise: −20 dB. Quieter
/// noise is sampled again. Otherwise a moment of silence, raised to the level, would make the noise
/// around it extremely loud.
const LULL: f64 = 0.01;
/// Maximum number of samplings.
const SAMPLES: usize = 20;
/// 2⁶⁴ divided by the golden ratio; spreads small numbers over all bits.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
/// Maximum length of noise kept in memory, in seconds: an hour.
const MOST_NOISE_S: f64 = 3_600.0;

/// Padded clip: a recording and the sound around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaddedClip {
    /// All samples that are played.
    pub pcm: Vec<i16>,
    /// Position of the recording, in samples.
    pub recording: Range<usize>,
}

impl PaddedClip {
    /// Returns the device's steps that end within the recording.
    pub fn steps(&self, steps_per_second: f64) -> Range<usize> {
        steps(&self.recording, steps_per_second)
    }
}

/// Returns the device's steps that end within these samples.
pub(super) fn steps(samples: &Range<usize>, steps_per_second: f64) -> Range<usize> {
    let step = |sample: usize| (sample as f64 / f64::from(SAMPLE_RATE) * steps_per_second) as usize;
    step(samples.start)..step(samples.end)
}

/// Clips of noise for testing.
#[derive(Clone, Debug)]
pub struct Noise {
    clips: Vec<Vec<i16>>,
}

impl Noise {
    /// Creates noise from clips in memory.
    pub fn of(clips: Vec<Vec<i16>>) -> Self {
        Self { clips }
    }

    /// Reads up to an hour of the clips, sampled with `seed`. Clips that cannot be read are logged.
    /// `path` is their origin, for error messages.
    ///
    /// # Errors
    /// [`Error::SilentNoise`] if no clip has any sound.
    pub fn load(path: &Path, examples: &[Example], seed: u64) -> Result<Self> {
        let mut order: Vec<&Example> = examples.iter().collect();
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        let (mut clips, mut seconds) = (Vec::new(), 0.0);
        for example in order {
            let most = ((MOST_NOISE_S - seconds) * f64::from(SAMPLE_RATE)).ceil() as usize;
            match example.load_samples(0..most) {
                Ok(clip) if clip.iter().any(|&s| s != 0) => {
                    seconds += clip.len() as f64 / f64::from(SAMPLE_RATE);
                    clips.push(clip);
                }
                Ok(_) => {}
                Err(error) => log::info!("skipped: {}", console::explained(&error)),
            }
            if seconds >= MOST_NOISE_S {
                break;
            }
        }
        if clips.is_empty() {
            return Err(Error::SilentNoise { path: path.to_owned() });
        }
        Ok(Self { clips })
    }

    /// Returns a clip, looped from a random position, that is not much quieter in `under` than
    /// elsewhere.
    fn sample(&self, samples: usize, under: Range<usize>, rng: &mut StdRng) -> Vec<f32> {
        let mut best = (0.0, vec![0.0; samples]);
        for _ in 0..SAMPLES {
            let Some(clip) = self.clips.get(rng.random_range(0..self.clips.len().max(1))) else {
                break;
            };
            let noise = loop_from(clip, samples, rng);
            let share = level(&noise[under.clone()]) / level(&noise).max(f64::MIN_POSITIVE);
            if share > best.0 {
                best = (share, noise);
            }
            if best.0 >= LULL {
                break;
            }
        }
        best.1
    }
}

/// Test condition in which recordings are played.
#[derive(Clone, Copy, Debug)]
pub enum TestConditions<'a> {
    /// Silence before and after the recording.
    Silence,
    /// Noise before, under and after the recording.
    Noise {
        /// Noise to sample from.
        noise: &'a Noise,
        /// Level of the loudest 32 ms of a recording relative to the loudest 32 ms of the noise
        /// under it, in dB.
        snr_db: f32,
        /// Seed of the sampling. The same seed gives the same noise for the same recordings, at
        /// every level.
        seed: u64,
    },
}

impl TestConditions<'_> {
    /// Returns the name for the head of a table: `clean`, `10 dB`.
    pub fn name(&self) -> String {
        match self {
            Self::Silence => "clean".into(),
            Self::Noise { snr_db, .. } => format!("{snr_db} dB"),
        }
    }

    /// Pads a recording and mixes it with the noise; `index` is its number among the recordings.
    ///
    /// The recording keeps its level, unless the sum would clip; then the sum is attenuated.
    pub fn place(&self, recording: &[i16], index: usize) -> PaddedClip {
        let lead = match self {
            Self::Silence => LEAD_SAMPLES,
            Self::Noise { .. } => NOISE_LEAD_SAMPLES,
        };
        let within = lead..lead + recording.len();
        let mut pcm = vec![0; within.end + TAIL_SAMPLES];
        pcm[within.clone()].copy_from_slice(recording);
        if let Self::Noise { noise, snr_db, seed } = *self {
            // The noise of a recording depends on its index, not on the order of processing.
            let mut rng = StdRng::seed_from_u64(seed ^ (index as u64).wrapping_mul(GOLDEN_RATIO));
            let noise = noise.sample(pcm.len(), within.clone(), &mut rng);
            pcm = mix(&pcm, &noise, within.clone(), snr_db);
        }
        PaddedClip { pcm, recording: within }
    }

    /// Mixes the recordings into streams of mel powers, and returns the steps at which each one is.
    /// Recordings that cannot be read are logged and left out.
    pub fn streams(
        &self,
        recordings: &[Example],
        frontend: &FrontendParams<'_>,
        steps_per_second: f64,
    ) -> (Vec<MelStream>, Vec<Range<usize>>) {
        let bar = progress_bar(recordings.len() as u64, "words");
        let stream = |(index, example): (usize, &Example)| {
            bar.inc(1);
            let recording = match example.load() {
                Ok(recording) => recording,
                Err(error) => {
                    bar.suspend(|| log::info!("skipped: {}", console::explained(&error)));
                    return None;
                }
            };
            let placed = self.place(&recording, index);
            let frames = log_mel(&mel_powers(&placed.pcm, frontend));
            let mut stream = MelStream::new(frames.len());
            stream.add_clip(0, &frames);
            Some((stream, placed.steps(steps_per_second)))
        };
        let streams: Vec<Option<_>> = recordings.par_iter().enumerate().map(stream).collect();
        bar.finish_and_clear();
        streams.into_iter().flatten().unzip()
    }
}

/// Returns the energy of the loudest 32 ms, or of all of `x` if it is shorter.
fn level(x: &[f32]) -> f64 {
    let square = |v: &f32| f64::from(*v) * f64::from(*v);
    let mut sum: f64 = x.iter().take(LEVEL_SAMPLES).map(square).sum();
    let mut loudest = sum;
    for (new, old) in x.iter().skip(LEVEL_SAMPLES).zip(x) {
        sum += square(new) - square(old);
        loudest = loudest.max(sum);
    }
    loudest
}

/// Adds `noise` at `snr_db` below the level of `within`; see [`TestConditions::Noise`].
fn mix(pcm: &[i16], noise: &[f32], within: Range<usize>, snr_db: f32) -> Vec<i16> {
    let mut x: Vec<f32> = pcm.iter().map(|&s| f32::from(s)).collect();
    let (speech, under) = (level(&x[within.clone()]), level(&noise[within]));
    let gain = (speech / under).sqrt() as f32 * 10f32.powf(-snr_db / 20.0);
    if !gain.is_finite() {
        return pcm.to_vec();
    }
    x.iter_mut().zip(noise).for_each(|(x, n)| *x += gain * n);
    let peak = x.iter().fold(0f32, |peak, v| peak.max(v.abs()));
    let fit = (f32::from(i16::MAX) / peak).min(1.0);
    x.iter_mut().for_each(|v| *v *= fit);
    to_i16(&x)
}

/// Returns `length` samples of `noise` from a random place on, starting over as often as needed;
/// zeros if there is none.
fn loop_from(noise: &[i16], length: usize, rng: &mut impl Rng) -> Vec<f32> {
    if noise.is_empty() {
        return vec![0.0; length];
    }
    let start = rng.random_range(0..noise.len());
    noise.iter().cycle().skip(start).take(length).map(|&n| f32::from(n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise() -> Noise {
        let mut rng = StdRng::seed_from_u64(5);
        // Three clips: bright, dark and humming.
        let mut white = || rng.random_range(-3_000.0..3_000.0f32);
        let bright: Vec<i16> = (0..50_000).map(|_| white() as i16).collect();
        let mut low = 0.0;
        let mut dark = |_| {
            low += 0.05 * (white() - low);
            (4.0 * low) as i16
        };
        let dark = (0..50_000).map(&mut dark).collect();
        let hum = (0..50_000).map(|i| (2_000.0 * (i as f32 * 0.04).sin()) as i16).collect();
        Noise { clips: vec![bright, dark, hum] }
    }

    fn recording() -> Vec<i16> {
        // A loud vowel between quiet ones.
        let loudness = |i: usize| if (6_000..9_000).contains(&i) { 9_000.0 } else { 900.0 };
        (0..16_000).map(|i| (loudness(i) * (i as f32 * 0.2).sin()) as i16).collect()
    }

    fn db(energy: f64) -> f64 {
        10.0 * energy.log10()
    }

    #[test]
    fn the_loudest_moments_lie_as_far_apart_as_asked() {
        let (noise, recording) = (noise(), recording());
        for snr_db in [20.0f32, 10.0, 0.0] {
            for index in 0..30 {
                let conditions = TestConditions::Noise { noise: &noise, snr_db, seed: 3 };
                let PaddedClip { pcm, recording: within } = conditions.place(&recording, index);
                let gain = {
                    // The noise that was added, given that nothing clipped.
                    let clean: Vec<f32> = recording.iter().map(|&s| f32::from(s)).collect();
                    let mixed: Vec<f32> = pcm.iter().map(|&s| f32::from(s)).collect();
                    let under: Vec<f32> =
                        mixed[within.clone()].iter().zip(&clean).map(|(m, c)| m - c).collect();
                    db(level(&clean)) - db(level(&under))
                };
                assert!((gain - f64::from(snr_db)).abs() < 0.2, "{snr_db} dB asked, {gain} found");
                assert!(within.start >= 48_000, "less than 3 s of noise before the recording");
                assert!(pcm[..within.start].iter().any(|&s| s != 0));
            }
        }
    }

    #[test]
    fn noise_depends_on_seed_and_recording_alone() {
        let (noise, recording) = (noise(), recording());
        let place = |seed, index| {
            TestConditions::Noise { noise: &noise, snr_db: 10.0, seed }.place(&recording, index)
        };
        assert_eq!(place(1, 0), place(1, 0));
        assert_ne!(place(1, 0), place(1, 1));
        assert_ne!(place(1, 0), place(2, 0));
    }

    #[test]
    fn lull_below_the_recording_is_not_raised() {
        // One burst of 0.1 s in 10 s: it is under the recording, or the noise is sampled again.
        let mut clip = vec![0i16; 160_000];
        clip[..1_600].iter_mut().enumerate().for_each(|(i, s)| *s = (i % 7) as i16 * 100);
        clip[1_600..].iter_mut().enumerate().for_each(|(i, s)| *s = (i % 2) as i16);
        let noise = Noise { clips: vec![clip] };
        let recording = recording();
        for index in 0..10 {
            let placed = TestConditions::Noise { noise: &noise, snr_db: 10.0, seed: 1 }
                .place(&recording, index);
            let x: Vec<f32> = placed.pcm.iter().map(|&s| f32::from(s)).collect();
            assert!(
                level(&x) < 3.0 * level(&x[placed.recording]),
                "deafening around the recording"
            );
        }
    }

    #[test]
    fn mixing_never_clips_and_silence_stays_silent() {
        let noise = noise();
        let loud = vec![i16::MAX; 4_000];
        let placed =
            TestConditions::Noise { noise: &noise, snr_db: -10.0, seed: 1 }.place(&loud, 0);
        let at_limit = placed.pcm.iter().filter(|s| s.unsigned_abs() >= 32_767).count();
        assert!(at_limit < 3, "{at_limit} samples are cut off");
        let in_noise = TestConditions::Noise { noise: &noise, snr_db: 10.0, seed: 1 };
        assert!(in_noise.place(&[0; 900], 0).pcm.iter().all(|&s| s == 0));
        assert!(in_noise.place(&[], 0).recording.is_empty());
        let clean = TestConditions::Silence.place(&[5; 320], 0);
        assert_eq!(clean.steps(50.0), 100..101);
        assert_eq!(clean.pcm.iter().filter(|&&s| s == 5).count(), 320);
    }
}
