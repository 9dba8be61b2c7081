//! Detection with the trained model on the sound of the browser.

use std::path::Path;

use serde_json::{Value, json};
use wakeling_shared::detector::LOGIT_CLAMP;

use crate::{Result, targets};
use wakeling_audio::SAMPLE_RATE;
use wakeling_capture::ring::Ring;
use wakeling_device::{
    owned::OwnedPipeline,
    sensitivity::{DetectionEvent, DetectionLevel, SensitivityScale},
    simulate::score,
    stream::{KeywordStream, StreamEvent},
};

/// Seconds of sound that are kept for corrections: the time a person takes to notice and to press.
const RECENT_S: usize = 15;

/// Scores and detections of a running model, as JSON.
///
/// Every answer has these fields:
///
/// - `words`: `word`, raw `score` and `threshold` (0 … 1), `level` (0 … 100, threshold at 50)
/// - `heard`, detections that began: `time_s`, `word`, raw `score`, `level`
/// - `ended`, detections that are over: `time_s` of their start, `word`, raw `peak`, its `level`
/// - `kept_from_s`: time from which on sound is kept for corrections
/// - `settings`: `name` and `counted` of each sensitivity; `level`: index of the current one
pub struct Live {
    stream: KeywordStream,
    sensitivity: SensitivityScale,
    labels: Vec<String>,
    recent: Ring,
    /// Number of samples since the start.
    samples: u64,
}

impl Live {
    /// Loads a model.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the file is no valid model.
    pub fn start(path: &Path) -> Result<Self> {
        let stream = KeywordStream::new(OwnedPipeline::open(path)?);
        let model = stream.model();
        Ok(Self {
            sensitivity: SensitivityScale::of(model),
            labels: model.words.iter().map(|w| w.label.to_owned()).collect(),
            recent: Ring::new(RECENT_S * SAMPLE_RATE as usize),
            samples: 0,
            stream,
        })
    }

    /// Selects a sensitivity setting. Returns the new thresholds.
    pub fn move_to(&mut self, index: usize) -> Value {
        self.stream.set_thresholds(&self.sensitivity.move_to(index).thresholds);
        self.answer(&vec![-LOGIT_CLAMP; self.labels.len()], &[], &[])
    }

    /// Processes 16 kHz mono samples. Returns scores, thresholds and detections.
    pub fn push(&mut self, pcm: &[i16]) -> Value {
        self.recent.push(pcm);
        self.samples += pcm.len() as u64;
        let Self { stream, labels, .. } = self;
        let mut peaks = vec![-LOGIT_CLAMP; labels.len()];
        let (mut started, mut ended) = (Vec::new(), Vec::new());
        stream.push(pcm, |event| match event {
            StreamEvent::Began { word, event } => {
                started.push(detection(&labels[word], event, ("score", event.logit)));
            }
            StreamEvent::Ended { word, event } => {
                ended.push(detection(&labels[word], event, ("peak", event.peak)));
            }
            StreamEvent::Step(step) => {
                for (peak, decision) in peaks.iter_mut().zip(step.decisions) {
                    *peak = decision.smoothed.max(*peak);
                }
            }
        });
        self.answer(&peaks, &started, &ended)
    }

    /// Returns up to `seconds` of the recent sound, up to the time `end_s` since the start, or up to
    /// now. Empty if it is not kept any more.
    pub fn recent(&self, end_s: Option<f64>, seconds: f64) -> Vec<i16> {
        let recent = self.recent.to_vec();
        let start = self.kept_from();
        let samples = |seconds: f64| (seconds * f64::from(SAMPLE_RATE)) as u64;
        let end = end_s.map_or(self.samples, |end_s| samples(end_s).min(self.samples));
        let from = end.saturating_sub(samples(seconds)).max(start);
        let part = (from - start) as usize..end.saturating_sub(start) as usize;
        recent.get(part).unwrap_or_default().to_vec()
    }

    /// Returns the time since the start from which on sound is kept, in seconds.
    pub fn kept_from_s(&self) -> f64 {
        self.kept_from() as f64 / f64::from(SAMPLE_RATE)
    }

    /// Returns the number of samples before the recent sound.
    fn kept_from(&self) -> u64 {
        self.samples - self.recent.len() as u64
    }

    /// Forgets the recent sound.
    pub fn forget(&mut self) {
        self.recent.clear();
    }

    fn answer(&self, peaks: &[i16], started: &[Value], ended: &[Value]) -> Value {
        let words = self.labels.iter().zip(peaks).zip(self.stream.detectors());
        let words: Vec<Value> = words
            .map(|((label, &peak), detector)| {
                let threshold = detector.threshold;
                let level = DetectionLevel::of(peak, threshold).value();
                let (score, threshold) = (score(peak), score(threshold));
                json!({ "word": label, "score": score, "threshold": threshold, "level": level })
            })
            .collect();
        json!({
            "words": words,
            "heard": started,
            "ended": ended,
            "kept_from_s": self.kept_from_s(),
            "level": self.sensitivity.current(),
            "settings": targets::settings(&self.sensitivity),
        })
    }
}

/// Formats a detection with the raw score and the level of one of its logits.
fn detection(label: &str, event: &DetectionEvent, (name, logit): (&str, i16)) -> Value {
    json!({
        "time_s": event.end_samples as f64 / f64::from(SAMPLE_RATE),
        "word": label,
        name: score(logit),
        "level": DetectionLevel::of(logit, event.threshold).value(),
    })
}
