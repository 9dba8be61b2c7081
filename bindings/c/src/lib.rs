#![doc = include_str!("../README.md")]
#![no_std]

// On a machine with an operating system the kernels use `std`, which has a panic handler.
#[cfg(not(target_os = "none"))]
extern crate std;

pub mod status;
pub mod types;
mod instance;
pub mod api;

/// Panic handler, which is never reached: `tests/tests/c_library.rs` shows that no archive holds a
/// call of it.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Not defined anywhere, so a program from which a panic can be reached does not link.
        fn wakeling_a_panic_can_be_reached() -> !;
    }
    // SAFETY: there is no such function, so no program with this call exists.
    unsafe { wakeling_a_panic_can_be_reached() }
}
