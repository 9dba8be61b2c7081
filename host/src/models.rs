//! Finds what ships with the program: bases and packs, under `models/`.

use std::path::{Path, PathBuf};

use crate::{Error, Result, base::Base, images::file::ImageNetwork, negatives::Negatives, pack};

/// The base that is used where none is named.
pub const DEFAULT_BASE: &str = "base-m";

/// Folders that may hold the models, in the order in which they are searched: `$WAKELING_MODELS`,
/// beside the program, and where the program was built.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("WAKELING_MODELS").map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("models")));
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    named.into_iter().chain(beside).chain([built]).collect()
}

/// The base for pictures that is used where none is named.
pub const DEFAULT_IMAGE_BASE: &str = "objects-m";

/// Loads a base by its path, or a shipped one by its name.
///
/// # Errors
/// [`Error::Usage`] if there is none of that name, with the folders that were searched.
pub fn base(name: &str) -> Result<Base> {
    Base::load(&path_of(name)?)
}

/// Loads a base for pictures, as [`base`].
///
/// # Errors
/// As [`base`].
pub fn image_base(name: &str) -> Result<ImageNetwork> {
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

/// The other speech and noise that ships, all packs together; none if nothing ships.
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
