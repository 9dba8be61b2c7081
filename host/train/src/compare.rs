//! Experiments that measure the effect of a choice: keywords are trained with it, and evaluated on
//! recordings and hours of negative speech.
//!
//! [`ExperimentData`] holds the data that all trials share: speech and noise for training, and
//! negative speech for testing. [`EmbeddedBackbone`] is a backbone and its cached embeddings of that
//! data. They are expensive to compute, so all trials with a frozen backbone share them. A trial trains
//! keywords ([`ExperimentData::train`]) and measures each of them ([`ExperimentData::evaluate`]).

pub mod result_table;

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::collections::BTreeMap;
use wakeling_shared::detector::DetectorParams;

use crate::Result;
use crate::embeddings::{Embeddings, embed_streams};
use crate::{
    evaluate::{
        Noise, Point, ScoredClips, ScoredKeyword, Scores, TestConditions, float_scores,
        head_scores, threshold_for,
    },
    finetune::{
        KeywordClips, NegativeBank, Settings, Strategy, Trainable, progress::Stages,
        train_backbone, train_head,
    },
    head_checkpoint::HeadCheckpoint,
    quantize::{Backbone, KeywordEntry},
};
use wakeling_data::{
    dataset::Example,
    mixing::MelStream,
    negatives::{Negatives, SpeechClip, Streams},
    text::{clean, contains_phrase},
};

/// Length of a stream of negative speech, in frames: one minute.
const STREAM_FRAMES: usize = 6_000;
/// Pause between two clips of a stream, in frames.
const PAUSE_FRAMES: usize = 30;

/// Data that all trials share.
pub struct ExperimentData {
    /// Speech and noise for training.
    pub negatives: Negatives,
    /// Negative speech for testing, as streams.
    other: Streams,
    /// Share of the streams that is speech and not a pause between clips.
    spoken: f64,
}

impl ExperimentData {
    /// Concatenates the clips of `other` into streams.
    pub fn new(negatives: Negatives, other: &[SpeechClip]) -> Self {
        let frames: usize = other.iter().map(|s| s.frames.len()).sum();
        let other = in_a_row(other);
        let all: usize = other.streams.iter().map(MelStream::len).sum();
        Self { negatives, other, spoken: frames as f64 / all.max(1) as f64 }
    }

    /// Returns the indices of the streams whose transcripts do not contain `phrase`. The others are
    /// no negative data for it.
    fn without(&self, phrase: &str) -> Vec<usize> {
        (0..self.other.texts.len())
            .filter(|&i| !contains_phrase(&self.other.texts[i], phrase))
            .collect()
    }
}

/// Concatenates clips with pauses into streams of a minute.
pub fn in_a_row(clips: &[SpeechClip]) -> Streams {
    let mut streams = Streams::default();
    let mut at = usize::MAX;
    for SpeechClip { frames, text } in clips {
        if at.saturating_add(frames.len()) > STREAM_FRAMES {
            streams
                .streams
                .push(MelStream::new(STREAM_FRAMES.max(frames.len() + 2 * PAUSE_FRAMES)));
            streams.texts.push(String::new());
            at = PAUSE_FRAMES;
        }
        if let (Some(stream), Some(texts)) = (streams.streams.last_mut(), streams.texts.last_mut())
        {
            stream.add_clip(at, frames);
            *texts = format!("{texts} | {}", clean(text));
        }
        at += frames.len() + PAUSE_FRAMES;
    }
    streams
}

/// Backbone and its cached embeddings of the shared data.
pub struct EmbeddedBackbone {
    /// The backbone.
    pub backbone: Backbone,
    bank: NegativeBank,
    /// Embeddings of the negative test speech.
    outputs: Embeddings,
}

impl EmbeddedBackbone {
    /// Computes the embeddings of all shared data.
    ///
    /// # Errors
    /// As [`NegativeBank::new`].
    pub fn new(
        backbone: Backbone,
        data: &ExperimentData,
        settings: &Settings,
        stages: &Stages<'_>,
    ) -> Result<Self> {
        let bank = NegativeBank::new(&backbone, &data.negatives, &settings.train, stages)?;
        let outputs = embed_streams(&backbone, &data.other.streams)?;
        Ok(Self { backbone, bank, outputs })
    }
}

/// Result of one trial. Counts are of missed recordings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrialResult {
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
pub struct EvalConfig<'a> {
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
    evaluate: &EvalConfig<'_>,
    scored: &ScoredClips,
    other: &Scores,
    (hours, detector): (f64, DetectorParams),
) -> Vec<usize> {
    let scored_keyword = ScoredKeyword { scored, other, hours, index: 0, detector };
    let at = |&rate: &f64| {
        let allowed = (rate * hours).floor() as usize;
        scored_keyword.at(threshold_for(other, 0, &detector, allowed).0).misses
    };
    evaluate.rates.iter().map(at).collect()
}

impl ExperimentData {
    /// Trains keywords. With an unfrozen backbone, all keywords share one fine-tuned backbone,
    /// which is returned as new [`EmbeddedBackbone`].
    ///
    /// # Errors
    /// As [`train_head`] and [`train_backbone`].
    pub fn train(
        &self,
        embedded: &EmbeddedBackbone,
        strategy: Strategy,
        keywords: &[KeywordClips<'_>],
        settings: &Settings,
        stages: &Stages<'_>,
    ) -> Result<(Vec<HeadCheckpoint>, Option<EmbeddedBackbone>)> {
        let own = match strategy.train {
            Trainable::Head => None,
            _ => {
                let pretrained = &embedded.backbone.pretrained;
                let pretrained = train_backbone(
                    pretrained,
                    strategy,
                    &self.negatives,
                    keywords,
                    settings,
                    stages,
                )?;
                Some(EmbeddedBackbone::new(Backbone::new(pretrained)?, self, settings, stages)?)
            }
        };
        let EmbeddedBackbone { backbone, bank, .. } = own.as_ref().unwrap_or(embedded);
        let head = |&keyword: &KeywordClips<'_>| {
            train_head(backbone, &self.negatives, bank, keyword, settings, stages)
        };
        Ok((keywords.iter().map(head).collect::<Result<_>>()?, own))
    }

    /// Measures a keyword on recordings held out from its training, and on the negative speech.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) if the weights do not fit the network.
    pub fn evaluate(
        &self,
        embedded: &EmbeddedBackbone,
        head: &HeadCheckpoint,
        test: &[Example],
        evaluate: &EvalConfig<'_>,
        seed: u64,
    ) -> Result<TrialResult> {
        let EmbeddedBackbone { backbone, .. } = embedded;
        let entry = head.entry(backbone)?;
        let mut metrics = self.measure_entry(embedded, &entry, test, evaluate, seed)?;
        if evaluate.float {
            let kept = self.without(&head.info.label);
            let others: Vec<MelStream> =
                kept.iter().filter_map(|&i| self.other.streams.get(i).cloned()).collect();
            let pretrained = &backbone.pretrained;
            let other = float_scores(pretrained, head, &others)?;
            let (frontend, rate) = (backbone.frontend(), backbone.steps_per_second());
            let (streams, spans) = TestConditions::Silence.streams(test, &frontend, rate);
            let scores = float_scores(pretrained, head, &streams)?;
            let scored = ScoredClips::new(TestConditions::Silence.name(), scores, spans);
            metrics.float = misses(evaluate, &scored, &other, (metrics.hours, head.info.detector));
        }
        Ok(metrics)
    }

    /// Measures the quantized head of a keyword.
    fn measure_entry(
        &self,
        embedded: &EmbeddedBackbone,
        entry: &KeywordEntry,
        test: &[Example],
        evaluate: &EvalConfig<'_>,
        seed: u64,
    ) -> Result<TrialResult> {
        let EmbeddedBackbone { backbone, outputs, .. } = embedded;
        let kept = self.without(&entry.label);
        let streams = kept.iter().filter_map(|&i| outputs.streams.get(i).cloned()).collect();
        let detector = entry.detector;
        let entry = std::slice::from_ref(entry);
        let other = head_scores(backbone, entry, &Embeddings { streams, ..*outputs })?;
        let hours = other.hours() * self.spoken;
        let (frontend, rate) = (backbone.frontend(), backbone.steps_per_second());
        let mut metrics = TrialResult { hours, ..TrialResult::default() };
        let misses = |scored: &ScoredClips, other: &Scores| {
            misses(evaluate, scored, other, (hours, detector))
        };
        let play = |streams: &[MelStream],
                    conditions: &TestConditions<'_>,
                    spans|
         -> Result<ScoredClips> {
            let outputs = embed_streams(backbone, streams)?;
            let scores = head_scores(backbone, entry, &outputs)?;
            Ok(ScoredClips::new(conditions.name(), scores, spans))
        };
        let silence = TestConditions::Silence;
        let (streams, spans) = silence.streams(test, &frontend, rate);
        let scored = play(&streams, &silence, spans)?;
        metrics.recordings = scored.spans.len();
        metrics.clean = misses(&scored, &other);
        let scored_keyword =
            ScoredKeyword { scored: &scored, other: &other, hours, index: 0, detector };
        metrics.own = scored_keyword.at(detector.threshold);
        if let Some((noise, snr_db)) = evaluate.noise {
            let noisy = TestConditions::Noise { noise, snr_db, seed };
            let (streams, spans) = noisy.streams(test, &frontend, rate);
            metrics.noisy = misses(&play(&streams, &noisy, spans)?, &other);
        }
        Ok(metrics)
    }
}

/// Samples `count` clips from as many speakers as possible: one clip of each, then a second of
/// each, and so on. The seed determines the order of speakers and clips. Each clip without a
/// speaker counts as its own speaker.
pub fn sample(clips: &[Example], count: usize, seed: u64) -> Vec<Example> {
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
    fn sampling_takes_every_speaker_before_any_twice() {
        let clips: Vec<Example> = (0..12).map(|i| clip(i, Some(i % 4))).collect();
        for seed in 0..5 {
            let sampled = sample(&clips, 6, seed);
            assert_eq!(sampled.len(), 6);
            let speakers: std::collections::BTreeSet<_> =
                sampled.iter().take(4).map(|c| c.speaker.clone()).collect();
            assert_eq!(speakers.len(), 4);
        }
        assert_ne!(
            sample(&clips, 3, 1).iter().map(|c| c.speaker.clone()).collect::<Vec<_>>(),
            sample(&clips, 3, 2).iter().map(|c| c.speaker.clone()).collect::<Vec<_>>()
        );
        let unknown: Vec<Example> = (0..5).map(|i| clip(i, None)).collect();
        assert_eq!(sample(&unknown, 9, 1).len(), 5);
    }

    #[test]
    fn a_mean_of_one_has_no_interval() {
        assert_eq!(mean(&[3.0]), (3.0, None));
        let (m, half) = mean(&[1.0, 3.0]);
        assert!((m - 2.0).abs() < 1e-12 && (half.unwrap() - 1.96).abs() < 1e-12);
    }

    #[test]
    fn negatives_are_filtered_by_their_transcript() {
        let speech = |text: &str, frames| SpeechClip {
            frames: vec![[5_000; 40]; frames],
            text: text.into(),
        };
        let clips = [speech("one two", 4_000), speech("three", 3_000), speech("", 100)];
        let data = ExperimentData::new(Negatives::default(), &clips);
        assert_eq!(data.other.streams.len(), 2);
        assert_eq!(data.without("two"), [1]);
        assert_eq!(data.without("two three"), [0, 1]);
        assert!((data.spoken - 7_100.0 / 12_000.0).abs() < 1e-9);
    }
}
