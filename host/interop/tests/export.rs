//! Exported networks in the real runtimes: TensorFlow Lite Micro, and the one of pymicro-wakeword.
//!
//! Runs if `$WAKELING_PYTHON` (or `python3`) has the packages; prints SKIP otherwise.

use std::{env, fmt, fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;
use wakeling_audio::features::features;
use wakeling_device::model_file;
use wakeling_interop::{
    ExportError,
    microwakeword::{
        export::{Network, network},
        import::{Imported, LOGIT_OF_ZERO, LOGIT_STEP, Settings},
        manifest::Micro,
        score::EsphomeDetector,
    },
};
use wakeling_shared::{
    detector::Detector,
    engine::Engine,
    model::{Model, Op},
};
use wakeling_tests::{
    model::{Tier, random_model_with_heads},
    sound,
};

/// Seed whose model has PCAN features.
const PCAN_SEED: u64 = 4;
/// Bytes of the arena by which the estimate may exceed what the runtime uses.
const ARENA_SPARE: usize = 5_000;

/// Runtime in Python, with its name in the script.
const MICRO: &str = "micro";
const LITE: &str = "lite";

/// Runs a network on features; returns its scores and the script's report, or why it cannot.
fn scores(runtime: &str, network: &Network, features: &[i8]) -> Result<(Vec<u8>, Value), String> {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("network.tflite"), &network.file).expect("the network");
    let bytes: Vec<u8> = features.iter().map(|&feature| feature as u8).collect();
    fs::write(path("features"), bytes).expect("the features");
    let python = env::var("WAKELING_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run_network.py");
    let output = Command::new(&python)
        .arg(script)
        .arg(runtime)
        .args(["network.tflite", "features", "scores"].map(path))
        .output()
        .map_err(|error| format!("{python}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        // Only a missing package is a reason to skip.
        assert!(errors.contains("ModuleNotFoundError"), "{runtime}: {errors}");
        return Err(errors);
    }
    let report = serde_json::from_slice(&output.stdout).expect("JSON");
    Ok((fs::read(path("scores")).expect("scores"), report))
}

/// Returns the logits of our engine.
fn logits(model: &Model<'_>, features: &[i8], keyword: usize) -> Vec<i16> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(model, &mut arena).expect("the arena");
    let mut logits = vec![0; model.words.len()];
    let steps = features.chunks_exact(model.step_width().into());
    let step = |step: &[i8]| {
        engine.input().copy_from_slice(step);
        engine.step(&mut logits);
        logits[keyword]
    };
    steps.map(step).collect()
}

/// Returns the scores of the imported network in our engine.
fn imported_scores(network: &Network, features: &[i8]) -> Vec<u8> {
    let micro = Micro {
        probability_cutoff: network.scale.probability_cutoff(),
        sliding_window_size: network.scale.window().into(),
        ..Micro::default()
    };
    let settings = Settings { wake_word: "x".into(), micro, ..Settings::default() };
    let imported = Imported::of(&network.file, &settings).expect("an import");
    let model = Model::load(imported.bytes()).expect("a model");
    assert_eq!(model.words[0].detector.smoothing_steps, network.scale.window());
    let logits = logits(&model, features, 0);
    logits.iter().map(|&logit| ((logit - LOGIT_OF_ZERO) / LOGIT_STEP) as u8).collect()
}

/// Counts of the differences between scores.
struct Differences {
    steps: usize,
    different: usize,
    more_than_one: usize,
    largest: u8,
}

impl Differences {
    fn of(found: &[u8], expected: &[u8]) -> Self {
        assert_eq!(found.len(), expected.len());
        let distances = found.iter().zip(expected).map(|(f, e)| f.abs_diff(*e));
        Self {
            steps: found.len(),
            different: distances.clone().filter(|&d| d > 0).count(),
            more_than_one: distances.clone().filter(|&d| d > 1).count(),
            largest: distances.max().unwrap_or(0),
        }
    }
}

/// Puts the residual stream first in every sum, as the quantizer writes it. The sums keep their
/// results, since both addends have the same scale and zero point.
fn swap_addends(model: &mut Model<'_>) {
    for layer in &mut model.layers {
        if let Op::Add { other, .. } = &mut layer.op {
            std::mem::swap(&mut layer.input, other);
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, different, more_than_one, largest } = self;
        write!(
            f,
            "{different} of {steps} differ, {more_than_one} by more than 1, at most {largest}"
        )
    }
}

fn pcan_features(model: &Model<'_>, pcm: &[i16]) -> Vec<i8> {
    features(pcm, &model.frontend).into_iter().flatten().collect()
}

#[test]
fn the_runtime_gives_the_scores_of_the_engine() {
    for (tier, heads, largest) in [(Tier::Tiny, 2, 2), (Tier::Alexa, 1, 5), (Tier::M, 1, 6)] {
        let file = random_model_with_heads(PCAN_SEED, tier, heads);
        let mut model = Model::load(&file).expect("a model");
        if tier == Tier::Alexa {
            swap_addends(&mut model);
        }
        let features = pcan_features(&model, &sound::speech_like(7, 40));
        let keyword = heads - 1;
        let network = network(&model, keyword).expect("a network");
        let logits = logits(&model, &features, keyword);
        let engine: Vec<u8> = logits.iter().map(|&logit| network.scale.score(logit)).collect();
        let spread = engine.iter().max().unwrap() - engine.iter().min().unwrap();
        assert!(spread > 60, "{tier:?}: scores within {spread} would show nothing");
        // Bit by bit, where our engine rounds as TensorFlow Lite does.
        let imported = imported_scores(&network, &features);
        match scores(MICRO, &network, &features) {
            Ok((found, report)) => {
                assert_eq!(found, imported, "{tier:?}");
                check_arena(&network, &report);
            }
            Err(reason) => println!("SKIP: TensorFlow Lite Micro: {reason}"),
        }
        let differences = Differences::of(&imported, &engine);
        println!("{tier:?}, our rounding: {differences}");
        assert!(differences.largest <= largest, "{tier:?}: {differences}");
        match scores(LITE, &network, &features) {
            Ok((found, _)) => {
                let differences = Differences::of(&found, &imported);
                println!("{tier:?}, pymicro-wakeword: {differences}");
                assert!(differences.largest <= largest, "{tier:?}: {differences}");
            }
            Err(reason) => println!("SKIP: pymicro-wakeword: {reason}"),
        }
    }
}

/// Compares the memory with what the runtime reports, which has no kernels of ESP-NN.
fn check_arena(network: &Network, report: &Value) {
    let used = report["total"].as_u64().expect("a number") as usize;
    let expected = network.arena.without_kernels();
    println!("arena: {used} bytes in use, {expected} expected");
    assert!((used..used + ARENA_SPARE).contains(&expected), "{used} {expected}: {report}");
}

/// The exported network, imported again, fires where the model does: within a step of the score.
#[test]
fn esphome_decides_as_our_detector() {
    let file = random_model_with_heads(PCAN_SEED, Tier::Alexa, 1);
    let mut model = Model::load(&file).expect("a model");
    let features = pcan_features(&model, &sound::speech_like(11, 60));
    let logits = logits(&model, &features, 0);
    let mut sorted = logits.clone();
    sorted.sort_unstable();
    // Two thresholds that are crossed often, but not always.
    for threshold in [sorted[sorted.len() * 9 / 10], sorted[sorted.len() * 97 / 100]] {
        model.words[0].detector.threshold = threshold;
        let network = network(&model, 0).expect("a network");
        let mut ours = Detector::new(model.words[0].detector);
        let scale = &network.scale;
        let mut theirs =
            EsphomeDetector::new(scale.cutoff(), scale.window(), model.frames_per_step);
        let scores = imported_scores(&network, &features);
        let (mut fired, mut apart) = (0, 0);
        for (&logit, &score) in logits.iter().zip(&scores) {
            let smoothed = ours.step(logit).smoothed;
            let margin = f64::from(smoothed - threshold).abs() / 256.0;
            // The mean that ESPHome compares, from the same window.
            let is_above = theirs.is_above(score);
            fired += u32::from(smoothed >= threshold);
            // A tenth of a log-odds is a step of the score; the mean of two roundings is near it.
            apart += u32::from(is_above != (smoothed >= threshold) && margin > 0.25);
        }
        assert!(fired > 10, "{fired}");
        assert_eq!(apart, 0, "of {fired}");
    }
}

#[test]
fn models_without_a_counterpart_are_refused() {
    // The other seeds have other features.
    for seed in 1..4 {
        let file = random_model_with_heads(seed, Tier::Tiny, 1);
        let model = Model::load(&file).expect("a model");
        let error = network(&model, 0).expect_err("no PCAN");
        assert!(matches!(error, ExportError::NotPcan { .. }), "{error}");
    }
    let file = random_model_with_heads(PCAN_SEED, Tier::Tiny, 1);
    let model = Model::load(&file).expect("a model");
    let refused = |change: &dyn Fn(&mut Op<'_>)| {
        let mut changed = model.clone();
        changed.layers.iter_mut().for_each(|layer| change(&mut layer.op));
        let changed = model_file::encode(&changed).expect("a model");
        let changed = Model::load(&changed).expect("it still loads");
        match network(&changed, 0) {
            Err(ExportError::Layer { problem, .. }) => problem,
            other => panic!("{:?}", other.map(|network| network.file.len())),
        }
    };
    let strided = |op: &mut Op<'_>| {
        if let Op::Depthwise { stride, .. } = op {
            *stride = 2;
        }
    };
    let mut first = model.clone();
    if let Some(layer) = first.layers.get_mut(1) {
        strided(&mut layer.op);
    }
    let error = network(&first, 0).expect_err("a stride");
    assert!(error.to_string().contains("every second step"), "{error}");
    let reason = refused(&|op| {
        if let Op::Add { x_zero, .. } = op {
            *x_zero = 3;
        }
    });
    assert!(reason.contains("zero points"), "{reason}");
    let reason = refused(&|op| {
        if let Op::Add { o_scale, .. } = op {
            *o_scale = 0;
        }
    });
    assert!(reason.contains("scale 0"), "{reason}");
}

/// Scores hardly show a start that is wrong by one, so the values are compared.
#[test]
fn variables_start_at_the_zero_points_of_their_layers() {
    let file = random_model_with_heads(PCAN_SEED, Tier::S, 1);
    let mut model = Model::load(&file).expect("a model");
    for (layer, zero) in model.layers.iter_mut().zip(3i8..) {
        if let Op::Depthwise { input_zero, .. } = &mut layer.op {
            *input_zero = -zero;
        }
    }
    let network = network(&model, 0).expect("a network");
    let imported = Imported::of(&network.file, &Settings::default()).expect("an import");
    let imported = Model::load(imported.bytes()).expect("a model");
    let zeros = |model: &Model<'_>| -> Vec<i8> {
        let zero = |op: &Op<'_>| match op {
            Op::Depthwise { input_zero, .. } | Op::DepthwiseTflite { input_zero, .. } => {
                Some(*input_zero)
            }
            _ => None,
        };
        model.layers.iter().filter_map(|layer| zero(&layer.op)).collect()
    };
    assert_eq!(zeros(&model).len(), 9);
    assert_eq!(zeros(&imported), zeros(&model));
}

/// The imported form of an exported network cannot be exported once more.
#[test]
fn imported_networks_are_refused() {
    let file = random_model_with_heads(PCAN_SEED, Tier::Tiny, 1);
    let model = Model::load(&file).expect("a model");
    let network_of = network(&model, 0).expect("a network");
    let imported = Imported::of(&network_of.file, &Settings::default()).expect("an import");
    let imported = Model::load(imported.bytes()).expect("a model");
    let error = network(&imported, 0).expect_err("it was imported");
    assert!(error.to_string().contains("imported"), "{error}");
}

/// Scores over an hour of speech in noise, of the model in `$WAKELING_EXPORT_MODEL`.
#[test]
#[ignore = "it needs a trained model and an hour of speech"]
fn an_hour_of_speech() {
    let path = env::var("WAKELING_EXPORT_MODEL").expect("the path of a model");
    let file = fs::read(&path).expect("the model");
    let model = Model::load(&file).expect("a model");
    let pcm = sound::recorded(3_600).expect("speech");
    let features = pcan_features(&model, &pcm);
    let network = network(&model, 0).expect("a network");
    let logits = logits(&model, &features, 0);
    let engine: Vec<u8> = logits.iter().map(|&logit| network.scale.score(logit)).collect();
    let imported = imported_scores(&network, &features);
    let (micro, report) = scores(MICRO, &network, &features).expect("the runtime");
    check_arena(&network, &report);
    println!("{} steps, arena {:?}", micro.len(), network.arena);
    assert_eq!(micro, imported, "TensorFlow Lite Micro and our engine");
    println!("our rounding: {}", Differences::of(&micro, &engine));
    let (lite, _) = scores(LITE, &network, &features).expect("the runtime");
    println!("pymicro-wakeword: {}", Differences::of(&lite, &micro));
    for percent in [90, 99, 100] {
        let mut sorted = engine.clone();
        sorted.sort_unstable();
        let cutoff = sorted[(sorted.len() - 1) * percent / 100].saturating_sub(1);
        let count = |scores: &[u8]| {
            let window = network.scale.window();
            let mut detector = EsphomeDetector::new(cutoff, window, model.frames_per_step);
            scores.iter().filter(|&&score| detector.step(score)).count()
        };
        println!(
            "cutoff {cutoff}: {} detections by our rounding, {} by TensorFlow Lite Micro, {} by \
             pymicro-wakeword",
            count(&engine),
            count(&micro),
            count(&lite)
        );
    }
}
