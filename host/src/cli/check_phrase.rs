//! `wakeling check-phrase`: whether a phrase makes a good wake word, before anybody records it.

use std::{
    fmt::Write,
    process::{Command, Stdio},
};

use clap::Args;

use crate::{
    Error, Result,
    phrase::{self, PhraseCheck, Verdict, guess_language, words::Spelling},
};

/// Say whether a phrase makes a good wake word, before recording it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling check-phrase \"hey computer\"
  wakeling check-phrase 你好百度 --json

It counts phones, looks up how often the words are said, and lists the everyday words and
pairs of words that sound most like the phrase (0 the same, 1 nothing in common; how often
two words meet is not known, hence the dash). Phones
come from espeak-ng where it is installed; without it, from the list of words, or letters
stand for them. Word lists ship for English and Mandarin. A phrase with a warning can
still be trained: it will need more recordings, or cost more false accepts.")]
pub struct CheckPhraseArgs {
    /// The phrase
    #[arg(required = true)]
    phrases: Vec<String>,
    /// Its language, such as en or zh [default: zh for Chinese characters, else en]
    #[arg(long)]
    language: Option<String>,
    /// A grapheme-to-phoneme program with espeak-ng's interface
    #[arg(long, default_value = phrase::G2P)]
    g2p: String,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: CheckPhraseArgs) -> Result<()> {
    let program = is_there(&args.g2p).then_some(args.g2p.as_str());
    for text in &args.phrases {
        if !text.chars().any(char::is_alphabetic) {
            let problem = format!("{text:?} is no phrase: it has no letter");
            return Err(Error::usage(problem, "write it in words, for instance \"hey computer\""));
        }
        let language = args.language.as_deref().unwrap_or_else(|| guess_language(text));
        let check = phrase::check(text, language, program);
        if args.json {
            let line = serde_json::to_string(&check).unwrap_or_default();
            println!("{line}");
        } else {
            print!("{}", show(&check));
        }
    }
    Ok(())
}

/// A line on stderr for a phrase that something speaks against.
pub fn warn(text: &str, language: Option<&str>) {
    let language = language.unwrap_or_else(|| guess_language(text));
    let program = is_there(phrase::G2P).then_some(phrase::G2P);
    if let Some(warning) = phrase::check(text, language, program).warning() {
        crate::log!("warning: {warning}; see `wakeling check-phrase {text:?}`");
    }
}

/// Whether a program can be started.
pub fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let quiet = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
    quiet.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn show(check: &PhraseCheck) -> String {
    let verdict = match check.verdict {
        Verdict::Good => "good",
        Verdict::Fair => "fair",
        Verdict::Poor => "poor",
    };
    let shown: Vec<&str> =
        check.tokens.iter().map(|t| t.strip_prefix("zh:").unwrap_or(t)).collect();
    let mut text = format!(
        "{}: {verdict}\n  {} phones, {} syllables: {}\n",
        check.phrase,
        check.phones,
        check.syllables,
        shown.join(" ")
    );
    if check.spelling == Spelling::Letters {
        text += "  (letters, for want of phones: install espeak-ng for a better answer)\n";
    }
    for finding in &check.findings {
        let _ = writeln!(text, "  - {}", finding.text);
    }
    if check.near_words.is_empty() {
        let _ = writeln!(text, "  no list of words ships for {:?}: not compared", check.language);
        return text;
    }
    let _ = writeln!(text, "  {:<24} {:>8} {:>12}", "sounds most like", "distance", "said an hour");
    for near in &check.near_words {
        let _ =
            writeln!(text, "  {:<24} {:>8.2} {:>12.2}", near.text, near.distance, near.per_hour);
    }
    for near in &check.near_pairs {
        let _ = writeln!(text, "  {:<24} {:>8.2} {:>12}", near.text, near.distance, "-");
    }
    text
}
