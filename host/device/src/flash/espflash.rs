//! Commands of espflash (github.com/esp-rs/espflash), which flashes an ESP32 through the chip's
//! ROM.

use std::{ffi::OsString, io, path::Path, process::Command};

use super::shipped::Firmware;
use crate::{Error, Result, board::Board, toolchain::on_path};

/// Name of the program.
pub const PROGRAM: &str = "espflash";

/// First bytes of an ELF file.
const ELF: &[u8] = b"\x7fELF";

/// Returns the arguments of each call. The first call writes the program with bootloader and partitions, and
/// is left out if only the model changes. The last call writes the model at its offset. espflash makes the
/// image of an ELF file itself; that of other files is complete.
///
/// # Errors
/// [`Error::NoPartitions`] if an ELF file needs the partition table, and it is missing.
pub fn commands(
    board: &Board,
    firmware: Option<&Firmware>,
    model: &Path,
) -> Result<Vec<Vec<OsString>>> {
    let mut commands = Vec::new();
    if let Some(Firmware { path, bytes }) = firmware {
        let mut flash;
        if bytes.starts_with(ELF) {
            flash = words(&["flash", "--chip", board.chip, "--partition-table"]);
            flash.push(board.partitions()?.into_os_string());
        } else {
            flash = words(&["write-bin", "--chip", board.chip, "0x0"]);
        }
        flash.push(path.into());
        commands.push(flash);
    }
    let mut write = words(&["write-bin", "--chip", board.chip]);
    write.extend([format!("{:#x}", board.model.start).into(), model.into()]);
    commands.push(write);
    Ok(commands)
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Tests whether the program is in `PATH`.
///
/// # Errors
/// [`Error::NoEspflash`] if it is not.
pub fn check_installed() -> Result<()> {
    let found = on_path(PROGRAM).or_else(|| on_path("espflash.exe"));
    found.map(drop).ok_or_else(|| Error::NoEspflash)
}

/// Runs one of [`commands`].
///
/// # Errors
/// [`Error::NoEspflash`], [`Error::EspflashFailed`], [`Error::EspflashUnusable`].
pub fn run(arguments: &[OsString]) -> Result<()> {
    match Command::new(PROGRAM).args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::EspflashFailed { status }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoEspflash),
        Err(source) => Err(Error::EspflashUnusable { source }),
    }
}
