//! Measures the time for a step of the network and for a second of audio on this machine, and the
//! hours of audio that one core converts to features in a second:
//! `cargo run --release -p wakeling-shared --example speed -- MODEL…`.
//!
//! Each figure is the least of several rounds, since other programs can only slow a round down.

use std::{env, fs, hint::black_box, process::ExitCode, time::Instant};

use wakeling_shared::{
    engine::Engine,
    frontend::{Frontend, MEL_CHANNELS, SAMPLE_RATE_HZ},
    model::{MAX_KEYWORDS, Model},
    pipeline::Pipeline,
};

const ROUNDS: usize = 7;
const STEPS: usize = 2_000;
const SECONDS: usize = 10;

fn main() -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    println!("model MACs_a_step ns_a_step us_a_second_of_audio feature_hours_a_second");
    for path in env::args().skip(1) {
        if let Err(error) = measure(&path) {
            eprintln!("{path}: {error}");
            status = ExitCode::FAILURE;
        }
    }
    status
}

fn measure(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = fs::read(path)?;
    let model = Model::load(&bytes)?;
    let mut arena = vec![0; model.arena_bytes()];
    let steps = least(|| step_all(&model, &mut arena)) / STEPS as f64;
    let audio = least(|| push_all(&model, &mut arena)) / SECONDS as f64;
    let features = least(|| all_features(&model)) / SECONDS as f64;
    println!(
        "{path} {} {steps:.0} {:.0} {:.2}",
        model.step_macs(),
        audio / 1e3,
        1e9 / features / 3_600.0
    );
    Ok(())
}

/// Returns the nanoseconds of the fastest round.
fn least(mut round: impl FnMut()) -> f64 {
    let mut timed = || {
        let start = Instant::now();
        round();
        start.elapsed().as_nanos() as f64
    };
    (0..ROUNDS).map(|_| timed()).fold(f64::MAX, f64::min)
}

/// Runs all steps. The arena holds [`Model::arena_bytes`], so neither this nor [`push_all`] fails.
fn step_all(model: &Model<'_>, arena: &mut [i8]) {
    let Ok(mut engine) = Engine::new(model, arena) else { return };
    let mut logits = [0; MAX_KEYWORDS];
    for step in 0..STEPS {
        for (i, x) in engine.input().iter_mut().enumerate() {
            *x = (step * 31 + i * 17) as i8;
        }
        black_box(engine.step(&mut logits));
    }
    black_box(logits);
}

fn push_all(model: &Model<'_>, arena: &mut [i8]) {
    let Ok(mut pipeline) = Pipeline::new(model, arena) else { return };
    let noise = noise();
    for _ in 0..SECONDS {
        pipeline.push(&noise, |step| {
            black_box(step.logits);
        });
    }
}

fn all_features(model: &Model<'_>) {
    let mut frontend = Frontend::new(&model.frontend);
    let mut features = [0; MEL_CHANNELS];
    let noise = noise();
    for _ in 0..SECONDS {
        let mut rest = &noise[..];
        while !rest.is_empty() {
            rest = &rest[frontend.push(rest, &mut features).0..];
            black_box(&features);
        }
    }
}

/// Returns one second of white noise.
fn noise() -> Vec<i16> {
    let mut seed = 1u32;
    (0..SAMPLE_RATE_HZ)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 18) as i16
        })
        .collect()
}
