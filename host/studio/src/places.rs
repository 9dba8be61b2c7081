//! Folders and settings of a studio.

use std::path::PathBuf;

use wakeling_train::finetune::Settings;

/// Folders for recordings and models.
#[derive(Clone, Debug)]
pub struct Places {
    /// Parent of the folders of recordings.
    pub recordings: PathBuf,
    /// Parent of the folders of models.
    pub runs: PathBuf,
    /// Settings of the training.
    pub settings: Settings,
}
