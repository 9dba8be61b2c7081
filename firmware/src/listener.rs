//! The application loop: hears blocks, prints events, holds the indicator lit after a word.
//!
//! Time is counted in samples, so the loop needs no clock and behaves alike in an emulator, on a
//! board, and in a test.

use core::fmt::{self, Write};

use embedded_hal::digital::OutputPin;
use wakeling_shared::{
    artifact::Model,
    events::{self, Loaded, Overrun},
    fault::FaultDetector,
    pipeline::{Observer, Pipeline, Step},
};

use crate::microphone::{Microphone, ReadError};

/// Half a second at 16 kHz: long enough to be seen.
pub const DEFAULT_HOLD_SAMPLES: u32 = 8_000;

/// What the listener should do besides listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Print a line with the scores of every step.
    pub scores: bool,
    /// Samples for which the indicator stays lit after a word.
    pub hold_samples: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { scores: false, hold_samples: DEFAULT_HOLD_SAMPLES }
    }
}

/// Why the loop gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenError<M, P> {
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
            Self::Microphone(error) => write!(f, "the microphone failed: {error}"),
            Self::Indicator(error) => write!(f, "the indicator failed: {error:?}"),
            Self::Sink => f.write_str("event lines cannot be written"),
        }
    }
}

/// Nobody else wants to know what is heard.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Observer for Nobody {
    fn features(&mut self, _: &[i8]) {}

    fn step(&mut self, _: Step<'_>) {}
}

/// A model that listens, with what it lights, where it reports, and who else is told (a flight
/// recorder).
pub struct Listener<'p, 'm, 'a, P, W, O = Nobody> {
    model: &'m Model<'a>,
    pipeline: &'p mut Pipeline<'m, 'a>,
    indicator: P,
    sink: W,
    options: Options,
    observer: O,
    samples: u64,
    dark_at: Option<u64>,
    faults: FaultDetector,
}

impl<'p, 'm, 'a, P: OutputPin, W: Write> Listener<'p, 'm, 'a, P, W> {
    /// Listens with a pipeline of `model`, fresh from [`Pipeline::new_into`].
    pub fn new(
        model: &'m Model<'a>,
        pipeline: &'p mut Pipeline<'m, 'a>,
        (indicator, sink): (P, W),
        options: Options,
    ) -> Self {
        Self {
            model,
            pipeline,
            indicator,
            sink,
            options,
            observer: Nobody,
            samples: 0,
            dark_at: None,
            faults: FaultDetector::new(),
        }
    }

    /// The same, which tells `observer` of everything as well.
    pub fn with_observer<O: Observer>(self, observer: O) -> Listener<'p, 'm, 'a, P, W, O> {
        let Self { model, pipeline, indicator, sink, options, samples, dark_at, faults, .. } = self;
        Listener { model, pipeline, indicator, sink, options, observer, samples, dark_at, faults }
    }
}

impl<P: OutputPin, W: Write, O: Observer> Listener<'_, '_, '_, P, W, O> {
    /// Samples heard so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Gives indicator and sink back.
    pub fn release(self) -> (P, W) {
        (self.indicator, self.sink)
    }

    /// Announces the model, then listens until the microphone ends; returns the samples heard.
    /// `block` is where the microphone writes; its length changes nothing but the delay.
    ///
    /// # Errors
    /// [`ListenError`]. An overrun is none: it is reported, and listening goes on.
    pub fn run<M: Microphone>(
        &mut self,
        microphone: &mut M,
        block: &mut [i16],
    ) -> Result<u64, ListenError<M::Error, P::Error>> {
        writeln!(self.sink, "{}", Loaded(self.model)).map_err(|_| ListenError::Sink)?;
        self.indicator.set_low().map_err(ListenError::Indicator)?;
        loop {
            match microphone.read(block) {
                Ok(count) => self.hear_and_judge(block.get(..count).unwrap_or_default())?,
                Err(ReadError::End) => return Ok(self.samples),
                Err(ReadError::Overrun { lost_samples }) => {
                    let overrun = Overrun { end_samples: self.samples, lost_samples };
                    writeln!(self.sink, "{overrun}").map_err(|_| ListenError::Sink)?;
                }
                Err(ReadError::Board(error)) => return Err(ListenError::Microphone(error)),
            }
        }
    }

    /// Hears one block, and says where sound begins to be faulty or ends to be.
    fn hear_and_judge<M>(&mut self, mut pcm: &[i16]) -> Result<(), ListenError<M, P::Error>> {
        loop {
            let (count, fault) = self.faults.push(pcm);
            self.hear(pcm.get(..count).unwrap_or_default())?;
            if let Some(fault) = fault {
                writeln!(self.sink, "{fault}").map_err(|_| ListenError::Sink)?;
            }
            pcm = pcm.get(count..).unwrap_or_default();
            if pcm.is_empty() {
                return Ok(());
            }
        }
    }

    /// Hears a part of a block.
    fn hear<M>(&mut self, pcm: &[i16]) -> Result<(), ListenError<M, P::Error>> {
        let Self { model, pipeline, sink, options, observer, dark_at, .. } = self;
        let (model, reported) = (*model, Ok(()));
        let mut ears =
            Ears { model, sink, options: *options, observer, dark_at, reported, heard: false };
        pipeline.push_to(pcm, &mut ears);
        let Ears { reported, heard, .. } = ears;
        reported.map_err(|_| ListenError::Sink)?;
        self.samples += pcm.len() as u64;
        if heard {
            self.indicator.set_high().map_err(ListenError::Indicator)?;
        }
        if self.dark_at.is_some_and(|at| self.samples >= at) {
            self.dark_at = None;
            self.indicator.set_low().map_err(ListenError::Indicator)?;
        }
        Ok(())
    }
}

/// What a step does to a listener.
struct Ears<'l, 'm, 'a, W, O> {
    model: &'m Model<'a>,
    sink: &'l mut W,
    options: Options,
    observer: &'l mut O,
    dark_at: &'l mut Option<u64>,
    reported: fmt::Result,
    heard: bool,
}

impl<W: Write, O: Observer> Observer for Ears<'_, '_, '_, W, O> {
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
        let report = events::report(&step, self.model, self.options.scores, self.sink);
        self.reported = self.reported.and(report);
        if step.decisions.iter().any(|d| d.fired) {
            self.heard = true;
            *self.dark_at = Some(step.end_samples + u64::from(self.options.hold_samples));
        }
        self.observer.step(step);
    }
}

#[cfg(test)]
mod tests;
