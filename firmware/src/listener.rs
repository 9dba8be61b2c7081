//! The application loop: reads blocks, runs the shared [`Monitor`] over them, and keeps the
//! indicator lit after a detection.
//!
//! Time is counted in samples. The loop thus needs no clock, and behaves alike in an emulator, on a
//! board, and in a test.

use core::fmt::{self, Write};

use embedded_hal::digital::OutputPin;
use wakeling_shared::{
    events::Loaded,
    model::Model,
    monitor::Monitor,
    pipeline::{NoObserver, Observer, Pipeline},
};

use crate::{
    check::Check,
    microphone::{Microphone, ReadError},
};

/// Default time for which the indicator stays lit, in samples: half a second, which is long enough
/// to be seen.
pub const DEFAULT_HOLD_SAMPLES: u32 = 8_000;

/// Options of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Writes a line with the scores of every step.
    pub scores: bool,
    /// Number of samples for which the indicator stays lit after a detection.
    pub hold_samples: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { scores: false, hold_samples: DEFAULT_HOLD_SAMPLES }
    }
}

/// Reason for which the loop stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenError<M, P> {
    /// The model is damaged: its [`Check`] has the error. Nothing was written.
    Damaged,
    /// The microphone failed.
    Microphone(M),
    /// The indicator's pin failed.
    Indicator(P),
    /// The event sink failed.
    Sink,
}

impl<M: fmt::Display, P: fmt::Debug> fmt::Display for ListenError<M, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("the model is damaged"),
            Self::Microphone(error) => write!(f, "the microphone failed: {error}"),
            Self::Indicator(error) => write!(f, "the indicator failed: {error:?}"),
            Self::Sink => f.write_str("event lines cannot be written"),
        }
    }
}

/// Runs a [`Monitor`] over a microphone, with an indicator, a sink for event lines, and an observer
/// beside them (a flight recorder).
pub struct Listener<'p, 'm, 'a, P, W, O = NoObserver> {
    monitor: Monitor<'p, 'm, 'a>,
    indicator: P,
    sink: Held<'m, 'a, W>,
    hold_samples: u32,
    observer: O,
    dark_at: Option<u64>,
}

impl<'p, 'm, 'a, P: OutputPin, W: Write> Listener<'p, 'm, 'a, P, W> {
    /// Creates a listener with a pipeline of `model`, fresh from [`Pipeline::new_into`]. The model's
    /// `check` may still be to be done.
    pub fn new(
        (model, check): (&'m Model<'a>, &'m Check<'a>),
        pipeline: &'p mut Pipeline<'m, 'a>,
        (indicator, sink): (P, W),
        options: Options,
    ) -> Self {
        let Options { scores, hold_samples } = options;
        let monitor = Monitor::new(model, pipeline, scores);
        let sink = Held { model, check, sink, announced: false };
        Self { monitor, indicator, sink, hold_samples, observer: NoObserver, dark_at: None }
    }

    /// Forwards every callback of the pipeline to `observer` as well.
    pub fn with_observer<O: Observer>(self, observer: O) -> Listener<'p, 'm, 'a, P, W, O> {
        let Self { monitor, indicator, sink, hold_samples, dark_at, .. } = self;
        Listener { monitor, indicator, sink, hold_samples, observer, dark_at }
    }
}

impl<P: OutputPin, W: Write, O: Observer> Listener<'_, '_, '_, P, W, O> {
    /// Number of samples processed so far.
    pub fn samples(&self) -> u64 {
        self.monitor.samples()
    }

    /// Returns indicator and sink.
    pub fn release(self) -> (P, W) {
        (self.indicator, self.sink.sink)
    }

    /// Processes sound until the microphone ends. Returns the number of samples.
    ///
    /// The microphone writes to `block`, whose length affects only the delay. A part of the model is
    /// checked before each block, until all of it is. The line that announces the model follows
    /// that, and comes before every other line.
    ///
    /// # Errors
    /// [`ListenError`], by its cause. An overrun is not an error: it is reported, and the loop
    /// continues.
    pub fn run<M: Microphone>(
        &mut self,
        microphone: &mut M,
        block: &mut [i16],
    ) -> Result<u64, ListenError<M::Error, P::Error>> {
        self.indicator.set_low().map_err(ListenError::Indicator)?;
        loop {
            let read = microphone.read(block);
            // Without sound to process meanwhile, the rest of the model is checked.
            if !self.sink.announced && (read.is_err() || self.sink.check.advance()) {
                self.sink.open().map_err(|_| self.sink.error())?;
            }
            match read {
                Ok(count) => self.process(block.get(..count).unwrap_or_default())?,
                Err(ReadError::End) => return Ok(self.samples()),
                Err(ReadError::Overrun { lost_samples }) => {
                    let written = self.monitor.report_overrun(lost_samples, &mut self.sink);
                    written.map_err(|_| self.sink.error())?;
                }
                Err(ReadError::Board(error)) => return Err(ListenError::Microphone(error)),
            }
        }
    }

    /// Processes one block, then switches the indicator.
    fn process<M>(&mut self, pcm: &[i16]) -> Result<(), ListenError<M, P::Error>> {
        let detected = self.monitor.push(pcm, &mut self.sink, &mut self.observer);
        if let Some(end_samples) = detected.map_err(|_| self.sink.error())? {
            self.dark_at = Some(end_samples + u64::from(self.hold_samples));
            self.indicator.set_high().map_err(ListenError::Indicator)?;
        }
        if self.dark_at.is_some_and(|at| self.samples() >= at) {
            self.dark_at = None;
            self.indicator.set_low().map_err(ListenError::Indicator)?;
        }
        Ok(())
    }
}

/// Sink that lets no text through before the model is checked and announced.
struct Held<'m, 'a, W> {
    model: &'m Model<'a>,
    check: &'m Check<'a>,
    sink: W,
    announced: bool,
}

impl<W: Write> Held<'_, '_, W> {
    /// Finishes the check and announces the model.
    #[inline(never)]
    fn open(&mut self) -> fmt::Result {
        if self.check.error().is_some() {
            return Err(fmt::Error);
        }
        self.announced = true;
        writeln!(self.sink, "{}", Loaded(self.model))
    }

    /// Reason for which a line was not written.
    fn error<M, P>(&self) -> ListenError<M, P> {
        if self.check.is_done() { ListenError::Sink } else { ListenError::Damaged }
    }
}

impl<W: Write> Write for Held<'_, '_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.announced {
            self.open()?;
        }
        self.sink.write_str(text)
    }
}

#[cfg(test)]
mod tests;
