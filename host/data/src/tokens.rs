//! Conversion of transcripts to token sequences, the targets of CTC.
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
    sync::{Mutex, PoisonError},
};

use pinyin::ToPinyin;
use serde::{Deserialize, Serialize};

use crate::text::{clean, is_mark};
use crate::{Error, Result};

/// Names of the tokens. Token 0 is CTC's blank and has no name here.
///
/// ```
/// use wakeling_data::tokens::{Tokenizer, Vocabulary, collapse};
///
/// let texts = [("en".into(), "no".into()), ("zh".into(), "你好".into())];
/// let tokens = Tokenizer::default().tokenize(&texts)?; // without espeak-ng: letters, and pinyin
/// assert_eq!(tokens, [vec!["n", "o"], vec!["zh:n", "zh:i", "zh:3", "zh:h", "zh:ao", "zh:3"]]);
///
/// let vocabulary = Vocabulary::of(&tokens, 1);
/// let targets = vocabulary.encode(&tokens[0]);
/// assert_eq!(vocabulary.outputs(), 8); // seven tokens and the blank
/// // A network's best tokens, one per step, become a sequence.
/// assert_eq!(collapse(&[0, targets[0], targets[0], 0, targets[1]]), targets);
/// # Ok::<(), wakeling_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    names: Vec<String>,
}

impl Vocabulary {
    /// Creates the vocabulary of all tokens that occur at least `least` times in `sequences`, in
    /// alphabetical order.
    pub fn of<'a>(sequences: impl IntoIterator<Item = &'a Vec<String>>, least: usize) -> Self {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for token in sequences.into_iter().flatten() {
            *counts.entry(token.clone()).or_default() += 1;
        }
        Self::frequent(counts, least)
    }

    /// Creates the vocabulary of all tokens with a count of at least `least`, in alphabetical
    /// order.
    pub fn frequent(counts: BTreeMap<String, usize>, least: usize) -> Self {
        let frequent = counts.into_iter().filter(|(_, n)| *n >= least);
        Self { names: frequent.map(|(name, _)| name).collect() }
    }

    /// Number of outputs that a network needs: the tokens and the blank.
    pub fn outputs(&self) -> usize {
        self.names.len() + 1
    }

    /// Returns the name of a token; `None` for the blank.
    pub fn name(&self, token: u32) -> Option<&str> {
        self.names.get((token as usize).checked_sub(1)?).map(String::as_str)
    }

    /// Returns the numbers of the tokens, from 1. Tokens outside the vocabulary are dropped.
    pub fn encode(&self, tokens: &[String]) -> Vec<u32> {
        let number = |t: &String| self.names.binary_search(t).ok().map(|i| i as u32 + 1);
        tokens.iter().filter_map(number).collect()
    }
}

/// Converts a path of best tokens, one per step, to tokens: merges repetitions, then removes blanks
/// (Graves et al. 2006, section 3.2).
pub fn collapse(path: &[u32]) -> Vec<u32> {
    let mut tokens = Vec::new();
    for (t, &token) in path.iter().enumerate() {
        if token != 0 && (t == 0 || path[t - 1] != token) {
            tokens.push(token);
        }
    }
    tokens
}

/// Returns the minimum number of insertions, deletions and substitutions (Levenshtein 1966).
///
/// ```
/// use wakeling_data::tokens::edit_distance;
///
/// assert_eq!(edit_distance(&[1, 2, 3], &[1, 3, 3, 4]), 2);
/// ```
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

/// Splits toned Mandarin syllables into initials, finals and tones, in the order of the text.
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

/// Splits a syllable: `zuo4` → `zh:z`, `zh:uo`, `zh:4`.
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

/// Returns the espeak voice for a language tag.
fn voice(lang: &str) -> &str {
    match lang {
        "" | "en" => "en-us",
        other => other,
    }
}

/// Converter from transcripts to tokens.
#[derive(Clone, Debug, Default)]
pub struct Tokenizer {
    /// Grapheme-to-phoneme program with espeak-ng's interface, if there is one.
    pub g2p: Option<String>,
}

impl Tokenizer {
    /// Returns the tokens of each `(language, transcript)`, in the same order. Transcripts in a
    /// language that the grapheme-to-phoneme program does not speak have none.
    ///
    /// # Errors
    /// [`Error::PhonesNotStarted`] if the program cannot be started, [`Error::PhonesFailed`] if
    /// it fails.
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
                None => {
                    let is_letter = |c: &char| c.is_alphabetic() || is_mark(*c);
                    text.chars().filter(is_letter).map(String::from).collect()
                }
            }
        };
        Ok(texts.iter().map(tokens).collect())
    }
}

/// Part of what espeak-ng prints about a language that it does not speak.
const NO_VOICE: &str = "voice does not exist";

/// Returns the phones of each line, with one run of espeak-ng for all lines. Lines of a language
/// that it does not speak have none.
fn phonemize(program: &str, voice: &str, lines: &[String]) -> Result<Vec<Vec<String>>> {
    let failed = |reason: String| Error::PhonesFailed { program: program.to_owned(), reason };
    let mut child = Command::new(program)
        .args(["-q", "--ipa", "--sep=_", "-v", voice])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::PhonesNotStarted { program: program.to_owned(), source })?;
    let mut input = child.stdin.take().ok_or_else(|| failed("it has no input".into()))?;
    let text = lines.join("\n") + "\n";
    // A separate thread writes, because both pipes may be shorter than the text.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let written = writer.join().is_ok_and(|r| r.is_ok());
    let printed = String::from_utf8_lossy(&output.stdout);
    let phones: Vec<Vec<String>> = printed.lines().map(split_phones).collect();
    if !output.status.success() || !written || phones.len() != lines.len() {
        let printed = String::from_utf8_lossy(&output.stderr);
        if printed.contains(NO_VOICE) {
            warn_of_language(program, voice);
            return Ok(vec![Vec::new(); lines.len()]);
        }
        let why = printed.lines().next().unwrap_or("it printed nothing on standard error");
        return Err(failed(format!("{} lines for {} given; {why}", phones.len(), lines.len())));
    }
    Ok(phones)
}

/// Logs that transcripts in a language are left out, once for each language.
fn warn_of_language(program: &str, voice: &str) {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(voice.to_owned()) {
        log::warn!("{program} does not speak {voice:?}: its transcripts are left out");
    }
}

/// Splits a line of phones: `h_ə_l_ˈoʊ` → `h ə l oʊ`. Names of voices such as `(en)` between
/// phones, or before one, are removed.
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

/// Returns `true` if a program can be started.
pub fn is_there(program: &str) -> bool {
    let mut command = std::process::Command::new(program);
    let quiet = command
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    quiet.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
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
    fn empty_text_needs_no_program() {
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
    fn letters_keep_their_marks() {
        assert_eq!(clean("नमस्ते!"), "नमस्ते");
        assert_eq!(clean("ข้า ข่า"), "ข้า ข่า");
        assert_ne!(clean("ข่า"), clean("ข้า"));
        assert_eq!(clean("Cafe\u{301}"), "café");
        assert_eq!(clean("\u{301} x"), "x");
        assert_eq!(clean("❤\u{fe0f} İ"), "i");
        assert_eq!(clean("می\u{200c}خواهم"), "می\u{200c}خواهم");
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
    fn a_missing_program_is_an_error_of_its_own() {
        let tokenizer = Tokenizer { g2p: Some("no-such-program".into()) };
        let error = tokenizer.tokenize(&[("en".into(), "hello".into())]).unwrap_err();
        assert!(matches!(error, Error::PhonesNotStarted { .. }), "{error}");
    }
    #[cfg(unix)]
    #[test]
    fn a_language_that_the_program_does_not_speak_has_no_tokens() -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().map_err(Error::io(".", "create"))?;
        let program = folder.path().join("g2p");
        let script = "#!/bin/sh\n[ \"$5\" = en-us ] && exec tr ' ' _\n\
                      echo 'Error: The specified espeak-ng voice does not exist.' >&2; exit 1\n";
        std::fs::write(&program, script).map_err(Error::io(&program, "write"))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).map_err(Error::io(&program, "change"))?;
        let tokenizer = Tokenizer { g2p: program.to_str().map(String::from) };
        let texts = [("en".to_owned(), "a b".to_owned()), ("xx".into(), "c d".into())];
        assert_eq!(tokenizer.tokenize(&texts)?, [vec!["a", "b"], vec![]]);
        Ok(())
    }
}
