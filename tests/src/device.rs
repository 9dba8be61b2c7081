//! The emulated device, where it is available.

use std::env;

use wakeling_device::emulator::{Emulator, EmulatorError, Machine};

/// Returns the firmware's program on a machine; see [`if_there`].
pub fn emulator(machine: Machine, program: &str) -> Option<Emulator> {
    if_there(Emulator::built(machine, program))
}

/// Returns the emulator that was found. If QEMU or the firmware is missing, prints that the test is
/// skipped and returns `None`. `./x test` builds the firmware first and sets
/// `WAKELING_REQUIRE_EMULATOR`, which makes that case fail.
///
/// # Panics
/// If the emulator is required and missing, and at any other error.
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
