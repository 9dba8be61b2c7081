//! Test of the fine-tuning recipe on a tiny backbone with random weights, and of the model that it
//! makes.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_audio::features::LogMel;
use wakeling_core::progress::{NoProgress, Progress};
use wakeling_data::negatives::{Negatives, SpeechClip};
use wakeling_shared::model::{MAX_KEYWORDS, Model};
use wakeling_tests::hostile::own::{small_head, small_pretrained};
use wakeling_train::{
    Result,
    finetune::{Keyword, Recipe, Trainable, progress::MISSED},
    quantize::{Backbone, CardText, QuantizedModel},
};

fn backbone() -> Backbone {
    Backbone::new(small_pretrained()).expect("it has ranges")
}

/// Frames at about a level.
fn sound(rng: &mut StdRng, level: i16, frames: usize) -> LogMel {
    let frame = |_| std::array::from_fn(|_| level + rng.random_range(-900..900));
    (0..frames).map(frame).collect()
}

/// Recordings with a phrase between silences.
fn recordings(seed: u64, count: usize) -> Vec<LogMel> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let recording =
        |_| [sound(rng, 3_000, 50), sound(rng, 8_000, 70), sound(rng, 3_000, 50)].concat();
    (0..count).map(recording).collect()
}

/// Recipe for one keyword with ten minutes of negatives and few training steps.
fn recipe(keywords: Vec<Keyword>) -> Result<Recipe> {
    let rng = &mut StdRng::seed_from_u64(9);
    let mut clip = |i: usize| sound(rng, 4_000 + 200 * (i % 5) as i16, 3_000);
    let speech = (0..20).map(&mut clip).collect::<Vec<_>>();
    let noise = (0..6).map(clip).collect();
    let speech = speech.into_iter().map(|frames| SpeechClip { frames, text: String::new() });
    let mut recipe = Recipe::new(backbone(), keywords)?;
    recipe.negatives = Negatives { speech: speech.collect(), noise };
    recipe.only_own = true;
    let train = &mut recipe.settings.train;
    (train.steps, train.backbone_steps, train.positive_streams) = (6, 3, 12);
    (train.negative_hours, train.workers) = (0.0, 2);
    recipe.settings.head.ensemble_members = 2;
    Ok(recipe)
}

fn keyword() -> Keyword {
    Keyword::of_clips("hey you", recordings(1, 6))
}

/// Observer that counts, and cancels at the given check.
#[derive(Default)]
struct Watch {
    checks: AtomicU64,
    cancel_at: Option<u64>,
    units: AtomicU64,
    lines: Mutex<Vec<String>>,
    stages: Mutex<Vec<String>>,
    /// Points of the curve of misses: training step and percent.
    missed: Mutex<Vec<(usize, f64)>>,
}

impl Progress for Watch {
    fn advance(&self, units: u64) {
        self.units.fetch_add(units, Ordering::Relaxed);
    }

    fn message(&self, text: &str) {
        self.stages.lock().expect("no panic").push(text.to_owned());
    }

    fn point(&self, curve: &'static str, step: usize, value: f64) {
        if curve == MISSED {
            self.missed.lock().expect("no panic").push((step, value));
        }
    }

    fn line(&self, line: &str) {
        self.lines.lock().expect("no panic").push(line.to_owned());
    }

    fn is_cancelled(&self) -> bool {
        let check = self.checks.fetch_add(1, Ordering::Relaxed);
        self.cancel_at.is_some_and(|at| check >= at)
    }
}

#[test]
fn recipe_gives_a_model_that_loads_and_its_decisions() -> Result<()> {
    let watch = Watch::default();
    let mut keyword = recordings(1, 4);
    keyword.push(vec![[3_000; 40]; 5]);
    let result = recipe(vec![Keyword::of_clips("hey you", keyword)])?.run(&watch)?;
    assert_eq!((result.trained, result.heads.len()), (Trainable::Head, 1));
    assert_eq!(watch.units.into_inner(), 100);
    let lines = watch.lines.into_inner().expect("no panic");
    assert_eq!(lines, result.messages);
    let [without, decision] = &lines[..] else { panic!("{lines:#?}") };
    assert!(without.contains("1 recordings of \"hey you\" hold no phrase"), "{without}");
    assert!(decision.contains("head alone: 5 recordings"), "{decision}");

    let bytes = result.model.bytes()?;
    let model = Model::load(&bytes).expect("a device loads it");
    assert_eq!((model.words.len(), model.words[0].label), (1, "hey you"));
    assert_eq!(model, result.model.view());

    let folder = tempfile::tempdir().expect("a temporary folder");
    result.save(folder.path(), serde_json::json!({ "base": "x" }), &NoProgress)?;
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect(name);
    assert_eq!(read("model.wkl"), bytes);
    let settings: serde_json::Value = serde_json::from_slice(&read("settings.json")).expect("JSON");
    assert_eq!((&settings["base"], &settings["train"]), (&"x".into(), &"auto".into()));
    assert_eq!(settings["settings"]["steps"], 6);
    assert!(folder.path().join("hey-you.head").is_file());
    assert!(folder.path().join("recordings.json").is_file());
    assert!(!folder.path().join("base.safetensors").exists());
    Ok(())
}

#[test]
fn a_trained_backbone_is_part_of_the_result() -> Result<()> {
    let mut recipe = recipe(vec![keyword()])?;
    recipe.train = Trainable::All;
    let result = recipe.run(&NoProgress)?;
    assert_eq!(result.trained, Trainable::All);
    assert_eq!(result.backbone.pretrained.info.name, "random-tuned");
    let folder = tempfile::tempdir().expect("a temporary folder");
    result.save(folder.path(), serde_json::json!({}), &NoProgress)?;
    assert!(folder.path().join("base.safetensors").is_file());
    Ok(())
}

/// A run can be cancelled at each of its checks: nothing follows but what was in flight.
#[test]
fn a_cancelled_run_stops_at_any_point() -> Result<()> {
    for train in [Trainable::Head, Trainable::All] {
        let mut recipe = recipe(vec![keyword()])?;
        recipe.train = train;
        let whole = Watch::default();
        recipe.run(&whole)?;
        let (checks, stages) = (whole.checks.into_inner(), whole.stages.into_inner());
        assert!(checks > 60, "{checks}");
        // In each stage, from the first to the last.
        for at in (0..checks).step_by(checks as usize / 12) {
            let watch = Watch { cancel_at: Some(at), ..Watch::default() };
            let error = recipe.run(&watch).expect_err("it is cancelled");
            assert!(error.is_cancelled(), "{train} at {at}: {error}");
            let more = watch.checks.into_inner() - at;
            assert!(more < 40, "{train} at {at} of {checks}: {more} more checks");
        }
        assert!(stages.expect("no panic").len() >= 5);
    }
    Ok(())
}

/// Wherever a run was cut off, the next one goes on from its checkpoint, to the same model.
#[test]
fn a_run_goes_on_from_its_checkpoints_to_the_same_model() -> Result<()> {
    // Within the heads, and within the backbone.
    for (train, part) in [(Trainable::Head, 5), (Trainable::All, 3)] {
        let mut recipe = recipe(vec![keyword()])?;
        recipe.train = train;
        let whole = Watch::default();
        let bytes = recipe.run(&whole)?.model.bytes()?;
        let (checks, missed) = (whole.checks.into_inner(), whole.missed.into_inner());
        let missed = missed.expect("no panic");
        assert!(missed.len() >= 12 && missed.is_sorted_by_key(|(step, _)| *step), "{missed:?}");
        assert!(missed.iter().all(|(_, percent)| (0.0..=100.0).contains(percent)), "{missed:?}");
        let place = tempfile::tempdir().expect("a temporary folder");
        recipe.checkpoints = Some(place.path().join("checkpoints"));
        let cut = Watch { cancel_at: Some(checks * part / 6), ..Watch::default() };
        assert!(recipe.run(&cut).expect_err("it is cancelled").is_cancelled());
        let resumed = Watch::default();
        assert!(recipe.run(&resumed)?.model.bytes()? == bytes, "{train}");
        let repeated = resumed.missed.into_inner().expect("no panic");
        assert!(repeated.len() < missed.len(), "{train}: {repeated:?}");
        assert!(missed.ends_with(&repeated), "{train}: {repeated:?} of {missed:?}");
    }
    Ok(())
}

#[test]
fn rejects_a_keyword_that_is_given_twice() {
    let keywords = vec![keyword(), Keyword::of_clips("Hey You", recordings(2, 5))];
    let error = Recipe::new(backbone(), keywords).expect_err("they have one name").to_string();
    assert!(error.contains("given twice"), "{error}");
}

#[test]
fn rejects_more_keywords_than_a_model_holds() -> Result<()> {
    let backbone = backbone();
    let entry = small_head(&backbone.pretrained).entry(&backbone)?;
    let model = |words: usize| {
        QuantizedModel::new(&backbone, vec![entry.clone(); words], CardText::default())
    };
    let most = (1..=MAX_KEYWORDS).rev().find(|&words| model(words).is_ok()).expect("one fits");
    assert_eq!(model(most)?.view().words.len(), most);
    assert!(Model::load(&model(most)?.bytes()?).is_ok());
    for words in [most + 1, MAX_KEYWORDS + 1] {
        let error = model(words).expect_err("too many").to_string();
        assert!(error.contains("a model holds at most"), "{error}");
    }
    Ok(())
}
