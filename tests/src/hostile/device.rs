//! Entry points for data that a device reads or writes: model files, sound, and event lines.

use std::sync::LazyLock;

use wakeling_device::simulate::{Chunking, Device, Simulation};
use wakeling_interop::{
    ImportError,
    microwakeword::import::{Imported, Settings},
};
use wakeling_shared::{
    engine::ImageEngine,
    events::Event,
    gate::GateParams,
    model::{FLAG_IMAGE, HEADER_BYTES, ImageModel, LoadError, Model, write_header},
    pipeline::Pipeline,
};

use crate::{
    Random, Tier,
    image::{Network, random_image_model},
    model::{gated, random_model, random_model_with_heads},
    sound, tflite,
};

/// Number of samples that every accepted model must process.
const SAMPLES: usize = 3_200;
/// Models with more multiply-accumulates are loaded but not run, since one step would dominate the
/// test.
const MOST_MACS: usize = 4_000_000;
/// Largest number of words of arrays that are generated for a description.
const MOST_WORDS: usize = 1 << 16;

/// A model file at a properly aligned address.
pub struct Flash {
    words: Vec<u32>,
    length: usize,
}

impl Flash {
    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0; bytes.len().div_ceil(4)];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks(4)) {
            let mut padded = [0; 4];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_le_bytes(padded);
        }
        Self { words, length: bytes.len() }
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

/// The worst sound for sums: full scale, silence, and noise at every level.
static WORST: LazyLock<Vec<i16>> = LazyLock::new(|| {
    let random = &mut Random::new(7);
    let sample = |n: usize| match n / 800 {
        0 => [i16::MIN, i16::MAX][n / 8 % 2],
        1 => 0,
        2 => random.bits() as i16,
        _ => i16::MIN,
    };
    (0..SAMPLES).map(sample).collect()
});

/// Files of TensorFlow Lite: the shape of `alexa` and others.
pub fn tflite_files() -> Vec<Vec<u8>> {
    vec![tflite::alexa(1), tflite::other(1), tflite::other(2)]
}

/// Converts a TensorFlow Lite file. A device must load what is converted.
pub fn tflite(bytes: &[u8]) {
    match Imported::of(bytes, &Settings::default()) {
        Ok(imported) => assert!(refused_or_runs(imported.bytes()), "the converted model is valid"),
        Err(ImportError::Invalid(reason)) => panic!("a conversion is invalid: {reason}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Loads a file of either kind, and runs it if it is accepted. Returns whether it was accepted.
pub fn refused_or_runs(file: &[u8]) -> bool {
    let flash = Flash::new(file);
    match (Model::load(flash.bytes()), ImageModel::load(flash.bytes())) {
        (Ok(_), Ok(_)) => panic!("a file is of two kinds"),
        (Ok(model), Err(_)) => listens(&model),
        (Err(_), Ok(model)) => sees(&model),
        (Err(sound), Err(image)) => {
            unchecked(flash.bytes());
            // A rejected file has a reason.
            assert!(!sound.to_string().is_empty() && !image.to_string().is_empty());
            return false;
        }
    }
    true
}

/// Runs a file whose checksum is wrong, as a device does until it has read the whole file.
fn unchecked(bytes: &[u8]) {
    let mut slot = None;
    if let Ok((model, mut check)) = Model::load_deferred(&mut slot, bytes) {
        listens(model);
        while let Ok(is_whole) = check.advance(7) {
            assert!(!is_whole, "a file is valid, but not for `load`");
        }
    }
}

fn listens(model: &Model<'_>) {
    if model.step_macs() > MOST_MACS {
        return;
    }
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(model, &mut arena).expect("an arena as large as it asks");
    let mut last = 0;
    for block in WORST.chunks(331) {
        pipeline.push(block, |step| {
            assert!(step.end_samples > last && step.end_samples <= SAMPLES as u64);
            assert_eq!(step.logits.len(), model.words.len());
            assert_eq!(step.decisions.len(), model.words.len());
            last = step.end_samples;
        });
    }
}

fn sees(model: &ImageModel<'_>) {
    if model.macs() > MOST_MACS {
        return;
    }
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = ImageEngine::new(model, &mut arena).expect("an arena as large as it asks");
    let random = &mut Random::new(3);
    engine.input().iter_mut().for_each(|x| *x = random.bits() as i8);
    let mut logits = vec![0; model.labels.len()];
    engine.run(&mut logits);
}

/// Returns the file with a valid header: lengths as they are, and the right checksum. `None` if
/// there is no header to repair.
pub fn resealed(file: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = file.split_at_checked(HEADER_BYTES)?;
    let flags = u16::from_le_bytes([header[6], header[7]]);
    let described = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    // The length in the header, if it is less than the bytes present: bytes after a body are
    // ignored.
    let declared = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let body = &body[..declared.min(body.len()) / 8 * 8];
    Some(sealed(described as usize, body, flags & FLAG_IMAGE))
}

/// Builds a file with a valid header and a body of whole words.
pub fn sealed(described: usize, body: &[u8], flags: u16) -> Vec<u8> {
    let words = body.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word));
    let words: Vec<u32> = words.collect();
    let mut file = write_header(described, &words, flags).to_vec();
    file.extend(body);
    file
}

/// Loads a model file as it is, and with its checksum repaired.
pub fn model_file(bytes: &[u8]) {
    refused_or_runs(bytes);
    if let Some(file) = resealed(bytes) {
        refused_or_runs(&file);
    }
}

/// Small models of every kind.
pub fn model_files() -> Vec<Vec<u8>> {
    let gate = GateParams { margin: 100, hold_steps: 3 };
    let mut files: Vec<Vec<u8>> = (0..4).map(|seed| random_model(seed, Tier::Tiny)).collect();
    files.push(random_model_with_heads(1, Tier::Tiny, 4));
    files.push(gated(&random_model(1, Tier::Tiny), gate));
    files.push(random_image_model(5, Network::Small));
    // Layers of TensorFlow Lite.
    let converted = Imported::of(&tflite::other(2), &Settings::default());
    files.push(converted.expect("it is converted").bytes().to_vec());
    files
}

/// Loads a description alone, with generated arrays. The first byte is the kind.
pub fn description(bytes: &[u8]) {
    let Some((kind, described)) = bytes.split_first() else { return };
    let flags = if kind % 2 == 0 { 0 } else { FLAG_IMAGE };
    let mut body = described.to_vec();
    body.resize(body.len().next_multiple_of(8), 0);
    let file = sealed(described.len(), &body, flags);
    let wanted = {
        let flash = Flash::new(&file);
        let refused = if flags == 0 {
            Model::load(flash.bytes()).err()
        } else {
            ImageModel::load(flash.bytes()).err()
        };
        match refused {
            Some(LoadError::Arrays { expected, .. }) => expected,
            Some(_) => return,
            None => 0,
        }
    };
    if wanted > MOST_WORDS {
        return;
    }
    // Small numbers, none negative, so that they are valid as weights, biases and multipliers.
    let random = &mut Random::new(11);
    let arrays = (0..wanted.next_multiple_of(2)).map(|_| random.bits() >> (2 + random.below(20)));
    body.extend(arrays.flat_map(u32::to_le_bytes));
    refused_or_runs(&sealed(described.len(), &body, flags));
}

/// The descriptions of [`model_files`].
pub fn descriptions() -> Vec<Vec<u8>> {
    let of = |file: Vec<u8>| {
        let kind = u8::from(file[6] & FLAG_IMAGE as u8 != 0);
        let described = u32::from_le_bytes([file[12], file[13], file[14], file[15]]) as usize;
        [&[kind], &file[HEADER_BYTES..HEADER_BYTES + described]].concat()
    };
    model_files().into_iter().map(of).collect()
}

/// Models for sound: one per normalization, then with a gate, then with four heads.
static LISTENERS: LazyLock<Vec<Flash>> = LazyLock::new(|| {
    let files = model_files().into_iter().map(|file| Flash::new(&file));
    files.filter(|flash| Model::load(flash.bytes()).is_ok()).collect()
});

/// Runs any sound under a loaded model, in any chunks. The output must equal that for one chunk.
/// Byte 0 selects the model, byte 1 the chunks, bytes 2 … 6 the settings of a detector; the rest is
/// sound.
pub fn pipeline(bytes: &[u8]) {
    let Some((&[which, cuts, steps, low, high, refractory], pcm)) = bytes.split_first_chunk()
    else {
        return;
    };
    let listeners = &*LISTENERS;
    let flash = &listeners[usize::from(which) % listeners.len()];
    let mut model = Model::load(flash.bytes()).expect("a valid model");
    for word in &mut model.words {
        word.detector.smoothing_steps = 1 + steps % 16;
        word.detector.threshold = i16::from_le_bytes([low, high]);
        word.detector.refractory_steps = u16::from(refractory) * 257;
    }
    let pcm: Vec<i16> = pcm.as_chunks::<2>().0.iter().map(|&s| i16::from_le_bytes(s)).collect();
    let longest = 1 + usize::from(cuts) * 7;
    let chunks = Chunking::Random { seed: u64::from(cuts), longest };
    let lines = |chunks| Device::Host(chunks).lines(&model, &pcm, true).expect("it runs");
    let whole = lines(Chunking::Whole);
    assert_eq!(whole, lines(chunks));
    Simulation::parse(&whole).expect("the host reads what a device prints");
}

/// Speech-like sound for each model.
pub fn sounds() -> Vec<Vec<u8>> {
    let sound = |seed: u8| {
        let pcm = &sound::speech_like(seed.into(), 1)[..6_400];
        let settings = [seed, seed.wrapping_mul(37), 3, 0, 2, 1];
        settings.into_iter().chain(pcm.iter().flat_map(|s| s.to_le_bytes())).collect()
    };
    (0..6).map(sound).collect()
}

/// Parses lines of a device. Each parsed event must print as the same line.
pub fn events(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Simulation::parse(&text);
    for line in text.lines() {
        let Some(event) = Event::parse(line) else { continue };
        let printed = match &event {
            Event::Step(event) => event.to_string(),
            Event::Detection(event) => event.to_string(),
            Event::Overrun(event) => event.to_string(),
            Event::MicIssue(event) => event.to_string(),
            Event::Stats(event) => event.to_string(),
            Event::Model(_) | Event::Error(_) => continue,
        };
        // Exceptions are a keyword's control characters, which are printed as marks, a plus or
        // zeros before a number, which are not printed, and a count beyond `i64`, which saturates.
        let again = Event::parse(&printed).expect("what is printed can be read");
        let is_largest = printed.contains(&i64::MAX.to_string());
        if !line.chars().any(char::is_control) && !is_largest {
            assert_eq!(again, event);
        }
    }
}

/// Lines that devices print.
pub fn lines() -> Vec<Vec<u8>> {
    let file = random_model_with_heads(2, Tier::Tiny, 3);
    let flash = Flash::new(&file);
    let mut model = Model::load(flash.bytes()).expect("a valid model");
    model.words.iter_mut().for_each(|word| word.detector.threshold = -3_000);
    let pcm = sound::speech_like(2, 1);
    let printed = Device::Host(Chunking::Whole).lines(&model, &pcm, true).expect("it runs");
    let stats = "overrun 320\nfault 32000 stuck\nstats setup_instructions=1 audio_instructions=2 samples=3 \
                 stack_bytes=4 static_bytes=5 arena_bytes=6\nerror no clock\n";
    vec![printed.into_bytes(), stats.into()]
}
