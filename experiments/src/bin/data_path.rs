//! Benchmark of the data path: hours of audio per second of one core, from files to features, by
//! file format.
//!
//! `cargo run --release -p wakeling-experiments --bin data_path -- FOLDER…` with folders of recordings in any mixture
//! of formats. Each file is read once beforehand, so that it is in the page cache. It is then
//! decoded and resampled to 16 kHz by [`audio::read_recording`], and converted to log-mel powers by
//! the device's front end, on one thread. The result is the minimum of five rounds of that thread's
//! CPU time.

use std::{collections::BTreeMap, path::PathBuf};

use wakeling_audio as audio;
use wakeling_audio::features::{FrontendTables, NormalizationKind, log_mel, mel_powers};
use wakeling_data::dataset::Dataset;
use wakeling_experiments::{Result, cpu_s};

const ROUNDS: usize = 5;

#[derive(Default)]
struct TrialResult {
    files: usize,
    bytes: u64,
    hours: f64,
    decode_s: f64,
    features_s: f64,
}

fn main() -> Result<()> {
    let mut examples = Vec::new();
    for folder in std::env::args_os().skip(1).map(PathBuf::from) {
        examples.extend(Dataset::open(folder)?.examples);
    }
    let tables = FrontendTables::default();
    let frontend = tables.params(NormalizationKind::Log);
    let mut results: BTreeMap<(String, u32), TrialResult> = BTreeMap::new();
    for example in &examples {
        let (mut decode_s, mut features_s) = (f64::INFINITY, f64::INFINITY);
        let mut recording = example.record()?;
        for _ in 0..ROUNDS {
            let start = cpu_s();
            recording = audio::read_recording(&example.path, None, 0.0, None)?;
            let decoded = cpu_s();
            let frames = log_mel(&mel_powers(&recording.samples, &frontend));
            let done = cpu_s();
            std::hint::black_box(frames);
            decode_s = decode_s.min(decoded - start);
            features_s = features_s.min(done - decoded);
        }
        let key = (format!("{:?}", recording.format).to_lowercase(), recording.rate_hz);
        let results = results.entry(key).or_default();
        results.files += 1;
        results.bytes += std::fs::metadata(&example.path).map_or(0, |m| m.len());
        results.hours += recording.samples.len() as f64 / 16_000.0 / 3_600.0;
        results.decode_s += decode_s;
        results.features_s += features_s;
    }
    println!("| format | files | hours | MB/h | decode, h per core-s | features | both |");
    println!("|---|---|---|---|---|---|---|");
    for ((format, rate_hz), f) in results {
        let rate = |seconds: f64| f.hours / seconds;
        println!(
            "| {format}, {} kHz | {} | {:.2} | {:.0} | {:.1} | {:.1} | {:.2} |",
            f64::from(rate_hz) / 1_000.0,
            f.files,
            f.hours,
            f.bytes as f64 / 1e6 / f.hours,
            rate(f.decode_s),
            rate(f.features_s),
            rate(f.decode_s + f.features_s)
        );
    }
    Ok(())
}
