//! `wakeling check-phrase`: checks a wake phrase before anyone records it.

use std::fmt::Write;

use clap::Args;

use wakeling_core::console::{Stream, Style};

use crate::error::{Error, Result};
use wakeling_data::phrase::{self, Confidence, PhraseCheck, Verdict, language, words::Spelling};

/// Check whether a phrase makes a good wake word
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling check-phrase \"hey computer\"
  wakeling check-phrase 你好百度 --json
  wakeling check-phrase \"ó sauro\" --language pt

It counts phones, looks up how often the words are spoken, and lists the everyday words and
pairs of words that sound most like the phrase (0 the same, 1 nothing in common; how often
two words meet is unknown, hence the dash). The language is guessed from script, accents
and frequent words, and printed; --language corrects it. Phones come from espeak-ng where
it is installed; without it, only listed words and Mandarin can be judged. Word lists ship
for English and Mandarin; phrases of other languages are judged by length alone. Where
espeak-ng spells letters instead of reading them, there is no verdict. A phrase with a
warning can still be trained: it will need more recordings, or cost more false accepts.")]
pub struct CheckPhraseArgs {
    /// The phrase
    #[arg(required = true)]
    phrases: Vec<String>,
    /// Language of the phrase, as a code or an English name: en, pt-br, Portuguese [default:
    /// guessed]
    #[arg(long, value_parser = language::parse)]
    language: Option<String>,
    /// Grapheme-to-phoneme program with the interface of espeak-ng
    #[arg(long, default_value = phrase::G2P)]
    g2p: String,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: CheckPhraseArgs) -> Result<()> {
    let program = wakeling_data::tokens::is_there(&args.g2p).then_some(args.g2p.as_str());
    for text in &args.phrases {
        if !text.chars().any(char::is_alphabetic) {
            let problem = format!("{text:?} is no phrase: it has no letter");
            return Err(Error::usage(problem, "write it in words, for instance \"hey computer\""));
        }
        let check = phrase::judge(text, args.language.as_deref(), program);
        if args.json {
            let line = serde_json::to_string(&check).map_err(|e| Error::defect(e.to_string()))?;
            println!("{line}");
        } else {
            print!("{}", show(&check));
        }
    }
    Ok(())
}

/// Logs a line about a phrase that has a problem, that cannot be checked, or whose language had to
/// be guessed.
pub fn warn(text: &str, language: Option<&str>) {
    let program = wakeling_data::tokens::is_there(phrase::G2P).then_some(phrase::G2P);
    if let Some(line) = advice(&phrase::judge(text, language, program)) {
        log::info!("{line}");
    }
}

/// Returns the line for [`warn`].
fn advice(check: &PhraseCheck) -> Option<String> {
    let PhraseCheck { phrase, language_guess: guess, .. } = check;
    let is_plain = guess.confidence == Confidence::Given || guess.code == "en";
    let see = format!("see `wakeling check-phrase \"{phrase}\"`");
    if let Some(warning) = check.warning() {
        let note = if is_plain { String::new() } else { format!(" ({})", guess.text) };
        let remedy = check.remedy.as_ref().map_or(String::new(), |r| format!("; {r}"));
        return Some(format!("warning: {warning}{note}{remedy}; {see}"));
    }
    (!is_plain).then(|| format!("\"{phrase}\" {}; {see}", check.summary))
}

fn show(check: &PhraseCheck) -> String {
    let (verdict, style) = match check.verdict {
        Verdict::Good => ("good", Style::Good),
        Verdict::Fair => ("fair", Style::Warning),
        Verdict::Poor => ("poor", Style::Error),
        Verdict::Unknown => ("cannot be judged", Style::Warning),
    };
    let verdict = style.paint(Stream::Output, verdict);
    let guess = &check.language_guess;
    let correct = match guess.confidence {
        Confidence::Given => "",
        _ => "; give --language if it is another",
    };
    let mut text = format!("{}: {verdict}\n  {}{correct}\n", check.phrase, guess.text);
    for finding in &check.findings {
        let _ = writeln!(text, "  - {}", finding.text);
    }
    if let Some(remedy) = &check.remedy {
        let label = Style::Accent.paint(Stream::Output, "remedy:");
        let _ = writeln!(text, "    {label} {remedy}");
    }
    if !check.tokens.is_empty() && check.spelling == Spelling::Phones {
        let shown: Vec<&str> =
            check.tokens.iter().map(|t| t.strip_prefix("zh:").unwrap_or(t)).collect();
        let (phones, syllables) = (check.phones, check.syllables);
        let s = if syllables == 1 { "" } else { "s" };
        let _ = writeln!(text, "  {phones} phones, {syllables} syllable{s}: {}", shown.join(" "));
    }
    if check.near_words.is_empty() {
        if check.verdict != Verdict::Unknown {
            let _ =
                writeln!(text, "  judged by length alone: no word list ships for {}", guess.name);
        }
        return text;
    }
    let _ = writeln!(text, "  {:<24} {:>8} {:>12}", "sounds most like", "distance", "per hour");
    for near in &check.near_words {
        let _ =
            writeln!(text, "  {:<24} {:>8.2} {:>12.2}", near.text, near.distance, near.per_hour);
    }
    for near in &check.near_pairs {
        let _ = writeln!(text, "  {:<24} {:>8.2} {:>12}", near.text, near.distance, "-");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_a_guess_and_a_reason() {
        let line = |text, language| advice(&phrase::judge(text, language, None));
        assert_eq!(line("computer terminal", None), None);
        let foreign = line("ó sauro", None).unwrap();
        assert!(foreign.contains("Portuguese (pt)") && foreign.contains("espeak-ng"), "{foreign}");
        let short = line("go", None).unwrap();
        assert!(short.starts_with("warning: \"go\": too short"), "{short}");
        let mandarin = line("你好百度", None).unwrap();
        assert!(mandarin.contains("looks like Mandarin (zh): good"), "{mandarin}");
    }

    #[test]
    fn combining_marks_are_printed_as_text() {
        let shown = show(&phrase::judge("नमस्ते", None, None));
        assert!(shown.starts_with("नमस्ते: cannot be judged\n  looks like Hindi (hi)"), "{shown}");
        assert!(!shown.contains("\\u{"), "{shown}");
    }
}
