//! Check of a phrase, as the page shows it before the first take.

use serde_json::{Value, json};

use crate::{
    cli::check_phrase::is_there,
    phrase::{self, Verdict, guess_language, words::Spelling},
};

/// Checks a phrase; an empty language is guessed. The verdict is "good", "fair", "poor" or "unknown".
pub fn check(text: &str, language: &str) -> Value {
    let is_guessed = language.is_empty();
    let language = if is_guessed { guess_language(text) } else { language };
    let program = is_there(phrase::G2P).then_some(phrase::G2P);
    let check = phrase::check(text, language, program);
    // What is spelled letter by letter is not what people say.
    let verdict = match (check.spelling, check.verdict) {
        (Spelling::Letters, _) => "unknown",
        (_, Verdict::Good) => "good",
        (_, Verdict::Fair) => "fair",
        (_, Verdict::Poor) => "poor",
    };
    let findings: Vec<&str> = match verdict {
        "unknown" => Vec::new(),
        _ => check.findings.iter().map(|finding| finding.text.as_str()).collect(),
    };
    let near: Vec<&str> = check.near_words.iter().take(3).map(|near| near.text.as_str()).collect();
    json!({
        "phrase": check.phrase, "verdict": verdict, "language": language, "guessed": is_guessed,
        "findings": findings, "near": near,
    })
}
