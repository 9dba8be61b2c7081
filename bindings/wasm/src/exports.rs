//! Functions of the module, called from JavaScript. Arguments out of range have no effect.
//!
//! Each function takes the references that it needs for the time of the call. A module is not
//! entered again while a function runs, since it imports nothing.

use core::{
    fmt::Write,
    slice::{from_raw_parts, from_raw_parts_mut},
};

use wakeling_shared::{
    fixed::sigmoid,
    model::{MAX_KEYWORDS, Model},
    pipeline::{Pipeline, Step},
    sensitivity,
    timebase::HOP_SAMPLES,
};

use crate::{
    error,
    memory::{Global, region},
};

/// Number of samples that `push` takes at most: 100 ms.
const MOST_SAMPLES: usize = 1_600;
/// Number of steps that they complete at most, where a step is one frame.
const MOST_STEPS: usize = MOST_SAMPLES / HOP_SAMPLES + 1;
/// Length of the longest message.
const MESSAGE_BYTES: usize = 160;

/// Kinds of texts for `text_address` and `text_length`.
pub mod text {
    /// Message of the last error.
    pub const MESSAGE: u32 = 0;
    /// Label of a keyword.
    pub const LABEL: u32 = 1;
    /// Name of the model.
    pub const NAME: u32 = 2;
    /// Name of the pretrained model.
    pub const PRETRAINED: u32 = 3;
    /// Origin of the model.
    pub const PROVENANCE: u32 = 4;
    /// Licence of the model.
    pub const LICENCE: u32 = 5;
}

/// Result of a step, as JavaScript reads it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Record {
    /// Number of samples up to the end of the step. Exact up to 2⁵³.
    pub end_samples: f64,
    /// Bit `i` is set if keyword `i` was detected.
    pub fired: u32,
    /// 1 if the network ran, 0 if the gate was closed.
    pub listened: u32,
    /// Smoothed logit of each keyword, Q8.
    pub smoothed: [i16; MAX_KEYWORDS],
    /// Logit of each keyword, Q8.
    pub logits: [i16; MAX_KEYWORDS],
}

impl Record {
    const EMPTY: Self = Self {
        end_samples: 0.0,
        fired: 0,
        listened: 0,
        smoothed: [0; MAX_KEYWORDS],
        logits: [0; MAX_KEYWORDS],
    };

    fn of(step: &Step<'_>) -> Self {
        let mut record = Self {
            end_samples: step.end_samples as f64,
            listened: u32::from(step.listened),
            ..Self::EMPTY
        };
        for (i, (decision, smoothed)) in step.decisions.iter().zip(&mut record.smoothed).enumerate()
        {
            *smoothed = decision.smoothed;
            record.fired |= u32::from(decision.fired) << (i % MAX_KEYWORDS);
        }
        record.logits.iter_mut().zip(step.logits).for_each(|(to, &logit)| *to = logit);
        record
    }
}

/// Message of an error, cut at its length.
struct Message {
    bytes: [u8; MESSAGE_BYTES],
    length: usize,
}

impl Message {
    const EMPTY: Self = Self { bytes: [0; MESSAGE_BYTES], length: 0 };

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (to, byte) in room.iter_mut().zip(text.bytes()) {
            *to = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Address and length in bytes of a region; 0 and 0 before it is reserved.
type Region = (usize, usize);

static FILE: Global<Region> = Global::new((0, 0));
static ARENA: Global<Region> = Global::new((0, 0));
static MODEL: Global<Option<Model<'static>>> = Global::new(None);
static PIPELINE: Global<Option<Pipeline<'static, 'static>>> = Global::new(None);
static THRESHOLDS: Global<[i16; MAX_KEYWORDS]> = Global::new([0; MAX_KEYWORDS]);
static SAMPLES: Global<[i16; MOST_SAMPLES]> = Global::new([0; MOST_SAMPLES]);
static RECORDS: Global<[Record; MOST_STEPS]> = Global::new([Record::EMPTY; MOST_STEPS]);
static MESSAGE: Global<Message> = Global::new(Message::EMPTY);

/// Returns the model. It changes only in [`load`], before anything borrows it.
fn model() -> Option<&'static Model<'static>> {
    // SAFETY: `load` writes the model once, and no reference exists before.
    unsafe { &*MODEL.address() }.as_ref()
}

/// Reserves memory for a model file. Returns its address; 0 if there is none, or a file already.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(bytes: usize) -> usize {
    // SAFETY: no other reference to the value exists.
    let file = unsafe { &mut *FILE.address() };
    if file.0 != 0 || bytes == 0 {
        return 0;
    }
    let Some(start) = region(bytes) else { return 0 };
    *file = (start, bytes);
    start
}

/// Loads the model from the reserved memory. Returns 0 or the number of an error. A second call has
/// no effect, since the first model is in use.
#[unsafe(no_mangle)]
pub extern "C" fn load() -> u32 {
    // SAFETY: no other reference to the value exists.
    let (start, bytes) = unsafe { *FILE.address() };
    if start == 0 || model().is_some() {
        return error::NO_FILE;
    }
    // SAFETY: the region is inside the memory, and only JavaScript writes to it, before this call.
    let file = unsafe { from_raw_parts(start as *const u8, bytes) };
    // SAFETY: there was no model, so no reference to it exists.
    let slot = unsafe { &mut *MODEL.address() };
    let arena = match Model::load_into(slot, file) {
        Ok(model) => model.arena_bytes(),
        Err(error) => {
            // SAFETY: no other reference to the value exists.
            let message = unsafe { &mut *MESSAGE.address() };
            *message = Message::EMPTY;
            // A message that is too long is cut.
            let _ = write!(message, "{error}");
            return error::code(&error);
        }
    };
    let Some(start) = region(arena) else {
        *slot = None;
        return error::NO_MEMORY;
    };
    // SAFETY: no other reference to the values exists.
    let (place, thresholds) = unsafe { (&mut *ARENA.address(), &mut *THRESHOLDS.address()) };
    *place = (start, arena);
    for (threshold, word) in thresholds.iter_mut().zip(model().iter().flat_map(|m| &m.words)) {
        *threshold = word.detector.threshold;
    }
    reset();
    0
}

/// Returns the pipeline to its initial state. Thresholds stay as they were set.
#[unsafe(no_mangle)]
pub extern "C" fn reset() {
    // SAFETY: no other reference to the pipeline, the arena or the thresholds exists.
    let (slot, (start, bytes), thresholds) =
        unsafe { (&mut *PIPELINE.address(), *ARENA.address(), &*THRESHOLDS.address()) };
    *slot = None;
    let Some(model) = model() else { return };
    // SAFETY: the region is inside the memory. Only the pipeline borrows it, which was just dropped.
    let arena = unsafe { from_raw_parts_mut(start as *mut i8, bytes) };
    // The arena is as large as the model asks for.
    if let Ok(pipeline) = Pipeline::new_into(slot, model, arena) {
        for (word, &threshold) in thresholds.iter().enumerate() {
            pipeline.set_threshold(word, threshold);
        }
    }
}

/// Returns a text of the model or of the last error, as UTF-8.
fn text_of(kind: u32, index: usize) -> &'static [u8] {
    if kind == text::MESSAGE {
        // SAFETY: the message changes only in `load`.
        return unsafe { &*MESSAGE.address() }.text();
    }
    let Some(model) = model() else { return &[] };
    let text = match kind {
        text::LABEL => model.words.get(index).map_or("", |word| word.label),
        text::NAME => model.card.name,
        text::PRETRAINED => model.card.pretrained,
        text::PROVENANCE => model.card.provenance,
        text::LICENCE => model.card.licence,
        _ => "",
    };
    text.as_bytes()
}

/// Returns the address of a text.
#[unsafe(no_mangle)]
pub extern "C" fn text_address(kind: u32, index: usize) -> usize {
    text_of(kind, index).as_ptr().addr()
}

/// Returns the length of a text in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn text_length(kind: u32, index: usize) -> usize {
    text_of(kind, index).len()
}

/// Returns the number of keywords; 0 without a model.
#[unsafe(no_mangle)]
pub extern "C" fn keywords() -> usize {
    model().map_or(0, |model| model.words.len())
}

/// Returns the number of frames in a step; 0 without a model.
#[unsafe(no_mangle)]
pub extern "C" fn frames_per_step() -> u32 {
    model().map_or(0, |model| model.frames_per_step.into())
}

/// Returns the number of bytes for activations and rings; 0 without a model.
#[unsafe(no_mangle)]
pub extern "C" fn arena_bytes() -> usize {
    // SAFETY: the value changes only in `load`.
    unsafe { *ARENA.address() }.1
}

/// Returns the threshold (Q8) of a keyword at a sensitivity: 0 strict, 1 normal, 2 eager.
#[unsafe(no_mangle)]
pub extern "C" fn threshold(word: usize, preset: u32) -> i32 {
    let Some(word) = model().and_then(|model| model.words.get(word)) else { return 0 };
    let own = word.detector.threshold;
    let threshold = match preset {
        0 => sensitivity::strict(&word.points, own),
        2 => sensitivity::eager(&word.points, own),
        _ => own,
    };
    threshold.into()
}

/// Sets the threshold (Q8, saturated to 16 bits) of a keyword.
#[unsafe(no_mangle)]
pub extern "C" fn set_threshold(word: usize, threshold: i32) {
    let threshold = threshold.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    // SAFETY: no other reference to the values exists.
    let (pipeline, thresholds) = unsafe { (&mut *PIPELINE.address(), &mut *THRESHOLDS.address()) };
    if let Some(place) = thresholds.get_mut(word) {
        *place = threshold;
    }
    if let Some(pipeline) = pipeline {
        pipeline.set_threshold(word, threshold);
    }
}

/// Returns the address of the buffer for samples.
#[unsafe(no_mangle)]
pub extern "C" fn samples() -> usize {
    SAMPLES.address().addr()
}

/// Returns the length of the buffer in samples.
#[unsafe(no_mangle)]
pub extern "C" fn most_samples() -> usize {
    MOST_SAMPLES
}

/// Returns the address of the results of the last `push`.
#[unsafe(no_mangle)]
pub extern "C" fn records() -> usize {
    RECORDS.address().addr()
}

/// Returns the size of a result in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn record_bytes() -> usize {
    size_of::<Record>()
}

/// Processes the first `count` samples of the buffer. Returns the number of steps that they
/// completed, whose results are in the records.
#[unsafe(no_mangle)]
pub extern "C" fn push(count: usize) -> usize {
    // SAFETY: no other reference to the values exists.
    let (pipeline, samples, records) =
        unsafe { (&mut *PIPELINE.address(), &*SAMPLES.address(), &mut *RECORDS.address()) };
    let Some(pipeline) = pipeline else { return 0 };
    let samples = samples.get(..count).unwrap_or(samples);
    let mut steps = 0;
    pipeline.push(samples, |step| {
        if let Some(record) = records.get_mut(steps) {
            *record = Record::of(&step);
            steps += 1;
        }
    });
    steps
}

/// Returns the score of a smoothed logit (Q8), in Q16.
#[unsafe(no_mangle)]
pub extern "C" fn score(logit: i32) -> u32 {
    sigmoid(logit.clamp(i16::MIN.into(), i16::MAX.into()) as i16).into()
}

/// Returns the level of a smoothed logit for a threshold, both in Q8, in tenths.
#[unsafe(no_mangle)]
pub extern "C" fn level(logit: i32, threshold: i32) -> i32 {
    let [logit, threshold] =
        [logit, threshold].map(|value| value.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
    sensitivity::level_tenths(logit, threshold)
}
