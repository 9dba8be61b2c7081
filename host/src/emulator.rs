//! Runs the firmware in QEMU, on a recording: on a Cortex-M4F unless another [`Machine`] is asked for.
//!
//! The model goes where a flasher would put it; the recording goes in and the lines come out over
//! semihosting. `-icount` makes a run repeat itself to the instruction.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

mod flash;
mod machine;

pub use flash::Served;
pub use machine::Machine;
use wakeling_shared::events::Event;

use crate::simulate::Blocks;

/// Names the firmware's ELF file, if it lies elsewhere than where `./x firmware` puts it.
pub const FIRMWARE_VARIABLE: &str = "WAKELING_FIRMWARE";
/// The program that listens, of those that `./x firmware` builds.
pub const APPLICATION: &str = "wakeling-qemu";
/// The program that counts what each stage costs.
pub const METER: &str = "wakeling-qemu-meter";
/// The program that runs networks over images.
pub const IMAGE: &str = "wakeling-qemu-image";
/// The program that links only if nothing in it can panic.
pub const NO_PANIC: &str = "wakeling-qemu-no-panic";
/// The program that compares the processor's kernels with the plain ones.
pub const KERNELS: &str = "wakeling-qemu-kernels";
/// The program whose model can be replaced while it runs; on [`Machine::CORTEX_M0`] only.
pub const UPDATE: &str = "wakeling-qemu-update";
/// What the firmware's block buffer holds.
const MAX_BLOCK_SAMPLES: usize = 512;
/// The recording, as the firmware's command line names it.
const INPUT: &str = "input.pcm";

/// Why the emulator gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// No QEMU.
    #[error(
        "{program} is not installed\n  remedy: apt-get install qemu-system-arm qemu-system-misc"
    )]
    NoQemu {
        /// The program that is missing.
        program: &'static str,
    },
    /// No firmware.
    #[error(
        "the firmware is not built: looked for {looked_for}\n  remedy: run ./x firmware, or name its ELF file with {FIRMWARE_VARIABLE}"
    )]
    NoFirmware {
        /// The files that are not there.
        looked_for: String,
    },
    /// The board's region for models is smaller.
    #[error(
        "the model has {found} bytes, the board's region {largest}\n  remedy: use a smaller tier"
    )]
    ModelTooLarge {
        /// Bytes of the model.
        found: usize,
        /// Bytes of the region.
        largest: usize,
    },
    /// A block size that the board does not have.
    #[error(
        "blocks of {found} samples do not fit the board\n  remedy: 1 to {MAX_BLOCK_SAMPLES} samples"
    )]
    Block {
        /// Samples asked for.
        found: usize,
    },
    /// The firmware gave up and said why.
    #[error("the emulated device gave up: {message}\n  remedy: {remedy}")]
    Device {
        /// Its words.
        message: String,
        /// What may help.
        remedy: &'static str,
    },
    /// QEMU ended without the firmware's last line.
    #[error("QEMU ended early ({status}): {stderr}\n  remedy: try with QEMU 7.2 or later")]
    Qemu {
        /// How it ended.
        status: process::ExitStatus,
        /// What it complained about.
        stderr: String,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// The verb.
        action: &'static str,
        /// The system's own words.
        source: io::Error,
    },
}

impl From<EmulatorError> for crate::Error {
    fn from(error: EmulatorError) -> Self {
        let text = error.to_string();
        match error {
            EmulatorError::Io { path, action, source } => Self::Io { path, action, source },
            _ => match text.split_once("\n  remedy: ") {
                Some((problem, remedy)) => Self::usage(problem, remedy),
                None => Self::usage(text, "./x firmware"),
            },
        }
    }
}

/// An emulated board with a firmware.
#[derive(Clone, Debug)]
pub struct Emulator {
    machine: Machine,
    qemu: PathBuf,
    firmware: PathBuf,
    block_samples: Option<usize>,
}

impl Emulator {
    /// Finds QEMU on the path, and the firmware of a Cortex-M4F: `firmware` if given, else what
    /// [`FIRMWARE_VARIABLE`] names, else where `./x firmware` leaves it, in the nearest folder above
    /// the current one.
    ///
    /// # Errors
    /// [`EmulatorError::NoQemu`], [`EmulatorError::NoFirmware`].
    pub fn find(firmware: Option<&Path>) -> Result<Self, EmulatorError> {
        let named =
            firmware.map(Path::to_owned).or_else(|| env::var_os(FIRMWARE_VARIABLE).map(Into::into));
        match named {
            Some(path) => Self::with_firmware(Machine::CORTEX_M4, path),
            None => Self::built(Machine::CORTEX_M4, APPLICATION),
        }
    }

    /// Finds QEMU on the path, and one of the programs that `./x firmware` leaves for a machine, in
    /// the nearest folder above the current one.
    ///
    /// # Errors
    /// [`EmulatorError::NoQemu`], [`EmulatorError::NoFirmware`].
    pub fn built(machine: Machine, program: &str) -> Result<Self, EmulatorError> {
        let here = env::current_dir().map_err(|e| io_error(Path::new("."), "read", e))?;
        let path = machine.built(program);
        let mut found = here.ancestors().map(|folder| folder.join(&path));
        let found = found.find(|path| path.is_file()).ok_or_else(|| EmulatorError::NoFirmware {
            looked_for: format!("{} in {} and above", path.display(), here.display()),
        })?;
        Self::with_firmware(machine, found)
    }

    fn with_firmware(machine: Machine, path: PathBuf) -> Result<Self, EmulatorError> {
        if !path.is_file() {
            return Err(EmulatorError::NoFirmware { looked_for: path.display().to_string() });
        }
        let paths = env::var_os("PATH").unwrap_or_default();
        let mut programs = env::split_paths(&paths).map(|folder| folder.join(machine.qemu()));
        let program = machine.qemu();
        let qemu = programs.find(|p| p.is_file()).ok_or(EmulatorError::NoQemu { program })?;
        let firmware = std::path::absolute(&path).unwrap_or(path);
        Ok(Self { machine, qemu, firmware, block_samples: None })
    }

    /// The firmware that runs.
    pub fn firmware(&self) -> &Path {
        &self.firmware
    }

    /// The same board, reading its microphone in blocks of so many samples.
    ///
    /// # Errors
    /// [`EmulatorError::Block`].
    pub fn with_block(mut self, samples: usize) -> Result<Self, EmulatorError> {
        if !(1..=MAX_BLOCK_SAMPLES).contains(&samples) {
            return Err(EmulatorError::Block { found: samples });
        }
        self.block_samples = Some(samples);
        Ok(self)
    }

    /// What the device prints while it hears `pcm`, a `stats` line last.
    ///
    /// # Errors
    /// [`EmulatorError`].
    pub fn run(&self, model: &[u8], pcm: &[i16], scores: bool) -> crate::Result<String> {
        Ok(self.lines(model, pcm, scores)?)
    }

    /// Runs as [`Emulator::run`] does, on a recording that comes in blocks and goes into a file.
    ///
    /// # Errors
    /// [`EmulatorError`], and those of the blocks.
    pub fn run_blocks(
        &self,
        model: &[u8],
        blocks: &mut Blocks<'_>,
        scores: bool,
    ) -> crate::Result<String> {
        self.check_size(model)?;
        let folder = Scratch::new()?;
        folder.write("model.bin", model)?;
        folder.write_blocks(INPUT, blocks)?;
        let (lines, output) = self.output_in(&folder, &self.words(scores))?;
        Ok(complete(lines, &output)?)
    }

    fn lines(&self, model: &[u8], pcm: &[i16], scores: bool) -> Result<String, EmulatorError> {
        let (lines, output) = self.output(model, pcm, &self.words(scores))?;
        complete(lines, &output)
    }

    /// The firmware's command line.
    fn words(&self, scores: bool) -> Vec<String> {
        let scores = scores.then(|| "scores".to_owned());
        let block = self.block_samples.map(|samples| format!("block={samples}"));
        scores.into_iter().chain(block).collect()
    }

    fn check_size(&self, model: &[u8]) -> Result<(), EmulatorError> {
        let (found, largest) = (model.len(), self.machine.model().len());
        if found > largest { Err(EmulatorError::ModelTooLarge { found, largest }) } else { Ok(()) }
    }

    /// The lines of another program than [`APPLICATION`], such as [`METER`], that hears `pcm` and is
    /// given more `words` on its command line.
    ///
    /// # Errors
    /// [`EmulatorError`].
    pub fn measure(
        &self,
        model: &[u8],
        pcm: &[i16],
        words: &[String],
    ) -> Result<String, EmulatorError> {
        let (lines, output) = self.output(model, pcm, words)?;
        if !output.status.success() {
            return Err(ended_early(&output));
        }
        Ok(lines)
    }

    fn output(
        &self,
        model: &[u8],
        pcm: &[i16],
        words: &[String],
    ) -> Result<(String, Output), EmulatorError> {
        self.check_size(model)?;
        let folder = Scratch::with(model, pcm)?;
        self.output_in(&folder, words)
    }

    fn output_in(
        &self,
        folder: &Scratch,
        words: &[String],
    ) -> Result<(String, Output), EmulatorError> {
        let output = self
            .command(&folder.path, words, "none")
            .output()
            .map_err(|source| io_error(&self.qemu, "run", source))?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut failures = lines.lines().filter_map(|line| match Event::parse(line) {
            Some(Event::Error(message)) => Some(message),
            _ => None,
        });
        match failures.next() {
            Some(message) => Err(device_error(message)),
            None => Ok((lines, output)),
        }
    }

    /// Relative names only: QEMU's option syntax has its own meaning for commas.
    fn command(&self, folder: &Path, words: &[String], serial: &str) -> Command {
        let request: String = ["wakeling", INPUT]
            .into_iter()
            .chain(words.iter().map(String::as_str))
            .map(|word| format!(",arg={word}"))
            .collect();
        let address = self.machine.model().start;
        let mut command = Command::new(&self.qemu);
        command
            .args(self.machine.arguments())
            .args(["-display", "none", "-monitor", "none", "-serial", serial])
            .arg("-kernel")
            .arg(&self.firmware)
            .arg("-device")
            .arg(format!("loader,file=model.bin,addr={address:#x},force-raw=on"))
            .arg("-semihosting-config")
            .arg(format!("enable=on,target=native{request}"))
            .current_dir(folder)
            .stdin(Stdio::null());
        command
    }
}

/// The lines, if the last one shows that the firmware came to its end.
fn complete(lines: String, output: &Output) -> Result<String, EmulatorError> {
    let last = lines.lines().last().and_then(Event::parse);
    if !output.status.success() || !matches!(last, Some(Event::Stats(_))) {
        return Err(ended_early(output));
    }
    Ok(lines)
}

fn ended_early(output: &Output) -> EmulatorError {
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    EmulatorError::Qemu { status: output.status, stderr }
}

fn device_error(message: &str) -> EmulatorError {
    let remedy = if message.starts_with("no valid model") {
        "make the model again with the `wakeling` of this source"
    } else {
        "build firmware and host from the same source: ./x firmware"
    };
    EmulatorError::Device { message: message.to_owned(), remedy }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> EmulatorError {
    EmulatorError::Io { path: path.to_owned(), action, source }
}

/// A folder of its own, removed at the end.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, EmulatorError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("wakeling-emulator-{}-{count}", process::id()));
        fs::create_dir_all(&path).map_err(|e| io_error(&path, "create", e))?;
        Ok(Self { path })
    }

    /// A folder with a model, or whatever the region for models is to hold, and a recording.
    fn with(model: &[u8], pcm: &[i16]) -> Result<Self, EmulatorError> {
        let folder = Self::new()?;
        folder.write("model.bin", model)?;
        folder.write(INPUT, &pcm.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>())?;
        Ok(folder)
    }

    /// Writes a recording as 16-bit samples, little-endian.
    fn write_blocks(&self, name: &str, blocks: &mut Blocks<'_>) -> crate::Result<()> {
        let path = self.path.join(name);
        let refused = crate::Error::io(&path, "write");
        let file = fs::File::create(&path).map_err(crate::Error::io(&path, "create"))?;
        let mut file = io::BufWriter::new(file);
        let write = || -> crate::Result<io::Result<()>> {
            for block in blocks {
                let bytes: Vec<u8> = block?.iter().flat_map(|s| s.to_le_bytes()).collect();
                if let Err(error) = file.write_all(&bytes) {
                    return Ok(Err(error));
                }
            }
            Ok(file.flush())
        };
        write()?.map_err(refused)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), EmulatorError> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|e| io_error(&path, "write", e))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays costs space, no more.
        let _ = fs::remove_dir_all(&self.path);
    }
}
