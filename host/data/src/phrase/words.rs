//! Everyday words with their frequency and their phones. The lists are in `words` with their
//! sources and licence, and are part of the program.

use std::{collections::BTreeMap, sync::LazyLock};

use super::phones::{Segment, segments};
use crate::tokens::Tokenizer;

const ENGLISH: &str = include_str!("../../words/en.tsv");
const MANDARIN: &str = include_str!("../../words/zh.tsv");
/// Number of words in an hour of ordinary talk, at 150 a minute.
pub const WORDS_PER_HOUR: f64 = 9_000.0;

/// Word of a list.
#[derive(Clone, Debug)]
pub struct Word {
    /// Spelling.
    pub text: String,
    /// Occurrences per hour of ordinary talk.
    pub per_hour: f64,
    /// Phones.
    pub tokens: Vec<String>,
    /// Segments of the phones.
    pub segments: Vec<Segment>,
    /// Segments of the letters, used as phones.
    pub letters: Vec<Segment>,
}

/// Everyday words of a language.
#[derive(Debug, Default)]
pub struct Words {
    words: Vec<Word>,
    numbers: BTreeMap<String, usize>,
}

impl Words {
    /// Returns the list of a language, such as "en", "en-gb" or "zh"; `None` if none ships.
    pub fn of(language: &str) -> Option<&'static Self> {
        static EN: LazyLock<Words> = LazyLock::new(|| Words::parse(ENGLISH));
        static ZH: LazyLock<Words> = LazyLock::new(|| Words::parse(MANDARIN));
        match language.split('-').next().unwrap_or_default() {
            "en" => Some(&EN),
            "zh" | "cmn" => Some(&ZH),
            _ => None,
        }
    }

    /// Parses lines of the word, its Zipf frequency times 100, and its phones. Mandarin has no
    /// phones, because its characters determine them.
    fn parse(table: &str) -> Self {
        let mut list = Self::default();
        for line in table.lines().filter(|l| !l.starts_with('#')) {
            let mut columns = line.split('\t');
            let (Some(text), Some(zipf)) = (columns.next(), columns.next()) else { continue };
            let Ok(zipf) = zipf.parse::<f64>() else { continue };
            let tokens = match columns.next() {
                Some(phones) => phones.split(' ').map(String::from).collect(),
                None => super::plain_tokens("zh", text),
            };
            list.numbers.insert(text.to_owned(), list.words.len());
            list.words.push(Word {
                text: text.to_owned(),
                // The Zipf frequency is log10 of the occurrences in a thousand million words.
                per_hour: 10f64.powf(zipf / 100.0 - 9.0) * WORDS_PER_HOUR,
                segments: segments(&tokens),
                letters: segments(&super::plain_tokens("en", text)),
                tokens,
            });
        }
        list
    }

    /// Iterates over the words, the most frequent first.
    pub fn iter(&self) -> impl Iterator<Item = &Word> {
        self.words.iter()
    }

    /// Returns a word by its spelling.
    pub fn get(&self, text: &str) -> Option<&Word> {
        self.words.get(*self.numbers.get(text)?)
    }
}

/// Source of a phrase's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// Phones from a grapheme-to-phoneme program, the word list, or Mandarin's own characters.
    Phones,
    /// Letters in place of phones, because neither a program nor a list has the phrase.
    Letters,
}

/// Returns `true` for a code of Mandarin.
pub(super) fn is_mandarin(language: &str) -> bool {
    matches!(super::language::primary(language), "zh" | "cmn")
}

/// Returns the tokens of a clean phrase from the best available source: the program, the list of
/// words, or letters.
pub fn tokens(phrase: &str, language: &str, g2p: Option<&str>) -> (Vec<String>, Spelling) {
    if is_mandarin(language) {
        return (super::plain_tokens("zh", phrase), Spelling::Phones);
    }
    if let Some(program) = g2p {
        let tokenizer = Tokenizer { g2p: Some(program.to_owned()) };
        let spoken = tokenizer.tokenize(&[(language.to_owned(), phrase.to_owned())]);
        if let Some(tokens) = spoken.ok().and_then(|mut all| all.pop()).filter(|t| !t.is_empty()) {
            return (tokens, Spelling::Phones);
        }
    }
    let listed: Option<Vec<&Word>> =
        Words::of(language).and_then(|words| phrase.split(' ').map(|w| words.get(w)).collect());
    match listed {
        Some(words) => (words.iter().flat_map(|w| w.tokens.clone()).collect(), Spelling::Phones),
        None => (super::plain_tokens(language, phrase), Spelling::Letters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_lists_hold_common_words() {
        let (en, zh) = (Words::of("en-gb").unwrap(), Words::of("zh").unwrap());
        assert!(Words::of("xx").is_none());
        assert_eq!((en.iter().count(), zh.iter().count()), (6_000, 4_000));
        assert!(
            en.iter().chain(zh.iter()).all(|w| !w.segments.is_empty()),
            "a word without phones"
        );
        let unknown = |w: &&Word| w.segments.iter().any(|s| matches!(s, Segment::Unknown(_)));
        let odd: Vec<&str> =
            en.iter().chain(zh.iter()).filter(unknown).map(|w| w.text.as_str()).collect();
        assert!(odd.is_empty(), "phones that the table does not know: {odd:?}");
        let (the, open) = (en.get("the").unwrap(), en.get("open").unwrap());
        assert!(the.per_hour > 300.0 && open.per_hour > 1.0 && open.per_hour < 10.0);
        assert_eq!(zh.get("北京").unwrap().tokens.join(" "), "zh:b zh:ei zh:3 zh:j zh:ing zh:1");
    }

    #[test]
    fn phones_come_from_the_list_where_no_program_is() {
        assert_eq!(tokens("hey computer", "en", None).1, Spelling::Phones);
        assert_eq!(tokens("hey wakeling", "en", None).1, Spelling::Letters);
        assert_eq!(tokens("hey wakeling", "en", Some("no-such-program")).1, Spelling::Letters);
        assert_eq!(tokens("北京", "zh", None).1, Spelling::Phones);
    }
}
