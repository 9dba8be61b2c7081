//! Reader of `boards.toml`, the one table of boards and of emulated machines, which is part of the program.

use std::{ops::Range, sync::LazyLock};

use serde::{Deserialize, Deserializer, de::Error};

use super::{Board, Family, Loader, UsbId, esphome::EspHomeBoard};

/// The table in the root of the repository.
const TEXT: &str = include_str!("../../boards.toml");

/// The parsed table. A test parses it, so the program does not fail here.
static TABLE: LazyLock<Table> =
    LazyLock::new(|| parse(TEXT).unwrap_or_else(|error| panic!("boards.toml: {error}")));

/// All boards.
pub fn boards() -> &'static [Board] {
    &TABLE.board
}

/// All emulated machines.
pub fn machines() -> &'static [Emulated] {
    &TABLE.machine
}

/// All boards that ESPHome runs on.
pub fn esphome_boards() -> &'static [EspHomeBoard] {
    &TABLE.esphome
}

/// Parses a table.
fn parse(text: &'static str) -> Result<Table, toml::de::Error> {
    Table::deserialize(toml::de::Deserializer::parse(text)?)
}

#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
struct Table {
    board: Vec<Board>,
    machine: Vec<Emulated>,
    esphome: Vec<EspHomeBoard>,
}

/// An emulated machine.
#[derive(Debug, Deserialize)]
pub struct Emulated {
    /// Name as an argument of `./x firmware`.
    pub name: &'static str,
    /// Name of the processor.
    pub title: &'static str,
    /// Number of cycles of a real processor per 100 instructions; 0 for a machine that runs the program
    /// of another.
    #[serde(default)]
    pub cycles_percent: u32,
    /// Program of QEMU.
    pub qemu: &'static str,
    /// QEMU's name of the machine.
    pub machine: &'static str,
    /// Further options of QEMU.
    #[serde(default)]
    pub options: Vec<&'static str>,
    /// An instruction takes 2 to this power nanoseconds.
    pub icount_shift: u32,
    /// Target of the compiler.
    pub target: Option<&'static str>,
    /// Region of the model.
    pub model: Option<Region>,
    /// Name of the machine whose program this one runs; such a machine has no target or region of its own.
    pub program_of: Option<&'static str>,
}

/// A board as it is written in the table.
#[derive(Deserialize)]
struct Entry {
    name: &'static str,
    title: &'static str,
    chip: &'static str,
    clock_mhz: u32,
    costs_of: &'static str,
    #[serde(default)]
    flash_byte_cycles: u32,
    microamps_per_mhz: Option<[u32; 2]>,
    target: &'static str,
    #[serde(default)]
    flags: &'static str,
    microphone: &'static str,
    program: Region,
    model: Region,
    page_kib: Option<u32>,
    loader: LoaderName,
    uf2_family: Option<Family>,
    usb: Vec<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum LoaderName {
    Probe,
    Uf2,
    Espflash,
}

impl<'de: 'static> Deserialize<'de> for Board {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Entry::deserialize(deserializer)?;
        let loader = match (entry.loader, entry.uf2_family) {
            (LoaderName::Probe, None) => Loader::Probe,
            (LoaderName::Espflash, None) => Loader::Espflash,
            (LoaderName::Uf2, Some(family)) => Loader::ProbeOrUf2 { family },
            _ => {
                return Err(D::Error::custom(
                    "uf2_family belongs to the loader uf2, and only to it",
                ));
            }
        };
        let usb = entry.usb.iter().map(|text| usb_id(text)).collect::<Option<Vec<_>>>();
        Ok(Self {
            name: entry.name,
            title: entry.title,
            chip: entry.chip,
            clock_mhz: entry.clock_mhz,
            costs_of: entry.costs_of,
            flash_byte_cycles: entry.flash_byte_cycles,
            microamps_per_mhz: entry.microamps_per_mhz,
            target: entry.target,
            flags: entry.flags,
            microphone: entry.microphone,
            program: entry.program.0,
            model: entry.model.0,
            page_bytes: entry.page_kib.map(|kib| kib * 1024),
            loader,
            usb: usb.ok_or_else(|| D::Error::custom("usb is vendor:product in hexadecimal"))?,
        })
    }
}

/// Addresses, written as `{ start = 0x2000_0000, kib = 64 }`.
#[derive(Clone, Debug)]
pub struct Region(pub Range<u32>);

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            start: u32,
            kib: u32,
        }
        let Written { start, kib } = Written::deserialize(deserializer)?;
        let end = kib.checked_mul(1024).and_then(|bytes| start.checked_add(bytes));
        let range = end.map(|end| Self(start..end));
        range.ok_or_else(|| D::Error::custom("the region ends beyond 4 GiB"))
    }
}

/// Parses vendor and product, such as `2E8A:0003`.
fn usb_id(text: &str) -> Option<UsbId> {
    let (vendor, product) = text.split_once(':')?;
    let number = |hex| u16::from_str_radix(hex, 16).ok();
    Some((number(vendor)?, number(product)?))
}

/// Tests whether the table with `to` in the place of the first `from` is rejected.
#[cfg(test)]
pub fn rejects(from: &str, to: &str) -> bool {
    let text: &'static str = TEXT.replacen(from, to, 1).leak();
    text != TEXT && parse(text).is_err()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_in_the_program_is_valid() {
        let table = parse(TEXT).expect("boards.toml is valid");
        let names: BTreeSet<_> = table.board.iter().map(|board| board.name).collect();
        assert_eq!((names.len(), table.board.len()), (6, 6), "names are unique");
        for Board { name, program, model, page_bytes, usb, .. } in &table.board {
            assert!(program.end <= model.start, "{name}: program and models overlap");
            assert!(!usb.is_empty(), "{name}");
            if let Some(page) = page_bytes {
                // Two slots and two pages of journal.
                assert_eq!(model.start % page, 0, "{name}");
                assert_eq!((model.end - model.start) % (2 * page), 0, "{name}");
            }
        }
    }

    #[test]
    fn rejects_wrong_values() {
        for (from, to) in [
            ("kib = 832", "kib = 0xFFFF_FFFF"),
            ("\"2341:805A\"", "\"2341-805A\""),
            ("uf2_family = \"rp2040\"", "uf2_family = \"rp1\""),
            ("loader = \"uf2\"", "loader = \"probe\""),
            ("loader = \"espflash\"", "loader = \"serial\""),
            ("chip = \"RP2040\"", ""),
        ] {
            assert!(rejects(from, to), "{from} → {to}");
        }
    }
}
