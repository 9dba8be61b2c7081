//! Lookup of the models and negative packs that ship with the program, under `models/`.

use std::path::{Path, PathBuf};

use crate::{
    Error, Result, images::file::ImageNetwork, negatives::Negatives, pack,
    pretrained::PretrainedModel,
};

/// Name of the default pretrained model.
pub const DEFAULT_PRETRAINED: &str = "base-m";

/// Returns the folders to search, in order: `$WAKELING_MODELS`, `models` beside the program, and
/// `models` in the source tree that the program was built from.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("WAKELING_MODELS").map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("models")));
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    named.into_iter().chain(beside).chain([built]).collect()
}

/// Name of the default pretrained model for images.
pub const DEFAULT_PRETRAINED_IMAGES: &str = "objects-m";

/// Loads a pretrained model by path, or a shipped one by name.
///
/// # Errors
/// [`Error::Usage`] if no folder holds that name, with the folders that were searched; else as
/// [`PretrainedModel::load`].
pub fn pretrained(name: &str) -> Result<PretrainedModel> {
    PretrainedModel::load(&path_of(name)?)
}

/// Loads a pretrained model for images by path, or a shipped one by name.
///
/// # Errors
/// As [`base`].
pub fn pretrained_images(name: &str) -> Result<ImageNetwork> {
    ImageNetwork::load(&path_of(name)?)
}

fn path_of(name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.exists() || path.components().count() > 1 || path.extension().is_some() {
        return Ok(path.to_owned());
    }
    let file = format!("{name}.safetensors");
    folders().into_iter().map(|f| f.join(&file)).find(|p| p.is_file()).ok_or_else(|| {
        let searched: Vec<String> = folders().iter().map(|f| f.display().to_string()).collect();
        Error::usage(
            format!("there is no base {name:?} in {}", searched.join(", ")),
            "give the path of a .safetensors base, or set WAKELING_MODELS to the folder of bases",
        )
    })
}

/// Loads all shipped packs of negative speech and noise; empty if none ships.
///
/// # Errors
/// [`Error::Input`] if a pack is damaged.
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
