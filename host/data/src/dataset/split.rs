//! Division of clips into parts that share no speaker.
//!
//! A network recognizes voices from its training data, so a test on the same voices measures
//! memory. Whole speakers are therefore assigned to one part. If the speaker is unknown, the file
//! is the unit, so that two clips from one recording stay together.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Example;
use crate::text::hash;
use crate::{Error, Result};

/// Splits clips into one part for each of `fractions`, which are shares of the clips.
///
/// Speakers are shuffled by `seed` and assigned from the largest to the smallest, each to the part
/// that is furthest below its share. A part that would stay empty gets the smallest speaker of the
/// part with the most speakers. The result depends on the set of clips and the seed, not on the
/// order of `examples`. That order is kept within each part. Fractions that sum to less than 1 are
/// scaled up, so no clip is dropped.
///
/// ```
/// use wakeling_data::dataset::{Example, split_by_speaker};
///
/// let clip = |n: usize| Example {
///     speaker: Some(format!("speaker {}", n % 5)),
///     ..Example::unlabelled(format!("{n}.wav"))
/// };
/// let clips: Vec<Example> = (0..50).map(clip).collect();
/// let parts = split_by_speaker(&clips, &[0.8, 0.2], 1)?;
/// assert_eq!((parts[0].len(), parts[1].len()), (40, 10));
/// assert!(parts[1].iter().all(|test| parts[0].iter().all(|train| train.speaker != test.speaker)));
/// # Ok::<(), wakeling_data::Error>(())
/// ```
///
/// # Errors
/// [`Error::Fractions`] if one is not in (0, 1], or their sum exceeds 1; [`Error::FewSpeakers`] if there are fewer speakers
/// than parts.
pub fn split_by_speaker(
    examples: &[Example],
    fractions: &[f64],
    seed: u64,
) -> Result<Vec<Vec<Example>>> {
    let sum: f64 = fractions.iter().sum();
    let valid = fractions.iter().all(|&f| f > 0.0 && f <= 1.0) && sum <= 1.0 + 1e-9;
    if fractions.is_empty() || !valid {
        return Err(Error::Fractions { fractions: fractions.to_vec() });
    }
    let groups = groups(examples, seed);
    if groups.len() < fractions.len() {
        return Err(Error::FewSpeakers { speakers: groups.len(), parts: fractions.len() });
    }
    let shares: Vec<f64> = fractions.iter().map(|f| f / sum * examples.len() as f64).collect();
    let mut parts = deal(groups, &shares);
    fill_empty(&mut parts);
    Ok(parts
        .into_iter()
        .map(|part| {
            let mut indices: Vec<usize> = part.into_iter().flatten().collect();
            indices.sort_unstable();
            indices.into_iter().map(|i| examples[i].clone()).collect()
        })
        .collect())
}

/// Maps the speaker of a clip to a number below 2⁶⁴; uses the file if the speaker is unknown.
///
/// A dataset too large for [`split_by_speaker`] holds out the clips below a threshold: that share of
/// the speakers, clip by clip, with no list of them.
pub fn speaker_position(clip: &Example, seed: u64) -> u64 {
    let name = clip.speaker.clone().unwrap_or_else(|| format!("\0{}", clip.name()));
    // Finalizer of SplitMix64 (Steele et al. 2014).
    let mut x = hash(&name) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Indices of clips that must stay together.
type Group = Vec<usize>;

/// Returns the groups, largest first. The seed determines the order of groups of equal size.
fn groups(examples: &[Example], seed: u64) -> Vec<Group> {
    // The flag distinguishes a speaker from a file of the same name.
    let mut by_key: BTreeMap<(bool, String), Group> = BTreeMap::new();
    for (index, example) in examples.iter().enumerate() {
        let key = match &example.speaker {
            Some(speaker) => (true, speaker.clone()),
            None => (false, example.path.to_string_lossy().into_owned()),
        };
        by_key.entry(key).or_default().push(index);
    }
    let mut groups: Vec<Group> = by_key.into_values().collect();
    let mut rng = StdRng::seed_from_u64(seed);
    for i in (1..groups.len()).rev() {
        groups.swap(i, rng.random_range(0..=i));
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups
}

fn deal(groups: Vec<Group>, shares: &[f64]) -> Vec<Vec<Group>> {
    let mut parts: Vec<Vec<Group>> = vec![Vec::new(); shares.len()];
    let mut missing = shares.to_vec();
    for group in groups {
        let part =
            (1..shares.len()).fold(0, |best, i| if missing[i] > missing[best] { i } else { best });
        missing[part] -= group.len() as f64;
        parts[part].push(group);
    }
    parts
}

/// Moves a group into each empty part. There are at least as many groups as parts, so while a part
/// is empty another has two.
fn fill_empty(parts: &mut [Vec<Group>]) {
    while let Some(empty) = parts.iter().position(Vec::is_empty) {
        let Some(richest) = parts.iter_mut().max_by_key(|part| part.len()) else { return };
        // Groups were assigned largest first, so the last is the smallest.
        let Some(group) = richest.pop() else { return };
        parts[empty].push(group);
    }
}
