//! Hostile model files: truncated, changed or invented files are rejected, or run without a panic.
//! Also compares `docs/reference/model-file.md` with the bytes.

use std::{env, fs, path::Path};

use wakeling_device::{
    model_file::{PackedAffine, Scales, encode},
    simulate::{Chunking, Device},
};
use wakeling_shared::{
    detector::DetectorParams,
    frontend::{FrontendParams, Normalization, Quantizer},
    model::{
        Card, HEADER_BYTES, Head, Keyword, Layer, LoadError, Model, Op, OperatingPoint,
        write_header,
    },
};
use wakeling_tests::{Random, Tier, layout, random_model, sound};

#[test]
fn every_truncation_is_refused() {
    let file = random_model(1, Tier::Tiny);
    assert!(Model::load(&file).is_ok());
    for length in 0..file.len() {
        let refused = Model::load(&file[..length]).expect_err("a part is no model");
        assert!(matches!(refused, LoadError::Truncated { .. }), "{length}: {refused}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let file = random_model(2, Tier::Tiny);
    for bit in 0..8 * file.len() {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Model::load(&damaged).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn another_version_is_named() {
    let mut file = random_model(3, Tier::Tiny);
    for version in [1, 3] {
        file[4] = version;
        let refused = Model::load(&file).expect_err("the version is unknown");
        assert_eq!(refused, LoadError::Version { found: version.into() });
        let expected = format!("format version {version}; this program reads version 2");
        assert_eq!(refused.to_string(), expected);
    }
    file[4] = 1;
    let refused = wakeling_device::model_file::load(Path::new("old.wkl"), &file);
    let Err(wakeling_device::Error::InvalidModel { path, reason }) = refused else {
        panic!("it is old");
    };
    assert_eq!((path.as_path(), reason), (Path::new("old.wkl"), LoadError::Version { found: 1 }));
}

#[test]
fn bytes_behind_the_model_are_ignored_and_bytes_within_are_not() {
    let file = random_model(4, Tier::Tiny);
    let mut region = file.clone();
    region.extend([0xff; 100]);
    assert_eq!(Model::load(&region), Model::load(&file));
    let longer = |description: usize, words: usize| {
        let mut body = file[HEADER_BYTES..].to_vec();
        body.resize(body.len() + 4 * words, 0);
        sealed(described(&file) + description, &body)
    };
    assert_eq!(Model::load(&longer(0, 0)), Model::load(&file));
    assert_ne!(described(&file) % 8, 0, "no padding to mistake for a field");
    assert_eq!(Model::load(&longer(1, 0)), Err(LoadError::Trailing { bytes: 1 }));
    assert_eq!(Model::load(&longer(0, 1)), Err(LoadError::Lengths));
    assert!(matches!(
        Model::load(&longer(0, 2)),
        Err(LoadError::Arrays { expected, found }) if found == expected + 2
    ));
    assert_eq!(Model::load(&longer(file.len(), 0)), Err(LoadError::Lengths));
    assert_eq!(Model::load(&longer(usize::MAX / 2, 0)), Err(LoadError::Lengths));
}

#[test]
fn a_model_must_lie_at_whole_words() {
    let file = random_model(4, Tier::Tiny);
    let mut region = vec![0; file.len() + 8];
    for offset in 0..8 {
        let start = region.as_ptr().align_offset(4) + offset;
        let Some(place) = region.get_mut(start..start + file.len()) else { continue };
        place.copy_from_slice(&file);
        let found = Model::load(place).err();
        let remainder = offset % 4;
        assert_eq!(found, (remainder != 0).then_some(LoadError::Alignment { remainder }));
    }
}

/// Returns the length of the description in bytes, from the header.
fn described(file: &[u8]) -> usize {
    u32::from_le_bytes(file[12..16].try_into().expect("four bytes")) as usize
}

/// Builds a file with a valid header.
fn sealed(description: usize, body: &[u8]) -> Vec<u8> {
    let words: Vec<u32> =
        body.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
    let mut file = write_header(description, &words, 0).to_vec();
    file.extend(body);
    file
}

/// Loads a file. If it is accepted, it must process half a second of sound, with overflow checks
/// on.
fn refused_or_runs(file: &[u8], pcm: &[i16]) -> bool {
    let Ok(model) = Model::load(file) else { return false };
    let lines = Device::Host(Chunking::Fixed(1_000)).lines(&model, pcm, true).expect("it runs");
    assert!(lines.starts_with("model "));
    true
}

#[test]
fn a_forged_checksum_leads_to_refusal_or_to_a_model_that_runs() {
    let pcm = sound::speech_like(5, 1);
    let pcm = &pcm[..8_000];
    let mut accepted = 0;
    let mut refused = 0;
    // Each seed uses another normalization.
    for seed in 0..4 {
        let file = random_model(seed, Tier::Tiny);
        let (description, body) = (described(&file), file[HEADER_BYTES..].to_vec());
        let random = &mut Random::new(seed);
        let singles = (0..body.len()).map(|at| vec![at]);
        let several: Vec<Vec<usize>> = (0..1_000)
            .map(|_| (0..2 + random.below(6)).map(|_| random.below(body.len())).collect())
            .collect();
        for places in singles.chain(several) {
            let mut forged = body.clone();
            for at in places {
                forged[at] = match random.below(4) {
                    0 => 0xff,
                    1 => 0x80,
                    2 => forged[at] ^ (1 << random.below(8)),
                    _ => random.bits() as u8,
                };
            }
            *(if refused_or_runs(&sealed(description, &forged), pcm) {
                &mut accepted
            } else {
                &mut refused
            }) += 1;
        }
    }
    // Both must occur, or the test is meaningless.
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
}

#[test]
fn extreme_numbers_run() {
    let pcm = vec![i16::MIN; 8_000];
    for seed in 0..4 {
        let file = random_model(seed, Tier::Tiny);
        let mut model = Model::load(&file).expect("the model is valid");
        for word in &mut model.words {
            word.detector.smoothing_steps = 16;
            word.detector.threshold = i16::MIN;
            word.detector.refractory_steps = u16::MAX;
        }
        let extreme = encode(&model).expect("it can be written");
        assert!(refused_or_runs(&extreme, &pcm));
    }
}

#[test]
fn file_survives_a_round_trip() {
    for (seed, tier) in [(6, Tier::Tiny), (7, Tier::S), (8, Tier::M)] {
        let file = random_model(seed, tier);
        let model = Model::load(&file).expect("the model is valid");
        assert!(encode(&model).expect("it can be written") == file);
    }
}

/// Builds the smallest model with every kind of field except the deeper layers.
fn example() -> Vec<u8> {
    let starts: Vec<u8> = (5..47u16).flat_map(u16::to_le_bytes).collect();
    let shares: Vec<u8> = [2_048u16; 41].into_iter().flat_map(u16::to_le_bytes).collect();
    // Row 0 ascends from 0, row 1 descends from −1.
    let weights: Vec<i8> = (0..40).chain((-40..0).rev()).collect();
    let (biases, multipliers) = ([-1_000, 1_000], [1 << 23; 2]);
    let scales = Scales { biases: &biases, multipliers: &multipliers, zero_point: -128 };
    let entry = PackedAffine::pointwise(&weights, scales);
    let scales = Scales { biases: &[-1_000], multipliers: &[1 << 23], zero_point: 0 };
    let logits = PackedAffine::pointwise(&[0x7f, -1], scales);
    let quantizer = Quantizer { offset_q8: 31 * 256, scale_q16: 8 * 256 };
    let point = OperatingPoint { false_accepts: 1, audio_seconds: 36_000, threshold: 700 };
    let model = Model {
        card: Card { name: "tiny", pretrained: "", provenance: "by hand", licence: "CC0-1.0" },
        frontend: FrontendParams {
            mel_starts: &starts,
            mel_weights: &shares,
            normalization: Normalization::Log { floor: 1 << 16, level: None, quantizer },
        },
        frames_per_step: 1,
        layers: [Layer { input: 0, output: 1, op: Op::Pointwise { affine: entry.affine() } }]
            .into_iter()
            .collect(),
        backbone_layers: 1,
        heads: [Head { layers: 0, input: 1, logits: logits.affine() }].into_iter().collect(),
        words: [Keyword {
            label: "hey",
            detector: DetectorParams { smoothing_steps: 4, threshold: 512, refractory_steps: 50 },
            points: [point].into_iter().collect(),
        }]
        .into_iter()
        .collect(),
        gate: None,
        statistics: None,
    };
    encode(&model).expect("the example can be written")
}

#[test]
fn the_page_shows_the_bytes_as_they_are() {
    const BEGIN: &str =
        "<!-- generated by tests/tests/model_file.rs; WAKELING_BLESS=1 writes it anew -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/model-file.md");
    let page = fs::read_to_string(&path).expect("docs/reference/model-file.md is there");
    let file = example();
    assert!(Model::load(&file).is_ok());
    let fields = layout::fields(&file).expect("the second reader agrees");
    let shown = format!("\n{}\n```text\n{}```\n", layout::table(&fields), layout::dump(&file));
    let (before, found) = page.split_once(BEGIN).expect("the page has the marker");
    if env::var_os("WAKELING_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{shown}")).expect("the page can be written");
    } else {
        assert!(found == shown, "docs/reference/model-file.md is out of date; expected\n{shown}");
    }
}

#[test]
fn the_second_reader_reads_every_kind_of_model() {
    for seed in 0..4 {
        let file = random_model(seed, Tier::Tiny);
        let fields = layout::fields(&file).expect("the second reader agrees");
        let joined: Vec<u8> = fields.iter().flat_map(|f| f.bytes.clone()).collect();
        assert!(joined == file);
        let model = Model::load(&file).expect("the model is valid");
        let value = |name: &str| fields.iter().find(|f| f.name == name).map(|f| f.value.clone());
        assert_eq!(value("card.name"), Some(format!("{:?}", model.card.name)));
        assert_eq!(value("backbone_layers"), Some(model.backbone_layers.to_string()));
        let threshold = model.words.first().map(|w| w.detector.threshold.to_string());
        assert_eq!(value("words[0].threshold"), threshold);
    }
}
