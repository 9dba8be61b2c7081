#![doc = include_str!("../README.md")]
#![no_std]
#![cfg(target_arch = "wasm32")]

pub mod error;
pub mod exports;
mod memory;

/// Panic handler that prevents linking if a panic is reachable.
#[cfg(not(debug_assertions))]
#[panic_handler]
fn unreachable(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Not defined anywhere.
        fn wakeling_a_panic_can_be_reached() -> !;
    }
    // SAFETY: there is no such function, so a module with this call does not link.
    unsafe { wakeling_a_panic_can_be_reached() }
}

/// Panic handler without optimization, where nothing is proven.
#[cfg(debug_assertions)]
#[panic_handler]
fn unreachable(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
