//! A look at a phrase before anybody records it: how long it is, how often it is said by chance, what
//! sounds like it; and the texts that a device should be taught it is not.
//!
//! Nothing here hears anything: distances are between phones, by hand-set weights ([`phones`]), and
//! frequencies are those of written and subtitled language ([`words`]). Both tell bad phrases from
//! good ones; neither tells by how much.

pub mod language;
pub mod phones;
pub mod words;

mod confusions;
mod obstacle;
#[cfg(test)]
mod tests;

pub use confusions::confusions;
pub use language::{Candidate, Confidence, LanguageGuess};

use serde::Serialize;

use crate::tokens::{Tokenizer, clean};
use phones::{Segment, distance, is_phone, is_syllable, segments};
use words::{Spelling, Word, Words, tokens};

/// The grapheme-to-phoneme program that is tried.
pub const G2P: &str = "espeak-ng";

/// Fewer phones than this are too few: a short phrase is found by chance in longer ones.
const FEWEST_PHONES: usize = 4;
/// From this many on a phrase is long enough; Picovoice asks for six as well (its FAQ on choosing a
/// wake word).
const ENOUGH_PHONES: usize = 6;
/// A phrase said this often in an hour of talk wakes a device all day, …
const OFTEN_PER_HOUR: f64 = 0.5;
/// … and one said this often, now and then.
const SOMETIMES_PER_HOUR: f64 = 0.05;
/// Up to this distance two phrases are told apart by little: two tones of four syllables' parts, …
const VERY_NEAR: f32 = 0.12;
/// … and up to this, by something.
const NEAR: f32 = 0.18;
/// Words that are listed, and as many pairs of words.
const LISTED: usize = 5;
/// Words that are tried in each place of a pair.
const TRIED: usize = 6;
/// Words meet more often than chance has them; how much more is a guess.
const LIFT: f64 = 10.0;

/// How good a phrase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing speaks against it.
    Good,
    /// It will do, with more recordings or a stricter threshold.
    Fair,
    /// Choose another.
    Poor,
    /// Its pronunciation is not known, so it cannot be judged.
    Unknown,
}

/// Something that speaks against a phrase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// In words.
    pub text: String,
}

/// One or two words that sound like the phrase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// The words.
    pub text: String,
    /// 0 the same, 1 nothing in common; see [`phones::distance`].
    pub distance: f32,
    /// Times an hour of ordinary talk; for two words, if they met as often as chance has it.
    pub per_hour: f64,
}

/// What can be said of a phrase.
#[derive(Clone, Debug, Serialize)]
pub struct PhraseCheck {
    /// The phrase, cleaned.
    pub phrase: String,
    /// Code of its language.
    pub language: String,
    /// Where the language is from.
    pub language_guess: LanguageGuess,
    /// Its phones, or letters.
    pub tokens: Vec<String>,
    /// What they are.
    pub spelling: Spelling,
    /// Phones, tones not counted.
    pub phones: usize,
    /// Syllables.
    pub syllables: usize,
    /// The everyday words that sound most like it.
    pub near_words: Vec<Near>,
    /// Pairs of them that do.
    pub near_pairs: Vec<Near>,
    /// What speaks against it, the worst first.
    pub findings: Vec<Finding>,
    /// The worst of them.
    pub verdict: Verdict,
    /// One line for people: language, verdict, length.
    pub summary: String,
    /// Advice where the verdict is [`Verdict::Unknown`].
    pub remedy: Option<String>,
}

/// Code of the language that a phrase looks like; see [`language::guess`].
pub fn guess_language(phrase: &str) -> &'static str {
    language::code_of(&language::guess(phrase))
}

/// Tokens without any program.
fn plain_tokens(language: &str, text: &str) -> Vec<String> {
    let texts = [(language.to_owned(), text.to_owned())];
    // Without a program nothing can fail.
    Tokenizer::default().tokenize(&texts).ok().and_then(|mut all| all.pop()).unwrap_or_default()
}

/// Judges a phrase in the language that the user names, or else in the one that it looks like.
///
/// `g2p` is a program with espeak-ng's interface. Without it, words of the lists that ship and Mandarin
/// can be judged; the verdict on all else is [`Verdict::Unknown`].
pub fn judge(phrase: &str, language: Option<&str>, g2p: Option<&str>) -> PhraseCheck {
    judge_in(phrase, language.map_or_else(|| language::guess(phrase), language::given), g2p)
}

/// Judges a phrase in a language; see [`judge`].
pub fn check(phrase: &str, language: &str, g2p: Option<&str>) -> PhraseCheck {
    judge(phrase, Some(language), g2p)
}

fn judge_in(phrase: &str, guess: LanguageGuess, g2p: Option<&str>) -> PhraseCheck {
    let phrase = clean(phrase);
    let language = guess.code.clone();
    let (mut tokens, spelling) = tokens(&phrase, &language, g2p);
    let obstacle = obstacle::find(&phrase, &language, (&tokens, spelling), g2p);
    // Letters at least resemble each other as the sounds do; the names of letters do not.
    if obstacle.is_some() && spelling == Spelling::Phones {
        tokens.clear();
    }
    let phones = tokens.iter().filter(|t| is_phone(t)).count();
    let syllables = tokens.iter().filter(|t| is_syllable(t)).count();
    let said = segments(&tokens);
    let (near_words, near_pairs) = match Words::of(&language) {
        Some(words) if !said.is_empty() => (
            near_words(&phrase, &said, words, spelling, LISTED),
            near_pairs(&said, words, spelling),
        ),
        _ => (Vec::new(), Vec::new()),
    };
    let mut check = PhraseCheck {
        language,
        language_guess: guess,
        verdict: Verdict::Good,
        findings: Vec::new(),
        summary: String::new(),
        remedy: None,
        phrase,
        tokens,
        spelling,
        phones,
        syllables,
        near_words,
        near_pairs,
    };
    match obstacle {
        Some(obstacle) => {
            check.findings.push(Finding { verdict: Verdict::Unknown, text: obstacle.reason });
            check.remedy = Some(obstacle.remedy);
        }
        None => check.findings = findings(&check),
    }
    check.findings.sort_by_key(|f| std::cmp::Reverse(f.verdict));
    check.verdict = check.findings.first().map_or(Verdict::Good, |f| f.verdict);
    check.summary = summary(&check);
    check
}

/// `looks like Portuguese (pt): good, 5 phones, 3 syllables`.
fn summary(check: &PhraseCheck) -> String {
    let language = &check.language_guess.text;
    let PhraseCheck { phones, syllables, .. } = check;
    let verdict = match check.verdict {
        Verdict::Good => "good",
        Verdict::Fair => "fair",
        Verdict::Poor => "poor",
        Verdict::Unknown => return format!("{language}: cannot be judged"),
    };
    let by_length = if check.near_words.is_empty() {
        format!("; judged by length alone, no word list ships for {}", check.language_guess.name)
    } else {
        String::new()
    };
    let s = if *syllables == 1 { "" } else { "s" };
    format!("{language}: {verdict}, {phones} phones, {syllables} syllable{s}{by_length}")
}

fn findings(check: &PhraseCheck) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |verdict, text| findings.push(Finding { verdict, text });
    let phones = check.phones;
    if phones < ENOUGH_PHONES {
        let verdict = if phones < FEWEST_PHONES { Verdict::Poor } else { Verdict::Fair };
        let say = if phones < FEWEST_PHONES { "too short" } else { "short" };
        find(
            verdict,
            format!("{say}: {phones} phones; {ENOUGH_PHONES} or more are found less by chance"),
        );
    }
    if let Some((per_hour, exactly)) = said_per_hour(&check.phrase, &check.language) {
        let often = if exactly { "about" } else { "at most" };
        let text = format!("common: said {often} {} in an hour of ordinary talk", times(per_hour));
        if per_hour >= OFTEN_PER_HOUR && exactly {
            find(Verdict::Poor, text);
        } else if per_hour >= SOMETIMES_PER_HOUR && exactly || per_hour >= 10.0 * OFTEN_PER_HOUR {
            find(Verdict::Fair, text);
        }
    }
    let near: Vec<&Near> = check.near_words.iter().filter(|n| n.distance <= NEAR).collect();
    if let Some(nearest) = near.first() {
        let often = nearest.distance <= VERY_NEAR && nearest.per_hour >= OFTEN_PER_HOUR;
        let verdict = if often { Verdict::Poor } else { Verdict::Fair };
        let say = if nearest.distance <= 0.0 { "sounds the same as" } else { "sounds much like" };
        find(verdict, format!("{say} {}", names(&near)));
    }
    // Two words that hardly ever meet are no danger, however they sound.
    let met = |n: &&Near| n.distance <= NEAR && LIFT * n.per_hour >= SOMETIMES_PER_HOUR;
    let near: Vec<&Near> = check.near_pairs.iter().filter(met).collect();
    if !near.is_empty() {
        find(Verdict::Fair, format!("two words in a row can sound like it: {}", names(&near)));
    }
    findings
}

/// How often a phrase is said: one word's frequency, or, not exactly, the rarest word's; none if a
/// word is not listed.
fn said_per_hour(phrase: &str, language: &str) -> Option<(f64, bool)> {
    let words = Words::of(language)?;
    if let Some(word) = words.get(phrase) {
        return Some((word.per_hour, true));
    }
    let each: Option<Vec<f64>> =
        phrase.split(' ').map(|w| words.get(w).map(|w| w.per_hour)).collect();
    Some((each?.into_iter().fold(f64::INFINITY, f64::min), false))
}

/// `3 times`, `0.2 times`, `once`.
fn times(n: f64) -> String {
    match n {
        n if n >= 1.5 => format!("{n:.0} times"),
        n if n >= 0.75 => "once".into(),
        n => format!("{n:.2} times"),
    }
}

/// `"one", "two"`.
fn names(near: &[&Near]) -> String {
    near.iter().take(3).map(|n| format!("\"{}\"", n.text)).collect::<Vec<_>>().join(", ")
}

/// The words that sound most like something said; of two as near, the more frequent one first.
fn nearest<'w>(
    said: &[Segment],
    words: &'w Words,
    spelling: Spelling,
    count: usize,
) -> Vec<(&'w Word, f32)> {
    let of = |word| distance(said, sound_of(word, spelling));
    let mut all: Vec<(&Word, f32)> = words.iter().map(|w| (w, of(w))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all.truncate(count);
    all
}

fn near_words(
    phrase: &str,
    said: &[Segment],
    words: &Words,
    spelling: Spelling,
    count: usize,
) -> Vec<Near> {
    let found = nearest(said, words, spelling, count + 1).into_iter();
    let others = found.filter(|(word, _)| word.text != phrase).take(count);
    let near = |(word, distance): (&Word, f32)| Near {
        text: word.text.clone(),
        distance,
        per_hour: word.per_hour,
    };
    others.map(near).collect()
}

/// Pairs of words that sound most like the phrase, wherever the first ends.
fn near_pairs(said: &[Segment], words: &Words, spelling: Spelling) -> Vec<Near> {
    let mut found: Vec<Near> = Vec::new();
    for at in 2..said.len().saturating_sub(1) {
        let (first, second) = said.split_at(at);
        let second = nearest(second, words, spelling, TRIED);
        for (a, _) in nearest(first, words, spelling, TRIED) {
            for (b, _) in &second {
                let joined = [sound_of(a, spelling), sound_of(b, spelling)].concat();
                let distance = distance(said, &joined);
                let text = format!("{} {}", a.text, b.text);
                // Any two of Mandarin's characters are syllables, but few are words that meet.
                let are_syllables = text.chars().count() == 3 && !text.is_ascii();
                // Said the same, in two words: that is the phrase.
                if distance > 0.0 && !are_syllables && found.iter().all(|n| n.text != text) {
                    let per_hour = a.per_hour * b.per_hour / words::WORDS_PER_HOUR;
                    found.push(Near { text, distance, per_hour });
                }
            }
        }
    }
    found.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.text.cmp(&b.text)));
    found.truncate(LISTED);
    found
}

fn sound_of(word: &Word, spelling: Spelling) -> &[Segment] {
    match spelling {
        Spelling::Phones => &word.segments,
        Spelling::Letters => &word.letters,
    }
}

impl PhraseCheck {
    /// What speaks against the phrase, in one line; none if nothing does.
    pub fn warning(&self) -> Option<String> {
        if self.findings.is_empty() {
            return None;
        }
        let texts: Vec<&str> = self.findings.iter().map(|f| f.text.as_str()).collect();
        // Not `{:?}`, which writes combining marks as numbers.
        Some(format!("\"{}\": {}", self.phrase, texts.join("; ")))
    }
}
