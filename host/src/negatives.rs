//! Negative data: speech without the keyword, and noise, as training streams and as embeddings.
//!
//! The frozen backbone embeds each stream once, with the inference engine of the device. Heads are
//! then trained on these int8 embeddings, at low cost and for any number of keywords.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;
use wakeling_shared::{
    artifact::Model,
    engine::Engine,
    frontend::{FrontendParams, MEL_CHANNELS},
};

use crate::{
    Error, Result,
    base::Base,
    compose::{
        BackgroundMix, Backgrounds, Distortion, FRAMES_PER_SECOND, NoisePool, Row, loudness,
    },
    corpus::Example,
    features::{LogMel, load_log_mel},
    quantize::{CardText, QuantizedTrunk, with_model},
    tokens::clean,
};

/// Length of a negative stream in frames: 60 s.
const STREAM_FRAMES: usize = 6_000;
/// Longest pause between clips, in frames.
const LONGEST_PAUSE: usize = 80;

/// Negative speech and noise, as cached log-mel frames.
#[derive(Clone, Debug, Default)]
pub struct Negatives {
    /// Speech, normally without the keyword.
    pub speech: Vec<Speech>,
    /// Noise and music.
    pub noise: Vec<LogMel>,
}

/// Clip of speech and its transcript.
#[derive(Clone, Debug, Default)]
pub struct Speech {
    /// Log-mel frames.
    pub frames: LogMel,
    /// Transcript; empty if unknown.
    pub text: String,
}

/// Loads every clip that can be read; the others are logged.
pub fn load_speech(
    examples: &[Example],
    frontend: &FrontendParams<'_>,
    title: &'static str,
) -> Vec<Speech> {
    let loaded = load_log_mel(examples, frontend, title).into_iter().zip(examples);
    let speech = loaded.filter_map(|(frames, example)| {
        Some(Speech { frames: frames?, text: example.text.clone().unwrap_or_default() })
    });
    speech.collect()
}

impl Speech {
    /// Returns `true` if the transcript contains `phrase`.
    pub fn holds(&self, phrase: &str) -> bool {
        says(&clean(&self.text), phrase)
    }
}

/// Returns `true` if a cleaned transcript contains a phrase: the same whole words, or the same
/// characters in scripts without spaces, such as Mandarin.
pub fn says(text: &str, phrase: &str) -> bool {
    let phrase = clean(phrase);
    match (phrase.is_empty(), phrase.chars().all(is_spaced)) {
        (true, _) => false,
        (_, true) => format!(" {text} ").contains(&format!(" {phrase} ")),
        (_, false) => text.contains(&phrase),
    }
}

/// Returns `true` for letters of scripts that separate words by spaces. Han, kana and all later
/// code points count as scripts that do not.
pub fn is_spaced(letter: char) -> bool {
    (letter as u32) < 0x2E80
}

/// Converts a number of frames to hours.
pub fn hours(frames: usize) -> f64 {
    frames as f64 / f64::from(FRAMES_PER_SECOND) / 3600.0
}

/// Streams of negative data.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// The streams.
    pub rows: Vec<Row>,
    /// Concatenated transcripts of the clips in each stream.
    pub texts: Vec<String>,
}

/// Embeddings of several streams, step by step.
#[derive(Clone, Debug, Default)]
pub struct TrunkOutputs {
    /// Channels per step.
    pub channels: usize,
    /// Steps per second of audio.
    pub steps_per_second: f64,
    /// Values of each stream, `(steps, channels)`.
    pub streams: Vec<Vec<i8>>,
}

impl TrunkOutputs {
    /// Returns the total number of steps.
    pub fn steps(&self) -> usize {
        self.streams.iter().map(|s| s.len() / self.channels.max(1)).sum()
    }

    /// Returns the total hours of audio.
    pub fn hours(&self) -> f64 {
        self.steps() as f64 / self.steps_per_second / 3600.0
    }
}

impl Negatives {
    /// Returns the total hours of all clips.
    pub fn hours(&self) -> f64 {
        let speech = self.speech.iter().map(|s| s.frames.len());
        let frames: usize = speech.chain(self.noise.iter().map(Vec::len)).sum();
        hours(frames)
    }

    /// Mixes every clip once into streams, with augmentation, and with noise under three of four
    /// streams. Adds streams of noise alone.
    pub fn streams(&self, seed: u64) -> Streams {
        self.streams_with(&BackgroundMix::NEGATIVE, seed)
    }

    /// As [`Negatives::streams`], with other backgrounds. Babble is made of the same speech.
    pub fn streams_with(&self, mix: &BackgroundMix, seed: u64) -> Streams {
        let mut rng = StdRng::seed_from_u64(seed);
        let talkers = self.speech.iter().map(|s| &s.frames).collect();
        let pool = Backgrounds::new(NoisePool::new(self.noise.clone()), talkers);
        let mut order: Vec<&Speech> = self.speech.iter().collect();
        order.shuffle(&mut rng);
        let mut streams = Streams::default();
        while !order.is_empty() {
            let mut row = Row::new(STREAM_FRAMES);
            let mut at = rng.random_range(0..LONGEST_PAUSE);
            let mut level = None;
            let mut text = String::new();
            while let Some(speech) = order.last() {
                let clip = &speech.frames;
                if at > 0 && at + clip.len() > STREAM_FRAMES && clip.len() < STREAM_FRAMES {
                    break;
                }
                let plain = rng.random_bool(0.4);
                let distortion = if plain { Distortion::NONE } else { Distortion::STRONG };
                let sound = distortion.apply(clip, &mut rng);
                level.get_or_insert_with(|| loudness(&sound));
                row.add(at, &sound, 1.0);
                at += sound.len() + rng.random_range(5..LONGEST_PAUSE);
                // The separator keeps a phrase from matching across two clips.
                text = format!("{text} | {}", clean(&speech.text));
                order.pop();
            }
            for talker in pool.add(&mut row, level.unwrap_or(1e6), mix, &mut rng) {
                text = format!("{text} | {}", clean(&self.speech[talker].text));
            }
            streams.rows.push(row);
            streams.texts.push(text);
        }
        for _ in 0..(self.noise.iter().map(Vec::len).sum::<usize>() / STREAM_FRAMES) {
            let mut row = Row::new(STREAM_FRAMES);
            for _ in 0..8 {
                let clip = &self.noise[rng.random_range(0..self.noise.len())];
                let at = rng.random_range(0..STREAM_FRAMES);
                row.add(at, &Distortion::STRONG.apply(clip, &mut rng), 1.0);
            }
            row.add_noise_below(pool.noise(), 1e7, rng.random_range(-10.0..20.0), &mut rng);
            streams.rows.push(row);
            streams.texts.push(String::new());
        }
        streams
    }
}

/// Computes the quantized backbone's embeddings of each row.
///
/// # Errors
/// [`Error::Usage`] if the backbone exceeds the limits of a model.
pub fn trunk_outputs(base: &Base, trunk: &QuantizedTrunk, rows: &[Row]) -> Result<TrunkOutputs> {
    trunk_outputs_ticking(base, trunk, rows, &|_| ())
}

/// As [`trunk_outputs`], with a call of `tick` after each row.
///
/// # Errors
/// As [`trunk_outputs`].
pub fn trunk_outputs_ticking(
    base: &Base,
    trunk: &QuantizedTrunk,
    rows: &[Row],
    tick: &(dyn Fn(&Row) + Sync),
) -> Result<TrunkOutputs> {
    let frontend = base.tables.params(base.info.normalization);
    with_model(base, trunk, &[], &CardText::default(), |model| {
        let embed = |row: &Row| {
            let outputs = run_trunk(model, &row.features(&frontend));
            tick(row);
            outputs
        };
        said(base, rows.par_iter().map(embed))
    })
}

/// Computes the quantized backbone's embeddings of each stream of features.
///
/// # Errors
/// As [`trunk_outputs`].
pub fn trunk_outputs_of(
    base: &Base,
    trunk: &QuantizedTrunk,
    features: &[Vec<i8>],
) -> Result<TrunkOutputs> {
    with_model(base, trunk, &[], &CardText::default(), |model| {
        said(base, features.par_iter().map(|stream| run_trunk(model, stream)))
    })
}

fn said(
    base: &Base,
    streams: impl ParallelIterator<Item = Result<Vec<i8>>>,
) -> Result<TrunkOutputs> {
    Ok(TrunkOutputs {
        channels: base.info.trunk.channels,
        steps_per_second: base.info.trunk.steps_per_second(),
        streams: streams.collect::<Result<_>>()?,
    })
}

/// Runs a model's backbone over features, frame after frame, and returns its embeddings `(steps,
/// channels)`.
pub fn run_trunk(model: &Model<'_>, features: &[i8]) -> Result<Vec<i8>> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(model, &mut arena).map_err(|e| Error::defect(format!("{e:?}")))?;
    let step = usize::from(model.frames_per_step) * MEL_CHANNELS;
    let mut outputs = Vec::with_capacity(features.len() / step * model.trunk_width());
    for input in features.chunks_exact(step) {
        engine.input().copy_from_slice(input);
        outputs.extend_from_slice(engine.trunk().unwrap_or_default());
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_as_whole_words_or_as_characters() {
        let said =
            |text: &str, phrase| Speech { frames: Vec::new(), text: text.into() }.holds(phrase);
        assert!(said("Please OPEN, the door!", "open"));
        assert!(said("hey, floyd.", "Hey Floyd"));
        assert!(!said("the opener", "open") && !said("", "open") && !said("anything", ""));
        assert!(said("我住在北京市", "北京") && !said("背景", "北京"));
    }

    #[test]
    fn what_babble_says_is_known_too() {
        let speech = |text: &str, frames| Speech {
            frames: vec![[9_000; MEL_CHANNELS]; frames],
            text: text.into(),
        };
        // Every clip fills a stream, so the second text can only come from babble.
        let speech = vec![speech("hey", 5_990), speech("floyd", 5_990)];
        let negatives = Negatives { speech, noise: Vec::new() };
        let mix =
            BackgroundMix { chance: 1.0, snr_db: (0.0, 1.0), babble_chance: 1.0, most_talkers: 9 };
        let both = |streams: Streams| {
            streams.texts.iter().filter(|t| says(t, "hey") && says(t, "floyd")).count()
        };
        let streams = |mix| (0..9).map(|seed| both(negatives.streams_with(mix, seed))).sum();
        let (without, with): (usize, usize) = (streams(&BackgroundMix::NEGATIVE), streams(&mix));
        assert!(without == 0 && with > 9, "{without} {with}");
    }

    #[test]
    fn streams_know_what_is_said_in_them() {
        let speech =
            |text: &str| Speech { frames: vec![[9_000; MEL_CHANNELS]; 200], text: text.into() };
        let negatives =
            Negatives { speech: vec![speech("hey"), speech("floyd")], noise: Vec::new() };
        let streams = negatives.streams(1);
        assert_eq!(streams.rows.len(), 1);
        let text = &streams.texts[0];
        assert!(says(text, "floyd") && !says(text, "hey floyd") && !says(text, "floyd hey"));
    }
}
