//! A part of the models that ship: one pack of other speech instead of all, so that a test that
//! fine-tunes hears minutes and not hours.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Copies the base `base` and one pack of other speech to `place/models`, which is what to name in
/// `WAKELING_MODELS`.
///
/// # Panics
/// If they cannot be copied.
pub fn few_models(place: &Path, base: &str) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/models");
    let models = place.join("models");
    fs::create_dir_all(models.join("negatives")).expect("a folder");
    for file in [&format!("{base}.safetensors"), "negatives/1.pack"] {
        fs::copy(shipped.join(file), models.join(file)).expect("a file that ships");
    }
    models
}
