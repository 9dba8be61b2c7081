//! The boards that firmware is built for: chip, flash, loader.
//!
//! The boards are in `boards.toml`, from which the linker's memory maps are made too. Pins and wiring are
//! in `docs/reference/boards.md`.

pub mod esphome;
pub(crate) mod table;

use std::{
    env, io,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use serde::Deserialize;

use crate::toolchain;
use crate::{Error, Result};

/// Room for a model's state in every board's firmware (`firmware/boards/support`).
pub const ARENA_BYTES: usize = 32 * 1024;

/// Way to load a program into a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// A debug probe, which probe-rs drives.
    Probe,
    /// A debug probe, or a file that is copied to the board's drive.
    ProbeOrUf2 {
        /// UF2 family that the boot ROM accepts.
        family: Family,
    },
    /// Espressif's protocol over the serial port, by the program espflash.
    Espflash,
}

/// UF2 family: the chips that a file is for (`uf2families.json` of github.com/microsoft/uf2; the RP2350's is in
/// its datasheet, 5.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// RP2040.
    Rp2040,
    /// RP2350, Arm, secure.
    Rp2350ArmS,
}

impl Family {
    /// Its number in a file.
    pub const fn id(self) -> u32 {
        match self {
            Self::Rp2040 => 0xE48B_FF56,
            Self::Rp2350ArmS => 0xE48B_FF59,
        }
    }
}

/// A device on USB: vendor and product.
pub type UsbId = (u16, u16);

/// A board.
///
/// ```
/// use wakeling_device::{Error, board::{BOARDS, Board}};
///
/// let pico = Board::named("pico")?;
/// assert_eq!((pico.chip, pico.model.start), ("RP2040", 0x1010_0000));
/// let Err(Error::UnknownBoard { known, .. }) = Board::named("picot") else { panic!() };
/// assert!(BOARDS.iter().all(|board| known.contains(&board.name))); // the names that there are
/// # Ok::<(), wakeling_device::Error>(())
/// ```
#[derive(Debug)]
pub struct Board {
    /// Name on the command line.
    pub name: &'static str,
    /// Name that its maker gives it.
    pub title: &'static str,
    /// Name of its chip in probe-rs or espflash.
    pub chip: &'static str,
    /// Frequency of the processor in MHz that its program sets.
    pub clock_mhz: u32,
    /// Name of the emulated machine with this processor, whose instructions are in `costs.toml`.
    pub costs_of: &'static str,
    /// Cycles that the processor waits for a byte of flash that its cache does not hold; 0 where that is not
    /// known.
    pub flash_byte_cycles: u32,
    /// Current of the processor in microamperes per MHz, smallest and largest stated; `None` if its maker
    /// states none that can be multiplied by megahertz.
    pub microamps_per_mhz: Option<[u32; 2]>,
    /// Compiler's target.
    pub target: &'static str,
    /// Further compiler flags, if the target leaves the processor open.
    pub flags: &'static str,
    /// Source of its sound.
    pub microphone: &'static str,
    /// Addresses for the program.
    pub program: Range<u32>,
    /// Addresses for models. On an ESP32 these are offsets in flash, as all its addresses here.
    pub model: Range<u32>,
    /// Number of bytes that are erased at a time; `None` if the board has no model slots.
    pub page_bytes: Option<u32>,
    /// Way to load a program.
    pub loader: Loader,
    /// USB devices: the running board, its boot loader, its probe.
    pub usb: Vec<UsbId>,
}

/// All of them, from `boards.toml`.
pub static BOARDS: LazyLock<&[Board]> = LazyLock::new(table::boards);

/// The folder of the repository that has the boards' workspace.
const WORKSPACE: &str = "firmware/boards";

impl Board {
    /// The board of that name.
    ///
    /// # Errors
    /// [`Error::UnknownBoard`], with the names that there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        BOARDS.iter().find(|board| board.name == name).ok_or_else(|| {
            let known = BOARDS.iter().map(|board| board.name).collect();
            Error::UnknownBoard { name: name.to_owned(), known }
        })
    }

    /// A file of the boards' workspace, in `here` or the nearest folder above that has it.
    fn above(here: &Path, file: &Path) -> Option<PathBuf> {
        let path = Path::new(WORKSPACE).join(file);
        here.ancestors().map(|folder| folder.join(&path)).find(|path| path.is_file())
    }

    /// The same from the current folder on, where there is nothing to do without it.
    fn find(
        &self,
        file: &Path,
        missing: impl FnOnce(PathBuf, PathBuf) -> Error,
    ) -> Result<PathBuf> {
        let here = env::current_dir().map_err(Error::io(".", "read"))?;
        Self::above(&here, file).ok_or_else(|| missing(Path::new(WORKSPACE).join(file), here))
    }

    /// The program, if the repository in which this is called has built it already.
    pub fn built_firmware(&self) -> Option<PathBuf> {
        Self::above(&env::current_dir().ok()?, &self.program_in(Path::new("target")))
    }

    /// Where cargo leaves the program.
    fn program_in(&self, target: &Path) -> PathBuf {
        target.join(self.target).join("release").join(self.package())
    }

    /// Builds the program, as `./x boards` does, in the repository in which this is called; where it lies
    /// then. A `plain` one has no slots and takes no updates. The compiler's messages go to stderr. What is
    /// built already costs cargo a second. A target that the compiler lacks is added with rustup.
    ///
    /// # Errors
    /// [`Error::NoWorkspace`] if there is no repository above the current folder; those of
    /// [`need_target`](toolchain::need_target); [`Error::NoCargo`] and [`Error::BuildFailed`].
    pub fn build_firmware(&self, plain: bool) -> Result<PathBuf> {
        let Self { target, flags, .. } = self;
        let board = self.name;
        let manifest = self.find(Path::new("Cargo.toml"), |path, searched| Error::NoWorkspace {
            path,
            searched,
            board,
        })?;
        toolchain::need_target(target)?;
        let workspace = manifest.parent().unwrap_or(Path::new("."));
        // The studio and `built_firmware` take what lies in the first for a program with slots.
        let folder = workspace.join(if plain { "target/plain" } else { "target" });
        let triple: String = target
            .chars()
            .map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        // Cargo tells its children where it is.
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(&cargo)
            .args(["build", "--release", "--locked", "--target", target, "-p", &self.package()])
            .args(plain.then_some("--no-default-features"))
            .current_dir(workspace)
            .env("CARGO_TARGET_DIR", &folder)
            .env(format!("CARGO_TARGET_{triple}_RUSTFLAGS"), flags)
            .stdin(Stdio::null())
            // What is printed here is the plan.
            .stdout(io::stderr())
            .status();
        match status {
            Ok(status) if status.success() => Ok(self.program_in(&folder)),
            Ok(status) => Err(Error::BuildFailed { board, status }),
            Err(source) => Err(Error::NoCargo { cargo: cargo.into(), source }),
        }
    }

    /// An ESP32's table of partitions.
    ///
    /// # Errors
    /// [`Error::NoPartitions`] if it is not there.
    pub fn partitions(&self) -> Result<PathBuf> {
        let file = Path::new(self.name).join("partitions.csv");
        self.find(&file, |path, searched| Error::NoPartitions { path, searched })
    }

    fn package(&self) -> String {
        format!("wakeling-{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(WORKSPACE)
    }

    #[test]
    fn the_arena_is_that_of_the_firmware() {
        let support = fs::read_to_string(workspace().join("support/src/lib.rs")).expect("support");
        assert!(support.contains("pub const ARENA_BYTES: usize = 32 * 1024;"));
    }

    /// Returns the number after `name` in a program, such as that of `PllMul::MUL336`.
    fn number_after(program: &str, name: &str) -> u32 {
        let (_, rest) = program.split_once(name).unwrap_or_else(|| panic!("no {name}"));
        let digits: String =
            rest.chars().filter(|&c| c != '_').take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number after {name}"))
    }

    #[test]
    fn clocks_are_those_that_the_programs_set() {
        for board in BOARDS.iter() {
            let folder = match board.name {
                // The program of both is one file.
                "pico2" => "pico",
                name => name,
            };
            let main = fs::read_to_string(workspace().join(folder).join("src/main.rs"));
            let main = main.expect("a program");
            let mhz = match board.name {
                // The processor of an nRF52 has one clock (product specification, 4.2).
                "nano33" | "microbit-v2" => 64,
                // embassy-rp's default, from its PLL: 12 MHz · 125 / 6 / 2, or / 5 / 2.
                "pico" | "pico2" => {
                    assert!(main.contains("embassy_rp::init(Default::default())"));
                    12 * 125 / 2 / if board.name == "pico" { 6 } else { 5 }
                }
                "stm32f4-discovery" => {
                    let input =
                        number_after(&main, "Hertz(") / number_after(&main, "PllPreDiv::DIV");
                    input / 1_000_000 * number_after(&main, "PllMul::MUL")
                        / number_after(&main, "PllPDiv::DIV")
                }
                "esp32-c3" => number_after(&main, "with_cpu_clock(CpuClock::_"),
                name => panic!("where does {name} set its clock?"),
            };
            assert_eq!(board.clock_mhz, mhz, "{}", board.name);
        }
    }

    #[test]
    fn unknown_board_lists_the_names() {
        let error = Board::named("nano").expect_err("it is nano33");
        let Error::UnknownBoard { known, .. } = error else { panic!("{error}") };
        assert!(known.windows(2).any(|pair| pair == ["nano33", "microbit-v2"]), "{known:?}");
    }
}
