//! How long this machine takes for a step of the network, and for a second of audio:
//! `cargo run --release -p wakeling-shared --example speed -- MODEL…`.
//!
//! Each figure is the least of several rounds, since other programs can only add to it.

use std::{env, fs, hint::black_box, process::ExitCode, time::Instant};

use wakeling_shared::{
    artifact::{MAX_WORDS, Model},
    engine::Engine,
    frontend::SAMPLE_RATE_HZ,
    pipeline::Pipeline,
};

const ROUNDS: usize = 7;
const STEPS: usize = 2_000;
const SECONDS: usize = 10;

fn main() -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    println!("model MACs_a_step ns_a_step us_a_second_of_audio");
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
    let audio = least(|| hear_all(&model, &mut arena)) / SECONDS as f64;
    println!("{path} {} {steps:.0} {:.0}", model.step_macs(), audio / 1e3);
    Ok(())
}

/// Nanoseconds of the fastest round.
fn least(mut round: impl FnMut()) -> f64 {
    let mut timed = || {
        let start = Instant::now();
        round();
        start.elapsed().as_nanos() as f64
    };
    (0..ROUNDS).map(|_| timed()).fold(f64::MAX, f64::min)
}

/// The arena holds [`Model::arena_bytes`], so neither this nor [`hear_all`] fails.
fn step_all(model: &Model<'_>, arena: &mut [i8]) {
    let Ok(mut engine) = Engine::new(model, arena) else { return };
    let mut logits = [0; MAX_WORDS];
    for step in 0..STEPS {
        for (i, x) in engine.input().iter_mut().enumerate() {
            *x = (step * 31 + i * 17) as i8;
        }
        black_box(engine.step(&mut logits));
    }
    black_box(logits);
}

fn hear_all(model: &Model<'_>, arena: &mut [i8]) {
    let Ok(mut pipeline) = Pipeline::new(model, arena) else { return };
    let mut seed = 1u32;
    let noise: Vec<i16> = (0..SAMPLE_RATE_HZ)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 18) as i16
        })
        .collect();
    for _ in 0..SECONDS {
        pipeline.push(&noise, |step| {
            black_box(step.logits);
        });
    }
}
