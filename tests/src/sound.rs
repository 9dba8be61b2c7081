//! Synthetic sound: speech-like syllables, noise of changing level, silence, and clipping.
//!
//! Real speech and noise are available as well where `~/.cache/wakeling-data` exists.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use wakeling_audio as audio;

use crate::Random;

/// Samples per second.
pub const SAMPLE_RATE_HZ: usize = 16_000;

/// Returns `seconds` of syllables: harmonics of a gliding pitch under a moving formant, with breath
/// between them, silences, noise, and sometimes a level that clips.
pub fn speech_like(seed: u64, seconds: usize) -> Vec<i16> {
    let random = &mut Random::new(seed);
    let length = seconds * SAMPLE_RATE_HZ;
    let mut pcm = Vec::with_capacity(length);
    while pcm.len() < length {
        match random.below(8) {
            0 => silence(random, &mut pcm),
            1 | 2 => noise(random, &mut pcm),
            _ => syllable(random, &mut pcm),
        }
    }
    pcm.truncate(length);
    pcm
}

/// Returns a number of samples for 0.05 s to 0.55 s.
fn duration(random: &mut Random) -> usize {
    SAMPLE_RATE_HZ / 20 + random.below(SAMPLE_RATE_HZ / 2)
}

/// Adds digital silence, or silence with a random last bit.
fn silence(random: &mut Random, pcm: &mut Vec<i16>) {
    let flicker = random.below(2) as f64;
    pcm.extend((0..duration(random)).map(|_| (flicker * random.unit()).round() as i16));
}

/// Adds white noise, or noise smoothed to a rumble.
fn noise(random: &mut Random, pcm: &mut Vec<i16>) {
    let level = 10f64.powf(random.unit() * 2.0 + 2.3);
    let keep = if random.below(2) == 0 { 0.0 } else { 0.95 };
    let mut last = 0.0;
    for _ in 0..duration(random) {
        last = keep * last + (1.0 - keep) * random.unit();
        // The conversion by `as` saturates.
        pcm.push((level * last) as i16);
    }
}

fn syllable(random: &mut Random, pcm: &mut Vec<i16>) {
    const HARMONICS: usize = 24;
    let samples = duration(random);
    let pitch_hz = 90.0 * 10f64.powf(0.25 * (random.unit() + 1.0));
    let glide = 0.3 * random.unit();
    let formants_hz = [500.0 + 300.0 * random.unit(), 1_700.0 + 800.0 * random.unit()];
    // One in ten is loud enough to clip.
    let level = if random.below(10) == 0 { 60_000.0 } else { 6_000.0 * (1.2 + random.unit()) };
    let mut phase = 0.0;
    for n in 0..samples {
        let t = n as f64 / samples as f64;
        let hz = pitch_hz * (1.0 + glide * t);
        phase += std::f64::consts::TAU * hz / SAMPLE_RATE_HZ as f64;
        let voiced: f64 = (1..=HARMONICS)
            .map(|h| {
                let gain: f64 = formants_hz
                    .iter()
                    .map(|f| 1.0 / (1.0 + ((h as f64 * hz - f * (1.0 + 0.2 * t)) / 150.0).powi(2)))
                    .sum();
                gain * (h as f64 * phase).sin()
            })
            .sum();
        let envelope = (std::f64::consts::PI * t).sin();
        // The conversion by `as` saturates.
        pcm.push((level * envelope * (0.3 * voiced + 0.05 * random.unit())) as i16);
    }
}

/// Returns at most `seconds` of real speech mixed with noise, where the data are available.
pub fn recorded(seconds: usize) -> Option<Vec<i16>> {
    let root = PathBuf::from(env::var_os("HOME")?).join(".cache/wakeling-data/wav");
    let length = seconds * SAMPLE_RATE_HZ;
    let speech = joined(&root.join("so762-test"), length)?;
    let noise = joined(&root.join("gsc-bg"), length)?;
    let mix = |(&s, &n): (&i16, &i16)| s.saturating_add(n / 4);
    Some(speech.iter().zip(noise.iter().cycle()).map(mix).collect())
}

fn joined(folder: &Path, length: usize) -> Option<Vec<i16>> {
    let mut files: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).collect();
    files.sort();
    let mut pcm = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "wav")) {
        pcm.extend(audio::read(file).ok()?);
        if pcm.len() >= length {
            pcm.truncate(length);
            break;
        }
    }
    (!pcm.is_empty()).then_some(pcm)
}

/// Returns `seconds` of [`speech_like`] after every six seconds of hiss, twice.
pub fn between_silences(seed: u64, seconds: usize) -> Vec<i16> {
    let mut random = Random::new(seed);
    let mut pcm = Vec::new();
    for part in 0..2 {
        pcm.extend((0..6 * SAMPLE_RATE_HZ).map(|_| (12.0 * random.unit()) as i16));
        pcm.extend(speech_like(seed + part, seconds));
    }
    pcm
}
