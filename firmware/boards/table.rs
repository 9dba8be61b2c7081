//! Reader of `boards.toml` for build scripts, and the linker's memory map of a board.
//!
//! Build scripts include this file by its path. It reads the subset of TOML that the table uses, so that
//! no build for a chip first compiles a parser of TOML. A test in `xtask` compares both readers.

use std::{collections::BTreeMap, fmt::Write, fs};

/// Path of the table from the folder of a board, where cargo runs its build script.
const PATH: &str = "../../../boards.toml";

/// Reads the table. A change of it runs the build script again.
pub fn read() -> String {
    println!("cargo:rerun-if-changed={PATH}");
    println!("cargo:rerun-if-changed=../table.rs");
    fs::read_to_string(PATH).unwrap_or_else(|error| panic!("{PATH}: {error}"))
}

/// Range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u32,
    /// Length in bytes.
    pub bytes: u32,
}

/// A board or an emulated machine: its fields, with their values as they are written.
#[derive(Clone, Debug, Default)]
pub struct Entry(BTreeMap<String, String>);

impl Entry {
    /// Returns the field `key` without its quotes; empty if it is missing.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |value| value.trim_matches('"'))
    }

    /// Returns the field `key` as a number.
    pub fn number(&self, key: &str) -> Option<u32> {
        self.0.get(key).map(|value| number(value))
    }

    /// Returns the field `key`, such as `{ start = 0x2000_0000, kib = 64 }`.
    pub fn region(&self, key: &str) -> Option<Region> {
        let value = self.0.get(key)?;
        let inner = value.strip_prefix('{').and_then(|value| value.strip_suffix('}'));
        let inner = inner.unwrap_or_else(|| panic!("boards.toml: {key} = {value}: no region"));
        let fields: BTreeMap<_, _> = inner.split(',').map(assignment).collect();
        Some(Region { start: number(&fields["start"]), bytes: number(&fields["kib"]) * 1024 })
    }
}

/// Returns the entries of one kind, `board` or `machine`, in their order.
pub fn entries(text: &str, kind: &str) -> Vec<Entry> {
    let (mut found, mut is_wanted) = (Vec::<Entry>::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("[[").and_then(|line| line.strip_suffix("]]")) {
            is_wanted = name == kind;
            found.extend(is_wanted.then(Entry::default));
        } else if let (true, Some(entry)) = (is_wanted, found.last_mut())
            && !line.is_empty()
            && !line.starts_with('#')
        {
            let (key, value) = assignment(line);
            entry.0.insert(key, value);
        }
    }
    found
}

/// Splits `key = value`.
fn assignment(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or_else(|| panic!("boards.toml: {text}"));
    (key.trim().to_owned(), value.trim().to_owned())
}

/// Parses a decimal or hexadecimal number with underscores.
fn number(text: &str) -> u32 {
    let digits = text.replace('_', "");
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.unwrap_or_else(|error| panic!("boards.toml: {text}: {error}"))
}

/// Formats the memory map of an entry, in the language of the linker. The model is written separately from
/// the program, so nothing is linked into its region.
pub fn memory_map(entry: &Entry) -> String {
    let region = |key| entry.region(key).unwrap_or_else(|| panic!("boards.toml: no {key}"));
    let (mut flash, model, ram) = (region("program"), region("model"), region("ram"));
    let boot = entry.number("boot_bytes").map(|bytes| Region { start: flash.start, bytes });
    let boot_bytes = boot.map_or(0, |boot| boot.bytes);
    flash = Region { start: flash.start + boot_bytes, bytes: flash.bytes - boot_bytes };
    let stack = entry.region("stack");
    let regions = [
        ("BOOT2", boot),
        ("FLASH", Some(flash)),
        ("MODEL", Some(model)),
        ("RAM", Some(ram)),
        ("STACK", stack),
    ];

    let mut map = String::from("MEMORY\n{\n");
    for (name, Region { start, bytes }) in regions.into_iter().filter_map(|(n, r)| Some((n, r?))) {
        // Writing to a String cannot fail.
        let _ = writeln!(map, "  {name} : ORIGIN = {start:#010x}, LENGTH = {bytes:#x}");
    }
    map += "}\n_model_start = ORIGIN(MODEL);\n_model_length = LENGTH(MODEL);\n";
    if let Some(kib) = entry.number("page_kib") {
        let _ = writeln!(map, "_model_page = {kib}K;");
    }
    if stack.is_some() {
        map += "_stack_start = ORIGIN(STACK) + LENGTH(STACK);\n_stack_end = ORIGIN(STACK);\n";
    }
    map
}
