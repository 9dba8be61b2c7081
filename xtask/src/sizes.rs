//! Sizes of boards' programs, compared with the table in the document.

use std::{fs, ops::Range, path::Path};

use object::{
    Endianness,
    elf::{FileHeader32, SHF_ALLOC, SHT_NOBITS},
    read::elf::{FileHeader, SectionHeader},
};

use crate::{
    firmware::board_program,
    process::{Failure, TaskResult},
    table::Board,
};

/// Document with the table.
const DOCUMENT: &str = "docs/reference/boards.md";

/// Relative increase that is allowed, in percent: compilers differ.
const TOLERANCE: u64 = 2;

/// Size of a program in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    flash: u64,
    ram: u64,
}

/// A section of a program that is loaded.
struct Section<'s> {
    name: &'s str,
    address: u64,
    bytes: u64,
    has_contents: bool,
}

impl Sizes {
    /// Measures a program: an ELF file of 32 bits.
    fn of(elf: &[u8], ram: &[Range<u64>]) -> object::Result<Self> {
        let header = FileHeader32::<Endianness>::parse(elf)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, elf)?;
        let mut loaded = Vec::new();
        for section in sections.iter().filter(|s| s.sh_flags(endian).contains(SHF_ALLOC)) {
            loaded.push(Section {
                name: str::from_utf8(sections.section_name(endian, section)?).unwrap_or_default(),
                address: section.sh_addr(endian).into(),
                bytes: section.sh_size(endian).into(),
                has_contents: section.sh_type(endian) != SHT_NOBITS,
            });
        }
        Ok(Self::of_sections(&loaded, ram))
    }

    /// Adds up: all that has contents lies in flash, and all that has an address in RAM lies there. On the
    /// ESP32-C3 the stack's room is a section too, which is left out, as are shadows (`…_dummy`) of one bus
    /// on the other.
    fn of_sections(sections: &[Section<'_>], ram: &[Range<u64>]) -> Self {
        let is_counted = |s: &&Section<'_>| s.name != ".stack" && !s.name.ends_with("_dummy");
        let sum = |is_part: &dyn Fn(&Section<'_>) -> bool| {
            sections.iter().filter(is_counted).filter(|s| is_part(s)).map(|s| s.bytes).sum()
        };
        Self {
            flash: sum(&|section| section.has_contents),
            ram: sum(&|section| ram.iter().any(|region| region.contains(&section.address))),
        }
    }

    fn of_board(board: &Board) -> TaskResult<Self> {
        let path = board_program(board);
        let name = &board.name;
        let elf = fs::read(&path).map_err(|error| {
            Failure::new(format!("{}: {error}; ./x boards {name} builds it", path.display()))
        })?;
        let ram: Vec<_> =
            [board.ram].iter().chain(&board.ram_aliases).map(|region| region.range()).collect();
        Self::of(&elf, &ram).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }

    /// Tests whether this is more than the tolerance beyond `known`.
    fn exceeds(self, known: Self) -> bool {
        let exceeds = |now: u64, known: u64| now * 100 > known * (100 + TOLERANCE);
        exceeds(self.flash, known.flash) || exceeds(self.ram, known.ram)
    }

    /// Row of the table.
    fn row(self, name: &str) -> String {
        format!("| {name} | {} | {} |", self.flash, self.ram)
    }

    /// Parses the row of a board.
    fn parse(line: &str, name: &str) -> Option<Self> {
        let rest = line.strip_prefix(&format!("| {name} | "))?.strip_suffix(" |")?;
        let (flash, ram) = rest.split_once(" | ")?;
        Some(Self { flash: flash.parse().ok()?, ram: ram.parse().ok()? })
    }
}

/// Prints the size of each board's program, and fails if one has grown, or writes them to the document.
pub fn compare(boards: &[&Board], accept: bool) -> TaskResult {
    let path = Path::new(DOCUMENT);
    let mut document = fs::read_to_string(path).map_err(Failure::io(path))?;
    let mut grown = Vec::new();
    for board in boards {
        let now = Sizes::of_board(board)?;
        println!("{}", now.row(&board.name));
        if now.exceeds(known(&document, &board.name)?) {
            grown.push(board.name.as_str());
        }
        if accept {
            document = accepted(&document, &board.name, now);
        }
    }
    match grown[..] {
        _ if accept => fs::write(path, document).map_err(Failure::io(path)),
        [] => Ok(()),
        _ => Err(Failure::new(format!(
            "grown since {DOCUMENT} was written: {}; if that is meant: ./x boards accept",
            grown.join(" ")
        ))),
    }
}

/// Returns the sizes in the document.
fn known(document: &str, name: &str) -> TaskResult<Sizes> {
    let row = document.lines().find_map(|line| Sizes::parse(line, name));
    row.ok_or_else(|| Failure::new(format!("{DOCUMENT} has no row for {name}")))
}

/// Returns the document with other sizes for a board.
fn accepted(document: &str, name: &str, now: Sizes) -> String {
    let row = now.row(name) + "\n";
    let line = |line: &str| match Sizes::parse(line.trim_end(), name) {
        Some(_) => row.clone(),
        None => line.to_owned(),
    };
    document.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "| board | flash | RAM |\n|---|---|---|\n| pico | 1000 | 500 |\n| pico2 | 7 | 8 |\n";

    #[test]
    fn a_program_that_has_grown_is_found() {
        let pico = known(TABLE, "pico").expect("a row");
        assert_eq!(pico, Sizes { flash: 1000, ram: 500 });
        for (flash, ram, grown) in
            [(1000, 500, false), (1020, 510, false), (1021, 500, true), (900, 511, true)]
        {
            assert_eq!(Sizes { flash, ram }.exceeds(pico), grown, "{flash} {ram}");
        }
        assert!(known(TABLE, "nano33").is_err());
    }

    #[test]
    fn accepting_changes_one_row() {
        let text = accepted(TABLE, "pico", Sizes { flash: 1, ram: 2 });
        assert_eq!(text, TABLE.replace("| 1000 | 500 |", "| 1 | 2 |"));
    }

    /// Builds an ELF file with these sections: name, type, flags, address, size.
    fn elf(sections: &[(&str, u32, u32, u32, u32)]) -> Vec<u8> {
        let mut names = vec![0];
        let mut headers = vec![[0; 10]];
        for &(name, kind, flags, address, size) in sections {
            headers.push([names.len() as u32, kind, flags, address, 0, size, 0, 0, 0, 0]);
            names.extend(name.bytes().chain([0]));
        }
        // The last section holds the names.
        headers.push([0, 3, 0, 0, 52, names.len() as u32, 0, 0, 0, 0]);
        let halves =
            |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
        let words =
            |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
        let count = headers.len() as u16;
        let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(halves(&[2, 40]));
        file.extend(words(&[1, 0, 0, 52 + names.len() as u32, 0]));
        file.extend(halves(&[52, 0, 0, 40, count, count - 1]));
        file.extend(names);
        headers.iter().for_each(|header| file.extend(words(header)));
        file
    }

    #[test]
    fn sections_are_counted_where_they_lie() {
        let (contents, zeros, loaded) = (1, SHT_NOBITS.0, SHF_ALLOC.0 as u32);
        let file = elf(&[
            (".text", contents, loaded, 0x1000_0000, 1000),
            (".data", contents, loaded, 0x2000_0000, 20),
            (".bss", zeros, loaded, 0x2000_0020, 300),
            (".uninit", zeros, loaded, 0x1000_2000, 9),
            (".stack", zeros, loaded, 0x2000_1000, 5000),
            (".rodata_dummy", zeros, loaded, 0x2000_3000, 5000),
            (".debug_info", contents, 0, 0, 99_999),
        ]);
        let ram = 0x2000_0000..0x2000_8000;
        let sizes = Sizes::of(&file, &[ram]).expect("an ELF file");
        assert_eq!(sizes, Sizes { flash: 1020, ram: 320 });
        assert!(Sizes::of(b"no program", &[]).is_err());
    }
}
