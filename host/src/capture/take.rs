//! One take of a phrase: from the countdown to what is kept of it.
//!
//! Nothing here knows a device or a clock: time is counted in samples, so a test plays a take as a
//! microphone would. While it counts down, the room's level is measured; the phrase begins where the
//! sound rises above it and ends after a pause. What is kept is cut by the same search that
//! fine-tuning uses ([`phrase_in`]), with a margin.

use super::{
    activity::{Activity, FAINTEST_DB},
    level::{Level, QUIET_DB, SILENCE_DB},
};
use crate::{
    audio::SAMPLE_RATE,
    features::{FrontendTables, NormalizationKind, log_mel, mel_powers},
    finetune::phrase_in,
};

/// Samples of the stretches whose level is followed: 10 ms, the hop of the features.
pub(crate) const FRAME: usize = SAMPLE_RATE as usize / 100;
/// Frames of one step of the countdown, of which there are [`COUNTDOWN`].
const COUNT_FRAMES: usize = 50;
/// From what the countdown counts.
pub const COUNTDOWN: usize = 3;
/// Frames of the countdown that are kept: who is quick is not cut off.
const LEAD_FRAMES: usize = 50;
/// Frames in which the phrase must begin.
const PATIENCE_FRAMES: usize = 400;
/// The longest phrase, in frames: longer than what fine-tuning keeps.
const LONGEST_FRAMES: usize = 350;
/// The phrase must rise so far above the room for a good take, in dB.
const CLEAR_DB: f32 = 10.0;
/// Frames that are kept before and after the phrase.
pub(crate) const MARGIN_FRAMES: usize = 30;
/// The shortest phrase, in seconds.
const SHORTEST_S: f64 = 0.25;
/// The longest phrase, in seconds: [`phrase_in`] cuts there.
const LONGEST_S: f64 = 2.99;

/// Where a take is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// So many counts are left, at least 1.
    Counting(usize),
    /// The phrase is expected.
    Waiting,
    /// It is being said.
    Speaking,
    /// It is over; [`Take::finish`] tells what there is.
    Over,
}

/// A take in progress.
#[derive(Clone, Debug)]
pub struct Take {
    phase: Phase,
    /// Samples that do not fill a frame yet.
    pending: Vec<i16>,
    pcm: Vec<i16>,
    /// Root mean squares of the countdown's frames.
    room: Vec<f32>,
    activity: Activity,
    /// Frames in this phase.
    frames: usize,
}

impl Default for Take {
    fn default() -> Self {
        Self::new()
    }
}

impl Take {
    /// Begins to count down.
    pub fn new() -> Self {
        Self {
            phase: Phase::Counting(COUNTDOWN),
            pending: Vec::new(),
            pcm: Vec::new(),
            room: Vec::new(),
            activity: Activity::over(SILENCE_DB),
            frames: 0,
        }
    }

    /// Where the take is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Hears more. What comes after the end of the take is ignored.
    pub fn push(&mut self, pcm: &[i16]) -> Phase {
        self.pending.extend(pcm);
        let pending = std::mem::take(&mut self.pending);
        let frames = pending.chunks_exact(FRAME);
        self.pending.extend(frames.remainder());
        for frame in frames {
            if self.phase != Phase::Over {
                self.frame(frame);
            }
        }
        self.phase
    }

    fn frame(&mut self, frame: &[i16]) {
        let level_db = Level::of(frame).rms_db;
        self.pcm.extend(frame);
        self.frames += 1;
        match self.phase {
            Phase::Counting(_) => self.count(level_db),
            Phase::Waiting => {
                if self.activity.begins(level_db) {
                    self.enter(Phase::Speaking);
                } else if self.frames >= PATIENCE_FRAMES {
                    self.enter(Phase::Over);
                }
            }
            Phase::Speaking => {
                if self.activity.ends(level_db) || self.frames >= LONGEST_FRAMES {
                    self.enter(Phase::Over);
                }
            }
            Phase::Over => {}
        }
    }

    fn count(&mut self, level_db: f32) {
        self.room.push(level_db);
        let left = COUNTDOWN.saturating_sub(self.frames / COUNT_FRAMES);
        if left > 0 {
            self.phase = Phase::Counting(left);
            return;
        }
        // The quiet half of the countdown: a cough or a key does not raise the room.
        self.room.sort_by(f32::total_cmp);
        let floor_db = self.room.get(self.room.len() / 4).copied().unwrap_or(SILENCE_DB);
        self.activity = Activity::over(floor_db);
        let kept = self.pcm.len().saturating_sub(LEAD_FRAMES * FRAME);
        self.pcm.drain(..kept);
        self.enter(Phase::Waiting);
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.frames) = (phase, 0);
    }

    /// What was recorded, cut to the phrase; none if nothing was said.
    pub fn finish(self) -> Option<Recorded> {
        (self.phase == Phase::Over).then(|| trim(&self.pcm)).flatten()
    }
}

/// What stands against a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Good,
    /// The converter's end was reached.
    Clipped,
    /// The phrase's peak is below [`QUIET_DB`].
    TooQuiet,
    /// The room is nearly as loud as the phrase.
    Noisy,
    /// The sound begins or ends within the phrase.
    CutOff,
    /// Too short for a phrase.
    TooShort,
    /// Longer than a phrase may be.
    TooLong,
}

impl Verdict {
    /// For a person, with what to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Clipped => "clipped: speak softer, or turn the microphone down",
            Self::TooQuiet => "too quiet: come nearer, or turn the microphone up",
            Self::Noisy => "the room is nearly as loud as the phrase",
            Self::CutOff => "cut off: wait for the sign, and be quiet after the phrase",
            Self::TooLong => "too long: a phrase takes less than three seconds",
            Self::TooShort => "too short: was that the phrase?",
        }
    }
}

/// A phrase, and what can be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The phrase and a margin.
    pub pcm: Vec<i16>,
    /// Its peak and whether it clipped.
    pub level: Level,
    /// Seconds of the phrase itself.
    pub phrase_s: f64,
    /// What stands against it.
    pub verdict: Verdict,
}

impl Recorded {
    /// Seconds with the margin.
    pub fn duration_s(&self) -> f64 {
        self.pcm.len() as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Cuts sound to the phrase in it and a margin of 0.3 s; none if there is no phrase.
pub fn trim(pcm: &[i16]) -> Option<Recorded> {
    let tables = FrontendTables::default();
    let frames = log_mel(&mel_powers(pcm, &tables.params(NormalizationKind::Log)));
    let phrase = phrase_in(&frames)?;
    let sample = |frame: usize| (frame * FRAME).min(pcm.len());
    let said = &pcm[sample(phrase.start)..sample(phrase.end)];
    let level = Level::of(said);
    if level.peak_db < FAINTEST_DB {
        return None;
    }
    // The quietest tenth is the room, or what it would be if nobody spoke.
    let mut levels: Vec<f32> = pcm.chunks_exact(FRAME).map(|f| Level::of(f).rms_db).collect();
    levels.sort_by(f32::total_cmp);
    let room_db = levels.get(levels.len() / 10).copied().unwrap_or(SILENCE_DB);
    let phrase_s = said.len() as f64 / f64::from(SAMPLE_RATE);
    let is_cut = phrase.start == 0 || phrase.end >= frames.len();
    let verdict = if level.is_clipped {
        Verdict::Clipped
    } else if level.peak_db < QUIET_DB {
        Verdict::TooQuiet
    } else if level.rms_db < room_db + CLEAR_DB {
        Verdict::Noisy
    } else if phrase_s > LONGEST_S {
        Verdict::TooLong
    } else if is_cut {
        Verdict::CutOff
    } else if phrase_s < SHORTEST_S {
        Verdict::TooShort
    } else {
        Verdict::Good
    };
    let from = sample(phrase.start.saturating_sub(MARGIN_FRAMES));
    let to = sample(phrase.end + MARGIN_FRAMES);
    Some(Recorded { pcm: pcm[from..to].to_vec(), level, phrase_s, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Noise of a peak, as a room or as a phrase.
    fn noise(seconds: f64, peak: i16) -> Vec<i16> {
        let mut rng = StdRng::seed_from_u64(peak as u64);
        (0..(seconds * 16_000.0) as usize).map(|_| rng.random_range(-peak..=peak)).collect()
    }

    fn take(sound: &[i16], block: usize) -> (Take, Vec<Phase>) {
        let mut take = Take::new();
        let mut phases = vec![take.phase()];
        for block in sound.chunks(block) {
            let phase = take.push(block);
            if phases.last() != Some(&phase) {
                phases.push(phase);
            }
        }
        (take, phases)
    }

    fn said(room: i16, phrase: i16) -> Vec<i16> {
        [noise(2.3, room), noise(0.8, phrase), noise(2.0, room)].concat()
    }

    #[test]
    fn a_take_runs_from_the_countdown_to_the_pause() {
        let sound = said(40, 9_000);
        for block in [1, 160, 333, 16_000] {
            let (take, phases) = take(&sound, block);
            if block < 1_000 {
                use Phase::{Counting, Over, Speaking, Waiting};
                let all = [Counting(3), Counting(2), Counting(1), Waiting, Speaking, Over];
                assert_eq!(phases, all, "blocks of {block}");
            }
            let recorded = take.finish().unwrap();
            assert_eq!(recorded.verdict, Verdict::Good);
            assert!((recorded.phrase_s - 0.8).abs() < 0.05, "{}", recorded.phrase_s);
            assert!((recorded.duration_s() - 1.4).abs() < 0.06, "{}", recorded.duration_s());
        }
    }

    #[test]
    fn who_speaks_within_the_last_count_is_not_cut_off() {
        let sound = [noise(1.2, 40), noise(0.8, 9_000), noise(2.0, 40)].concat();
        let recorded = take(&sound, 160).0.finish().unwrap();
        assert_eq!(recorded.verdict, Verdict::Good);
        assert!((recorded.phrase_s - 0.8).abs() < 0.05, "{}", recorded.phrase_s);
    }

    #[test]
    fn silence_is_no_take_and_a_take_that_is_broken_off_is_none() {
        for room in [0, 3, 200] {
            let (take, phases) = take(&noise(8.0, room), 160);
            assert_eq!(phases.last(), Some(&Phase::Over), "a room of {room}");
            assert!(!phases.contains(&Phase::Speaking), "a room of {room}");
            if room < 20 {
                assert_eq!(take.finish(), None, "a room of {room}");
            }
        }
        assert_eq!(take(&said(40, 9_000)[..16_000 * 3], 160).0.finish(), None);
    }

    #[test]
    fn what_never_ends_is_ended() {
        let sound = [noise(2.0, 40), noise(9.0, 9_000)].concat();
        let (take, phases) = take(&sound, 160);
        assert_eq!(phases.last(), Some(&Phase::Over));
        assert_eq!(take.finish().unwrap().verdict, Verdict::TooLong);
    }

    #[test]
    fn faults_are_told() {
        let verdict = |sound: &[i16]| trim(sound).map(|r| r.verdict);
        assert_eq!(verdict(&said(2, 300)), Some(Verdict::TooQuiet));
        assert_eq!(verdict(&said(3_000, 5_000)), Some(Verdict::Noisy));
        let loud: Vec<i16> = said(40, 16_000).iter().map(|&s| s.saturating_mul(4)).collect();
        assert_eq!(verdict(&loud), Some(Verdict::Clipped));
        assert_eq!(
            verdict(&[noise(1.0, 40), noise(0.16, 9_000), noise(1.0, 40)].concat()),
            Some(Verdict::TooShort)
        );
        assert_eq!(verdict(&[noise(0.8, 9_000), noise(1.0, 40)].concat()), Some(Verdict::CutOff));
        assert_eq!(verdict(&[]), None);
    }
}
