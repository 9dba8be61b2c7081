//! Replies of a program that was built without the feature `remote`.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Progress callback: number of bytes so far, and the total if it is known.
pub type Watch<'a> = dyn FnMut(u64, Option<u64>) + 'a;

fn absent(url: &str) -> Error {
    Error::WithoutRemote { url: url.to_owned() }
}

/// Returns the error that names the missing feature.
///
/// # Errors
/// [`Error::WithoutRemote`], always.
pub fn download(url: &str, _target: &Path, _watch: &mut Watch<'_>) -> Result<()> {
    Err(absent(url))
}

pub(super) fn is_address(url: &str) -> bool {
    url.starts_with("s3://")
}

pub(super) fn list(url: &str, _suffix: &str) -> Result<Vec<PathBuf>> {
    Err(absent(url))
}
