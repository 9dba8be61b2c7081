//! `wakeling flash`: writes firmware and a model into a board's flash.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::error::{Error, Result};
use wakeling_core::files;
use wakeling_device::{
    board::{Board, Family, Loader},
    flash::{Plan, espflash, uf2},
};

#[cfg(feature = "probe")]
use wakeling_device::flash::probe;

/// Write firmware and a model into a board's flash
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling flash --board pico runs/computer/model.wkl --dry-run
  wakeling flash --board pico runs/computer/model.wkl --uf2 hey.uf2
  wakeling flash --board pico runs/tuesday/model.wkl --model-only

On a board with two slots the model (a `.wkl`, or a signed `.wku` with its version) goes into the first,
and `wakeling device update` can replace it later. Where it does not fit a slot: --plain.

Called from a checkout of Wakeling's repository it builds the board's program first, as
`./x boards NAME` does, and adds the target with rustup if it is missing; elsewhere name one that
was built: --firmware.

--uf2 writes a file for boards that show a drive (pico, pico2: hold BOOTSEL while plugging in). The
esp32-c3 is flashed by espflash, all others by a debug probe: by this program if it was built with the
feature `probe` (cargo build --release -p wakeling --features probe), which then also compares
what was written; without it, the commands of probe-rs's own program are printed.")]
pub struct FlashArgs {
    /// Model from `wakeling quantize`, or from `wakeling sign` if the board has slots
    model: PathBuf,
    /// Name of the board; `wakeling boards` lists them
    #[arg(long)]
    board: String,
    /// Firmware of the board, instead of building it
    #[arg(long, conflicts_with = "model_only")]
    firmware: Option<PathBuf>,
    /// Keep the firmware on the board and write only the model
    #[arg(long)]
    model_only: bool,
    /// Use firmware without slots: the model has the whole region, and is replaced only by flashing
    #[arg(long)]
    plain: bool,
    /// Write the model's region into a file instead, for other flashing programs
    #[arg(long, value_name = "FILE", conflicts_with = "uf2")]
    bin: Option<PathBuf>,
    /// Write a UF2 file instead, to be copied to the board's drive
    #[arg(long, value_name = "FILE")]
    uf2: Option<PathBuf>,
    /// Print the addresses and sizes, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub fn run(args: FlashArgs) -> Result<()> {
    let board = Board::named(&args.board)?;
    check_arguments(board, &args)?;
    let firmware = match &args.firmware {
        Some(path) => Some(path.clone()),
        // A file of the model's region contains no firmware.
        None if args.model_only || args.bin.is_some() => None,
        None => Some(board.build_firmware(args.plain)?),
    };
    let plan = Plan::of_files(board, firmware.as_deref(), &args.model, args.plain)?;
    print!("{plan}");
    if let Some(path) = &args.uf2 {
        return write_uf2(&plan, path, args.dry_run);
    }
    if let Some(path) = &args.bin {
        return write_region(&plan, path, args.dry_run);
    }
    match board.loader {
        Loader::Espflash => {
            for arguments in espflash::commands(board, firmware.as_deref(), &args.model)? {
                let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
                println!("{} {}", espflash::PROGRAM, words.join(" "));
                if !args.dry_run {
                    espflash::run(&arguments)?;
                }
            }
            Ok(())
        }
        _ => by_probe(&plan, firmware.as_deref(), &args),
    }
}

/// Checks everything that can be checked before the firmware is built, which takes minutes: the
/// model, the files to write, and the flashing program.
fn check_arguments(board: &'static Board, args: &FlashArgs) -> Result<()> {
    if args.uf2.is_some() {
        family(board)?;
    }
    Plan::of_files(board, args.firmware.as_deref(), &args.model, args.plain)?;
    if let Some(path) = args.uf2.as_ref().or(args.bin.as_ref()) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::metadata(folder.unwrap_or(Path::new("."))).map_err(Error::io(path, "create"))?;
    } else if board.loader == Loader::Espflash {
        board.partitions()?;
        if !args.dry_run {
            espflash::check_installed()?;
        }
    }
    Ok(())
}

/// Returns the UF2 family that the board's drive accepts.
fn family(board: &Board) -> Result<Family> {
    match board.loader {
        Loader::ProbeOrUf2 { family } => Ok(family),
        Loader::Probe | Loader::Espflash => Err(Error::usage(
            format!("{} has no drive that takes UF2 files", board.title),
            "flash it without --uf2",
        )),
    }
}

fn write_uf2(plan: &Plan, path: &Path, dry_run: bool) -> Result<()> {
    let file = uf2::write(plan, family(plan.board)?);
    let bytes = file.len();
    if dry_run {
        println!("{}: {bytes} bytes would be written", path.display());
        return Ok(());
    }
    files::write_atomic(path, &file)?;
    println!(
        "{}: {bytes} bytes; hold BOOTSEL, plug the board in, copy it to the drive",
        path.display()
    );
    Ok(())
}

/// Writes the bytes of the model's region, from its first address on.
fn write_region(plan: &Plan, path: &Path, dry_run: bool) -> Result<()> {
    let start = plan.board.model.start;
    let part = plan.parts.iter().find(|part| part.address == start);
    let bytes = part.map_or(&[][..], |part| &part.bytes);
    if dry_run {
        println!("{}: {} bytes would be written", path.display(), bytes.len());
        return Ok(());
    }
    files::write_atomic(path, bytes)?;
    println!("{}: {} bytes, for {start:#010x}", path.display(), bytes.len());
    Ok(())
}

#[cfg(feature = "probe")]
fn by_probe(plan: &Plan, _: Option<&Path>, args: &FlashArgs) -> Result<()> {
    let Board { title, chip, .. } = plan.board;
    if args.dry_run {
        probe::check(plan)?;
        println!("it fits the memory map that probe-rs has for {chip}; nothing was written");
        return Ok(());
    }
    probe::flash(plan)?;
    println!("{title}: written, compared, and started");
    Ok(())
}

/// Returns an error that lists the commands for a debug probe, since this build cannot drive one.
#[cfg(not(feature = "probe"))]
fn by_probe(plan: &Plan, firmware: Option<&Path>, args: &FlashArgs) -> Result<()> {
    if args.dry_run {
        return Ok(());
    }
    let Board { name, chip, model: region, page_bytes, .. } = plan.board;
    let (model, start) = (args.model.display(), region.start);
    let mut remedy = "with probe-rs's own program (https://probe.rs):".to_owned();
    if let Some(firmware) = firmware {
        remedy += &format!("\n    probe-rs download --chip {chip} {}", firmware.display());
    }
    let mut bytes = model.to_string();
    if page_bytes.is_some() && !args.plain {
        bytes = "region.bin".to_owned();
        remedy +=
            &format!("\n    wakeling flash --board {name} --model-only {model} --bin {bytes}");
    }
    remedy += &format!(
        "\n    probe-rs download --chip {chip} --binary-format bin --base-address {start:#x} {bytes}"
    );
    if matches!(plan.board.loader, Loader::ProbeOrUf2 { .. }) {
        remedy += "\n    or write a file for the board's drive: --uf2 FILE";
    }
    let problem = "this program was built without the feature `probe`, so it drives no debug probe";
    Err(Error::usage(problem, remedy))
}
