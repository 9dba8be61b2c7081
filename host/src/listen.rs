//! The live microphone through the device's own pipeline.
//!
//! Scores are shown as levels, on which the threshold is 50 for every model. Sensitivity has three
//! named settings, each with the false accepts that the model's table counts for it; `+` and `-` move
//! through them.

use std::{collections::VecDeque, time::Duration};

use wakeling_shared::{
    artifact::Model,
    detector::{DetectorParams, LOGIT_CLAMP},
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
    sensitivity::{DetectionEvent, DetectionLevel, SensitivityScale},
    simulate::score,
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

/// A detected word, once its event is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Seconds of sound up to the decision.
    pub time_s: f64,
    /// The word.
    pub word: String,
    /// Raw score at the decision, 0 … 1.
    pub score: f64,
    /// Raw threshold that it reached, 0 … 1.
    pub threshold: f64,
    /// Highest raw score of the event, 0 … 1.
    pub peak: f64,
    /// Level of the peak.
    pub level: DetectionLevel,
}

impl Heard {
    fn new(word: &str, event: &DetectionEvent) -> Self {
        Self {
            time_s: event.end_samples as f64 / f64::from(SAMPLE_RATE),
            word: word.to_owned(),
            score: score(event.logit),
            threshold: score(event.threshold),
            peak: score(event.peak),
            level: DetectionLevel::of(event.peak, event.threshold),
        }
    }
}

/// What [`listen`] is to do besides listening.
pub struct Options<'a> {
    /// Stops after so many seconds of sound.
    pub seconds: Option<f64>,
    /// Settings of the sensitivity, and the one to start with.
    pub sensitivity: SensitivityScale,
    /// Where false wakes and misses are saved.
    pub out: &'a std::path::Path,
    /// Called with every detection once it is over: when the score falls below the threshold, and at
    /// the latest with the refractory period.
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
    let mut listener = Listener::new(model, options.sensitivity.clone());
    listener.set_thresholds(&mut pipeline);
    let outcome = run(&mut listener, &mut pipeline, microphone, screen, options);
    // A detection that goes on at the end is one too.
    for heard in listener.end() {
        (options.on_heard)(&heard)?;
    }
    outcome
}

fn run(
    listener: &mut Listener,
    pipeline: &mut Pipeline<'_, '_>,
    microphone: &mut dyn Microphone,
    screen: &mut dyn Screen,
    options: &mut Options<'_>,
) -> Result<()> {
    loop {
        let pcm = microphone.hear(TICK)?;
        for heard in listener.hear(pipeline, &pcm) {
            (options.on_heard)(&heard)?;
        }
        if microphone.has_gaps() {
            listener.note = "the computer was too busy: sound was lost".into();
        }
        screen.show(&listener.view(microphone.name()))?;
        match screen.key(Duration::ZERO)? {
            Some(Key::Char('q') | Key::End) => return Ok(()),
            Some(Key::Char(key)) => listener.press(key, pipeline, options.out),
            _ => {}
        }
        if options.seconds.is_some_and(|s| listener.seconds() >= s) {
            return Ok(());
        }
    }
}

const KEYS: &[(&str, &str)] = &[
    ("+", "more sensitive"),
    ("-", "stricter"),
    ("f", "saves 3 s as a false wake"),
    ("m", "as a miss"),
    ("q", "stops"),
];

struct Listener {
    labels: Vec<String>,
    detectors: Vec<DetectorParams>,
    sensitivity: SensitivityScale,
    /// For each word the detection that goes on.
    open: Vec<Option<DetectionEvent>>,
    /// A word's highest smoothed logit of the last second, and when it was.
    peaks: Vec<(i16, u64)>,
    heard: VecDeque<Heard>,
    samples: u64,
    ring: Ring,
    meter: Meter,
    note: String,
}

impl Listener {
    fn new(model: &Model<'_>, sensitivity: SensitivityScale) -> Self {
        Self {
            labels: model.words.iter().map(|w| w.label.to_owned()).collect(),
            detectors: model.words.iter().map(|w| w.detector).collect(),
            sensitivity,
            open: vec![None; model.words.len()],
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

    /// Hears some sound. Returns the detections that ended in it.
    fn hear(&mut self, pipeline: &mut Pipeline<'_, '_>, pcm: &[i16]) -> Vec<Heard> {
        self.ring.push(pcm);
        self.meter.push(pcm);
        self.samples += pcm.len() as u64;
        let Self { labels, detectors, peaks, open, .. } = self;
        let mut ended = Vec::new();
        pipeline.push(pcm, |step| {
            for (word, decision) in step.decisions.iter().enumerate() {
                let peak = &mut peaks[word];
                if decision.smoothed >= peak.0 || peak.1 + HOLD_SAMPLES < step.end_samples {
                    *peak = (decision.smoothed, step.end_samples);
                }
                if let Some(event) = open[word].take_if(|event| !event.extend(decision.smoothed)) {
                    ended.push(Heard::new(&labels[word], &event));
                }
                if decision.fired {
                    let (at, logit) = (step.end_samples, decision.smoothed);
                    open[word] = Some(DetectionEvent::start(at, logit, &detectors[word]));
                }
            }
        });
        self.show(&ended);
        ended
    }

    /// Ends the detections that go on.
    fn end(&mut self) -> Vec<Heard> {
        let open = self.open.iter_mut().zip(&self.labels);
        let ended: Vec<Heard> =
            open.filter_map(|(e, label)| Some(Heard::new(label, &e.take()?))).collect();
        self.show(&ended);
        ended
    }

    fn show(&mut self, ended: &[Heard]) {
        for one in ended {
            self.heard.push_front(one.clone());
        }
        self.heard.truncate(SHOWN);
    }

    fn press(&mut self, key: char, pipeline: &mut Pipeline<'_, '_>, out: &std::path::Path) {
        match key {
            '+' | '=' => self.move_to(Some(self.sensitivity.current() + 1), pipeline),
            '-' => self.move_to(self.sensitivity.current().checked_sub(1), pipeline),
            'f' => self.save(out, None),
            'm' => {
                // Of several words, the one that was nearest to be heard was meant.
                let best = (0..self.labels.len()).max_by_key(|&word| self.peaks[word].0);
                self.save(out, best);
            }
            _ => {}
        }
    }

    /// Puts the setting of an index in force, if there is one.
    fn move_to(&mut self, index: Option<usize>, pipeline: &mut Pipeline<'_, '_>) {
        let settings = self.sensitivity.settings().len();
        let Some(index) = index.filter(|&index| index < settings) else {
            let name = self.sensitivity.setting().name();
            let end = if self.sensitivity.current() == 0 { "strictest" } else { "most sensitive" };
            self.note = format!("{name} is the {end} setting");
            return;
        };
        self.sensitivity.move_to(index);
        self.set_thresholds(pipeline);
        self.note = String::new();
    }

    /// Lets the pipeline detect with the setting in force.
    fn set_thresholds(&mut self, pipeline: &mut Pipeline<'_, '_>) {
        let thresholds = &self.sensitivity.setting().thresholds;
        for (word, (detector, &threshold)) in self.detectors.iter_mut().zip(thresholds).enumerate()
        {
            detector.threshold = threshold;
            pipeline.set_threshold(word, threshold);
        }
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
        let mut body = vec![
            format!("Sensitivity: {}", self.sensitivity.names()),
            format!("False accepts counted: {}", self.sensitivity.setting().evidence()),
            self.note.clone(),
        ];
        body.extend(
            self.heard.iter().map(|h| format!("{:8.2} s  {}  level {}", h.time_s, h.word, h.level)),
        );
        body.resize(3 + SHOWN, String::new());
        View {
            title: format!("Listening to {microphone}. A word is detected from level 50 on."),
            body,
            bars: (0..self.labels.len()).map(|word| self.bar(word)).collect(),
            level: Some(self.meter.level()),
            keys: KEYS,
            is_question: false,
        }
    }

    /// A word's highest level of the last second, with the threshold as the mark.
    fn bar(&self, word: usize) -> Bar {
        let level = DetectionLevel::of(self.peaks[word].0, self.detectors[word].threshold);
        let sign = if self.open[word].is_some() { "  DETECTED" } else { "" };
        Bar {
            name: self.labels[word].clone(),
            share: level.share(),
            mark: DetectionLevel::THRESHOLD.share(),
            text: format!("{level:>3}{sign}"),
        }
    }
}

#[cfg(test)]
mod tests;
