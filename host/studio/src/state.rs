//! State of the studio, as the page receives it.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    aside::Deletion,
    corrections::{self, FALSE_WAKES},
    results::{REPORT, Results},
    session::Session,
    take_image,
    takes::{Checked, name_of},
    targets::drives,
    training::{Progress, Training},
    unchanged::Unchanged,
    words,
};
use wakeling_capture::folder::{Entry, Folder};
use wakeling_data::dataset::manifest::MANIFEST;
use wakeling_train::{evaluate::Summary, finetune::MODEL_FILE};

/// Number of takes that the page asks for.
const WANTED: usize = 20;

/// What the state was made of, as it was read last.
#[derive(Default)]
pub(super) struct Known {
    words: words::Known,
    results: Unchanged<Results>,
    false_wakes: Unchanged<Vec<Entry>>,
}

impl Known {
    fn results(&mut self, run: &Path) -> Results {
        let files = [MODEL_FILE, REPORT, Summary::FILE, words::SETTINGS];
        self.results.of(run, &files, || Results::read(run))
    }

    fn false_wakes(&mut self, run: &Path) -> Vec<Entry> {
        let read = || corrections::false_wakes(run);
        self.false_wakes.of(&run.join(FALSE_WAKES), &[MANIFEST], read)
    }
}

impl Session {
    /// Returns the state: the list of words, and the open word with its takes, training and results.
    pub(super) fn state(&mut self) -> Value {
        let drives: Vec<Value> =
            drives().map(|(b, _)| json!({ "name": b.name, "title": b.title })).collect();
        let mut state = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "words": self.listed_words(),
            "deleted": Deletion::last(&self.places).map(|last| last.state()),
            "drives": drives,
            "wanted": WANTED,
            "room_seconds": self.room_seconds(),
        });
        if let (Some(all), Value::Object(word)) = (state.as_object_mut(), self.word_state()) {
            all.extend(word);
        }
        state
    }

    fn listed_words(&mut self) -> Vec<Value> {
        let mut known = std::mem::take(&mut self.known);
        let words = words::list(&self.places, &mut known.words);
        let open = self.word.as_ref().map(|word| word.id.as_str());
        let entry = |word: &words::ListedWord| {
            let run = self.places.runs.join(&word.id);
            json!({
                "id": word.id,
                "phrase": word.phrase,
                "takes": word.takes,
                "is_open": open == Some(&*word.id),
                "is_training": self.is_training(&word.id),
                "corrections": word.missed + known.false_wakes(&run).len(),
                "model": known.results(&run).model,
            })
        };
        let listed = words.iter().map(entry).collect();
        self.known = known;
        listed
    }

    fn room_seconds(&self) -> f64 {
        self.room.as_ref().map_or(0.0, Folder::seconds)
    }

    /// Returns the fields of the open word; they are empty if none is open.
    fn word_state(&mut self) -> Value {
        let takes = self.take_states();
        let result = |name: &str| self.result(name).ok();
        let model = result(MODEL_FILE);
        let has_report = result(REPORT).is_some();
        let Some(word) = &self.word else {
            return json!({
                "id": "", "phrase": "", "speaker": "", "check": null, "takes": [], "pending": null,
                "style": "", "prompt": "", "is_far": false, "training": null, "model": false,
                "report": false, "verdict": null, "settings": [],
                "corrections": { "false_wakes": [], "missed": [] },
                "targets": self.targets.of(None, self.explain),
            });
        };
        let run = self.places.runs.join(&word.id);
        let verdict = self.known.results(&run).verdict.filter(|_| has_report);
        let false_wakes = self.known.false_wakes(&run);
        let training = self.training.as_ref().filter(|t| t.word() == word.id);
        let training = training.map(Training::progress).or_else(|| Progress::last(&run));
        let (style, prompt) = word.style();
        json!({
            "id": word.id,
            "phrase": word.about.phrase,
            "speaker": word.about.speaker,
            "check": word.check,
            "takes": takes,
            "pending": word.pending().map(take_image::of_recorded),
            "style": style,
            "prompt": prompt,
            "is_far": word.is_far(),
            "training": training,
            "model": model.is_some(),
            "report": has_report,
            "verdict": verdict,
            "settings": self.targets.settings(model.as_deref(), self.explain),
            "corrections": corrections::state(&false_wakes, word.takes.kept()),
            "targets": self.targets.of(model.as_deref(), self.explain),
        })
    }

    fn take_states(&mut self) -> Vec<Value> {
        let Self { word, checks, .. } = self;
        let takes: Vec<&Entry> = word.iter().flat_map(|word| word.takes.kept()).collect();
        let checked = checks.of_all(&takes);
        let state = |(take, checked): (&Entry, Checked)| {
            json!({
                "name": name_of(take),
                "seconds": take.duration_s,
                "speaker": take.metadata.speaker,
                "style": take.metadata.style,
                "fault": checked.problem,
                "fault_kind": checked.problem_kind,
                "warning": checked.warning,
                "verdict": checked.verdict,
                "origin": match take.metadata.origin.as_str() {
                    "" => "recorded",
                    origin => origin,
                },
            })
        };
        takes.into_iter().zip(checked).map(state).collect()
    }
}
