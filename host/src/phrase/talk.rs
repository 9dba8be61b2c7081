//! Talk in which a phrase is not said.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::words::Words;
use crate::{
    negatives::{is_spaced, says},
    tokens::clean,
};

/// Words of a sentence.
const LENGTHS: std::ops::RangeInclusive<usize> = 5..=9;
/// The list for languages that have none here: a voice says the words of any language in its own sounds.
const OTHERWISE: &str = "en";

/// `count` sentences of everyday words of a language, drawn by `seed`, without the words of `phrase`:
/// they mean nothing and hold all that mouths do. More of them begin with the same ones.
///
/// Frequent words come more often (the number of a word in the list is the square of a uniform one),
/// though not as often as in talk, where ten words are a fifth of it.
pub fn talk(phrase: &str, language: &str, count: usize, seed: u64) -> Vec<String> {
    let phrase = clean(phrase);
    let list = Words::of(language).or_else(|| Words::of(OTHERWISE));
    let words: Vec<&str> = list
        .into_iter()
        .flat_map(Words::iter)
        .map(|word| word.text.as_str())
        .filter(|word| !says(&phrase, word))
        .collect();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sentence = || {
        let mut text = String::new();
        for _ in 0..rng.random_range(LENGTHS) {
            let uniform: f64 = rng.random();
            let word = words[((words.len() as f64) * uniform * uniform) as usize];
            if !text.is_empty() && word.chars().all(is_spaced) {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    };
    let sentences = std::iter::repeat_with(&mut sentence);
    sentences.filter(|text| !says(text, &phrase)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_is_many_sentences_without_the_phrase() {
        for (phrase, language, spaces) in
            [("the house", "en", 4..=8), ("上海", "zh", 0..=0), ("hey computer", "fr", 4..=8)]
        {
            let all = talk(phrase, language, 300, 1);
            assert_eq!(all[..20], talk(phrase, language, 20, 1));
            assert_ne!(all, talk(phrase, language, 300, 2));
            for text in &all {
                assert!(spaces.contains(&text.matches(' ').count()), "{text:?}");
                let word = clean(phrase);
                assert!(word.split(' ').all(|word| !says(text, word)), "{text:?}");
            }
            let different: std::collections::BTreeSet<_> = all.iter().collect();
            assert_eq!(different.len(), 300);
        }
    }
}
