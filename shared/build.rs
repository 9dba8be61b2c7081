//! Chooses the kernels: `cfg(wakeling_dsp)` where the processor has the DSP instructions.
//!
//! The target's name decides, and not `cfg(target_feature = "dsp")`: stable compilers do not tell
//! that feature, so code behind it would be fast for nobody but its author.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(wakeling_dsp)");
    // thumbv7em is Cortex-M4 and M7, which always have them. On thumbv8m.main they are an option.
    if env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv7em")) {
        println!("cargo:rustc-cfg=wakeling_dsp");
    }
}
