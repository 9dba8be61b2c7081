//! A part of the shipped models: one pack of negative data instead of all, so that a test of
//! fine-tuning uses minutes of sound rather than hours.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Copies the pretrained model `base` and one pack of negative data to `place/models`. Returns that
/// folder, for `WAKELING_MODELS`.
///
/// # Panics
/// If they cannot be copied.
pub fn few_models(place: &Path, pretrained: &str) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/models");
    let models = place.join("models");
    fs::create_dir_all(models.join("negatives")).expect("a folder");
    for file in [&format!("{pretrained}.safetensors"), "negatives/1.pack"] {
        fs::copy(shipped.join(file), models.join(file)).expect("a file that ships");
    }
    models
}
