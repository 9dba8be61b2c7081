//! Build script of every board on hardware. Writes the linker's memory map from `boards.toml`, and names
//! the linker scripts of the chip's crates. Link arguments are here rather than in rustflags, so that
//! changing them does not rebuild everything.

mod table;

use std::{env, fs, path::PathBuf};

use table::Entry;

/// File in the folder of a board with sections that its chip needs besides cortex-m-rt's.
const SECTIONS: &str = "sections.x";

/// Returns the linker scripts of a board's chip, besides `defmt.x`, which every board uses.
fn scripts(board: &str) -> &'static [&'static str] {
    match board {
        "pico" => &["link.x", "link-rp.x"],
        "esp32-c3" => &["linkall.x"],
        _ => &["link.x"],
    }
}

fn main() {
    println!("cargo:rerun-if-changed=../link.rs");
    let package = env::var("CARGO_PKG_NAME").expect("cargo sets CARGO_PKG_NAME");
    let name = package.strip_prefix("wakeling-").unwrap_or(&package);
    let boards = table::entries(&table::read(), "board");
    let board = boards.iter().find(|board| board.text("name") == name);
    let board = board.unwrap_or_else(|| panic!("boards.toml has no board {name}"));
    match board.text("loader") {
        "espflash" => pass_model_region(board),
        _ => write_memory_map(board),
    }
    for script in scripts(name).iter().chain(&["defmt.x"]) {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
}

/// Passes the region of models to the program: the memory map of an ESP32 comes with its crate, and its
/// program maps the region itself.
fn pass_model_region(board: &Entry) {
    let model = board.region("model").expect("boards.toml has the region of models");
    println!("cargo:rustc-env=WAKELING_MODEL_START={}", model.start);
    println!("cargo:rustc-env=WAKELING_MODEL_BYTES={}", model.bytes);
}

/// Writes `memory.x` to the linker's search path.
fn write_memory_map(board: &Entry) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut map = table::memory_map(board);
    // Most boards need none.
    if let Ok(sections) = fs::read_to_string(SECTIONS) {
        println!("cargo:rerun-if-changed={SECTIONS}");
        map += &sections;
    }
    fs::write(out.join("memory.x"), map).expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=--nmagic");
}
