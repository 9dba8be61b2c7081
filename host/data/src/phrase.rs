//! Check of a phrase before it is recorded: its length, its frequency in speech, similar words, and
//! texts to record as hard negatives.
//!
//! No audio is involved. Distances are between phones, with hand-set weights ([`phones`]).
//! Frequencies come from written and subtitled language ([`words`]). Both separate bad phrases from
//! good ones, but neither predicts an error rate.

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

use crate::{text::clean, tokens::Tokenizer};
use phones::{Segment, distance, is_phone, is_syllable, segments};
use words::{Spelling, Word, Words, tokens};

/// Default grapheme-to-phoneme program.
pub const G2P: &str = "espeak-ng";

/// Minimum number of phones; a shorter phrase is found by chance in longer ones.
const FEWEST_PHONES: usize = 4;
/// Number of phones from which a phrase is long enough. Picovoice asks for six as well (its FAQ on
/// choosing a wake word).
const ENOUGH_PHONES: usize = 6;
/// Occurrences per hour of talk from which false accepts happen all day.
const OFTEN_PER_HOUR: f64 = 0.5;
/// Occurrences per hour of talk from which false accepts happen now and then.
const SOMETIMES_PER_HOUR: f64 = 0.05;
/// Distance up to which two phrases are hard to distinguish.
const VERY_NEAR: f32 = 0.12;
/// Distance up to which two phrases are similar.
const NEAR: f32 = 0.18;
/// Maximum number of words, and of pairs of words, that are listed.
const LISTED: usize = 5;
/// Number of words that are tried at each position of a pair.
const TRIED: usize = 6;
/// Factor by which two words follow each other more often than by chance; an estimate.
const LIFT: f64 = 10.0;

/// Verdict on a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No problem was found.
    Good,
    /// Usable with more recordings or a stricter threshold.
    Fair,
    /// Unsuitable; the user should choose another phrase.
    Poor,
    /// The pronunciation is unknown, so the phrase cannot be judged.
    Unknown,
}

/// Problem of a phrase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Severity of the problem.
    pub verdict: Verdict,
    /// Description of the problem.
    pub text: String,
    /// Kind of the problem, for a description in another language.
    #[serde(flatten)]
    pub kind: FindingKind,
}

/// Kind of a problem of a phrase. Words are the nearest three.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FindingKind {
    /// Far too few phones.
    TooShort,
    /// Few phones.
    Short,
    /// The phrase itself is part of ordinary talk.
    Common {
        /// Occurrences per hour.
        per_hour: f64,
    },
    /// A word sounds the same.
    Same {
        /// Words.
        words: Vec<String>,
    },
    /// A word sounds much like it.
    Near {
        /// Words.
        words: Vec<String>,
    },
    /// Two words in a row can sound like it.
    Pair {
        /// Pairs of words.
        words: Vec<String>,
    },
    /// It cannot be judged.
    Unjudged,
}

/// One or two words that sound like the phrase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// Words.
    pub text: String,
    /// Distance from 0 (equal) to 1 (nothing in common); see [`phones::distance`].
    pub distance: f32,
    /// Occurrences per hour of ordinary talk; for two words, as if they followed each other by
    /// chance.
    pub per_hour: f64,
}

/// Result of the check of a phrase.
#[derive(Clone, Debug, Serialize)]
pub struct PhraseCheck {
    /// Cleaned phrase.
    pub phrase: String,
    /// Language code.
    pub language: String,
    /// Language, with the evidence for it.
    pub language_guess: LanguageGuess,
    /// Phones, or letters.
    pub tokens: Vec<String>,
    /// Kind of the tokens.
    pub spelling: Spelling,
    /// Number of phones, without tones.
    pub phones: usize,
    /// Number of syllables.
    pub syllables: usize,
    /// Everyday words that sound most like the phrase.
    pub near_words: Vec<Near>,
    /// Pairs of everyday words that sound most like the phrase.
    pub near_pairs: Vec<Near>,
    /// Problems of the phrase, the worst first.
    pub findings: Vec<Finding>,
    /// Verdict of the worst problem.
    pub verdict: Verdict,
    /// One-line summary: language, verdict, length.
    pub summary: String,
    /// Advice if the verdict is [`Verdict::Unknown`].
    pub remedy: Option<String>,
}

/// Returns the code of the most likely language of a phrase; see [`language::guess`].
pub fn guess_language(phrase: &str) -> &'static str {
    language::code_of(&language::guess(phrase))
}

/// Returns the tokens of a text without a grapheme-to-phoneme program.
fn plain_tokens(language: &str, text: &str) -> Vec<String> {
    let texts = [(language.to_owned(), text.to_owned())];
    // Only a grapheme-to-phoneme program can fail, and none is used.
    Tokenizer::default().tokenize(&texts).ok().and_then(|mut all| all.pop()).unwrap_or_default()
}

/// Checks a phrase in the language that the user names, or in the most likely one.
///
/// `g2p` is a program with espeak-ng's interface. Without it, only words of the shipped lists and
/// Mandarin can be judged. The verdict on all others is [`Verdict::Unknown`].
///
/// ```
/// use wakeling_data::phrase::{Verdict, judge};
///
/// let check = judge("你好百度", None, None); // no espeak-ng is needed for Mandarin
/// assert_eq!((check.language.as_str(), check.syllables), ("zh", 4));
/// assert_eq!(check.verdict, Verdict::Good, "{:?}", check.findings);
///
/// let short = judge("你", Some("zh"), None);
/// assert_eq!(short.verdict, Verdict::Poor);
/// assert!(!short.findings[0].text.is_empty()); // the reason
/// ```
pub fn judge(phrase: &str, language: Option<&str>, g2p: Option<&str>) -> PhraseCheck {
    judge_in(phrase, language.map_or_else(|| language::guess(phrase), language::given), g2p)
}

/// Checks a phrase in a language; see [`judge`].
pub fn check(phrase: &str, language: &str, g2p: Option<&str>) -> PhraseCheck {
    judge(phrase, Some(language), g2p)
}

fn judge_in(phrase: &str, guess: LanguageGuess, g2p: Option<&str>) -> PhraseCheck {
    let phrase = clean(phrase);
    let language = guess.code.clone();
    let (mut tokens, spelling) = tokens(&phrase, &language, g2p);
    let obstacle = obstacle::find(&phrase, &language, (&tokens, spelling), g2p);
    // Letters at least resemble each other as the sounds do. The names of letters do not.
    if obstacle.is_some() && spelling == Spelling::Phones {
        tokens.clear();
    }
    let phones = tokens.iter().filter(|t| is_phone(t)).count();
    let syllables = tokens.iter().filter(|t| is_syllable(t)).count();
    let sounds = segments(&tokens);
    let (near_words, near_pairs) = match Words::of(&language) {
        Some(words) if !sounds.is_empty() => (
            near_words(&phrase, &sounds, words, spelling, LISTED),
            near_pairs(&sounds, words, spelling),
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
            let (verdict, kind) = (Verdict::Unknown, FindingKind::Unjudged);
            check.findings.push(Finding { verdict, text: obstacle.reason, kind });
            check.remedy = Some(obstacle.remedy);
        }
        None => check.findings = findings(&check),
    }
    check.findings.sort_by_key(|f| std::cmp::Reverse(f.verdict));
    check.verdict = check.findings.first().map_or(Verdict::Good, |f| f.verdict);
    check.summary = summary(&check);
    check
}

/// Formats the summary, as in `looks like Portuguese (pt): good, 5 phones, 3 syllables`.
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
    let mut find = |verdict, kind, text| findings.push(Finding { verdict, text, kind });
    let phones = check.phones;
    if phones < ENOUGH_PHONES {
        let verdict = if phones < FEWEST_PHONES { Verdict::Poor } else { Verdict::Fair };
        let (wording, kind) = match verdict {
            Verdict::Poor => ("too short", FindingKind::TooShort),
            _ => ("short", FindingKind::Short),
        };
        find(
            verdict,
            kind,
            format!(
                "{wording}: {phones} phones; {ENOUGH_PHONES} or more are rarely detected by chance"
            ),
        );
    }
    if let Some((per_hour, exactly)) = printed_per_hour(&check.phrase, &check.language) {
        let often = if exactly { "about" } else { "at most" };
        let text =
            format!("common: spoken {often} {} in an hour of ordinary talk", times(per_hour));
        let kind = FindingKind::Common { per_hour };
        if per_hour >= OFTEN_PER_HOUR && exactly {
            find(Verdict::Poor, kind, text);
        } else if per_hour >= SOMETIMES_PER_HOUR && exactly || per_hour >= 10.0 * OFTEN_PER_HOUR {
            find(Verdict::Fair, kind, text);
        }
    }
    let near: Vec<&Near> = check.near_words.iter().filter(|n| n.distance <= NEAR).collect();
    if let Some(nearest) = near.first() {
        let often = nearest.distance <= VERY_NEAR && nearest.per_hour >= OFTEN_PER_HOUR;
        let verdict = if often { Verdict::Poor } else { Verdict::Fair };
        let words = texts(&near);
        let (wording, kind) = if nearest.distance <= 0.0 {
            ("sounds the same as", FindingKind::Same { words })
        } else {
            ("sounds much like", FindingKind::Near { words })
        };
        find(verdict, kind, format!("{wording} {}", names(&near)));
    }
    // Two words that hardly ever follow each other do no harm, even if they sound similar.
    let met = |n: &&Near| n.distance <= NEAR && LIFT * n.per_hour >= SOMETIMES_PER_HOUR;
    let near: Vec<&Near> = check.near_pairs.iter().filter(met).collect();
    if !near.is_empty() {
        let kind = FindingKind::Pair { words: texts(&near) };
        find(
            Verdict::Fair,
            kind,
            format!("two words in a row can sound like it: {}", names(&near)),
        );
    }
    findings
}

/// Returns the occurrences of a phrase per hour of talk, and `true` if the number is exact. The
/// number is exact for a single word. For several words it is an upper bound, the frequency of the
/// rarest word. Returns `None` if a word is not listed.
fn printed_per_hour(phrase: &str, language: &str) -> Option<(f64, bool)> {
    let words = Words::of(language)?;
    if let Some(word) = words.get(phrase) {
        return Some((word.per_hour, true));
    }
    let each: Option<Vec<f64>> =
        phrase.split(' ').map(|w| words.get(w).map(|w| w.per_hour)).collect();
    Some((each?.into_iter().fold(f64::INFINITY, f64::min), false))
}

/// Formats a number of times: `3 times`, `0.20 times`, `once`.
fn times(n: f64) -> String {
    match n {
        n if n >= 1.5 => format!("{n:.0} times"),
        n if n >= 0.75 => "once".into(),
        n => format!("{n:.2} times"),
    }
}

/// Returns up to three words.
fn texts(near: &[&Near]) -> Vec<String> {
    near.iter().take(3).map(|n| n.text.clone()).collect()
}

/// Formats up to three names: `"one", "two"`.
fn names(near: &[&Near]) -> String {
    texts(near).iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}

/// Returns the words that sound most like a sequence of segments, with their distances. Of two
/// words at the same distance, the more frequent one comes first.
fn nearest<'w>(
    sounds: &[Segment],
    words: &'w Words,
    spelling: Spelling,
    count: usize,
) -> Vec<(&'w Word, f32)> {
    let of = |word| distance(sounds, sound_of(word, spelling));
    let mut all: Vec<(&Word, f32)> = words.iter().map(|w| (w, of(w))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all.truncate(count);
    all
}

fn near_words(
    phrase: &str,
    sounds: &[Segment],
    words: &Words,
    spelling: Spelling,
    count: usize,
) -> Vec<Near> {
    let found = nearest(sounds, words, spelling, count + 1).into_iter();
    let others = found.filter(|(word, _)| word.text != phrase).take(count);
    let near = |(word, distance): (&Word, f32)| Near {
        text: word.text.clone(),
        distance,
        per_hour: word.per_hour,
    };
    others.map(near).collect()
}

/// Returns pairs of words that sound most like the phrase, over all positions of the word boundary.
fn near_pairs(sounds: &[Segment], words: &Words, spelling: Spelling) -> Vec<Near> {
    let mut found: Vec<Near> = Vec::new();
    for at in 2..sounds.len().saturating_sub(1) {
        let (first, second) = sounds.split_at(at);
        let second = nearest(second, words, spelling, TRIED);
        for (a, _) in nearest(first, words, spelling, TRIED) {
            for (b, _) in &second {
                let joined = [sound_of(a, spelling), sound_of(b, spelling)].concat();
                let distance = distance(sounds, &joined);
                let text = format!("{} {}", a.text, b.text);
                // Any two Mandarin characters are syllables, but few of them are words that follow
                // each other.
                let are_syllables = text.chars().count() == 3 && !text.is_ascii();
                // A pair with the same pronunciation is the phrase itself in two words.
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
    /// Returns all problems in one line; `None` if there are none.
    pub fn warning(&self) -> Option<String> {
        if self.findings.is_empty() {
            return None;
        }
        let texts: Vec<&str> = self.findings.iter().map(|f| f.text.as_str()).collect();
        // `{:?}` would write combining marks as numbers.
        Some(format!("\"{}\": {}", self.phrase, texts.join("; ")))
    }
}
