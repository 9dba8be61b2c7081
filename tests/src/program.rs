//! Programs of boards, for the tests that run them.

use std::{path::PathBuf, sync::Mutex};

use wakeling_device::{Error, board::Board};

/// Builds the program of a board, with slots, and returns its path. Without the compiler's target it prints
/// that the test is skipped, and returns `None`.
///
/// # Panics
/// If the program does not compile.
pub fn built(board: &Board) -> Option<PathBuf> {
    /// Tests of one file would wait for each other's cargo anyway, and report it.
    static BUILDS: Mutex<()> = Mutex::new(());
    let _one = BUILDS.lock();
    match board.build_firmware(false) {
        Ok(path) => Some(path),
        Err(error @ Error::BuildFailed { .. }) => panic!("{error}"),
        Err(error) => {
            eprintln!("SKIP: no program of {}: {error}", board.name);
            None
        }
    }
}
