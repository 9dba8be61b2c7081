//! The device's pipeline on a thread of its own, which holds the model that it borrows from.

use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};
use wakeling_shared::{detector::LOGIT_CLAMP, pipeline::Pipeline};

use crate::{Error, Result, artifact, audio::SAMPLE_RATE, listen::Sensitivity, simulate::score};

/// What the thread is asked.
enum Ask {
    Hear(Vec<i16>),
    /// Move to a row of the model's table.
    Move(usize),
}

/// A model that listens. It ends when this is dropped.
pub struct Live {
    ask: Sender<Ask>,
    answers: Receiver<Value>,
}

impl Live {
    /// Loads a model and waits for sound.
    ///
    /// # Errors
    /// [`Error::Input`] if it is none.
    pub fn start(path: &std::path::Path) -> Result<Self> {
        let bytes = artifact::read(path)?;
        artifact::load(path, &bytes)?;
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

    /// Hears 16 kHz mono: scores, thresholds and what was detected.
    ///
    /// # Errors
    /// [`Error::Usage`] if the thread has ended.
    pub fn hear(&self, pcm: Vec<i16>) -> Result<Value> {
        self.asked(Ask::Hear(pcm))
    }

    /// Changes the sensitivity.
    ///
    /// # Errors
    /// As [`Live::hear`].
    pub fn move_to(&self, level: usize) -> Result<Value> {
        self.asked(Ask::Move(level))
    }
}

fn run(bytes: &[u8], asked: &Receiver<Ask>, answer: &Sender<Value>) {
    let Ok(model) = artifact::load(std::path::Path::new("model"), bytes) else { return };
    let (levels, mut level) = Sensitivity::all(&model);
    let mut arena = vec![0; model.arena_bytes()];
    let Ok(mut pipeline) = Pipeline::new(&model, &mut arena) else { return };
    let described: Vec<String> = levels.iter().map(Sensitivity::describe).collect();
    for ask in asked {
        let mut peaks = vec![-LOGIT_CLAMP; model.words.len()];
        let mut heard = Vec::new();
        match ask {
            Ask::Move(to) => {
                level = to.min(levels.len().saturating_sub(1));
                let thresholds =
                    levels.get(level).map(|l| l.thresholds.clone()).unwrap_or_default();
                thresholds.iter().enumerate().for_each(|(w, &t)| pipeline.set_threshold(w, t));
            }
            Ask::Hear(pcm) => pipeline.push(&pcm, |step| {
                for (word, decision) in step.decisions.iter().enumerate() {
                    peaks[word] = peaks[word].max(decision.smoothed);
                    if decision.fired {
                        let time_s = step.end_samples as f64 / f64::from(SAMPLE_RATE);
                        heard.push(json!({
                            "time_s": time_s,
                            "word": model.words[word].label,
                            "score": score(decision.smoothed),
                        }));
                    }
                }
            }),
        }
        let thresholds = levels.get(level).map(|l| l.thresholds.as_slice()).unwrap_or_default();
        let words: Vec<Value> = model
            .words
            .iter()
            .zip(&peaks)
            .zip(thresholds)
            .map(|((w, &p), &t)| json!({ "word": w.label, "score": score(p), "threshold": score(t) }))
            .collect();
        let value = json!({ "words": words, "heard": heard, "level": level, "levels": described });
        if answer.send(value).is_err() {
            return;
        }
    }
}
