#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

/// Allows the instructions where the architecture has them as an option: compilers do not tell the
/// assembler of whole functions what `target-cpu` said.
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

// In the order in which data meets them.
pub mod timebase;
pub mod artifact;
pub mod frontend;
pub mod gate;
pub mod engine;
pub mod detector;
pub mod pipeline;
pub mod fault;
pub mod events;
pub mod monitor;
pub mod recorder;
pub mod enroll;
#[cfg(feature = "update")]
pub mod update;

// Used by all of them.
pub mod decimal;
pub mod fixed;
