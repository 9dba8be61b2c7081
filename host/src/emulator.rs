//! Runs the firmware in QEMU: an MPS2 board with a Cortex-M4F, on a recording.
//!
//! The model goes where a flasher would put it, the recording comes over semihosting, and the lines
//! leave by the serial port. `-icount` makes a run repeat itself to the instruction.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use wakeling_shared::events::Event;

/// Names the firmware's ELF file, if it lies elsewhere than where `./x firmware` puts it.
pub const FIRMWARE_VARIABLE: &str = "WAKELING_FIRMWARE";
/// The program that emulates.
pub const QEMU: &str = "qemu-system-arm";
/// Where the board's `memory.x` puts the model, and how much fits.
const MODEL_ADDRESS: u32 = 0x0010_0000;
const MODEL_REGION_BYTES: usize = 1 << 20;
/// Where a build leaves the ELF file, from the folder that holds `firmware/`.
const BUILT: &str = "firmware/target/thumbv7em-none-eabihf/release/wakeling-qemu-mps2";
/// What the firmware's block buffer holds.
const MAX_BLOCK_SAMPLES: usize = 1_024;

/// Why the emulator gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// No QEMU.
    #[error("{QEMU} is not installed\n  remedy: apt-get install qemu-system-arm")]
    NoQemu,
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
        "the model has {found} bytes, the board's region {MODEL_REGION_BYTES}\n  remedy: use a smaller tier"
    )]
    ModelTooLarge {
        /// Bytes of the model.
        found: usize,
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
    #[error("{QEMU} ended early ({status}): {stderr}\n  remedy: try with QEMU 7.2 or later")]
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
    qemu: PathBuf,
    firmware: PathBuf,
    block_samples: Option<usize>,
}

impl Emulator {
    /// Finds QEMU on the path, and the firmware: `firmware` if given, else what
    /// [`FIRMWARE_VARIABLE`] names, else where `./x firmware` leaves it, in the nearest folder above
    /// the current one.
    ///
    /// # Errors
    /// [`EmulatorError::NoQemu`], [`EmulatorError::NoFirmware`].
    pub fn find(firmware: Option<&Path>) -> Result<Self, EmulatorError> {
        let paths = env::var_os("PATH").unwrap_or_default();
        let mut programs = env::split_paths(&paths).map(|folder| folder.join(QEMU));
        let qemu = programs.find(|p| p.is_file()).ok_or(EmulatorError::NoQemu)?;
        Ok(Self { qemu, firmware: find_firmware(firmware)?, block_samples: None })
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

    fn lines(&self, model: &[u8], pcm: &[i16], scores: bool) -> Result<String, EmulatorError> {
        if model.len() > MODEL_REGION_BYTES {
            return Err(EmulatorError::ModelTooLarge { found: model.len() });
        }
        let folder = Scratch::new()?;
        folder.write("model.bin", model)?;
        folder.write("input.pcm", &pcm.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>())?;
        let output = self
            .command(&folder.path, scores)
            .output()
            .map_err(|source| io_error(&self.qemu, "run", source))?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut failures = lines.lines().filter_map(|line| match Event::parse(line) {
            Some(Event::Error(message)) => Some(message),
            _ => None,
        });
        if let Some(message) = failures.next() {
            return Err(device_error(message));
        }
        let complete = lines.lines().last().and_then(Event::parse);
        if !output.status.success() || !matches!(complete, Some(Event::Stats(_))) {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(EmulatorError::Qemu { status: output.status, stderr });
        }
        Ok(lines)
    }

    /// Relative names only: QEMU's option syntax has its own meaning for commas.
    fn command(&self, folder: &Path, scores: bool) -> Command {
        let mut request = String::from("arg=wakeling,arg=input.pcm");
        if scores {
            request.push_str(",arg=scores");
        }
        if let Some(samples) = self.block_samples {
            request.push_str(&format!(",arg=block={samples}"));
        }
        let mut command = Command::new(&self.qemu);
        command
            .args(["-machine", "mps2-an386", "-icount", "shift=5"])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.firmware)
            .arg("-device")
            .arg(format!("loader,file=model.bin,addr={MODEL_ADDRESS:#x},force-raw=on"))
            .arg("-semihosting-config")
            .arg(format!("enable=on,target=native,{request}"))
            .current_dir(folder)
            .stdin(Stdio::null());
        command
    }
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

fn find_firmware(given: Option<&Path>) -> Result<PathBuf, EmulatorError> {
    let named =
        given.map(Path::to_owned).or_else(|| env::var_os(FIRMWARE_VARIABLE).map(Into::into));
    if let Some(path) = named {
        let looked_for = path.display().to_string();
        let found = path.is_file().then(|| std::path::absolute(&path).unwrap_or(path));
        return found.ok_or(EmulatorError::NoFirmware { looked_for });
    }
    let here = env::current_dir().map_err(|e| io_error(Path::new("."), "read", e))?;
    let mut built = here.ancestors().map(|folder| folder.join(BUILT));
    built.find(|path| path.is_file()).ok_or_else(|| EmulatorError::NoFirmware {
        looked_for: format!("{BUILT} in {} and above", here.display()),
    })
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
