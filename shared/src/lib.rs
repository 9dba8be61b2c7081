#![doc = include_str!("../README.md")]
#![no_std]

/// Assembler directive that enables the optional DSP instructions. Compilers do not pass
/// `target-cpu` on to the assembler of naked functions.
#[cfg(wakeling_dsp_is_optional)]
#[allow(unused_macros, reason = "only the assembly kernels use it")]
macro_rules! allow_dsp {
    () => {
        ".cpu cortex-m33"
    };
}
#[cfg(not(wakeling_dsp_is_optional))]
#[allow(unused_macros, reason = "only the assembly kernels use it")]
macro_rules! allow_dsp {
    () => {
        ""
    };
}

// The order is that in which data meets them.
pub mod timebase;
pub mod model;
pub mod frontend;
pub mod gate;
pub mod engine;
pub mod detector;
pub mod sensitivity;
pub mod pipeline;
pub mod mic_health;
pub mod events;
pub mod monitor;
pub mod recorder;
pub mod enroll;
#[cfg(feature = "update")]
pub mod update;

// These two serve all modules above.
pub mod decimal;
pub mod fixed;
#[cfg(wakeling_short_product)]
mod thumb;
