//! Recording session: prompts, takes, and the result of each.
//!
//! It runs on any microphone, loudspeaker and screen, so tests run it without a device.

use std::time::Duration;

use super::{
    device::{Loudspeaker, Microphone},
    folder::{ClipMetadata, Folder},
    take::{Phase, Recorded, Signal, Take, Timing, Verdict, tone},
};
use crate::{
    terminal::{Key, Screen},
    view::{Line, View},
};
use wakeling_audio::{SAMPLE_RATE, level::Meter};
use wakeling_core::console::{self, Style};

use crate::{Error, Result};

/// Time that one poll of the microphone and the keys takes.
const TICK: Duration = Duration::from_millis(40);
/// Time from the start of a phrase until its level is judged.
const ONSET: Duration = Duration::from_millis(400);
/// Number of silent takes in a row after which an unattended session gives up.
const MOST_SILENT: usize = 5;
/// Seconds of a file of room sound, the most that a power failure loses.
const ROOM_FILE_S: usize = 30;

/// Styles of speech, take by take: a word for the manifest, and the prompt.
pub const STYLES: [(&str, &str); 9] = [
    ("plain", "as you would say it every day"),
    ("near", "close to the microphone, a hand's width away"),
    ("far", "from across the room"),
    ("fast", "fast"),
    ("slow", "slowly"),
    ("soft", "softly, but do not whisper"),
    ("loud", "loudly, as if from another room"),
    ("away", "with your back to the microphone"),
    (
        "other",
        "another person, if one is there (key s for the name); else in a higher or a lower voice",
    ),
];

/// Style for which the speaker has to walk away from the microphone.
pub const FAR: &str = "far";

/// Settings of a session.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Phrase to record.
    pub phrase: String,
    /// Number of takes, including those already in the folder.
    pub takes: usize,
    /// Name of the speaker; empty if unknown.
    pub speaker: String,
    /// Keep good takes and repeat the others, without a question.
    pub keep_good: bool,
    /// Play no signal when the phrase is due.
    pub quiet: bool,
}

/// Result of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of takes kept in this session.
    pub kept: usize,
    /// Number of takes in the folder.
    pub total: usize,
}

/// Devices of a session.
pub struct Devices<'a> {
    /// Source of sound.
    pub microphone: &'a mut dyn Microphone,
    /// Output for takes and signals.
    pub loudspeaker: &'a mut dyn Loudspeaker,
    /// Display and keys.
    pub screen: &'a mut dyn Screen,
}

/// Records until there are as many takes as planned, or the user stops.
///
/// # Errors
/// Those of the microphone; [`Error::SilentTakes`] if several takes in a row of an unattended session
/// are silent; [`Error::Core`] if an unattended session cannot write a take.
pub fn record(devices: &mut Devices<'_>, folder: &mut Folder, plan: &Plan) -> Result<Summary> {
    let before = folder.count(&plan.phrase);
    let mut session = Session {
        devices,
        folder,
        plan: plan.clone(),
        meter: Meter::default(),
        silent: 0,
        has_loudspeaker: true,
        was_far: false,
    };
    let mut next = if plan.keep_good { Next::Take } else { Next::Ready };
    while session.taken() < plan.takes {
        next = match next {
            Next::Ready => session.ready()?,
            Next::Take => session.take()?,
            Next::Stop => break,
        };
    }
    let total = folder.count(&plan.phrase);
    Ok(Summary { kept: total - before, total })
}

enum Next {
    /// Wait for a key before the take.
    Ready,
    /// Count down.
    Take,
    /// The user has stopped.
    Stop,
}

struct Session<'s, 'd> {
    devices: &'s mut Devices<'d>,
    folder: &'s mut Folder,
    plan: Plan,
    meter: Meter,
    silent: usize,
    /// False once the loudspeaker has failed.
    has_loudspeaker: bool,
    /// True if the last take was spoken from across the room.
    was_far: bool,
}

const READY_KEYS: &[(&str, &str)] = &[("enter", "starts"), ("s", "speaker"), ("q", "stops")];
const TAKE_KEYS: &[(&str, &str)] = &[("space", "pauses"), ("q", "stops")];
const KEEP_KEYS: &[(&str, &str)] =
    &[("enter or k", "keeps"), ("r", "again"), ("p", "plays"), ("s", "speaker"), ("q", "stops")];
const REDO_KEYS: &[(&str, &str)] =
    &[("enter or r", "again"), ("k", "keeps all the same"), ("p", "plays"), ("q", "stops")];
const SILENT_KEYS: &[(&str, &str)] = &[("enter or r", "again"), ("q", "stops")];

impl Session<'_, '_> {
    fn taken(&self) -> usize {
        self.folder.count(&self.plan.phrase)
    }

    fn style(&self) -> (&'static str, &'static str) {
        STYLES[self.taken() % STYLES.len()]
    }

    /// Returns the times of the next take. An unattended session needs time for the way back, too.
    fn timing(&self) -> Timing {
        let is_far = self.style().0 == FAR || (self.was_far && self.plan.keep_good);
        if is_far { Timing::FAR } else { Timing::NEAR }
    }

    fn prompt(&self, timing: Timing) -> String {
        let prompt = format!("Say it {}.", self.style().1);
        match timing {
            Timing::FAR => {
                format!("{prompt} Walk there during the {:.0} s countdown.", timing.countdown_s())
            }
            _ => prompt,
        }
    }

    fn view(&self, body: Vec<Line>, keys: &'static [(&'static str, &'static str)]) -> View {
        let Plan { phrase, takes, speaker, .. } = &self.plan;
        let who = if speaker.is_empty() { String::new() } else { format!(" · {speaker}") };
        let title = format!("\"{phrase}\" · take {} of {takes}{who}", self.taken() + 1);
        let level = Some(self.meter.level());
        View { title, body, level, keys, ..View::default() }
    }

    /// Shows a question until a key answers it, and keeps the meter running.
    fn answer(
        &mut self,
        body: &[Line],
        keys: &'static [(&'static str, &'static str)],
    ) -> Result<Key> {
        loop {
            let view = View { is_question: true, ..self.view(body.to_vec(), keys) };
            self.devices.screen.show(&view)?;
            if let Some(key) = self.devices.screen.key(Duration::ZERO)? {
                return Ok(key);
            }
            let pcm = self.devices.microphone.read(TICK)?;
            self.meter.push(&pcm);
        }
    }

    fn ready(&mut self) -> Result<Next> {
        let name = self.devices.microphone.name();
        let listening = format!("Listening to {name}. A countdown comes first.");
        let body = [self.prompt(self.timing()).into(), Line::of(Style::Dim, listening)];
        Ok(match self.answer(&body, READY_KEYS)? {
            Key::Enter | Key::Char(' ') => Next::Take,
            Key::Char('s') => {
                self.ask_speaker()?;
                Next::Ready
            }
            Key::Char('q') | Key::End => Next::Stop,
            Key::Char(_) => Next::Ready,
        })
    }

    fn ask_speaker(&mut self) -> Result<()> {
        if let Some(name) = self.devices.screen.ask("Speaker", &self.plan.speaker)? {
            self.plan.speaker = name;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Next> {
        // Discards what was recorded since the last take.
        self.devices.microphone.read(Duration::ZERO)?;
        self.devices.microphone.has_gaps();
        let timing = self.timing();
        let prompt = self.prompt(timing);
        self.was_far = self.style().0 == FAR;
        let mut take = Take::with(timing);
        let (mut is_due, mut spoken) = (false, Duration::ZERO);
        loop {
            let pcm = self.devices.microphone.read(TICK)?;
            self.meter.push(&pcm);
            let phase = take.push(&pcm);
            if phase == Phase::Over {
                break;
            }
            let sign = match phase {
                Phase::Counting(left) => Line::of(Style::Title, format!("{left} …")),
                Phase::Waiting => Line::of(Style::Accent, "NOW"),
                Phase::Speaking | Phase::Over => Line::of(Style::Good, "NOW · detected"),
            };
            if phase == Phase::Speaking {
                spoken += TICK;
            }
            let view = self.view(vec![prompt.clone().into(), sign], TAKE_KEYS);
            self.devices.screen.show(&View { is_speaking: spoken >= ONSET, ..view })?;
            if phase == Phase::Waiting && !std::mem::replace(&mut is_due, true) {
                self.signal(&mut take)?;
            }
            match self.devices.screen.key(Duration::ZERO)? {
                Some(Key::Char(' ')) => return Ok(Next::Ready),
                Some(Key::Char('q') | Key::End) => return Ok(Next::Stop),
                _ => {}
            }
        }
        let has_gaps = self.devices.microphone.has_gaps();
        match take.finish() {
            Some(recorded) => self.judge(&recorded, has_gaps),
            None => self.no_speech(),
        }
    }

    /// Signals that the phrase is due, with a tone, or with the terminal's bell if there is no
    /// loudspeaker. The microphone continues to record.
    fn signal(&mut self, take: &mut Take) -> Result<()> {
        if self.plan.quiet {
            return Ok(());
        }
        if self.has_loudspeaker && self.devices.loudspeaker.play(&tone()).is_ok() {
            take.expect(Signal::Tone);
            return Ok(());
        }
        self.has_loudspeaker = false;
        take.expect(Signal::Bell);
        self.devices.screen.bell()
    }

    fn no_speech(&mut self) -> Result<Next> {
        self.silent += 1;
        if self.plan.keep_good {
            if self.silent >= MOST_SILENT {
                let name = self.devices.microphone.name().to_owned();
                return Err(Error::SilentTakes { name, takes: MOST_SILENT });
            }
            return Ok(Next::Take);
        }
        let question = "No sound was recorded. Is this the right microphone, and is it on?";
        let body = [Line::of(Style::Warning, question)];
        loop {
            match self.answer(&body, SILENT_KEYS)? {
                Key::Enter | Key::Char('r' | ' ') => return Ok(Next::Take),
                Key::Char('q') | Key::End => return Ok(Next::Stop),
                Key::Char(_) => {}
            }
        }
    }

    fn judge(&mut self, recorded: &Recorded, has_gaps: bool) -> Result<Next> {
        self.silent = 0;
        let is_good = recorded.verdict == Verdict::Good && !has_gaps;
        let measured =
            format!("{:.2} s, peak {:.0} dB: ", recorded.phrase_s, recorded.level.peak_db);
        let style = if is_good { Style::Good } else { Style::Warning };
        let mut line = Line::from(measured).and(style, recorded.verdict.advice());
        if has_gaps {
            line = line.and(style, "; the computer was too busy, and a part is missing");
        }
        if self.plan.keep_good {
            let body = vec![line];
            self.devices.screen.show(&self.view(body, &[]))?;
            if is_good {
                self.keep(recorded)?;
            }
            return Ok(Next::Take);
        }
        let keys = if is_good { KEEP_KEYS } else { REDO_KEYS };
        let mut body = vec![line];
        loop {
            match self.answer(&body, keys)? {
                Key::Enter if !is_good => return Ok(Next::Take),
                Key::Char('r') => return Ok(Next::Take),
                // A full disk must not lose the take: the user can make room and press the key
                // again.
                Key::Enter | Key::Char('k' | ' ') => match self.keep(recorded) {
                    Ok(()) => return Ok(Next::Take),
                    Err(error) => body = with_error(&body, &error),
                },
                Key::Char('p') => {
                    if let Err(error) = self.devices.loudspeaker.play(&recorded.pcm) {
                        body = with_error(&body, &error);
                    }
                }
                Key::Char('s') => self.ask_speaker()?,
                Key::Char('q') | Key::End => return Ok(Next::Stop),
                Key::Char(_) => {}
            }
        }
    }

    fn keep(&mut self, recorded: &Recorded) -> Result<()> {
        let metadata = ClipMetadata {
            text: self.plan.phrase.clone(),
            speaker: self.plan.speaker.clone(),
            style: self.style().0.into(),
            kind: "word".into(),
            ..ClipMetadata::default()
        };
        self.folder.keep(&recorded.pcm, &metadata).map(drop)
    }
}

/// Returns the first line of `body` with an error below it.
fn with_error(body: &[Line], error: &Error) -> Vec<Line> {
    let text = console::explained(error);
    let lines = text.lines().map(|line| Line::of(Style::Error, line));
    body.iter().take(1).cloned().chain(lines).collect()
}

const ROOM_KEYS: &[(&str, &str)] = &[("q", "stops; what was recorded is kept")];

/// Records the sound of a room in files of half a minute, until the folder holds `minutes` of it or
/// the user stops. Returns the seconds recorded now.
///
/// # Errors
/// Those of the microphone; [`Error::Core`] if a file cannot be written. Sound from
/// before a device failure is kept.
pub fn record_room(devices: &mut Devices<'_>, folder: &mut Folder, minutes: f64) -> Result<f64> {
    let rate = f64::from(SAMPLE_RATE);
    let metadata = ClipMetadata { kind: "room".into(), ..ClipMetadata::default() };
    let (before, mut meter, mut pending) = (folder.seconds(), Meter::default(), Vec::new());
    devices.microphone.read(Duration::ZERO)?;
    let outcome = loop {
        let seconds = folder.seconds() + pending.len() as f64 / rate;
        let left = minutes * 60.0 - seconds;
        if left <= 0.0 {
            break Ok(());
        }
        let file =
            (ROOM_FILE_S * SAMPLE_RATE as usize).min((left * rate).ceil() as usize + pending.len());
        match devices.microphone.read(TICK) {
            Ok(pcm) => {
                meter.push(&pcm);
                pending.extend(pcm);
            }
            Err(error) => break Err(error),
        }
        if pending.len() >= file {
            folder.keep(&pending[..file], &metadata)?;
            pending.drain(..file);
        }
        let view = View {
            title: format!("The room · {minutes} minutes"),
            body: vec![
                "Let it sound as it does every day: talk, television, dishes. Do not say the wake word.".into(),
                Line::of(
                    Style::Title,
                    format!("{} seconds left", (left.max(0.0) / 10.0).ceil() * 10.0),
                ),
            ],
            level: Some(meter.level()),
            keys: ROOM_KEYS,
            ..View::default()
        };
        devices.screen.show(&view)?;
        if let Some(Key::Char('q') | Key::End) = devices.screen.key(Duration::ZERO)? {
            break Ok(());
        }
    };
    if pending.len() >= SAMPLE_RATE as usize {
        folder.keep(&pending, &metadata)?;
    }
    outcome.map(|()| folder.seconds() - before)
}

#[cfg(test)]
mod tests;
