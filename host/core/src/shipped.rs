//! Folders of what ships with the program: pretrained models, packs of negatives, firmware of boards.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Returns the folders to search, in order: `$WAKELING_MODELS`, `models` beside the program, and
/// `models` in the source tree that the program was built from.
pub fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("WAKELING_MODELS").map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("models")));
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    named.into_iter().chain(beside).chain([built]).collect()
}

/// Returns the folders to search for firmware of boards, in order: `$WAKELING_BOARD_FIRMWARE`, and `firmware`
/// beside the program. For a program in a target folder of cargo, that target folder has it (`./x boards`).
pub fn firmware_folders() -> Vec<PathBuf> {
    let named = std::env::var_os("WAKELING_BOARD_FIRMWARE").map(PathBuf::from);
    named.into_iter().chain(beside("firmware")).collect()
}

/// Returns the paths at which a folder may be beside the program.
fn beside(name: &str) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent);
    let profile = ["release", "debug"];
    let is_built =
        |folder: &&Path| folder.file_name().is_some_and(|name| profile.iter().any(|p| name == *p));
    let target = beside.filter(is_built).and_then(Path::parent);
    [beside, target].into_iter().flatten().map(|folder| folder.join(name)).collect()
}

/// Returns the folders to search for the browser's package, in order: `$WAKELING_NPM`, and `npm/wakeling` in
/// the places of [`firmware_folders`].
pub fn browser_folders() -> Vec<PathBuf> {
    let named = std::env::var_os("WAKELING_NPM").map(PathBuf::from);
    named.into_iter().chain(beside("npm/wakeling")).collect()
}

/// Returns the path of a pretrained model: the path itself, or that of a shipped one by name.
///
/// # Errors
/// [`Error::NoPretrainedModel`] if no folder holds that name, with the folders that were searched.
pub fn path_of(name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.exists() || path.components().count() > 1 || path.extension().is_some() {
        return Ok(path.to_owned());
    }
    let file = format!("{name}.safetensors");
    folders()
        .into_iter()
        .map(|f| f.join(&file))
        .find(|p| p.is_file())
        .ok_or_else(|| Error::NoPretrainedModel { name: name.to_owned(), searched: folders() })
}
