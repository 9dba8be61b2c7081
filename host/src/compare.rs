//! What a choice is worth, measured: words are trained with it and played to the device, against
//! hours of other speech.
//!
//! A [`Ground`] is what every trial shares: speech and noise to train on, and other speech to test
//! on. [`Ears`] are a base and what it makes of the ground, which is costly, so that all trials which
//! leave the trunk alone share them. A trial trains one word ([`Ground::train`]) and measures it
//! ([`Ground::measure`]).

pub mod grid;

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::collections::BTreeMap;
use wakeling_shared::detector::DetectorParams;

use crate::{
    Result,
    base::Base,
    compose::Row,
    corpus::Example,
    evaluate::{
        Heard, Noise, Played, Point, Scores, Surroundings, float_scores, head_scores, threshold_for,
    },
    finetune::{Prepared, Recordings, Settings, Start, Train, finetune, tune},
    negatives::{Negatives, Speech, Streams, TrunkOutputs, says, trunk_outputs},
    quantize::{QuantizedTrunk, WordEntry},
    tokens::clean,
    tuned::Tuned,
};

/// Frames of a stream of other speech: a minute.
const STREAM_FRAMES: usize = 6_000;
/// Frames between two clips of it.
const PAUSE_FRAMES: usize = 30;

/// What every trial shares.
pub struct Ground {
    /// Speech and noise to train on.
    pub negatives: Negatives,
    /// Other speech to test on, as streams.
    other: Streams,
    /// Share of that which is no pause put between clips.
    spoken: f64,
}

impl Ground {
    /// Puts the other speech one clip after the other.
    pub fn new(negatives: Negatives, other: &[Speech]) -> Self {
        let frames: usize = other.iter().map(|s| s.frames.len()).sum();
        let other = in_a_row(other);
        let all: usize = other.rows.iter().map(Row::len).sum();
        Self { negatives, other, spoken: frames as f64 / all.max(1) as f64 }
    }

    /// Numbers of the streams in which `phrase` is not known to be said: where it is, that is no
    /// speech without it.
    fn without(&self, phrase: &str) -> Vec<usize> {
        (0..self.other.texts.len()).filter(|&i| !says(&self.other.texts[i], phrase)).collect()
    }
}

/// Clips in order with pauses, cut at a minute.
pub fn in_a_row(clips: &[Speech]) -> Streams {
    let mut streams = Streams::default();
    let mut at = usize::MAX;
    for Speech { frames, text } in clips {
        if at.saturating_add(frames.len()) > STREAM_FRAMES {
            streams.rows.push(Row::new(STREAM_FRAMES.max(frames.len() + 2 * PAUSE_FRAMES)));
            streams.texts.push(String::new());
            at = PAUSE_FRAMES;
        }
        if let (Some(row), Some(texts)) = (streams.rows.last_mut(), streams.texts.last_mut()) {
            row.add_clip(at, frames);
            *texts = format!("{texts} | {}", clean(text));
        }
        at += frames.len() + PAUSE_FRAMES;
    }
    streams
}

/// A base, and what it makes of a ground.
pub struct Ears {
    /// The base.
    pub base: Base,
    /// Its trunk in int8.
    pub trunk: QuantizedTrunk,
    prepared: Prepared,
    /// Of the other speech to test on.
    outputs: TrunkOutputs,
}

impl Ears {
    /// Runs the trunk over everything.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn of(base: Base, ground: &Ground, settings: &Settings) -> Result<Self> {
        let trunk = QuantizedTrunk::of(&base)?;
        let prepared = Prepared::new(&base, &trunk, &ground.negatives, settings)?;
        let outputs = trunk_outputs(&base, &trunk, &ground.other.rows)?;
        Ok(Self { base, trunk, prepared, outputs })
    }
}

/// How a network for a word, or for several, is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// What the trunk is at first.
    pub start: Start,
    /// What of it moves.
    pub train: Train,
}

impl std::str::FromStr for How {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "scratch" => Ok(Self { start: Start::Scratch(100), train: Train::All }),
            text => match (text.strip_prefix("scratch:").map(str::parse), text.parse()) {
                (Some(Ok(percent)), _) if WIDTHS.contains(&percent) => {
                    Ok(Self { start: Start::Scratch(percent), train: Train::All })
                }
                (None, Ok(train)) if train != Train::Auto => {
                    Ok(Self { start: Start::Pretrained, train })
                }
                _ => {
                    Err("expected scratch, scratch:PERCENT with 5 to 400, head, last:K or all"
                        .into())
                }
            },
        }
    }
}

/// Widths of a network from scratch, in percent of the base's.
const WIDTHS: std::ops::RangeInclusive<u16> = 5..=400;

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.start {
            Start::Scratch(100) => f.write_str("scratch"),
            Start::Scratch(percent) => write!(f, "scratch:{percent}"),
            Start::Pretrained => self.train.fmt(f),
        }
    }
}

/// What one trial gave. Of recordings, the counts that were missed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Recordings played.
    pub recordings: usize,
    /// Hours of other speech.
    pub hours: f64,
    /// At each rate asked for, in silence.
    pub clean: Vec<usize>,
    /// At each rate asked for, in noise.
    pub noisy: Vec<usize>,
    /// At each rate asked for, in silence, by the float network.
    pub float: Vec<usize>,
    /// At the threshold that the model came with.
    pub own: Point,
}

/// How a trial is measured.
pub struct Measure<'a> {
    /// False accepts per hour, each at the lowest threshold with no more than that.
    pub rates: &'a [f64],
    /// Noise, and by how many dB the recordings rise above it.
    pub noise: Option<(&'a Noise, f32)>,
    /// Whether the float network is measured too.
    pub float: bool,
}

/// Misses at each rate asked for.
fn misses(
    measure: &Measure<'_>,
    played: &Played,
    other: &Scores,
    (hours, detector): (f64, DetectorParams),
) -> Vec<usize> {
    let heard = Heard { played, other, hours, index: 0, detector };
    let at = |&rate: &f64| {
        let allowed = (rate * hours).floor() as usize;
        heard.at(threshold_for(other, 0, &detector, allowed).0).misses
    };
    measure.rates.iter().map(at).collect()
}

impl Ground {
    /// Trains words; where the trunk moves, it is one for all of them, and the ears that go with it
    /// come too.
    ///
    /// # Errors
    /// As [`finetune`] and [`tune`].
    pub fn train(
        &self,
        ears: &Ears,
        how: How,
        words: &[(&str, Recordings<'_>)],
        settings: &Settings,
    ) -> Result<(Vec<Tuned>, Option<Ears>)> {
        let own = match how.train {
            Train::Head => None,
            _ => {
                let base =
                    tune(&ears.base, how.start, how.train, &self.negatives, words, settings)?;
                Some(Ears::of(base, self, settings)?)
            }
        };
        let Ears { base, trunk, prepared, .. } = own.as_ref().unwrap_or(ears);
        let head = |&(label, recordings): &(&str, Recordings<'_>)| {
            finetune(base, trunk, &self.negatives, prepared, label, recordings, settings)
        };
        Ok((words.iter().map(head).collect::<Result<_>>()?, own))
    }

    /// Plays recordings that a word was not trained on, and the other speech.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn measure(
        &self,
        ears: &Ears,
        tuned: &Tuned,
        test: &[Example],
        measure: &Measure<'_>,
        seed: u64,
    ) -> Result<Figures> {
        let Ears { base, trunk, .. } = ears;
        let entry = tuned.entry(trunk)?;
        let mut figures = self.measure_entry(ears, &entry, test, measure, seed)?;
        if measure.float {
            let kept = self.without(&tuned.info.label);
            let others: Vec<Row> =
                kept.iter().filter_map(|&i| self.other.rows.get(i).cloned()).collect();
            let other = float_scores(base, tuned, &others)?;
            let frontend = base.tables.params(base.info.normalization);
            let rate = base.info.trunk.steps_per_second();
            let (rows, spans) = Surroundings::Silence.rows(test, &frontend, rate);
            let scores = float_scores(base, tuned, &rows)?;
            let played = Played::new(Surroundings::Silence.name(), scores, spans);
            figures.float = misses(measure, &played, &other, (figures.hours, tuned.info.detector));
        }
        Ok(figures)
    }

    /// As [`Ground::measure`], of a head that was not trained but enrolled; its float network, which
    /// it does not have, is not measured.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor).
    pub fn measure_entry(
        &self,
        ears: &Ears,
        entry: &WordEntry,
        test: &[Example],
        measure: &Measure<'_>,
        seed: u64,
    ) -> Result<Figures> {
        let Ears { base, trunk, outputs, .. } = ears;
        let kept = self.without(&entry.label);
        let streams = kept.iter().filter_map(|&i| outputs.streams.get(i).cloned()).collect();
        let detector = entry.detector;
        let entry = std::slice::from_ref(entry);
        let other = head_scores(base, trunk, entry, &TrunkOutputs { streams, ..*outputs })?;
        let hours = other.hours() * self.spoken;
        let frontend = base.tables.params(base.info.normalization);
        let rate = base.info.trunk.steps_per_second();
        let mut figures = Figures { hours, ..Figures::default() };
        let misses =
            |played: &Played, other: &Scores| misses(measure, played, other, (hours, detector));
        let play = |rows: &[Row], surroundings: &Surroundings<'_>, spans| -> Result<Played> {
            let outputs = trunk_outputs(base, trunk, rows)?;
            let scores = head_scores(base, trunk, entry, &outputs)?;
            Ok(Played::new(surroundings.name(), scores, spans))
        };
        let silence = Surroundings::Silence;
        let (rows, spans) = silence.rows(test, &frontend, rate);
        let played = play(&rows, &silence, spans)?;
        figures.recordings = played.spans.len();
        figures.clean = misses(&played, &other);
        let heard = Heard { played: &played, other: &other, hours, index: 0, detector };
        figures.own = heard.at(detector.threshold);
        if let Some((noise, snr_db)) = measure.noise {
            let noisy = Surroundings::Noise { noise, snr_db, seed };
            let (rows, spans) = noisy.rows(test, &frontend, rate);
            figures.noisy = misses(&play(&rows, &noisy, spans)?, &other);
        }
        Ok(figures)
    }
}

/// Draws so many clips, of as many speakers as there are: one of each, then a second of each, and so
/// on, speakers and clips in an order given by the seed. Clips without a speaker are each their own.
pub fn draw(clips: &[Example], count: usize, seed: u64) -> Vec<Example> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut by_speaker: BTreeMap<String, Vec<&Example>> = BTreeMap::new();
    for (number, clip) in clips.iter().enumerate() {
        let key = match &clip.speaker {
            Some(speaker) => format!("speaker {speaker}"),
            None => format!("clip {number:09}"),
        };
        by_speaker.entry(key).or_default().push(clip);
    }
    let mut speakers: Vec<Vec<&Example>> = by_speaker.into_values().collect();
    speakers.iter_mut().for_each(|clips| clips.shuffle(&mut rng));
    speakers.shuffle(&mut rng);
    let deepest = speakers.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..deepest).flat_map(|i| speakers.iter().filter_map(move |s| s.get(i).copied()));
    rounds.take(count).cloned().collect()
}

/// Mean, and the half width of its 95 % interval by the normal approximation; none for fewer than
/// two values.
pub fn mean(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    let half = || 1.96 * (squares / (n - 1.0) / n).sqrt();
    (mean, (values.len() > 1).then(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(name: usize, speaker: Option<usize>) -> Example {
        let mut clip = Example::unlabelled(format!("{name}.wav"));
        clip.speaker = speaker.map(|s| s.to_string());
        clip
    }

    #[test]
    fn a_draw_takes_every_speaker_before_any_twice() {
        let clips: Vec<Example> = (0..12).map(|i| clip(i, Some(i % 4))).collect();
        for seed in 0..5 {
            let drawn = draw(&clips, 6, seed);
            assert_eq!(drawn.len(), 6);
            let speakers: std::collections::BTreeSet<_> =
                drawn.iter().take(4).map(|c| c.speaker.clone()).collect();
            assert_eq!(speakers.len(), 4);
        }
        assert_ne!(
            draw(&clips, 3, 1).iter().map(|c| c.speaker.clone()).collect::<Vec<_>>(),
            draw(&clips, 3, 2).iter().map(|c| c.speaker.clone()).collect::<Vec<_>>()
        );
        let unknown: Vec<Example> = (0..5).map(|i| clip(i, None)).collect();
        assert_eq!(draw(&unknown, 9, 1).len(), 5);
    }

    #[test]
    fn a_mean_of_one_has_no_interval() {
        assert_eq!(mean(&[3.0]), (3.0, None));
        let (m, half) = mean(&[1.0, 3.0]);
        assert!((m - 2.0).abs() < 1e-12 && (half.unwrap() - 1.96).abs() < 1e-12);
    }

    #[test]
    fn other_speech_is_known_by_what_is_said_in_it() {
        let speech =
            |text: &str, frames| Speech { frames: vec![[5_000; 40]; frames], text: text.into() };
        let clips = [speech("one two", 4_000), speech("three", 3_000), speech("", 100)];
        let ground = Ground::new(Negatives::default(), &clips);
        assert_eq!(ground.other.rows.len(), 2);
        assert_eq!(ground.without("two"), [1]);
        assert_eq!(ground.without("two three"), [0, 1]);
        assert!((ground.spoken - 7_100.0 / 12_000.0).abs() < 1e-9);
    }
}
