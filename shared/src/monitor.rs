//! The loop of a device: microphone health, pipeline, event lines.
//!
//! The simulator and the firmware run this loop, so that both print the same bytes. A board adds a
//! microphone in front of it and an indicator behind it.

use core::fmt::{self, Write};

use crate::{
    events::{self, Loaded, Overrun},
    mic_health::{MicIssue, MicIssueKind, MicMonitor},
    model::Model,
    pipeline::{Observer, Pipeline, Step},
};

/// Runs a pipeline over blocks of samples, checks the microphone's health, and writes event lines.
///
/// ```
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/loud.rs")); }
/// # let file = support::loud_model();
/// # let model = wakeling_shared::model::Model::load(&file).unwrap();
/// use wakeling_shared::{monitor::Monitor, pipeline::{NoObserver, Pipeline}};
///
/// let mut arena = vec![0; model.arena_bytes()];
/// let mut pipeline = Pipeline::new(&model, &mut arena).unwrap();
/// let mut monitor = Monitor::new(&model, &mut pipeline, false);
/// let mut lines = String::new(); // a serial port on a board
/// let detected = monitor.push(&support::sawtooth(8_000), &mut lines, &mut NoObserver).unwrap();
/// assert!(detected.is_some());
/// assert!(lines.starts_with("detection ") && lines.ends_with(" loud\n"));
/// ```
pub struct Monitor<'p, 'm, 'a> {
    model: &'m Model<'a>,
    pipeline: &'p mut Pipeline<'m, 'a>,
    health: MicMonitor,
    samples: u64,
    with_scores: bool,
}

impl<'p, 'm, 'a> Monitor<'p, 'm, 'a> {
    /// Creates a monitor at the first sample.
    ///
    /// `pipeline` must run `model` and come fresh from [`Pipeline::new`]. A line for every step is
    /// written only if `with_scores`.
    pub fn new(
        model: &'m Model<'a>,
        pipeline: &'p mut Pipeline<'m, 'a>,
        with_scores: bool,
    ) -> Self {
        Self { model, pipeline, health: MicMonitor::new(), samples: 0, with_scores }
    }

    /// Number of samples pushed so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Writes the line that names the model and its keywords.
    ///
    /// # Errors
    /// Returns the error of the sink.
    pub fn announce(&self, sink: &mut impl Write) -> fmt::Result {
        writeln!(sink, "{}", Loaded(self.model))
    }

    /// Writes the line for samples that the microphone lost.
    ///
    /// # Errors
    /// Returns the error of the sink.
    pub fn report_overrun(&self, lost_samples: u64, sink: &mut impl Write) -> fmt::Result {
        writeln!(sink, "{}", Overrun { end_samples: self.samples, lost_samples })
    }

    /// Processes a block of 16 kHz mono samples of any length.
    ///
    /// Forwards every callback to `observer`. Writes the lines of the steps that the block
    /// completes, in order, and a line where the microphone's health changes. Returns the end of
    /// the last step with a detection, in samples since the first one pushed; `None` without a
    /// detection.
    ///
    /// # Errors
    /// Returns the error of the sink. The part of the block up to the next check of the
    /// microphone's health has then been processed.
    pub fn push(
        &mut self,
        mut pcm: &[i16],
        sink: &mut impl Write,
        observer: &mut impl Observer,
    ) -> Result<Option<u64>, fmt::Error> {
        let mut detected = None;
        while !pcm.is_empty() {
            let (part, mic_issue) = self.next_part(&mut pcm);
            let mut reporter = Reporter {
                model: self.model,
                with_scores: self.with_scores,
                sink: &mut *sink,
                observer: &mut *observer,
                written: Ok(()),
                detected,
            };
            self.pipeline.push_to(part, &mut reporter);
            detected = reporter.detected;
            reporter.written?;
            self.samples += part.len() as u64;
            if let Some(mic_issue) = mic_issue {
                writeln!(sink, "{mic_issue}")?;
            }
        }
        Ok(detected)
    }

    /// Processes a block as [`Monitor::push`] does, but writes no lines, so that a program without
    /// them carries no code for text.
    pub fn observe(&mut self, mut pcm: &[i16], observer: &mut impl Observer) {
        while !pcm.is_empty() {
            let (part, _) = self.next_part(&mut pcm);
            self.pipeline.push_to(part, observer);
            self.samples += part.len() as u64;
        }
    }

    /// State of the microphone at the end of the last period that was judged.
    pub fn mic_health(&self) -> MicIssueKind {
        self.health.state()
    }

    /// Sets the threshold (Q8) of a keyword, as [`Pipeline::set_threshold`] does.
    pub fn set_threshold(&mut self, word: usize, threshold: i16) {
        self.pipeline.set_threshold(word, threshold);
    }

    /// Sets whether [`Monitor::push`] writes a line for every step.
    pub fn set_scores(&mut self, with_scores: bool) {
        self.with_scores = with_scores;
    }

    /// Takes the samples up to the next check of the microphone's health off `pcm`. Returns them
    /// and the change of health at their end.
    fn next_part<'s>(&mut self, pcm: &mut &'s [i16]) -> (&'s [i16], Option<MicIssue>) {
        let (count, mic_issue) = self.health.push(pcm);
        let (part, rest) = pcm.split_at_checked(count).unwrap_or((pcm, &[]));
        *pcm = rest;
        (part, mic_issue)
    }
}

/// Writes the lines of each step, and forwards every callback to the observer of the caller.
struct Reporter<'r, 'm, 'a, W, O> {
    model: &'m Model<'a>,
    with_scores: bool,
    sink: &'r mut W,
    observer: &'r mut O,
    written: fmt::Result,
    detected: Option<u64>,
}

impl<W: Write, O: Observer> Observer for Reporter<'_, '_, '_, W, O> {
    fn features(&mut self, features: &[i8]) {
        self.observer.features(features);
    }

    fn column_buffer(&self) -> Option<u8> {
        self.observer.column_buffer()
    }

    fn column(&mut self, column: &[i8]) {
        self.observer.column(column);
    }

    fn step(&mut self, step: Step<'_>) {
        let written = events::report(&step, self.model, self.with_scores, self.sink);
        self.written = self.written.and(written);
        if step.decisions.iter().any(|d| d.fired) {
            self.detected = Some(step.end_samples);
        }
        self.observer.step(step);
    }
}
