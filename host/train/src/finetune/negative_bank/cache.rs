//! Cache of embedded negatives: a file for each backbone, set of negatives and settings.
//!
//! Layout: magic, length of the description (`u32`, little-endian), description as JSON, values of
//! every stream (`i8`), CRC-32 of all before.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{EncodedNegatives, NegativeBank, TrainSettings};
use crate::Result;
use crate::{embeddings::Embeddings, head_checkpoint::fingerprint, quantize::Backbone};
use wakeling_core::{cache::keep_newest, files::write_atomic_with};
use wakeling_data::negatives::{Negatives, SpeechClip};

/// First bytes of a file.
const MAGIC: &[u8; 8] = b"WKLNEG1\n";
/// Number of files that are kept. One has about 250 MB.
const FILES: usize = 3;
/// Frames of the clips whose embedding is part of the key.
const PROBE_FRAMES: usize = 3_000;

/// Streams of one part of the bank.
#[derive(Serialize, Deserialize)]
struct PartDescription {
    channels: usize,
    steps_per_second: f64,
    /// Number of values of each stream.
    lengths: Vec<usize>,
    texts: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Description {
    train: PartDescription,
    held_out: PartDescription,
    rms: Vec<f32>,
}

/// Returns the name of the file with the embeddings of these negatives.
///
/// The name depends on the weights, on every frame and transcript, and on the settings that matter.
/// It also depends on a few clips mixed and embedded anew. So it changes with the code that mixes
/// and computes, and an old file is not taken for a new one.
pub fn name(
    backbone: &Backbone,
    negatives: &Negatives,
    settings: &TrainSettings,
    compute: impl Fn(&Negatives) -> Result<Embeddings>,
) -> Result<String> {
    let mut content = flate2::Crc::new();
    let mut bytes = Vec::new();
    let speech = negatives.speech.iter().map(|clip| (&clip.frames, clip.text.as_str()));
    let noise = negatives.noise.iter().map(|frames| (frames, "\n"));
    for (frames, text) in speech.chain(noise) {
        bytes.clear();
        bytes.extend(frames.as_flattened().iter().flat_map(|x| x.to_le_bytes()));
        content.update(&bytes);
        content.update(text.as_bytes());
        content.update(&(frames.len() as u64).to_le_bytes());
    }
    let first = |clips: usize| Negatives {
        speech: negatives.speech.iter().take(clips).map(start_of).collect(),
        noise: negatives.noise.iter().take(clips).map(|n| n[..n.len().min(500)].to_vec()).collect(),
    };
    let mut run = flate2::Crc::new();
    for stream in compute(&first(3))?.streams {
        run.update(&stream.iter().map(|x| x.to_le_bytes()[0]).collect::<Vec<u8>>());
    }
    let TrainSettings { negative_hours, negative_background, seed, .. } = settings;
    run.update(format!("{negative_hours} {negative_background:?} {seed}").as_bytes());
    let weights = fingerprint(&backbone.pretrained)?;
    Ok(format!("{weights:08x}-{:08x}-{:08x}.bin", content.sum(), run.sum()))
}

fn start_of(clip: &SpeechClip) -> SpeechClip {
    let frames = &clip.frames[..clip.frames.len().min(PROBE_FRAMES)];
    SpeechClip { frames: frames.to_vec(), text: clip.text.clone() }
}

/// Reads a bank; `None` if the file is missing or damaged.
pub fn read(path: &Path) -> Option<NegativeBank> {
    let bytes = fs::read(path).ok()?;
    let (bytes, crc) = bytes.split_last_chunk::<4>()?;
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    if sum.sum() != u32::from_le_bytes(*crc) {
        return None;
    }
    let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let (json, mut values) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let Description { train, held_out, rms } = serde_json::from_slice(json).ok()?;
    let mut part = |part: PartDescription| -> Option<EncodedNegatives> {
        let mut streams = Vec::with_capacity(part.lengths.len());
        for length in part.lengths {
            let (stream, rest) = values.split_at_checked(length)?;
            streams.push(stream.iter().map(|&b| i8::from_le_bytes([b])).collect());
            values = rest;
        }
        let PartDescription { channels, steps_per_second, texts, .. } = part;
        Some(EncodedNegatives {
            outputs: Embeddings { channels, steps_per_second, streams },
            texts,
        })
    };
    let bank = NegativeBank { train: part(train)?, held_out: part(held_out)?, rms };
    // Marks the file as used, so that others are removed first.
    let _ = fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(std::time::SystemTime::now()));
    Some(bank)
}

/// Writes a bank, and removes the files that were not used for longest.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core).
pub fn write(path: &Path, bank: &NegativeBank) -> Result<()> {
    let part = |part: &EncodedNegatives| PartDescription {
        channels: part.outputs.channels,
        steps_per_second: part.outputs.steps_per_second,
        lengths: part.outputs.streams.iter().map(Vec::len).collect(),
        texts: part.texts.clone(),
    };
    let description = Description {
        train: part(&bank.train),
        held_out: part(&bank.held_out),
        rms: bank.rms.clone(),
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(wakeling_core::Error::io(folder, "create"))?;
    write_atomic_with(path, |out| {
        let json = serde_json::to_vec(&description)?;
        let mut crc = flate2::Crc::new();
        let mut put = |bytes: &[u8]| {
            crc.update(bytes);
            out.write_all(bytes)
        };
        put(MAGIC)?;
        put(&(json.len() as u32).to_le_bytes())?;
        put(&json)?;
        let streams = bank.train.outputs.streams.iter().chain(&bank.held_out.outputs.streams);
        for stream in streams {
            put(&stream.iter().map(|x| x.to_le_bytes()[0]).collect::<Vec<u8>>())?;
        }
        out.write_all(&crc.sum().to_le_bytes())
    })?;
    keep_newest(folder, FILES);
    Ok(())
}
