//! Time in the device flow: samples, frames and steps.
//!
//! | unit | length | |
//! |---|---|---|
//! | sample | 1 / 16,000 s | mono `i16` |
//! | frame | a window of 480 samples (30 ms), every 160 samples (10 ms) | 40 features |
//! | step | 1 … 16 frames, by the model | one logit per keyword |
//!
//! Every rate and length in the project is defined here or derived from these constants.

/// Sample rate of the audio, in Hz.
pub const SAMPLE_RATE_HZ: usize = 16_000;
/// Length of a frame's window, in samples: 30 ms.
pub const WINDOW_SAMPLES: usize = 480;
/// Distance between two frames, in samples: 10 ms.
pub const HOP_SAMPLES: usize = 160;
/// Frames per second of audio.
pub const FRAMES_PER_SECOND: usize = SAMPLE_RATE_HZ / HOP_SAMPLES;
/// Largest number of frames in a step.
pub const MAX_FRAMES_PER_STEP: u8 = 16;

/// Returns the position of the end of frame number `frames`, counted from 1, in samples.
///
/// ```
/// use wakeling_shared::timebase::{WINDOW_SAMPLES, frame_end};
/// assert_eq!(frame_end(1), WINDOW_SAMPLES as u64);
/// assert_eq!(frame_end(101), 16_480);
/// ```
pub const fn frame_end(frames: u64) -> u64 {
    let hops = frames.wrapping_sub(1).wrapping_mul(HOP_SAMPLES as u64);
    hops.wrapping_add(WINDOW_SAMPLES as u64)
}
