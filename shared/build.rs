//! Chooses the kernels: `cfg(wakeling_dsp)` where the processor has the DSP instructions.
//!
//! Names decide, and not `cfg(target_feature = "dsp")`: stable compilers do not tell that feature, so
//! code behind it would be fast for nobody but its author.

use std::env;

/// Processors of `thumbv8m.main` that have the instructions, which are an option there; without the
/// flag the assembler refuses them as well. Cortex-M55 and M85 are left out: their compilers make
/// vectors of plain code.
const CPUS: [&str; 2] = ["target-cpu=cortex-m33", "target-cpu=cortex-m35p"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(wakeling_dsp)");
    let variable = |name| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let mut flags = flags.split('\x1f');
    // thumbv7em is Cortex-M4 and M7, which always have them.
    let has_dsp = target.starts_with("thumbv7em")
        || target.starts_with("thumbv8m.main")
            && flags.any(|flag| CPUS.contains(&flag.trim_start_matches("-C")));
    if has_dsp {
        println!("cargo:rustc-cfg=wakeling_dsp");
    }
}
