//! Detects the beginning and the end of speech by its level above the room's.

use crate::SAMPLE_RATE;

/// Number of samples per measured frame: 10 ms, the hop of the features.
pub const FRAME: usize = SAMPLE_RATE as usize / 100;
/// Number of frames that are kept before and after the phrase.
pub const MARGIN_FRAMES: usize = 30;
/// Number of the last [`ONSET_WINDOW`] frames that must rise above the room for speech to begin.
const ONSET_FRAMES: usize = 4;
/// Number of frames in which an onset is searched: four of them must rise above the room.
pub const ONSET_WINDOW: usize = 6;
/// Number of quiet frames that end a phrase.
pub const PAUSE_FRAMES: usize = 70;
/// Rise of speech above the room, in dB.
const RISE_DB: f32 = 9.0;
/// Lowest level of speech in dBFS, however quiet the room is.
pub const FAINTEST_DB: f32 = -60.0;

/// Detector of the beginning and the end of speech over a room of known level, in frames of 10 ms.
///
/// ```
/// use wakeling_audio::activity::Activity;
///
/// let mut activity = Activity::over(-60.0); // a quiet room, in dBFS
/// let levels = [vec![-60.0; 50], vec![-20.0; 40], vec![-60.0; 80]].concat(); // in 10 ms
/// let start = levels.iter().position(|&level| activity.begins(level)).unwrap();
/// let length = levels[start..].iter().position(|&level| activity.ends(level)).unwrap();
/// assert_eq!((start, start + length), (53, 159)); // a pause of 0.7 s ends the phrase
/// ```
#[derive(Clone, Debug)]
pub struct Activity {
    floor_db: f32,
    /// Flags of the last frames, set if a frame rose above the room; newest in the lowest bit.
    risen: u8,
    quiet_frames: usize,
}

impl Activity {
    /// Creates a detector in the state before speech, over a room of that level in dBFS.
    pub fn over(floor_db: f32) -> Self {
        Self { floor_db, risen: 0, quiet_frames: 0 }
    }

    /// Discards the frames so far.
    pub fn restart(&mut self) {
        (self.risen, self.quiet_frames) = (0, 0);
    }

    /// Takes the level of the next frame before speech; returns true if speech has begun.
    pub fn begins(&mut self, level_db: f32) -> bool {
        let is_risen = level_db > (self.floor_db + RISE_DB).max(FAINTEST_DB);
        self.risen = (self.risen << 1 | u8::from(is_risen)) & ((1 << ONSET_WINDOW) - 1);
        self.risen.count_ones() as usize >= ONSET_FRAMES
    }

    /// Takes the level of the next frame of speech; returns true if a pause has ended it.
    pub fn ends(&mut self, level_db: f32) -> bool {
        let is_quiet = level_db < (self.floor_db + 0.6 * RISE_DB).max(FAINTEST_DB);
        self.quiet_frames = if is_quiet { self.quiet_frames + 1 } else { 0 };
        self.quiet_frames >= PAUSE_FRAMES
    }
}
