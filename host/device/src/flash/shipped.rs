//! Firmware of boards that ships with the program: a folder with a file per board and variant, and a
//! manifest with their SHA-256 sums. `./x boards` and `./x build` write it.
//!
//! ```toml
//! version = "0.1.0"    # of the program
//! model_format = 2     # version of the model files that the firmware runs
//!
//! [[firmware]]
//! board = "pico"
//! plain = false        # whether it is the variant without slots
//! file = "pico.hex"
//! bytes = 261830
//! sha256 = "5f…"
//! program = [0x10000000, 0x10100000]    # regions in flash that it was linked for
//! models = [0x10100000, 0x10200000]
//! page_bytes = 4096    # absent where flash has no slots
//! ```

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Source;
use crate::{Error, Result, board::Board};
use wakeling_core::shipped::firmware_folders;
use wakeling_shared::model::VERSION as MODEL_FORMAT;

/// File with the list of the others.
pub const MANIFEST: &str = "firmware.toml";

/// Version of this program, which firmware must have too.
const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Longest file that is read: the flash of a board takes 2.8 times as many characters.
const LONGEST: u64 = 16 << 20;

/// Content of a program's file, with its path.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// Path of the file.
    pub path: PathBuf,
    /// Content of the file.
    pub bytes: Vec<u8>,
}

impl Firmware {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io(path, "read"))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Borrows it for a plan.
    pub fn source(&self) -> Source<'_> {
        Source { path: &self.path, bytes: &self.bytes }
    }
}

/// A folder of firmware.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// Path of the manifest.
    manifest: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Manifest {
    version: String,
    model_format: u16,
    #[serde(default)]
    firmware: Vec<Entry>,
}

/// File of a board's firmware.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    board: String,
    plain: bool,
    file: String,
    bytes: u64,
    sha256: String,
    program: [u32; 2],
    models: [u32; 2],
    page_bytes: Option<u32>,
}

impl Shipped {
    /// Opens the first folder that has a manifest: that of `WAKELING_BOARD_FIRMWARE`, or `firmware` beside
    /// the program.
    ///
    /// # Errors
    /// [`Error::NoShippedFirmware`] if there is none; else as [`Self::open`].
    pub fn find() -> Result<Self> {
        let folders = firmware_folders();
        match folders.iter().find(|folder| folder.join(MANIFEST).is_file()) {
            Some(folder) => Self::open(folder),
            None => Err(Error::NoShippedFirmware { searched: folders }),
        }
    }

    /// Reads the manifest of a folder.
    ///
    /// # Errors
    /// [`Error::NotAManifest`]; [`Error::OtherVersion`] if it belongs to another version of this program.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| {
            let problem = error.message().to_owned();
            Error::NotAManifest { path: path.clone(), problem }
        })?;
        let found = (manifest.version.as_str(), manifest.model_format);
        if found != (PROGRAM_VERSION, MODEL_FORMAT) {
            let found = describe(&manifest.version, manifest.model_format);
            let own = describe(PROGRAM_VERSION, MODEL_FORMAT);
            return Err(Error::OtherVersion { path, found, own });
        }
        Ok(Self { manifest: path, entries: manifest.firmware })
    }

    /// Returns the path of the manifest.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// Reads the firmware of a board; `plain` selects the variant without slots, which is the only one of a
    /// board that has none.
    ///
    /// # Errors
    /// [`Error::NotShipped`] if there is none for the board; [`Error::OtherLayout`] if it was linked for other
    /// addresses; [`Error::ShippedUnreadable`] and [`Error::ShippedDamaged`] if the file is not the one that the
    /// manifest lists.
    pub fn load(&self, board: &'static Board, plain: bool) -> Result<Firmware> {
        let is_plain = plain || board.page_bytes.is_none();
        let entry = self.entries.iter().find(|e| e.board == board.name && e.plain == is_plain);
        let (manifest, name) = (|| self.manifest.clone(), board.name);
        let entry = entry.ok_or_else(|| Error::NotShipped {
            path: manifest(),
            board: name,
            plain: is_plain,
        })?;
        let range = |[start, end]: [u32; 2]| Range { start, end };
        let found = (range(entry.program), range(entry.models), entry.page_bytes);
        if found != (board.program.clone(), board.model.clone(), board.page_bytes) {
            return Err(Error::OtherLayout { path: manifest(), board: name });
        }
        // A manifest names files of its own folder only.
        if Path::new(&entry.file).file_name() != Some(entry.file.as_ref()) {
            let problem = format!("{:?} is no file beside it", entry.file);
            return Err(Error::NotAManifest { path: manifest(), problem });
        }
        let path = self.manifest.with_file_name(&entry.file);
        let unreadable = |source| Error::ShippedUnreadable { path: path.clone(), source };
        let length = fs::metadata(&path).map_err(unreadable)?.len();
        let damaged = |problem| Error::ShippedDamaged { path: path.clone(), problem };
        if length != entry.bytes || length > LONGEST {
            return Err(damaged(format!("it has {length} bytes, not {}", entry.bytes)));
        }
        let bytes = fs::read(&path).map_err(unreadable)?;
        let sum: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        if !sum.eq_ignore_ascii_case(&entry.sha256) {
            return Err(damaged(format!("its SHA-256 is {sum}, not {}", entry.sha256)));
        }
        Ok(Firmware { path, bytes })
    }
}

fn describe(version: &str, model_format: u16) -> String {
    format!("Wakeling {version} and model format {model_format}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with the program of one board.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            folder.write("pico.hex", b":00000001FF\n");
            folder.write(MANIFEST, manifest().as_bytes());
            folder
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.0.path().join(name), bytes).expect("a file");
        }

        fn load(&self, board: &str, plain: bool) -> Result<Firmware> {
            Shipped::open(self.0.path())?.load(Board::named(board)?, plain)
        }

        /// Loads with a part of the manifest replaced.
        fn with(&self, from: &str, to: &str) -> Error {
            let text = manifest();
            assert!(text.contains(from), "{from}");
            self.write(MANIFEST, text.replacen(from, to, 1).as_bytes());
            self.load("pico", false).expect_err(to)
        }
    }

    fn manifest() -> String {
        let sum: String =
            Sha256::digest(b":00000001FF\n").iter().map(|b| format!("{b:02x}")).collect();
        format!(
            "version = \"{PROGRAM_VERSION}\"\nmodel_format = {MODEL_FORMAT}\n\n[[firmware]]\n\
             board = \"pico\"\nplain = false\nfile = \"pico.hex\"\nbytes = 12\nsha256 = \"{sum}\"\n\
             program = [0x10000000, 0x10100000]\nmodels = [0x10100000, 0x10200000]\npage_bytes = 4096\n"
        )
    }

    #[test]
    fn a_listed_file_is_read() {
        let firmware = Folder::new().load("pico", false).expect("it is listed");
        assert_eq!(firmware.bytes, b":00000001FF\n");
    }

    #[test]
    fn rejects_damaged_missing_and_swapped_files() {
        let folder = Folder::new();
        let error = folder.load("pico", true).expect_err("only slots");
        assert!(matches!(error, Error::NotShipped { plain: true, board: "pico", .. }), "{error}");
        let error = folder.load("nano33", false).expect_err("only a Pico");
        assert!(matches!(error, Error::NotShipped { board: "nano33", .. }), "{error}");

        // Another program of the same length, and one that was cut short.
        for bytes in [&b":00000001FE\n"[..], b":0000"] {
            folder.write("pico.hex", bytes);
            let error = folder.load("pico", false).expect_err("another content");
            assert!(matches!(error, Error::ShippedDamaged { .. }), "{error}");
            assert!(error.to_string().contains("pico.hex"), "{error}");
        }
        fs::remove_file(folder.0.path().join("pico.hex")).expect("it was there");
        let error = folder.load("pico", false).expect_err("it is missing");
        assert!(matches!(error, Error::ShippedUnreadable { .. }), "{error}");
    }

    #[test]
    fn rejects_a_manifest_of_another_program_or_table() {
        let folder = Folder::new();
        let version = format!("version = \"{PROGRAM_VERSION}\"");
        let error = folder.with(&version, "version = \"0.0.1\"");
        assert!(matches!(error, Error::OtherVersion { .. }), "{error}");
        let format = format!("model_format = {MODEL_FORMAT}");
        let error = folder.with(&format, "model_format = 1");
        assert!(matches!(error, Error::OtherVersion { .. }), "{error}");
        for (from, to) in [("0x10100000]", "0x10080000]"), ("4096", "8192"), ("page_bytes", "page")]
        {
            let error = folder.with(from, to);
            assert!(matches!(error, Error::OtherLayout { .. }), "{to}: {error}");
        }
        for (from, to) in [
            ("\"pico.hex\"", "\"../pico.hex\""),
            ("\"pico.hex\"", "\"/etc/passwd\""),
            ("\"pico.hex\"", "\"\""),
            ("bytes = 12", "bytes = -1"),
            ("[[firmware]]", "[firmware"),
            ("plain = false", ""),
        ] {
            let error = folder.with(from, to);
            assert!(matches!(error, Error::NotAManifest { .. }), "{to}: {error}");
        }
    }
}
