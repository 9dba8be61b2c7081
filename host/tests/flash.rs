//! Tests of `wakeling flash` with the built program, as far as possible without a board: plans,
//! rejected input, files for a drive, and the board's program, which is built first.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;
use wakeling::{board::Family, flash::uf2};
use wakeling_tests::{
    Tier,
    elf::{LOAD, elf},
    random_model,
};

/// Addresses of a Pico's program and model.
const PROGRAM: u32 = 0x1000_0000;
const MODEL: u32 = 0x1010_0000;
/// Bytes before a model in the first slot: two pages of journal and a header.
const IN_FRONT: usize = 2 * 4_096 + 128;

/// Folder with a model, a Pico's program, and one outside the Pico's flash.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().expect("a folder"));
        place.write("hey.wkl", &random_model(1, Tier::S));
        place.write("pico.elf", &elf(&[(PROGRAM, vec![7; 5_000], LOAD)]));
        place.write("far.elf", &elf(&[(MODEL - 16, vec![7; 64], LOAD)]));
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).expect("a file");
    }

    fn flash(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
        command.args(["flash", "hey.wkl", "--board", "pico"]).args(arguments);
        command.current_dir(self.path()).env("CARGO", self.path().join("cargo.sh"));
        command.output().expect("the program starts")
    }

    /// Runs the command, which must succeed, and returns its output.
    fn plan(&self, arguments: &[&str]) -> String {
        let output = self.flash(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {message}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs the command, which must fail with this exit code and a remedy, and returns its message.
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.flash(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains("remedy:") && !message.contains("panicked"), "{message}");
        message
    }
}

#[test]
fn a_dry_run_shows_addresses_and_writes_nothing() {
    let place = Place::new();
    let model = fs::metadata(place.path().join("hey.wkl")).expect("it is there").len();
    let arguments = ["--firmware", "pico.elf", "--plain", "--uf2", "hey.uf2", "--dry-run"];
    let plan = place.plan(&arguments);
    assert!(plan.contains("  0x10000000..0x10001388     5000 bytes  program\n"), "{plan}");
    let end = u64::from(MODEL) + model;
    assert!(
        plan.contains(&format!("  0x10100000..{end:#010x} {model:>8} bytes  model\n")),
        "{plan}"
    );
    assert!(plan.contains("hey.uf2: ") && plan.contains("would be written"), "{plan}");
    assert!(!place.path().join("hey.uf2").exists());
    let plan = place.plan(&["--model-only", "--dry-run"]);
    assert!(!plan.contains("program") && plan.contains("model"), "{plan}");
}

#[test]
fn what_lies_outside_the_boards_flash_is_refused() {
    let place = Place::new();
    let uf2 = ["--uf2", "hey.uf2", "--firmware"];
    let message = place.refused(&[&uf2[..], &["far.elf"]].concat(), 3);
    assert!(message.contains("far.elf") && message.contains("0x100ffff0..0x10100030"), "{message}");
    let message = place.refused(&[&uf2[..], &["hey.wkl"]].concat(), 3);
    assert!(message.contains("hey.wkl"), "{message}");
    assert!(place.refused(&[&uf2[..], &["none.elf"]].concat(), 4).contains("none.elf"));
    assert!(!place.path().join("hey.uf2").exists());
}

#[test]
fn a_file_for_the_drive_reads_back() {
    let place = Place::new();
    place.plan(&["--firmware", "pico.elf", "--uf2", "hey.uf2"]);
    let file = fs::read(place.path().join("hey.uf2")).expect("it was written");
    let parts = uf2::read(&file, Family::Rp2040).expect("a UF2 file");
    let [program, model] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((program.address, model.address), (PROGRAM, MODEL));
    assert_eq!(program.bytes[..5_000], [7; 5_000]);
    let expected = fs::read(place.path().join("hey.wkl")).expect("it is there");
    assert_eq!(model.bytes[IN_FRONT..][..expected.len()], expected);

    // The same for other programs, without the board's program and the padding of a sector.
    place.plan(&["--model-only", "--bin", "region.bin"]);
    let region = fs::read(place.path().join("region.bin")).expect("it was written");
    assert!(model.bytes.starts_with(&region) && region.len() > IN_FRONT + expected.len());
    place.plan(&["--model-only", "--plain", "--bin", "plain.bin"]);
    assert_eq!(fs::read(place.path().join("plain.bin")).expect("it was written"), expected);
}

/// A script replaces cargo: it prints its arguments, and writes a program where cargo would.
#[cfg(unix)]
#[test]
fn in_a_checkout_the_program_is_built_first() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let message = place.refused(&["--dry-run"], 3);
    assert!(message.contains("checkout") && message.contains("--firmware"), "{message}");

    let boards = place.path().join("firmware/boards");
    fs::create_dir_all(&boards).expect("a folder");
    fs::write(boards.join("Cargo.toml"), "[workspace]\n").expect("a file");
    let message = place.refused(&["--dry-run"], 2);
    assert!(message.contains("cargo.sh") && message.contains("rustup"), "{message}");

    let cargo = |last: &str| {
        let script = format!(
            "#!/bin/sh\necho \"asked: $*, flags $CARGO_TARGET_THUMBV6M_NONE_EABI_RUSTFLAGS.\"\n\
             out=$CARGO_TARGET_DIR/thumbv6m-none-eabi/release\n\
             mkdir -p $out && cp ../../pico.elf $out/wakeling-pico\n{last}\n"
        );
        place.write("cargo.sh", script.as_bytes());
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.path().join("cargo.sh"), mode).expect("ours");
    };
    cargo("exit 1");
    let message = place.refused(&["--dry-run"], 2);
    assert!(message.contains("rustup target add thumbv6m-none-eabi"), "{message}");
    let asked = "build --release --locked --target thumbv6m-none-eabi -p wakeling-pico, flags .";
    assert!(message.contains(asked), "{message}");

    cargo("exit 0");
    let plan = place.plan(&["--uf2", "hey.uf2"]);
    assert!(plan.contains("5000 bytes  program") && !plan.contains("asked"), "{plan}");
    assert!(place.path().join("hey.uf2").exists());
}
