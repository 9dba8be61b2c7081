//! Selects the kernels by target.
//!
//! | condition | set for processors with |
//! |---|---|
//! | `cfg(wakeling_dsp)` | the DSP instructions of Armv7E-M or Armv8-M |
//! | `cfg(wakeling_mve)` | the vectors of Armv8.1-M, besides the DSP instructions |
//! | `cfg(wakeling_rv32)` | 32-bit RISC-V with multiplication |
//! | `cfg(wakeling_short_product)` | Thumb instructions of 16 bits, and products of 32 |
//! | `cfg(wakeling_vector)` | 64 bits, or WebAssembly with vectors |
//! | `cfg(wakeling_dsp_is_optional)` | the DSP instructions only as an option of the assembler |
//!
//! The target's name decides. `cfg(target_feature = "dsp")` is not available on stable compilers,
//! so code behind it would be compiled for almost no user.

use std::env;

/// Values of `target-cpu` that imply the DSP instructions on `thumbv8m.main`, where they are
/// optional. Without the flag the assembler rejects them.
const DSP_CPUS: [&str; 2] = ["target-cpu=cortex-m33", "target-cpu=cortex-m35p"];
/// Values of `target-cpu` that imply vectors. Compilers also use those in plain code.
const MVE_CPUS: [&str; 3] =
    ["target-cpu=cortex-m52", "target-cpu=cortex-m55", "target-cpu=cortex-m85"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!(
        "cargo:rustc-check-cfg=cfg(wakeling_dsp, wakeling_mve, wakeling_rv32, wakeling_short_product, wakeling_vector, wakeling_dsp_is_optional)"
    );
    let variable = |name| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let names = |cpus: &[&str]| {
        let mut flags = flags.split('\x1f').map(|flag| flag.trim_start_matches("-C"));
        target.starts_with("thumbv8m.main") && flags.any(|flag| cpus.contains(&flag))
    };
    // thumbv7em is Cortex-M4 and Cortex-M7, which always have the instructions.
    if target.starts_with("thumbv7em") || names(&DSP_CPUS) {
        println!("cargo:rustc-cfg=wakeling_dsp");
    }
    if names(&MVE_CPUS) {
        println!("cargo:rustc-cfg=wakeling_mve");
    }
    if target.starts_with("riscv32im") {
        println!("cargo:rustc-cfg=wakeling_rv32");
    }
    if target.starts_with("thumbv6m") || target.starts_with("thumbv8m.base") {
        println!("cargo:rustc-cfg=wakeling_short_product");
    }
    let features = variable("CARGO_CFG_TARGET_FEATURE");
    if variable("CARGO_CFG_TARGET_POINTER_WIDTH") == "64"
        || features.split(',').any(|feature| feature == "simd128")
    {
        println!("cargo:rustc-cfg=wakeling_vector");
    }
    if target.starts_with("thumbv8m") {
        println!("cargo:rustc-cfg=wakeling_dsp_is_optional");
    }
}
