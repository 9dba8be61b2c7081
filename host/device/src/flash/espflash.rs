//! Commands of espflash (github.com/esp-rs/espflash), which flashes an ESP32 through the chip's
//! ROM.

use std::{ffi::OsString, io, path::Path, process::Command};

use crate::{board::Board, toolchain::on_path};
use wakeling_core::{Error, Result};

/// Name of the program.
pub const PROGRAM: &str = "espflash";

/// Returns the arguments of each call. The first call writes the program with its partitions, and
/// is left out if only the model changes. The last call writes the model at its offset.
///
/// # Errors
/// [`Error::Input`] if the partition table is missing.
pub fn commands(
    board: &Board,
    firmware: Option<&Path>,
    model: &Path,
) -> Result<Vec<Vec<OsString>>> {
    let mut commands = Vec::new();
    if let Some(firmware) = firmware {
        let mut flash = words(&["flash", "--chip", board.chip, "--partition-table"]);
        flash.extend([board.partitions()?.into_os_string(), firmware.into()]);
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

/// Remedy if the program is missing.
const INSTALL: &str = "cargo install espflash --locked, or see https://github.com/esp-rs/espflash";

/// Tests whether the program is in `PATH`.
///
/// # Errors
/// [`Error::Device`] if it is not; the remedy installs it.
pub fn check_installed() -> Result<()> {
    let found = on_path(PROGRAM).or_else(|| on_path("espflash.exe"));
    found.map(drop).ok_or_else(|| Error::device(PROGRAM, "it is not installed", INSTALL))
}

/// Runs one of [`commands`].
///
/// # Errors
/// [`Error::Device`] if the program is missing or fails.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let refuse = |problem: String, remedy: &str| Err(Error::device(PROGRAM, problem, remedy));
    match Command::new(PROGRAM).args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => refuse(
            format!("it ended with {status}"),
            "see the lines above; hold BOOT while you press RESET if the board does not answer",
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse("it is not installed".to_owned(), INSTALL)
        }
        Err(error) => refuse(error.to_string(), "check that espflash can be started"),
    }
}
