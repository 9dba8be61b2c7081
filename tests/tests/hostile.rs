//! Tests every entry point with damaged input: a few cases in every run, and any number of them
//! with `WAKELING_FUZZ_CASES`. Also tests every bit of a real model, and every input that once
//! broke something.

use std::{
    env, fs, panic,
    path::{Path, PathBuf},
};

use wakeling_nn::pretrained::PretrainedModel;
use wakeling_shared::model::{HEADER_BYTES, Model};
use wakeling_tests::{
    Random,
    hostile::{self, TARGETS, Target, device, own},
};

/// Number of cases per entry point, unless `WAKELING_FUZZ_CASES` is set.
const CASES: u64 = 200;
/// Folder for inputs that break an entry point.
const FOUND: &str = env!("CARGO_TARGET_TMPDIR");

fn cases() -> u64 {
    env::var("WAKELING_FUZZ_CASES").map_or(CASES, |count| count.parse().expect("a number of cases"))
}

/// Runs an entry point on one input; saves the input if it breaks.
fn knock(target: Target, input: &[u8], what: &str) {
    if let Err(problem) = panic::catch_unwind(|| (target.run)(input)) {
        let path = Path::new(FOUND).join(format!("{}-{what}", target.name));
        fs::write(&path, input).expect("the input can be kept");
        eprintln!("{} broke at {what}; the input is {}", target.name, path.display());
        panic::resume_unwind(problem);
    }
}

/// Runs an entry point on valid input, then on damaged input.
fn fuzz(name: &str) {
    let target = hostile::target(name);
    let seeds = (target.seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        knock(target, seed, &format!("seed-{number}"));
    }
    for case in 0..cases() {
        let random = &mut Random::new(case);
        let mut input = seeds[random.below(seeds.len())].clone();
        hostile::mutate(&mut input, random);
        knock(target, &input, &format!("case-{case}"));
    }
}

macro_rules! entry_points {
    ($($name:ident),*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { fuzz(stringify!($name)); })*
    };
}

entry_points!(
    model_file,
    description,
    tflite,
    pipeline,
    events,
    manifest,
    common_voice,
    librispeech,
    speech_commands,
    shards,
    archive,
    audio,
    image,
    labels,
    tokens,
    pretrained,
    head,
    image_network,
    pack,
    dataset_index,
    recordings
);

#[test]
fn every_entry_point_has_a_test() {
    let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    assert_eq!(names, TESTED);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut programs: Vec<String> = fs::read_dir(root)
        .expect("the fuzzing programs")
        .map(|e| e.expect("a name").path().file_stem().unwrap_or_default().to_string_lossy().into())
        .collect();
    programs.sort();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(programs, sorted);
}

/// Every input that once broke an entry point, by the name of the entry point.
#[test]
fn saved_crashing_inputs_are_handled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile");
    let entries = |path: &Path| -> Vec<PathBuf> {
        let read = fs::read_dir(path).expect("a folder of inputs");
        read.map(|e| e.expect("a name").path()).collect()
    };
    let mut tried = 0;
    for folder in entries(&root).iter().filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        for path in entries(folder) {
            let input = fs::read(&path).expect("an input");
            knock(hostile::target(&name), &input, "regression");
            tried += 1;
        }
    }
    assert!(tried > 0);
}

/// A model as users have it: the shipped backbone of tier S with a small head.
fn real() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/models/base-s.safetensors");
    let pretrained = PretrainedModel::load(&path).expect("the base that ships");
    own::model_of(&pretrained, &own::small_head(&pretrained)).expect("a model")
}

/// Returns the number of bytes before the arrays: header and description.
fn structure(file: &[u8]) -> usize {
    let described = u32::from_le_bytes([file[12], file[13], file[14], file[15]]) as usize;
    HEADER_BYTES + described.next_multiple_of(8)
}

#[test]
fn every_truncation_of_a_real_model_is_refused() {
    let file = real();
    assert!(device::refused_or_runs(&file));
    let flash = device::Flash::new(&file);
    for length in 0..file.len() {
        assert!(Model::load(&flash.bytes()[..length]).is_err(), "{length}");
    }
}

#[test]
fn every_flip_of_a_real_models_structure_is_refused_or_runs() {
    let file = real();
    let structure = structure(&file);
    let (mut ran, mut refused) = (0, 0);
    for bit in 0..8 * structure {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(!device::refused_or_runs(&damaged), "bit {bit} was not noticed");
        // Forges the bytes that the checksum covers.
        if bit >= 8 * HEADER_BYTES {
            let forged = device::resealed(&damaged).expect("a header");
            *(if device::refused_or_runs(&forged) { &mut ran } else { &mut refused }) += 1;
        }
    }
    assert!(ran > 500 && refused > 100, "{ran} ran, {refused} refused");
}

#[test]
fn flips_of_a_real_models_weights_are_refused_and_run_when_forged() {
    let file = real();
    let (first, random) = (structure(&file), &mut Random::new(1));
    let mut ran = 0;
    for _ in 0..cases() {
        let at = first + random.below(file.len() - first);
        let mut damaged = file.clone();
        damaged[at] ^= 1 << random.below(8);
        assert!(!device::refused_or_runs(&damaged), "byte {at} was not noticed");
        ran += u64::from(device::refused_or_runs(&device::resealed(&damaged).expect("a header")));
    }
    // Most weights may have any value, but biases and multipliers may not.
    assert!(ran > cases() / 2, "{ran} of {} ran", cases());
}
