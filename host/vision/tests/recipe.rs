//! Test of the fine-tuning recipe for images on a small network, and of the model that it makes.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use wakeling_core::progress::{NoProgress, Progress};
use wakeling_shared::model::ImageModel;
use wakeling_tests::forms::{FORMS, forms};
use wakeling_vision::{
    Recipe, Result,
    file::ImageNetwork,
    network::NetworkConfig,
    pretrain::{Pretraining, settings},
    strategy::Trainable,
};

const SIDE: usize = 16;
const STEPS: usize = 6;

/// Small network for gray images with random weights.
fn pretrained() -> ImageNetwork {
    let labels = ["a", "b"].map(String::from);
    let config = NetworkConfig::new(0.5, SIDE, 1);
    let images = forms(1, 2, SIDE);
    let mut network =
        ImageNetwork::fresh(config, images.labelling, &labels, 1).expect("a good shape");
    network.info.name = "random".into();
    network.info.licence = "MIT".into();
    network
}

/// Recipe for `count` images and few training steps.
fn recipe(count: usize) -> Result<Recipe> {
    let mut recipe = Recipe::new(pretrained(), forms(2, count, SIDE))?;
    recipe.held_out = Some(forms(3, 9, SIDE));
    recipe.name = "My forms".into();
    (recipe.settings.steps, recipe.settings.batch, recipe.settings.workers) = (STEPS, 4, 2);
    Ok(recipe)
}

/// Observer that counts, and cancels at the given check.
#[derive(Default)]
struct Watch {
    checks: AtomicU64,
    cancel_at: Option<u64>,
    units: AtomicU64,
    lines: Mutex<Vec<String>>,
}

impl Progress for Watch {
    fn advance(&self, units: u64) {
        self.units.fetch_add(units, Ordering::Relaxed);
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
    let result = recipe(12)?.run(&watch)?;
    assert_eq!(result.trained, Trainable::Head);
    assert_eq!(watch.units.into_inner(), STEPS as u64);
    let lines = watch.lines.into_inner().expect("no panic");
    assert_eq!(lines, result.messages);
    assert!(lines[0].contains("head alone: the rarest label has 4 images"), "{lines:?}");

    let bytes = result.model.as_deref().expect("its labels fit a model");
    let model = ImageModel::load(bytes).expect("a device loads it");
    assert_eq!(model, result.view()?);
    assert_eq!((model.labels.as_slice(), model.card.pretrained), (&FORMS[..], "random"));
    let evaluation = result.evaluation.as_ref().expect("there are held-out images");
    let int8 = evaluation.int8.as_ref().expect("there is a model");
    assert_eq!(int8.accuracy.of, 9);
    assert!(evaluation.to_string().starts_with("float: accuracy "), "{evaluation}");
    let measured = result.measure(&forms(3, 9, SIDE))?;
    assert_eq!(measured.accuracy.right, int8.accuracy.right);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let written = result.save(folder.path(), serde_json::json!({ "base": "x" }), &NoProgress)?;
    assert_eq!(written, folder.path().join("model.wkl"));
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect(name);
    assert_eq!(read("model.wkl"), bytes);
    let settings: serde_json::Value = serde_json::from_slice(&read("settings.json")).expect("JSON");
    assert_eq!((&settings["base"], &settings["way"]), (&"x".into(), &"head".into()));
    assert_eq!(settings["settings"]["schedule"]["steps"], STEPS);
    let network = ImageNetwork::load(&folder.path().join("My-forms.safetensors"))?;
    assert_eq!(network.info.provenance, result.network.info.provenance);
    Ok(())
}

#[test]
fn many_images_train_all_layers_and_the_choice_can_be_made() -> Result<()> {
    let mut recipe = recipe(30)?;
    let result = recipe.run(&NoProgress)?;
    assert_eq!(result.trained, Trainable::All);
    assert!(result.messages[0].contains("all layers: the rarest label has 10"));
    recipe.train = Some(Trainable::Scratch);
    let scratch = recipe.run(&NoProgress)?;
    assert!(scratch.messages.is_empty());
    assert_eq!((&*scratch.network.info.pretrained, &*result.network.info.licence), ("", "MIT"));
    assert_ne!(scratch.model, result.model);
    Ok(())
}

#[test]
fn same_seed_gives_same_model() -> Result<()> {
    let mut recipe = recipe(12)?;
    let first = recipe.run(&NoProgress)?.model;
    recipe.settings.workers = 1;
    assert!(first == recipe.run(&Watch::default())?.model);
    recipe.settings.seed = 2;
    assert!(first != recipe.run(&NoProgress)?.model);
    Ok(())
}

/// A run can be cancelled at each of its checks: nothing follows.
#[test]
fn a_cancelled_run_stops_at_any_point() -> Result<()> {
    let recipe = recipe(12)?;
    let whole = Watch::default();
    recipe.run(&whole)?;
    let checks = whole.checks.into_inner();
    assert!(checks >= STEPS as u64 + 2, "{checks}");
    for at in 0..checks {
        let watch = Watch { cancel_at: Some(at), ..Watch::default() };
        let error = recipe.run(&watch).expect_err("it is cancelled");
        assert!(error.is_cancelled(), "at {at}: {error}");
        assert_eq!(watch.checks.into_inner(), at + 1);
    }
    Ok(())
}

#[test]
fn rejects_images_that_do_not_fit() -> Result<()> {
    let reason = |result: Result<()>| result.expect_err("it does not fit").to_string();
    let larger = Recipe::new(pretrained(), forms(1, 6, 20)).map(drop);
    assert!(reason(larger).contains("20 × 20 × 1, and the network takes 16 × 16 × 1"));
    let mut colours = forms(1, 6, SIDE);
    colours.shape.channels = 3;
    assert!(reason(Recipe::new(pretrained(), colours).map(drop)).contains("one channel, gray"));
    let mut recipe = recipe(12)?;
    recipe.held_out = Some(forms(3, 9, SIDE).with_labels(&[1, 0, 2]));
    assert!(reason(recipe.run(&NoProgress).map(drop)).contains("other labels"));
    Ok(())
}

#[test]
fn a_pretrained_network_is_the_start_of_another() -> Result<()> {
    let images = forms(1, 12, SIDE);
    let mut pretraining = Pretraining::new(NetworkConfig::new(0.5, SIDE, 1), images);
    pretraining.settings = settings(STEPS, 4e-3, 1, 1);
    pretraining.settings.batch = 4;
    (pretraining.name, pretraining.licence) = ("forms".into(), "CC0-1.0".into());
    let result = pretraining.run()?;
    assert!(result.evaluation.is_none());
    assert!(result.network.info.provenance.starts_with("pretrained on 12 pictures of 3 labels"));
    let mut recipe = Recipe::new(result.network, forms(2, 12, SIDE))?;
    (recipe.settings.steps, recipe.settings.batch) = (1, 2);
    let info = recipe.run(&NoProgress)?.network.info;
    assert_eq!((&*info.pretrained, &*info.licence), ("forms", "CC0-1.0"));
    Ok(())
}
