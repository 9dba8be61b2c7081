//! Requests of the page and their responses; see the table at [`Session::answer`].

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer,
    aside::{ClipKind, Deletion},
    corrections,
    exports::{BYTES, Export},
    http::Method,
    import::Import,
    live::Live,
    request::Target,
    results::{self, REPORT},
    silence::Silence,
    state::Known,
    take_image,
    takes::name_of,
    takes::{Checked, Checks},
    targets::{self, Targets},
    training::{Job, LeftOut, PretrainedChoice, Progress, Training},
    word::{OpenWord, WordMetadata},
    words::{self, ROOM},
};
use wakeling_audio::live::Live as Resampler;
use wakeling_capture::folder::{ClipMetadata, Entry, Folder};

use crate::{Error, Explain, Result, places::Places};
use wakeling_data::{synthesize, text::file_name};
use wakeling_train::finetune::MODEL_FILE;

/// Maximum length of a speaker's name, in characters.
const LONGEST_NAME: usize = 80;

/// Work on one word at a time.
pub struct Session {
    pub(super) places: Places,
    pub(super) explain: Explain,
    pub(super) word: Option<OpenWord>,
    pub(super) checks: Checks,
    /// Words, results and false wakes as they were read last.
    pub(super) known: Known,
    pub(super) targets: Targets,
    pub(super) silence: Silence,
    pub(super) resampler: Option<(u32, Resampler)>,
    pub(super) room: Option<Folder>,
    /// Sound of the room that does not fill a file yet.
    pub(super) room_pcm: Vec<i16>,
    pub(super) training: Option<Training>,
    pub(super) live: Option<Live>,
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

impl Session {
    /// Creates a session without an open word.
    pub fn new(places: Places, explain: Explain) -> Self {
        Self {
            places,
            explain,
            word: None,
            checks: Checks::default(),
            known: Known::default(),
            targets: Targets::default(),
            silence: Silence::default(),
            resampler: None,
            room: None,
            room_pcm: Vec::new(),
            training: None,
            live: None,
        }
    }

    /// Answers a request of the page. "The state" is that of [`Session::state`].
    ///
    /// | request | does, and answers with |
    /// |---|---|
    /// | `GET /api/state` | the state |
    /// | `POST /api/begin` | opens or creates a word: phrase, speaker and language, as JSON; the state |
    /// | `POST /api/open?word=ID` | opens a word of the list; the state |
    /// | `POST /api/close` | closes the word; the state |
    /// | `GET /api/take?name=FILE` | a picture of a kept take |
    /// | `POST /api/take` | begins a take |
    /// | `POST /api/sound?for=take\|room\|live\|level&rate=HZ` | 16-bit samples as they come |
    /// | `POST /api/keep` | keeps the last take; the state |
    /// | `POST /api/discard` | discards it; the state |
    /// | `POST /api/remove?take=FILE` | moves a take aside; the state |
    /// | `POST /api/delete?word=ID` | moves a word aside; the state |
    /// | `POST /api/undo` | brings back what was moved aside last; the state |
    /// | `POST /api/file?word=ID&name=FILE` | keeps the takes of a file, which is the body, for a word; `kept`, `problem` and the state; see [`Session::import`] |
    /// | `POST /api/room` | ends the sound of the room and keeps it; the state |
    /// | `POST /api/train?board=NAME` | trains and evaluates, or goes on with it; the state |
    /// | `POST /api/cancel` | ends the training; the state |
    /// | `POST /api/live` | starts detection with the model |
    /// | `POST /api/level?row=N` | selects a sensitivity setting |
    /// | `POST /api/correct?kind=false_wake\|missed&time_s=T` | keeps the last sound as a correction; the state |
    /// | `POST /api/uncorrect?name=FILE` | moves a correction aside; the state |
    /// | `GET /api/report`, `GET /api/model` | the files |
    /// | `GET /api/uf2?board=NAME` | firmware and model as a file for the board's drive |
    /// | `GET /api/export?to=esphome\|c\|browser&board=NAME` | a file for another system |
    pub fn answer(&mut self, method: Method, url: &str, body: &[u8]) -> Result<Answer> {
        let target = Target::of(url);
        let value = match (method, target.path) {
            (Method::Get, "/api/take") => self.kept_take(&target.text("name"))?,
            (Method::Post, "/api/take") => self.begin_take()?,
            (Method::Post, "/api/sound") => self.sound(&target, body)?,
            (Method::Post, "/api/live") => self.listen()?,
            (Method::Post, "/api/level") => self.live()?.move_to(target.number("row").unwrap_or(0)),
            (Method::Get, "/api/report") => return self.file(REPORT, "text/html; charset=utf-8"),
            (Method::Get, "/api/model") => return self.file(MODEL_FILE, BYTES),
            (Method::Get, "/api/uf2") => {
                let body = targets::uf2(&self.model()?, &target.text("board"))?;
                return Ok(Answer { status: 200, kind: BYTES, body });
            }
            (Method::Get, "/api/export") => {
                let export = Export::parse(target.raw("to").unwrap_or_default())?;
                let body = export.bytes(&self.model()?, &self.word()?.id, &target.text("board"))?;
                return Ok(Answer { status: 200, kind: export.content_type(), body });
            }
            (Method::Get, "/api/state") => self.state(),
            (Method::Post, path) => match self.change(path, &target, body)? {
                true => self.state(),
                false => return Ok(Answer::refused(404, "there is nothing here")),
            },
            _ => return Ok(Answer::refused(404, "there is nothing here")),
        };
        Ok(Answer::json(&value))
    }

    /// Does what a request asks for that is answered with the state. Returns `false` if there is no
    /// such request.
    fn change(&mut self, path: &str, target: &Target<'_>, body: &[u8]) -> Result<bool> {
        match path {
            "/api/begin" => self.begin(body)?,
            "/api/open" => self.open(&target.text("word"))?,
            "/api/close" => self.close()?,
            "/api/room" => self.room_ends()?,
            "/api/keep" => self.word()?.keep()?,
            "/api/discard" => self.word()?.discard()?,
            "/api/remove" => self.remove(&target.text("take"))?,
            "/api/delete" => self.delete(&target.text("word"))?,
            "/api/undo" => self.undo()?,
            "/api/train" => self.train(&target.text("board"))?,
            "/api/correct" => self.correct(target)?,
            "/api/uncorrect" => self.uncorrect(&target.text("name"))?,
            "/api/cancel" => {
                if let Some(training) = &mut self.training {
                    training.cancel();
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the open word.
    ///
    /// # Errors
    /// [`Error::NoPhrase`].
    pub(super) fn word(&mut self) -> Result<&mut OpenWord> {
        self.word.as_mut().ok_or(Error::NoPhrase)
    }

    pub(super) fn live(&mut self) -> Result<&mut Live> {
        self.live.as_mut().ok_or(Error::NotListening)
    }

    /// Opens the word of a phrase, or creates it.
    fn begin(&mut self, body: &[u8]) -> Result<()> {
        let begin: Begin = serde_json::from_slice(body)
            .map_err(|e| Error::NotAPhrase { reason: e.to_string() })?;
        let phrase = begin.phrase.trim();
        synthesize::check_text(phrase)?;
        if phrase.contains('=') {
            return Err(Error::PhraseHasEquals { phrase: phrase.to_owned() });
        }
        let speaker = begin.speaker.trim();
        if speaker.chars().count() > LONGEST_NAME || speaker.chars().any(char::is_control) {
            return Err(Error::NotAName);
        }
        let about = WordMetadata {
            phrase: phrase.to_owned(),
            speaker: speaker.to_owned(),
            language: begin.language.trim().to_owned(),
        };
        self.enter(&id_of(phrase), about)
    }

    /// Opens a word of the list, with the metadata of its last time.
    fn open(&mut self, id: &str) -> Result<()> {
        let word = words::named(&self.places, id)?;
        let about = WordMetadata::read(&self.places.recordings.join(id)).unwrap_or_default();
        self.enter(id, WordMetadata { phrase: word.phrase, ..about })
    }

    fn enter(&mut self, id: &str, about: WordMetadata) -> Result<()> {
        let word = OpenWord::open(&self.places.recordings, id, about)?;
        let metadata = ClipMetadata { kind: "room".into(), ..ClipMetadata::default() };
        let room = Folder::open(&self.places.recordings.join(ROOM), "room", &metadata)?;
        self.close()?;
        (self.word, self.room) = (Some(word), Some(room));
        Ok(())
    }

    /// Closes the word. A training goes on.
    fn close(&mut self) -> Result<()> {
        self.room_ends()?;
        (self.word, self.room, self.live) = (None, None, None);
        Ok(())
    }

    /// Moves a take aside.
    fn remove(&mut self, name: &str) -> Result<()> {
        let word = self.word.as_mut().ok_or(Error::NoPhrase)?;
        let names = (word.id.as_str(), word.about.phrase.as_str());
        Deletion::clip(&self.places, names, (&mut word.takes, ClipKind::Take), name)
    }

    /// Moves a word aside, with its recordings and its model.
    fn delete(&mut self, id: &str) -> Result<()> {
        let word = words::named(&self.places, id)?;
        if self.is_training(id) {
            return Err(Error::InTraining { phrase: word.phrase });
        }
        if self.word.as_ref().is_some_and(|open| open.id == id) {
            self.close()?;
        }
        self.training = self.training.take().filter(|training| training.word() != id);
        Deletion::word(&self.places, id, &word.phrase)
    }

    /// Brings back what was moved aside last.
    fn undo(&mut self) -> Result<()> {
        let last = Deletion::last(&self.places).ok_or(Error::NothingDeleted)?;
        let Some(clip) = &last.clip else { return last.undo_word(&self.places) };
        match (&mut self.word, last.kind) {
            (Some(open), ClipKind::Take) if open.id == last.word => {
                last.undo_clip(&self.places, clip, &mut open.takes)
            }
            (_, ClipKind::Take) => {
                let path = self.places.recordings.join(&last.word);
                let mut takes = Folder::open(&path, "take", &ClipMetadata::default())?;
                last.undo_clip(&self.places, clip, &mut takes)
            }
            (_, ClipKind::FalseWake) => {
                let run = self.places.runs.join(&last.word);
                last.undo_clip(&self.places, clip, &mut corrections::open_false_wakes(&run)?)
            }
        }
    }

    /// Returns the name of the folders of the word that a file is for; that of the open word if
    /// `id` is empty.
    ///
    /// # Errors
    /// [`Error::NoPhrase`] if none is open; [`Error::WordGone`] if there is no such word.
    pub(super) fn importing(&mut self, id: &str) -> Result<String> {
        match id {
            "" => Ok(self.word()?.id.clone()),
            id => self.recorded(id).map(|_| id.to_owned()),
        }
    }

    /// Returns the metadata of a word that has a folder of recordings.
    fn recorded(&self, id: &str) -> Result<WordMetadata> {
        let gone = || Error::WordGone { name: id.to_owned() };
        let listed = words::named(&self.places, id).map_err(|_| gone())?;
        let folder = self.places.recordings.join(id);
        let about = WordMetadata::read(&folder).unwrap_or_default();
        Ok(WordMetadata { phrase: listed.phrase, ..about })
    }

    /// Keeps the takes of a file for a word, which need not be the open one any more. Returns the
    /// names of the takes in `kept`, the `problem` with the file, if there is one, and the `state`.
    ///
    /// # Errors
    /// [`Error::WordGone`] if the word was deleted while the file was read; [`Error::Capture`] if a
    /// take cannot be written.
    pub(super) fn import(&mut self, id: &str, import: &Import) -> Result<Answer> {
        let mut other = None;
        let word = match &mut self.word {
            Some(word) if word.id == id => word,
            _ => {
                let about = self.recorded(id)?;
                other.insert(OpenWord::open(&self.places.recordings, id, about)?)
            }
        };
        let metadata = ClipMetadata { origin: "file".into(), ..word.metadata() };
        let mut kept = Vec::new();
        for pcm in &import.takes {
            let path = word.takes.keep(pcm, &metadata)?;
            kept.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
        let state = self.state();
        Ok(Answer::json(&json!({
            "kept": kept, "problem": import.problem, "fault": import.problem_kind, "state": state,
        })))
    }

    fn kept_take(&mut self, name: &str) -> Result<Value> {
        let Self { word, checks, .. } = self;
        let word = word.as_ref().ok_or(Error::NoPhrase)?;
        let take = word.kept(name)?;
        let pcm = wakeling_audio::read_range(&take.path, 0.0, Some(take_image::LONGEST_S))?;
        let takes: Vec<&Entry> = word.takes.kept().iter().collect();
        let checked = takes.iter().zip(checks.of_all(&takes)).find(|(other, _)| **other == take);
        Ok(take_image::of_kept(
            name,
            &pcm,
            &checked.map(|(_, checked)| checked).unwrap_or_default(),
        ))
    }

    fn begin_take(&mut self) -> Result<Value> {
        self.word()?.begin_take()?;
        (self.resampler, self.silence) = (None, Silence::default());
        Ok(json!({}))
    }

    fn listen(&mut self) -> Result<Value> {
        let mut live = Live::start(&self.model()?)?;
        (self.resampler, self.silence) = (None, Silence::default());
        let state = live.push(&[]);
        self.live = Some(live);
        Ok(state)
    }

    /// Starts a training, or goes on with one that the end of the program ended. `board` is that of
    /// the pretrained model; empty for the default, or for that of the interrupted training.
    fn train(&mut self, board: &str) -> Result<()> {
        if self.training.as_ref().is_some_and(Training::is_running) {
            return Err(Error::AlreadyTraining);
        }
        let run = self.run()?;
        let interrupted = Progress::last(&run).filter(|last| last.was_interrupted);
        let pretrained = match interrupted {
            Some(last) if board.is_empty() => PretrainedChoice::parse(&last.board)?,
            _ => PretrainedChoice::parse(board)?,
        };
        let word = self.word.as_ref().ok_or(Error::NoPhrase)?;
        let (mut takes, mut left_out) = (Vec::new(), Vec::new());
        for take in word.takes.kept() {
            let Checked { problem, problem_kind, .. } = self.checks.of(take);
            match problem {
                Some(reason) => {
                    left_out.push(LeftOut {
                        name: name_of(take),
                        reason,
                        problem_kind: problem_kind.into(),
                    });
                }
                None => takes.push(take.clone()),
            }
        }
        let job = Job {
            word: word.id.clone(),
            phrase: word.about.phrase.clone(),
            room: self.room.as_ref().map_or_else(Vec::new, |room| room.kept().to_vec()),
            false_wakes: corrections::false_wakes(&run),
            out: run,
            pretrained,
            settings: self.places.settings.clone(),
            takes,
            left_out,
            explain: self.explain,
        };
        self.live = None;
        self.training = Some(Training::start(job)?);
        Ok(())
    }

    /// Returns the folder of the open word's model.
    pub(super) fn run(&self) -> Result<PathBuf> {
        Ok(self.places.runs.join(&self.word.as_ref().ok_or(Error::NoPhrase)?.id))
    }

    /// Returns `true` if this word is being trained.
    pub(super) fn is_training(&self, id: &str) -> bool {
        self.training.as_ref().is_some_and(|t| t.word() == id && t.is_running())
    }

    /// Returns the path of the open word's model, also from an earlier start.
    fn model(&self) -> Result<PathBuf> {
        self.result(MODEL_FILE)
    }

    /// Returns the path of a result file of the last training. While a training runs, there is none.
    pub(super) fn result(&self, name: &str) -> Result<PathBuf> {
        let run = self.run().map_err(|_| Error::NoModel)?;
        if self.word.as_ref().is_some_and(|word| self.is_training(&word.id)) {
            return Err(Error::NoModel);
        }
        results::file(&run, name)
    }

    fn file(&self, name: &str, kind: &'static str) -> Result<Answer> {
        let path = self.result(name)?;
        let body = std::fs::read(&path).map_err(Error::io(&path, "read"))?;
        Ok(Answer { status: 200, kind, body })
    }
}

/// Returns the name of a phrase's folders. The names of the folders that all words share are not
/// given to a word.
fn id_of(phrase: &str) -> String {
    let name = file_name(&phrase.to_lowercase());
    if name == ROOM { format!("{name}-") } else { name }
}
