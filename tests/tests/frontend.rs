//! The front end against the established one, over real speech, and the host's use of it.
//!
//! `pymicro-features` is TensorFlow Lite's micro front end as a Python package. It keeps 16 bits of
//! the spectrum, rescaled with each block, so bands far below the loudest one are noise of its
//! arithmetic: there the two must differ. Where its arithmetic resolves a band, and once the noise
//! estimate has settled, they must agree.
//!
//! Runs when `$WAKELING_PYTHON` (or `python3`) has the package and `~/.cache/wakeling-data` has
//! speech; says SKIP otherwise.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use wakeling::features::{
    FrontendTables, NormalizationKind, features, log_mel, mel_powers, normalize,
};
use wakeling_shared::frontend::{Features, Frontend, HOP_SAMPLES, MEL_CHANNELS, WINDOW_SAMPLES};

/// Frames until the slower noise estimate (0.025 a frame) has forgotten its start.
const SETTLING_FRAMES: usize = 100;
/// A band counts as resolved by the reference from this magnitude on, for a block that fills its 16
/// bits: one unit of its spectrum is a magnitude of 64, and each bin is off by a few.
const RESOLVED_MAGNITUDE: u64 = 256 * 64;
/// From this magnitude on the reference's noise hardly matters.
const CLEAR_MAGNITUDE: u64 = 1_024 * 64;
/// Below this feature the integers before the logarithm are so small that one unit is a step or
/// more.
const COARSE_FEATURE: i8 = 0;
/// Recordings of each corpus.
const FILES: usize = 25;

/// One recording, as `golden/pymicro.py` gives it.
struct Golden {
    pcm: Vec<i16>,
    frames: Vec<Features>,
}

/// Takes `count` little-endian 16-bit words after a 32-bit count of items.
fn take_words(bytes: &mut &[u8], words_per_item: usize) -> Vec<u16> {
    let (count, rest) = bytes.split_first_chunk::<4>().expect("a count");
    let (words, rest) = rest.split_at(2 * words_per_item * u32::from_le_bytes(*count) as usize);
    *bytes = rest;
    words.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect()
}

/// microWakeWord's quantization of the reference's integers.
fn quantize(feature: u16) -> i8 {
    ((i32::from(feature) * 256 + 333) / 666 - 128).clamp(-128, 127) as i8
}

/// By how much the reference scales up the block of a frame.
fn block_shift(window: &[i16]) -> u32 {
    let windowed = window.iter().enumerate().map(|(i, &sample)| {
        let angle = std::f64::consts::TAU * (i as f64 + 0.5) / window.len() as f64;
        (f64::from(sample) * (0.5 - 0.5 * angle.cos())).abs() as u32
    });
    windowed.max().unwrap_or(0).leading_zeros().saturating_sub(17)
}

fn recordings() -> Vec<PathBuf> {
    let Some(home) = env::home_dir() else { return Vec::new() };
    let base = home.join(".cache/wakeling-data/wav");
    let list = |corpus: &str| {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(base.join(corpus))
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

/// Counts of absolute differences in feature steps.
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
