//! Remedies for the errors of model files, boards, flashing, and devices on a line.

use std::io;

use wakeling_device::{
    Error,
    emulator::{EmulatorError, FIRMWARE_VARIABLE},
    toolchain::add_command,
};
use wakeling_shared::{model::LoadError, update::message::Refusal};

use super::{Advice, Advise, core::of_system};

/// What the user can do instead of building a firmware.
const WITHOUT: &str = "or name a program that is built already: --firmware FILE";
/// Remedy for a folder of firmware that is not as it was made.
const AGAIN: &str = "unpack the program's archive again, or make the folder anew in a checkout of \
                     Wakeling's repository: ./x boards";
/// Remedy for firmware and program that do not fit together.
const SAME_SOURCE: &str = "build firmware and host from the same source: ./x firmware";
/// Remedy for missing espflash.
const INSTALL_ESPFLASH: &str = "cargo install espflash --locked, or see https://github.com/esp-rs/espflash; or write one file for any \
     other flashing program: --merged FILE";

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Audio(error) => error.advice(),
            Self::Emulator(error) => error.advice(),

            Self::ModelUnwritable { .. } => Advice::usage("make the model smaller"),
            Self::InvalidModel { reason, .. } => Advice::input(of_model(*reason)),
            Self::NoScore { .. } => Advice::usage("give one between 0 and 1, for instance 0.8"),
            Self::RateNotMeasured { .. } => Advice::usage(
                "ask for a rate in the table, or measure on more audio with `wakeling evaluate`",
            ),
            Self::EmulatedDevice { .. } => Advice::system(SAME_SOURCE),

            Self::UnknownBoard { known, .. } => {
                Advice::usage(format!("name one of: {}", known.join(", ")))
            }
            Self::NoWorkspace { board, .. } => Advice::input(format!(
                "call from a checkout of Wakeling's repository, where it is built, or take the \
                 firmware that ships with the program: without --build; or name the board's \
                 program with --firmware (`./x boards {board}` builds it), or leave the program \
                 that is on the board: --model-only"
            )),
            Self::NoPartitions { .. } => {
                Advice::input("call from a folder of Wakeling's repository")
            }
            Self::BuildFailed { board, .. } => Advice::usage(format!(
                "see the compiler's messages above; `./x boards {board}` builds the same; or name \
                 a program that is built already: --firmware"
            )),
            Self::NoCargo { .. } => {
                Advice::usage("install Rust: https://rustup.rs; or name a program: --firmware")
            }
            Self::NoCompiler => {
                Advice::system(format!("install Rust with rustup (https://rustup.rs), {WITHOUT}"))
            }
            Self::TargetNotAdded { target, .. } => {
                Advice::system(format!("type: {}\n          {WITHOUT}", add_command(target)))
            }
            Self::NoRustup { target, .. } => Advice::system(format!(
                "install Rust with rustup (https://rustup.rs), then type: {}\n          {WITHOUT}",
                add_command(target)
            )),

            Self::NoShippedFirmware { .. } => Advice::input(format!(
                "unpack the whole archive of the program, or name its folder `firmware` with \
                 WAKELING_BOARD_FIRMWARE; in a checkout of Wakeling's repository, make it with \
                 `./x boards`, or build it now: --build; {WITHOUT}"
            )),
            Self::NotAManifest { .. } | Self::ShippedDamaged { .. } => Advice::input(AGAIN),
            Self::ShippedUnreadable { source, .. } if source.kind() != io::ErrorKind::NotFound => {
                Advice::system(of_system(source.kind()))
            }
            Self::ShippedUnreadable { .. } => Advice::input(AGAIN),
            Self::OtherVersion { .. } | Self::OtherLayout { .. } => Advice::input(
                "take the folder `firmware` of this program's own archive, or make it anew in the \
                 checkout that the program was built from: ./x boards",
            ),
            Self::NotShipped { board, .. } => Advice::input(format!(
                "make it in a checkout of Wakeling's repository: `./x boards {board}`, or --build; \
                 {WITHOUT}"
            )),
            Self::NotFirmware { board, .. } => {
                Advice::input(format!("name the file that `./x boards {board}` builds"))
            }
            Self::OutsideRegion { what: "model", .. } => {
                Advice::input("take a smaller tier (base-s), or a board with more flash")
            }
            Self::OutsideRegion { board, .. } => {
                Advice::input(format!("build it for this board: ./x boards {board}"))
            }
            Self::PartsOverlap { .. } => Advice::input("build it again: ./x boards"),
            Self::TooMuchMemory { .. } => {
                Advice::input("take a smaller tier (base-s), or fewer keywords")
            }
            Self::NotForSlot { .. } => Advice::input(
                "take a smaller tier (base-s), or a program without updates, whose model has the whole region: --plain",
            ),
            Self::NoEspflash => Advice::system(INSTALL_ESPFLASH),
            Self::EspflashFailed { .. } => Advice::system(
                "see the lines above; hold BOOT while you press RESET if the board does not answer",
            ),
            Self::EspflashUnusable { .. } => Advice::system("check that espflash can be started"),
            Self::NoProbe => Advice::system(
                "plug the board or its probe in; `wakeling boards` lists what is there",
            ),
            Self::SeveralProbes { .. } => Advice::system("leave in only the one to be flashed"),
            Self::Probe { .. } => Advice::system(
                "check the cable, that nothing else uses the probe, and that it may be opened (`wakeling doctor`); then give the same command again",
            ),

            Self::KeyExists { .. } => {
                Advice::usage("name another file, or sign with this one: --key")
            }
            Self::KeyExposed { .. } => {
                Advice::input("chmod 600; make a new key if another user may have read it")
            }
            Self::NotAKey { .. } => Advice::input("make one: sign --new-key FILE"),
            Self::NoRandomNumbers { .. } => Advice::system("restart the system"),
            Self::NotAPackage { .. } => Advice::input("make one: wakeling sign model.wkl"),

            Self::NoConnection { .. } => {
                Advice::system("check the address, and that something listens")
            }
            Self::NoPort { source, available, .. } => Advice::system(of_port(source, available)),
            Self::Line { .. } => {
                Advice::system("check device and cable, then give the command again")
            }
            Self::LineClosed { .. } => Advice::system("check device and cable"),
            Self::NoAnswer { .. } => Advice::system(
                "check the port, the baud rate, and that the firmware supports updates",
            ),
            Self::Protocol { .. } | Self::StrangeAnswer { .. } => {
                Advice::system("use the `wakeling` of its firmware")
            }
            Self::Refused { refusal, .. } => Advice::system(of_refusal(*refusal)),
            Self::FewUtterances { .. } => {
                Advice::system("speak louder, with a second of quiet between")
            }

            Self::NotAnEvent { .. } => Advice::input("read the device again: wakeling device log"),
            Self::EventWidth { .. } => {
                Advice::usage("name the pretrained model that the device ran: --base")
            }
        }
    }
}

impl Advise for EmulatorError {
    fn advice(&self) -> Advice {
        match self {
            Self::NoQemu { .. } => {
                Advice::usage("apt-get install qemu-system-arm qemu-system-misc")
            }
            Self::NoFirmware { .. } => Advice::usage(format!(
                "run ./x firmware, or name its ELF file with {FIRMWARE_VARIABLE}"
            )),
            Self::ModelTooLarge { .. } => Advice::usage("use a smaller tier"),
            Self::Block { largest, .. } => Advice::usage(format!("1 to {largest} samples")),
            Self::Device { is_about_model: true, .. } => {
                Advice::usage("make the model again with the `wakeling` of this source")
            }
            Self::Device { is_about_model: false, .. } => Advice::usage(SAME_SOURCE),
            Self::Qemu { .. } => Advice::usage("try with QEMU 7.2 or later"),
            Self::Io { source, .. } => Advice::system(of_system(source.kind())),
        }
    }
}

/// Returns the remedy for a file that is not a valid model.
fn of_model(reason: LoadError) -> &'static str {
    match reason {
        LoadError::Version { .. } => "make it again from its head: `wakeling quantize --head`",
        _ => {
            "give the model.wkl that `wakeling finetune` wrote; if this is one, copy it again, or make it again from its head: `wakeling quantize --head`"
        }
    }
}

/// Returns the remedy for a serial port that cannot be opened.
fn of_port(error: &io::Error, available: &[String]) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "join the group that owns the port (often dialout), then log in again".into();
    }
    let ports = match available {
        [] => "there is no serial port".into(),
        ports => format!("there are: {}", ports.join(", ")),
    };
    format!("check the cable and the name; {ports}")
}

/// Returns the remedy for a request that a device refused.
fn of_refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Version { .. } => "sign it again with a higher --model-version",
        Refusal::Large { .. } => "use a smaller tier (base-s), or fewer keywords",
        Refusal::Unsigned => {
            "sign it with the key that the firmware pins: wakeling sign --key FILE"
        }
        Refusal::ForeignKey | Refusal::Signature => "sign it with the key that the firmware pins",
        Refusal::OnTrial => "wakeling device confirm, or wakeling device restart",
        Refusal::Request | Refusal::Format => "build firmware and program from the same source",
        Refusal::NothingToLearn => "update it with a model of `wakeling quantize --enroll WORD`",
        Refusal::Utterances(_) | Refusal::Unlike => "speak the same word five times, with pauses",
        Refusal::NoEvent => "a new event took its place; read the log again",
        Refusal::Flash => "power the device off and on, then try again",
        Refusal::Header
        | Refusal::NotReceiving
        | Refusal::Offset { .. }
        | Refusal::Checksum
        | Refusal::NothingToConfirm => "give the command again",
    }
}
