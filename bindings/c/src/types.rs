//! Structures and constants that cross the border.

use core::ffi::{c_char, c_void};

use wakeling_shared::{
    mic_health::MicIssueKind,
    model::{self, Keyword},
    sensitivity, timebase,
};

/// Samples per second. Sound is mono, 16 bits.
pub const SAMPLE_RATE_HZ: u32 = 16_000;
/// Alignment of a model's first byte.
pub const MODEL_ALIGNMENT: usize = 4;
/// Alignment of the memory for an object.
pub const OBJECT_ALIGNMENT: usize = 8;
/// Memory for an object, in words of 64 bits.
#[cfg(target_pointer_width = "32")]
pub const OBJECT_WORDS: usize = 1_536;
/// Memory for an object, in words of 64 bits.
#[cfg(target_pointer_width = "64")]
pub const OBJECT_WORDS: usize = 2_048;
/// Memory for an object, in bytes. The object itself may be smaller: `wakeling_object_bytes()`.
pub const OBJECT_BYTES: usize = OBJECT_WORDS * 8;
/// Largest number of keywords in a model.
pub const MAX_KEYWORDS: usize = 16;
/// Number of detections that can wait for `wakeling_poll`.
pub const QUEUE_DETECTIONS: usize = 16;
/// Level of a keyword's threshold, in tenths.
pub const LEVEL_THRESHOLD: u16 = 500;

const _: () = assert!(SAMPLE_RATE_HZ as usize == timebase::SAMPLE_RATE_HZ);
const _: () = assert!(MODEL_ALIGNMENT == model::ALIGNMENT);
const _: () = assert!(MAX_KEYWORDS == model::MAX_KEYWORDS);
const _: () = assert!(LEVEL_THRESHOLD as i32 == sensitivity::THRESHOLD_TENTHS);

/// Memory for an object, of the right size and alignment. A static one is a good place; its content
/// is private. It must not be moved or copied after `wakeling_load`.
#[repr(C)]
pub struct Object {
    /// Private.
    pub words: [u64; OBJECT_WORDS],
}

/// Properties of a loaded model.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Bytes of memory that `wakeling_start` needs.
    pub arena_bytes: usize,
    /// Number of keywords, 1 to `WAKELING_MAX_KEYWORDS`.
    pub keywords: u32,
    /// Number of samples between two inference steps.
    pub step_samples: u32,
}

/// A detected keyword.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detection {
    /// End of the deciding step, in samples since the start or the last reset.
    pub end_samples: u64,
    /// Index of the keyword.
    pub keyword: u32,
    /// Probability that corresponds to the smoothed logit: 65,536 times a value of 0 to 1.
    pub score: u16,
    /// Level in tenths, 0 to 1,000; the threshold is at `WAKELING_LEVEL_THRESHOLD`.
    pub level: u16,
    /// Smoothed logit, 256 times log-odds.
    pub logit: i16,
}

/// Score of a keyword at the last inference step.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Output of the network, 256 times log-odds.
    pub logit: i16,
    /// Mean over the smoothing window, 256 times log-odds. It is compared with the threshold.
    pub smoothed: i16,
    /// Probability that corresponds to `smoothed`: 65,536 times a value of 0 to 1.
    pub score: u16,
    /// Level of `smoothed` in tenths, 0 to 1,000; the threshold is at `WAKELING_LEVEL_THRESHOLD`.
    pub level: u16,
}

/// One row of a keyword's table of false accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatingPoint {
    /// Number of false accepts at this threshold.
    pub false_accepts: u32,
    /// Seconds of audio without the keyword in which they were counted.
    pub audio_seconds: u32,
    /// Threshold, 256 times log-odds.
    pub threshold: i16,
}

/// Named sensitivity, as `wakeling simulate --sensitivity` has it.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// Fewest false accepts, most misses.
    Strict = 0,
    /// The model's own thresholds.
    Normal = 1,
    /// Fewest misses, more false accepts.
    Eager = 2,
}

impl Sensitivity {
    /// Returns the sensitivity with this value.
    pub(crate) fn of(value: i32) -> Option<Self> {
        [Self::Strict, Self::Normal, Self::Eager].into_iter().find(|s| *s as i32 == value)
    }

    /// Returns the threshold (Q8) of a keyword.
    pub(crate) fn threshold(self, keyword: &Keyword<'_>) -> i16 {
        let (points, own) = (&keyword.points, keyword.detector.threshold);
        match self {
            Self::Strict => sensitivity::strict(points, own),
            Self::Normal => own,
            Self::Eager => sensitivity::eager(points, own),
        }
    }
}

/// Health of the microphone, judged every two seconds of sound.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Microphone {
    /// No problem found.
    Good = 0,
    /// One value for the whole period: a wire is off, or the driver delivers nothing.
    Stuck = 1,
    /// More than one sample in 32 is at the end of the scale: reduce the gain.
    Clipping = 2,
    /// The mean is far from zero: remove the offset.
    Offset = 3,
}

impl From<MicIssueKind> for Microphone {
    fn from(kind: MicIssueKind) -> Self {
        match kind {
            MicIssueKind::None => Self::Good,
            MicIssueKind::Stuck => Self::Stuck,
            MicIssueKind::Clipping => Self::Clipping,
            MicIssueKind::Offset => Self::Offset,
        }
    }
}

/// Callback for a detection. It must return normally, and must not use the object that calls it.
pub type OnDetection =
    Option<unsafe extern "C" fn(context: *mut c_void, detection: *const Detection)>;

/// Callback for a part of an event line: `bytes` bytes at `text`, without a terminating zero. It
/// returns 0, or another value if it failed. It must return normally, and must not use the object
/// that calls it.
pub type OnText =
    Option<unsafe extern "C" fn(context: *mut c_void, text: *const c_char, bytes: usize) -> i32>;
