//! Commands of the program, one file each.

pub mod advise;
pub mod boards;
pub mod check_phrase;
mod choice;
pub mod compare;
pub mod dataset;
pub mod device;
pub mod doctor;
pub mod evaluate;
pub mod export;
pub mod finetune;
pub mod flash;
pub mod generate;
#[cfg(feature = "vision")]
pub mod images;
pub mod import;
pub mod listen;
pub mod number;
pub mod pack;
pub mod pretrain;
pub mod quantize;
pub mod record;
#[cfg(feature = "serve")]
pub mod serve;
pub mod sign;
pub mod simulate;
#[cfg(feature = "studio")]
pub mod studio;
pub mod synthesize;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use clap::Args;
use wakeling_shared::frontend::FrontendParams;

use crate::error::{Error, Result};
use wakeling_core::progress::{Bars, NoProgress};
use wakeling_data::clip_features::load_log_mel;
use wakeling_data::{
    dataset::{Dataset, Example},
    negatives::{Negatives, load_speech},
    takes::{self, Checked, Purpose},
    text::{clean, contains_phrase, nfc, quoted},
};
use wakeling_train::{
    finetune::{HeadSettings, NoiseProfile, Settings, TrainSettings},
    models,
};

/// Loads the clips of a dataset, and logs the entries that were skipped.
///
/// # Errors
/// As [`Dataset::open`].
pub fn open_dataset(path: &Path) -> Result<Vec<Example>> {
    Ok(Dataset::open_reporting(path, &NoProgress)?)
}

/// Loads the recordings of a keyword as [`takes::open`] does, with a bar.
///
/// # Errors
/// As [`takes::open`].
pub fn open_takes(
    word: &KeywordPath,
    frontend: &FrontendParams<'_>,
    purpose: Purpose,
) -> Result<Checked> {
    Ok(takes::open(&word.path, &word.label, frontend, purpose, &Bars::default())?)
}

/// Loads the clips of several datasets.
pub fn open_datasets(paths: &[PathBuf]) -> Result<Vec<Example>> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(open_dataset(path)?);
    }
    Ok(all)
}

/// Error for data of which nothing can be read. `give` says what to give instead.
pub fn unreadable(path: &Path, give: &str) -> Error {
    Error::input(
        path,
        "no recording in it can be read",
        format!("see the lines above; give {give}"),
    )
}

/// Loads the clips of negatives. Rejects those that are recordings of a keyword, such as its own folder
/// given by mistake. Clips whose text contains the keyword are left out where they are used, and
/// therefore allowed.
pub fn open_negatives(paths: &[PathBuf], words: &[KeywordPath]) -> Result<Vec<Example>> {
    let place = |example: &Example| {
        let path = std::fs::canonicalize(&example.path).unwrap_or_else(|_| example.path.clone());
        (path, Example { path: PathBuf::new(), ..example.clone() }.name())
    };
    let mut all = Vec::new();
    for path in paths {
        let negatives = open_dataset(path)?;
        for word in words {
            // What cannot be opened is reported where it is loaded.
            let Ok(recordings) = Dataset::open(&word.path) else { continue };
            let own: HashSet<_> = recordings.examples.iter().map(place).collect();
            let names: HashSet<_> =
                recordings.examples.iter().map(|e| e.path.file_name()).collect();
            let is_left_out = |e: &Example| {
                let text = e.text.as_deref().map(clean).unwrap_or_default();
                contains_phrase(&text, &word.label)
            };
            // Paths are resolved, which takes time, only where the file's name is that of a recording.
            let is_own = |e: &&Example| {
                names.contains(&e.path.file_name()) && own.contains(&place(e)) && !is_left_out(e)
            };
            let both = negatives.iter().filter(is_own).count();
            if both > 0 {
                let (s, are) = if both == 1 { ("", "is") } else { ("s", "are") };
                let label = quoted(&word.label);
                let problem = format!("{both} recording{s} of {label} {are} in it as well");
                let remedy = "give sound without the phrase; its own folder belongs to --word";
                return Err(Error::input(path, problem, remedy));
            }
        }
        all.extend(negatives);
    }
    Ok(all)
}

/// Negative data: the shipped negatives, and the user's.
#[derive(Clone, Debug, Args)]
pub struct NegativeArgs {
    /// Speech without the keyword, added to the shipped negatives
    #[arg(long, num_args = 1..)]
    negatives: Vec<PathBuf>,
    /// Noise and music, added to the shipped negatives
    #[arg(long, num_args = 1..)]
    noise: Vec<PathBuf>,
    /// Leave out the shipped negatives
    #[arg(long, requires = "negatives")]
    only_own: bool,
}

impl NegativeArgs {
    /// Loads the user's negative data. `speech` are the opened negatives.
    ///
    /// # Errors
    /// As [`open_datasets`], and if nothing in the given folders can be read.
    pub fn load_own(&self, speech: &[Example], frontend: &FrontendParams<'_>) -> Result<Negatives> {
        let speech = load_speech(speech, frontend, "negatives");
        let noise = load_log_mel(&open_datasets(&self.noise)?, frontend, "noise");
        let noise: Vec<_> = noise.into_iter().flatten().collect();
        let sources = [(&self.negatives, speech.is_empty()), (&self.noise, noise.is_empty())];
        for (paths, is_empty) in sources {
            if let (Some(path), true) = (paths.first(), is_empty) {
                return Err(unreadable(path, "folders of recordings, or none"));
            }
        }
        Ok(Negatives { speech, noise })
    }

    /// Loads all negative data.
    ///
    /// # Errors
    /// As [`open_datasets`] and [`NegativeArgs::load_own`], and if a shipped pack is damaged.
    pub fn load(&self, frontend: &FrontendParams<'_>) -> Result<Negatives> {
        let own = self.load_own(&open_datasets(&self.negatives)?, frontend)?;
        Ok(models::negatives(&own, self.only_own)?)
    }
}

/// Training options of the command line.
#[derive(Clone, Copy, Debug, Args)]
pub struct Training {
    /// Hours of negatives to train on. If there are fewer, clips are mixed up to four times, each
    /// time with another augmentation
    #[arg(long, value_name = "HOURS", default_value_t = TrainSettings::default().negative_hours,
        value_parser = number::within(0.0..=1_000.0))]
    negative_hours: f64,
    /// Training steps of the head
    #[arg(long, default_value_t = TrainSettings::default().steps, value_parser = number::steps())]
    steps: usize,
    /// Number of heads that are trained with different seeds and merged into one
    #[arg(long = "ensemble", alias = "members", value_name = "COUNT", default_value_t = HeadSettings::default().ensemble_members,
        value_parser = number::within(1..=8_usize))]
    ensemble_members: usize,
    /// Channels of each head's layers; 1 is a single node
    #[arg(long, value_name = "COUNT", default_value_t = HeadSettings::default().hidden,
        value_parser = number::within(1..=64_usize))]
    head_channels: usize,
    /// Temporal layers of each head: with 0 it covers one moment, with 2 the whole phrase
    #[arg(long, value_name = "COUNT", default_value_t = HeadSettings::default().temporal.len(),
        value_parser = number::within(0..=HeadSettings::default().temporal.len()))]
    head_layers: usize,
    /// What is mixed under the recordings
    #[arg(long, value_name = "PROFILE", value_parser = crate::commands::choice::choice::<NoiseProfile>(), default_value = "talk")]
    noise_profile: NoiseProfile,
    /// Training steps of the backbone, if it is fine-tuned
    #[arg(long = "backbone-steps", alias = "trunk-steps", value_name = "STEPS", default_value_t = TrainSettings::default().backbone_steps, value_parser = number::steps())]
    backbone_steps: usize,
    /// Worker threads, of which training uses up to two; the result does not depend on it
    #[arg(long, default_value_t = wakeling_train::default_workers(), value_parser = number::workers())]
    workers: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
}

impl Training {
    /// Returns the settings.
    pub fn settings(self) -> Settings {
        let mut head = HeadSettings {
            ensemble_members: self.ensemble_members,
            hidden: self.head_channels,
            ..HeadSettings::default()
        };
        // With fewer layers, those that reach furthest back are kept.
        let left_out = head.temporal.len().saturating_sub(self.head_layers);
        head.temporal.drain(..left_out);
        let train = TrainSettings {
            background: self.noise_profile.background(),
            negative_hours: self.negative_hours,
            steps: self.steps,
            backbone_steps: self.backbone_steps,
            workers: self.workers,
            seed: self.seed,
            ..TrainSettings::default()
        };
        Settings { head, train, ..Settings::default() }
    }
}

/// Keyword and the path of its recordings: `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeywordPath {
    /// Label of a detection.
    pub label: String,
    /// Folder, manifest or file of its recordings.
    pub path: PathBuf,
}

/// Parses `NAME=PATH`. Without a name, the last part of the path names the keyword.
pub fn parse_keyword(text: &str) -> std::result::Result<KeywordPath, String> {
    let (label, path) = match text.split_once('=') {
        Some((label, path)) => (label.trim().to_owned(), PathBuf::from(path)),
        None => {
            let path = PathBuf::from(text);
            let stem = path.file_stem().map(|s| s.to_string_lossy().replace('_', " "));
            (stem.unwrap_or_default(), path)
        }
    };
    if label.is_empty() || path.as_os_str().is_empty() {
        return Err("expected NAME=PATH, such as \"hey computer=recordings/\"".into());
    }
    Ok(KeywordPath { label: nfc(&label).into_owned(), path })
}

/// Formats a path as a word of a shell's command, for the next step that a command logs.
pub fn shell_word(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/.-_+@:\\".contains(c);
    if path.chars().all(is_plain) { path } else { quoted(&path).to_string() }
}

pub use wakeling_data::text::file_name;
