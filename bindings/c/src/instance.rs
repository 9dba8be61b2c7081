//! The object in the caller's memory: a model, the pipeline that borrows it, and what was detected.
//!
//! Pipeline and monitor hold references into the same memory. They stay valid because the object is
//! never moved, and because no reference to the whole object is ever made: each access takes a
//! reference to one field, through a raw pointer.

use core::{
    ptr::{NonNull, addr_of, addr_of_mut},
    slice,
};

use heapless::Deque;
use wakeling_shared::{
    fixed::sigmoid,
    model::Model,
    monitor::Monitor,
    pipeline::{Observer, Pipeline, Step},
    sensitivity::level_tenths,
};

use crate::{
    status::{Status, StatusResult},
    types::{Detection, MAX_KEYWORDS, OBJECT_ALIGNMENT, OBJECT_BYTES, QUEUE_DETECTIONS, Score},
};

/// Value of [`Wakeling::mark`] in an object with a loaded model.
const LOADED: u32 = 0x574B_4C47;

/// A loaded model and the state of detection with it.
pub struct Wakeling {
    mark: u32,
    is_busy: bool,
    arena: *mut i8,
    arena_bytes: usize,
    model: Option<Model<'static>>,
    /// Borrows `model` and the arena.
    pipeline: Option<Pipeline<'static, 'static>>,
    /// Borrows `model` and `pipeline`.
    monitor: Option<Monitor<'static, 'static, 'static>>,
    record: Record,
}

const _: () = assert!(size_of::<Wakeling>() <= OBJECT_BYTES);
const _: () = assert!(align_of::<Wakeling>() <= OBJECT_ALIGNMENT);

/// Size of an object in bytes.
pub const OBJECT: usize = size_of::<Wakeling>();

/// Thresholds in force, and what was detected.
pub struct Record {
    /// Thresholds of the keywords, Q8.
    pub thresholds: [i16; MAX_KEYWORDS],
    /// Scores of the last step.
    pub scores: [Score; MAX_KEYWORDS],
    /// Detections that wait, oldest first.
    pub queue: Deque<Detection, QUEUE_DETECTIONS>,
    /// Whether detections were dropped since the last push.
    pub is_lossy: bool,
}

impl Record {
    const EMPTY: Self = Self {
        thresholds: [0; MAX_KEYWORDS],
        scores: [Score { logit: 0, smoothed: 0, score: 0, level: 0 }; MAX_KEYWORDS],
        queue: Deque::new(),
        is_lossy: false,
    };

    /// Forgets the sound, not the thresholds.
    fn reset(&mut self) {
        *self = Self { thresholds: self.thresholds, ..Self::EMPTY };
    }

    /// Adds a detection; drops the oldest if there is no room.
    fn enqueue(&mut self, detection: Detection) {
        if self.queue.is_full() {
            self.queue.pop_front();
            self.is_lossy = true;
        }
        // There is room now.
        let _ = self.queue.push_back(detection);
    }
}

/// Observer that stores scores, and passes each detection to a function or to the queue.
pub struct Recorder<'r, F> {
    /// Where scores and detections are stored.
    pub record: &'r mut Record,
    /// Function for detections; without it they are enqueued.
    pub on_detection: Option<F>,
}

impl<F: FnMut(&Detection)> Observer for Recorder<'_, F> {
    fn features(&mut self, _: &[i8]) {}

    fn step(&mut self, step: Step<'_>) {
        for (keyword, (decision, &logit)) in step.decisions.iter().zip(step.logits).enumerate() {
            let threshold = self.record.thresholds.get(keyword).copied().unwrap_or_default();
            let smoothed = decision.smoothed;
            // A level is 0 to 1,000.
            let (score, level) = (sigmoid(smoothed), level_tenths(smoothed, threshold) as u16);
            if let Some(slot) = self.record.scores.get_mut(keyword) {
                *slot = Score { logit, smoothed, score, level };
            }
            if !decision.fired {
                continue;
            }
            let end_samples = step.end_samples;
            let keyword = keyword as u32;
            let detection = Detection { end_samples, keyword, score, level, logit: smoothed };
            match &mut self.on_detection {
                Some(on_detection) => on_detection(&detection),
                None => self.record.enqueue(detection),
            }
        }
    }
}

/// Writes an object without a model.
///
/// # Safety
/// `object` must be aligned and point to [`OBJECT`] writable bytes that nothing else uses.
unsafe fn clear(object: NonNull<Wakeling>) {
    let object = object.as_ptr();
    // SAFETY: the caller's memory; each field is written as a whole, and the old content, which may
    // be no valid object, is not dropped.
    unsafe {
        addr_of_mut!((*object).mark).write(0);
        addr_of_mut!((*object).is_busy).write(false);
        addr_of_mut!((*object).arena).write(core::ptr::null_mut());
        addr_of_mut!((*object).arena_bytes).write(0);
        addr_of_mut!((*object).model).write(None);
        addr_of_mut!((*object).pipeline).write(None);
        addr_of_mut!((*object).monitor).write(None);
        addr_of_mut!((*object).record).write(Record::EMPTY);
    }
}

/// Loads a model into an object, whatever the memory held before.
///
/// # Errors
/// Those of [`Model::load`]; the object then holds no model.
///
/// # Safety
/// `object` must be aligned and point to [`OBJECT`] writable bytes that nothing else uses, and
/// `bytes` must stay as they are while the object is used.
pub unsafe fn load(object: NonNull<Wakeling>, bytes: &'static [u8]) -> StatusResult {
    // SAFETY: as the caller promises.
    unsafe { clear(object) };
    let object = object.as_ptr();
    // SAFETY: both fields were just written. The references end in this function, except for the
    // one that `load_into` returns, which is not kept.
    unsafe {
        let model = Model::load_into(&mut *addr_of_mut!((*object).model), bytes)?;
        let record = &mut *addr_of_mut!((*object).record);
        for (threshold, word) in record.thresholds.iter_mut().zip(&model.words) {
            *threshold = word.detector.threshold;
        }
        addr_of_mut!((*object).mark).write(LOADED);
    }
    Ok(())
}

/// Access to an object during one call from C. Calls of callbacks are refused meanwhile.
pub struct Access(NonNull<Wakeling>);

impl Access {
    /// Checks that the object holds a model and is not in use by a call.
    ///
    /// # Errors
    /// [`Status::Null`], [`Status::ObjectAlignment`], [`Status::NotLoaded`], [`Status::Busy`].
    ///
    /// # Safety
    /// A pointer that is not null and aligned must point to [`OBJECT`] initialized bytes that no
    /// other thread uses during the call, and an object in them must be where it was loaded.
    pub unsafe fn open(object: *mut Wakeling) -> StatusResult<Self> {
        let object = NonNull::new(object).ok_or(Status::Null)?;
        if !object.is_aligned() {
            return Err(Status::ObjectAlignment);
        }
        let field = object.as_ptr();
        // SAFETY: readable, as the caller promises. The fields are read before anything else is
        // assumed of the memory; `is_busy` is valid once `mark` is right.
        unsafe {
            if addr_of!((*field).mark).read() != LOADED {
                return Err(Status::NotLoaded);
            }
            if addr_of!((*field).is_busy).read() {
                return Err(Status::Busy);
            }
            addr_of_mut!((*field).is_busy).write(true);
        }
        Ok(Self(object))
    }

    /// The loaded model.
    ///
    /// # Errors
    /// [`Status::NotLoaded`], which [`Access::open`] excludes.
    pub fn model(&self) -> StatusResult<&'static Model<'static>> {
        // SAFETY: the object holds a model. While it does, `model` is only read, so shared
        // references to it may exist at any time. They are used only while the object is.
        unsafe { (*addr_of!((*self.0.as_ptr()).model)).as_ref().ok_or(Status::NotLoaded) }
    }

    /// What was detected.
    pub fn record(&mut self) -> &mut Record {
        // SAFETY: only this function makes references to the field, and `self` is borrowed for
        // them. Nothing else in the object refers to it.
        unsafe { &mut *addr_of_mut!((*self.0.as_ptr()).record) }
    }

    /// The running monitor, and what was detected.
    ///
    /// # Errors
    /// [`Status::NotStarted`].
    pub fn running(
        &mut self,
    ) -> StatusResult<(&mut Monitor<'static, 'static, 'static>, &mut Record)> {
        let object = self.0.as_ptr();
        // SAFETY: two different fields, and `self` is borrowed for both references.
        unsafe {
            let monitor = (*addr_of_mut!((*object).monitor)).as_mut().ok_or(Status::NotStarted)?;
            Ok((monitor, &mut *addr_of_mut!((*object).record)))
        }
    }

    /// Starts detection at the first sample, on the `bytes` at `arena`.
    ///
    /// # Errors
    /// [`Status::ArenaSize`]; detection is then stopped.
    ///
    /// # Safety
    /// `arena` must point to `bytes` writable bytes that only the object uses, until it is loaded
    /// again or started with another arena.
    pub unsafe fn start(&mut self, arena: *mut i8, bytes: usize) -> StatusResult {
        let model = self.model()?;
        let object = self.0.as_ptr();
        // SAFETY: monitor and pipeline end in the order in which they borrow, so that nothing
        // refers to the pipeline when it is written. The arena is the object's alone, and is
        // written before it counts as initialized.
        unsafe {
            *addr_of_mut!((*object).monitor) = None;
            *addr_of_mut!((*object).pipeline) = None;
            if bytes < model.arena_bytes() {
                return Err(Status::ArenaSize);
            }
            arena.write_bytes(0, bytes);
            addr_of_mut!((*object).arena).write(arena);
            addr_of_mut!((*object).arena_bytes).write(bytes);
            let arena = slice::from_raw_parts_mut(arena, bytes);
            let pipeline = Pipeline::new_into(&mut *addr_of_mut!((*object).pipeline), model, arena)
                .map_err(|_| Status::ArenaSize)?;
            let mut monitor = Monitor::new(model, pipeline, false);
            let record = &mut *addr_of_mut!((*object).record);
            record.reset();
            for (keyword, &threshold) in record.thresholds.iter().enumerate() {
                monitor.set_threshold(keyword, threshold);
            }
            *addr_of_mut!((*object).monitor) = Some(monitor);
        }
        Ok(())
    }

    /// Starts again at the first sample, on the same arena.
    ///
    /// # Errors
    /// [`Status::NotStarted`].
    ///
    /// # Safety
    /// As [`Access::start`], for the arena of the last start.
    pub unsafe fn restart(&mut self) -> StatusResult {
        self.running()?;
        let object = self.0.as_ptr();
        // SAFETY: plain values. The caller promises that the arena is still the object's.
        unsafe {
            let arena = addr_of!((*object).arena).read();
            let bytes = addr_of!((*object).arena_bytes).read();
            self.start(arena, bytes)
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        // SAFETY: the object is still there, since it was opened in the same call.
        unsafe { addr_of_mut!((*self.0.as_ptr()).is_busy).write(false) };
    }
}
