//! Lookup of the models and negative packs that ship with the program, under `models/`.

use std::path::PathBuf;

use crate::Result;
use crate::quantize::Backbone;
use wakeling_core::shipped::{folders, path_of};
use wakeling_data::{negatives::Negatives, pack};
use wakeling_nn::pretrained::PretrainedModel;

/// Name of the default pretrained model.
pub const DEFAULT_PRETRAINED: &str = "base-m";

/// Loads a pretrained model by path, or a shipped one by name.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) if no folder holds that name, with the folders that were searched; else as
/// [`PretrainedModel::load`].
pub fn pretrained(name: &str) -> Result<PretrainedModel> {
    Ok(PretrainedModel::load(&path_of(name)?)?)
}

/// Loads a pretrained model as [`pretrained`] does, and quantizes its backbone.
///
/// # Errors
/// As [`pretrained`] and [`Backbone::new`].
pub fn backbone(name: &str) -> Result<Backbone> {
    Backbone::new(pretrained(name)?)
}

/// Returns the shipped negatives, unless `only_own`, with a user's own behind them.
///
/// # Errors
/// As [`shipped_negatives`].
pub fn negatives(own: &Negatives, only_own: bool) -> Result<Negatives> {
    let mut all = if only_own { Negatives::default() } else { shipped_negatives()? };
    all.speech.extend(own.speech.iter().cloned());
    all.noise.extend(own.noise.iter().cloned());
    Ok(all)
}

/// Loads all shipped packs of negative speech and noise; empty if none ships.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) if a pack is damaged.
pub fn shipped_negatives() -> Result<Negatives> {
    let mut all = Negatives::default();
    for folder in folders() {
        let Ok(entries) = std::fs::read_dir(folder.join("negatives")) else { continue };
        let mut packs: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        packs.retain(|p| p.extension().is_some_and(|e| e == "pack"));
        packs.sort();
        for path in packs {
            let part = pack::read(&path)?;
            all.speech.extend(part.speech);
            all.noise.extend(part.noise);
        }
        if !all.speech.is_empty() {
            break;
        }
    }
    Ok(all)
}
