//! Embeddings of transcribed speech, and the phones of its words, for experiments with phone
//! sequences.
//!
//! ```sh
//! cargo run --release -p wakeling-experiments --bin phone_streams -- --train train.jsonl --noise noise.jsonl --out DIR
//! ```
//!
//! `DIR/streams.bin` holds, for each clip and version, the int8 embeddings `(steps, channels)` as
//! postcard. Version 0 is the recording alone; every other one is augmented, with noise and babble.
//! `DIR/clips.jsonl` has the texts in the same order, `DIR/lexicon.json` the phones of each word.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use clap::Parser;
use rand::{SeedableRng, rngs::StdRng};
use rayon::prelude::*;
use serde::Serialize;
use wakeling_core::{Error, files};
use wakeling_data::{
    clip_features::load_log_mel,
    dataset::{Dataset, Example},
    mixing::{BackgroundMix, FeatureAugmentation, MelStream, Mixer, NoisePool, loudness},
    text::clean,
    tokens::Tokenizer,
};
use wakeling_experiments::Result;
use wakeling_train::{embeddings::embed_streams, models, quantize::Backbone};

/// Silence before and after a clip, in frames of 10 ms.
const PAD_FRAMES: usize = 64;

/// Embeddings of transcribed speech, and the phones of its words
#[derive(Parser)]
struct Args {
    /// Manifests of transcribed speech
    #[arg(long, num_args = 1..)]
    train: Vec<PathBuf>,
    /// Manifests of noise
    #[arg(long, num_args = 1..)]
    noise: Vec<PathBuf>,
    /// Languages to keep; all if none is named
    #[arg(long, num_args = 1..)]
    languages: Vec<String>,
    /// Pretrained model: a name or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Augmented versions of each clip
    #[arg(long, default_value_t = 1)]
    versions: u64,
    /// Grapheme-to-phoneme program with the interface of espeak-ng
    #[arg(long, default_value = "espeak-ng")]
    g2p: String,
    /// Folder to write
    #[arg(long)]
    out: PathBuf,
}

#[derive(Serialize)]
struct Clip<'a> {
    text: &'a str,
    lang: &'a str,
    speaker: &'a str,
    version: u64,
}

fn main() -> Result<()> {
    wakeling_experiments::start();
    let args = Args::parse();
    let backbone = Backbone::new(models::pretrained(&args.pretrained)?)?;
    let frontend = backbone.frontend();
    let mut examples = Vec::new();
    for path in &args.train {
        examples.extend(Dataset::open(path)?.examples);
    }
    examples.retain(|e: &Example| {
        let lang = e.lang.as_deref().unwrap_or("");
        e.text.as_deref().is_some_and(|text| !clean(text).is_empty())
            && (args.languages.is_empty() || args.languages.iter().any(|l| l == lang))
    });
    let texts: Vec<String> =
        examples.iter().map(|e| clean(e.text.as_deref().unwrap_or(""))).collect();
    let langs: Vec<&str> = examples.iter().map(|e| e.lang.as_deref().unwrap_or("")).collect();
    fs::create_dir_all(&args.out).map_err(Error::io(&args.out, "create"))?;
    let lexicon = lexicon(&args.g2p, &texts, &langs)?;
    files::write_atomic(args.out.join("lexicon.json"), &serde_json::to_vec(&lexicon)?)?;

    let frames = load_log_mel(&examples, &frontend, "speech");
    let mut noise = Vec::new();
    for path in &args.noise {
        noise.extend(Dataset::open(path)?.examples);
    }
    let noise = load_log_mel(&noise, &frontend, "noise").into_iter().flatten().collect();
    let speech = frames.iter().flatten().collect();
    let mixer = Mixer::new(
        NoisePool::new(noise),
        speech,
        BackgroundMix::PHRASE_AMONG_TALK,
        FeatureAugmentation::STRONG,
    );
    let mut lines = Vec::new();
    let mut embedded: Vec<Vec<i8>> = Vec::new();
    for version in 0..=args.versions {
        let kept: Vec<usize> = (0..examples.len()).filter(|&i| frames[i].is_some()).collect();
        for part in kept.chunks(2_000) {
            let streams: Vec<MelStream> = part
                .par_iter()
                .map(|&i| {
                    let rng = &mut StdRng::seed_from_u64(version << 32 | i as u64);
                    let clip = frames[i].as_ref().expect("it was loaded");
                    if version == 0 {
                        let mut stream = MelStream::new(clip.len() + 2 * PAD_FRAMES);
                        stream.add_clip(PAD_FRAMES, clip);
                        return stream;
                    }
                    let sound = mixer.augment(clip, rng);
                    let mut stream = MelStream::new(sound.len() + 2 * PAD_FRAMES);
                    stream.add(PAD_FRAMES, &sound, 1.0);
                    mixer.add_background(&mut stream, loudness(&sound), rng);
                    stream
                })
                .collect();
            embedded.extend(embed_streams(&backbone, &streams)?.streams);
            for &i in part {
                let speaker = examples[i].speaker.as_deref().unwrap_or("");
                let clip = Clip { text: &texts[i], lang: langs[i], speaker, version };
                lines.push(serde_json::to_string(&clip)?);
            }
            eprintln!("version {version}: {} clips", lines.len());
        }
    }
    let bytes = postcard::to_allocvec(&embedded)?;
    files::write_atomic(args.out.join("streams.bin"), &bytes)?;
    files::write_atomic(args.out.join("clips.jsonl"), (lines.join("\n") + "\n").as_bytes())?;
    Ok(())
}

/// Returns the phones of each word of the texts, by language. Words of Mandarin are whole texts.
fn lexicon<'a>(
    g2p: &str,
    texts: &'a [String],
    langs: &[&'a str],
) -> Result<BTreeMap<&'a str, BTreeMap<&'a str, Vec<String>>>> {
    let mut words: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (text, &lang) in texts.iter().zip(langs) {
        if lang == "zh" {
            words.insert((lang, text));
        } else {
            words.extend(text.split_whitespace().map(|word| (lang, word)));
        }
    }
    let pairs: Vec<(String, String)> =
        words.iter().map(|&(lang, word)| (lang.to_owned(), word.to_owned())).collect();
    let tokens = Tokenizer { g2p: Some(g2p.to_owned()) }.tokenize(&pairs)?;
    let mut lexicon: BTreeMap<&str, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for ((lang, word), tokens) in words.into_iter().zip(tokens) {
        lexicon.entry(lang).or_default().insert(word, tokens);
    }
    Ok(lexicon)
}
