//! Firmware of boards that ships with the program: a file per board and variant, and a manifest with their
//! SHA-256 sums, which `host/device/src/flash/shipped.rs` reads.
//!
//! The files are those that flashing programs take: Intel HEX, or for an ESP32 the content of its flash. They
//! have no debug information.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{
    Endianness,
    elf::{FileHeader32, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};
use sha2::{Digest, Sha256};

use crate::{
    firmware::{Variant, board_program, build_board, has_target},
    process::{Failure, TaskResult, cargo, log, run},
    program::target_folder,
    release::VERSION,
    root,
    table::{Board, Table},
};

#[path = "../../host/device/src/flash/records.rs"]
mod records;

/// File with the list of the others.
pub const MANIFEST: &str = "firmware.toml";
/// Source with the version of model files.
const MODEL_FORMAT: &str = "shared/src/model/header.rs";
/// Bytes in a line of an Intel HEX file.
const LINE_BYTES: usize = 32;

/// Folder in which the program finds the files: beside the folder of its profile.
pub fn folder() -> PathBuf {
    target_folder().join("firmware")
}

/// Makes the firmware of all boards, and returns true; or prints that it is skipped, where the compiler lacks
/// targets and there is no rustup that would have added them.
pub fn make_all(table: &Table) -> TaskResult<bool> {
    let boards: Vec<_> = table.boards.iter().collect();
    let mut missing = BTreeSet::new();
    for board in &boards {
        if !has_target(&board.target)? {
            missing.insert(board.target.as_str());
        }
    }
    if missing.is_empty() {
        return make(table, &boards).map(|()| true);
    }
    let targets = missing.into_iter().collect::<Vec<_>>().join(" ");
    log(&format!("SKIP: firmware of boards, for `wakeling flash`; rustup target add {targets}"));
    Ok(false)
}

/// Builds every variant of the firmware of these boards, and writes their files and the manifest. Files of
/// other boards stay as they are.
pub fn make(table: &Table, boards: &[&Board]) -> TaskResult {
    let folder = folder();
    fs::create_dir_all(&folder).map_err(Failure::io(&folder))?;
    for board in boards {
        for &variant in Variant::of(board) {
            build_board(board, variant)?;
            let program = board_program(board);
            let content = match board.loader.as_str() {
                "espflash" => esp_flash(board, &program)?,
                _ => hex(&program)?.into_bytes(),
            };
            // A reader never gets half a file.
            let path = folder.join(file_name(board, variant));
            let partial = path.with_extension("partial");
            fs::write(&partial, content).map_err(Failure::io(&partial))?;
            fs::rename(&partial, &path).map_err(Failure::io(&path))?;
        }
    }
    let path = folder.join(MANIFEST);
    fs::write(&path, manifest(table, &folder)?).map_err(Failure::io(&path))?;
    log(&format!("wrote {}", path.display()));
    Ok(())
}

/// Name of a file in the folder.
fn file_name(board: &Board, variant: Variant) -> String {
    let end = if board.loader == "espflash" { "bin" } else { "hex" };
    let plain = if variant == Variant::Plain && board.page_kib.is_some() { "-plain" } else { "" };
    format!("{}{plain}.{end}", board.name)
}

/// Names of all files of these boards, with that of the manifest.
pub fn files(boards: &[&Board]) -> Vec<String> {
    let names = |board: &&Board| -> Vec<String> {
        Variant::of(board).iter().map(|&variant| file_name(board, variant)).collect()
    };
    boards.iter().flat_map(names).chain([MANIFEST.to_owned()]).collect()
}

/// Copies the files of these boards, and the manifest. What is left of other boards stays behind.
pub fn copy_files(boards: &[&Board], from: &Path, to: &Path) -> TaskResult {
    fs::create_dir_all(to).map_err(Failure::io(to))?;
    files(boards).iter().try_for_each(|name| {
        let path = from.join(name);
        fs::copy(&path, to.join(name)).map(drop).map_err(Failure::io(&path))
    })
}

/// Lists the files that the folder has.
fn manifest(table: &Table, folder: &Path) -> TaskResult<String> {
    let mut text = format!(
        "# Firmware of boards, for `wakeling flash`. Written by ./x boards.\n\
         version = \"{VERSION}\"\nmodel_format = {}\n",
        model_format()?
    );
    for board in &table.boards {
        for &variant in Variant::of(board) {
            let file = file_name(board, variant);
            let Ok(bytes) = fs::read(folder.join(&file)) else { continue };
            let (program, models) = (board.program.range(), board.model.range());
            let sum: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[[firmware]]\nboard = \"{}\"\nplain = {}\nfile = \"{file}\"\nbytes = {}\n\
                 sha256 = \"{sum}\"\nprogram = [{:#x}, {:#x}]\nmodels = [{:#x}, {:#x}]\n",
                board.name,
                variant == Variant::Plain,
                bytes.len(),
                program.start,
                program.end,
                models.start,
                models.end,
            );
            if let Some(page) = board.page_kib {
                let _ = writeln!(text, "page_bytes = {}", page * crate::table::KIB);
            }
        }
    }
    Ok(text)
}

/// Returns the version of model files that the firmware runs.
fn model_format() -> TaskResult<u16> {
    let path = root().join(MODEL_FORMAT);
    let text = fs::read_to_string(&path).map_err(Failure::io(&path))?;
    let value = text.lines().find_map(|line| {
        line.strip_prefix("pub const VERSION: u16 = ")?.strip_suffix(';')?.parse().ok()
    });
    value.ok_or_else(|| Failure::new(format!("{MODEL_FORMAT} has no version")))
}

/// Converts a program to Intel HEX: the contents of its segments, at the addresses where they are stored.
fn hex(path: &Path) -> TaskResult<String> {
    let elf = fs::read(path).map_err(Failure::io(path))?;
    let failure = |error: String| Failure::new(format!("{}: {error}", path.display()));
    let mut segments = segments(&elf).map_err(|error| failure(error.to_string()))?;
    segments.sort();
    Ok(records::lines(segments, LINE_BYTES))
}

/// Addresses and contents of what a program loads.
fn segments(elf: &[u8]) -> object::Result<Vec<(u32, &[u8])>> {
    let header = FileHeader32::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    let mut found = Vec::new();
    for segment in header.program_headers(endian, elf)? {
        if segment.p_type(endian) == PT_LOAD && segment.p_filesz(endian) != 0 {
            let bytes = segment.data(endian, elf).unwrap_or_default();
            found.push((segment.p_paddr(endian), bytes));
        }
    }
    Ok(found)
}

/// Returns the content of an ESP32's flash: bootloader, partitions and program.
fn esp_flash(board: &Board, program: &Path) -> TaskResult<Vec<u8>> {
    let absolute = |path: &Path| path.canonicalize().map_err(Failure::io(path));
    let program = absolute(program)?;
    let partitions =
        absolute(&Path::new("firmware/boards").join(&board.name).join("partitions.csv"))?;
    let out = program.with_extension("bin");
    let mut tool: Command = cargo();
    tool.args(["run", "--quiet", "--locked", "-p", "wakeling-esp-image", "--"])
        .args([&program, &partitions, &out])
        .current_dir("firmware/boards")
        .env("CARGO_TARGET_DIR", "target")
        // Eighty crates, which nobody debugs.
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    run(&mut tool)?;
    fs::read(&out).map_err(Failure::io(&out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::entries;

    #[test]
    fn the_version_of_model_files_is_found() {
        assert!(model_format().is_ok_and(|version| version > 1));
    }

    /// The copy in an archive has every file that its manifest lists, and lists every board.
    #[test]
    fn an_archive_has_all_that_flash_needs() {
        #[derive(serde::Deserialize)]
        struct Listed {
            board: String,
            file: String,
            sha256: String,
        }
        #[derive(serde::Deserialize)]
        struct List {
            version: String,
            firmware: Vec<Listed>,
        }
        let table = Table::embedded().expect("boards.toml is valid");
        let boards: Vec<_> = table.boards.iter().collect();
        let place = std::env::temp_dir().join(format!("wakeling-shipped-{}", std::process::id()));
        let (from, to) = (place.join("from"), place.join("to"));
        fs::create_dir_all(&from).expect("a folder");
        for name in files(&boards) {
            fs::write(from.join(&name), &name).expect("a file");
        }
        fs::write(from.join("toaster.hex"), "of a board that is gone").expect("a file");
        fs::write(from.join(MANIFEST), manifest(&table, &from).expect("a manifest"))
            .expect("a file");
        copy_files(&boards, &from, &to).expect("copied");

        let text = fs::read_to_string(to.join(MANIFEST)).expect("a manifest");
        let list: List = toml::from_str(&text).expect("TOML");
        assert_eq!(list.version, VERSION);
        for listed in &list.firmware {
            let bytes = fs::read(to.join(&listed.file)).expect("it is listed");
            let sum: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(sum, listed.sha256, "{}", listed.file);
        }
        for board in &boards {
            let count = list.firmware.iter().filter(|listed| listed.board == board.name).count();
            assert_eq!(count, Variant::of(board).len(), "{}", board.name);
        }
        assert_eq!(entries(&to).len(), list.firmware.len() + 1, "nothing else");
        fs::remove_file(from.join("pico.hex")).expect("a file");
        assert!(copy_files(&boards, &from, &to).is_err(), "a file is missing");
        fs::remove_dir_all(&place).expect("removed");
    }

    #[test]
    fn each_variant_has_a_file_of_its_own() {
        let table = Table::embedded().expect("boards.toml is valid");
        let names = |board: &str| {
            let board = table.board(board).expect("a board");
            let variants = Variant::of(board);
            variants.iter().map(|&variant| file_name(board, variant)).collect::<Vec<_>>()
        };
        assert_eq!(names("pico"), ["pico-plain.hex", "pico.hex"]);
        assert_eq!(names("esp32-c3"), ["esp32-c3.bin"]);
    }
}
