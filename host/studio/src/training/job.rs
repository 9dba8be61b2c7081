//! Work of a training run: fine-tuning, and the report on what was held out.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use super::{
    LeftOut, Progress,
    parts::{self, Parts},
    progress::{RunState, Shared},
};
use crate::{Error, Explain, Result, corrections::FALSE_WAKES, results::REPORT};
use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_capture::folder::Entry;
use wakeling_core::{cache, files, progress::Progress as _};
use wakeling_data::{
    dataset::Dataset,
    negatives::load_speech,
    takes::{self, Purpose, record::TrainedOn},
    text::nfc,
};
use wakeling_device::{
    board::{Board, esphome::ESPHOME_BOARDS},
    model_file,
};
use wakeling_train::{
    evaluate::{
        Evaluation, ModelRecord, Provenance, Source, SourceKind, Summary, TestConditions,
        keyword_index,
    },
    finetune::{BoardChoice, FalseWakes, Keyword, MODEL_FILE, Recipe, Settings},
    models,
    quantize::Backbone,
};

/// Lists of the recordings for training and for the report.
const TRAIN_LIST: &str = "train.jsonl";
const TEST_LIST: &str = "test.jsonl";
const ROOM_TRAIN_LIST: &str = "room-train.jsonl";
const ROOM_TEST_LIST: &str = "room-test.jsonl";
/// Hidden folder with the checkpoints of a run that goes on.
const CHECKPOINTS: &str = ".training";
/// Description of the run in it: data, settings and pretrained model.
const DESCRIPTION: &str = "run.json";
/// Pretrained model with the features of ESPHome.
const ESPHOME_PRETRAINED: &str = "base-m-pcan";

/// What the pretrained model is chosen for.
#[derive(Clone, Copy, Debug)]
pub enum PretrainedChoice {
    /// No board in particular.
    Default,
    /// The largest that fits a board.
    Board(&'static Board),
    /// ESPHome.
    EspHome,
}

impl PretrainedChoice {
    /// Parses the name of a board; empty for the default, `esphome` for ESPHome on any board.
    ///
    /// # Errors
    /// [`Error::Device`] if no board has that name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "" => Ok(Self::Default),
            "esphome" => Ok(Self::EspHome),
            name if ESPHOME_BOARDS.iter().any(|board| board.name == name) => Ok(Self::EspHome),
            name => Ok(Self::Board(Board::named(name)?)),
        }
    }

    /// Returns the name from which it is parsed again.
    fn name(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Board(board) => board.name,
            Self::EspHome => "esphome",
        }
    }

    /// Chooses the pretrained model, and reports why.
    fn choose(
        self,
        label: &str,
        settings: &Settings,
        shared: &Shared,
    ) -> Result<(String, Backbone)> {
        let name = match self {
            Self::Default => models::DEFAULT_PRETRAINED,
            Self::EspHome => ESPHOME_PRETRAINED,
            Self::Board(board) => {
                // The fit depends on the label alone, so no recording is needed.
                let keywords = [Keyword::new(label)];
                let path = Path::new(MODEL_FILE);
                let choice = BoardChoice::new(board, &keywords, settings, path)?;
                shared.line(&choice.reason);
                return Ok((choice.pretrained.to_owned(), choice.backbone));
            }
        };
        Ok((name.to_owned(), models::backbone(name)?))
    }
}

/// Training data and result folder.
pub struct Job {
    /// Name of the word's folders.
    pub word: String,
    /// Phrase.
    pub phrase: String,
    /// Takes of the phrase.
    pub takes: Vec<Entry>,
    /// Takes that are not used, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// Files of the room's sound.
    pub room: Vec<Entry>,
    /// False wakes of an earlier model.
    pub false_wakes: Vec<Entry>,
    /// Folder for the results.
    pub out: PathBuf,
    /// What the pretrained model is chosen for.
    pub pretrained: PretrainedChoice,
    /// Settings of the training.
    pub settings: Settings,
    /// Function that explains errors to the user.
    pub explain: Explain,
}

impl Job {
    /// Splits the recordings and writes the lists. A run of the same data that was interrupted keeps
    /// its checkpoints and curves. Returns the state at the start.
    ///
    /// # Errors
    /// [`Error::NoTake`] or [`Error::NoUsableTake`]; [`Error::Core`] if the lists cannot be written.
    pub(super) fn prepare(&self) -> Result<Progress> {
        if self.takes.is_empty() {
            return Err(no_take(&self.left_out));
        }
        fs::create_dir_all(&self.out).map_err(Error::io(&self.out, "create"))?;
        let takes = Parts::of_takes(self.takes.clone(), !self.room.is_empty());
        let room = Parts::of_room(self.room.clone());
        for (name, entries) in [
            (TRAIN_LIST, &takes.train),
            (TEST_LIST, &takes.test),
            (ROOM_TRAIN_LIST, &room.train),
            (ROOM_TEST_LIST, &room.test),
        ] {
            parts::write(&self.out.join(name), entries)?;
        }
        let last = Progress::last(&self.out).filter(|last| last.was_interrupted);
        let goes_on = self.keep_checkpoints(&self.description(&takes, &room)?)?;
        Ok(Progress {
            takes: (takes.train.len(), takes.test.len()),
            left_out: self.left_out.clone(),
            curve: last.filter(|_| goes_on).map(|last| last.curve).unwrap_or_default(),
            board: self.pretrained.name().to_owned(),
            ..Progress::default()
        })
    }

    /// Describes all that the result depends on.
    fn description(&self, takes: &Parts, room: &Parts) -> Result<String> {
        let used = [&takes.train, &room.train, &self.false_wakes];
        let stamps = used.map(|entries| parts::stamps(entries));
        let description = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "phrase": self.phrase,
            "board": self.pretrained.name(),
            "settings": self.settings,
            "takes": parts::manifest(&takes.train)?,
            "room": parts::manifest(&room.train)?,
            "stamps": stamps,
        });
        Ok(format!("{description:#}\n"))
    }

    /// Keeps the checkpoints if they are of a run with the same description. Returns whether they are.
    fn keep_checkpoints(&self, description: &str) -> Result<bool> {
        let folder = self.checkpoints();
        let path = folder.join(DESCRIPTION);
        if fs::read_to_string(&path).is_ok_and(|known| known == description) {
            return Ok(true);
        }
        self.forget_checkpoints();
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
        files::write_atomic(&path, description.as_bytes())?;
        Ok(false)
    }

    fn checkpoints(&self) -> PathBuf {
        self.out.join(CHECKPOINTS)
    }

    /// Removes the checkpoints. What cannot be removed has a description that is compared.
    fn forget_checkpoints(&self) {
        let _ = fs::remove_dir_all(self.checkpoints());
    }

    /// Trains and measures, and sets the final state.
    pub(super) fn run(&self, shared: &Shared) {
        // A defect ends the training, and not the studio.
        let result = catch_unwind(AssertUnwindSafe(|| self.train_and_measure(shared)))
            .unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied());
                Err(Error::defect(text.unwrap_or("the training panicked")))
            });
        // From here on, a run that was not killed has ended.
        self.forget_checkpoints();
        match result {
            Ok(()) => shared.finish(RunState::Done, None),
            Err(error) if error.is_cancelled() => shared.finish(RunState::Cancelled, None),
            Err(error) => shared.finish(RunState::Failed, Some((self.explain)(&error).text)),
        }
    }

    fn train_and_measure(&self, shared: &Shared) -> Result<()> {
        let _claim = files::claim(&self.out)?;
        self.train(shared)?;
        // A report from an earlier model must not be taken for this one.
        for name in [REPORT, Summary::FILE] {
            let _ = fs::remove_file(self.out.join(name));
        }
        if shared.progress().takes.1 > 0 {
            shared.begin_stage(RunState::Evaluate);
            let page = self.measure(shared)?;
            files::write_atomic(self.out.join(REPORT), page.as_bytes())?;
        }
        Ok(())
    }

    /// Trains on the lists of recordings, and writes the results.
    fn train(&self, shared: &Shared) -> Result<()> {
        let label = nfc(&self.phrase);
        let (pretrained, backbone) = self.pretrained.choose(&label, &self.settings, shared)?;
        let path = self.out.join(TRAIN_LIST);
        let room = self.out.join(ROOM_TRAIN_LIST);
        let frontend = backbone.frontend();
        let takes = takes::open(&path, &label, &frontend, Purpose::Train, shared)?.takes;
        let room_clips = load_speech(&open_list(&room, shared)?, &frontend, "room");
        let wakes = self.out.join(FALSE_WAKES);
        let wake_clips = match self.false_wakes.is_empty() {
            true => Vec::new(),
            false => load_speech(&open_list(&wakes, shared)?, &frontend, "false wakes"),
        };
        let keyword = Keyword::of_takes(label.as_ref(), takes);
        let (has_room, has_wakes) = (!room_clips.is_empty(), !wake_clips.is_empty());
        let mut recipe = Recipe::new(backbone, vec![keyword])?;
        recipe.settings = self.settings.clone();
        recipe.negatives.speech = room_clips;
        recipe.false_wakes = FalseWakes { clips: wake_clips, events: Vec::new() };
        recipe.cache = cache::folder("negatives");
        recipe.checkpoints = Some(self.checkpoints());
        let model = recipe.run(shared)?;
        // From here on, all files are written, so that they fit each other.
        shared.check()?;
        let record = json!({
            "base": pretrained,
            "board": Some(self.pretrained.name()).filter(|name| !name.is_empty()),
            "words": [{ "label": label, "path": path }],
            "samples": [], "labels": [],
            "negatives": has_room.then_some(room).into_iter().collect::<Vec<_>>(),
            "noise": [],
            "false_wakes": has_wakes.then_some(wakes).into_iter().collect::<Vec<_>>(),
            "only_own": false,
        });
        Ok(model.save(&self.out, record, shared)?)
    }

    /// Measures the model on the takes and the sound of the room that were held out. Returns the
    /// page.
    fn measure(&self, shared: &Shared) -> Result<String> {
        let (path, label) = (self.out.join(MODEL_FILE), nfc(&self.phrase));
        let file = model_file::read(&path)?;
        let model = model_file::load(&path, &file)?;
        let index = keyword_index(&model, &label)
            .ok_or_else(|| Error::defect("the model lacks its keyword"))?;
        let conditions = [TestConditions::Silence];
        let mut evaluation = Evaluation::new(&model, &conditions);
        let (test, room) = (self.out.join(TEST_LIST), self.out.join(ROOM_TEST_LIST));
        let tables = FrontendTables::default();
        let frontend = tables.params(NormalizationKind::Log);
        let checked = takes::open(&test, &label, &frontend, Purpose::Test, shared)?;
        let hashes = checked.takes.iter().map(|take| &take.hash);
        let trained_on = TrainedOn::beside(&path);
        if let Some(warning) = trained_on.and_then(|t| t.warning(&label, hashes)) {
            shared.line(&warning);
        }
        let negatives = Dataset::open_reporting(&room, shared)?;
        if !evaluation.add_keyword((&label, index), checked.examples(), shared)? {
            return Err(unreadable(&test));
        }
        if !evaluation.add_negatives(negatives, shared)? {
            return Err(unreadable(&room));
        }
        let made_at =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let source = |kind, path: &Path| Source { kind, name: path.display().to_string() };
        let provenance = Provenance {
            made_at,
            model: ModelRecord::new(&path, &file, &model),
            sources: vec![
                source(SourceKind::Recordings, &test),
                source(SourceKind::Negatives, &room),
            ],
            ..Provenance::default()
        };
        evaluation.summary(&provenance).save(&self.out.join(Summary::FILE))?;
        Ok(evaluation.page(&provenance))
    }
}

/// Opens a list, which may be empty.
fn open_list(path: &Path, shared: &Shared) -> Result<Vec<wakeling_data::dataset::Example>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Ok(Vec::new()),
        _ => Ok(Dataset::open_reporting(path, shared)?),
    }
}

fn no_take(left_out: &[LeftOut]) -> Error {
    if left_out.is_empty() {
        return Error::NoTake;
    }
    let reason = |take: &LeftOut| format!("{}: {}", take.name, take.reason);
    Error::NoUsableTake { reasons: left_out.iter().map(reason).collect() }
}

fn unreadable(path: &Path) -> Error {
    Error::NothingReadable { path: path.to_owned() }
}
