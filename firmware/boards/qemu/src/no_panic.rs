//! Proof that nothing panics. A panic in this program calls a function that does not exist, so it
//! links only if the optimizer proves that no panic is reachable.
//!
//! The program does everything that the application does. It loads any bytes in the region of the
//! model, builds the pipeline, processes a recording block by block, and prints scores, detections
//! and faults. The proof thus holds from `Model::load_deferred` on, for any bytes and any sound, with
//! bounds checks in place. An optimized build does not check for overflow; every test on the laptop
//! does.
//!
//! The command line is `no-panic RECORDING`. `tests/tests/no_panic.rs` runs it, so that the proven
//! program is also tested.

#![no_std]
#![no_main]

use core::{fmt::Write, panic::PanicInfo, ptr::addr_of_mut};

use wakeling_firmware::{
    check::Check,
    listener::{Listener, Options},
};
use wakeling_qemu::{
    ARENA_BYTES, memory,
    semihosting::{Console, Dark, Recording, command_line},
};
use wakeling_shared::{decimal::Decimal, model::Model, pipeline::Pipeline};

const BLOCK_SAMPLES: usize = 320;
const COMMAND_LINE_BYTES: usize = 512;

/// Panic handler that prevents linking if a panic is reachable.
#[cfg(not(debug_assertions))]
fn unreachable(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Not defined anywhere.
        fn wakeling_a_panic_can_be_reached() -> !;
    }
    // SAFETY: there is no such function, so a program with this call does not link.
    unsafe { wakeling_a_panic_can_be_reached() }
}

/// Panic handler without optimization, where nothing is proven.
#[cfg(debug_assertions)]
fn unreachable(info: &PanicInfo<'_>) -> ! {
    wakeling_qemu::panicked(info)
}

/// Returns whether the recording was processed to its end.
fn run() -> bool {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    // SAFETY: this function runs once, on the only processor, without interrupts, so this is the
    // only reference.
    let arena = unsafe { &mut *addr_of_mut!(ARENA) };
    let mut console = Console::new();
    let mut line = [0; COMMAND_LINE_BYTES];
    let name = command_line(&mut line).split_ascii_whitespace().nth(1).unwrap_or_default();
    let (mut model, mut pipeline) = (None, None);
    let check = Check::done();
    let loaded = Model::load_deferred(&mut model, memory::model_region());
    let detection = loaded.ok().and_then(|(model, pending)| {
        check.begin(pending);
        let pipeline = Pipeline::new_into(&mut pipeline, model, arena).ok()?;
        let options = Options { scores: true, ..Options::default() };
        let mut listener = Listener::new((model, &check), pipeline, (Dark, &mut console), options);
        listener.run(&mut Recording::open(name).ok()?, &mut [0; BLOCK_SAMPLES]).ok()
    });
    let stack = Decimal::of(memory::peak_stack_bytes());
    // If the console fails, the error cannot be reported.
    let _ = writeln!(console, "stack {stack}");
    detection.is_some()
}

wakeling_qemu::machine!(run, unreachable);
