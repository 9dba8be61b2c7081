//! Build script of every board. Copies `memory.x` to the linker's search path, and names the linker
//! scripts of the chip's crates. Link arguments are here rather than in rustflags, so that changing
//! them does not rebuild everything.

use std::{env, fs, path::PathBuf};

/// Returns the linker scripts of a package, besides `defmt.x`, which every package uses.
fn scripts(package: &str) -> &'static [&'static str] {
    match package {
        "wakeling-pico" => &["link.x", "link-rp.x"],
        "wakeling-esp32-c3" => &["linkall.x"],
        _ => &["link.x"],
    }
}

fn main() {
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=../link.rs");
    let package = env::var("CARGO_PKG_NAME").expect("cargo sets CARGO_PKG_NAME");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // The memory map of the ESP32 comes with its crate.
    if fs::copy("memory.x", out.join("memory.x")).is_ok() {
        println!("cargo:rustc-link-search={}", out.display());
        println!("cargo:rustc-link-arg-bins=--nmagic");
    }
    for script in scripts(&package).iter().chain(&["defmt.x"]) {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
}
