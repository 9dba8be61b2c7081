//! Evaluation: misses against false accepts per hour, measured on streams with the int8 model.

mod detail;
mod evaluation;
pub mod html;
mod scoring;
mod report;
mod conditions;
mod provenance;
mod significance;
mod summary;
mod verdict;

pub use conditions::{Noise, PaddedClip, TestConditions};
pub use detail::{Clip, ClipKind, Group, KeywordDetail};
pub use evaluation::{Evaluation, keyword_index};
pub use html::{chart, det_svg, page};
pub use provenance::{ModelRecord, Provenance, Source, SourceKind};
use report::rows;
pub use report::{Point, ScoredKeyword, csv, table, thresholds};
pub use scoring::{Piece, ScoredClips, ScoredStream, score_clips, score_stream};
pub use summary::{KeywordSummary, Summary};
pub use verdict::{Advice, MissCount, Verdict};

pub use wakeling_device::sensitivity::{FalseAccepts, interval, poisson_interval, upper_rate};

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use wakeling_shared::{
    detector::{Detector, DetectorParams},
    engine::Engine,
};

use crate::embeddings::Embeddings;
use crate::{Error, Result};
use crate::{
    head_checkpoint::HeadCheckpoint,
    quantize::{Backbone, CardText, KeywordEntry, QuantizedModel},
};
use wakeling_audio::SAMPLE_RATE;
use wakeling_data::{dataset::Example, mixing::MelStream};
use wakeling_nn::{
    head::{HeadConfig, HeadNetwork},
    mode::Mode,
    pretrained::PretrainedModel,
};

/// Cuts a text to `most` characters.
fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Seconds after the end of a clip in which a detection still counts for it.
const LATE_S: f64 = 1.0;

/// Logits of every step of several streams, for each keyword.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Number of keywords.
    pub words: usize,
    /// Steps per second of audio.
    pub steps_per_second: f64,
    /// Raw logits in Q8 of each stream, `(steps, words)`.
    pub streams: Vec<Vec<i16>>,
}

impl Scores {
    /// Returns the hours of audio behind the scores.
    pub fn hours(&self) -> f64 {
        let values: usize = self.streams.iter().map(Vec::len).sum();
        (values / self.words.max(1)) as f64 / self.steps_per_second / 3600.0
    }

    /// Returns the number of samples per step.
    pub fn step_samples(&self) -> usize {
        (f64::from(SAMPLE_RATE) / self.steps_per_second.max(1.0)) as usize
    }

    /// Returns the number of steps after a clip in which a detection still counts for it.
    pub fn late_steps(&self) -> usize {
        (LATE_S * self.steps_per_second) as usize
    }

    /// Returns a keyword's logits in one stream.
    fn logits<'s>(&self, stream: &'s [i16], word: usize) -> impl Iterator<Item = i16> + use<'s> {
        stream.chunks_exact(self.words.max(1)).filter_map(move |step| step.get(word).copied())
    }
}

/// Runs the heads of `words` over embeddings.
///
/// # Errors
/// As [`QuantizedModel::new`].
pub fn head_scores(
    backbone: &Backbone,
    words: &[KeywordEntry],
    outputs: &Embeddings,
) -> Result<Scores> {
    let owner = QuantizedModel::new(backbone, words.to_vec(), CardText::default())?;
    let model = owner.view();
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine =
        Engine::new(&model, &mut arena).map_err(|e| Error::defect(format!("{e:?}")))?;
    let mut streams = Vec::with_capacity(outputs.streams.len());
    for stream in &outputs.streams {
        engine.reset();
        let mut logits = vec![0; words.len()];
        let mut all = Vec::with_capacity(stream.len() / outputs.channels * words.len());
        for column in stream.chunks_exact(outputs.channels) {
            engine.backbone_output().copy_from_slice(column);
            engine.heads(&mut logits);
            all.extend_from_slice(&logits);
        }
        streams.push(all);
    }
    Ok(Scores { words: words.len(), steps_per_second: outputs.steps_per_second, streams })
}

/// Computes the logits of the float network, for comparison. Only the features are quantized.
pub fn float_scores(
    pretrained: &PretrainedModel,
    head: &HeadCheckpoint,
    streams: &[MelStream],
) -> Result<Scores> {
    let gains = HeadConfig::input_gains(&head.params)?;
    let gains = Tensor::from_slice(&gains, gains.len(), &Device::Cpu)?;
    let channels = pretrained.info.backbone.channels;
    let head = HeadNetwork::new(&head.info.head, channels, 1, &head.params.builder())?;
    let embed = |stream: &MelStream| -> Result<Vec<i16>> {
        let x = pretrained.embed(stream)?.broadcast_mul(&gains)?;
        let logits = Mode::Evaluate.run(&head, &x)?;
        let logits: Vec<f32> = logits.flatten_all()?.to_vec1()?;
        Ok(logits.into_iter().map(|l| (l * 256.0).round() as i16).collect())
    };
    let streams = streams.par_iter().map(embed).collect::<Result<_>>()?;
    Ok(Scores { words: 1, steps_per_second: pretrained.info.backbone.steps_per_second(), streams })
}

/// Plays recordings in silence to the float network, for [`KeywordDetail::float`], and the negatives
/// of `other`. Returns the played recordings and the scores of the negatives.
///
/// # Errors
/// [`Error::Core`] if the weights do not fit the network.
pub fn score_float(
    pretrained: &PretrainedModel,
    head: &HeadCheckpoint,
    recordings: &[Example],
    other: &ScoredStream,
    negatives: &[Example],
) -> Result<(ScoredClips, Scores)> {
    let frontend = pretrained.tables.params(pretrained.info.normalization);
    let (streams, spans) = TestConditions::Silence.streams(
        recordings,
        &frontend,
        pretrained.info.backbone.steps_per_second(),
    );
    let scored = ScoredClips::new("float".into(), float_scores(pretrained, head, &streams)?, spans);
    drop(streams);
    let streams = other.streams(negatives, &frontend);
    Ok((scored, float_scores(pretrained, head, &streams)?))
}

/// Returns the steps at which the device's detector fires for `word` at `threshold`, per stream.
pub fn detections(
    scores: &Scores,
    word: usize,
    detector: &DetectorParams,
    threshold: i16,
) -> Vec<Vec<usize>> {
    let params = DetectorParams { threshold, ..*detector };
    let in_stream = |stream: &Vec<i16>| {
        let mut detector = Detector::new(params);
        let steps = scores.logits(stream, word).enumerate();
        steps.filter_map(|(t, logit)| detector.step(logit).fired.then_some(t)).collect()
    };
    scores.streams.iter().map(in_stream).collect()
}

/// Returns the lowest threshold with at most `allowed` detections in the streams, and its number of
/// detections.
///
/// ```
/// use wakeling_shared::detector::DetectorParams;
/// use wakeling_train::evaluate::{Scores, detections, threshold_for};
///
/// // An hour of steps of 40 ms with two peaks, of logits 5 and 2.
/// let mut stream = vec![-1_000; 90_000];
/// (stream[20_000], stream[50_000]) = (1_280, 512);
/// let scores = Scores { words: 1, steps_per_second: 25.0, streams: vec![stream] };
/// let detector = DetectorParams { smoothing_steps: 1, threshold: 0, refractory_steps: 25 };
/// let (threshold, count) = threshold_for(&scores, 0, &detector, 1); // at most one false accept
/// assert_eq!((scores.hours(), threshold, count), (1.0, 513, 1));
/// assert_eq!(detections(&scores, 0, &detector, threshold), [[20_000]]);
/// ```
pub fn threshold_for(
    scores: &Scores,
    word: usize,
    detector: &DetectorParams,
    allowed: usize,
) -> (i16, usize) {
    let count = |threshold: i16| -> usize {
        detections(scores, word, detector, threshold).iter().map(Vec::len).sum()
    };
    // The count is not monotonic in the threshold, since a detection can hide a later one.
    // Bisection finds a boundary, and the count there is returned.
    let (mut low, mut high) = (i16::MIN, i16::MAX);
    while i32::from(high) - i32::from(low) > 1 {
        let middle = ((i32::from(low) + i32::from(high)) / 2) as i16;
        if count(middle) <= allowed { high = middle } else { low = middle }
    }
    (high, count(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_lowest_that_allows_so_few() {
        let stream =
            (0..400).map(|t| if t % 100 == 99 { (t * 4) as i16 } else { -2_000 }).collect();
        let scores = Scores { words: 1, steps_per_second: 50.0, streams: vec![stream] };
        let detector = DetectorParams { smoothing_steps: 1, threshold: 0, refractory_steps: 20 };
        assert_eq!(threshold_for(&scores, 0, &detector, 0), (399 * 4 + 1, 0));
        assert_eq!(threshold_for(&scores, 0, &detector, 2), (199 * 4 + 1, 2));
    }
}
