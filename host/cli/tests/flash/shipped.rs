//! Firmware that ships: the program with its folder `firmware`, copied to a machine that has neither Rust nor
//! the repository, and nothing in `PATH`. `./x test` builds the real firmware first.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;
use wakeling_device::{
    board::{BOARDS, Board, Family, Loader},
    flash::{
        Part, Plan, Source, elf, hex,
        shipped::{Firmware, Shipped},
        uf2,
    },
};
use wakeling_tests::{Tier, random_model};

/// Folder with the firmware that `./x boards` built beside this program. If it is missing, prints that the test
/// is skipped; `./x test` sets `WAKELING_REQUIRE_FIRMWARE`, which makes that case fail.
fn built() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_wakeling"));
    let folder = program.ancestors().nth(2).expect("a target folder").join("firmware");
    let shipped = Shipped::open(&folder);
    let missing = |board: &&'static Board| match &shipped {
        Ok(shipped) => [false, true].iter().any(|&plain| shipped.load(board, plain).is_err()),
        Err(_) => true,
    };
    let lacks: Vec<&str> = BOARDS.iter().filter(missing).map(|board| board.name).collect();
    if lacks.is_empty() {
        return Some(folder);
    }
    assert!(env::var_os("WAKELING_REQUIRE_FIRMWARE").is_none(), "no firmware for {lacks:?}");
    eprintln!("SKIP: no firmware of {}; ./x boards builds it", lacks.join(", "));
    None
}

/// A machine with the program and its folder of firmware, and nothing else.
struct Machine {
    place: TempDir,
}

impl Machine {
    fn new(firmware: &Path) -> Self {
        let machine = Self { place: TempDir::new().expect("a folder") };
        for folder in ["box/firmware", "empty", "work"] {
            fs::create_dir_all(machine.path(folder)).expect("a folder");
        }
        for entry in fs::read_dir(firmware).expect("a folder") {
            let from = entry.expect("an entry").path();
            let name = from.file_name().expect("a name");
            fs::copy(&from, machine.path("box/firmware").join(name)).expect("a file");
        }
        let program = Path::new(env!("CARGO_BIN_EXE_wakeling"));
        let to = machine.path("box/wakeling");
        // It is large, and a link has a path of its own.
        fs::hard_link(program, &to).or_else(|_| fs::copy(program, &to).map(drop)).expect("a copy");
        fs::write(machine.path("work/hey.wkl"), random_model(1, Tier::S)).expect("a file");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path("box/wakeling"));
        command.env_clear().env("PATH", self.path("empty")).current_dir(self.path("work"));
        command
    }

    fn flash(&self, board: &str, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(["flash", "hey.wkl", "--board", board]).args(arguments);
        command.output().expect("the program starts")
    }

    /// Runs the command, which must succeed, and returns its output.
    fn works(&self, board: &str, arguments: &[&str]) -> String {
        let output = self.flash(board, arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{board} {arguments:?}: {message}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs the command, which must fail with exit code 3 and a remedy, and returns its message.
    fn refused(&self, board: &str) -> String {
        let output = self.flash(board, &["--dry-run"]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{message}");
        assert!(message.contains("remedy:") && !message.contains("panicked"), "{message}");
        message
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path("work").join(name)).expect(name)
    }

    /// Returns what the files of a board must hold.
    fn plan(&self, board: &'static Board, plain: bool) -> (Plan, Firmware) {
        let shipped = Shipped::open(&self.path("box/firmware")).expect("a manifest");
        let firmware = shipped.load(board, plain).expect("it is listed");
        let model = self.read("hey.wkl");
        let source = Source { path: Path::new("hey.wkl"), bytes: &model };
        let plan = Plan::new(board, Some(firmware.source()), source, plain).expect("it fits");
        (plan, firmware)
    }
}

/// Checks the parts that a program consists of by what its processor reads first.
fn assert_starts(board: &Board, parts: &[Part], elf: Option<&[u8]>) {
    let bytes_at = |address: u32| {
        let part = parts.iter().find(|part| part.range().contains(&u64::from(address)));
        let part = part.unwrap_or_else(|| panic!("{}: nothing at {address:#x}", board.name));
        &part.bytes[(address - part.address) as usize..]
    };
    let word = |address| u32::from_le_bytes(bytes_at(address)[..4].try_into().expect("a word"));
    if board.loader == Loader::Espflash {
        // Images of the bootloader and the program, with the processor's number (ESP32-C3: 5).
        for at in [0, board.program.start] {
            assert_eq!((bytes_at(at)[0], bytes_at(at)[12]), (0xE9, 5), "{at:#x}");
        }
        // The table of partitions names the regions of boards.toml.
        let table = &bytes_at(0x8000)[..0x60];
        let entries: Vec<(u32, u32)> = table
            .chunks(32)
            .map(|entry| {
                let word =
                    |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("a word"));
                assert_eq!(entry[..2], [0xAA, 0x50]);
                (word(4), word(8))
            })
            .collect();
        let region = |range: &std::ops::Range<u32>| (range.start, range.end - range.start);
        assert_eq!(entries[1..], [region(&board.program), region(&board.model)]);
        return;
    }
    // Cortex-M: the first words are the stack's end and the address of the reset handler, in Thumb state. On the
    // RP2040 they are behind the second stage of the boot.
    let vectors = board.program.start + if board.name == "pico" { 0x100 } else { 0 };
    let (stack, reset) = (word(vectors), word(vectors + 4));
    assert!((0x1000_0000..0x2010_0000).contains(&stack), "{}: {stack:#x}", board.name);
    assert!(board.program.contains(&reset) && reset % 2 == 1, "{}: {reset:#x}", board.name);
    if let Some(elf) = elf {
        // What a compiler left is what the file holds, bit by bit.
        let source = Source { path: Path::new("program"), bytes: elf };
        for part in elf::parts(board, source).expect("a program") {
            assert!(bytes_at(part.address).starts_with(&part.bytes), "{}: {part:?}", board.name);
        }
    }
}

#[test]
fn every_board_is_flashed_without_rust_and_without_the_repository() {
    let Some(firmware) = built() else { return };
    let machine = Machine::new(&firmware);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware/boards");
    for board in BOARDS.iter() {
        let name = board.name;
        for plain in [false, true] {
            let option: &[&str] = if plain { &["--plain"] } else { &[] };
            let with = |more: &[&'static str]| [option, more].concat();
            let (plan, _) = machine.plan(board, plain);
            let shown = machine.works(name, &with(&["--dry-run"]));
            assert!(shown.starts_with(&plan.to_string()), "{name}: {shown}");
            if board.loader == Loader::Espflash {
                assert!(shown.contains("espflash write-bin --chip esp32c3 0x0 "), "{shown}");
            }
            let program: Vec<Part> =
                plan.parts.iter().filter(|part| part.what == "program").cloned().collect();
            let elf = workspace.join(format!("target/{}/release/wakeling-{name}", board.target));
            let elf = fs::read(elf).ok().filter(|_| !plain);
            assert_starts(board, &program, elf.as_deref());

            machine.works(name, &with(&["--hex", "x.hex"]));
            let found = hex::read(&machine.read("x.hex")).expect("Intel HEX");
            assert_holds(&found, &plan);
            let all: usize = found.iter().map(|part| part.bytes.len()).sum();
            assert_eq!(all, plan.bytes(), "{name}: nothing else is written");

            machine.works(name, &with(&["--merged", "x.bin"]));
            let (start, bytes) = plan.merged();
            assert_eq!(machine.read("x.bin"), bytes, "{name}");
            assert_holds(&[Part { what: "flash", address: start, bytes }], &plan);

            if let Loader::ProbeOrUf2 { family } = board.loader {
                machine.works(name, &with(&["--uf2", "x.uf2"]));
                assert_holds(&uf2::read(&machine.read("x.uf2"), family).expect("UF2"), &plan);
            }
            for file in ["x.hex", "x.bin"] {
                fs::remove_file(machine.path("work").join(file)).expect("it was written");
            }
        }
        // A file of another program of the same board.
        let shipped = Shipped::open(&machine.path("box/firmware")).expect("a manifest");
        let path = shipped.load(board, false).expect("it is listed").path;
        let shown = machine.works(name, &["--dry-run", "--firmware", &path.display().to_string()]);
        assert!(shown.starts_with(&machine.plan(board, false).0.to_string()), "{name}: {shown}");
    }
    let left: Vec<_> = fs::read_dir(machine.path("work")).expect("a folder").collect();
    assert_eq!(left.len(), 2, "the model and the last UF2 file: {left:?}");
}

/// Checks that every byte of a plan is in the parts of a file.
fn assert_holds(file: &[Part], plan: &Plan) {
    for part in &plan.parts {
        let range = part.range();
        let holder = file
            .iter()
            .find(|held| held.range().start <= range.start && range.end <= held.range().end);
        let holder = holder.unwrap_or_else(|| panic!("{}: {part:?}", plan.board.name));
        let offset = (part.address - holder.address) as usize;
        assert!(holder.bytes[offset..].starts_with(&part.bytes), "{}: {part:?}", plan.board.name);
    }
}

/// Other projects' programs read the same from our files: intelhex the bytes at their addresses, and Espressif's
/// esptool two images with valid checksums and hashes.
#[test]
fn other_programs_read_the_files() {
    const READ_HEX: &str = "import sys, intelhex; file = intelhex.IntelHex(sys.argv[1]);
print(file.minaddr()); file.tobinfile(sys.argv[2])";
    let Some(firmware) = built() else { return };
    let python = env::var_os("WAKELING_PYTHON").unwrap_or_else(|| "python3".into());
    let run = |arguments: &[&str], folder: &Path| {
        let output = Command::new(&python).args(arguments).current_dir(folder).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    };
    if run(&["-c", "import esptool, intelhex"], &firmware).is_none() {
        eprintln!("SKIP: esptool and intelhex are not installed for Python");
        return;
    }
    let machine = Machine::new(&firmware);
    let work = machine.path("work");
    for board in BOARDS.iter() {
        machine.works(board.name, &["--hex", "x.hex"]);
        let start = run(&["-c", READ_HEX, "x.hex", "x.bin"], &work).expect("it reads Intel HEX");
        let (expected, bytes) = machine.plan(board, false).0.merged();
        assert_eq!(start.trim().parse(), Ok(expected), "{}", board.name);
        assert_eq!(machine.read("x.bin"), bytes, "{}", board.name);
        if board.loader == Loader::Espflash {
            for image in [&bytes[..0x8000], &bytes[board.program.start as usize..]] {
                fs::write(work.join("image.bin"), image).expect("a file");
                let options = ["-m", "esptool", "--chip", "esp32c3", "image-info", "image.bin"];
                let shown = run(&options, &work).expect("esptool reads it");
                assert_eq!(shown.matches("(valid)").count(), 2, "{shown}");
                assert!(shown.contains("Flash size: 4MB"), "{shown}");
            }
        }
    }
}

#[test]
fn damaged_missing_and_swapped_firmware_is_refused() {
    let Some(firmware) = built() else { return };
    let machine = Machine::new(&firmware);
    let file = |name: &str| machine.path("box/firmware").join(name);
    let whole = fs::read(file("pico.hex")).expect("a file");

    let mut damaged = whole.clone();
    let at = damaged.len() / 2;
    damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
    fs::write(file("pico.hex"), &damaged).expect("a file");
    let message = machine.refused("pico");
    assert!(message.contains("pico.hex") && message.contains("./x boards"), "{message}");
    // The others are not affected.
    machine.works("pico2", &["--dry-run"]);
    machine.works("pico", &["--plain", "--dry-run"]);

    fs::rename(file("pico.hex"), file("aside")).expect("a file");
    let message = machine.refused("pico");
    assert!(message.contains("pico.hex: cannot be read"), "{message}");

    // The regions of both boards are the same, so only the sum tells them apart.
    fs::copy(file("pico2.hex"), file("pico.hex")).expect("a file");
    let message = machine.refused("pico");
    assert!(message.contains("damaged or another one"), "{message}");
    fs::copy(file("pico-plain.hex"), file("pico.hex")).expect("a file");
    machine.refused("pico");

    let manifest = fs::read_to_string(file("firmware.toml")).expect("a manifest");
    let old = manifest.replacen("version = \"", "version = \"0.0.", 1);
    fs::write(file("firmware.toml"), old).expect("a file");
    let message = machine.refused("nano33");
    assert!(message.contains("0.0.") && message.contains("archive"), "{message}");
    fs::write(file("firmware.toml"), "[[").expect("a file");
    machine.refused("nano33");

    fs::remove_dir_all(machine.path("box/firmware")).expect("the folder");
    let message = machine.refused("nano33");
    assert!(
        message.contains("WAKELING_BOARD_FIRMWARE") && message.contains("--build"),
        "{message}"
    );
    // A model needs no firmware.
    machine.works("nano33", &["--model-only", "--dry-run"]);
    let output = machine.command().args(["doctor"]).output().expect("it starts");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(report.contains("  --   firmware"), "{report}");
    // A folder elsewhere.
    let mut command = machine.command();
    command.env("WAKELING_BOARD_FIRMWARE", &firmware);
    let output = command.args(["flash", "hey.wkl", "--board", "nano33", "--dry-run"]).output();
    assert!(output.expect("it starts").status.success());
}

#[test]
fn doctor_and_boards_list_the_firmware() {
    let Some(firmware) = built() else { return };
    let machine = Machine::new(&firmware);
    let doctor = || {
        let output = machine.command().args(["doctor"]).output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let report = doctor();
    assert!(report.contains("  ok   firmware "), "{report}");
    assert!(BOARDS.iter().all(|board| report.contains(board.name)), "{report}");
    let output = machine.command().args(["boards", "--json"]).output().expect("it starts");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), BOARDS.len());
    for board in list {
        assert_eq!(board["firmware"], true, "{board}");
        assert_eq!(board["models"].as_array().map(Vec::len), Some(2), "{board}");
        assert!(board["models"].as_array().expect("models").iter().any(|m| m["fits"] == true));
    }
    fs::write(machine.path("box/firmware/pico2.hex"), "x").expect("a file");
    let report = doctor();
    assert!(report.contains("  !!   firmware ") && report.contains("pico2.hex"), "{report}");
}

/// Running program, ended with the test.
struct Studio(Child);

impl Drop for Studio {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The studio's file for a drive holds program and model, and no compiler was needed.
#[cfg(feature = "studio")]
#[test]
fn the_studio_hands_out_program_and_model() {
    let Some(firmware) = built() else { return };
    let machine = Machine::new(&firmware);
    let mut child =
        machine.command().arg("studio").stdout(Stdio::piped()).spawn().expect("it starts");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut url).expect("an address");
    let _studio = Studio(child);
    let (address, token) = url.trim().split_once("/#").expect("an address and a token");
    let begin = ureq::post(format!("{address}/api/begin"))
        .header("X-Wakeling-Token", token)
        .send(r#"{"phrase":"hey computer","language":"en","speaker":""}"#);
    begin.expect("the studio begins");
    let run = machine.path("work/runs/hey-computer");
    fs::create_dir_all(&run).expect("a folder");
    fs::copy(machine.path("work/hey.wkl"), run.join("model.wkl")).expect("a model");
    for (name, family) in [("pico", Family::Rp2040), ("pico2", Family::Rp2350ArmS)] {
        let board = Board::named(name).expect("a board");
        let answer = ureq::get(format!("{address}/api/uf2?board={name}"))
            .header("X-Wakeling-Token", token)
            .call();
        let file = answer.expect("a file").body_mut().read_to_vec().expect("bytes");
        let parts = uf2::read(&file, family).expect("UF2");
        let (plan, _) = machine.plan(board, false);
        assert!(plan.parts.iter().any(|part| part.what == "program" && part.bytes.len() > 10_000));
        assert_holds(&parts, &plan);
    }
}
