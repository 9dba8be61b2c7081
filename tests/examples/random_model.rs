//! Writes a model with random weights, for measurements: `random_model TIER WORDS SEED FILE`. For
//! an image network: `random_model KeywordSpotting|VisualWakeWords - SEED FILE`.
//!
//! `cargo run -p wakeling-tests --example random_model -- M 1 0 random.wkl`

use std::process::ExitCode;

use wakeling_tests::{
    Tier,
    image::{Network, random_image_model},
    model::random_model_with_heads,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((bytes, path)) = model(&arguments) else {
        eprintln!(
            "usage: random_model Tiny|Alexa|S|M WORDS SEED FILE, with 1 to 4 words; see the source for images"
        );
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
    let image = match tier.as_str() {
        "KeywordSpotting" => Some(Network::KeywordSpotting),
        "VisualWakeWords" => Some(Network::VisualWakeWords),
        _ => None,
    };
    if let Some(network) = image {
        return Some((random_image_model(seed.parse().ok()?, network), path));
    }
    let tier = match tier.as_str() {
        "Tiny" => Tier::Tiny,
        "Alexa" => Tier::Alexa,
        "S" => Tier::S,
        "M" => Tier::M,
        _ => return None,
    };
    let words = words.parse().ok().filter(|w| (1..=4).contains(w))?;
    Some((random_model_with_heads(seed.parse().ok()?, tier, words), path))
}
