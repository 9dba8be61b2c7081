//! Examines this machine for everything that is needed, and for what recording, boards and
//! emulation need in addition.
//!
//! Training, evaluation and simulation need the pretrained model and a folder to write to. All else
//! is optional, since recordings can come from elsewhere, and not everybody has a board.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{error::Error, layout};
use wakeling_audio::level::{Level, SILENCE_DB};
use wakeling_capture::{
    device::{Microphone, Wanted},
    microphones, open,
};
use wakeling_core::{
    console::{Stream, Style},
    files,
};
use wakeling_device::{
    board::BOARDS,
    emulator::{Emulator, EmulatorError},
    flash::shipped::Shipped,
    toolchain::{Sysroot, first_line, has_debian_sources, on_path},
};
use wakeling_train::models;

/// Length of the test recording.
const LISTEN: Duration = Duration::from_secs(1);
/// Peak in dBFS below which a second of sound comes from a muted microphone. No room and no
/// converter is so quiet.
const MUTED_DB: f32 = -84.0;
/// USB vendors of debug probes and of boards with one: ST, SEGGER, Arm, NXP, Raspberry Pi, Espressif.
const PROBES: [(&str, &str); 6] = [
    ("0483", "ST-Link"),
    ("1366", "J-Link"),
    ("0d28", "DAPLink"),
    ("1fc9", "MCU-Link"),
    ("2e8a", "Raspberry Pi"),
    ("303a", "Espressif"),
];

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Good,
    /// It is missing, and only some need it.
    Optional,
    /// It is there but does not work as it should, and only some need it.
    Flawed,
    /// It is missing, and everybody needs it.
    Bad,
}

impl Status {
    fn mark(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Optional => "--",
            Self::Flawed => "!!",
            Self::Bad => "BAD",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Good => Style::Good,
            Self::Optional => Style::Dim,
            Self::Flawed => Style::Warning,
            Self::Bad => Style::Error,
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Name of the thing that was examined.
    pub what: &'static str,
    /// Its state.
    pub status: Status,
    /// Description of the state.
    pub found: String,
    /// Advice; empty if nothing is to be done.
    pub remedy: String,
    /// Command that is part of the advice; empty if there is none.
    pub command: String,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Status::Good, found, "")
    }

    fn new(
        what: &'static str,
        status: Status,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (found, remedy) = (found.into(), remedy.into());
        Self { what, status, found, remedy, command: String::new() }
    }

    fn command(self, command: impl Into<String>) -> Self {
        Self { command: command.into(), ..self }
    }

    /// Appends the check as lines of at most `width` characters.
    fn write(&self, out: &mut String, width: usize) {
        let mark = format!("{:4}", self.status.mark());
        let start = format!(" {:16} ", self.what);
        let indent = 2 + mark.len() + start.len();
        out.push_str("  ");
        out.push_str(&self.status.style().paint(Stream::Output, &mark));
        out.push_str(&start);
        layout::wrap(out, &self.found, indent, indent, width);
        out.push('\n');
        let margin = " ".repeat(indent);
        if !self.remedy.is_empty() {
            out.push_str(&margin);
            layout::wrap(out, &self.remedy, indent, indent, width);
            out.push('\n');
        }
        if !self.command.is_empty() {
            out.push_str(&margin);
            out.push_str("  ");
            let mut command = String::new();
            layout::wrap_command(&mut command, &self.command, indent + 2, width);
            let lines = command.lines().map(|line| Style::Accent.paint(Stream::Output, line));
            out.push_str(&lines.collect::<Vec<_>>().join("\n"));
            out.push('\n');
        }
    }
}

/// Checks with a common purpose.
#[derive(Clone, Debug)]
pub struct Group {
    /// Purpose of the checks.
    pub title: &'static str,
    /// Checks, in the order of display.
    pub checks: Vec<Check>,
}

/// Result of all checks.
#[derive(Clone, Debug)]
pub struct Report {
    /// Groups, in the order of display.
    pub groups: Vec<Group>,
}

impl Report {
    /// Returns the number of checks with this status.
    pub fn count(&self, status: Status) -> usize {
        self.groups.iter().flat_map(|g| &g.checks).filter(|c| c.status == status).count()
    }

    /// Formats the report as text, with lines of at most `width` characters where words allow it.
    pub fn layout(&self, width: usize) -> String {
        let mut out = String::new();
        for group in &self.groups {
            out.push_str(&Style::Title.paint(Stream::Output, group.title));
            out.push('\n');
            for check in &group.checks {
                check.write(&mut out, width);
            }
            out.push('\n');
        }
        layout::wrap(&mut out, &self.summary(), 0, 0, width);
        out.push('\n');
        out
    }

    fn summary(&self) -> String {
        let things = |n: usize| format!("{n} {}", if n == 1 { "thing" } else { "things" });
        let mut text = match self.count(Status::Bad) {
            0 => "All that is needed is here.".to_owned(),
            bad => format!("Needed and missing: {}.", things(bad)),
        };
        if let flawed @ 1.. = self.count(Status::Flawed) {
            text += &format!(" Not working as it should: {}.", things(flawed));
        }
        if let optional @ 1.. = self.count(Status::Optional) {
            text += &format!(" Missing and optional: {}.", things(optional));
        }
        text
    }
}

/// Formats the report in lines of any length.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.layout(usize::MAX))
    }
}

/// Runs all checks. Records the microphone for a second.
pub fn examine(wanted: &Wanted) -> Report {
    let group = |title, checks| Group { title, checks };
    Report {
        groups: vec![
            group("needed", vec![pretrained(), folder(Path::new("."))]),
            group("for recording", vec![microphone(wanted), sound_permission(), speech()]),
            group(
                "for boards",
                vec![
                    shipped_firmware(),
                    targets(),
                    serial_permission(),
                    probe(Path::new("/sys/bus/usb/devices")),
                ],
            ),
            group("for emulation", vec![qemu(), firmware()]),
        ],
    }
}

fn pretrained() -> Check {
    const WHAT: &str = "pretrained model";
    const REMEDY: &str = "set WAKELING_MODELS to the folder host/models of the repository";
    match (models::pretrained(models::DEFAULT_PRETRAINED), models::shipped_negatives()) {
        (Ok(pretrained), Ok(negatives)) if !negatives.speech.is_empty() => {
            let count = negatives.speech.len();
            Check::good(WHAT, format!("{}, with {count} clips of negatives", pretrained.info.name))
        }
        (Ok(_), Ok(_)) => {
            Check::new(WHAT, Status::Bad, "the negatives that belong to it are missing", REMEDY)
        }
        (Err(error), _) | (_, Err(error)) => from_error(WHAT, Status::Bad, error),
    }
}

/// Creates a failed check from an error's message and remedy.
fn from_error(what: &'static str, status: Status, error: impl Into<Error>) -> Check {
    let error = error.into();
    Check::new(what, status, error.problem(), error.remedy())
}

fn folder(path: &Path) -> Check {
    let trial = path.join(format!(".wakeling-doctor-{}", std::process::id()));
    let written = files::write_atomic(&trial, b"x");
    // A file that could not be written need not be removed.
    let _ = fs::remove_file(&trial);
    match written {
        Ok(()) => Check::good("folder", "recordings and models can be written here"),
        Err(error) => from_error("folder", Status::Bad, error),
    }
}

fn microphone(wanted: &Wanted) -> Check {
    const WHAT: &str = "microphone";
    match microphones() {
        Ok(found) if found.is_empty() => {
            let remedy = "Plug one in, or allow this program to use it. Recordings from other sources work too:";
            Check::new(WHAT, Status::Optional, "none was found", remedy)
                .command("wakeling finetune --word NAME=FOLDER --out runs/NAME")
        }
        Err(error) => from_error(WHAT, Status::Optional, error),
        Ok(_) => {
            let recorded = open(wanted).and_then(|mut microphone| {
                let level = level_of(microphone.as_mut())?;
                Ok((microphone.name().to_owned(), level))
            });
            match recorded {
                Ok((name, level)) => judge(&name, level),
                Err(error) => from_error(WHAT, Status::Flawed, error),
            }
        }
    }
}

/// Measures the level of a second of sound.
fn level_of(microphone: &mut dyn Microphone) -> wakeling_capture::Result<Level> {
    let (started, mut pcm) = (Instant::now(), Vec::new());
    while started.elapsed() < LISTEN {
        pcm.extend(microphone.read(Duration::from_millis(50))?);
    }
    Ok(Level::of(&pcm))
}

fn judge(name: &str, level: Level) -> Check {
    const WHAT: &str = "microphone";
    let found = format!("{name}: peak {:.0} dB of full scale in a second", level.peak_db);
    if level.peak_db <= MUTED_DB.max(SILENCE_DB) {
        let remedy = "Unmute it or turn it up (alsamixer, or the desktop's sound settings), or choose another of this list with --device:";
        return Check::new(WHAT, Status::Flawed, format!("{found}: muted"), remedy)
            .command("wakeling record --list");
    }
    if level.is_clipped {
        let remedy = "Turn it down, or turn its boost off.";
        return Check::new(WHAT, Status::Flawed, format!("{found}: clipping"), remedy);
    }
    Check::good(WHAT, found)
}

/// Checks if device files can be opened: those in `folder` with names that `is_one` accepts.
fn permission(what: &'static str, folder: &str, is_one: fn(&str) -> bool, group: &str) -> Check {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let nodes: Vec<PathBuf> =
        entries.filter(|e| is_one(&e.file_name().to_string_lossy())).map(|e| e.path()).collect();
    let is_denied = |path: &&PathBuf| {
        fs::OpenOptions::new()
            .read(true)
            .open(path)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
    };
    match nodes.iter().find(is_denied) {
        Some(path) => {
            let found = format!("{} may not be opened", path.display());
            Check::new(what, Status::Flawed, found, "Join its group, then log in again:")
                .command(format!("sudo usermod -aG {group} $USER"))
        }
        None if nodes.is_empty() => Check::good(what, "none is plugged in"),
        None => Check::good(what, "the devices that are there can be opened"),
    }
}

fn sound_permission() -> Check {
    let is_input = |name: &str| name.starts_with("pcm") && name.ends_with('c');
    permission("sound devices", "/dev/snd", is_input, "audio")
}

fn serial_permission() -> Check {
    let is_port = |name: &str| name.starts_with("ttyACM") || name.starts_with("ttyUSB");
    permission("serial ports", "/dev", is_port, "dialout")
}

fn speech() -> Check {
    const WHAT: &str = "text-to-speech";
    let found: Vec<&str> =
        ["espeak-ng", "piper", "kokoro"].into_iter().filter(|p| on_path(p).is_some()).collect();
    if found.is_empty() {
        let remedy = "Only `wakeling synthesize` needs one:";
        return Check::new(WHAT, Status::Optional, "none is installed", remedy)
            .command("sudo apt-get install espeak-ng");
    }
    Check::good(WHAT, found.join(", "))
}

/// Checks the firmware that `wakeling flash` writes: every file of both variants, with its sum.
fn shipped_firmware() -> Check {
    const WHAT: &str = "firmware";
    let shipped = match Shipped::find() {
        Ok(shipped) => shipped,
        Err(error @ wakeling_device::Error::NoShippedFirmware { .. }) => {
            return from_error(WHAT, Status::Optional, error);
        }
        Err(error) => return from_error(WHAT, Status::Flawed, error),
    };
    let mut found = Vec::new();
    for board in BOARDS.iter() {
        for plain in [false, true] {
            match shipped.load(board, plain) {
                Ok(_) if plain => {}
                Ok(_) => found.push(board.name),
                Err(error) => return from_error(WHAT, Status::Flawed, error),
            }
        }
    }
    let folder = shipped.manifest().parent().unwrap_or(Path::new("."));
    Check::good(WHAT, format!("{}: {}", folder.display(), found.join(", ")))
}

/// Compiler targets of the boards, each once.
fn board_targets() -> BTreeSet<&'static str> {
    BOARDS.iter().map(|board| board.target).collect()
}

fn targets() -> Check {
    const WHAT: &str = "compiler";
    let Some(sysroot) = Sysroot::find() else {
        let remedy = "Install Rust with rustup (https://rustup.rs).";
        return Check::new(WHAT, Status::Optional, "there is no rustc", remedy);
    };
    let all = board_targets();
    let missing: Vec<&str> = all.iter().copied().filter(|t| !sysroot.has(t)).collect();
    if missing.is_empty() {
        return Check::good(WHAT, format!("rustc, and all {} targets of the boards", all.len()));
    }
    let found = match missing.len() {
        1 => format!("rustc lacks the target {}", missing[0]),
        n if n == all.len() => format!("rustc lacks all {n} targets of the boards"),
        n => format!("rustc lacks {n} of the {} targets of the boards", all.len()),
    };
    let mut remedy =
        "`wakeling flash --build` and `./x boards` add what they need. All at once:".to_owned();
    if has_debian_sources() {
        remedy = format!("Debian's compiler does for the emulated boards. {remedy}");
    }
    Check::new(WHAT, Status::Optional, found, remedy)
        .command(format!("rustup target add {}", missing.join(" ")))
}

fn qemu() -> Check {
    const WHAT: &str = "QEMU";
    match first_line("qemu-system-arm", &["--version"]) {
        Some(version) => Check::good(WHAT, version),
        None => {
            Check::new(WHAT, Status::Optional, "qemu-system-arm is not installed", "Install it:")
                .command("sudo apt-get install qemu-system-arm")
        }
    }
}

fn firmware() -> Check {
    const WHAT: &str = "emulated board";
    match Emulator::find(None) {
        Ok(_) | Err(EmulatorError::NoQemu { .. }) => Check::good(WHAT, "its firmware is built"),
        Err(EmulatorError::NoFirmware { .. }) => {
            let remedy = "Build it in the folder of Wakeling's repository:";
            Check::new(WHAT, Status::Optional, "its firmware is not built", remedy)
                .command("./x firmware")
        }
        Err(error) => from_error(WHAT, Status::Flawed, error),
    }
}

/// Checks for a debug probe on USB, and for permission to use it.
fn probe(devices: &Path) -> Check {
    const WHAT: &str = "debug probe";
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
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Check::new(
                WHAT,
                Status::Flawed,
                format!("{name}, but {node} may not be opened"),
                "Install udev rules for debug probes: https://probe.rs/docs/getting-started/probe-setup",
            ),
            _ => Check::good(WHAT, format!("{name} ({})", read(&path, "product"))),
        };
    }
    let remedy = "Plug a board in to flash it; pico and pico2 also take a file: --uf2.";
    Check::new(WHAT, Status::Optional, "none is on USB", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>) -> Report {
        Report { groups: vec![Group { title: "needed", checks }] }
    }

    #[test]
    fn a_report_names_what_is_missing_and_the_remedy() {
        let text = report(vec![
            Check::good("folder", "can be written"),
            Check::new("probe", Status::Optional, "none", "Plug one in:")
                .command("wakeling boards"),
        ]);
        let expected = "needed
  ok   folder           can be written
  --   probe            none
                        Plug one in:
                          wakeling boards

All that is needed is here. Missing and optional: 1 thing.
";
        assert_eq!(text.to_string(), expected);
        let bad = report(vec![Check::new("folder", Status::Bad, "read-only", "")]).to_string();
        assert!(bad.ends_with("Needed and missing: 1 thing.\n"), "{bad}");
    }

    #[test]
    fn no_word_is_broken_at_the_margin() {
        let report = examine(&Wanted { device: Some("none of that name".into()), rate: None });
        let words = |text: &str| -> Vec<String> {
            text.replace(" \\\n", "\n").split_whitespace().map(str::to_owned).collect()
        };
        for width in [60, 80, 120] {
            let text = report.layout(width);
            assert_eq!(words(&text), words(&report.to_string()));
            let is_short = |line: &str| line.chars().count() <= width || !line.trim().contains(' ');
            assert!(text.lines().all(is_short), "{width}: {text}");
        }
    }

    #[test]
    fn a_silent_microphone_is_muted_and_a_quiet_room_is_not() {
        let level = |peak_db| Level { peak_db, rms_db: peak_db - 10.0, is_clipped: false };
        assert_eq!(judge("m", Level::SILENCE).status, Status::Flawed);
        assert_eq!(judge("m", level(-70.0)).status, Status::Good);
        let clipped = Level { is_clipped: true, ..level(0.0) };
        assert_eq!(judge("m", clipped).status, Status::Flawed);
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
        assert!(check.status == Status::Bad && !check.remedy.is_empty(), "{check:?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
