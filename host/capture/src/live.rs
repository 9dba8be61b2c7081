//! Live detection: sound from the microphone through the device's own pipeline.
//!
//! Scores are shown as levels, on which the threshold is 50 for every model. Sensitivity has three
//! named settings, each with the false accepts that the model's table counts for it. The keys `+`
//! and `-` select the next setting.

use std::{collections::VecDeque, time::Duration};

use wakeling_shared::detector::LOGIT_CLAMP;

use crate::{
    device::Microphone,
    folder::{ClipMetadata, Folder},
    ring::Ring,
    terminal::{Key, Screen},
    view::{Bar, Line, View},
};
use wakeling_audio::{SAMPLE_RATE, level::Meter};
use wakeling_core::console::{self, Style};

use crate::Result;
use wakeling_device::{
    sensitivity::{DetectionEvent, DetectionLevel, SensitivityScale},
    simulate::score,
    stream::{KeywordStream, StreamEvent},
};

/// Time that one poll of the microphone and the keys takes.
const TICK: Duration = Duration::from_millis(40);
/// Length of the sound that a key saves, in seconds.
const SAVED_S: usize = 3;
/// Number of detections that are shown.
const SHOWN: usize = 6;
/// Number of samples for which a bar holds a keyword's highest score.
const HOLD_SAMPLES: u64 = SAMPLE_RATE as u64;

/// Detected keyword, once its event is over.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveDetection {
    /// Position of the decision, in seconds of sound.
    pub time_s: f64,
    /// Label of the keyword.
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

impl LiveDetection {
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

/// Settings of a session.
pub struct Options<'a> {
    /// Seconds of sound after which the session ends.
    pub seconds: Option<f64>,
    /// Settings of the sensitivity, and the one to start with.
    pub sensitivity: SensitivityScale,
    /// Folder in which false wakes and misses are saved.
    pub out: &'a std::path::Path,
    /// Callback for every detection once it is over. That is when the score falls below the
    /// threshold, and at the latest when the refractory period ends.
    pub on_detection: &'a mut dyn FnMut(&LiveDetection) -> Result<()>,
}

/// Detects keywords in live sound until the user stops it or the time is over.
///
/// # Errors
/// Those of the microphone; those of `on_detection`.
pub fn detect(
    stream: KeywordStream,
    microphone: &mut dyn Microphone,
    screen: &mut dyn Screen,
    options: &mut Options<'_>,
) -> Result<()> {
    let mut listener = Listener::new(stream, options.sensitivity.clone());
    let outcome = run(&mut listener, microphone, screen, options);
    // A detection that is still open at the end is reported too.
    for detections in listener.end() {
        (options.on_detection)(&detections)?;
    }
    outcome
}

fn run(
    listener: &mut Listener,
    microphone: &mut dyn Microphone,
    screen: &mut dyn Screen,
    options: &mut Options<'_>,
) -> Result<()> {
    loop {
        let pcm = microphone.read(TICK)?;
        for detections in listener.push(&pcm) {
            (options.on_detection)(&detections)?;
        }
        if microphone.has_gaps() {
            listener.note = "the computer was too busy: sound was lost".into();
        }
        screen.show(&listener.view(microphone.name()))?;
        match screen.key(Duration::ZERO)? {
            Some(Key::Char('q') | Key::End) => return Ok(()),
            Some(Key::Char(key)) => listener.press(key, options.out),
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
    stream: KeywordStream,
    labels: Vec<String>,
    sensitivity: SensitivityScale,
    /// Highest smoothed logit of each keyword in the last second, with its position in samples.
    peaks: Vec<(i16, u64)>,
    detections: VecDeque<LiveDetection>,
    samples: u64,
    ring: Ring,
    meter: Meter,
    note: String,
}

impl Listener {
    fn new(mut stream: KeywordStream, sensitivity: SensitivityScale) -> Self {
        stream.set_thresholds(&sensitivity.setting().thresholds);
        let labels: Vec<String> = stream.model().words.iter().map(|w| w.label.to_owned()).collect();
        Self {
            stream,
            sensitivity,
            peaks: vec![(-LOGIT_CLAMP, 0); labels.len()],
            labels,
            detections: VecDeque::new(),
            samples: 0,
            ring: Ring::new(SAVED_S * SAMPLE_RATE as usize),
            meter: Meter::default(),
            note: String::new(),
        }
    }

    fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(SAMPLE_RATE)
    }

    /// Processes sound. Returns the detections that ended in it.
    fn push(&mut self, pcm: &[i16]) -> Vec<LiveDetection> {
        self.ring.push(pcm);
        self.meter.push(pcm);
        self.samples += pcm.len() as u64;
        let Self { stream, labels, peaks, .. } = self;
        let mut ended = Vec::new();
        stream.push(pcm, |event| match event {
            StreamEvent::Began { .. } => {}
            StreamEvent::Ended { word, event } => {
                ended.push(LiveDetection::new(&labels[word], event));
            }
            StreamEvent::Step(step) => {
                for (peak, decision) in peaks.iter_mut().zip(step.decisions) {
                    if decision.smoothed >= peak.0 || peak.1 + HOLD_SAMPLES < step.end_samples {
                        *peak = (decision.smoothed, step.end_samples);
                    }
                }
            }
        });
        self.show(&ended);
        ended
    }

    /// Ends the open detections.
    fn end(&mut self) -> Vec<LiveDetection> {
        let Self { stream, labels, .. } = self;
        let mut ended = Vec::new();
        stream.finish(|event| {
            if let StreamEvent::Ended { word, event } = event {
                ended.push(LiveDetection::new(&labels[word], event));
            }
        });
        self.show(&ended);
        ended
    }

    fn show(&mut self, ended: &[LiveDetection]) {
        for one in ended {
            self.detections.push_front(one.clone());
        }
        self.detections.truncate(SHOWN);
    }

    fn press(&mut self, key: char, out: &std::path::Path) {
        match key {
            '+' | '=' => self.move_to(Some(self.sensitivity.current() + 1)),
            '-' => self.move_to(self.sensitivity.current().checked_sub(1)),
            'f' => self.save(out, None),
            'm' => {
                // Of several keywords, the one with the highest score was probably meant.
                let best = (0..self.labels.len()).max_by_key(|&word| self.peaks[word].0);
                self.save(out, best);
            }
            _ => {}
        }
    }

    /// Selects the setting of an index, if there is one.
    fn move_to(&mut self, index: Option<usize>) {
        let settings = self.sensitivity.settings().len();
        let Some(index) = index.filter(|&index| index < settings) else {
            let name = self.sensitivity.setting().name();
            let end = if self.sensitivity.current() == 0 { "strictest" } else { "most sensitive" };
            self.note = format!("{name} is the {end} setting");
            return;
        };
        self.stream.set_thresholds(&self.sensitivity.move_to(index).thresholds);
        self.note = String::new();
    }

    /// Saves the last seconds, as a miss of a keyword or as a false wake.
    fn save(&mut self, out: &std::path::Path, word: Option<usize>) {
        let label = word.and_then(|word| self.labels.get(word));
        let (folder, prefix, metadata) = match label {
            Some(label) => {
                let folder = out.join("misses").join(wakeling_data::text::file_name(label));
                let metadata = ClipMetadata {
                    text: label.clone(),
                    kind: "word".into(),
                    ..ClipMetadata::default()
                };
                (folder, "miss", metadata)
            }
            None => {
                let metadata =
                    ClipMetadata { kind: "false-wake".into(), ..ClipMetadata::default() };
                (out.join("false-wakes"), "wake", metadata)
            }
        };
        let pcm = self.ring.to_vec();
        let saved =
            Folder::open(&folder, prefix, &metadata).and_then(|mut f| f.keep(&pcm, &metadata));
        self.note = match saved {
            Ok(path) => {
                // The next key does not save the same sound again.
                self.ring.clear();
                format!("saved {}", path.display())
            }
            // Detection continues, and the note shows the error to the user.
            Err(error) => console::explained(&error).replace('\n', ";"),
        };
    }

    fn view(&self, microphone: &str) -> View {
        let mut body = vec![
            Line::from(format!("Sensitivity: {}", self.sensitivity.names())),
            Line::from(format!("False accepts counted: {}", self.sensitivity.setting().evidence())),
            Line::of(Style::Warning, &*self.note),
        ];
        body.extend(self.detections.iter().map(|h| {
            let time = format!("{:8.2} s  ", h.time_s);
            let level = format!("  level {}", h.level);
            Line::of(Style::Dim, time).and(Style::Good, &*h.word).and(Style::Plain, level)
        }));
        body.resize(3 + SHOWN, Line::default());
        View {
            title: format!("Listening to {microphone}. A word is detected from level 50 on."),
            body,
            bars: (0..self.labels.len()).map(|word| self.bar(word)).collect(),
            level: Some(self.meter.level()),
            keys: KEYS,
            ..View::default()
        }
    }

    /// Returns the bar of a keyword: its highest level of the last second, with the threshold as
    /// the mark.
    fn bar(&self, word: usize) -> Bar {
        let threshold = self.stream.detectors()[word].threshold;
        let level = DetectionLevel::of(self.peaks[word].0, threshold);
        let is_lit = self.stream.is_open(word);
        // As wide as without it, so that the bar keeps its length.
        let sign = if is_lit { "DETECTED" } else { "" };
        Bar {
            name: self.labels[word].clone(),
            share: level.share(),
            mark: DetectionLevel::THRESHOLD.share(),
            text: format!("{level:>3}  {sign:8}"),
            is_lit,
        }
    }
}

#[cfg(test)]
mod tests;
