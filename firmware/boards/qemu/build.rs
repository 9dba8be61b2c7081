//! Copies the machine's memory map to the linker's search path.
//!
//! Link arguments are here rather than in rustflags, so that changing them does not rebuild `core`.
//! The target selects the machine. For `thumbv8m.main`, the processor named in rustflags does so.

use std::{env, fs, path::PathBuf};

/// Machines: start of the target's name, required processor in rustflags, name, frequency in Hertz,
/// and arena size in bytes.
const MACHINES: [(&str, &str, &str, u32, u32); 5] = [
    ("thumbv6m", "", "cortex-m0", 16_000_000, 32 * 1024),
    ("thumbv7em", "", "cortex-m4", 25_000_000, 64 * 1024),
    ("thumbv8m.main", "cortex-m55", "cortex-m55", 32_000_000, 64 * 1024),
    ("thumbv8m.main", "cortex-m33", "cortex-m33", 20_000_000, 64 * 1024),
    // Nothing depends on its frequency.
    ("riscv32imc", "", "rv32imc", 1, 64 * 1024),
];

fn main() {
    println!("cargo:rerun-if-changed=memory");
    println!("cargo:rerun-if-changed=build.rs");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let machine = MACHINES.iter().find(|m| target.starts_with(m.0) && flags.contains(m.1));
    // On the laptop's own target the code is only checked.
    let &(_, _, name, hertz, arena_bytes) = machine.unwrap_or(&MACHINES[1]);
    println!("cargo:rustc-env=WAKELING_HERTZ={hertz}");
    println!("cargo:rustc-env=WAKELING_ARENA_BYTES={arena_bytes}");
    if machine.is_none() {
        assert!(!target.contains("none"), "{target} {flags:?}: no machine for it; see build.rs");
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let map = fs::read(format!("memory/{name}.x")).expect("every machine has a memory map");
    fs::write(out.join("memory.x"), map).expect("OUT_DIR is writable");
    // The file lists no interrupts; see the table in lib.rs.
    fs::write(out.join("device.x"), "").expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=--nmagic");
    let script = if name == "rv32imc" { "memory.x" } else { "link.x" };
    println!("cargo:rustc-link-arg-bins=-T{script}");
}
