//! Tests of the front end against the established one, over real speech, and of the host's use of
//! it.
//!
//! `pymicro-features` is TensorFlow Lite's micro front end as a Python package. It keeps 16 bits of
//! the spectrum, rescaled per block, so bands far below the loudest one hold the noise of its
//! arithmetic. There the two must differ. They must agree where its arithmetic resolves a band,
//! once the noise estimate has settled.
//!
//! Runs if `$WAKELING_PYTHON` (or `python3`) has the package and `~/.cache/wakeling-data` has
//! speech; prints SKIP otherwise.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use wakeling_audio::features::{
    FrontendTables, NormalizationKind, features, log_mel, mel_powers, normalize,
};
use wakeling_shared::frontend::{
    FFT_SIZE, Features, Frontend, FrontendParams, HOP_SAMPLES, MEL_CHANNELS, MelPowers, Normalizer,
    WINDOW_SAMPLES,
};
use wakeling_tests::{Random, sound};

/// Number of frames until the slower noise estimate (0.025 per frame) no longer depends on its
/// start.
const SETTLING_FRAMES: usize = 100;
/// Least magnitude of a band that the reference resolves, for a block that fills its 16 bits. One
/// unit of its spectrum is a magnitude of 64, and each bin is off by a few.
const RESOLVED_MAGNITUDE: u64 = 256 * 64;
/// Magnitude from which on the reference's noise hardly matters.
const CLEAR_MAGNITUDE: u64 = 1_024 * 64;
/// Feature below which the integers before the logarithm are so small that one unit is at least a
/// step.
const COARSE_FEATURE: i8 = 0;
/// Number of recordings from each dataset.
const FILES: usize = 25;

/// One recording from `golden/pymicro.py`.
struct Golden {
    pcm: Vec<i16>,
    frames: Vec<Features>,
}

/// Reads a 32-bit count of items, then `words_per_item` little-endian 16-bit words for each.
fn take_words(bytes: &mut &[u8], words_per_item: usize) -> Vec<u16> {
    let (count, rest) = bytes.split_first_chunk::<4>().expect("a count");
    let (words, rest) = rest.split_at(2 * words_per_item * u32::from_le_bytes(*count) as usize);
    *bytes = rest;
    words.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect()
}

/// Quantizes the reference's integers like microWakeWord.
fn quantize(feature: u16) -> i8 {
    ((i32::from(feature) * 256 + 333) / 666 - 128).clamp(-128, 127) as i8
}

/// Returns the bits by which the reference scales up the block of a frame.
fn block_shift(window: &[i16]) -> u32 {
    let windowed = window.iter().enumerate().map(|(i, &sample)| {
        let angle = std::f64::consts::TAU * (i as f64 + 0.5) / window.len() as f64;
        (f64::from(sample) * (0.5 - 0.5 * angle.cos())).abs() as u32
    });
    windowed.max().unwrap_or(0).leading_zeros().saturating_sub(17)
}

fn recordings() -> Vec<PathBuf> {
    let Some(home) = env::home_dir() else { return Vec::new() };
    let pretrained = home.join(".cache/wakeling-data/wav");
    let list = |dataset: &str| {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(pretrained.join(dataset))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        paths.sort();
        let step = (paths.len() / FILES).max(1);
        paths.into_iter().step_by(step).take(FILES)
    };
    ["so762-test", "wuw", "fotaq"].into_iter().flat_map(list).collect()
}

fn golden(recordings: &[PathBuf]) -> Result<Vec<Golden>, String> {
    let python = env::var("WAKELING_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/pymicro.py");
    let output = Command::new(&python)
        .arg(script)
        .args(recordings)
        .output()
        .map_err(|error| format!("{python}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let (mut bytes, mut golden) = (&output.stdout[..], Vec::new());
    while !bytes.is_empty() {
        let pcm = take_words(&mut bytes, 1).into_iter().map(|word| word as i16).collect();
        let frames = take_words(&mut bytes, MEL_CHANNELS);
        let frames = frames.as_chunks().0.iter().map(|frame| frame.map(quantize)).collect();
        golden.push(Golden { pcm, frames });
    }
    Ok(golden)
}

/// Counts of absolute differences, in feature steps.
struct Histogram([u64; 256]);

impl Histogram {
    fn add(&mut self, a: i8, b: i8) {
        self.0[usize::from(a.abs_diff(b))] += 1;
    }

    fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    fn mean(&self) -> f64 {
        let sum: u64 = self.0.iter().zip(0..).map(|(n, steps)| n * steps).sum();
        sum as f64 / self.count() as f64
    }

    fn share_beyond(&self, steps: usize) -> f64 {
        self.0[steps + 1..].iter().sum::<u64>() as f64 / self.count() as f64
    }

    fn largest(&self) -> usize {
        self.0.iter().rposition(|&n| n > 0).unwrap_or(0)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} features, mean difference {:.4} steps, {:.3} % beyond 1, {:.3} % beyond 4, largest {}",
            self.count(),
            self.mean(),
            100.0 * self.share_beyond(1),
            100.0 * self.share_beyond(4),
            self.largest()
        )
    }
}

#[test]
fn pcan_features_are_those_of_pymicro_features() {
    let recordings = recordings();
    if recordings.is_empty() {
        println!("SKIP: no speech under ~/.cache/wakeling-data/wav");
        return;
    }
    let golden = match golden(&recordings) {
        Ok(golden) => golden,
        Err(problem) => {
            println!("SKIP: pymicro-features did not run: {problem}");
            return;
        }
    };
    let tables = FrontendTables::default();
    let params = tables.params(NormalizationKind::Pcan);
    let [mut all, mut resolved, mut clear] = [const { Histogram([0; 256]) }; 3];
    for recording in &golden {
        let found = features(&recording.pcm, &params);
        let powers = mel_powers(&recording.pcm, &params);
        assert_eq!(found.len(), recording.frames.len());
        let frames = found.iter().zip(&recording.frames).zip(&powers);
        for (hop, ((found, expected), powers)) in frames.enumerate().skip(SETTLING_FRAMES) {
            let window = &recording.pcm[hop * HOP_SAMPLES..][..WINDOW_SAMPLES];
            let shift = block_shift(window);
            for ((&a, &b), &power) in found.iter().zip(expected).zip(powers) {
                all.add(a, b);
                let magnitude = (power.isqrt() >> 6) << shift;
                if a.min(b) >= COARSE_FEATURE && magnitude >= RESOLVED_MAGNITUDE {
                    resolved.add(a, b);
                }
                if a.min(b) >= COARSE_FEATURE && magnitude >= CLEAR_MAGNITUDE {
                    clear.add(a, b);
                }
            }
        }
    }
    println!("{} recordings\nall: {all}\nresolved: {resolved}\nclear: {clear}", golden.len());
    assert!(clear.count() > 10_000);
    assert!(all.mean() < 2.5);
    assert!(resolved.mean() < 0.25 && resolved.share_beyond(4) < 0.005);
    assert!(clear.mean() < 0.15 && clear.share_beyond(1) < 0.01 && clear.largest() <= 8);
}

#[test]
fn the_host_and_the_device_give_the_same_features() {
    let tables = FrontendTables::default();
    let pcm: Vec<i16> = (0..20_000i64).map(|i| ((i * i * 7919) % 24_001 - 12_000) as i16).collect();
    for kind in NormalizationKind::ALL {
        let params = tables.params(kind);
        let whole = features(&pcm, &params);
        let (mut device, mut frame, mut hop) = (Frontend::new(&params), [0; MEL_CHANNELS], 0);
        for chunk in pcm.chunks(37) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let (consumed, ready) = device.push(rest, &mut frame);
                rest = &rest[consumed..];
                if ready {
                    assert_eq!(frame, whole[hop]);
                    hop += 1;
                }
            }
        }
        assert_eq!(hop, whole.len());
        // The trainer's path through logarithms differs by their rounding: one step, or, in the
        // reference's chain, one unit of its integers, of which the first is 51 steps.
        let trained = normalize(&log_mel(&mel_powers(&pcm, &params)), &params);
        let steps = if kind == NormalizationKind::Pcan { 51 } else { 1 };
        for (a, b) in whole.iter().flatten().zip(trained.iter().flatten()) {
            assert!(a.abs_diff(*b) <= steps, "{kind:?}: {a} {b}");
        }
    }
}

/// Transcription in `f64` of the front end's first half, by the definition of the transform.
struct Reference {
    /// Table of `cos` and `sin` of 2πk/512.
    circle: Vec<[f64; 2]>,
    hann: Vec<f64>,
    /// Segment, and share of the power for the band below, for each bin from `start` on.
    shares: Vec<(usize, f64)>,
    start: usize,
}

impl Reference {
    fn new(params: &FrontendParams<'_>) -> Self {
        let turn = |k: usize, of: usize| std::f64::consts::TAU * k as f64 / of as f64;
        let words = |table: &[u8]| -> Vec<usize> {
            table.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word).into()).collect()
        };
        let (starts, weights) = (words(params.mel_starts), words(params.mel_weights));
        let segment = |bin| starts.iter().rposition(|&start| start <= bin).expect("in a segment");
        let shares = weights.iter().zip(starts[0]..);
        Self {
            circle: (0..FFT_SIZE).map(|k| turn(k, FFT_SIZE)).map(|a| [a.cos(), a.sin()]).collect(),
            hann: (0..WINDOW_SAMPLES)
                .map(|i| 0.5 - 0.5 * turn(2 * i + 1, 2 * WINDOW_SAMPLES).cos())
                .collect(),
            shares: shares.map(|(&w, bin)| (segment(bin), w as f64 / 4_096.0)).collect(),
            start: starts[0],
        }
    }

    /// Returns `64 · Σ w·|X|²` of each band.
    fn powers(&self, window: &[i16]) -> [f64; MEL_CHANNELS] {
        let x: Vec<f64> = window.iter().zip(&self.hann).map(|(&x, h)| f64::from(x) * h).collect();
        let mut bands = [0.0; MEL_CHANNELS + 2];
        for (&(segment, share), bin) in self.shares.iter().zip(self.start..) {
            let [re, im] = x.iter().enumerate().fold([0.0, 0.0], |[re, im], (n, x)| {
                let [cos, sin] = self.circle[bin * n % FFT_SIZE];
                [re + x * cos, im - x * sin]
            });
            bands[segment] += 64.0 * share * (re * re + im * im);
            bands[segment + 1] += 64.0 * (1.0 - share) * (re * re + im * im);
        }
        // The lowest share is below the first band.
        std::array::from_fn(|channel| bands[channel + 1])
    }
}

/// Returns white noise of `rms` units of a sample, rounded to integers like the output of a
/// converter.
fn quiet_noise(seed: u64, rms: f64) -> Vec<i16> {
    let mut random = Random::new(seed);
    // The sum of twelve uniform numbers in -1…1 is nearly normal, with deviation 2.
    (0..4 * sound::SAMPLE_RATE_HZ)
        .map(|_| (0.5 * rms * (0..12).map(|_| random.unit()).sum::<f64>()).round() as i16)
        .collect()
}

/// Measures the distance of powers, and of features from them, to the reference: speech, loud and
/// quiet, and noise of a few units, where integers are least precise.
#[test]
fn powers_and_features_are_those_of_the_f64_reference() {
    /// 1 in Q6.
    const UNIT: f64 = 64.0;
    let tables = FrontendTables::default();
    let params = tables.params(NormalizationKind::Log);
    let reference = Reference::new(&params);
    let mut sounds: Vec<(String, Vec<i16>)> = [0.5, 1.0, 2.0, 4.0, 30.0]
        .iter()
        .map(|&rms| (format!("noise of rms {rms}"), quiet_noise(3, rms)))
        .collect();
    let speech = sound::recorded(8).unwrap_or_else(|| sound::speech_like(1, 8));
    for divisor in [1, 32, 1_024] {
        let quiet = speech.iter().map(|&x| (f64::from(x) / f64::from(divisor)).round() as i16);
        sounds.push((format!("speech / {divisor}"), quiet.collect()));
    }
    for (name, pcm) in sounds {
        let (mut worst, mut squares, mut count) = (0f64, 0.0, 0u64);
        let mut exact = Vec::new();
        for (hop, powers) in mel_powers(&pcm, &params).iter().enumerate() {
            let expected = reference.powers(&pcm[hop * HOP_SAMPLES..][..WINDOW_SAMPLES]);
            for (&p, e) in powers.iter().zip(expected) {
                // Errors are in octaves; a unit of power keeps digital silence finite.
                let error = ((p as f64 + UNIT) / (e + UNIT)).log2().abs();
                worst = worst.max(error);
                squares += error * error;
                count += 1;
            }
            exact.push(expected.map(|e| e as u64) as MelPowers);
        }
        let rms = (squares / count as f64).sqrt();
        let mut steps = Histogram([0; 256]);
        let found = features(&pcm, &params);
        let mut normalizer = Normalizer::new(params.normalization);
        for (found, exact) in found.iter().zip(&exact) {
            let expected = normalizer.process(exact);
            found.iter().zip(expected).for_each(|(&a, b)| steps.add(a, b));
        }
        println!("{name}: rms {rms:.2e} octaves, worst {worst:.2e}; {steps}");
        assert!(rms < 0.02 && worst < 0.3, "{name}");
        assert!(steps.mean() < 0.02 && steps.largest() <= 1, "{name}");
    }
}
