//! The emulated device, where there is one.

use std::env;

use wakeling::emulator::{Emulator, EmulatorError, Machine};

/// The firmware's program on a machine; see [`if_there`].
pub fn emulator(machine: Machine, program: &str) -> Option<Emulator> {
    if_there(Emulator::built(machine, program))
}

/// What was found. Where QEMU or the firmware is missing, a test says that it was skipped and gets none;
/// `./x test` builds the firmware first and sets `WAKELING_REQUIRE_EMULATOR`, with which that fails.
///
/// # Panics
/// If it is required and missing, and at any other error.
pub fn if_there<T>(built: Result<T, EmulatorError>) -> Option<T> {
    match built {
        Ok(found) => Some(found),
        Err(error @ (EmulatorError::NoQemu { .. } | EmulatorError::NoFirmware { .. })) => {
            let required = env::var_os("WAKELING_REQUIRE_EMULATOR").is_some();
            assert!(!required, "{error}");
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
