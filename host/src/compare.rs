//! Experiments that measure the effect of a choice: keywords are trained with it, and evaluated on
//! recordings and hours of negative speech.
//!
//! A [`Ground`] holds the data that all trials share: speech and noise for training, and negative
//! speech for testing. [`Ears`] are a pretrained model and its cached embeddings of that data. They
//! are expensive to compute, so all trials with a frozen backbone share them. A trial trains
//! keywords ([`Ground::train`]) and measures each of them ([`Ground::measure`]).

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

/// Length of a stream of negative speech, in frames: one minute.
const STREAM_FRAMES: usize = 6_000;
/// Pause between two clips of a stream, in frames.
const PAUSE_FRAMES: usize = 30;

/// Data that all trials share.
pub struct Ground {
    /// Speech and noise for training.
    pub negatives: Negatives,
    /// Negative speech for testing, as streams.
    other: Streams,
    /// Share of the streams that is speech and not a pause between clips.
    spoken: f64,
}

impl Ground {
    /// Concatenates the clips of `other` into streams.
    pub fn new(negatives: Negatives, other: &[Speech]) -> Self {
        let frames: usize = other.iter().map(|s| s.frames.len()).sum();
        let other = in_a_row(other);
        let all: usize = other.rows.iter().map(Row::len).sum();
        Self { negatives, other, spoken: frames as f64 / all.max(1) as f64 }
    }

    /// Returns the indices of the streams whose transcripts do not contain `phrase`. The others are
    /// no negative data for it.
    fn without(&self, phrase: &str) -> Vec<usize> {
        (0..self.other.texts.len()).filter(|&i| !says(&self.other.texts[i], phrase)).collect()
    }
}

/// Concatenates clips with pauses into streams of a minute.
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

/// Pretrained model and its cached embeddings of the shared data.
pub struct Ears {
    /// Pretrained model.
    pub base: Base,
    /// Quantized backbone.
    pub trunk: QuantizedTrunk,
    prepared: Prepared,
    /// Embeddings of the negative test speech.
    outputs: TrunkOutputs,
}

impl Ears {
    /// Quantizes the backbone and computes the embeddings of all shared data.
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

/// Initialization and trained layers of a network for one or several keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// Initialization of the backbone.
    pub start: Start,
    /// Layers that are trained.
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

/// Allowed widths of a network from scratch, in percent of the pretrained model's.
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

/// Result of one trial. Counts are of missed recordings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Number of recordings played.
    pub recordings: usize,
    /// Hours of negative speech.
    pub hours: f64,
    /// Misses at each requested rate, in silence.
    pub clean: Vec<usize>,
    /// Misses at each requested rate, in noise.
    pub noisy: Vec<usize>,
    /// Misses at each requested rate, in silence, with the float network.
    pub float: Vec<usize>,
    /// Result at the threshold stored with the model.
    pub own: Point,
}

/// Configuration of a measurement.
pub struct Measure<'a> {
    /// Allowed rates in false accepts per hour. Each selects the lowest threshold that stays within
    /// it.
    pub rates: &'a [f64],
    /// Noise, and the signal-to-noise ratio of the recordings in dB.
    pub noise: Option<(&'a Noise, f32)>,
    /// Measures the float network as well.
    pub float: bool,
}

/// Counts the misses at each requested rate.
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
    /// Trains keywords. With an unfrozen backbone, all keywords share one fine-tuned backbone,
    /// which is returned as new [`Ears`].
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

    /// Measures a keyword on recordings held out from its training, and on the negative speech.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) if the weights do not fit the network.
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

    /// Measures an enrolled head as [`Ground::measure`] does. It has no float network, so only the
    /// quantized one is measured.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) if the weights do not fit the network.
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

/// Samples `count` clips from as many speakers as possible: one clip of each, then a second of
/// each, and so on. The seed determines the order of speakers and clips. Each clip without a
/// speaker counts as its own speaker.
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

/// Returns the mean and the half width of its 95 % interval by the normal approximation; `None` for
/// fewer than two values.
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
