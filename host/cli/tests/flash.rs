//! Tests of `wakeling flash` with the built program, as far as possible without a board: plans,
//! rejected input, files for a drive, and the board's program, which is built first.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;
use wakeling_device::{board::Family, flash::uf2};
use wakeling_tests::{
    Tier,
    elf::{LOAD, elf},
    random_model,
    shipped::few_models,
};

#[path = "flash/shipped.rs"]
mod shipped;

/// Addresses of a Pico's program and model.
const PROGRAM: u32 = 0x1000_0000;
const MODEL: u32 = 0x1010_0000;
/// Bytes before a model in the first slot: two pages of journal and a header.
const IN_FRONT: usize = 2 * 4_096 + 128;

/// Folder with a model, a Pico's program, and one outside the Pico's flash.
struct TestDir(TempDir);

impl TestDir {
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
        self.flash_board("pico", "hey.wkl", arguments)
    }

    /// Runs the command with only the programs of this folder in `PATH`.
    fn flash_board(&self, board: &str, model: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
        command.args(["flash", model, "--board", board]).args(arguments);
        command.current_dir(self.path()).env("CARGO", self.path().join("cargo.sh"));
        command.env("PATH", self.path());
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
    let place = TestDir::new();
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
fn a_model_for_which_the_processor_is_too_slow_is_named() {
    let place = TestDir::new();
    place.write("large.wkl", &random_model(1, Tier::M));
    let run = |model: &str| {
        let output = place.flash_board("pico", model, &["--model-only", "--dry-run"]);
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"))
    };
    let [plan, message] = run("large.wkl");
    assert!(plan.contains(" % of 125 MHz (computed)"), "{plan}");
    assert!(message.contains("too slow") && message.contains("--board pico"), "{message}");
    let [plan, message] = run("hey.wkl");
    assert!(plan.contains(" % of 125 MHz (computed)") && message.is_empty(), "{plan}{message}");
}

#[test]
fn rejects_what_lies_outside_the_boards_flash() {
    let place = TestDir::new();
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
    let place = TestDir::new();
    place.plan(&["--firmware", "pico.elf", "--uf2", "hey.uf2"]);
    let file = fs::read(place.path().join("hey.uf2")).expect("it was written");
    let parts = uf2::read(&file, Family::Rp2040).expect("a UF2 file");
    let [program, model] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((program.address, model.address), (PROGRAM, MODEL));
    assert_eq!(program.bytes[..5_000], [7; 5_000]);
    let expected = fs::read(place.path().join("hey.wkl")).expect("it is there");
    assert_eq!(model.bytes[IN_FRONT..][..expected.len()], expected);

    // A file for other programs, without the board's program and without padding to a sector.
    place.plan(&["--model-only", "--bin", "region.bin"]);
    let region = fs::read(place.path().join("region.bin")).expect("it was written");
    assert!(model.bytes.starts_with(&region) && region.len() > IN_FRONT + expected.len());
    place.plan(&["--model-only", "--plain", "--bin", "plain.bin"]);
    assert_eq!(fs::read(place.path().join("plain.bin")).expect("it was written"), expected);
}

/// Fine-tunes the demo's phrase for a board, with few steps.
fn finetune(place: &Path, board: &str, rest: &[&str]) -> Output {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/train");
    let word = format!("hey wakeling={}", demo.display());
    Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["finetune", "--word", &word, "--steps", "20", "--out", "out", "--board", board])
        .args(rest)
        .current_dir(place)
        .env("WAKELING_MODELS", place.join("models"))
        .env("WAKELING_CACHE", place.join("cache"))
        .output()
        .expect("the program starts")
}

#[test]
fn a_model_for_a_board_is_checked_before_training_and_then_flashed() {
    let place = TestDir::new();
    let models = few_models(place.path(), "base-m");
    few_models(place.path(), "base-s");
    assert!(models.join("base-m.safetensors").is_file());

    // What does not fit is refused before anything is written.
    let large = ["--base", "base-m", "--head-channels", "64", "--ensemble", "8"];
    for (board, rest, code, expected) in [
        ("microbit-v2", &large[..], 3, "outside microbit-v2's region"),
        ("microbit", &[], 2, "there is no board"),
    ] {
        let output = finetune(place.path(), board, rest);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(expected) && message.contains("remedy:"), "{message}");
        assert!(!place.path().join("out").exists(), "{message}");
    }

    let output = finetune(place.path(), "microbit-v2", &[]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let bytes = fs::metadata(place.path().join("out/model.wkl")).expect("a model").len();
    let reason = format!("base-s for microbit-v2: {:.0} of 192 KB", bytes as f64 / 1e3);
    assert!(message.contains(&reason), "{reason}: {message}");
    assert!(message.contains("base-m does not fit"), "{message}");
    let next = "wakeling flash --board microbit-v2 out/model.wkl --hex microbit-v2.hex";
    assert!(message.lines().any(|line| line.ends_with(next)), "{message}");
    let settings = fs::read_to_string(place.path().join("out/settings.json")).expect("settings");
    assert!(settings.contains("\"base\": \"base-s\""), "{settings}");
    let output = place.flash_board("microbit-v2", "out/model.wkl", &["--model-only", "--dry-run"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Checkout in which the compiler, cargo and rustup are scripts that log their calls.
#[cfg(unix)]
mod checkout {
    use std::os::unix::fs::PermissionsExt;

    use wakeling_device::board::{BOARDS, Loader};

    use super::*;

    /// cargo that writes a program for each board where cargo would. It also prints on stdout,
    /// which must not reach the plan.
    const CARGO: &str = "echo \"cargo $*\" >>$LOG; echo compiling
        for target in $CARGO_TARGET_DIR/*-*/release; do for program in ../../*.elf; do
            name=${program##*/}; cp $program $target/wakeling-${name%.elf}
        done; done";
    /// rustup that adds the requested target.
    const RUSTUP: &str =
        "echo \"rustup $*\" >>$LOG; echo downloading; mkdir -p $SYSROOT/lib/rustlib/$3/lib";

    impl TestDir {
        /// Creates a checkout in which no target is installed.
        fn checkout() -> Self {
            let place = Self::new();
            for board in BOARDS.iter() {
                let program = elf(&[(board.program.start, vec![7; 5_000], LOAD)]);
                place.write(&format!("{}.elf", board.name), &program);
                let folder = format!("firmware/boards/target/{}/release", board.target);
                fs::create_dir_all(place.path().join(&folder)).expect("a folder");
                let folder = folder.replace("/target/", "/target/plain/");
                fs::create_dir_all(place.path().join(folder)).expect("a folder");
            }
            place.write("firmware/boards/Cargo.toml", b"[workspace]\n");
            fs::create_dir_all(place.path().join("firmware/boards/esp32-c3")).expect("a folder");
            place.write("firmware/boards/esp32-c3/partitions.csv", b"");
            place.script("rustc", "echo $SYSROOT");
            place.script("cargo.sh", CARGO);
            place.script("rustup", RUSTUP);
            place
        }

        /// Writes a program to `PATH`, which also contains the system's commands.
        fn script(&self, name: &str, text: &str) {
            let here = self.path().display();
            let text = format!(
                "#!/bin/sh\nPATH=/usr/bin:/bin LOG={here}/log SYSROOT={here}/sysroot\n{text}\n"
            );
            self.write(name, text.as_bytes());
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(self.path().join(name), mode).expect("ours");
        }

        /// Returns the calls since the last time.
        fn log(&self) -> Vec<String> {
            let path = self.path().join("log");
            let log = fs::read_to_string(&path).unwrap_or_default();
            let _ = fs::remove_file(path);
            log.lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn outside_of_one_it_is_named() {
        let place = TestDir::new();
        let message = place.refused(&["--build", "--dry-run"], 3);
        assert!(message.contains("checkout") && message.contains("--firmware"), "{message}");
    }

    #[test]
    fn a_missing_target_is_added_for_every_board() {
        for board in BOARDS.iter() {
            for plain in [false, true] {
                let place = TestDir::checkout();
                let arguments: &[&str] = if plain {
                    &["--build", "--dry-run", "--plain"]
                } else {
                    &["--build", "--dry-run"]
                };
                let output = place.flash_board(board.name, "hey.wkl", arguments);
                let message = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: {message}", board.name);
                let added = format!("rustup target add {}", board.target);
                let built = format!("cargo build --release --locked --target {}", board.target);
                let log = place.log();
                assert!(log[0] == added && log[1].starts_with(&built), "{}: {log:?}", board.name);
                assert_eq!(log[1].ends_with("--no-default-features"), plain, "{log:?}");
                let plan = String::from_utf8_lossy(&output.stdout);
                // espflash places its program itself.
                let shown = if board.loader == Loader::Espflash {
                    "espflash flash"
                } else {
                    "5000 bytes  program"
                };
                assert!(plan.contains(shown), "{plan}");
                assert!(!plan.contains("compiling") && !plan.contains("downloading"), "{plan}");

                // The target is installed now.
                assert!(place.flash_board(board.name, "hey.wkl", arguments).status.success());
                assert!(place.log().iter().all(|line| !line.starts_with("rustup")));
            }
        }
    }

    #[test]
    fn a_target_that_cannot_be_added_is_named_with_the_command() {
        let place = TestDir::checkout();
        let command = "rustup target add thumbv6m-none-eabi";
        place.script("rustup", "exit 1");
        let message = place.refused(&["--build", "--uf2", "hey.uf2"], 4);
        assert!(message.contains(&format!("type: {command}\n")), "{message}");
        assert!(place.log().is_empty(), "nothing is compiled");

        fs::remove_file(place.path().join("rustup")).expect("it was there");
        let message = place.refused(&["--build", "--dry-run"], 4);
        assert!(message.contains("https://rustup.rs") && message.contains(command), "{message}");

        fs::remove_file(place.path().join("rustc")).expect("it was there");
        let message = place.refused(&["--build", "--dry-run"], 4);
        assert!(message.contains("https://rustup.rs"), "{message}");
    }

    #[test]
    fn the_users_arguments_are_checked_before_anything_is_built() {
        let place = TestDir::checkout();
        place.write("noise.wkl", &[7; 1_000]);
        let refused = |board: &str, model: &str, arguments: &[&str], code: i32, part: &str| {
            let output = place.flash_board(board, model, arguments);
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(code),
                "{board} {model} {arguments:?}: {message}"
            );
            assert!(message.contains(part), "{board} {model} {arguments:?}: {message}");
            assert_eq!(place.log(), [""; 0], "{board} {model} {arguments:?}");
        };
        for board in BOARDS.iter().map(|board| board.name) {
            for arguments in [
                &["--build", "--dry-run"][..],
                &["--build", "--dry-run", "--plain"],
                &["--bin", "x.bin"],
            ] {
                refused(board, "none.wkl", arguments, 4, "none.wkl: cannot read");
                refused(board, "noise.wkl", arguments, 3, "noise.wkl");
            }
        }
        refused("pico", "none.wkl", &["--build", "--uf2", "x.uf2"], 4, "none.wkl: cannot read");
        refused("nano33", "hey.wkl", &["--build", "--uf2", "x.uf2"], 2, "no drive");
        for file in ["--uf2", "--hex", "--merged"] {
            refused("pico", "hey.wkl", &["--build", file, "none/x"], 4, "none/x");
        }
        refused("esp32-c3", "hey.wkl", &["--build"], 4, "espflash: it is not installed");
        refused("esp32-c3", "hey.wkl", &[], 4, "espflash: it is not installed");
    }

    #[test]
    fn a_region_of_models_needs_no_program() {
        let place = TestDir::checkout();
        place.plan(&["--bin", "region.bin"]);
        assert!(place.path().join("region.bin").exists() && place.log().is_empty());
    }

    /// An ESP32's program needs an image, which espflash makes of an ELF file only as it writes it.
    #[test]
    fn a_compiled_program_of_an_esp32_becomes_no_file() {
        let place = TestDir::checkout();
        for file in ["--hex", "--merged"] {
            let output = place.flash_board("esp32-c3", "hey.wkl", &["--build", file, "x"]);
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{message}");
            assert!(message.contains("espflash") && message.contains("ships"), "{message}");
            assert!(!place.path().join("x").exists());
        }
    }

    #[test]
    fn the_program_is_built_first() {
        let place = TestDir::checkout();
        place.script("cargo.sh", &format!("{CARGO}\nexit 1"));
        let message = place.refused(&["--build", "--dry-run"], 2);
        assert!(message.contains("compiling") && message.contains("./x boards pico"), "{message}");
        place.script("cargo.sh", CARGO);
        place.plan(&["--build", "--uf2", "hey.uf2"]);
        assert!(place.path().join("hey.uf2").exists());

        fs::remove_file(place.path().join("cargo.sh")).expect("it was there");
        let message = place.refused(&["--build", "--dry-run"], 2);
        assert!(message.contains("cargo.sh") && message.contains("rustup"), "{message}");
    }
}
