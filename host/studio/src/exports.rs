//! Files of a model for other systems.

use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use wakeling_core::shipped::browser_folders;
use wakeling_device::{board::esphome::EspHomeBoard, model_file};
use wakeling_interop::{
    c_array,
    microwakeword::{
        export::network,
        files::{About, files},
    },
};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{Error, Result};

/// Files of the browser's package that a page needs.
const BROWSER: [&str; 5] =
    ["index.js", "engine.js", "wasm-simd.js", "wasm-plain.js", "package.json"];
/// Name of the model in the archive for browsers.
const BROWSER_MODEL: &str = "model.wkl";
/// Page in that archive.
const BROWSER_PAGE: &str = include_str!("browser.html");
/// Content type of files for devices.
pub const BYTES: &str = "application/octet-stream";
/// Content type of an archive.
const ZIP: &str = "application/zip";

/// Form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// Network, manifest and configuration for ESPHome, as an archive.
    EspHome,
    /// C header.
    C,
    /// Page with the model and the detector in WebAssembly, as an archive.
    Browser,
}

impl Export {
    /// Parses the name of a form.
    ///
    /// # Errors
    /// [`Error::NotAnExport`].
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "esphome" => Ok(Self::EspHome),
            "c" => Ok(Self::C),
            "browser" => Ok(Self::Browser),
            _ => Err(Error::NotAnExport { name: name.to_owned() }),
        }
    }

    /// Returns the content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::EspHome | Self::Browser => ZIP,
            Self::C => BYTES,
        }
    }

    /// Returns the content of the file for a model. `name` becomes the names of its parts, `board` is
    /// that of the configuration for ESPHome; empty for the default.
    ///
    /// # Errors
    /// [`Error::Device`] if the file is no model or the board is not known; [`Error::Interop`] if
    /// ESPHome cannot run it; [`Error::NoBrowserPackage`].
    pub fn bytes(self, model: &Path, name: &str, board: &str) -> Result<Vec<u8>> {
        let bytes = model_file::read(model)?;
        match self {
            Self::EspHome => esphome(model, &bytes, name, board),
            Self::C => Ok(c_array::of_model(name, model, &bytes)?.into_bytes()),
            Self::Browser => {
                let package = browser_package()?;
                let mut parts = vec![
                    ("index.html".to_owned(), BROWSER_PAGE.as_bytes().to_vec()),
                    (BROWSER_MODEL.to_owned(), bytes),
                ];
                for name in BROWSER {
                    let path = package.join(name);
                    let content = fs::read(&path).map_err(Error::io(&path, "read"))?;
                    parts.push((format!("wakeling/{name}"), content));
                }
                zipped(parts)
            }
        }
    }
}

/// Returns the folder of the browser's package that ships with the program.
///
/// # Errors
/// [`Error::NoBrowserPackage`] if there is none that is whole.
pub fn browser_package() -> Result<PathBuf> {
    let folders = browser_folders();
    let is_whole = |folder: &&PathBuf| BROWSER.iter().all(|name| folder.join(name).is_file());
    let found = folders.iter().find(is_whole).cloned();
    found.ok_or(Error::NoBrowserPackage { searched: folders })
}

fn esphome(path: &Path, bytes: &[u8], name: &str, board: &str) -> Result<Vec<u8>> {
    let model = model_file::load(path, bytes)?;
    let about = match board {
        "" => About::default(),
        board => About { board: EspHomeBoard::named(board)?, ..About::default() },
    };
    let reason = |reason| wakeling_interop::Error::Export { path: path.to_owned(), reason };
    let network = network(&model, 0).map_err(reason)?;
    zipped(files((&model, 0), &network, name, None, &about).into())
}

/// Returns an archive of files with their names.
fn zipped(files: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>> {
    let write = || -> zip::result::ZipResult<Vec<u8>> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            archive.start_file(name, SimpleFileOptions::default())?;
            archive.write_all(&bytes)?;
        }
        Ok(archive.finish()?.into_inner())
    };
    write().map_err(|error| Error::defect(error.to_string()))
}
