//! Sets `cfg(wakeling_thumb2)` where the processor has Thumb-2 and loads words from any address.
//! The name of the target decides, since stable compilers do not expose these features.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(wakeling_thumb2)");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    if ["thumbv7m", "thumbv7em", "thumbv8m.main"].iter().any(|name| target.starts_with(name)) {
        println!("cargo:rustc-cfg=wakeling_thumb2");
    }
}
