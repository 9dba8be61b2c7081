//! The functions of the header. Each checks its pointers and lengths, and returns a status.

#![allow(unsafe_code, reason = "the border to C")]

use core::{
    ffi::{CStr, c_char, c_void},
    fmt,
    ptr::NonNull,
    slice,
};

use wakeling_shared::{model::Keyword, timebase::HOP_SAMPLES};

pub use crate::instance::Wakeling;
use crate::{
    instance::{self, Access, OBJECT, Record, Recorder},
    status::{self, Status, StatusResult},
    types::{Detection, Info, Microphone, OnDetection, OnText, OperatingPoint, Score, Sensitivity},
};

/// Text for a status that is none.
const UNKNOWN: &CStr = c"unknown status";

/// Version of the library, such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn wakeling_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// English text of a status. Never null.
#[unsafe(no_mangle)]
pub extern "C" fn wakeling_status_text(status: i32) -> *const c_char {
    Status::of(status).map_or(UNKNOWN, Status::text).as_ptr()
}

/// Number of bytes that `wakeling_load` needs for an object, at most `WAKELING_OBJECT_BYTES`.
#[unsafe(no_mangle)]
pub extern "C" fn wakeling_object_bytes() -> usize {
    OBJECT
}

/// Checks a model and loads it into the memory for an object, whatever that held before.
///
/// `memory`: `memory_bytes` bytes, aligned to `WAKELING_OBJECT_ALIGNMENT`; a `wakeling_object` has
/// both. It belongs to the object from then on and must not be moved, copied or freed while it is
/// used. Nothing needs to be released at the end.
/// `model`: `model_bytes` bytes of a model file, aligned to `WAKELING_MODEL_ALIGNMENT`. They are not
/// copied, and must stay as they are; flash is a good place. Bytes after the model are ignored.
/// `out`: receives the object, or null at an error.
///
/// # Safety
/// `memory`, `model` and `out` must each be null or point to as many bytes as stated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_load(
    memory: *mut c_void,
    memory_bytes: usize,
    model: *const c_void,
    model_bytes: usize,
    out: *mut *mut Wakeling,
) -> Status {
    if out.is_null() {
        return Status::Null;
    }
    // SAFETY: `out` is not null.
    unsafe { out.write(core::ptr::null_mut()) };
    let load = || {
        let object = NonNull::new(memory.cast::<Wakeling>()).ok_or(Status::Null)?;
        if !object.is_aligned() {
            return Err(Status::ObjectAlignment);
        }
        if memory_bytes < OBJECT {
            return Err(Status::ObjectSize);
        }
        // SAFETY: checked, and as the caller promises.
        unsafe {
            let bytes = array(model.cast::<u8>(), model_bytes, Status::ModelAlignment)?;
            instance::load(object, bytes)?;
            out.write(object.as_ptr());
        }
        Ok(())
    };
    status::of(load())
}

/// Writes the properties of the loaded model to `info`.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `info` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_info(object: *mut Wakeling, info: *mut Info) -> Status {
    // SAFETY: as the caller promises.
    unsafe {
        write_to(object, info, |access| {
            let model = access.model()?;
            let step_samples = u32::from(model.frames_per_step) * HOP_SAMPLES as u32;
            let keywords = model.words.len() as u32;
            Ok(Info { arena_bytes: model.arena_bytes(), keywords, step_samples })
        })
    }
}

/// Copies the name of the model to `text`, with a terminating zero: UTF-8, at most `bytes` bytes.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `text` null or `bytes` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_name(
    object: *mut Wakeling,
    text: *mut c_char,
    bytes: usize,
) -> Status {
    // SAFETY: as the caller promises.
    let copy = || unsafe { copy_text(Access::open(object)?.model()?.card.name, text, bytes) };
    status::of(copy())
}

/// Copies the label of a keyword to `text`, with a terminating zero: UTF-8, at most `bytes` bytes.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `text` null or `bytes` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_label(
    object: *mut Wakeling,
    keyword: u32,
    text: *mut c_char,
    bytes: usize,
) -> Status {
    // SAFETY: as the caller promises.
    let copy = || unsafe { copy_text(word(&Access::open(object)?, keyword)?.label, text, bytes) };
    status::of(copy())
}

/// Starts detection at sample 0.
///
/// `arena`: `arena_bytes` bytes, at least as many as `wakeling_info.arena_bytes`, at any address. They
/// belong to the object until it is loaded again or started with another arena.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `arena` null or `arena_bytes` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_start(
    object: *mut Wakeling,
    arena: *mut c_void,
    arena_bytes: usize,
) -> Status {
    let start = || {
        if arena.is_null() {
            return Err(Status::Null);
        }
        if isize::try_from(arena_bytes).is_err() {
            return Err(Status::Count);
        }
        // SAFETY: checked, and as the caller promises.
        unsafe { Access::open(object)?.start(arena.cast(), arena_bytes) }
    };
    status::of(start())
}

/// Starts again at sample 0, as after `wakeling_start`. Thresholds stay as they were set.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and its arena still there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_reset(object: *mut Wakeling) -> Status {
    // SAFETY: as the caller promises.
    let restart = || unsafe { Access::open(object)?.restart() };
    status::of(restart())
}

/// Processes `count` samples, 16 kHz mono; any number. Detections then wait for `wakeling_poll`.
/// The result does not depend on how sound is divided into blocks.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `samples` null or `count` readable samples.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_push(
    object: *mut Wakeling,
    samples: *const i16,
    count: usize,
) -> Status {
    // SAFETY: as the caller promises.
    let pushed = unsafe { push(object, samples, count, None::<fn(&Detection)>) };
    status::of(pushed)
}

/// Takes the oldest waiting detection. Returns `WAKELING_STATUS_NO_DETECTION` if none is waiting.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `detection` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_poll(object: *mut Wakeling, detection: *mut Detection) -> Status {
    // SAFETY: as the caller promises.
    unsafe {
        write_to(object, detection, |access| {
            access.record().queue.pop_front().ok_or(Status::NoDetection)
        })
    }
}

/// Processes samples as `wakeling_push` does, but calls `on_detection` instead of queueing.
///
/// # Safety
/// As `wakeling_push`. `on_detection` must be null or a function that takes `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_push_callback(
    object: *mut Wakeling,
    samples: *const i16,
    count: usize,
    on_detection: OnDetection,
    context: *mut c_void,
) -> Status {
    let Some(call) = on_detection else { return Status::Null };
    // SAFETY: as the caller promises. The detection lives during the call.
    let on_detection = |detection: &Detection| unsafe { call(context, detection) };
    // SAFETY: as the caller promises.
    let pushed = unsafe { push(object, samples, count, Some(on_detection)) };
    status::of(pushed)
}

/// Passes the line that names the model and its keywords to `on_text`, as a device prints it first.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `on_text` null or a function that takes
/// `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_announce(
    object: *mut Wakeling,
    on_text: OnText,
    context: *mut c_void,
) -> Status {
    let announce = || {
        let call = on_text.ok_or(Status::Null)?;
        // SAFETY: as the caller promises.
        let mut access = unsafe { Access::open(object)? };
        let (monitor, _) = access.running()?;
        monitor.announce(&mut Lines { call, context }).map_err(|_| Status::Write)
    };
    status::of(announce())
}

/// Processes samples as `wakeling_push` does, and passes the event lines of a device to `on_text`:
/// detections, changes of the microphone's health and, if `with_scores`, every inference step. The
/// firmware and the laptop's simulator print the same bytes. A line may come in several parts.
/// Detections are queued as well.
///
/// # Safety
/// As `wakeling_push`. `on_text` must be null or a function that takes `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_push_lines(
    object: *mut Wakeling,
    samples: *const i16,
    count: usize,
    with_scores: bool,
    on_text: OnText,
    context: *mut c_void,
) -> Status {
    let push = || {
        let call = on_text.ok_or(Status::Null)?;
        // SAFETY: as the caller promises.
        let (mut access, samples) = unsafe { (Access::open(object)?, sound(samples, count)?) };
        let (monitor, record) = access.running()?;
        record.is_lossy = false;
        monitor.set_scores(with_scores);
        let mut recorder = Recorder { record: &mut *record, on_detection: None::<fn(&Detection)> };
        let pushed = monitor.push(samples, &mut Lines { call, context }, &mut recorder);
        pushed.map_err(|_| Status::Write)?;
        loss(record)
    };
    status::of(push())
}

/// Writes the score of a keyword at the last inference step to `score`; zeros before the first.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `score` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_score(
    object: *mut Wakeling,
    keyword: u32,
    score: *mut Score,
) -> Status {
    // SAFETY: as the caller promises.
    unsafe {
        write_to(object, score, |access| {
            word(access, keyword)?;
            access.record().scores.get(keyword as usize).copied().ok_or(Status::Keyword)
        })
    }
}

/// Writes the number of samples since the start or the last reset to `samples`.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `samples` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_samples(object: *mut Wakeling, samples: *mut u64) -> Status {
    // SAFETY: as the caller promises.
    unsafe { write_to(object, samples, |access| Ok(access.running()?.0.samples())) }
}

/// Writes the health of the microphone to `health`, a value of `wakeling_microphone`.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `health` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_microphone(
    object: *mut Wakeling,
    health: *mut Microphone,
) -> Status {
    // SAFETY: as the caller promises.
    unsafe { write_to(object, health, |access| Ok(access.running()?.0.mic_health().into())) }
}

/// Writes the threshold of a keyword to `threshold`, 256 times log-odds.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `threshold` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_threshold(
    object: *mut Wakeling,
    keyword: u32,
    threshold: *mut i16,
) -> Status {
    // SAFETY: as the caller promises.
    unsafe {
        write_to(object, threshold, |access| {
            word(access, keyword)?;
            access.record().thresholds.get(keyword as usize).copied().ok_or(Status::Keyword)
        })
    }
}

/// Sets the threshold of a keyword, 256 times log-odds, before or after the start. It stays in force
/// until the model is loaded again.
///
/// # Safety
/// `object` must be null or from `wakeling_load`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_set_threshold(
    object: *mut Wakeling,
    keyword: u32,
    threshold: i16,
) -> Status {
    let set = || {
        // SAFETY: as the caller promises.
        let mut access = unsafe { Access::open(object)? };
        word(&access, keyword)?;
        set_threshold(&mut access, keyword as usize, threshold)
    };
    status::of(set())
}

/// Sets the thresholds of all keywords to a value of `wakeling_sensitivity`, as
/// `wakeling simulate --sensitivity` does.
///
/// # Safety
/// `object` must be null or from `wakeling_load`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_set_sensitivity(
    object: *mut Wakeling,
    sensitivity: i32,
) -> Status {
    let set = || {
        // SAFETY: as the caller promises.
        let mut access = unsafe { Access::open(object)? };
        let sensitivity = Sensitivity::of(sensitivity).ok_or(Status::Sensitivity)?;
        for (keyword, word) in access.model()?.words.iter().enumerate() {
            set_threshold(&mut access, keyword, sensitivity.threshold(word))?;
        }
        Ok(())
    };
    status::of(set())
}

/// Writes row `index` of a keyword's table of false accepts to `point`, strictest first. Returns
/// `WAKELING_STATUS_POINT` after the last one.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `point` null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeling_get_operating_point(
    object: *mut Wakeling,
    keyword: u32,
    index: u32,
    point: *mut OperatingPoint,
) -> Status {
    // SAFETY: as the caller promises.
    unsafe {
        write_to(object, point, |access| {
            let row = word(access, keyword)?.points.get(index as usize).ok_or(Status::Point)?;
            let (false_accepts, audio_seconds) = (row.false_accepts, row.audio_seconds);
            Ok(OperatingPoint { false_accepts, audio_seconds, threshold: row.threshold })
        })
    }
}

/// Sink that passes text to a callback.
struct Lines {
    call: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> i32,
    context: *mut c_void,
}

impl fmt::Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the text lives during the call, and the callback takes this context.
        match unsafe { (self.call)(self.context, text.as_ptr().cast(), text.len()) } {
            0 => Ok(()),
            _ => Err(fmt::Error),
        }
    }
}

/// Processes samples without event lines.
///
/// # Safety
/// As [`wakeling_push`].
unsafe fn push<F: FnMut(&Detection)>(
    object: *mut Wakeling,
    samples: *const i16,
    count: usize,
    on_detection: Option<F>,
) -> StatusResult {
    // SAFETY: as the caller promises.
    let (mut access, samples) = unsafe { (Access::open(object)?, sound(samples, count)?) };
    let (monitor, record) = access.running()?;
    record.is_lossy = false;
    monitor.observe(samples, &mut Recorder { record: &mut *record, on_detection });
    loss(record)
}

/// Returns whether detections were dropped.
fn loss(record: &Record) -> StatusResult {
    if record.is_lossy { Err(Status::QueueFull) } else { Ok(()) }
}

/// Returns the keyword with this index.
fn word(access: &Access, keyword: u32) -> StatusResult<&'static Keyword<'static>> {
    access.model()?.words.get(keyword as usize).ok_or(Status::Keyword)
}

/// Sets a threshold, also of the running detector if there is one.
fn set_threshold(access: &mut Access, keyword: usize, threshold: i16) -> StatusResult {
    let slot = access.record().thresholds.get_mut(keyword).ok_or(Status::Keyword)?;
    *slot = threshold;
    if let Ok((monitor, _)) = access.running() {
        monitor.set_threshold(keyword, threshold);
    }
    Ok(())
}

/// Returns the samples at `samples`; none if `count` is 0.
///
/// # Safety
/// `samples` must be null or point to `count` samples.
unsafe fn sound<'s>(samples: *const i16, count: usize) -> StatusResult<&'s [i16]> {
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: as the caller promises.
    unsafe { array(samples, count, Status::SampleAlignment) }
}

/// Returns `count` values at `pointer`.
///
/// # Safety
/// `pointer` must be null or point to `count` values that stay as they are for the lifetime.
unsafe fn array<'s, T>(
    pointer: *const T,
    count: usize,
    alignment: Status,
) -> StatusResult<&'s [T]> {
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(Status::Null)?;
    let bytes = count.checked_mul(size_of::<T>()).ok_or(Status::Count)?;
    if isize::try_from(bytes).is_err() {
        return Err(Status::Count);
    }
    if !pointer.is_aligned() {
        return Err(alignment);
    }
    // SAFETY: not null, aligned, and not larger than memory can be; the rest is as the caller
    // promises.
    Ok(unsafe { slice::from_raw_parts(pointer.as_ptr(), count) })
}

/// Opens the object and writes the result of `read` to `out`.
///
/// # Safety
/// `object` must be null or from `wakeling_load`, and `out` null or writable.
unsafe fn write_to<T>(
    object: *mut Wakeling,
    out: *mut T,
    read: impl FnOnce(&mut Access) -> StatusResult<T>,
) -> Status {
    let write = || {
        // SAFETY: as the caller promises.
        let mut access = unsafe { Access::open(object)? };
        if out.is_null() {
            return Err(Status::Null);
        }
        let value = read(&mut access)?;
        // SAFETY: not null, and writable, as the caller promises.
        unsafe { out.write_unaligned(value) };
        Ok(())
    };
    status::of(write())
}

/// Copies `source` to `text` with a terminating zero, or its first whole characters if it is too
/// long.
///
/// # Safety
/// `text` must be null or point to `bytes` writable bytes.
unsafe fn copy_text(source: &str, text: *mut c_char, bytes: usize) -> StatusResult {
    if text.is_null() {
        return Err(Status::Null);
    }
    let room = bytes.checked_sub(1).ok_or(Status::TextSize)?;
    let mut length = room.min(source.len());
    while !source.is_char_boundary(length) {
        length -= 1;
    }
    // SAFETY: `length` bytes are in `source`, and `length + 1` at most `bytes`.
    unsafe {
        text.copy_from(source.as_ptr().cast(), length);
        text.add(length).write(0);
    }
    if length == source.len() { Ok(()) } else { Err(Status::TextSize) }
}
