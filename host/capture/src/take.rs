//! One take of a phrase, from the countdown to the trimmed recording.
//!
//! This module uses no device and no clock. Time is counted in samples, so a test plays a take as a
//! microphone would. The room's level is measured during the countdown. The phrase begins where the
//! sound rises above it and ends after a pause. The recording is trimmed by the same search that
//! fine-tuning uses ([`phrase_in`]), with a margin.

use std::ops::Range;

use wakeling_audio::{
    SAMPLE_RATE,
    activity::{Activity, FAINTEST_DB, FRAME, MARGIN_FRAMES},
    features::{FrontendTables, NormalizationKind, log_mel, mel_powers},
    level::{Level, QUIET_DB, SILENCE_DB},
    phrase_span::phrase_in,
};

/// Number of countdown frames that are kept, so that an early speaker is not cut off.
const LEAD_FRAMES: usize = 50;
/// Number of frames after the countdown in which a signal tone may arrive. A loudspeaker and its
/// driver take some tenths of a second.
const TONE_FRAMES: usize = 100;
/// Number of frames after the countdown that are dropped, since the terminal's bell may sound in
/// them.
const BELL_FRAMES: usize = 25;
/// Frequency of the signal tone in Hz.
const TONE_HZ: f32 = 1_760.0;
/// Number of samples of the signal tone: 0.12 s.
const TONE_SAMPLES: usize = 1_920;
/// Smallest share of a frame's energy at which it is the tone and not speech.
const TONE_SHARE: f32 = 0.6;
/// Smallest share of 80 ms of a phrase at which it contains the tone.
const MIXED_SHARE: f32 = 0.15;
/// Number of frames after which a phrase is ended: longer than what fine-tuning keeps.
const LONGEST_FRAMES: usize = 350;
/// Smallest rise of the phrase above the room for a good take, in dB.
const CLEAR_DB: f32 = 10.0;
/// Shortest phrase, in seconds.
const SHORTEST_S: f64 = 0.25;
/// Longest phrase, in seconds; [`phrase_in`] cuts there.
const LONGEST_S: f64 = 2.99;

/// State of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Countdown, with the number of counts left, at least 1.
    Counting(usize),
    /// Waiting for the phrase.
    Waiting,
    /// The phrase is being spoken.
    Speaking,
    /// The take is over; [`Take::finish`] returns the recording.
    Over,
}

/// Times of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Number of counts in the countdown.
    pub counts: usize,
    /// Frames per count.
    count_frames: usize,
    /// Number of frames within which the phrase must begin.
    patience_frames: usize,
}

impl Timing {
    /// Times for a speaker at the microphone: 1.5 s of countdown, and 4 s to begin.
    pub const NEAR: Self = Self { counts: 3, count_frames: 50, patience_frames: 400 };
    /// Times for a speaker who has to walk: 8 s of countdown, and 6 s to begin.
    pub const FAR: Self = Self { counts: 8, count_frames: 100, patience_frames: 600 };

    /// Length of the countdown in seconds.
    pub fn countdown_s(&self) -> f64 {
        (self.counts * self.count_frames * FRAME) as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Sound that signals that the phrase is due. The microphone records it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// [`tone`] from the loudspeaker. Its frames are detected by their frequency and dropped.
    Tone,
    /// The terminal's bell, whose sound is unknown. A quarter of a second is dropped.
    Bell,
}

/// Signal tone: 0.12 s of a sine that swells and fades, at a quarter of full scale.
pub fn tone() -> Vec<i16> {
    let sample = |i: usize| {
        let edge = i.min(TONE_SAMPLES - 1 - i) as f32 / (TONE_SAMPLES / 8) as f32;
        let phase = std::f32::consts::TAU * TONE_HZ * i as f32 / SAMPLE_RATE as f32;
        (8_192.0 * edge.min(1.0) * phase.sin()) as i16
    };
    (0..TONE_SAMPLES).map(sample).collect()
}

/// Share of the energy at the tone's frequency (one bin of a discrete Fourier transform), 0 to 1.
fn tone_share(samples: &[i16]) -> f32 {
    let (mut re, mut im, mut energy) = (0f64, 0f64, 0f64);
    for (i, &sample) in samples.iter().enumerate() {
        let turns = f64::from(TONE_HZ) * i as f64 / f64::from(SAMPLE_RATE);
        let (sin, cos) = (std::f64::consts::TAU * turns.fract()).sin_cos();
        let x = f64::from(sample);
        (re, im, energy) = (re + x * cos, im + x * sin, energy + x * x);
    }
    if energy == 0.0 {
        return 0.0;
    }
    // For a pure tone, half of the energy is in this bin and half in its mirror.
    (2.0 * (re * re + im * im) / (energy * samples.len() as f64)) as f32
}

/// Returns true if a frame is mostly the signal tone.
fn is_tone(frame: &[i16]) -> bool {
    tone_share(frame) > TONE_SHARE
}

/// Returns true if a phrase contains the signal tone. Over 80 ms the bin is so narrow that a voice,
/// whose pitch moves, has little energy in it.
fn has_tone(phrase_pcm: &[i16]) -> bool {
    phrase_pcm.windows(8 * FRAME).step_by(4 * FRAME).any(|window| tone_share(window) > MIXED_SHARE)
}

/// Take in progress.
///
/// ```
/// use wakeling_capture::take::{Phase, Take, Verdict};
///
/// let sound = |level: f32, samples: usize| (0..samples).map(|n| (level * (n as f32 * 0.3).sin()) as i16).collect::<Vec<_>>();
/// let mut take = Take::new();
/// assert_eq!(take.push(&sound(20.0, 16_000)), Phase::Counting(1)); // a quiet room
/// take.push(&sound(20.0, 16_000));
/// take.push(&sound(8_000.0, 12_000)); // the phrase
/// assert_eq!(take.push(&sound(20.0, 16_000)), Phase::Over); // a pause ends it
/// let recorded = take.finish().unwrap();
/// assert_eq!(recorded.verdict, Verdict::Good);
/// assert!((recorded.phrase_s - 0.75).abs() < 0.1);
/// ```
#[derive(Clone, Debug)]
pub struct Take {
    timing: Timing,
    signal: Option<Signal>,
    phase: Phase,
    /// Samples that do not fill a frame yet.
    pending: Vec<i16>,
    pcm: Vec<i16>,
    /// Root mean squares of the countdown's frames, in dBFS.
    room: Vec<f32>,
    activity: Activity,
    /// Number of frames in this phase.
    frames: usize,
}

impl Default for Take {
    fn default() -> Self {
        Self::new()
    }
}

impl Take {
    /// Starts a countdown for a speaker at the microphone.
    pub fn new() -> Self {
        Self::with(Timing::NEAR)
    }

    /// Starts a countdown.
    pub fn with(timing: Timing) -> Self {
        Self {
            timing,
            signal: None,
            phase: Phase::Counting(timing.counts),
            pending: Vec::new(),
            pcm: Vec::new(),
            room: Vec::new(),
            activity: Activity::over(SILENCE_DB),
            frames: 0,
        }
    }

    /// Returns the state of the take.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Expects a signal in what the microphone records from now on, and drops it. Speech before the
    /// signal is dropped as well.
    pub fn expect(&mut self, signal: Signal) {
        self.signal = Some(signal);
    }

    /// Takes the next sound. Sound after the end of the take is ignored.
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
            Phase::Waiting if self.is_signal(frame) => {
                self.pcm.clear();
                self.activity.restart();
            }
            Phase::Waiting => {
                if self.activity.begins(level_db) {
                    self.enter(Phase::Speaking);
                } else if self.frames >= self.timing.patience_frames {
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

    fn is_signal(&self, frame: &[i16]) -> bool {
        match self.signal {
            None => false,
            Some(Signal::Tone) => self.frames <= TONE_FRAMES && is_tone(frame),
            Some(Signal::Bell) => self.frames <= BELL_FRAMES,
        }
    }

    fn count(&mut self, level_db: f32) {
        self.room.push(level_db);
        let left = self.timing.counts.saturating_sub(self.frames / self.timing.count_frames);
        if left > 0 {
            self.phase = Phase::Counting(left);
            return;
        }
        // The lower quartile of the countdown, so that a cough or a key does not raise the room's
        // level.
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

    /// Returns the recording, trimmed to the phrase; none if the take is not over or holds no
    /// phrase.
    pub fn finish(self) -> Option<Recorded> {
        let mut recorded = (self.phase == Phase::Over).then(|| trim(&self.pcm)).flatten()?;
        if self.signal == Some(Signal::Tone) && has_tone(recorded.phrase_pcm()) {
            recorded.verdict = Verdict::Early;
        }
        Some(recorded)
    }
}

/// Assessment of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No objection.
    Good,
    /// Samples reach the converter's limit.
    Clipped,
    /// The phrase's peak is below [`QUIET_DB`].
    TooQuiet,
    /// The room is nearly as loud as the phrase.
    Noisy,
    /// The sound begins or ends within the phrase.
    CutOff,
    /// The phrase began before the signal ended, so the recording contains both.
    Early,
    /// Too short for a phrase.
    TooShort,
    /// Longer than a phrase may be.
    TooLong,
}

impl Verdict {
    /// Returns a message for the user, with what to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Clipped => "clipped: speak softer, or turn the microphone down",
            Self::TooQuiet => "too quiet: come nearer, or turn the microphone up",
            Self::Noisy => "the room is nearly as loud as the phrase",
            Self::CutOff => "cut off: wait for the sign, and be quiet after the phrase",
            Self::Early => "too early: the tone is in it; wait for its end",
            Self::TooLong => "too long: a phrase takes less than three seconds",
            Self::TooShort => "too short: was that the phrase?",
        }
    }
}

/// Trimmed phrase with its measurements.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Samples of the phrase and a margin.
    pub pcm: Vec<i16>,
    /// Level of the phrase itself.
    pub level: Level,
    /// Length of the phrase itself in seconds.
    pub phrase_s: f64,
    /// Position of the phrase in `pcm`, in samples.
    phrase: Range<usize>,
    /// Assessment of the take.
    pub verdict: Verdict,
}

impl Recorded {
    /// Returns the phrase without the margin.
    fn phrase_pcm(&self) -> &[i16] {
        &self.pcm[self.phrase.clone()]
    }

    /// Returns the length with the margin in seconds.
    pub fn duration_s(&self) -> f64 {
        self.pcm.len() as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Trims sound to the phrase in it and a margin of 0.3 s; none if there is no phrase.
pub fn trim(pcm: &[i16]) -> Option<Recorded> {
    let tables = FrontendTables::default();
    let frames = log_mel(&mel_powers(pcm, &tables.params(NormalizationKind::Log)));
    let phrase = phrase_in(&frames)?;
    let sample = |frame: usize| (frame * FRAME).min(pcm.len());
    let phrase_pcm = &pcm[sample(phrase.start)..sample(phrase.end)];
    let level = Level::of(phrase_pcm);
    if level.peak_db < FAINTEST_DB {
        return None;
    }
    // The quietest tenth approximates the level of the room without speech.
    let mut levels: Vec<f32> = pcm.chunks_exact(FRAME).map(|f| Level::of(f).rms_db).collect();
    levels.sort_by(f32::total_cmp);
    let room_db = levels.get(levels.len() / 10).copied().unwrap_or(SILENCE_DB);
    let phrase_s = phrase_pcm.len() as f64 / f64::from(SAMPLE_RATE);
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
    let phrase = sample(phrase.start) - from..sample(phrase.end) - from;
    Some(Recorded { pcm: pcm[from..to].to_vec(), level, phrase_s, phrase, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Noise of the given peak, as a room or as a phrase.
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

    fn take_pcm(room: i16, phrase: i16) -> Vec<i16> {
        [noise(2.3, room), noise(0.8, phrase), noise(2.0, room)].concat()
    }

    #[test]
    fn a_take_runs_from_the_countdown_to_the_pause() {
        let sound = take_pcm(40, 9_000);
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
    fn far_takes_wait_longer() {
        let seconds = |timing: Timing| (timing.countdown_s(), timing.patience_frames / 100);
        assert_eq!((seconds(Timing::NEAR), seconds(Timing::FAR)), ((1.5, 4), (8.0, 6)));
        let sound = [noise(13.0, 40), noise(0.8, 9_000), noise(2.0, 40)].concat();
        let mut far = Take::with(Timing::FAR);
        far.push(&sound);
        assert_eq!(far.finish().unwrap().verdict, Verdict::Good);
        // The other timing has ended by then.
        let near = take(&sound, 160).0.finish();
        assert!(near.is_none_or(|r| r.verdict != Verdict::Good));
    }

    /// Records a phrase that begins `after` seconds after a tone, which begins `late` seconds after
    /// the countdown.
    fn signalled(late: f64, after: f64, signal: Option<Signal>) -> Option<Recorded> {
        let sound =
            [noise(1.5 + late, 40), tone(), noise(after, 40), noise(0.8, 9_000), noise(2.0, 40)];
        let mut take = Take::new();
        for block in sound.concat().chunks(640) {
            if take.push(block) == Phase::Waiting
                && let Some(signal) = signal
            {
                take.expect(signal);
            }
        }
        take.finish()
    }

    #[test]
    fn the_signal_is_no_part_of_a_take() {
        for (late, after) in [(0.02, 0.3), (0.1, 0.15), (0.4, 0.5), (0.8, 1.0)] {
            let recorded = signalled(late, after, Some(Signal::Tone)).unwrap();
            assert_eq!(recorded.verdict, Verdict::Good, "{late} s and {after} s");
            assert!((recorded.phrase_s - 0.8).abs() < 0.05, "{}", recorded.phrase_s);
            assert!(!recorded.pcm.chunks_exact(FRAME).any(is_tone), "{late} s and {after} s");
        }
        assert_eq!(signalled(0.02, 0.3, Some(Signal::Bell)).unwrap().verdict, Verdict::Good);
        // Without a signal to expect, the tone is kept as speech.
        let tone_kept = |r: &Recorded| r.pcm.chunks_exact(FRAME).any(is_tone);
        assert!(signalled(0.4, 0.5, None).is_none_or(|r| tone_kept(&r) || r.phrase_s > 0.9));
    }

    #[test]
    fn a_phrase_over_the_tone_is_early_and_voices_are_not_taken_for_it() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/test");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in paths.filter(|path| path.extension().is_some_and(|e| e == "ogg")) {
            let mut pcm = wakeling_audio::read(&path).unwrap();
            assert!(!has_tone(&pcm), "{}", path.display());
            // The tone at half its playback level, in the middle of the phrase.
            let middle = pcm.len() / 2;
            pcm[middle..].iter_mut().zip(tone()).for_each(|(s, t)| *s = s.saturating_add(t / 2));
            assert!(has_tone(&pcm), "{}", path.display());
        }
        let quiet = noise(1.5, 40);
        let mut sound = [quiet.clone(), noise(0.8, 9_000), noise(2.0, 40)].concat();
        sound[28_000..].iter_mut().zip(tone()).for_each(|(s, t)| *s = s.saturating_add(t));
        let mut take = Take::new();
        for block in sound.chunks(640) {
            if !matches!(take.push(block), Phase::Counting(_)) {
                take.expect(Signal::Tone);
            }
        }
        assert_eq!(take.finish().unwrap().verdict, Verdict::Early);
    }

    #[test]
    fn only_the_tone_is_a_tone() {
        let tone = tone();
        assert!(tone[480..1_440].chunks_exact(FRAME).all(is_tone));
        assert!(!is_tone(&[0; FRAME]) && !is_tone(&noise(0.01, 9_000)));
        // A voice of 176 Hz has a harmonic there, among others.
        let voice: Vec<i16> = (0..16_000)
            .map(|i| {
                let phase = std::f32::consts::TAU * 176.0 * i as f32 / 16_000.0;
                (1..=12).map(|n| 2_000.0 * (phase * n as f32).sin()).sum::<f32>() as i16
            })
            .collect();
        assert!(!voice.chunks_exact(FRAME).any(is_tone));
    }

    #[test]
    fn speech_within_the_last_count_is_not_cut_off() {
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
        assert_eq!(take(&take_pcm(40, 9_000)[..16_000 * 3], 160).0.finish(), None);
    }

    #[test]
    fn stops_a_program_that_never_ends() {
        let sound = [noise(2.0, 40), noise(9.0, 9_000)].concat();
        let (take, phases) = take(&sound, 160);
        assert_eq!(phases.last(), Some(&Phase::Over));
        assert_eq!(take.finish().unwrap().verdict, Verdict::TooLong);
    }

    #[test]
    fn reports_mic_issues() {
        let verdict = |sound: &[i16]| trim(sound).map(|r| r.verdict);
        assert_eq!(verdict(&take_pcm(2, 300)), Some(Verdict::TooQuiet));
        assert_eq!(verdict(&take_pcm(3_000, 5_000)), Some(Verdict::Noisy));
        let loud: Vec<i16> = take_pcm(40, 16_000).iter().map(|&s| s.saturating_mul(4)).collect();
        assert_eq!(verdict(&loud), Some(Verdict::Clipped));
        assert_eq!(
            verdict(&[noise(1.0, 40), noise(0.16, 9_000), noise(1.0, 40)].concat()),
            Some(Verdict::TooShort)
        );
        assert_eq!(verdict(&[noise(0.8, 9_000), noise(1.0, 40)].concat()), Some(Verdict::CutOff));
        assert_eq!(verdict(&[]), None);
    }
}
