//! Result of each function, and its text.

use core::ffi::CStr;

use wakeling_shared::model::LoadError;

/// Result of a function. Zero and positive values are no errors.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// No detection is waiting.
    NoDetection = 1,
    /// A pointer is null.
    Null = -1,
    /// The memory for the object is shorter than `wakeling_object_bytes()`.
    ObjectSize = -2,
    /// The memory for the object is not at a multiple of `WAKELING_OBJECT_ALIGNMENT`.
    ObjectAlignment = -3,
    /// The object holds no loaded model.
    NotLoaded = -4,
    /// `wakeling_start` was not called, or failed.
    NotStarted = -5,
    /// A callback called a function on the object that is calling it.
    Busy = -6,
    /// The arena is shorter than `wakeling_info.arena_bytes`.
    ArenaSize = -7,
    /// A count of samples or bytes is larger than memory can be.
    Count = -8,
    /// The model has no keyword with this index.
    Keyword = -9,
    /// The keyword has no operating point with this index.
    Point = -10,
    /// The sensitivity is no value of `wakeling_sensitivity`.
    Sensitivity = -11,
    /// The text does not fit. The buffer holds its first part, and a terminating zero.
    TextSize = -12,
    /// More detections were waiting than the queue holds, and the oldest were dropped.
    QueueFull = -13,
    /// The callback for event lines returned an error. The samples after the line were not
    /// processed as a whole; call `wakeling_reset`.
    Write = -14,
    /// The samples are not at an even address.
    SampleAlignment = -15,
    /// The model has fewer bytes than its header names.
    ModelTruncated = -32,
    /// The bytes are no Wakeling model.
    ModelMagic = -33,
    /// The model has a format version that this library does not read.
    ModelVersion = -34,
    /// The model has a flag that this library does not define, such as a signature.
    ModelFlags = -35,
    /// The model is for images, not for sound.
    ModelKind = -36,
    /// The model is not at a multiple of `WAKELING_MODEL_ALIGNMENT`.
    ModelAlignment = -37,
    /// The model is damaged: checksum and content disagree.
    ModelChecksum = -38,
    /// The description inside the model cannot be read.
    ModelDescription = -39,
    /// The values of the model contradict each other.
    ModelShape = -40,
}

impl Status {
    /// Every status.
    ///
    /// cbindgen:ignore
    const ALL: [Self; 26] = [
        Self::Ok,
        Self::NoDetection,
        Self::Null,
        Self::ObjectSize,
        Self::ObjectAlignment,
        Self::NotLoaded,
        Self::NotStarted,
        Self::Busy,
        Self::ArenaSize,
        Self::Count,
        Self::Keyword,
        Self::Point,
        Self::Sensitivity,
        Self::TextSize,
        Self::QueueFull,
        Self::Write,
        Self::SampleAlignment,
        Self::ModelTruncated,
        Self::ModelMagic,
        Self::ModelVersion,
        Self::ModelFlags,
        Self::ModelKind,
        Self::ModelAlignment,
        Self::ModelChecksum,
        Self::ModelDescription,
        Self::ModelShape,
    ];

    /// Returns the status with this value.
    pub fn of(value: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i32 == value)
    }

    /// English text of the status: the problem, and what helps.
    pub const fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"success",
            Self::NoDetection => c"no detection is waiting",
            Self::Null => c"a pointer is null",
            Self::ObjectSize => {
                c"the memory for the object is too short: WAKELING_OBJECT_BYTES are needed"
            }
            Self::ObjectAlignment => {
                c"the memory for the object is misaligned: declare it as wakeling_object"
            }
            Self::NotLoaded => c"no model is loaded: call wakeling_load first",
            Self::NotStarted => c"detection has not started: call wakeling_start first",
            Self::Busy => c"a callback called a function on the object that is calling it",
            Self::ArenaSize => {
                c"the arena is too short: the model needs arena_bytes of wakeling_info"
            }
            Self::Count => c"the count is larger than memory can be",
            Self::Keyword => c"the model has no keyword with this index",
            Self::Point => c"the keyword has no operating point with this index",
            Self::Sensitivity => c"unknown sensitivity: strict, normal and eager are defined",
            Self::TextSize => c"the buffer is too short for the text",
            Self::QueueFull => c"detections were dropped: call wakeling_poll after every push",
            Self::Write => c"the callback for event lines returned an error",
            Self::SampleAlignment => c"the samples are not at an even address",
            Self::ModelTruncated => c"the model is truncated",
            Self::ModelMagic => c"not a Wakeling model: it does not begin with WKLG",
            Self::ModelVersion => c"the model has a format version that this library does not read",
            Self::ModelFlags => c"the model has unknown flags",
            Self::ModelKind => c"the model is for images, not for sound",
            Self::ModelAlignment => {
                c"the model is misaligned: WAKELING_MODEL_ALIGNMENT bytes are needed"
            }
            Self::ModelChecksum => c"the model is damaged: checksum and content disagree",
            Self::ModelDescription => c"the description inside the model cannot be read",
            Self::ModelShape => c"the values of the model contradict each other",
        }
    }
}

impl From<LoadError> for Status {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Truncated { .. } => Self::ModelTruncated,
            LoadError::Magic => Self::ModelMagic,
            LoadError::Version { .. } => Self::ModelVersion,
            LoadError::Flags { .. } => Self::ModelFlags,
            LoadError::Kind { .. } => Self::ModelKind,
            LoadError::Alignment { .. } => Self::ModelAlignment,
            LoadError::Checksum { .. } => Self::ModelChecksum,
            LoadError::Lengths
            | LoadError::Body
            | LoadError::Trailing { .. }
            | LoadError::Arrays { .. } => Self::ModelDescription,
            LoadError::Shape(_) => Self::ModelShape,
        }
    }
}

/// Status of a step that can fail.
pub(crate) type StatusResult<T = ()> = Result<T, Status>;

/// Returns the status of a result.
pub(crate) fn of(result: StatusResult) -> Status {
    match result {
        Ok(()) => Status::Ok,
        Err(status) => status,
    }
}
