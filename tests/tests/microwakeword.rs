//! Converted microWakeWord models against their own runtimes: TensorFlow Lite Micro's reference
//! kernels (`tflite-micro`), which ESPHome runs, and `pymicro-wakeword`.
//!
//! Runs if `$WAKELING_PYTHON` (or `python3`) has the packages; prints SKIP otherwise. The recordings
//! are synthesized by espeak-ng, where it is installed, and noise otherwise.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use wakeling_device::{
    emulator::{APPLICATION, METER, Machine},
    simulate::{Chunking, Device, Simulation},
};
use wakeling_interop::microwakeword::import::{
    Imported, LOGIT_OF_ZERO, LOGIT_STEP, Runtime, Settings,
};
use wakeling_shared::{
    detector::{Detector, DetectorParams},
    engine::Engine,
    model::Model,
};
use wakeling_tests::{Random, device, sound, tflite};

/// Models that ship with pymicro-wakeword, with a phrase that each is for.
const MODELS: [(&str, &str); 4] = [
    ("alexa", "alexa"),
    ("hey_jarvis", "hey jarvis"),
    ("hey_mycroft", "hey mycroft"),
    ("okay_nabu", "okay nabu"),
];
/// Most instructions that a step of `alexa` may take on a Cortex-M4: a quarter of the 171,000 of
/// TensorFlow Lite Micro with CMSIS-NN.
const MOST_INSTRUCTIONS: f64 = 42_750.0;

/// Runs the script with the reference runtimes. Returns `None`, with a message, without them.
fn reference(arguments: &[&str]) -> Option<Vec<u8>> {
    let python = env::var("WAKELING_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/microwakeword.py");
    let output = Command::new(&python).arg(script).args(arguments).output();
    let output = output.map_err(|error| format!("{python}: {error}"));
    let output = output.and_then(|output| match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    });
    match output {
        Ok(output) => Some(output),
        Err(problem) if problem.contains("ModuleNotFoundError") || problem.contains(&python) => {
            eprintln!("SKIP: no tflite-micro and pymicro-wakeword: {}", problem.trim());
            None
        }
        Err(problem) => panic!("{problem}"),
    }
}

/// Folder of the models that ship with pymicro-wakeword.
fn shipped() -> Option<PathBuf> {
    let output = reference(&["models"])?;
    Some(PathBuf::from(String::from_utf8(output).expect("a path").trim()))
}

/// Folder for the files of a test.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("the file can be written");
        path.to_string_lossy().into_owned()
    }
}

/// Returns the scores of a converted model, one a step.
fn scores(model: &Model<'_>, features: &[u8]) -> Vec<u8> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(model, &mut arena).expect("the arena has its size");
    let width = usize::from(model.step_width());
    let step = |step: &[u8]| {
        engine.input().iter_mut().zip(step).for_each(|(x, &byte)| *x = byte as i8);
        let mut logit = [0];
        assert!(engine.step(&mut logit), "no step is skipped");
        score(logit[0])
    };
    features.chunks_exact(width).map(step).collect()
}

/// Returns the probability of a logit, which must be one that a probability has.
fn score(logit: i16) -> u8 {
    let above = logit - LOGIT_OF_ZERO;
    assert_eq!(above % LOGIT_STEP, 0, "{logit}");
    u8::try_from(above / LOGIT_STEP).expect("a probability")
}

/// Features that wander through the whole range, so that every layer saturates now and then.
fn wandering_features(seed: u64, frames: usize) -> Vec<u8> {
    let random = &mut Random::new(seed);
    let mut level = [0_i32; 40];
    let mut bytes = Vec::new();
    for _ in 0..frames {
        for level in &mut level {
            *level = (*level + random.below(81) as i32 - 40).clamp(-150, 150);
            bytes.push((*level).clamp(-128, 127) as i8 as u8);
        }
    }
    bytes
}

/// Speech with the phrases of all models, at 16 kHz; noise without espeak-ng.
fn spoken(seconds: usize) -> Vec<i16> {
    let mut pcm = Vec::new();
    let mut voices = ["en-us", "en-gb", "en-gb-x-rp"].into_iter().cycle();
    let mut random = Random::new(5);
    while pcm.len() < seconds * 16_000 {
        for (_, phrase) in MODELS {
            let speed = (130 + random.below(50)).to_string();
            let voice = voices.next().expect("it cycles");
            let text = format!("the next train is late. {phrase}! what is the weather like?");
            let arguments = ["-v", voice, "-s", &speed, "--stdout", &text];
            let Ok(output) = Command::new("espeak-ng").args(arguments).output() else {
                eprintln!("SKIP: no espeak-ng; noise instead of speech");
                return sound::speech_like(11, seconds);
            };
            pcm.extend(at_16_khz(&output.stdout));
        }
    }
    pcm
}

/// Samples of a WAV file with a header of 44 bytes at 22,050 Hz, at 16 kHz.
fn at_16_khz(wav: &[u8]) -> Vec<i16> {
    let data = wav.get(44..).unwrap_or_default();
    let samples: Vec<f64> =
        data.as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair).into()).collect();
    let step = 22_050.0 / 16_000.0;
    let count = (samples.len() as f64 / step) as usize;
    let at = |n: usize| {
        let position = n as f64 * step;
        let (index, share) = (position as usize, position.fract());
        let next = samples.get(index + 1).copied().unwrap_or(0.0);
        (samples[index] * (1.0 - share) + next * share) as i16
    };
    (0..count.saturating_sub(1)).map(at).collect()
}

fn bytes_of(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// Compares the scores of a model with those of TensorFlow Lite Micro. Returns the scores.
fn compare(name: &str, file: &[u8], features: &[u8], scratch: &Scratch) -> Option<Vec<u8>> {
    let path = scratch.put("model.tflite", file);
    let expected = reference(&["scores", &path, &scratch.put("features", features)])?;
    let imported =
        Imported::of(file, &Settings::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let model = Model::load(imported.bytes()).expect("it loads");
    let found = scores(&model, features);
    assert_eq!(found.len(), expected.len(), "{name}");
    let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
    if let Some(at) = differs {
        panic!("{name}: step {at}: {} here, {} in TensorFlow Lite Micro", found[at], expected[at]);
    }
    Some(found)
}

#[test]
fn shipped_models_score_as_tensorflow_lite_micro_at_every_step() {
    let Some(folder) = shipped() else { return };
    let scratch = Scratch::new();
    let pcm = scratch.put("pcm", &bytes_of(&spoken(180)));
    let Some(features) = reference(&["features", &pcm]) else { return };
    let wandering = wandering_features(1, 3_000);
    for (name, _) in MODELS {
        let file = fs::read(folder.join(name).with_extension("tflite")).expect("the model");
        for features in [&features, &wandering] {
            let Some(found) = compare(name, &file, features, &scratch) else { return };
            let highest = found.iter().max().copied().unwrap_or(0);
            eprintln!("{name}: {} steps are equal, highest score {highest}", found.len());
        }
    }
}

#[test]
fn other_layouts_score_as_tensorflow_lite_micro_at_every_step() {
    let scratch = Scratch::new();
    let mut different = std::collections::BTreeSet::new();
    for seed in 1..=12 {
        let file = if seed % 4 == 0 { tflite::alexa(seed) } else { tflite::other(seed) };
        let features = wandering_features(seed, 1_500);
        let name = format!("seed {seed}");
        let Some(found) = compare(&name, &file, &features, &scratch) else { return };
        let own: std::collections::BTreeSet<u8> = found.iter().copied().collect();
        eprintln!("{name}: {} different scores", own.len());
        different.extend(found);
    }
    assert!(different.len() > 100, "only {} different scores: a test of nothing", different.len());
}

/// Largest distance in seconds between two detections of the same phrase.
const SAME_S: f64 = 0.5;

#[test]
fn detections_are_those_of_pymicro_wakeword() {
    let Some(folder) = shipped() else { return };
    let scratch = Scratch::new();
    let samples = spoken(300);
    let pcm = scratch.put("pcm", &bytes_of(&samples));
    let (mut detected, mut alone) = (0, 0);
    for (name, _) in MODELS {
        let path = folder.join(name).with_extension("tflite");
        let imported = Imported::open(&path, None, Runtime::Python).expect("it is converted");
        assert!(imported.manifest.is_some(), "the manifest is beside the model");
        let config = path.with_extension("json").to_string_lossy().into_owned();
        let Some(output) = reference(&["detections", &config, &pcm]) else { return };
        let model = Model::load(imported.bytes()).expect("it loads");
        let steps = output.as_chunks::<2>().0;
        // The detector decides on the package's own scores as the package does, but for the
        // refractory period.
        let params = DetectorParams { refractory_steps: 0, ..model.words[0].detector };
        let mut detector = Detector::new(params);
        for (at, &[score, expected]) in steps.iter().enumerate() {
            let logit = LOGIT_OF_ZERO + LOGIT_STEP * i16::from(score);
            let found = detector.step(logit).fired;
            assert_eq!(found, expected == 1, "{name}, step {at}");
        }
        // The whole flow. The package runs XNNPACK, whose scores differ from TensorFlow Lite
        // Micro's, and a front end with other noise.
        let device = Device::Host(Chunking::Fixed(320));
        let simulation = device.run(&model, &samples, false).expect("it runs");
        let own: Vec<f64> =
            simulation.detections.iter().map(|d| d.end_samples as f64 / 16_000.0).collect();
        let starts = steps.windows(2).zip(2..).filter(|(pair, _)| pair[0][1] < pair[1][1]);
        let step_s = imported.step_ms as f64 / 1_000.0;
        let theirs: Vec<f64> = starts.map(|(_, end)| f64::from(end) * step_s).collect();
        let has = |list: &[f64], time: f64| list.iter().any(|t| (t - time).abs() < SAME_S);
        let both = own.iter().filter(|&&time| has(&theirs, time)).count();
        eprintln!(
            "{name}: {} detections, pymicro-wakeword {}, {both} of them the same",
            own.len(),
            theirs.len()
        );
        detected += both;
        alone += own.len() - both + theirs.iter().filter(|&&time| !has(&own, time)).count();
    }
    eprintln!("{detected} detections by both, {alone} by one of them");
    assert!(alone <= 1 + detected / 5, "{alone} detections of {detected} by one of them");
}

#[test]
fn a_converted_model_runs_on_the_chip() {
    let Some(emulator) = device::emulator(Machine::CORTEX_M4, APPLICATION) else { return };
    let pcm = sound::speech_like(4, 12);
    for file in [tflite::alexa(4), tflite::other(1), tflite::other(6)] {
        let imported = Imported::of(&file, &Settings::default()).expect("it is converted");
        let model = Model::load(imported.bytes()).expect("it loads");
        let host = Device::Host(Chunking::Fixed(320)).lines(&model, &pcm, true).expect("it runs");
        let chip = Device::Emulator(emulator.clone()).lines(&model, &pcm, true).expect("it runs");
        let chip = chip.trim_end().rsplit_once('\n').map_or("", |(lines, _)| lines);
        assert_eq!(host.trim_end(), chip);
        let steps = Simulation::parse(&host).expect("lines of events").steps;
        let different: std::collections::BTreeSet<i16> =
            steps.iter().map(|step| step.words[0].logit).collect();
        assert!(different.len() > 10, "only {} different scores", different.len());
    }
}

#[test]
fn alexa_costs_a_quarter_of_tensorflow_lite_micro() {
    let Some(meter) = device::emulator(Machine::CORTEX_M4, METER) else { return };
    let shipped = shipped().and_then(|folder| fs::read(folder.join("alexa.tflite")).ok());
    let pcm = sound::speech_like(4, 3);
    for file in [Some(tflite::alexa(3)), shipped].into_iter().flatten() {
        let imported = Imported::of(&file, &Settings::default()).expect("it is converted");
        let text = meter.measure(imported.bytes(), &pcm, &[]).expect("the meter runs");
        let line = text.lines().last().expect("the meter prints a line");
        let field = |name: &str| -> f64 {
            let value = line.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).expect("the program prints it")
        };
        let step = field("network") / field("steps");
        eprintln!("{step} instructions a step, {} products", imported.macs);
        assert!(step <= MOST_INSTRUCTIONS, "{step} instructions a step");
    }
}
