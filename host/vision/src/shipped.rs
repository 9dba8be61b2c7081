//! Pretrained networks for images that ship.

use wakeling_core::shipped::path_of;

use crate::{Result, file::ImageNetwork};

/// Name of the default pretrained model for images.
pub const DEFAULT_PRETRAINED_IMAGES: &str = "photos-m";

/// Loads a pretrained model for images by path, or a shipped one by name.
///
/// # Errors
/// As [`path_of`] and [`ImageNetwork::load`].
pub fn pretrained_images(name: &str) -> Result<ImageNetwork> {
    ImageNetwork::load(&path_of(name)?)
}
