//! Files for tests of the packages of other languages: models, a recording, damaged models.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wakeling_audio as audio;
use wakeling_device::model_file;
use wakeling_shared::{gate::GateParams, model::Model};

use crate::{
    Random, Tier,
    hostile::{device, mutate},
    loud::{loud_model, sawtooth},
    model::{gated, random_model_with_heads},
    sound,
};

/// Number of damaged files.
const DAMAGED: u64 = 1_500;
/// Models with more multiply-accumulates per step are loaded but not run.
const MOST_MACS: usize = 4_000_000;

/// Lowers the thresholds, so that every keyword is detected now and then.
fn eager(file: &[u8]) -> Vec<u8> {
    let mut model = Model::load(file).expect("a valid model");
    model.words.iter_mut().for_each(|word| word.detector.threshold = 200);
    model_file::encode(&model).expect("it can be written")
}

/// Writes models of every normalization, with a gate, and with several heads.
pub fn write_models(place: &Path) -> Vec<PathBuf> {
    let gate = GateParams { margin: 240, hold_steps: 5 };
    let models = [
        ("loud", loud_model()),
        ("tiny", eager(&random_model_with_heads(0, Tier::Tiny, 1))),
        ("odd", eager(&random_model_with_heads(1, Tier::Odd, 2))),
        ("alexa", eager(&random_model_with_heads(2, Tier::Alexa, 3))),
        ("s", eager(&gated(&random_model_with_heads(3, Tier::S, 4), gate))),
        ("m", eager(&random_model_with_heads(4, Tier::M, 1))),
    ];
    let write = |(name, file): (&str, Vec<u8>)| {
        let path = place.join(format!("{name}.wkl"));
        fs::write(&path, file).expect("a model");
        path
    };
    models.into_iter().map(write).collect()
}

/// Writes a recording as a WAV file and as raw samples.
pub fn write_sound(place: &Path) -> (PathBuf, PathBuf) {
    let pcm = [sound::speech_like(5, 8), sawtooth(8_000), vec![0; 4_321]].concat();
    let (wav, raw) = (place.join("sound.wav"), place.join("sound.raw"));
    audio::write_wav(&wav, &pcm).expect("a recording");
    let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    fs::write(&raw, bytes).expect("samples");
    (wav, raw)
}

/// Writes files as `tests/tests/hostile.rs` damages them: as they are, and with a valid checksum.
/// The name of a valid model that takes long to run ends in `.slow`.
pub fn write_damaged(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    let seeds = device::model_files();
    for case in 0..DAMAGED {
        let random = &mut Random::new(case);
        let mut file = seeds[random.below(seeds.len())].clone();
        mutate(&mut file, random);
        let resealed = device::resealed(&file);
        for (kind, file) in [("damaged", Some(file)), ("resealed", resealed)] {
            let Some(file) = file else { continue };
            let flash = device::Flash::new(&file);
            let is_slow = Model::load(flash.bytes()).is_ok_and(|m| m.step_macs() > MOST_MACS);
            let end = if is_slow { ".slow" } else { "" };
            fs::write(folder.join(format!("{case:04}-{kind}{end}")), file).expect("a file");
        }
    }
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).expect("a file");
    }
}
