//! Requests of the page and their responses; see the table at [`Session::answer`].

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer,
    http::Method,
    live::Live,
    phrase,
    silence::Silence,
    takes::{Checks, is_digital_silence},
    training::{Job, LeftOut, Training},
};
use wakeling_audio::{
    SAMPLE_RATE,
    features::{FrontendTables, NormalizationKind, log_mel, mel_powers},
    level::Level,
    live::Live as Resampler,
};
use wakeling_capture::{
    folder::{ClipMetadata, Entry, Folder},
    record::{FAR, STYLES},
    take::{Phase, Recorded, Take, Timing, Verdict},
};

use crate::{Error, Explain, Result};
use wakeling_data::synthesize;
use wakeling_data::text::file_name;
use wakeling_device::{
    board::{BOARDS, Board, Family, Loader},
    flash::{Plan, shipped::Shipped, uf2},
};
use wakeling_train::{evaluate::html::media, finetune::Settings};

/// Columns of the waveform.
const WAVE_COLUMNS: usize = 240;
/// Seconds of room sound per file.
const ROOM_FILE_S: usize = 10;
/// Content type of files for devices.
const BYTES: &str = "application/octet-stream";
/// Maximum length of a speaker's name, in characters.
const LONGEST_NAME: usize = 80;

/// Folders for recordings and models.
#[derive(Clone, Debug)]
pub struct Places {
    /// Parent of the folders of recordings.
    pub recordings: PathBuf,
    /// Parent of the folders of models.
    pub runs: PathBuf,
    /// Settings of the training.
    pub settings: Settings,
}

/// Work on one phrase.
pub struct Session {
    places: Places,
    explain: Explain,
    phrase: String,
    speaker: String,
    /// Result of the phrase check, as JSON for the page.
    check: Value,
    takes: Option<Folder>,
    checks: Checks,
    silence: Silence,
    resampler: Option<(u32, Resampler)>,
    take: Option<Take>,
    recorded: Option<Recorded>,
    room: Option<Folder>,
    room_pcm: Vec<i16>,
    training: Option<Training>,
    live: Option<Live>,
}

#[derive(Deserialize)]
struct Begin {
    phrase: String,
    #[serde(default)]
    speaker: String,
    /// Language of the phrase; guessed if empty.
    #[serde(default)]
    language: String,
}

/// Decodes percent encoding. Invalid UTF-8 becomes an empty string, which matches no name.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let byte = digits.filter(|_| first == b'%').and_then(|d| u8::from_str_radix(d, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Returns the value of `name` in the query of an address, still encoded.
fn query<'u>(url: &'u str, name: &str) -> Option<&'u str> {
    let (_, query) = url.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name))
        .map(|(_, v)| v)
}

impl Session {
    /// Creates an empty session.
    pub fn new(places: Places, explain: Explain) -> Self {
        Self {
            explain,
            places,
            phrase: String::new(),
            speaker: String::new(),
            check: Value::Null,
            takes: None,
            checks: Checks::default(),
            silence: Silence::default(),
            resampler: None,
            take: None,
            recorded: None,
            room: None,
            room_pcm: Vec::new(),
            training: None,
            live: None,
        }
    }

    /// Answers a request of the page.
    ///
    /// | request | does |
    /// |---|---|
    /// | `GET /api/state` | phrase and its check, takes, seconds of room, training |
    /// | `POST /api/begin` | phrase, speaker and language, as JSON |
    /// | `POST /api/take` | begins a take |
    /// | `POST /api/sound?for=take\|room\|live&rate=HZ` | 16-bit samples as they come |
    /// | `POST /api/room` | ends the sound of the room and keeps it |
    /// | `POST /api/keep` | keeps the last take |
    /// | `POST /api/remove?take=FILE` | removes a take |
    /// | `POST /api/train` | trains and evaluates |
    /// | `POST /api/cancel` | ends the training |
    /// | `POST /api/live` | starts detection with the model |
    /// | `POST /api/level?row=N` | selects a sensitivity setting |
    /// | `GET /api/report`, `GET /api/model` | the files |
    /// | `GET /api/uf2?board=NAME` | firmware and model as a file for the board's drive |
    pub fn answer(&mut self, method: Method, url: &str, body: &[u8]) -> Result<Answer> {
        let path = url.split('?').next().unwrap_or_default();
        let value = match (method, path) {
            (Method::Get, "/api/state") => self.state(),
            (Method::Post, "/api/begin") => self.begin(body)?,
            (Method::Post, "/api/take") => {
                self.folder()?;
                let is_far = self.style().0 == FAR;
                let take = Take::with(if is_far { Timing::FAR } else { Timing::NEAR });
                (self.take, self.recorded, self.resampler) = (Some(take), None, None);
                self.silence = Silence::default();
                json!({})
            }
            (Method::Post, "/api/sound") => self.sound(url, body)?,
            (Method::Post, "/api/room") => {
                self.room_ends()?;
                self.state()
            }
            (Method::Post, "/api/keep") => self.keep()?,
            (Method::Post, "/api/remove") => {
                let name = decoded(query(url, "take").unwrap_or_default());
                self.folder()?.remove(&name)?;
                self.state()
            }
            (Method::Post, "/api/train") => self.train()?,
            (Method::Post, "/api/cancel") => {
                if let Some(training) = &mut self.training {
                    training.cancel();
                }
                self.state()
            }
            (Method::Post, "/api/live") => {
                (self.resampler, self.silence) = (None, Silence::default());
                let mut live = Live::start(&self.result("model.wkl")?)?;
                let state = live.push(&[]);
                self.live = Some(live);
                state
            }
            (Method::Post, "/api/level") => {
                let row = query(url, "row").and_then(|r| r.parse().ok()).unwrap_or(0);
                self.live()?.move_to(row)
            }
            (Method::Get, "/api/report") => {
                return self.file("report.html", "text/html; charset=utf-8");
            }
            (Method::Get, "/api/model") => {
                return self.file("model.wkl", BYTES);
            }
            (Method::Get, "/api/uf2") => {
                let body = self.uf2(query(url, "board").unwrap_or_default())?;
                return Ok(Answer { status: 200, kind: BYTES, body });
            }
            _ => return Ok(Answer::refused(404, "there is nothing here")),
        };
        Ok(Answer::json(&value))
    }

    fn folder(&mut self) -> Result<&mut Folder> {
        self.takes.as_mut().ok_or(Error::NoPhrase)
    }

    fn live(&mut self) -> Result<&mut Live> {
        self.live.as_mut().ok_or(Error::NotListening)
    }

    fn style(&self) -> (&'static str, &'static str) {
        let taken = self.takes.as_ref().map_or(0, |f| f.count(&self.phrase));
        STYLES[taken % STYLES.len()]
    }

    fn begin(&mut self, body: &[u8]) -> Result<Value> {
        let begin: Begin = serde_json::from_slice(body)
            .map_err(|e| Error::NotAPhrase { reason: e.to_string() })?;
        let phrase = begin.phrase.trim();
        synthesize::check_text(phrase)?;
        if phrase.contains('=') {
            return Err(Error::PhraseHasEquals { phrase: phrase.to_owned() });
        }
        if begin.speaker.chars().count() > LONGEST_NAME
            || begin.speaker.chars().any(char::is_control)
        {
            return Err(Error::NotAName);
        }
        if self.is_training() && phrase != self.phrase {
            return Err(Error::TrainingAnother);
        }
        let metadata =
            ClipMetadata { text: phrase.into(), kind: "word".into(), ..ClipMetadata::default() };
        let path = self.places.recordings.join(file_name(&phrase.to_lowercase()));
        let check = phrase::check(phrase, begin.language.trim())?;
        self.takes = Some(Folder::open(&path, "take", &metadata)?);
        let metadata = ClipMetadata { kind: "room".into(), ..ClipMetadata::default() };
        self.room = Some(Folder::open(&self.places.recordings.join("room"), "room", &metadata)?);
        (self.phrase, self.speaker) = (phrase.to_owned(), begin.speaker.trim().to_owned());
        self.check = check;
        (self.take, self.recorded) = (None, None);
        if !self.is_training() {
            self.training = None;
        }
        Ok(self.state())
    }

    fn state(&mut self) -> Value {
        let takes = self.takes.iter().flat_map(|f| f.kept());
        let takes: Vec<Value> = takes
            .map(|take| {
                let checked = self.checks.of(take);
                json!({
                    "name": name_of(take), "seconds": take.duration_s, "speaker": take.metadata.speaker,
                    "style": take.metadata.style, "fault": checked.problem, "warning": checked.warning,
                })
            })
            .collect();
        let exists = |name: &str| self.result(name).is_ok();
        json!({
            "phrase": self.phrase,
            "speaker": self.speaker,
            "check": self.check,
            "takes": takes,
            "style": self.style().0,
            "prompt": self.style().1,
            "room_seconds": self.room.as_ref().map_or(0.0, Folder::seconds),
            "training": self.training.as_ref().map(Training::progress),
            "model": exists("model.wkl"),
            "report": exists("report.html"),
            "drives": drives().map(|(board, _)| json!({ "name": board.name, "title": board.title }))
                .collect::<Vec<_>>(),
        })
    }

    /// Processes sound from the browser: little-endian 16-bit samples of one channel.
    fn sound(&mut self, url: &str, body: &[u8]) -> Result<Value> {
        let rate = query(url, "rate").and_then(|r| r.parse().ok()).unwrap_or(SAMPLE_RATE);
        if self.resampler.as_ref().is_none_or(|(known, _)| *known != rate) {
            self.resampler = Some((rate, Resampler::new(rate, 1)?));
        }
        let samples = body.as_chunks::<2>().0.iter().map(|b| f32::from(i16::from_le_bytes(*b)));
        let (samples, mut pcm) = (samples.collect::<Vec<f32>>(), Vec::new());
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.push(&samples, &mut pcm);
        }
        let level = Level::of(&pcm);
        let silent_s = self.silence.push(&pcm);
        let mut value = match query(url, "for") {
            Some("take") => self.push_take(&pcm)?,
            Some("room") => self.push_room(&pcm)?,
            Some("live") => self.live()?.push(&pcm),
            _ => return Err(Error::StraySound),
        };
        value["peak_db"] = json!(level.peak_db);
        value["clipped"] = json!(level.is_clipped);
        value["silent_s"] = json!(silent_s);
        Ok(value)
    }

    fn push_take(&mut self, pcm: &[i16]) -> Result<Value> {
        let phase = self.take.as_mut().ok_or(Error::NoTakeBegun)?.push(pcm);
        let (name, count) = match phase {
            Phase::Counting(count) => ("counting", count),
            Phase::Waiting => ("waiting", 0),
            Phase::Speaking => ("speaking", 0),
            Phase::Over => ("over", 0),
        };
        let mut value = json!({ "phase": name, "count": count });
        if phase == Phase::Over {
            self.recorded = self.take.take().and_then(Take::finish);
            value["take"] = self.recorded.as_ref().map_or(Value::Null, pictured);
        }
        Ok(value)
    }

    fn push_room(&mut self, pcm: &[i16]) -> Result<Value> {
        self.room_pcm.extend(pcm);
        let file = ROOM_FILE_S * SAMPLE_RATE as usize;
        let room = self.room.as_mut().ok_or(Error::NoPhrase)?;
        while self.room_pcm.len() >= file {
            keep_room(room, &self.room_pcm[..file])?;
            self.room_pcm.drain(..file);
        }
        let pending = self.room_pcm.len() as f64 / f64::from(SAMPLE_RATE);
        Ok(json!({ "seconds": room.seconds() + pending }))
    }

    /// Stores the remaining samples of room sound that do not fill a file. Less than a second is
    /// dropped.
    fn room_ends(&mut self) -> Result<()> {
        self.silence = Silence::default();
        if let (Some(room), true) = (&mut self.room, self.room_pcm.len() >= SAMPLE_RATE as usize) {
            keep_room(room, &self.room_pcm)?;
        }
        self.room_pcm.clear();
        Ok(())
    }

    fn keep(&mut self) -> Result<Value> {
        let pcm = self.recorded.as_ref().ok_or(Error::NoTakeRecorded)?.pcm.clone();
        let metadata = ClipMetadata {
            text: self.phrase.clone(),
            speaker: self.speaker.clone(),
            style: self.style().0.into(),
            kind: "word".into(),
        };
        self.folder()?.keep(&pcm, &metadata)?;
        // The take is cleared only after it is on the disk.
        self.recorded = None;
        Ok(self.state())
    }

    fn train(&mut self) -> Result<Value> {
        if self.is_training() {
            return Err(Error::AlreadyTraining);
        }
        let kept = self.folder()?.kept().to_vec();
        let (mut takes, mut left_out) = (Vec::new(), Vec::new());
        for take in kept {
            match self.checks.of(&take).problem {
                Some(reason) => left_out.push(LeftOut { name: name_of(&take), reason }),
                None => takes.push(take),
            }
        }
        let room = self.room.as_ref().filter(|r| !r.kept().is_empty());
        let job = Job {
            phrase: self.phrase.clone(),
            room: room.map(|r| r.path().to_path_buf()),
            out: self.run(),
            settings: self.places.settings.clone(),
            takes,
            left_out,
            explain: self.explain,
        };
        self.live = None;
        self.training = Some(Training::start(job)?);
        Ok(self.state())
    }

    /// Returns the folder of the phrase's models.
    fn run(&self) -> PathBuf {
        self.places.runs.join(file_name(&self.phrase.to_lowercase()))
    }

    fn is_training(&self) -> bool {
        self.training.as_ref().is_some_and(Training::is_running)
    }

    /// Returns the path of a result file of the last training, also from an earlier start.
    fn result(&self, name: &str) -> Result<PathBuf> {
        let path = self.run().join(name);
        if self.phrase.is_empty() || self.is_training() || !path.is_file() {
            return Err(Error::NoModel);
        }
        Ok(path)
    }

    fn file(&self, name: &str, kind: &'static str) -> Result<Answer> {
        let path = self.result(name)?;
        let body = std::fs::read(&path).map_err(Error::io(&path, "read"))?;
        Ok(Answer { status: 200, kind, body })
    }

    /// Builds the UF2 file for a board: the firmware that ships with the program, and the model.
    fn uf2(&self, name: &str) -> Result<Vec<u8>> {
        let found = drives().find(|(board, _)| board.name == name);
        let (board, family) = found.ok_or_else(|| Error::NotADrive { name: name.to_owned() })?;
        let path = self.result("model.wkl")?;
        let firmware = Shipped::find()?.load(board, false)?;
        let plan = Plan::of_files(board, Some(&firmware), &path, false)?;
        Ok(uf2::write(&plan, family))
    }
}

/// Stores room sound. Sound of a muted microphone is dropped, since it would make the report look
/// too good.
fn keep_room(room: &mut Folder, pcm: &[i16]) -> Result<()> {
    if is_digital_silence(pcm) {
        return Ok(());
    }
    room.keep(pcm, &ClipMetadata { kind: "room".into(), ..ClipMetadata::default() })?;
    Ok(())
}

/// Returns the file name of a take.
fn name_of(take: &Entry) -> String {
    take.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the boards with a UF2 drive, and the UF2 family of each.
fn drives() -> impl Iterator<Item = (&'static Board, Family)> {
    BOARDS.iter().filter_map(|board| match board.loader {
        Loader::ProbeOrUf2 { family } => Some((board, family)),
        Loader::Probe | Loader::Espflash => None,
    })
}

/// Returns a take for the page as JSON: its properties, the waveform as minimum and maximum per
/// column, the spectrogram, and the audio.
fn pictured(recorded: &Recorded) -> Value {
    let tables = FrontendTables::default();
    let frames = log_mel(&mel_powers(&recorded.pcm, &tables.params(NormalizationKind::Log)));
    let column = recorded.pcm.len().div_ceil(WAVE_COLUMNS).max(1);
    let extremes = |part: &[i16]| {
        let least = part.iter().min().copied().unwrap_or(0);
        let most = part.iter().max().copied().unwrap_or(0);
        [f32::from(least) / 32_768.0, f32::from(most) / 32_768.0]
    };
    let wave: Vec<[f32; 2]> = recorded.pcm.chunks(column).map(extremes).collect();
    json!({
        "seconds": recorded.phrase_s,
        "peak_db": recorded.level.peak_db,
        "good": recorded.verdict == Verdict::Good,
        "advice": recorded.verdict.advice(),
        "wave": wave,
        "spectrogram": media::data_url("image/png", &media::spectrogram(&frames)),
        "sound": media::data_url("audio/wav", &media::wav(&recorded.pcm)),
    })
}
