//! The same seed gives the same model: trainings with pinned results.
//!
//! Matrix products sum in an order that depends on the processor (vector width, cache sizes), and
//! `exp` and `ln` come from the system's library. A result is therefore pinned for one kind of machine.
//! Its [`numerics`] recognize it; on any other this test trains twice and compares the two results.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use candle_core::{Device, Tensor};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use wakeling_data::remote::hex;
use wakeling_tests::{random::Random, shipped::few_models};

/// Results of each training, by the [`numerics`] of the machine.
const PINNED: &[(&str, &[(&str, &str)])] = &[(
    "203bd794bd0f7236",
    &[
        ("head", "944d2f570f863cc8df83f5a18bcfeede1b4161b55e3b665a5de4a415894ac4b8"),
        ("last two blocks", "0c51a2bd56a959a202f071ac7b6b2c7ca61c160a6ffc2d3c2074bedb0065c37f"),
        ("whole backbone", "3062de7b26013757a070bf14a6901827c25d3c6f70e8a9653ec7bbaf5226e49f"),
        ("head by default", "27558241df24f998cd7a0352d2e37fa582bdb5db6b1b7a1989511c2de20069eb"),
        ("images", "c0b9b51681f32d8e358f33f4d670dea5f5625d95848779bc7d6b7fa4525fcda8"),
        ("pretrained", "67ab1ccf5a4b421ceb12d29acdfdde7f504d47e685482c0ee34dff1ecec88275"),
    ],
)];

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns a hash of what this machine makes of float operations that training uses.
fn numerics() -> String {
    let mut values = Vec::new();
    for (m, k, n) in [(64, 96, 96), (300, 192, 192), (1_500, 96, 480), (96, 3_000, 96), (7, 40, 1)]
    {
        let wave = |count: usize, step: f64| -> Vec<f32> {
            (0..count).map(|i| ((i as f64 * step) % 1.0 - 0.5) as f32).collect()
        };
        let matrix = |rows, columns, step| {
            Tensor::from_vec(wave(rows * columns, step), (rows, columns), &Device::Cpu)
        };
        let (a, b) = (matrix(m, k, 0.618_033_9).unwrap(), matrix(k, n, 0.414_213_5).unwrap());
        values.extend(a.matmul(&b).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    for i in 1..4_000 {
        let x = i as f32 * 0.01;
        values.extend([x.ln(), (-x).exp(), x.sqrt(), x.tanh(), x.powf(0.3), x.sin(), x.log10()]);
        let x = f64::from(x);
        values.extend([x.ln(), (-x).exp(), x.tanh(), x.powf(0.3), x.cos()].map(|y| y as f32));
    }
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    sha256(&bytes)[..16].to_owned()
}

/// A folder with the small pretrained model, one pack of negatives, and data made here.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        let place = TempDir::new().expect("a folder");
        few_models(place.path(), "base-s");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("demo");
        for folder in ["train", "train-speech"] {
            copy(&root.join(folder), &place.path().join(folder));
        }
        images(&place.path().join("images"));
        words(&place.path().join("words"));
        Self(place)
    }

    /// Runs a training with `--out NAME` and returns the hash of `file` in there.
    fn train(&self, arguments: &[&str], out: &str, file: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_wakeling"))
            .args(arguments)
            .args(["--out", out])
            .current_dir(self.0.path())
            .env("WAKELING_MODELS", self.0.path().join("models"))
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        sha256(&fs::read(self.0.path().join(out).join(file)).expect("a result"))
    }
}

fn copy(from: &Path, to: &PathBuf) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Writes twelve images each of bars and of boxes, in noise.
fn images(folder: &Path) {
    let random = &mut Random::new(7);
    for (class, is_box) in [("bar", false), ("box", true)] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..12 {
            let (left, top) = (random.below(20), random.below(20));
            let mut pixels = vec![0; 32 * 32];
            for (at, pixel) in pixels.iter_mut().enumerate() {
                let (x, y) = ((at % 32).wrapping_sub(left), (at / 32).wrapping_sub(top));
                let inside = x < 10 && y < 10;
                let edge = if is_box { x % 9 == 0 || y % 9 == 0 } else { x / 2 == 2 };
                let level = if inside && edge { 200 } else { 0 };
                *pixel = (level + random.below(50)) as u8;
            }
            let path = folder.join(class).join(format!("{i:02}.png"));
            image::save_buffer(path, &pixels, 32, 32, image::ExtendedColorType::L8).unwrap();
        }
    }
}

/// Writes clips of two "words" in the layout of Speech Commands: tones that rise and tones that fall.
fn words(folder: &Path) {
    let random = &mut Random::new(9);
    for (word, slope) in [("rise", 1), ("fall", -1)] {
        fs::create_dir_all(folder.join(word)).unwrap();
        for clip in 0..48 {
            let mut phase = 0i32;
            let samples: Vec<i16> = (0..16_000)
                .map(|n| {
                    let hertz = 900 + slope * (n - 8_000) / 16 + clip * 7;
                    phase = (phase + hertz) % 16_000;
                    let loud = (4_000..12_000).contains(&n);
                    let triangle = (phase - 8_000).abs() - 4_000;
                    let noise = random.below(64) as i32 - 32;
                    (if loud { triangle + noise } else { noise }) as i16
                })
                .collect();
            let name = format!("s{:02}_nohash_{}.wav", clip / 2, clip % 2);
            write_wav(&folder.join(word).join(name), &samples);
        }
    }
}

fn write_wav(path: &Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&sample| file.write_sample(sample).unwrap());
    file.finalize().unwrap();
}

const FINETUNE: [&str; 17] = [
    "finetune",
    "--word",
    "hey wakeling=train",
    "--negatives",
    "train-speech",
    "--base",
    "base-s",
    "--steps",
    "40",
    "--backbone-steps",
    "6",
    "--ensemble",
    "2",
    "--negative-hours",
    "0.3",
    "--seed",
    "7",
];
const PRETRAIN: [&str; 15] = [
    "pretrain",
    "--tier",
    "s",
    "--task",
    "words",
    "--train",
    "words",
    "--steps",
    "8",
    "--streams",
    "2",
    "--workers",
    "2",
    "--seed",
    "4",
];

/// Options that were the defaults when the first three results were pinned.
const FORMER: [&str; 4] = ["--noise-profile", "noise", "--head-channels", "16"];

/// Runs every training; `run` keeps the folders of several runs apart.
fn results(place: &TestDir, run: usize) -> Vec<(&'static str, String)> {
    let finetune = |part, more: &[&str]| {
        let arguments = [&FINETUNE[..], &["--train", part], more].concat();
        place.train(&arguments, &format!("{part}-{}-{run}", more.len()), "model.wkl")
    };
    let images = ["images", "finetune", "--train", "images", "--steps", "12", "--seed", "3"];
    vec![
        ("head", finetune("head", &FORMER)),
        ("last two blocks", finetune("last:2", &FORMER)),
        ("whole backbone", finetune("all", &FORMER)),
        ("head by default", finetune("head", &[])),
        ("images", place.train(&images, &format!("images-{run}"), "model.wkl")),
        ("pretrained", place.train(&PRETRAIN, &format!("pretrain-{run}"), "base.safetensors")),
    ]
}

#[test]
fn same_seed_gives_same_model() {
    let place = TestDir::new();
    let found = results(&place, 1);
    let numerics = numerics();
    if let Some((_, pinned)) = PINNED.iter().find(|(machine, _)| *machine == numerics) {
        let found: Vec<_> = found.iter().map(|(name, hash)| (*name, &hash[..])).collect();
        assert_eq!(&found, pinned);
    } else {
        println!("no results are pinned for this machine, {numerics}: {found:#?}");
        assert_eq!(results(&place, 2), found);
    }
}
