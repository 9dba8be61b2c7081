//! Boards and emulated machines, from `boards.toml`. Fields that no task needs are left out.

use std::ops::Range;

use serde::Deserialize;

use crate::process::{Failure, TaskResult};

/// The table in the root of the repository.
pub const TEXT: &str = include_str!("../../boards.toml");

/// Number of bytes in a KiB.
pub const KIB: u32 = 1024;

/// The whole table.
#[derive(Debug, Deserialize)]
pub struct Table {
    #[serde(rename = "board")]
    pub boards: Vec<Board>,
    #[serde(rename = "machine")]
    pub machines: Vec<Machine>,
    /// Boards of ESPHome.
    pub esphome: Vec<EspHomeBoard>,
}

/// Addresses of a board.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Region {
    pub start: u32,
    pub kib: u32,
}

impl Region {
    /// Addresses in the region.
    pub fn range(self) -> Range<u64> {
        let start = u64::from(self.start);
        start..start + u64::from(self.kib) * u64::from(KIB)
    }
}

/// A board on hardware.
#[derive(Debug, Deserialize)]
pub struct Board {
    pub name: String,
    pub target: String,
    #[serde(default)]
    pub flags: String,
    /// Way to load a program: probe, uf2 or espflash.
    pub loader: String,
    pub program: Region,
    pub model: Region,
    /// Size of the page in which flash is erased, if the board has slots.
    pub page_kib: Option<u32>,
    pub ram: Region,
    #[serde(default)]
    pub ram_aliases: Vec<Region>,
    pub stack: Option<Region>,
}

/// An emulated machine.
#[derive(Debug, Deserialize)]
pub struct Machine {
    pub name: String,
    pub title: String,
    pub machine: String,
    pub kernels: String,
    #[serde(flatten)]
    pub build: Build,
    pub program_of: Option<String>,
}

/// Fields of a machine that has a program of its own.
#[derive(Debug, Deserialize)]
pub struct Build {
    pub target: Option<String>,
    #[serde(default)]
    pub flags: String,
    pub program: Option<Region>,
    pub model: Option<Region>,
    pub ram: Option<Region>,
}

/// A board that ESPHome runs on.
#[derive(Debug, Deserialize)]
pub struct EspHomeBoard {
    pub name: String,
    pub title: String,
    pub bit_clock: Option<u8>,
    pub word_select: u8,
    pub master_clock: Option<u8>,
    pub data: u8,
    pub converter: Option<String>,
    pub i2c_data: Option<u8>,
    pub i2c_clock: Option<u8>,
    pub source: String,
}

impl Table {
    /// Parses the table that is part of this program.
    pub fn embedded() -> TaskResult<Self> {
        toml::from_str(TEXT).map_err(|error| Failure::new(format!("boards.toml: {error}")))
    }

    /// Returns the machines that firmware is built for.
    pub fn built_machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|machine| machine.program_of.is_none())
    }

    /// Returns the machine of that name.
    pub fn machine(&self, name: &str) -> TaskResult<&Machine> {
        let found = self.built_machines().find(|machine| machine.name == name);
        found.ok_or_else(|| Failure::new(format!("unknown processor: {name}; see ./x help")))
    }

    /// Returns the board of that name.
    pub fn board(&self, name: &str) -> TaskResult<&Board> {
        self.boards.iter().find(|board| board.name == name).ok_or_else(|| {
            let names: Vec<_> = self.boards.iter().map(|board| board.name.as_str()).collect();
            Failure::new(format!("unknown board: {name}; there are: {}", names.join(" ")))
        })
    }
}

impl Machine {
    /// Target of the compiler.
    pub fn target(&self) -> TaskResult<&str> {
        let missing = || Failure::new(format!("boards.toml: {} has no target", self.name));
        self.build.target.as_deref().ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_script;

    /// Entries of one kind as the parser of TOML reads them.
    fn parsed(kind: &str) -> Vec<toml::Table> {
        let table: toml::Table = toml::from_str(TEXT).expect("boards.toml is valid");
        let entries = table[kind].as_array().expect("a list of entries");
        entries.iter().map(|entry| entry.as_table().expect("an entry").clone()).collect()
    }

    #[test]
    fn both_readers_agree_on_every_field() {
        let mut compared = 0;
        for kind in ["board", "machine"] {
            let read = build_script::entries(TEXT, kind);
            assert_eq!(read.len(), parsed(kind).len());
            for (read, entry) in read.iter().zip(parsed(kind)) {
                for (key, value) in &entry {
                    compared += 1;
                    match value {
                        toml::Value::String(text) => assert_eq!(read.text(key), text),
                        toml::Value::Integer(number) => {
                            assert_eq!(read.number(key).map(i64::from), Some(*number), "{key}");
                        }
                        toml::Value::Table(region) => {
                            let region: Region = region.clone().try_into().expect("a region");
                            let found = read.region(key).expect("a region");
                            assert_eq!(
                                (found.start, found.bytes),
                                (region.start, region.kib * KIB)
                            );
                        }
                        // Build scripts need no list.
                        _ => compared -= 1,
                    }
                }
            }
        }
        assert!(compared > 100, "{compared}");
    }

    #[test]
    fn every_field_is_described() {
        for entry in ["board", "machine"].map(parsed).concat() {
            for key in entry.keys() {
                let description = format!("\n#   {key} ");
                assert!(TEXT.contains(&description), "boards.toml does not describe {key}");
            }
        }
    }

    #[test]
    fn regions_of_an_entry_do_not_overlap() {
        let table = Table::embedded().expect("boards.toml is valid");
        let boards = table.boards.iter().map(|b| (&b.name, vec![b.program, b.model, b.ram]));
        let machines = table.built_machines().map(|machine| {
            let Build { program, model, ram, .. } = &machine.build;
            let regions = [program, model, ram].map(|region| region.expect("it has memory"));
            (&machine.name, regions.to_vec())
        });
        for (name, regions) in boards.chain(machines) {
            for (at, a) in regions.iter().enumerate() {
                for b in &regions[at + 1..] {
                    let (a, b) = (a.range(), b.range());
                    assert!(a.end <= b.start || b.end <= a.start, "{name}: {a:x?} {b:x?}");
                }
            }
        }
    }

    #[test]
    fn memory_maps_have_all_regions() {
        let boards = build_script::entries(TEXT, "board");
        let map = |name| {
            let board = boards.iter().find(|board| board.text("name") == name);
            build_script::memory_map(board.expect("it is in the table"))
        };
        let pico = map("pico");
        assert!(pico.contains("BOOT2 : ORIGIN = 0x10000000, LENGTH = 0x100\n"), "{pico}");
        assert!(pico.contains("FLASH : ORIGIN = 0x10000100, LENGTH = 0xfff00\n"), "{pico}");
        assert!(pico.contains("_model_page = 4K;"), "{pico}");
        let discovery = map("stm32f4-discovery");
        assert!(discovery.contains("_stack_end = ORIGIN(STACK);"), "{discovery}");
    }

    #[test]
    fn a_machine_without_a_program_cannot_be_built() {
        let table = Table::embedded().expect("boards.toml is valid");
        assert!(table.machine("cortex-m4").is_ok() && table.machine("cortex-m7").is_err());
        assert!(table.board("toaster").expect_err("no board").to_string().contains("pico2"));
    }
}
