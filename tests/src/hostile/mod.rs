//! Hostile input: one function per entry point. Each accepts any bytes, and must neither panic,
//! overflow nor return anything that its caller cannot rely on.
//!
//! The same functions run twice: in every `cargo test`, where `tests/hostile.rs` damages valid
//! input with a seeded mutator; and in the programs under `fuzz/`, where coverage guides the input.
//! `SECURITY.md` counts both.
//!
//! | file | entry points |
//! |---|---|
//! | [`device`] | model files, descriptions, sound under a loaded model, event lines |
//! | [`datasets`] | user data: manifests, tables, transcripts, shards, archives, sound, images |
//! | [`own`] | files of our own that may have been modified: models, heads, packs, lists |

pub mod datasets;
pub mod device;
pub mod own;

use crate::Random;

/// A fuzz target: an entry point and valid input to start from.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of its fuzzing program, and of the folder with inputs that once broke it.
    pub name: &'static str,
    /// The entry point, which must return for any bytes.
    pub run: fn(&[u8]),
    /// Input that the entry point accepts.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All fuzz targets.
pub const TARGETS: [Target; 21] = [
    Target { name: "model_file", run: device::model_file, seeds: device::model_files },
    Target { name: "description", run: device::description, seeds: device::descriptions },
    Target { name: "tflite", run: device::tflite, seeds: device::tflite_files },
    Target { name: "pipeline", run: device::pipeline, seeds: device::sounds },
    Target { name: "events", run: device::events, seeds: device::lines },
    Target { name: "manifest", run: datasets::manifest, seeds: datasets::manifests },
    Target { name: "common_voice", run: datasets::common_voice, seeds: datasets::tables },
    Target { name: "librispeech", run: datasets::librispeech, seeds: datasets::transcripts },
    Target { name: "speech_commands", run: datasets::speech_commands, seeds: datasets::folders },
    Target { name: "shards", run: datasets::shards, seeds: datasets::shard_files },
    Target { name: "archive", run: datasets::archive, seeds: datasets::archives },
    Target { name: "audio", run: datasets::audio, seeds: datasets::recordings },
    Target { name: "image", run: datasets::image, seeds: datasets::images },
    Target { name: "labels", run: datasets::labels, seeds: datasets::label_tables },
    Target { name: "tokens", run: datasets::tokens, seeds: datasets::texts },
    Target { name: "pretrained", run: own::pretrained, seeds: own::pretrained_models },
    Target { name: "head", run: own::head, seeds: own::heads },
    Target { name: "image_network", run: own::image_network, seeds: own::image_networks },
    Target { name: "pack", run: own::pack, seeds: own::packs },
    Target { name: "dataset_index", run: own::dataset_index, seeds: own::dataset_indexes },
    Target { name: "recordings", run: own::recordings, seeds: own::recording_manifests },
];

/// Returns the target with this name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|t| t.name == name).expect("an entry point of that name")
}

/// Numbers at the limits of types, inserted as text and as bytes.
const EDGES: [u64; 10] =
    [0, 1, 127, 128, 255, 65_535, 1 << 31, u32::MAX as u64, i64::MAX as u64, u64::MAX];
/// Text that readers treat specially.
const PIECES: [&str; 16] = [
    "\n", "\t", "\0", "\"", "{", "}", "[", "..", "/", "-", "nan", "1e999", "\u{feff}", "\u{202e}",
    "null", "\r",
];

/// Damages `bytes` in one to eight places, like a broken disk, a careless editor or an attacker.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        mutate_once(bytes, random);
    }
}

fn mutate_once(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let span = |random: &mut Random, length: usize| {
        let count = 1 + random.below(16.min(length - at.min(length - 1)));
        at.min(length - 1)..(at + count).min(length)
    };
    match random.below(10) {
        // In most formats single bits and bytes carry the most meaning.
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = random.bits() as u8,
        3 if at < bytes.len() => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
        4 => bytes.truncate(at),
        5 if !bytes.is_empty() => {
            let range = span(random, bytes.len());
            bytes.drain(range);
        }
        6 if !bytes.is_empty() => {
            let range = span(random, bytes.len());
            let copy = bytes[range].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
        7 => {
            let piece = PIECES[random.below(PIECES.len())];
            bytes.splice(at..at, piece.bytes());
        }
        8 => {
            let edge = EDGES[random.below(EDGES.len())];
            bytes.splice(at..at, edge.to_string().into_bytes());
        }
        _ => {
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            for (byte, edge) in bytes.iter_mut().skip(at).zip(&edge[..width]) {
                *byte = *edge;
            }
        }
    }
}
