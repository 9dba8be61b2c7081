//! Hard negatives of a phrase, as texts to record: its parts, its words reordered or repeated, and
//! words that sound like some of them.

use super::{
    PhraseCheck, near_words,
    phones::segments,
    words::{Words, is_mandarin, tokens},
};
use crate::text::clean;

/// Maximum number of replacements for each word.
const REPLACEMENTS: usize = 4;
/// Number of nearest words among which the replacements are chosen.
const CANDIDATES: usize = 12;
/// Distance below which a text counts as a mispronunciation of the phrase itself.
const SAME: f32 = 0.06;

/// Returns texts to record as hard negatives, without duplicates, in a fixed order. No text
/// contains the phrase.
pub fn confusions(check: &PhraseCheck, g2p: Option<&str>) -> Vec<String> {
    let phrase = clean(&check.phrase);
    let is_spaced = !is_mandarin(&check.language);
    let units: Vec<String> = if is_spaced {
        phrase.split(' ').map(String::from).collect()
    } else {
        phrase.chars().filter(|c| !c.is_whitespace()).map(String::from).collect()
    };
    let join = |units: &[&str]| units.join(if is_spaced { " " } else { "" });
    let all: Vec<&str> = units.iter().map(String::as_str).collect();
    let mut texts = Vec::new();
    for at in 1..all.len() {
        let (head, tail) = all.split_at(at);
        for part in [head, tail] {
            texts.push(join(part));
            texts.push(join(&[part, part].concat()));
        }
        texts.push(join(&[tail, head].concat()));
    }
    if all.len() > 2 {
        texts.extend((0..all.len()).map(|i| join(&[&all[..i], &all[i + 1..]].concat())));
        let mut backwards = all.clone();
        backwards.reverse();
        texts.push(join(&backwards));
    }
    if is_spaced {
        for i in 0..all.len() {
            for near in replacements(&all, i, check, g2p) {
                let mut replaced = all.clone();
                replaced[i] = &near;
                texts.push(join(&replaced));
            }
        }
    }
    let apart = check.near_words.iter().filter(|near| near.distance > SAME);
    texts.extend(apart.map(|near| near.text.clone()));
    let mut kept: Vec<String> = Vec::new();
    for text in texts {
        if !text.is_empty() && !text.contains(&phrase) && !kept.contains(&text) {
            kept.push(text);
        }
    }
    kept
}

/// Returns everyday words that sound like one word of the phrase but turn it into another phrase.
fn replacements(
    words: &[&str],
    place: usize,
    check: &PhraseCheck,
    g2p: Option<&str>,
) -> Vec<String> {
    let Some(list) = Words::of(&check.language) else { return Vec::new() };
    let (sounds, spelling) = tokens(words[place], &check.language, g2p);
    let sounds = segments(&sounds);
    let near = near_words(words[place], &sounds, list, spelling, CANDIDATES);
    let (alone, whole) = (sounds.len() as f32, segments(&check.tokens).len().max(1) as f32);
    let other = near.into_iter().filter(|n| n.distance * alone / whole > SAME);
    other.take(REPLACEMENTS).map(|n| n.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phrase::check;

    fn of(phrase: &str, language: &str) -> Vec<String> {
        confusions(&check(phrase, language, None), None)
    }

    #[test]
    fn confusions_include_parts_orders_repeats_and_near_words_but_never_the_phrase() {
        let texts = of("hey computer", "en");
        for text in ["hey", "computer", "computer hey", "hey hey", "computer computer"] {
            assert!(texts.contains(&text.to_owned()), "{text}: {texts:?}");
        }
        assert!(texts.iter().any(|t| t.starts_with("hey c")), "{texts:?}");
        assert!(texts.iter().any(|t| t.ends_with(" computer")), "{texts:?}");
        assert!(texts.iter().all(|t| !t.contains("hey computer")));
        let texts = of("你好百度", "zh");
        for text in ["你好", "百度", "百度你好", "你好你好", "好百度"] {
            assert!(texts.contains(&text.to_owned()), "{text}: {texts:?}");
        }
    }

    #[test]
    fn single_word_has_near_words_only_and_empty_phrase_none() {
        let texts = of("operator", "en");
        assert!(texts.contains(&"operation".to_owned()) || texts.len() >= 4, "{texts:?}");
        assert!(of("", "en").iter().all(|t| !t.is_empty()));
    }
}
