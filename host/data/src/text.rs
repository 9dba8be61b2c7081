//! Text that people write: names of keywords, transcripts, labels.
//!
//! The same word can be written in several sequences of code points. macOS stores "é" in file names
//! as a letter and an accent (NFD), while most keyboards give one code point (NFC). This module
//! works in NFC (Unicode Standard Annex #15), and keeps the marks without which a word of Hindi or
//! Thai is another word.

use std::{borrow::Cow, fmt};

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{
    CodePointMapData,
    props::{GeneralCategory, GeneralCategoryGroup},
};

/// File name of a label without a letter or a digit, such as an emoji.
const NAMELESS: &str = "word";

/// Returns the text in NFC.
///
/// ```
/// use wakeling_data::text::nfc;
///
/// let from_a_mac = "cafe\u{301}"; // a letter and an accent, as macOS writes file names
/// assert_ne!(from_a_mac, "café");
/// assert_eq!(nfc(from_a_mac), "café");
/// ```
pub fn nfc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// Returns true for accents, vowel signs and tone marks, which belong to the letter before them.
pub fn is_mark(c: char) -> bool {
    !c.is_ascii() && GeneralCategoryGroup::Mark.contains(category(c))
}

/// Returns true for the joiners that change how letters of Persian or Hindi are written.
pub fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Returns true for the characters of words: letters and digits of any script, and their marks.
pub fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || is_mark(c)
}

/// Returns true for characters without a shape, such as a soft hyphen or a byte order mark.
fn is_invisible(c: char) -> bool {
    !c.is_ascii() && category(c) == GeneralCategory::Format
}

/// Folds case, so that "Straße", "STRASSE" and "strasse" are equal.
fn fold(text: &str) -> String {
    text.to_uppercase().to_lowercase().replace('ς', "σ")
}

/// Returns a key that is equal for two spellings of the same name: NFC, case folded, single spaces,
/// without invisible characters. Punctuation counts, so "a/b" and "a b" are two names.
///
/// ```
/// use wakeling_data::text::name_key;
///
/// assert_eq!(name_key(" Hey  Computer"), name_key("hey computer"));
/// assert_eq!(name_key("Straße"), name_key("STRASSE"));
/// assert_ne!(name_key("a/b"), name_key("a b"));
/// ```
pub fn name_key(name: &str) -> String {
    let visible: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let folded = fold(&nfc(&visible));
    nfc(&folded).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a key that is equal for two spellings of the same text. It is that of [`name_key`]
/// without punctuation, and without spaces if the script does not separate words by them. Falls
/// back to [`name_key`] if the text holds only punctuation and symbols.
pub fn text_key(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let cleaned = fold(&clean(&visible));
    let is_unspaced = |c: char| c.is_whitespace() || !is_spaced(c);
    match cleaned.as_str() {
        "" => name_key(text),
        _ if cleaned.chars().all(is_unspaced) => cleaned.split_whitespace().collect(),
        _ => cleaned,
    }
}

/// Converts a label to a file name: letters and digits of any script with their marks, the rest as
/// `-`; "word" if there is neither a letter nor a digit.
pub fn file_name(label: &str) -> String {
    let label = nfc(label);
    if !label.chars().any(char::is_alphanumeric) {
        return NAMELESS.to_owned();
    }
    let plain = |c: char| if is_word_character(c) || is_joiner(c) { c } else { '-' };
    label.chars().map(plain).collect()
}

/// Returns a file name for each label, in their order. Those that would collide, also on a disk that
/// ignores case, are numbered: `a-b`, `a-b-2`.
///
/// ```
/// use wakeling_data::text::file_names;
///
/// assert_eq!(file_names(["hey computer", "नमस्ते"]), ["hey-computer", "नमस्ते"]);
/// assert_eq!(file_names(["a/b", "a b", "A-B"]), ["a-b", "a-b-2", "A-B-3"]); // on any disk
/// ```
pub fn file_names<'l>(labels: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let labels: Vec<&str> = labels.into_iter().collect();
    let plain: Vec<String> = labels.iter().map(|label| file_name(label)).collect();
    let mut taken: Vec<String> = Vec::new();
    let mut names = Vec::new();
    for (i, name) in plain.iter().enumerate() {
        // A name that another label has by itself is reserved for it: "a b", "a/b", "a b 2".
        let is_free = |candidate: &str| {
            let key = name_key(candidate);
            let later = plain.iter().skip(i + 1).any(|other| name_key(other) == key);
            !taken.contains(&key) && (candidate == name || !later)
        };
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let chosen = std::iter::once(name.clone()).chain(numbered).find(|c| is_free(c));
        let chosen = chosen.unwrap_or_default();
        taken.push(name_key(&chosen));
        names.push(chosen);
    }
    names
}

/// Text between quotes, with escapes only for quotes, backslashes and what a terminal would act
/// upon.
///
/// `{:?}` of a string escapes marks as well (`\u{94d}`), which makes words of Hindi and Thai
/// illegible.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'t>(pub &'t str);

/// Returns the text between quotes, for a message.
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for c in self.0.chars() {
            let acts = c.is_control() || (is_invisible(c) && !is_joiner(c));
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if acts || c == '\u{2028}' || c == '\u{2029}' => {
                    write!(f, "{}", c.escape_default())?;
                }
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Removes everything except speech from a transcript and converts the rest to lower case. Composes
/// letters and their accents (NFC), so that equal texts compare equal however they were typed, and keeps
/// the marks of letters.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut depth = 0usize;
    for c in nfc(text).chars() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '\'' | '’' => out.push('\''),
            // A dotted capital I becomes two characters; the second is no letter and is dropped.
            c if c.is_alphanumeric() => {
                out.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
            }
            // A mark without a letter before it, such as the one of an emoji, is none of speech.
            c if (is_mark(c) || is_joiner(c)) && out.ends_with(is_word_character) => out.push(c),
            _ if out.ends_with(' ') || out.is_empty() => {}
            _ => out.push(' '),
        }
    }
    out.trim_end_matches([' ', '\u{200c}', '\u{200d}']).to_owned()
}

/// Returns `true` if a cleaned transcript contains a phrase: the same whole words, or the same
/// characters in scripts without spaces, such as Mandarin.
///
/// ```
/// use wakeling_data::text::{clean, contains_phrase};
///
/// let transcript = clean("OK, hey computer -- [laughs] lights!");
/// assert_eq!(transcript, "ok hey computer lights");
/// assert!(contains_phrase(&transcript, "Hey Computer"));
/// assert!(!contains_phrase(&transcript, "hey compute")); // whole words
/// assert!(contains_phrase("打开你好百度", "你好")); // characters, where no space separates words
/// ```
pub fn contains_phrase(text: &str, phrase: &str) -> bool {
    let phrase = clean(phrase);
    match (phrase.is_empty(), phrase.chars().all(is_spaced)) {
        (true, _) => false,
        (_, true) => format!(" {text} ").contains(&format!(" {phrase} ")),
        (_, false) => text.contains(&phrase),
    }
}

/// Returns `true` for letters of scripts that separate words by spaces. Han, kana and all later
/// code points count as scripts that do not.
pub fn is_spaced(letter: char) -> bool {
    (letter as u32) < 0x2E80
}

/// Hashes a text. Unlike the hash of the standard library, the result is the same in every run.
pub fn hash(text: &str) -> u64 {
    // FNV-1a, 64 bits.
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_decomposed_names_are_the_same_word() {
        assert_eq!(name_key("cafe\u{301}"), name_key("caf\u{e9}"));
        assert_eq!(name_key(" Hey  Computer"), name_key("hey computer"));
        assert_eq!(name_key("Straße"), name_key("STRASSE"));
        assert_eq!(name_key("ΟΔΟΣ"), name_key("οδος"));
        assert_eq!(text_key("Hey, Computer!"), text_key("hey_computer"));
        assert_eq!(text_key("你 好。"), text_key("你好"));
        assert_eq!(text_key("soft\u{ad}ware"), text_key("software"));
    }

    #[test]
    fn names_that_differ_in_a_mark_or_a_sign_are_two_words() {
        for (a, b) in [("ข่า", "ข้า"), ("a/b", "a b"), ("👍", "👎"), ("cafe", "café"), ("क", "कि")]
        {
            assert_ne!(name_key(a), name_key(b));
        }
        assert_ne!(text_key("ข่า"), text_key("ข้า"));
        assert_ne!(text_key("👍"), text_key("👎"));
    }

    #[test]
    fn file_names_keep_marks_and_are_numbered_where_they_collide() {
        assert_eq!(file_name("नमस्ते"), "नमस्ते");
        assert_eq!(file_name("hey computer"), "hey-computer");
        assert_eq!(file_name("cafe\u{301}"), "café");
        let names = file_names(["a/b", "a b", "👍", "👎", "A-B", "a b 2", "ข่า", "ข้า"]);
        assert_eq!(names, ["a-b", "a-b-3", "word", "word-2", "A-B-4", "a-b-2", "ข่า", "ข้า"]);
    }

    #[test]
    fn text_is_quoted_as_text() {
        assert_eq!(quoted("नमस्ते ข่า").to_string(), "\"नमस्ते ข่า\"");
        assert_eq!(
            quoted("a\"b\n\u{1b}[31m\u{202e}").to_string(),
            "\"a\\\"b\\n\\u{1b}[31m\\u{202e}\""
        );
    }
}
