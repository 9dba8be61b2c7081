//! Writes the machine's memory map, from `boards.toml`, to the linker's search path.
//!
//! Link arguments are here rather than in rustflags, so that changing them does not rebuild `core`.
//! The target selects the machine. For `thumbv8m.main`, the processor named in rustflags does so.

#[path = "../table.rs"]
mod table;

use std::{env, fs, path::PathBuf};

use table::Entry;

/// Sections on RISC-V; on Arm, cortex-m-rt has them.
const RISC_V_SECTIONS: &str = "rv32imc.x";

/// Tests whether cargo builds for a machine. A machine that runs another's program has no target.
fn is_built(machine: &Entry, target: &str, flags: &str) -> bool {
    let mut needed = machine.text("flags").split_whitespace().filter(|&flag| flag != "-C");
    machine.text("target") == target && needed.all(|flag| flags.contains(flag))
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={RISC_V_SECTIONS}");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let machines = table::entries(&table::read(), "machine");
    let machine = machines.iter().find(|machine| is_built(machine, &target, &flags));
    assert!(machine.is_some() || !target.contains("none"), "{target} {flags:?}: no such machine");
    // On the laptop's own target the code is only checked.
    let numbers = machine.or(machines.first()).expect("boards.toml has machines");
    let number = |key| numbers.number(key).unwrap_or_else(|| panic!("boards.toml: no {key}"));
    println!("cargo:rustc-env=WAKELING_HERTZ={}", number("hertz"));
    println!("cargo:rustc-env=WAKELING_ARENA_BYTES={}", number("arena_kib") * 1024);
    if let Some(machine) = machine {
        link(machine, target.starts_with("riscv"));
    }
}

/// Writes the linker's scripts of a machine and names them.
fn link(machine: &Entry, is_risc_v: bool) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut map = table::memory_map(machine);
    if is_risc_v {
        map += &fs::read_to_string(RISC_V_SECTIONS).expect("the sections are beside this script");
    }
    fs::write(out.join("memory.x"), map).expect("OUT_DIR is writable");
    // The file lists no interrupts; see the table in lib.rs.
    fs::write(out.join("device.x"), "").expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rustc-link-arg-bins=-T{}", if is_risc_v { "memory.x" } else { "link.x" });
}
