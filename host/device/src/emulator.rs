//! Runs the firmware in QEMU on a recording, on a Cortex-M4F or another [`Machine`].
//!
//! The model is placed where a flasher would write it. The recording is read and the lines are
//! printed over semihosting. `-icount` makes runs repeatable to the instruction.

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

/// Environment variable that names the firmware's ELF file. The default is the location where `./x
/// firmware` puts it.
pub const FIRMWARE_VARIABLE: &str = "WAKELING_FIRMWARE";
/// Firmware that detects keywords, one of the programs that `./x firmware` builds.
pub const APPLICATION: &str = "wakeling-qemu";
/// Firmware that counts the cost of each stage.
pub const METER: &str = "wakeling-qemu-meter";
/// Firmware that runs networks on images.
pub const IMAGE: &str = "wakeling-qemu-image";
/// Firmware that links only if nothing in it can panic.
pub const NO_PANIC: &str = "wakeling-qemu-no-panic";
/// Firmware that compares the processor's kernels with the portable ones.
pub const KERNELS: &str = "wakeling-qemu-kernels";
/// Firmware whose model can be replaced at run time; on [`Machine::CORTEX_M0`] only.
pub const UPDATE: &str = "wakeling-qemu-update";
/// Size of the firmware's block buffer, in samples.
const MAX_BLOCK_SAMPLES: usize = 512;
/// Name of the recording on the firmware's command line.
const INPUT: &str = "input.pcm";

/// Recording in blocks of 16 kHz mono, such as those of an
/// [`AudioReader`](wakeling_audio::AudioReader).
pub type Blocks<'b> = dyn Iterator<Item = wakeling_audio::Result<Vec<i16>>> + 'b;

/// Error of the emulator.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// QEMU is not installed.
    #[error("{program} is not installed")]
    NoQemu {
        /// Program that is missing.
        program: &'static str,
    },
    /// The firmware is not built.
    #[error("the firmware is not built: looked for {looked_for}")]
    NoFirmware {
        /// Paths of the missing files.
        looked_for: String,
    },
    /// The model exceeds the board's region for models.
    #[error("the model has {found} bytes, the board's region {largest}")]
    ModelTooLarge {
        /// Size of the model, in bytes.
        found: usize,
        /// Size of the region, in bytes.
        largest: usize,
    },
    /// The board does not support this block size.
    #[error("blocks of {found} samples do not fit the board")]
    Block {
        /// Requested number of samples.
        found: usize,
        /// Largest number of samples.
        largest: usize,
    },
    /// The firmware stopped with an error message.
    #[error("the emulated device failed: {message}")]
    Device {
        /// Message of the firmware.
        message: String,
        /// Whether the firmware rejected the model.
        is_about_model: bool,
        /// Lines that the firmware wrote before.
        lines: String,
    },
    /// QEMU ended without the firmware's last line.
    #[error("QEMU ended early ({status}): {stderr}")]
    Qemu {
        /// Exit status.
        status: process::ExitStatus,
        /// Text on standard error.
        stderr: String,
    },
    /// The operating system returned an error.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// File or program.
        path: PathBuf,
        /// Verb of the operation.
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
}

/// Emulated board with a firmware.
#[derive(Clone, Debug)]
pub struct Emulator {
    machine: Machine,
    qemu: PathBuf,
    firmware: PathBuf,
    block_samples: Option<usize>,
}

impl Emulator {
    /// Finds QEMU on the path, and the firmware of a Cortex-M4F. The firmware is `firmware` if
    /// given, or the file named by [`FIRMWARE_VARIABLE`]. Otherwise it is the one that `./x
    /// firmware` built, in the nearest folder at or above the current one, or above the program.
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

    /// Finds QEMU on the path, and one of the programs that `./x firmware` builds for a machine, in
    /// the nearest folder at or above the current one, or above the program.
    ///
    /// # Errors
    /// [`EmulatorError::NoQemu`], [`EmulatorError::NoFirmware`].
    pub fn built(machine: Machine, program: &str) -> Result<Self, EmulatorError> {
        let here = env::current_dir().map_err(|e| io_error(Path::new("."), "read", e))?;
        let path = machine.built(program);
        // A program in a checkout's target folder is often called from elsewhere.
        let own = env::current_exe().unwrap_or_default();
        let folders = here.ancestors().chain(own.ancestors().skip(1));
        let mut found = folders.map(|folder| folder.join(&path));
        let found = found.find(|path| path.is_file()).ok_or_else(|| {
            let (path, here) = (path.display(), here.display());
            let looked_for = format!("{path} in {here} and above, and above the program");
            EmulatorError::NoFirmware { looked_for }
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

    /// Returns the path of the firmware.
    pub fn firmware(&self) -> &Path {
        &self.firmware
    }

    /// Sets the size of the blocks in which the board reads its microphone, in samples.
    ///
    /// # Errors
    /// [`EmulatorError::Block`].
    pub fn with_block(mut self, samples: usize) -> Result<Self, EmulatorError> {
        if !(1..=MAX_BLOCK_SAMPLES).contains(&samples) {
            return Err(EmulatorError::Block { found: samples, largest: MAX_BLOCK_SAMPLES });
        }
        self.block_samples = Some(samples);
        Ok(self)
    }

    /// Runs the firmware on `pcm` and returns the lines that it prints. The last one is a `stats`
    /// line.
    ///
    /// # Errors
    /// [`EmulatorError`].
    pub fn run(&self, model: &[u8], pcm: &[i16], scores: bool) -> crate::Result<String> {
        Ok(self.lines(model, pcm, scores)?)
    }

    /// Runs as [`Emulator::run`] does, on a recording that is passed in blocks and written to a
    /// file.
    ///
    /// # Errors
    /// [`EmulatorError`], and the errors of `blocks`.
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

    /// Returns the arguments of the firmware's command line.
    fn words(&self, scores: bool) -> Vec<String> {
        let scores = scores.then(|| "scores".to_owned());
        let block = self.block_samples.map(|samples| format!("block={samples}"));
        scores.into_iter().chain(block).collect()
    }

    fn check_size(&self, model: &[u8]) -> Result<(), EmulatorError> {
        let (found, largest) = (model.len(), self.machine.model().len());
        if found > largest { Err(EmulatorError::ModelTooLarge { found, largest }) } else { Ok(()) }
    }

    /// Runs another program than [`APPLICATION`], such as [`METER`], on `pcm`, and returns its
    /// lines. `words` are further command-line arguments of the program.
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
        let mut before = 0;
        for line in lines.split_inclusive('\n') {
            if let Some(Event::Error(message)) = Event::parse(line.trim_end()) {
                return Err(device_error(message, &lines[..before]));
            }
            before += line.len();
        }
        Ok((lines, output))
    }

    /// Builds the command of QEMU. File names are relative, because commas have a meaning in QEMU's
    /// option syntax.
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

/// Returns the lines if the last one shows that the firmware finished.
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

fn device_error(message: &str, lines: &str) -> EmulatorError {
    let is_about_model = message.starts_with("no valid model");
    EmulatorError::Device { message: message.to_owned(), is_about_model, lines: lines.to_owned() }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> EmulatorError {
    EmulatorError::Io { path: path.to_owned(), action, source }
}

/// Temporary folder, removed on drop.
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

    /// Creates a folder with a recording and the content of the region for models.
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
        // A folder that remains only takes up space, so an error is ignored.
        let _ = fs::remove_dir_all(&self.path);
    }
}
