//! Language of a phrase, guessed from its script, its accented letters and a few frequent words.
//!
//! Two or three words are too few for letter statistics, so the guess is a ranking. Letters that a
//! language does not have count against it. Letters and words that few languages have count for it.
//! [`LanguageGuess`] contains the runners-up, and the confidence of the guess.

mod latin;
mod table;

use icu_properties::{CodePointMapData, props::Script};
use serde::Serialize;

use super::words::Words;
use crate::text::clean;
use table::{ALSO_WRITTEN, Language, WRITINGS, Writing};

/// Maximum number of other candidates that are reported.
const ALTERNATIVES: usize = 3;
/// Evidence of a letter or word that only one language has; with `n` languages, `1/√n` of it each.
const EXCLUSIVE: f32 = 2.0;
/// Evidence of a letter sequence.
const PATTERN: f32 = 0.4;
/// Evidence of an English word from the list of frequent words.
const ENGLISH_WORD: f32 = 1.2;
/// Cost of a letter that the language does not have.
const FOREIGN_LETTER: f32 = 3.0;
/// Cost in English, which keeps the accents of loanwords (café).
const FOREIGN_LETTER_IN_ENGLISH: f32 = 1.5;
/// Lead over the second candidate from which the evidence decides.
const DECIDES: f32 = 0.9;
/// Distance from the first candidate beyond which others are not reported.
const FAR_BEHIND: f32 = 1.4;

/// Weight of the evidence for a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The user named the language.
    Given,
    /// Script, letters or words decide.
    Likely,
    /// The phrase fits several languages; the first is the most common one.
    Unsure,
}

/// Possible language of a phrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Code, such as "pt".
    pub code: String,
    /// English name, such as "Portuguese".
    pub name: String,
}

/// Language of a phrase, with the evidence for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LanguageGuess {
    /// Code, such as "pt".
    pub code: String,
    /// English name, such as "Portuguese"; the code where no name is known.
    pub name: String,
    /// Weight of the evidence.
    pub confidence: Confidence,
    /// Other languages that fit, the best first.
    pub alternatives: Vec<Candidate>,
    /// One-line description, without an end mark.
    pub text: String,
}

/// Returns the script of a letter; `None` for digits, marks and punctuation, which belong to no
/// single script.
pub(super) fn script(letter: char) -> Option<Script> {
    let script = CodePointMapData::<Script>::new().get(letter);
    (script != Script::Common && script != Script::Inherited).then_some(script)
}

/// Returns the English name of a script.
pub(super) fn script_name(script: Script) -> &'static str {
    match script {
        Script::Latin => "Latin",
        Script::Cyrillic => "Cyrillic",
        Script::Arabic => "Arabic",
        Script::Hebrew => "Hebrew",
        Script::Greek => "Greek",
        Script::Devanagari => "Devanagari",
        Script::Han => "Chinese",
        Script::Hiragana | Script::Katakana => "Japanese",
        Script::Hangul => "Korean",
        other => WRITINGS
            .iter()
            .find(|w| w.script == other)
            .and_then(|w| w.languages.first())
            .map_or("another script's", |l| l.name),
    }
}

/// Guesses the language of a phrase.
pub fn guess(phrase: &str) -> LanguageGuess {
    let phrase = clean(phrase);
    let Some(writing) = writing_of(&phrase) else {
        return described("en", Confidence::Unsure, Vec::new(), "");
    };
    let evidence = Evidence::of(&phrase, writing);
    let mut ranked: Vec<(&Language, f32)> =
        writing.languages.iter().map(|l| (l, evidence.score(l))).collect();
    // The sort is stable, so candidates with equal scores stay in the order of the table.
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (best, score) = ranked[0];
    let lead = ranked.get(1).map_or(f32::INFINITY, |second| score - second.1);
    let alone = writing.languages.iter().filter(|l| l.prior >= 0.3).count() <= 1;
    let is_decided = alone || (lead >= DECIDES && score > best.prior);
    let confidence = if is_decided { Confidence::Likely } else { Confidence::Unsure };
    // If the evidence decides, other candidates would only raise doubts.
    let others = ranked[1..].iter().filter(|(_, other)| !is_decided && score - other < FAR_BEHIND);
    let others = others.take(ALTERNATIVES).map(|(l, _)| candidate(l)).collect();
    // A score from the prior alone is no evidence.
    let why = if score > best.prior { "" } else { "nothing in it points to another language" };
    described(best.code, confidence, others, why)
}

/// Returns the code of a guess as in the table, or "en" if the table does not have it.
pub(super) fn code_of(guess: &LanguageGuess) -> &'static str {
    languages().find(|l| l.code == guess.code).map_or("en", |l| l.code)
}

/// Returns the language that the user named.
pub fn given(code: &str) -> LanguageGuess {
    described(code, Confidence::Given, Vec::new(), "")
}

/// Parses a language as a user names it: a code (`pt`, `pt-br`) or an English name (`Portuguese`).
///
/// # Errors
/// A message for the user if it is neither.
pub fn parse(text: &str) -> Result<String, String> {
    let text = text.trim().to_lowercase().replace('_', "-");
    if let Some(language) = languages().find(|l| l.name.to_lowercase() == text) {
        return Ok(language.code.to_owned());
    }
    let mut parts = text.split('-');
    let is_code = parts
        .next()
        .is_some_and(|p| (2..=3).contains(&p.len()) && p.chars().all(|c| c.is_ascii_lowercase()));
    let rest_fits =
        parts.all(|p| (1..=8).contains(&p.len()) && p.chars().all(|c| c.is_ascii_alphanumeric()));
    if is_code && rest_fits {
        return Ok(text);
    }
    Err("expected a language's code or English name, such as en, pt-br or Portuguese".into())
}

/// Returns the first part of a language code: "pt" of "pt-br".
pub(super) fn primary(code: &str) -> &str {
    code.split('-').next().unwrap_or_default()
}

/// Returns the English name of a language, or its code if the name is unknown.
pub(super) fn name(code: &str) -> &str {
    let code = if code == "cmn" { "zh" } else { code };
    languages().find(|l| l.code == primary(code)).map_or(code, |l| l.name)
}

/// Formats a language as `Portuguese (pt)`, or as the code alone if the name is unknown.
pub(super) fn named(code: &str) -> String {
    let name = name(code);
    if name == code { code.to_owned() } else { format!("{name} ({code})") }
}

/// Returns `true` if a language is written in a script, or if the table does not have the language.
pub(super) fn writes(code: &str, script: Script) -> bool {
    let code = primary(code);
    let known = languages().any(|l| l.code == code);
    let in_table = |w: &Writing| w.script == script && w.languages.iter().any(|l| l.code == code);
    let also = || ALSO_WRITTEN.iter().any(|&(l, s)| l == code && s == script);
    !known || WRITINGS.iter().any(in_table) || also()
}

fn languages() -> impl Iterator<Item = &'static Language> {
    WRITINGS.iter().flat_map(|w| w.languages)
}

fn candidate(language: &Language) -> Candidate {
    Candidate { code: language.code.into(), name: language.name.into() }
}

fn described(
    code: &str,
    confidence: Confidence,
    alternatives: Vec<Candidate>,
    why: &str,
) -> LanguageGuess {
    let name = name(code).to_owned();
    let named = named(code);
    let mut text = match confidence {
        Confidence::Given => named,
        Confidence::Likely => format!("looks like {named}"),
        Confidence::Unsure if why.is_empty() => format!("perhaps {named}"),
        Confidence::Unsure => format!("taken for {named}, since {why}"),
    };
    if confidence != Confidence::Given && !alternatives.is_empty() && why.is_empty() {
        let names: Vec<String> =
            alternatives.iter().map(|c| format!("{} ({})", c.name, c.code)).collect();
        text += &format!(", or {}", names.join(", "));
    }
    LanguageGuess { code: code.to_owned(), name, confidence, alternatives, text }
}

/// Returns the languages of the script that a phrase is written in. Latin counts only if no other
/// script is used, since Latin words occur in phrases of all languages. A single kana makes Chinese
/// characters Japanese.
fn writing_of(phrase: &str) -> Option<&'static Writing> {
    let scripts: Vec<Script> = phrase.chars().filter_map(script).collect();
    let kana = |s: &Script| matches!(*s, Script::Hiragana | Script::Katakana);
    if scripts.iter().any(kana) {
        return WRITINGS.iter().find(|w| w.script == Script::Hiragana);
    }
    let count = |w: &&Writing| scripts.iter().filter(|s| **s == w.script).count();
    let used = || WRITINGS.iter().filter(|w| count(w) > 0);
    used().filter(|w| w.script != Script::Latin).max_by_key(count).or_else(|| used().next())
}

/// Letters and words of a phrase that point to languages.
struct Evidence {
    /// Phrase with a blank at both ends.
    padded: String,
    /// Distinct letters beyond the script's shared ones, with the number of languages that have
    /// each.
    letters: Vec<(char, usize)>,
    /// Words, with the number of languages that list each.
    words: Vec<(String, usize)>,
    is_latin: bool,
}

impl Evidence {
    fn of(phrase: &str, writing: &Writing) -> Self {
        let mut letters: Vec<char> = phrase
            .chars()
            .filter(|&c| script(c) == Some(writing.script) && !writing.shared.contains(c))
            .collect();
        letters.sort_unstable();
        letters.dedup();
        let with = |c: char| writing.languages.iter().filter(|l| l.letters.contains(c)).count();
        let listed = |word: &str| writing.languages.iter().filter(|l| lists(l, word)).count();
        Self {
            padded: format!(" {phrase} "),
            letters: letters.into_iter().map(|c| (c, with(c))).collect(),
            words: phrase.split(' ').map(|w| (w.to_owned(), listed(w))).collect(),
            is_latin: writing.script == Script::Latin,
        }
    }

    fn score(&self, language: &Language) -> f32 {
        let is_english = language.code == "en";
        let share = |count: usize| EXCLUSIVE / (count.max(1) as f32).sqrt();
        let mut score = language.prior;
        for &(letter, count) in &self.letters {
            if language.letters.contains(letter) {
                score += share(count);
            } else if count > 0 || self.is_latin {
                // Outside the Latin script, a letter that no language of the table lists is
                // ignored.
                score -= if is_english { FOREIGN_LETTER_IN_ENGLISH } else { FOREIGN_LETTER };
            }
        }
        for (word, count) in &self.words {
            let is_common = is_english && Words::of("en").is_some_and(|w| w.get(word).is_some());
            if is_common {
                score += ENGLISH_WORD;
            } else if lists(language, word) {
                score += share(*count);
            }
        }
        let found = language.patterns.split_whitespace().filter(|p| self.padded.contains(p));
        score + PATTERN * found.count().min(2) as f32
    }
}

fn lists(language: &Language, word: &str) -> bool {
    language.words.split_whitespace().any(|w| w == word)
}

#[cfg(test)]
mod tests;
