//! Runs the device's pipeline in a thread that owns the model, since the pipeline borrows from it.

use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};
use wakeling_shared::{
    detector::{DetectorParams, LOGIT_CLAMP},
    model::Model,
    pipeline::Pipeline,
};

use wakeling_audio::SAMPLE_RATE;
use wakeling_core::{Error, Result};
use wakeling_device::{
    model_file,
    sensitivity::{DetectionEvent, DetectionLevel, SensitivityScale, Setting},
    simulate::score,
};

/// Requests to the thread.
enum Ask {
    Hear(Vec<i16>),
    /// Selects a sensitivity setting.
    Move(usize),
}

/// Detection with a model in its own thread, which ends when this value is dropped.
pub struct Live {
    ask: Sender<Ask>,
    answers: Receiver<Value>,
}

impl Live {
    /// Loads a model and starts the thread.
    ///
    /// # Errors
    /// [`Error::Input`] if the file is no valid model.
    pub fn start(path: &std::path::Path) -> Result<Self> {
        let bytes = model_file::read(path)?;
        model_file::load(path, &bytes)?;
        let (ask, asked) = channel();
        let (answer, answers) = channel();
        std::thread::spawn(move || run(&bytes, &asked, &answer));
        Ok(Self { ask, answers })
    }

    fn asked(&self, ask: Ask) -> Result<Value> {
        let ended = || Error::usage("the model stopped listening", "start listening again");
        self.ask.send(ask).map_err(|_| ended())?;
        self.answers.recv().map_err(|_| ended())
    }

    /// Processes 16 kHz mono samples. Returns scores, thresholds and detections.
    ///
    /// # Errors
    /// [`Error::Usage`] if the thread has ended.
    pub fn push(&self, pcm: Vec<i16>) -> Result<Value> {
        self.asked(Ask::Hear(pcm))
    }

    /// Changes the sensitivity.
    ///
    /// # Errors
    /// As [`Live::push`].
    pub fn move_to(&self, level: usize) -> Result<Value> {
        self.asked(Ask::Move(level))
    }
}

fn run(bytes: &[u8], asked: &Receiver<Ask>, answer: &Sender<Value>) {
    let Ok(model) = model_file::load(std::path::Path::new("model"), bytes) else { return };
    let mut arena = vec![0; model.arena_bytes()];
    let Ok(mut pipeline) = Pipeline::new(&model, &mut arena) else { return };
    let mut live = Detections::new(&model);
    for ask in asked {
        let value = match ask {
            Ask::Move(to) => live.move_to(to, &mut pipeline),
            Ask::Hear(pcm) => live.push(&pcm, &mut pipeline),
        };
        if answer.send(value).is_err() {
            return;
        }
    }
}

/// Scores and detections of a running model, as JSON.
///
/// Every answer has these fields:
///
/// - `words`: `word`, raw `score` and `threshold` (0 … 1), `level` (0 … 100, threshold at 50)
/// - `heard`, detections that began: `time_s`, `word`, raw `score`, `level`
/// - `ended`, detections that are over: `time_s` of their start, `word`, raw `peak`, its `level`
/// - `levels`: each sensitivity setting as text; `settings`: `name` and `counted` of each
/// - `level`: index of the current setting
struct Detections<'m, 'a> {
    model: &'m Model<'a>,
    sensitivity: SensitivityScale,
    detectors: Vec<DetectorParams>,
    open: Vec<Option<DetectionEvent>>,
}

impl<'m, 'a> Detections<'m, 'a> {
    fn new(model: &'m Model<'a>) -> Self {
        Self {
            model,
            sensitivity: SensitivityScale::of(model),
            detectors: model.words.iter().map(|w| w.detector).collect(),
            open: vec![None; model.words.len()],
        }
    }

    fn move_to(&mut self, index: usize, pipeline: &mut Pipeline<'_, '_>) -> Value {
        let thresholds = &self.sensitivity.move_to(index).thresholds;
        for (word, (detector, &threshold)) in self.detectors.iter_mut().zip(thresholds).enumerate()
        {
            detector.threshold = threshold;
            pipeline.set_threshold(word, threshold);
        }
        self.answer(&vec![-LOGIT_CLAMP; self.open.len()], &[], &[])
    }

    fn push(&mut self, pcm: &[i16], pipeline: &mut Pipeline<'_, '_>) -> Value {
        let Self { model, detectors, open, .. } = self;
        let mut peaks = vec![-LOGIT_CLAMP; open.len()];
        let (mut heard, mut ended) = (Vec::new(), Vec::new());
        pipeline.push(pcm, |step| {
            for (word, decision) in step.decisions.iter().enumerate() {
                let label = model.words[word].label;
                peaks[word] = peaks[word].max(decision.smoothed);
                if let Some(event) = open[word].take_if(|event| !event.extend(decision.smoothed)) {
                    ended.push(detection(label, &event, ("peak", event.peak)));
                }
                if decision.fired {
                    let (at, logit) = (step.end_samples, decision.smoothed);
                    let event = DetectionEvent::start(at, logit, &detectors[word]);
                    heard.push(detection(label, &event, ("score", event.logit)));
                    open[word] = Some(event);
                }
            }
        });
        self.answer(&peaks, &heard, &ended)
    }

    fn answer(&self, peaks: &[i16], heard: &[Value], ended: &[Value]) -> Value {
        let words = self.model.words.iter().zip(peaks).zip(&self.detectors);
        let words: Vec<Value> = words
            .map(|((word, &peak), DetectorParams { threshold, .. })| {
                let level = DetectionLevel::of(peak, *threshold).value();
                let (score, threshold) = (score(peak), score(*threshold));
                json!({ "word": word.label, "score": score, "threshold": threshold, "level": level })
            })
            .collect();
        let settings = self.sensitivity.settings();
        let counted = |s: &Setting| json!({ "name": s.name(), "counted": s.evidence() });
        json!({
            "words": words,
            "heard": heard,
            "ended": ended,
            "level": self.sensitivity.current(),
            "levels": settings.iter().map(Setting::to_string).collect::<Vec<_>>(),
            "settings": settings.iter().map(counted).collect::<Vec<_>>(),
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
