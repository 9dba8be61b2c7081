//! Reasons why the phones of a phrase may not be its pronunciation.
//!
//! espeak-ng reads letters that are unknown to a voice by their names, such as "arabic letter meem"
//! or "o acute". A verdict on such phones would be about the names, so no verdict is given.

use icu_properties::props::Script;

use super::{
    language::{guess, name, named, script, script_name, writes},
    words::{Spelling, is_mandarin},
};
use crate::tokens::Tokenizer;

/// Maximum mean number of phones per letter of a word that is read and not spelled out. One more
/// per word is allowed, because a Korean syllable with a glide has four.
const MOST_PHONES_A_LETTER: usize = 3;

/// Scripts whose letters have names that differ from their sounds.
const ALPHABETS: [Script; 5] =
    [Script::Latin, Script::Cyrillic, Script::Greek, Script::Armenian, Script::Georgian];

/// Reason why a phrase cannot be judged, and a remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Reason.
    pub reason: String,
    /// Advice to the user.
    pub remedy: String,
}

fn obstacle(reason: impl Into<String>, remedy: impl Into<String>) -> Obstacle {
    Obstacle { reason: reason.into(), remedy: remedy.into() }
}

/// Returns the obstacle to a verdict, if there is one.
pub fn find(
    phrase: &str,
    language: &str,
    (tokens, spelling): (&[String], Spelling),
    g2p: Option<&str>,
) -> Option<Obstacle> {
    // An empty phrase is too short in every language.
    if !phrase.chars().any(char::is_alphabetic) {
        return None;
    }
    foreign_script(phrase, language)
        .or_else(|| unread_mandarin(phrase, language, tokens))
        .or_else(|| no_phones(language, spelling, g2p))
        .or_else(|| spelled_out(phrase, language, g2p?))
}

/// Finds letters of a script that the language is not written in. Latin words within another script
/// are loanwords, which espeak-ng reads in English.
fn foreign_script(phrase: &str, language: &str) -> Option<Obstacle> {
    let scripts = || phrase.chars().filter_map(script);
    let is_own = |s| writes(language, s);
    let is_loan = |s| s == Script::Latin && scripts().any(is_own) && !is_mandarin(language);
    let foreign = scripts().find(|&s| !is_own(s) && !is_loan(s))?;
    let is_foreign = |word: &&str| word.chars().any(|c| script(c) == Some(foreign));
    let words: Vec<&str> = phrase.split(' ').filter(is_foreign).collect();
    let words = words.join(" ");
    let mut remedy = name_another(&words, language);
    if words != phrase {
        remedy += ", or write the phrase in one script";
    }
    let (name, letters) = (name(language), script_name(foreign));
    Some(obstacle(format!("{name} is not written in {letters} letters (\"{words}\")"), remedy))
}

/// Returns the advice to name another language, with the most likely language of `text`.
fn name_another(text: &str, language: &str) -> String {
    let likely = guess(text).code;
    if likely == language {
        return "name another language with --language".into();
    }
    format!("name the language with --language, perhaps {likely} for {}", name(&likely))
}

/// Finds words in a Mandarin phrase that are neither characters nor syllables with tones.
fn unread_mandarin(phrase: &str, language: &str, tokens: &[String]) -> Option<Obstacle> {
    if !is_mandarin(language) {
        return None;
    }
    let is_latin = |c: char| script(c) == Some(Script::Latin);
    let words = phrase.split(|c: char| !is_latin(c) && !c.is_ascii_digit());
    let unread = |word: &&str| {
        word.chars().any(is_latin) && !word.ends_with(|c: char| ('1'..='5').contains(&c))
    };
    if let Some(word) = words.into_iter().find(unread) {
        return Some(obstacle(
            format!("no Mandarin pronunciation of \"{word}\" is known"),
            "write it in characters, or as syllables with tones, such as ni3 hao3",
        ));
    }
    tokens
        .is_empty()
        .then(|| obstacle("no Mandarin pronunciation of these characters is known", "write others"))
}

/// Finds a phrase for which letters replace phones, because there is no program or it has no voice.
fn no_phones(language: &str, spelling: Spelling, g2p: Option<&str>) -> Option<Obstacle> {
    if spelling == Spelling::Phones {
        return None;
    }
    let name = name(language);
    Some(match g2p {
        Some(program) => obstacle(
            format!("{program} has no voice for {}", named(language)),
            "name a similar language that has one with --language (espeak-ng --voices lists them)",
        ),
        None => obstacle(
            format!("its pronunciation in {name} is not known without espeak-ng"),
            "install espeak-ng (apt-get install espeak-ng)",
        ),
    })
}

/// Finds words whose phones are the names of their letters.
fn spelled_out(phrase: &str, language: &str, g2p: &str) -> Option<Obstacle> {
    if is_mandarin(language) {
        return None;
    }
    let words: Vec<&str> =
        phrase.split(' ').filter(|w| w.chars().any(char::is_alphabetic)).collect();
    let letters = |word: &str| -> Vec<String> {
        word.chars().filter(|c| c.is_alphabetic()).map(String::from).collect()
    };
    let texts: Vec<(String, String)> = words
        .iter()
        .map(|w| (*w).to_owned())
        .chain(words.iter().flat_map(|w| letters(w)))
        .map(|text| (language.to_owned(), text))
        .collect();
    let tokenizer = Tokenizer { g2p: Some(g2p.to_owned()) };
    let phones = tokenizer.tokenize(&texts).ok()?;
    let (of_words, mut of_letters) = phones.split_at_checked(words.len())?;
    for (word, phones) in words.iter().zip(of_words) {
        let (own, rest) = of_letters.split_at_checked(letters(word).len())?;
        of_letters = rest;
        if is_spelled(word, phones, own) {
            return Some(spelled(word, language, own.len()));
        }
    }
    None
}

/// Returns `true` if a word's phones are the names of its letters. `letters` holds the phones of
/// each letter alone.
fn is_spelled(word: &str, phones: &[String], letters: &[Vec<String>]) -> bool {
    // The name of a single plain letter is its pronunciation. Digits are read as numbers.
    if word.chars().any(char::is_numeric) || (word.is_ascii() && letters.len() == 1) {
        return false;
    }
    let is_long = phones.len() > MOST_PHONES_A_LETTER * letters.len() + 1;
    let names: Vec<&String> = letters.iter().flatten().collect();
    // In syllabaries and abugidas, the name of a sign is its pronunciation.
    let is_alphabet = word.chars().filter_map(script).all(|s| ALPHABETS.contains(&s));
    let is_named =
        is_alphabet && letters.len() > 1 && phones.len() > letters.len() && phones.iter().eq(names);
    phones.is_empty() || is_long || is_named
}

fn spelled(word: &str, language: &str, letters: usize) -> Obstacle {
    let name = name(language);
    if word.chars().any(|c| script(c) == Some(Script::Han)) {
        return obstacle(
            format!("espeak-ng does not read the Chinese characters of \"{word}\" in {name}"),
            "write it as it is pronounced (Japanese in kana), or name another language with --language",
        );
    }
    let mut remedy = name_another(word, language);
    if word.is_ascii() && letters > 1 {
        let apart: Vec<String> = word.chars().map(String::from).collect();
        remedy += &format!(
            ", or write it as it is pronounced; if it is spelled, \"{}\"",
            apart.join(" ")
        );
    }
    obstacle(format!("espeak-ng spells \"{word}\" letter by letter in {name}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phones(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn distinguishes_names_of_letters_from_words() {
        let letters = |list: &[&str]| list.iter().map(|l| phones(l)).collect::<Vec<_>>();
        assert!(is_spelled("usb", &phones("j u ɛ s b i"), &letters(&["j u", "ɛ s", "b i"])));
        let hangul = letters(&["ɐ n", "n j ʌ ŋ"]);
        assert!(!is_spelled("안녕", &phones("ɐ n n j ʌ ŋ"), &hangul));
        assert!(is_spelled("ó", &phones("oʊ ɐ k j u t"), &letters(&["oʊ ɐ k j u t"])));
        assert!(!is_spelled("x", &[], &letters(&[""])));
        assert!(!is_spelled("ó", &phones("ɔ"), &letters(&["ɔ"])));
        assert!(!is_spelled("io", &phones("i o"), &letters(&["i", "o"])));
        assert!(!is_spelled("hey", &phones("h eɪ"), &letters(&["eɪ tʃ", "i", "w aɪ"])));
        assert!(!is_spelled("w", &phones("d ʌ b əl j u"), &letters(&["d ʌ b əl j u"])));
        assert!(is_spelled("مر", &phones("a ɹ ə b ɪ k m i m ɹ eɪ"), &letters(&["a", "b"])));
    }

    #[test]
    fn scripts_are_those_of_the_language() {
        let reason = |phrase, language| foreign_script(phrase, language).map(|o| o.reason);
        assert_eq!(reason("привет", "ru"), None);
        assert_eq!(reason("hey алиса", "ru"), None);
        assert_eq!(reason("こんにちは 東京", "ja"), None);
        assert!(reason("привет", "en").unwrap().contains("English is not written in Cyrillic"));
        assert!(reason("hey robot", "ru").unwrap().contains("Latin"));
        assert!(reason("привет שלום", "ru").unwrap().contains("Hebrew"));
        assert!(foreign_script("привет", "en").unwrap().remedy.contains("ru for Russian"));
    }

    #[test]
    fn mandarin_is_read_from_characters_and_toned_syllables_only() {
        let unread = |phrase| unread_mandarin(phrase, "zh", &[String::from("zh:n")]).is_some();
        assert!(
            !unread("你好") && !unread("ni3 hao3") && unread("你好 wakeling") && unread("ni hao")
        );
    }
}
