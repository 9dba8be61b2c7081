//! Transcripts to token sequences, the targets of CTC.
//!
//! | language | tokens |
//! |---|---|
//! | Mandarin (`zh`), characters or toned syllables such as `zuo4` | initial, final, tone |
//! | others, with a grapheme-to-phoneme command | its phones, without stress and length |
//! | others, without | lower-case letters |
//!
//! Marks of noise in transcripts (`[click]`, `{breath}`, `(( ))`) are not speech and are removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointMapData, props::GeneralCategoryGroup};
use pinyin::ToPinyin;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Names the tokens; token 0 is CTC's blank and has no name here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    names: Vec<String>,
}

impl Vocabulary {
    /// Every token that occurs at least `least` times in `sequences`, in alphabetical order.
    pub fn of<'a>(sequences: impl IntoIterator<Item = &'a Vec<String>>, least: usize) -> Self {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for token in sequences.into_iter().flatten() {
            *counts.entry(token.clone()).or_default() += 1;
        }
        Self::frequent(counts, least)
    }

    /// Every token that was counted at least `least` times, in alphabetical order.
    pub fn frequent(counts: BTreeMap<String, usize>, least: usize) -> Self {
        let frequent = counts.into_iter().filter(|(_, n)| *n >= least);
        Self { names: frequent.map(|(name, _)| name).collect() }
    }

    /// Number of outputs that a network needs: the tokens and the blank.
    pub fn outputs(&self) -> usize {
        self.names.len() + 1
    }

    /// The name of a token; none for the blank.
    pub fn name(&self, token: u32) -> Option<&str> {
        self.names.get((token as usize).checked_sub(1)?).map(String::as_str)
    }

    /// Numbers of the tokens, from 1; tokens without a name are left out.
    pub fn encode(&self, tokens: &[String]) -> Vec<u32> {
        let number = |t: &String| self.names.binary_search(t).ok().map(|i| i as u32 + 1);
        tokens.iter().filter_map(number).collect()
    }
}

/// The tokens of a path of best tokens, one a step: repetitions and blanks removed (Graves et al. 2006,
/// section 3.2).
pub fn collapse(path: &[u32]) -> Vec<u32> {
    let mut tokens = Vec::new();
    for (t, &token) in path.iter().enumerate() {
        if token != 0 && (t == 0 || path[t - 1] != token) {
            tokens.push(token);
        }
    }
    tokens
}

/// Least number of insertions, deletions and substitutions (Levenshtein 1966).
pub fn edit_distance(a: &[u32], b: &[u32]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Returns true if a character belongs to the letter before it: a virama, a tone mark, a joiner.
fn is_mark(c: char) -> bool {
    let is_joiner = matches!(c, '\u{200c}' | '\u{200d}');
    is_joiner || GeneralCategoryGroup::Mark.contains(CodePointMapData::new().get(c))
}

/// Removes what is no speech from a transcript and lower-cases the rest. The result is in Unicode's
/// normalization form C, so that one text is one text however it was typed.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut depth = 0usize;
    for c in ComposingNormalizerBorrowed::new_nfc().normalize_iter(text.chars()) {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '\'' | '’' => out.push('\''),
            // A dotted capital I becomes two characters, of which the second is no letter.
            c if c.is_alphanumeric() => {
                out.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
            }
            _ if out.ends_with(' ') || out.is_empty() => {}
            c if is_mark(c) => out.push(c),
            _ => out.push(' '),
        }
    }
    out.trim_end_matches([' ', '\u{200c}', '\u{200d}']).to_owned()
}

/// Mandarin finals and initials of toned syllables, in the order of the text.
fn mandarin(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut latin = String::new();
    for c in text.chars().chain([' ']) {
        if let Some(syllable) = c.to_pinyin() {
            split_syllable(syllable.with_tone_num_end(), &mut tokens);
        } else if c.is_ascii_alphanumeric() || c == 'ü' {
            latin.push(c);
            if c.is_ascii_digit() {
                split_syllable(&latin, &mut tokens);
                latin.clear();
            }
        } else {
            latin.clear();
        }
    }
    tokens
}

/// `zuo4` → `zh:z`, `zh:uo`, `zh:4`.
fn split_syllable(syllable: &str, tokens: &mut Vec<String>) {
    const INITIALS: [&str; 23] = [
        "zh", "ch", "sh", "b", "p", "m", "f", "d", "t", "n", "l", "g", "k", "h", "j", "q", "x",
        "r", "z", "c", "s", "y", "w",
    ];
    let letters = syllable.trim_end_matches(|c: char| c.is_ascii_digit());
    let tone = &syllable[letters.len()..];
    let initial = INITIALS.iter().find(|i| letters.starts_with(**i)).copied().unwrap_or("");
    let last = &letters[initial.len()..];
    for part in [initial, last, if tone.is_empty() { "5" } else { tone }] {
        if !part.is_empty() {
            tokens.push(format!("zh:{part}"));
        }
    }
}

/// An espeak voice for a language tag.
fn voice(lang: &str) -> &str {
    match lang {
        "" | "en" => "en-us",
        other => other,
    }
}

/// Turns transcripts into tokens.
#[derive(Clone, Debug, Default)]
pub struct Tokenizer {
    /// A grapheme-to-phoneme program with espeak-ng's interface, if there is one.
    pub g2p: Option<String>,
}

impl Tokenizer {
    /// Tokens of each `(language, transcript)`, in the same order.
    ///
    /// # Errors
    /// [`Error::Device`] if the grapheme-to-phoneme program cannot be started, [`Error::Usage`] if it
    /// fails.
    pub fn tokenize(&self, texts: &[(String, String)]) -> Result<Vec<Vec<String>>> {
        let mut phones: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        if let Some(program) = &self.g2p {
            let mut by_language: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
            for (lang, text) in texts.iter().filter(|(lang, _)| lang != "zh") {
                by_language.entry(lang).or_default().insert(clean(text));
            }
            for (lang, lines) in by_language {
                let lines: Vec<String> = lines.into_iter().filter(|l| !l.is_empty()).collect();
                if lines.is_empty() {
                    continue;
                }
                let spoken = phonemize(program, voice(lang), &lines)?;
                phones.extend(lines.into_iter().map(|l| (lang.to_owned(), l)).zip(spoken));
            }
        }
        let tokens = |(lang, text): &(String, String)| {
            if lang == "zh" {
                return mandarin(text);
            }
            let text = clean(text);
            match phones.get(&(lang.clone(), text.clone())) {
                Some(phones) => phones.clone(),
                None => text.chars().filter(|c| c.is_alphabetic()).map(String::from).collect(),
            }
        };
        Ok(texts.iter().map(tokens).collect())
    }
}

/// Phones of each line, by one run of an espeak-ng for all of them.
fn phonemize(program: &str, voice: &str, lines: &[String]) -> Result<Vec<Vec<String>>> {
    let failed = |why: String| {
        Error::usage(
            format!("the grapheme-to-phoneme program {program:?} failed: {why}"),
            "install it (apt-get install espeak-ng), or leave --g2p away to train on letters",
        )
    };
    let mut child = Command::new(program)
        .args(["-q", "--ipa", "--sep=_", "-v", voice])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            let remedy =
                "install it (apt-get install espeak-ng), or leave --g2p away to train on letters";
            Error::device(program, format!("the program cannot be started: {e}"), remedy)
        })?;
    let mut input = child.stdin.take().ok_or_else(|| failed("it has no input".into()))?;
    let text = lines.join("\n") + "\n";
    // Written from a thread of its own: both pipes are shorter than the text.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let written = writer.join().is_ok_and(|r| r.is_ok());
    let printed = String::from_utf8_lossy(&output.stdout);
    let phones: Vec<Vec<String>> = printed.lines().map(split_phones).collect();
    if !output.status.success() || !written || phones.len() != lines.len() {
        let printed = String::from_utf8_lossy(&output.stderr);
        let why = printed.lines().next().unwrap_or("it printed nothing on standard error");
        return Err(failed(format!("{} lines for {} given; {why}", phones.len(), lines.len())));
    }
    Ok(phones)
}

/// `h_ə_l_ˈoʊ` → `h ə l oʊ`. Names of voices, `(en)`, stand between phones or before one.
fn split_phones(line: &str) -> Vec<String> {
    let bare = |phone: &str| {
        let phone = match phone.strip_prefix('(') {
            Some(rest) => rest.split_once(')').map_or("", |(_, phone)| phone),
            None => phone,
        };
        phone.replace(['ˈ', 'ˌ', 'ː', '\u{329}', '-'], "")
    };
    line.split([' ', '_']).map(bare).filter(|p| !p.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edit_distance(&[1, 2, 3], &[1, 2, 3]), 0);
        assert_eq!(edit_distance(&[1, 3], &[1, 2, 3]), 1);
        assert_eq!(edit_distance(&[], &[4, 5]), 2);
        assert_eq!(edit_distance(&[9, 8, 7], &[7]), 2);
    }

    #[test]
    fn a_path_is_read_without_blanks_and_repetitions() {
        assert_eq!(collapse(&[0, 3, 3, 0, 3, 4, 4, 0]), [3, 3, 4]);
        assert!(collapse(&[0, 0]).is_empty() && collapse(&[]).is_empty());
    }

    #[test]
    fn nothing_to_say_needs_no_program() {
        let tokenizer = Tokenizer { g2p: Some("no such program".into()) };
        let texts = [("en".to_owned(), String::new()), ("zh".into(), "一".into())];
        assert_eq!(tokenizer.tokenize(&texts).unwrap()[0], Vec::<String>::new());
    }

    fn tokens(lang: &str, text: &str) -> Vec<String> {
        Tokenizer::default().tokenize(&[(lang.into(), text.into())]).unwrap().remove(0)
    }

    #[test]
    fn marks_of_noise_are_removed() {
        assert_eq!(
            clean("[static\\] Think_Engine {breath} isn't, (( it?"),
            "think engine isn't it"
        );
        assert_eq!(clean(" [x] "), "");
    }

    #[test]
    fn combining_marks_are_kept_and_composed() {
        assert_eq!(clean("नमस्ते!"), "नमस्ते");
        assert_eq!(clean("ข้า ข่า"), "ข้า ข่า");
        assert_eq!(clean("Cafe\u{301}"), "caf\u{e9}");
        assert_eq!(clean("\u{301} x"), "x");
    }

    #[test]
    fn mandarin_becomes_initials_finals_and_tones() {
        assert_eq!(tokens("zh", "北京"), ["zh:b", "zh:ei", "zh:3", "zh:j", "zh:ing", "zh:1"]);
        assert_eq!(tokens("zh", "zuo4"), ["zh:z", "zh:uo", "zh:4"]);
        assert_eq!(tokens("zh", "a1"), ["zh:a", "zh:1"]);
        assert!(tokens("zh", "_").is_empty());
    }

    #[test]
    fn letters_serve_where_no_phones_are() {
        assert_eq!(tokens("en", "Hi there"), ["h", "i", "t", "h", "e", "r", "e"]);
        assert_eq!(split_phones("h_ə_l_ˈoʊ (en)_t_ˈuː"), ["h", "ə", "l", "oʊ", "t", "u"]);
        assert_eq!(split_phones("(hi)n_ə_m_(en-us) (ru)"), ["n", "ə", "m"]);
    }

    #[test]
    fn the_vocabulary_numbers_from_one_and_leaves_out_the_rare() {
        let sequences = [tokens("en", "abba"), tokens("en", "bc")];
        let vocabulary = Vocabulary::of(&sequences, 2);
        assert_eq!(vocabulary.outputs(), 3);
        assert_eq!(vocabulary.encode(&sequences[1]), [2]);
    }

    #[test]
    fn a_missing_program_names_its_remedy() {
        let tokenizer = Tokenizer { g2p: Some("no-such-program".into()) };
        let error = tokenizer.tokenize(&[("en".into(), "hello".into())]).unwrap_err();
        assert!(error.to_string().contains("espeak-ng"), "{error}");
    }
}
