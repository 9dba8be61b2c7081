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
    flash::{
        Plan, espflash, hex,
        shipped::{Firmware, Shipped},
        uf2,
    },
};

#[cfg(feature = "probe")]
use wakeling_device::flash::probe;

/// Write firmware and a model into a board's flash
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling flash --board pico2 runs/computer/model.wkl --dry-run
  wakeling flash --board pico2 runs/computer/model.wkl --uf2 hey.uf2
  wakeling flash --board microbit-v2 runs/computer/model.wkl --hex hey.hex
  wakeling flash --board pico2 runs/tuesday/model.wkl --model-only

The board's firmware ships with this program, in the folder `firmware` beside it. --build compiles
it instead, in a checkout of Wakeling's repository, and adds the compiler's target with rustup if it
is missing; --firmware names another file.

On a board with two slots the model (a `.wkl`, or a signed `.wku` with its version) goes into the first,
and `wakeling device update` can replace it later. Where it does not fit a slot: --plain.

--uf2 writes a file for boards that show a drive (pico, pico2: hold BOOTSEL while plugging in). The
esp32-c3 is flashed by espflash, all others by a debug probe: by this program if it was built with the
feature `probe` (cargo build --release -p wakeling --features probe), which then also compares
what was written; without it, the commands of probe-rs's own program are printed. --hex and --merged
write files for any other flashing program.")]
pub struct FlashArgs {
    /// Model: the `model.wkl` of `wakeling finetune`, or a `.wku` of `wakeling sign` if the board has slots
    model: PathBuf,
    /// Name of the board; `wakeling boards` lists them
    #[arg(long)]
    board: String,
    /// Firmware of the board (ELF, Intel HEX, or an ESP32's binary), instead of that beside the program
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model_only", "build"])]
    firmware: Option<PathBuf>,
    /// Compile the firmware, in a checkout of Wakeling's repository
    #[arg(long, conflicts_with = "model_only")]
    build: bool,
    /// Keep the firmware on the board and write only the model
    #[arg(long)]
    model_only: bool,
    /// Use firmware without slots: the model has the whole region, and is replaced only by flashing
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    file: FileArgs,
    /// Print the addresses and sizes, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// File to write instead of a board's flash.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct FileArgs {
    /// Write a UF2 file instead, to be copied to the board's drive
    #[arg(long, value_name = "FILE")]
    uf2: Option<PathBuf>,
    /// Write an Intel HEX file instead, for a debug probe, or for the drive of a micro:bit
    #[arg(long, value_name = "FILE")]
    hex: Option<PathBuf>,
    /// Write one binary of program and model instead, from the first address in flash on
    #[arg(long, value_name = "FILE")]
    merged: Option<PathBuf>,
    /// Write the model's region into a file instead, for other flashing programs
    #[arg(long, value_name = "FILE")]
    bin: Option<PathBuf>,
}

impl FileArgs {
    /// Returns the file to write.
    fn path(&self) -> Option<&Path> {
        [&self.uf2, &self.hex, &self.merged, &self.bin]
            .into_iter()
            .flatten()
            .next()
            .map(|path| &**path)
    }

    /// Makes the content of the file, and describes its use.
    fn content(&self, plan: &Plan) -> Result<(Vec<u8>, String)> {
        let Board { title, model, loader, .. } = plan.board;
        if self.uf2.is_some() {
            let file = uf2::write(plan, family(plan.board)?);
            return Ok((file, "hold BOOTSEL, plug the board in, copy it to the drive".to_owned()));
        }
        if self.bin.is_some() {
            let part = plan.parts.iter().find(|part| part.address == model.start);
            let bytes = part.map(|part| part.bytes.clone()).unwrap_or_default();
            return Ok((bytes, format!("for {:#010x}", model.start)));
        }
        if self.hex.is_some() {
            let probe = if *loader == Loader::Espflash {
                "for flashing programs"
            } else {
                "for a debug probe"
            };
            return Ok((
                hex::write(plan).into_bytes(),
                format!("{probe}; the addresses are in it"),
            ));
        }
        let (start, bytes) = plan.merged();
        Ok((bytes, format!("for {start:#010x} in the flash of {title}")))
    }
}

/// Runs the command.
pub fn run(args: FlashArgs) -> Result<()> {
    let board = Board::named(&args.board)?;
    check_arguments(board, &args)?;
    let firmware = args.firmware(board)?;
    let plan = Plan::of_files(board, firmware.as_ref(), &args.model, args.plain)?;
    if args.file.path().is_some() && firmware.is_some() && !plan.has_program() {
        let problem = format!("{}: espflash makes the image of an ELF file itself", board.name);
        return Err(Error::usage(
            problem,
            "use the firmware that ships: neither --build nor --firmware",
        ));
    }
    print!("{plan}");
    if !plan.keeps_up() {
        log::warn!(
            "warning: {} is too slow for this model and would lose sound; train it again with \
             `wakeling finetune --board {}`",
            board.title,
            board.name
        );
    }
    if let Some(path) = args.file.path() {
        return write(&args, &plan, path);
    }
    match board.loader {
        Loader::Espflash => {
            for arguments in espflash::commands(board, firmware.as_ref(), &args.model)? {
                let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
                println!("{} {}", espflash::PROGRAM, words.join(" "));
                if !args.dry_run {
                    espflash::run(&arguments)?;
                }
            }
            Ok(())
        }
        _ => by_probe(&plan, &args),
    }
}

impl FlashArgs {
    /// Returns the firmware to write, if any. A file of the model's region contains none.
    fn firmware(&self, board: &'static Board) -> Result<Option<Firmware>> {
        if self.model_only || self.file.bin.is_some() {
            return Ok(None);
        }
        let firmware = match &self.firmware {
            Some(path) => Firmware::read(path)?,
            None if self.build => Firmware::read(&board.build_firmware(self.plain)?)?,
            None => Shipped::find()?.load(board, self.plain)?,
        };
        Ok(Some(firmware))
    }
}

/// Checks everything that can be checked before the firmware is built, which takes minutes: the
/// model, the files to write, and the flashing program.
fn check_arguments(board: &'static Board, args: &FlashArgs) -> Result<()> {
    if args.file.uf2.is_some() {
        family(board)?;
    }
    Plan::of_files(board, None, &args.model, args.plain)?;
    if let Some(path) = args.file.path() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::metadata(folder.unwrap_or(Path::new("."))).map_err(Error::io(path, "create"))?;
    } else if board.loader == Loader::Espflash {
        if args.build {
            board.partitions()?;
        }
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
            "flash it without --uf2, or write another file: --hex",
        )),
    }
}

/// Writes the file that stands for the board's flash.
fn write(args: &FlashArgs, plan: &Plan, path: &Path) -> Result<()> {
    let (content, usage) = args.file.content(plan)?;
    let (shown, bytes) = (path.display(), content.len());
    if args.dry_run {
        println!("{shown}: {bytes} bytes would be written");
        return Ok(());
    }
    files::write_atomic(path, &content)?;
    println!("{shown}: {bytes} bytes; {usage}");
    Ok(())
}

#[cfg(feature = "probe")]
fn by_probe(plan: &Plan, args: &FlashArgs) -> Result<()> {
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
fn by_probe(plan: &Plan, args: &FlashArgs) -> Result<()> {
    if args.dry_run {
        return Ok(());
    }
    let Board { name, chip, .. } = plan.board;
    let mut options = String::new();
    for (is_given, option) in
        [(args.build, " --build"), (args.model_only, " --model-only"), (args.plain, " --plain")]
    {
        options += if is_given { option } else { "" };
    }
    if let Some(firmware) = &args.firmware {
        options += &format!(" --firmware {}", firmware.display());
    }
    let mut remedy = format!(
        "write a file, and load it with probe-rs's own program (https://probe.rs):\n    \
         wakeling flash --board {name} {}{options} --hex {name}.hex\n    \
         probe-rs download --chip {chip} --binary-format hex {name}.hex",
        args.model.display()
    );
    if matches!(plan.board.loader, Loader::ProbeOrUf2 { .. }) {
        remedy += "\n    or write a file for the board's drive: --uf2 FILE";
    }
    let problem = "this program was built without the feature `probe`, so it drives no debug probe";
    Err(Error::usage(problem, remedy))
}
