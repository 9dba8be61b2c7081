//! Counts which sets of five utterances a device accepts.

use std::collections::HashSet;

use rand::{
    SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use wakeling_audio::SAMPLE_RATE;
use wakeling_data::{
    dataset::{Dataset, Example},
    text::clean,
};
use wakeling_experiments::{Result, words};
use wakeling_shared::enroll::{Likeness, UTTERANCES};
use wakeling_train::{enroll::Learned, quantize::KeywordEntry};

use crate::{
    Args, Bench,
    data::{MAX_SAMPLES, Speakers, in_a_room},
};

/// Length of a piece of a sentence or of noise, about that of a keyword: 1.25 s.
const PIECE_SAMPLES: usize = SAMPLE_RATE as usize * 5 / 4;
/// Number of recordings of a set, with two to spare.
const WANTED: usize = UTTERANCES + 2;

/// Prints how many sets are accepted.
pub fn run(args: &Args, bench: &Bench<'_>, all: &[Example]) -> Result<()> {
    for (word, clips) in words(all) {
        for speakers in [Speakers::One, Speakers::Several] {
            let (mut taken, mut sets) = (0, 0);
            for seed in 0..args.seeds {
                let sampled = speakers.sample(&clips, UTTERANCES, seed);
                let Some((recordings, _)) = sampled else { continue };
                let rng = &mut StdRng::seed_from_u64(seed);
                let learned = bench
                    .enroll(UTTERANCES, &in_a_room(&recordings, MAX_SAMPLES, speakers, rng))?;
                eprintln!("{word} {} {seed}: {}", speakers.name(), reported(&learned));
                sets += usize::from(learned.likeness.is_some());
                taken += usize::from(learned.outcome.is_ok());
            }
            if sets > 0 {
                println!("{word}, {} speakers: {taken} of {sets} accepted", speakers.name());
            }
        }
    }
    let noise = Dataset::open(args.data.join("manifest/noise-test.jsonl"))?.examples;
    let kind = |kind: &str| -> Vec<Example> {
        let is =
            |e: &&Example| e.kind.as_deref() == Some(kind) && e.split.as_deref() == Some("test");
        all.iter().filter(is).cloned().collect()
    };
    let (words, sentences) = (kind("word"), kind("sentence"));
    let garbage: [(&str, &[Example], bool, usize); 4] = [
        ("one person's words", &words, true, MAX_SAMPLES),
        ("several people's words", &words, false, MAX_SAMPLES),
        ("pieces of one reader's sentences", &sentences, true, PIECE_SAMPLES),
        ("pieces of noise", &noise, false, PIECE_SAMPLES),
    ];
    for (name, from, of_one, samples) in garbage {
        let (mut taken, mut sets) = (0, 0);
        for seed in 0..args.seeds {
            let mut rng = StdRng::seed_from_u64(seed);
            let clips = different(from, of_one, &mut rng);
            let sound = in_a_room(&clips, samples, Speakers::Several, &mut rng);
            let learned = bench.enroll(UTTERANCES, &sound)?;
            sets += usize::from(learned.likeness.is_some());
            eprintln!("{name} {seed}: {}", reported(&learned));
            taken += usize::from(learned.outcome.is_ok());
        }
        println!("{name}: {taken} of {sets} accepted");
    }
    Ok(())
}

/// Samples recordings with different texts, from one speaker if `of_one` is set.
fn different(from: &[Example], of_one: bool, rng: &mut StdRng) -> Vec<Example> {
    for first in from.sample(rng, from.len()) {
        let mut own: Vec<&Example> =
            from.iter().filter(|e| !of_one || e.speaker == first.speaker).collect();
        own.shuffle(rng);
        let mut texts = HashSet::new();
        // Noise has no text, so its clips always count as different.
        own.retain(|e| {
            e.kind.as_deref() == Some("noise") || texts.insert(e.text.as_deref().map(clean))
        });
        if own.len() >= WANTED {
            return own.into_iter().take(WANTED).cloned().collect();
        }
    }
    Vec::new()
}

fn reported(learned: &Learned<KeywordEntry>) -> String {
    let outcome = match &learned.outcome {
        Ok(_) => "taken".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    match learned.likeness {
        Some(Likeness { mean_q8, least_q8 }) => {
            let [mean, least] = [mean_q8, least_q8].map(|q8| f64::from(q8) / 256.0);
            format!("{outcome}, cosines {mean:.2}, the least {least:.2}")
        }
        None => outcome,
    }
}
