//! Writes a model with random weights, for measurements: `random_model TIER WORDS SEED FILE`.
//!
//! `cargo run -p wakeling-tests --example random_model -- M 1 0 random.wkl`

use std::process::ExitCode;

use wakeling_tests::{Tier, model::random_model_with_heads};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((bytes, path)) = model(&arguments) else {
        eprintln!("usage: random_model Tiny|S|M WORDS SEED FILE, with 1 to 4 words");
        return ExitCode::from(2);
    };
    match std::fs::write(path, bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn model(arguments: &[String]) -> Option<(Vec<u8>, &str)> {
    let [tier, words, seed, path] = arguments else { return None };
    let tier = match tier.as_str() {
        "Tiny" => Tier::Tiny,
        "S" => Tier::S,
        "M" => Tier::M,
        _ => return None,
    };
    let words = words.parse().ok().filter(|w| (1..=4).contains(w))?;
    Some((random_model_with_heads(seed.parse().ok()?, tier, words), path))
}
