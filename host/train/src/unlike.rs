//! Takes that say something else than the others, by what the pretrained model recognizes in them.
//!
//! Two takes are aligned by dynamic time warping (Sakoe & Chiba 1978) over the probabilities of the
//! pretrained model's tokens, step by step ("posteriorgrams", Hazen, Shen & White 2009). The
//! distance of two steps is the Hellinger distance, squared: `1 − Σ √(p·q)`. The probabilities
//! depend little on the voice and the room, so takes of several people can be compared. A take is
//! unlike the others if its typical distance to them is much larger than theirs to each other.

use candle_nn::Module;
use rayon::prelude::*;

use crate::Result;
use wakeling_audio::{features::LogMel, phrase_span::phrase_in};
use wakeling_data::mixing::MelStream;
use wakeling_nn::{layers::Linear, pretrained::PretrainedModel};

/// Frames of background before a phrase, so that the state of the network has settled.
const WARM_FRAMES: usize = 100;
/// Frames after a phrase, in which the network still recognizes its end.
const TAIL_FRAMES: usize = 25;
/// Smallest number of takes among which one can be unlike the others.
pub const FEWEST_TAKES: usize = 5;
/// Largest number of takes that are compared. Of more, one wrong take does little harm.
const MOST_TAKES: usize = 100;
/// Largest number of takes that each is compared with.
const MOST_COMPARED: usize = 24;
/// Smallest typical distance to the other takes at which a take is unlike them. Chosen on every other
/// word of Speech Commands (docs/lab/recording.md).
const FAR: f32 = 0.1;
/// Smallest ratio of a take's typical distance to that of the other takes at which it is unlike
/// them. In takes of a phrase that the pretrained model hardly recognizes, all are far apart.
const FARTHER: f32 = 1.5;

/// Take in a form that can be compared: square roots of the probabilities of the tokens, step by
/// step.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognized(Vec<Vec<f32>>);

impl Recognized {
    /// Recognizes the phrase in a take; `None` if there is no phrase, or if the pretrained model has
    /// no tokens.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) if the pretrained model is defective.
    pub fn of(pretrained: &PretrainedModel, take: &LogMel) -> Result<Option<Self>> {
        let phrase = phrase_in(take).and_then(|phrase| take.get(phrase.start..phrase.end));
        let Some((phrase, first)) = phrase.and_then(|p| Some((p, p.first()?))) else {
            return Ok(None);
        };
        if pretrained.info.tokens.outputs() < 2 {
            return Ok(None);
        }
        // The sound is preceded by its own first frame, repeated, which acts as silence of the
        // same kind.
        let mut frames = vec![*first; WARM_FRAMES];
        frames.extend_from_slice(phrase);
        let mut stream = MelStream::new(frames.len() + TAIL_FRAMES);
        stream.add_clip(0, &frames);
        let head = Linear::existing(&pretrained.params.builder().pp("ctc"))?;
        let logits = head.forward(&pretrained.embed(&stream)?)?.squeeze(0)?;
        let probabilities = candle_nn::ops::softmax(&logits, 1)?.sqrt()?;
        let mut steps: Vec<Vec<f32>> = probabilities.to_vec2()?;
        steps.drain(..(WARM_FRAMES / pretrained.info.backbone.frames_per_step).min(steps.len()));
        Ok(Some(Self(steps)))
    }

    /// Returns the mean distance along the best alignment, 0 to 1. The weights are symmetric, so a
    /// diagonal step counts twice.
    fn distance(&self, other: &Self) -> f32 {
        let local = |x: &[f32], y: &[f32]| {
            (1.0 - x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>()).max(0.0)
        };
        let mut row = vec![f32::INFINITY; other.0.len() + 1];
        row[0] = 0.0;
        for x in &self.0 {
            let mut diagonal = std::mem::replace(&mut row[0], f32::INFINITY);
            for (j, y) in other.0.iter().enumerate() {
                let cost = local(x, y);
                let best = (diagonal + 2.0 * cost).min(row[j] + cost).min(row[j + 1] + cost);
                diagonal = std::mem::replace(&mut row[j + 1], best);
            }
        }
        row[other.0.len()] / (self.0.len() + other.0.len()).max(1) as f32
    }
}

/// Typical distance of a take.
#[derive(Clone, Copy, Debug)]
struct Typical {
    /// Median distance to other takes, of which at most [`MOST_COMPARED`].
    distance: f32,
    /// Its ratio to the median of the typical distances of the other takes.
    ratio: f32,
}

impl Typical {
    fn is_unlike(self, far: f32, farther: f32) -> bool {
        self.distance > far && self.ratio > farther
    }
}

/// Returns the typical distance of each take. Empty if there are fewer than [`FEWEST_TAKES`] or more
/// than [`MOST_TAKES`].
fn typical(takes: &[&Recognized]) -> Vec<Typical> {
    if !(FEWEST_TAKES..=MOST_TAKES).contains(&takes.len()) {
        return Vec::new();
    }
    let every = takes.len().div_ceil(MOST_COMPARED);
    let distances: Vec<f32> = (0..takes.len())
        .into_par_iter()
        .map(|i| {
            let others = (0..takes.len()).step_by(every).filter(|j| *j != i);
            median(others.map(|j| takes[i].distance(takes[j])).collect())
        })
        .collect();
    let ratio = |(i, own): (usize, &f32)| {
        let others = distances.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, d)| *d);
        Typical { distance: *own, ratio: own / median(others.collect()).max(f32::EPSILON) }
    };
    distances.iter().enumerate().map(ratio).collect()
}

/// Returns for each take whether it is unlike the others; all `false` if there are too few to tell, or
/// more than 100.
pub fn unlike(takes: &[&Recognized]) -> Vec<bool> {
    let typical = typical(takes);
    let is_unlike = |i| typical.get(i).is_some_and(|t: &Typical| t.is_unlike(FAR, FARTHER));
    (0..takes.len()).map(is_unlike).collect()
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

    use super::*;
    use wakeling_audio::features::{log_mel, mel_powers};

    fn spoken(tokens: &[usize]) -> Recognized {
        let step = |&token: &usize| (0..5).map(|t| if t == token { 0.95 } else { 0.14 }).collect();
        Recognized(tokens.iter().map(step).collect())
    }

    #[test]
    fn another_order_of_the_same_tokens_is_unlike() {
        let takes: Vec<Recognized> = [
            &[1, 1, 2, 2, 3][..],
            &[1, 2, 2, 3, 3],
            &[1, 1, 1, 2, 3],
            &[1, 2, 3, 3, 3],
            &[3, 2, 1, 1, 2],
            &[1, 2, 2, 2, 3, 3],
        ]
        .map(spoken)
        .into();
        let all: Vec<&Recognized> = takes.iter().collect();
        assert_eq!(unlike(&all), [false, false, false, false, true, false]);
        // Too few to tell.
        assert_eq!(unlike(&all[..4]), [false; 4]);
    }

    /// Counts on words of Speech Commands (`WAKELING_WORDS`: a folder of a folder per word).
    #[test]
    fn a_wrong_word_is_found_among_right_ones() {
        let Ok(place) = std::env::var("WAKELING_WORDS") else {
            println!("SKIP: WAKELING_WORDS is not set");
            return;
        };
        let pretrained = crate::models::pretrained(crate::models::DEFAULT_PRETRAINED).unwrap();
        let frontend = pretrained.tables.params(pretrained.info.normalization);
        let mut words: BTreeMap<String, Vec<std::path::PathBuf>> = BTreeMap::new();
        for entry in fs::read_dir(Path::new(&place)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let mut files: Vec<_> =
                fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
            files.sort();
            words.insert(name, files);
        }
        let names: Vec<String> = words.keys().cloned().collect();
        let mut rng = StdRng::seed_from_u64(1);
        let recognized = |path: &Path| {
            let pcm = wakeling_audio::read(path).unwrap();
            Recognized::of(&pretrained, &log_mel(&mel_powers(&pcm, &frontend))).unwrap()
        };
        for size in [6, 10, 20] {
            // Of words with an even and an odd number: one half chooses, the other measures.
            let (mut right, mut wrong) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
            for trial in 0..120 {
                let word = trial % names.len();
                let other = (word + rng.random_range(1..names.len())) % names.len();
                let mut takes: Vec<Recognized> = Vec::new();
                while takes.len() < size - 1 {
                    takes.extend(recognized(words[&names[word]].choose(&mut rng).unwrap()));
                }
                let all: Vec<&Recognized> = takes.iter().collect();
                right[word % 2].extend(typical(&all));
                let odd = loop {
                    if let Some(odd) = recognized(words[&names[other]].choose(&mut rng).unwrap()) {
                        break odd;
                    }
                };
                takes.push(odd);
                let all: Vec<&Recognized> = takes.iter().collect();
                wrong[word % 2].push(*typical(&all).last().unwrap());
            }
            for half in 0..2 {
                let share = |values: &[Typical], far: f32, farther: f32| {
                    let count = values.iter().filter(|t| t.is_unlike(far, farther)).count();
                    100.0 * count as f32 / values.len() as f32
                };
                for far in [FAR, 0.0, 0.08, 0.12, 0.14] {
                    for farther in [FARTHER, 1.0, 1.25, 2.0] {
                        println!(
                            "{size} takes, half {half}, {far} and {farther}: {:.1} % of {} wrong, {:.1} % of {} right",
                            share(&wrong[half], far, farther),
                            wrong[half].len(),
                            share(&right[half], far, farther),
                            right[half].len()
                        );
                    }
                }
            }
        }
    }
}
