//! The whole device flow: PCM blocks of any length in, steps and detections out.
//!
//! Trainer, simulator and firmware all run this code. The output depends on the samples alone, not
//! on how they are divided into blocks.

use heapless::Vec;

use crate::{
    detector::{Decision, Detector, LOGIT_CLAMP},
    engine::{ArenaTooSmall, Engine},
    frontend::{Frontend, MEL_CHANNELS},
    gate::{Gate, Passage},
    model::{MAX_KEYWORDS, Model, Op},
    timebase::{MAX_FRAMES_PER_STEP, frame_end},
};

/// Number of features in the longest step.
const MAX_STEP_FEATURES: usize = MAX_FRAMES_PER_STEP as usize * MEL_CHANNELS;

/// A model with the state of every stage: front end, gate, engine and detectors.
///
/// ```
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/loud.rs")); }
/// # let file = support::loud_model();
/// # let model = wakeling_shared::model::Model::load(&file).unwrap();
/// use wakeling_shared::pipeline::Pipeline;
///
/// let mut arena = vec![0; model.arena_bytes()];
/// let mut pipeline = Pipeline::new(&model, &mut arena).unwrap();
/// let pcm = [vec![0; 16_000], support::sawtooth(8_000)].concat();
/// let mut detected = None;
/// for block in pcm.chunks(320) { // blocks of any length give the same steps
///     pipeline.push(block, |step| {
///         if step.decisions[0].fired {
///             detected = Some(step.end_samples);
///         }
///     });
/// }
/// assert!(detected.is_some_and(|end| (16_000..19_000).contains(&end)));
/// ```
pub struct Pipeline<'m, 'a> {
    frontend: Frontend<'m>,
    gate: Option<Gate>,
    /// Sum of the front end's levels over the step's frames, for the gate.
    levels: i32,
    engine: Engine<'m, 'a>,
    detectors: Vec<Detector, MAX_KEYWORDS>,
    logits: [i16; MAX_KEYWORDS],
    decisions: [Decision; MAX_KEYWORDS],
    frames_per_step: u8,
    frames: u8,
    total_frames: u64,
    steps: u64,
}

/// Result of one inference step: a logit and a decision per keyword.
#[derive(Clone, Copy, Debug)]
pub struct Step<'s> {
    /// Number of the step, counted from 0.
    pub index: u64,
    /// Number of samples from the start to the end of the step's last window.
    pub end_samples: u64,
    /// One logit per keyword, Q8; −12, the lower clamp, where the gate is closed.
    pub logits: &'s [i16],
    /// One decision per keyword.
    pub decisions: &'s [Decision],
    /// `true` if the network ran, because the gate was open or the model has none.
    pub listened: bool,
}

/// Callbacks of a [`Pipeline`] for the features and the result of each step.
pub trait Observer {
    /// Called with the features of a step, before the network runs on them.
    fn features(&mut self, features: &[i8]);

    /// Index of the network buffer that [`Observer::column`] receives after each step, if any.
    fn column_buffer(&self) -> Option<u8> {
        None
    }

    /// Called with the contents of that buffer, after the network ran.
    fn column(&mut self, _column: &[i8]) {}

    /// Called with the result of the step.
    fn step(&mut self, step: Step<'_>);
}

/// Observer that ignores every callback.
#[derive(Clone, Copy, Debug)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn features(&mut self, _: &[i8]) {}

    fn step(&mut self, _: Step<'_>) {}
}

/// Forwards every callback to both observers.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn features(&mut self, features: &[i8]) {
        self.0.features(features);
        self.1.features(features);
    }

    /// Returns the buffer that the second observer requests.
    fn column_buffer(&self) -> Option<u8> {
        self.1.column_buffer()
    }

    fn column(&mut self, column: &[i8]) {
        self.1.column(column);
    }

    fn step(&mut self, step: Step<'_>) {
        self.0.step(step);
        self.1.step(step);
    }
}

/// Forwards every callback to an observer that the caller can read between blocks.
impl<O: Observer> Observer for &core::cell::RefCell<O> {
    fn features(&mut self, features: &[i8]) {
        if let Ok(mut observer) = self.try_borrow_mut() {
            observer.features(features);
        }
    }

    fn column_buffer(&self) -> Option<u8> {
        self.try_borrow().ok()?.column_buffer()
    }

    fn column(&mut self, column: &[i8]) {
        if let Ok(mut observer) = self.try_borrow_mut() {
            observer.column(column);
        }
    }

    fn step(&mut self, step: Step<'_>) {
        if let Ok(mut observer) = self.try_borrow_mut() {
            observer.step(step);
        }
    }
}

/// Observer that calls a closure for each step.
struct OnStep<F>(F);

impl<F: FnMut(Step<'_>)> Observer for OnStep<F> {
    #[inline(always)]
    fn features(&mut self, _: &[i8]) {}

    #[inline(always)]
    fn step(&mut self, step: Step<'_>) {
        (self.0)(step);
    }
}

impl<'m, 'a> Pipeline<'m, 'a> {
    /// Builds the stages on `arena`, which must hold [`Model::arena_bytes`].
    ///
    /// # Errors
    /// [`ArenaTooSmall`] if the arena is smaller.
    pub fn new(model: &'m Model<'a>, arena: &'m mut [i8]) -> Result<Self, ArenaTooSmall> {
        let mut pipeline = Self::with_engine(model, Engine::new(model, arena)?);
        pipeline.add_detectors(model);
        Ok(pipeline)
    }

    /// As [`Pipeline::new`], but builds the pipeline in place. A board has no stack to spare for
    /// copies of it.
    ///
    /// # Errors
    /// [`ArenaTooSmall`]; `slot` is then unchanged.
    #[inline(never)]
    pub fn new_into<'s>(
        slot: &'s mut Option<Self>,
        model: &'m Model<'a>,
        arena: &'m mut [i8],
    ) -> Result<&'s mut Self, ArenaTooSmall> {
        let engine = Engine::new(model, arena)?;
        *slot = None;
        let pipeline = slot.get_or_insert_with(|| Self::with_engine(model, engine));
        pipeline.add_detectors(model);
        Ok(pipeline)
    }

    fn add_detectors(&mut self, model: &Model<'a>) {
        for word in &model.words {
            // A model has no more words than this list has room for; `extend` would panic if it
            // had.
            let _ = self.detectors.push(Detector::new(word.detector));
        }
    }

    /// Builds the stages without detectors.
    #[inline(always)]
    fn with_engine(model: &'m Model<'a>, engine: Engine<'m, 'a>) -> Self {
        Self {
            frontend: Frontend::new(&model.frontend),
            gate: model.gate.filter(|_| !has_stride(model)).map(Gate::new),
            levels: 0,
            engine,
            detectors: Vec::new(),
            logits: [0; MAX_KEYWORDS],
            decisions: [Decision::default(); MAX_KEYWORDS],
            frames_per_step: model.frames_per_step,
            frames: 0,
            total_frames: 0,
            steps: 0,
        }
    }

    /// Processes `pcm` (16 kHz mono) and calls `on_step` after each step that it completes.
    pub fn push(&mut self, pcm: &[i16], on_step: impl FnMut(Step<'_>)) {
        self.push_to(pcm, &mut OnStep(on_step));
    }

    /// Processes `pcm` (16 kHz mono) and calls `observer` at each step that it completes.
    pub fn push_to(&mut self, mut pcm: &[i16], observer: &mut impl Observer) {
        loop {
            let start = usize::from(self.frames) * MEL_CHANNELS;
            let input = self.engine.input().get_mut(start..).unwrap_or_default();
            let Some(features) = input.first_chunk_mut::<MEL_CHANNELS>() else { return };
            let (consumed, ready) = self.frontend.push(pcm, features);
            pcm = pcm.get(consumed..).unwrap_or_default();
            if !ready {
                return;
            }
            self.total_frames = self.total_frames.wrapping_add(1);
            self.frames += 1;
            if self.gate.is_some() {
                self.levels += self.frontend.level();
            }
            if self.frames == self.frames_per_step {
                self.frames = 0;
                self.step(observer);
            }
        }
    }

    /// Sets the threshold (Q8) of the keyword at index `word`; an unknown index has no effect.
    pub fn set_threshold(&mut self, word: usize, threshold: i16) {
        if let Some(detector) = self.detectors.get_mut(word) {
            detector.set_threshold(threshold);
        }
    }

    /// Sets the counts of frames and steps, for a device that slept. Both counts wrap around
    /// silently; the count of samples does so after 36 million years.
    pub fn set_position(&mut self, frames: u64, steps: u64) {
        (self.total_frames, self.steps) = (frames, steps);
    }

    fn step(&mut self, observer: &mut impl Observer) {
        let words = self.detectors.len();
        observer.features(self.engine.input());
        let level = core::mem::take(&mut self.levels) / i32::from(self.frames_per_step.max(1));
        let passage = match &mut self.gate {
            Some(gate) => gate.step(self.engine.input(), level),
            None => Passage::Open,
        };
        if let Passage::Opening(kept) = passage {
            self.catch_up(kept);
        }
        let listened = passage != Passage::Closed;
        if !listened {
            self.logits = [-LOGIT_CLAMP; MAX_KEYWORDS];
        } else if !self.engine.step(&mut self.logits) {
            return;
        } else if let Some(buffer) = observer.column_buffer() {
            observer.column(self.engine.buffer(buffer));
        }
        let decided = self.decisions.iter_mut().zip(&mut self.detectors).zip(&self.logits);
        for ((decision, detector), &logit) in decided {
            *decision = detector.step(logit);
        }
        observer.step(Step {
            index: self.steps,
            end_samples: frame_end(self.total_frames),
            logits: self.logits.get(..words).unwrap_or_default(),
            decisions: self.decisions.get(..words).unwrap_or_default(),
            listened,
        });
        self.steps = self.steps.wrapping_add(1);
    }

    /// Runs the network on the steps that the gate kept. Their logits are dropped, since they are
    /// too late for a decision. Not inlined, so that the buffer for a step is on the stack only
    /// here.
    #[inline(never)]
    fn catch_up(&mut self, kept: u16) {
        let Some(gate) = &mut self.gate else { return };
        let input = self.engine.input();
        let mut current = [0; MAX_STEP_FEATURES];
        let width = input.len();
        let Some(current) = current.get_mut(..width) else { return };
        current.copy_from_slice(input);
        for age in 0..kept {
            let input = self.engine.input();
            input.iter_mut().zip(gate.kept(age, width)).for_each(|(x, &kept)| *x = kept);
            self.engine.step(&mut self.logits);
        }
        gate.forget();
        // The lengths are equal, but the compiler cannot prove it; `copy_from_slice` would panic.
        self.engine.input().iter_mut().zip(current).for_each(|(x, &mut current)| *x = current);
    }
}

/// Returns whether a layer has a stride. Such a layer skips steps, so a gate could not decide which
/// steps to keep.
fn has_stride(model: &Model<'_>) -> bool {
    model.layers.iter().any(|layer| matches!(layer.op, Op::Depthwise { stride, .. } if stride > 1))
}
