//! The live microphone through the device's own pipeline.
//!
//! Sensitivity is a number that people can judge: false accepts per hour. The model carries a table
//! of thresholds with the hours that they were counted over, and `+` and `-` walk through it.

use std::{collections::VecDeque, time::Duration};

use wakeling_shared::{
    artifact::{Model, OperatingPoint, Word},
    detector::LOGIT_CLAMP,
    pipeline::Pipeline,
};

use crate::{
    Error, Result,
    audio::SAMPLE_RATE,
    capture::{
        device::Microphone,
        folder::{Facts, Folder},
        level::Meter,
        ring::Ring,
    },
    simulate::{rate_of, score},
    terminal::{Bar, Key, Screen, View},
};

/// How long one look at microphone and keys takes.
const TICK: Duration = Duration::from_millis(40);
/// Seconds that are kept for whoever wants them saved.
const SAVED_S: usize = 3;
/// Detections that are shown.
const SHOWN: usize = 6;
/// A bar holds a word's highest score for so many samples.
const HOLD_SAMPLES: u64 = SAMPLE_RATE as u64;

/// A word that was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Seconds of sound up to the decision.
    pub time_s: f64,
    /// The word.
    pub word: String,
    /// Its score, 0 … 1.
    pub score: f64,
    /// The threshold that it reached.
    pub threshold: f64,
}

/// How easily a word is heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// What the table counted at these thresholds; none where it names no such count.
    pub counted: Option<OperatingPoint>,
    /// A threshold (Q8) a word.
    pub thresholds: Vec<i16>,
}

impl Sensitivity {
    /// All rows of a model's table and the model's own thresholds, strictest first; and which of
    /// them is the model's own. Words of different tables go through them side by side.
    pub fn all(model: &Model<'_>) -> (Vec<Self>, usize) {
        let own: Vec<i16> = model.words.iter().map(|w| w.detector.threshold).collect();
        let rows = model.words.iter().map(|w| w.points.len()).max().unwrap_or(0);
        let row = |row: usize| {
            let point = |word: &Word<'_>| word.points.get(row).or(word.points.last()).copied();
            let points = model.words.iter().map(point).collect::<Option<Vec<OperatingPoint>>>()?;
            let count = |p: &OperatingPoint| (p.false_accepts, p.audio_seconds);
            let first = points.first()?;
            let is_one = points.iter().all(|p| count(p) == count(first));
            let thresholds = points.iter().map(|p| p.threshold).collect();
            Some(Self { counted: is_one.then_some(*first), thresholds })
        };
        let mut all: Vec<Self> = (0..rows).filter_map(row).collect();
        if !all.iter().any(|s| s.thresholds == own) {
            all.push(Self { counted: None, thresholds: own.clone() });
        }
        // A high threshold is strict; the first word decides between rows of several.
        all.sort_by(|a, b| b.thresholds.cmp(&a.thresholds));
        all.dedup_by(|a, b| a.thresholds == b.thresholds);
        let index = all.iter().position(|s| s.thresholds == own).unwrap_or(0);
        (all, index)
    }

    /// For a person: false accepts per hour, and what that rests on.
    pub fn describe(&self) -> String {
        let Some(point) = self.counted else {
            return "the model's own threshold, which its table does not count".into();
        };
        let hours = f64::from(point.audio_seconds) / 3_600.0;
        let rate = rate_of(&point);
        if point.false_accepts == 0 {
            return format!("below {rate:.2} false accepts per hour (none in {hours:.2} h)");
        }
        format!("{rate:.2} false accepts per hour ({} in {hours:.2} h)", point.false_accepts)
    }
}

/// What [`listen`] is to do besides listening.
pub struct Options<'a> {
    /// Stops after so many seconds of sound.
    pub seconds: Option<f64>,
    /// Where false wakes and misses are saved.
    pub out: &'a std::path::Path,
    /// Told of every detection.
    pub on_heard: &'a mut dyn FnMut(&Heard) -> Result<()>,
}

/// Listens until somebody stops it or the time is over.
///
/// # Errors
/// [`Error::Device`] if the microphone fails; those of `on_heard`.
pub fn listen(
    model: &Model<'_>,
    microphone: &mut dyn Microphone,
    screen: &mut dyn Screen,
    options: &mut Options<'_>,
) -> Result<()> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(model, &mut arena)
        .map_err(|error| Error::defect(format!("the model does not run: {error:?}")))?;
    let mut listener = Listener::new(model);
    loop {
        let pcm = microphone.hear(TICK)?;
        for heard in listener.hear(&mut pipeline, &pcm) {
            (options.on_heard)(&heard)?;
        }
        if microphone.has_gaps() {
            listener.note = "the computer was too busy: sound was lost".into();
        }
        screen.show(&listener.view(microphone.name()))?;
        match screen.key(Duration::ZERO)? {
            Some(Key::Char('q') | Key::End) => return Ok(()),
            Some(Key::Char(key)) => listener.press(key, &mut pipeline, options.out),
            _ => {}
        }
        if options.seconds.is_some_and(|s| listener.seconds() >= s) {
            return Ok(());
        }
    }
}

const KEYS: &[(&str, &str)] = &[
    ("+", "hears more"),
    ("-", "hears less"),
    ("f", "saves 3 s as a false wake"),
    ("m", "as a miss"),
    ("q", "stops"),
];

struct Listener {
    labels: Vec<String>,
    levels: Vec<Sensitivity>,
    level: usize,
    /// A word's highest smoothed logit of the last second, and when it was.
    peaks: Vec<(i16, u64)>,
    heard: VecDeque<Heard>,
    samples: u64,
    ring: Ring,
    meter: Meter,
    note: String,
}

impl Listener {
    fn new(model: &Model<'_>) -> Self {
        let (levels, level) = Sensitivity::all(model);
        Self {
            labels: model.words.iter().map(|w| w.label.to_owned()).collect(),
            levels,
            level,
            peaks: vec![(-LOGIT_CLAMP, 0); model.words.len()],
            heard: VecDeque::new(),
            samples: 0,
            ring: Ring::new(SAVED_S * SAMPLE_RATE as usize),
            meter: Meter::default(),
            note: String::new(),
        }
    }

    fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(SAMPLE_RATE)
    }

    fn sensitivity(&self) -> &Sensitivity {
        &self.levels[self.level]
    }

    /// Hears some sound; what was detected in it.
    fn hear(&mut self, pipeline: &mut Pipeline<'_, '_>, pcm: &[i16]) -> Vec<Heard> {
        self.ring.push(pcm);
        self.meter.push(pcm);
        self.samples += pcm.len() as u64;
        let (labels, thresholds) = (&self.labels, &self.levels[self.level].thresholds);
        let (mut heard, peaks) = (Vec::new(), &mut self.peaks);
        pipeline.push(pcm, |step| {
            for (word, decision) in step.decisions.iter().enumerate() {
                let peak = &mut peaks[word];
                if decision.smoothed >= peak.0 || peak.1 + HOLD_SAMPLES < step.end_samples {
                    *peak = (decision.smoothed, step.end_samples);
                }
                if decision.fired {
                    heard.push(Heard {
                        time_s: step.end_samples as f64 / f64::from(SAMPLE_RATE),
                        word: labels[word].clone(),
                        score: score(decision.smoothed),
                        threshold: score(thresholds[word]),
                    });
                }
            }
        });
        for one in &heard {
            self.heard.push_front(one.clone());
        }
        self.heard.truncate(SHOWN);
        heard
    }

    fn press(&mut self, key: char, pipeline: &mut Pipeline<'_, '_>, out: &std::path::Path) {
        match key {
            '+' | '=' => self.move_to(self.level + 1, pipeline),
            '-' => self.move_to(self.level.wrapping_sub(1), pipeline),
            'f' => self.save(out, None),
            'm' => {
                // Of several words, the one that was nearest to be heard was meant.
                let best = (0..self.labels.len()).max_by_key(|&word| self.peaks[word].0);
                self.save(out, best);
            }
            _ => {}
        }
    }

    fn move_to(&mut self, level: usize, pipeline: &mut Pipeline<'_, '_>) {
        let Some(sensitivity) = self.levels.get(level) else {
            self.note = "the model's table goes no further".into();
            return;
        };
        for (word, &threshold) in sensitivity.thresholds.iter().enumerate() {
            pipeline.set_threshold(word, threshold);
        }
        self.level = level;
        self.note = String::new();
    }

    /// Saves the last seconds, as a miss of a word or as a false wake.
    fn save(&mut self, out: &std::path::Path, word: Option<usize>) {
        let label = word.and_then(|word| self.labels.get(word));
        let (folder, prefix, facts) = match label {
            Some(label) => {
                let folder = out.join("misses").join(crate::cli::file_name(label));
                let facts = Facts { text: label.clone(), kind: "word".into(), ..Facts::default() };
                (folder, "miss", facts)
            }
            None => {
                let facts = Facts { kind: "false-wake".into(), ..Facts::default() };
                (out.join("false-wakes"), "wake", facts)
            }
        };
        let pcm = self.ring.to_vec();
        let saved = Folder::open(&folder, prefix, &facts).and_then(|mut f| f.keep(&pcm, &facts));
        self.note = match saved {
            Ok(path) => {
                // What was saved is not saved again with the next key.
                self.ring.clear();
                format!("saved {}", path.display())
            }
            // Listening goes on; whoever pressed the key reads it.
            Err(error) => error.to_string().replace('\n', ";"),
        };
    }

    fn view(&self, microphone: &str) -> View {
        let thresholds = &self.sensitivity().thresholds;
        let bars = self.labels.iter().zip(&self.peaks).zip(thresholds);
        let bars = bars.map(|((label, &(peak, _)), &threshold)| Bar {
            name: label.clone(),
            share: score(peak),
            mark: score(threshold),
            text: format!("{:.4}, heard from {:.4} on", score(peak), score(threshold)),
        });
        let mut body = vec![
            format!(
                "Sensitivity {} of {}: {}",
                self.level + 1,
                self.levels.len(),
                self.sensitivity().describe()
            ),
            self.note.clone(),
        ];
        body.extend(self.heard.iter().map(|h| {
            format!("{:8.2} s  {}  {:.4} (threshold {:.4})", h.time_s, h.word, h.score, h.threshold)
        }));
        body.resize(2 + SHOWN, String::new());
        View {
            title: format!("Listening to {microphone}"),
            body,
            bars: bars.collect(),
            level: Some(self.meter.level()),
            keys: KEYS,
            is_question: false,
        }
    }
}

#[cfg(test)]
mod tests;
