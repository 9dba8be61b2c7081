//! Parts of documents that repeat `boards.toml`: compared, or written.

use std::{fmt::Write, fs};

use crate::{
    process::{Failure, TaskResult, log},
    root,
    table::{Board, EspHomeBoard, Machine, Region, Table},
};

/// First line of a part; the next lines up to [`END`] are generated.
const START: &str = "<!-- from boards.toml, by ./x table accept -->\n";
const END: &str = "<!-- end -->\n";

/// A file that repeats the table.
struct Document {
    path: &'static str,
    /// Makes the contents from the table and from the present contents.
    make: fn(&Table, &str) -> TaskResult<String>,
}

const DOCUMENTS: [Document; 4] = [
    Document { path: "docs/reference/boards.md", make: |table, old| replaced(old, &memory(table)) },
    Document { path: "docs/guide/esphome.md", make: |table, old| replaced(old, &esphome(table)) },
    Document { path: "firmware/README.md", make: |table, old| replaced(old, &machines(table)) },
    Document {
        path: "firmware/boards/esp32-c3/partitions.csv",
        make: |table, _| partitions(table.board("esp32-c3")?),
    },
];

/// Compares the documents with the table, or writes them.
pub fn compare(table: &Table, accept: bool) -> TaskResult {
    let mut differing = Vec::new();
    for Document { path, make } in DOCUMENTS {
        let file = root().join(path);
        let old = fs::read_to_string(&file).map_err(Failure::io(&file))?;
        let new = make(table, &old)?;
        if new == old {
            continue;
        }
        if accept {
            fs::write(&file, new).map_err(Failure::io(&file))?;
            log(&format!("wrote {path}"));
        } else {
            differing.push(path);
        }
    }
    match differing[..] {
        [] => Ok(()),
        _ => Err(Failure::new(format!(
            "differs from boards.toml: {}; to write it: ./x table accept",
            differing.join(" ")
        ))),
    }
}

/// Replaces the generated part of a document.
fn replaced(document: &str, part: &str) -> TaskResult<String> {
    let missing = || Failure::new(format!("a document lacks a part {START}"));
    let (before, rest) = document.split_once(START).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{START}{part}{END}{after}"))
}

/// Formats an address as the table has it: `0x2000_0000`.
fn address(value: u32) -> String {
    format!("`0x{:04X}_{:04X}`", value >> 16, value & 0xFFFF)
}

/// Formats start and size of a region.
fn region(region: Region) -> String {
    format!("{}, {}", address(region.start), size(region.kib))
}

fn size(kib: u32) -> String {
    if kib.is_multiple_of(1024) { format!("{} MiB", kib / 1024) } else { format!("{kib} KiB") }
}

/// Table of the boards' memory. A slot is half of what two pages of journal leave.
fn memory(table: &Table) -> String {
    let mut text = String::from(
        "| board | program | models | slots | RAM | erased in |\n|---|---|---|---|---|---|\n",
    );
    for Board { name, program, model, page_kib, ram, stack, .. } in &table.boards {
        let slots = page_kib.map_or_else(
            || "none".to_owned(),
            |page| format!("2 × {}", size((model.kib - 2 * page) / 2)),
        );
        let page = page_kib.map_or_else(|| "–".to_owned(), size);
        let stack = stack.map_or_else(String::new, |stack| format!("; stack {}", region(stack)));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {slots} | {}{stack} | {page} |",
            region(*program),
            region(*model),
            region(*ram),
        );
    }
    text
}

/// Table of the emulated machines.
fn machines(table: &Table) -> String {
    let mut text = String::from(
        "| processor | `./x firmware` | QEMU's machine | kernels | program | model | RAM |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for Machine { name, title, machine, kernels, build, program_of } in &table.machines {
        let name = program_of.as_deref().unwrap_or(name);
        let other = table.machines.iter().find(|machine| machine.name == name);
        let build = other.map_or(build, |machine| &machine.build);
        let cell = |part: Option<Region>| part.map_or_else(|| "–".to_owned(), region);
        let [program, model, ram] = [build.program, build.model, build.ram].map(cell);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {title} | `{name}` | {machine} | {kernels} | {program} | {model} | {ram} |"
        );
    }
    text
}

/// Table of the boards of ESPHome.
fn esphome(table: &Table) -> String {
    let mut text =
        String::from("| `--board` | board | microphone | pins (GPIO) |\n|---|---|---|---|\n");
    for board in &table.esphome {
        let EspHomeBoard { name, title, word_select, data, source, .. } = board;
        let microphone = match (&board.converter, board.bit_clock) {
            (Some(converter), _) => format!("on board, {}", converter.to_uppercase()),
            (None, None) => "on board, PDM".to_owned(),
            (None, Some(_)) => "wired, such as an INMP441".to_owned(),
        };
        let mut pins = match board.bit_clock {
            Some(clock) => format!("bit clock {clock}, word select {word_select}, data {data}"),
            None => format!("clock {word_select}, data {data}"),
        };
        // Writing to a String cannot fail.
        if let Some(clock) = board.master_clock {
            let _ = write!(pins, ", master clock {clock}");
        }
        if let (Some(data), Some(clock)) = (board.i2c_data, board.i2c_clock) {
            let _ = write!(pins, "; I²C data {data}, clock {clock}");
        }
        let pins = if source.starts_with("https:") { format!("[{pins}]({source})") } else { pins };
        let _ = writeln!(text, "| `{name}` | {title} | {microphone} | {pins} |");
    }
    text
}

/// Table of partitions of an ESP32, one row each: name, offset and size in bytes.
fn partitions(board: &Board) -> TaskResult<String> {
    let row = |name, Region { start, kib }: Region| {
        let (start, bytes) = (format!("0x{start:X},"), kib * 1024);
        format!("{name} {start:9} 0x{bytes:X}\n")
    };
    Ok([
        "# For espflash, from boards.toml, by ./x table accept.\n".to_owned(),
        "# name,  type, subtype, offset,   size\n".to_owned(),
        "nvs,     data, nvs,     0x9000,   0x6000\n".to_owned(),
        row("factory, app,  factory,", board.program),
        // A type of our own: espflash knows no further subtypes of `data`.
        row("model,   0x40, 0x00,   ", board.model),
    ]
    .concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::embedded().expect("boards.toml is valid")
    }

    #[test]
    fn documents_repeat_the_table() {
        compare(&table(), false).unwrap_or_else(|failure| panic!("{failure}"));
    }

    #[test]
    fn a_change_of_the_table_is_found() {
        let mut table = table();
        let [nano, ..] = &mut table.boards[..] else { panic!("no board") };
        nano.model.kib -= 64;
        let failure = compare(&table, false).expect_err("the document differs");
        assert!(failure.to_string().contains("docs/reference/boards.md"), "{failure}");
        assert!(!failure.to_string().contains("partitions"), "{failure}");
        let board = table.boards.iter_mut().find(|board| board.name == "esp32-c3");
        board.expect("a board").model.start += 0x1_0000;
        let failure = compare(&table, false).expect_err("the partitions differ");
        assert!(failure.to_string().contains("partitions.csv"), "{failure}");
    }

    #[test]
    fn only_the_part_between_the_marks_changes() {
        let document = format!("a\n{START}old\n{END}b\n");
        assert_eq!(replaced(&document, "new\n"), Ok(format!("a\n{START}new\n{END}b\n")));
        assert!(replaced("a\nb\n", "new\n").is_err());
    }
}
