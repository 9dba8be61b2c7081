//! Chooses the kernels: `cfg(wakeling_dsp)` where the processor has the DSP instructions, and
//! `cfg(wakeling_mve)` where it has those and the vectors of Armv8.1-M besides, `cfg(wakeling_rv32)`
//! where it is RISC-V of 32 bits that multiplies.
//!
//! `cfg(wakeling_dsp_is_optional)` says that the assembler must be told.
//!
//! Names decide, and not `cfg(target_feature = "dsp")`: stable compilers do not tell that feature, so
//! code behind it would be fast for nobody but its author.

use std::env;

/// Processors of `thumbv8m.main` that have the instructions, which are an option there; without the
/// flag the assembler refuses them as well.
const DSP_CPUS: [&str; 2] = ["target-cpu=cortex-m33", "target-cpu=cortex-m35p"];
/// Those that have vectors, which their compilers make of plain code too.
const MVE_CPUS: [&str; 3] =
    ["target-cpu=cortex-m52", "target-cpu=cortex-m55", "target-cpu=cortex-m85"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!(
        "cargo:rustc-check-cfg=cfg(wakeling_dsp, wakeling_mve, wakeling_rv32, wakeling_dsp_is_optional)"
    );
    let variable = |name| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let names = |cpus: &[&str]| {
        let mut flags = flags.split('\x1f').map(|flag| flag.trim_start_matches("-C"));
        target.starts_with("thumbv8m.main") && flags.any(|flag| cpus.contains(&flag))
    };
    // thumbv7em is Cortex-M4 and M7, which always have the instructions.
    if target.starts_with("thumbv7em") || names(&DSP_CPUS) {
        println!("cargo:rustc-cfg=wakeling_dsp");
    }
    if names(&MVE_CPUS) {
        println!("cargo:rustc-cfg=wakeling_mve");
    }
    if target.starts_with("riscv32im") {
        println!("cargo:rustc-cfg=wakeling_rv32");
    }
    if target.starts_with("thumbv8m") {
        println!("cargo:rustc-cfg=wakeling_dsp_is_optional");
    }
}
