//! Looks at what the program needs on this machine, and says what to do where something is missing.
//!
//! What a wake word needs from recording to simulation must be there; boards, probes, the emulator
//! and text-to-speech are for those who want them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    capture::{
        device::{Microphone, Wanted},
        level::{Level, SILENCE_DB},
        open,
    },
    emulator::Emulator,
    files, models,
};

/// How long the microphone is listened to.
const LISTEN: Duration = Duration::from_secs(1);
/// A microphone that is this quiet for a second is muted: no room and no converter is.
const MUTED_DB: f32 = -84.0;
/// The processors that the firmware is built for.
const TARGETS: [&str; 4] = [
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
    "riscv32imc-unknown-none-elf",
];
/// USB vendors of debug probes and of boards with one: ST, SEGGER, Arm, NXP, Raspberry Pi, Espressif.
const PROBES: [(&str, &str); 6] = [
    ("0483", "ST-Link"),
    ("1366", "J-Link"),
    ("0d28", "DAPLink"),
    ("1fc9", "MCU-Link"),
    ("2e8a", "Raspberry Pi"),
    ("303a", "Espressif"),
];

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Good,
    /// It is missing, and only some need it.
    Optional,
    /// It is missing, and everybody needs it.
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// What was found.
    pub status: Status,
    /// In words.
    pub found: String,
    /// What to do; empty if nothing is to be done.
    pub remedy: String,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, status: Status::Good, found: found.into(), remedy: String::new() }
    }

    fn missing(
        what: &'static str,
        status: Status,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { what, status, found: found.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.status {
            Status::Good => "ok",
            Status::Optional => "--",
            Status::Bad => "BAD",
        };
        write!(f, "{mark:4} {:15} {}", self.what, self.found)?;
        for line in self.remedy.lines() {
            write!(f, "\n{:20} remedy: {line}", "")?;
        }
        Ok(())
    }
}

/// Looks at everything.
pub fn examine(wanted: &Wanted) -> Vec<Check> {
    vec![
        base(),
        folder(Path::new(".")),
        microphone(wanted),
        permissions(),
        speech(),
        targets(),
        emulator(),
        probe(Path::new("/sys/bus/usb/devices")),
    ]
}

fn base() -> Check {
    const WHAT: &str = "base";
    match (models::base(models::DEFAULT_BASE), models::shipped_negatives()) {
        (Ok(base), Ok(negatives)) if !negatives.speech.is_empty() => {
            let count = negatives.speech.len();
            Check::good(WHAT, format!("{}, and {count} clips of other speech", base.info.name))
        }
        (Ok(_), Ok(_)) => Check::missing(
            WHAT,
            Status::Bad,
            "the packs of other speech that ship with the base are missing",
            "set WAKELING_MODELS to the folder host/models of the repository",
        ),
        (Err(error), _) | (_, Err(error)) => from_error(WHAT, &error),
    }
}

/// An error's first line, and its remedy.
fn from_error(what: &'static str, error: &crate::Error) -> Check {
    let text = error.to_string();
    let (problem, remedy) = text.split_once("\n  remedy: ").unwrap_or((&text, "see above"));
    Check::missing(what, Status::Bad, problem, remedy)
}

fn folder(path: &Path) -> Check {
    let trial = path.join(format!(".wakeling-doctor-{}", std::process::id()));
    let written = files::write_atomic(&trial, b"x");
    // What could not be written need not be removed.
    let _ = fs::remove_file(&trial);
    match written {
        Ok(()) => Check::good("folder", "recordings and models can be written here"),
        Err(error) => from_error("folder", &error),
    }
}

fn microphone(wanted: &Wanted) -> Check {
    match open(wanted).and_then(|mut microphone| {
        let level = level_of(microphone.as_mut())?;
        Ok((microphone.name().to_owned(), level))
    }) {
        Ok((name, level)) => judge(&name, level),
        Err(error) => from_error("microphone", &error),
    }
}

/// The level of a second of sound.
fn level_of(microphone: &mut dyn Microphone) -> crate::Result<Level> {
    let (started, mut pcm) = (Instant::now(), Vec::new());
    while started.elapsed() < LISTEN {
        pcm.extend(microphone.hear(Duration::from_millis(50))?);
    }
    Ok(Level::of(&pcm))
}

fn judge(name: &str, level: Level) -> Check {
    const WHAT: &str = "microphone";
    let found = format!("{name}: peak {:.0} dB of full scale in a second", level.peak_db);
    if level.peak_db <= MUTED_DB.max(SILENCE_DB) {
        let remedy = "unmute it or turn it up (alsamixer, or the desktop's sound settings), or choose another: wakeling record --list";
        return Check::missing(WHAT, Status::Bad, format!("{found}: muted"), remedy);
    }
    if level.is_clipped {
        let remedy = "turn it down, or turn its boost off";
        return Check::missing(WHAT, Status::Optional, format!("{found}: clipping"), remedy);
    }
    Check::good(WHAT, found)
}

/// Whether what is there may be used: sound devices, serial ports and USB devices.
fn permissions() -> Check {
    let nodes = |folder: &str, is_one: fn(&str) -> bool| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|e| is_one(&e.file_name().to_string_lossy())).map(|e| e.path()).collect()
    };
    let sound = nodes("/dev/snd", |n| n.starts_with("pcm") && n.ends_with('c'));
    let serial = nodes("/dev", |n| n.starts_with("ttyACM") || n.starts_with("ttyUSB"));
    let is_denied = |path: &PathBuf| {
        fs::OpenOptions::new()
            .read(true)
            .open(path)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let (sound, serial) =
        (sound.iter().find(|p| is_denied(p)), serial.iter().find(|p| is_denied(p)));
    let group = |path: &PathBuf, group: &str| {
        Check::missing(
            "permissions",
            Status::Optional,
            format!("{} may not be opened", path.display()),
            format!("sudo usermod -aG {group} $USER, then log in anew"),
        )
    };
    match (sound, serial) {
        (Some(path), _) => group(path, "audio"),
        (None, Some(path)) => group(path, "dialout"),
        (None, None) => {
            Check::good("permissions", "sound and serial devices that are there can be opened")
        }
    }
}

/// Where a program lies on the path.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// The first line that a program prints.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    (output.status.success()).then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn speech() -> Check {
    const WHAT: &str = "text-to-speech";
    let found: Vec<&str> =
        ["espeak-ng", "piper", "kokoro"].into_iter().filter(|p| on_path(p).is_some()).collect();
    if found.is_empty() {
        let remedy = "sudo apt-get install espeak-ng (only `wakeling synthesize` needs it)";
        return Check::missing(WHAT, Status::Optional, "none is installed", remedy);
    }
    Check::good(WHAT, found.join(", "))
}

fn targets() -> Check {
    const WHAT: &str = "compiler";
    let Some(sysroot) = first_line("rustc", &["--print", "sysroot"]) else {
        let remedy = "install Rust with rustup (https://rustup.rs); only firmware needs it";
        return Check::missing(WHAT, Status::Optional, "there is no rustc", remedy);
    };
    let libraries = Path::new(&sysroot).join("lib/rustlib");
    let missing: Vec<&str> = TARGETS.into_iter().filter(|t| !libraries.join(t).is_dir()).collect();
    if missing.is_empty() {
        return Check::good(WHAT, format!("rustc, and all {} targets", TARGETS.len()));
    }
    // Debian's compiler builds `core` from its source, as ./x firmware does.
    if Path::new("/usr/lib/rustlib/src/rust/library").is_dir() && on_path("rustc").is_some() {
        return Check::good(
            WHAT,
            "rustc, and the source of `core` for targets (./x firmware uses it)",
        );
    }
    Check::missing(
        WHAT,
        Status::Optional,
        format!("rustc has no {}", missing.join(", ")),
        format!("rustup target add {} (only firmware needs it)", missing.join(" ")),
    )
}

fn emulator() -> Check {
    const WHAT: &str = "emulator";
    match Emulator::find(None) {
        Ok(_) => {
            let version = first_line("qemu-system-arm", &["--version"]).unwrap_or_default();
            Check::good(WHAT, format!("{version}, and firmware for it"))
        }
        Err(error) => {
            let check = from_error(WHAT, &error.into());
            Check { status: Status::Optional, ..check }
        }
    }
}

/// A debug probe on USB, and whether it may be used.
fn probe(devices: &Path) -> Check {
    const WHAT: &str = "probe";
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    let read = |path: &Path, name: &str| {
        fs::read_to_string(path.join(name)).map(|s| s.trim().to_owned()).unwrap_or_default()
    };
    for entry in entries {
        let path = entry.path();
        let vendor = read(&path, "idVendor");
        let Some((_, name)) = PROBES.iter().find(|(id, _)| *id == vendor) else { continue };
        let number = |name: &str| read(&path, name).parse::<u32>().unwrap_or(0);
        let node = format!("/dev/bus/usb/{:03}/{:03}", number("busnum"), number("devnum"));
        let opened = fs::OpenOptions::new().read(true).write(true).open(&node);
        return match opened {
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Check::missing(
                WHAT,
                Status::Optional,
                format!("{name}, but {node} may not be opened"),
                "install udev rules for debug probes (https://probe.rs/docs/getting-started/probe-setup)",
            ),
            _ => Check::good(WHAT, format!("{name} ({})", read(&path, "product"))),
        };
    }
    let remedy = "plug a board in (only needed to flash one; the emulator needs none)";
    Check::missing(WHAT, Status::Optional, "no debug probe is on USB", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_a_remedy() {
        let check = Check::missing("probe", Status::Bad, "none", "plug one in");
        assert_eq!(
            check.to_string(),
            "BAD  probe           none\n                     remedy: plug one in"
        );
        assert_eq!(Check::good("base", "base-m").to_string(), "ok   base            base-m");
    }

    #[test]
    fn a_silent_microphone_is_muted_and_a_quiet_room_is_not() {
        let level = |peak_db| Level { peak_db, rms_db: peak_db - 10.0, is_clipped: false };
        assert_eq!(judge("m", Level::SILENCE).status, Status::Bad);
        assert_eq!(judge("m", level(-70.0)).status, Status::Good);
        let clipped = Level { is_clipped: true, ..level(0.0) };
        assert_eq!(judge("m", clipped).status, Status::Optional);
    }

    #[test]
    fn a_probe_is_found_by_its_vendor() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(probe(place.path()).status, Status::Optional);
        for (name, vendor) in [("1-1", "1d6b"), ("1-2", "1366")] {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::write(place.path().join(name).join("idVendor"), format!("{vendor}\n")).unwrap();
        }
        fs::write(place.path().join("1-2/product"), "J-Link OB\n").unwrap();
        assert_eq!(probe(place.path()).found, "J-Link (J-Link OB)");
        assert_eq!(probe(Path::new("/nonexistent")).status, Status::Optional);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_bad() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(folder(place.path()).status, Status::Good);
        let check = folder(&place.path().join("missing"));
        assert!(check.status == Status::Bad && !check.remedy.is_empty(), "{check}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
