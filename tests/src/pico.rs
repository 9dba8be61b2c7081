//! The Raspberry Pi Pico in an emulator of its whole chip, rp2040js, which `tests/pico` drives. It runs
//! the board's own program from the file that `wakeling flash --uf2` writes.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use wakeling_device::{
    board::{Board, Family},
    flash::{Plan, shipped::Firmware, uf2},
};

use crate::program::built;

/// Folder of the package rp2040js. `.ci/run` installs it and sets the variable.
const PACKAGE: &str = "WAKELING_RP2040JS";

/// Emulator, program and a folder for files.
pub struct Pico {
    board: &'static Board,
    firmware: Firmware,
    place: TempDir,
}

impl Pico {
    /// Returns the emulator, after building the board's program. Prints that the test is skipped and returns
    /// `None` if the package or the compiler's target is missing.
    ///
    /// # Panics
    /// If the program does not compile.
    pub fn available() -> Option<Self> {
        if env::var_os(PACKAGE).is_none() {
            eprintln!("SKIP: no {PACKAGE}, the folder of the npm package rp2040js");
            return None;
        }
        let board = Board::named("pico").expect("a board");
        let firmware = Firmware::read(&built(board)?).expect("the program can be read");
        Some(Self { board, firmware, place: TempDir::new().expect("a folder") })
    }

    /// Returns a path for a file of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Writes samples as a file, and returns its path.
    pub fn sound(&self, name: &str, pcm: &[i16]) -> PathBuf {
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let path = self.path(name);
        fs::write(&path, bytes).expect("samples");
        path
    }

    /// Writes the file for the board's drive, program and model, as `wakeling flash --board pico
    /// --uf2` does, and returns its path.
    pub fn uf2(&self, name: &str, model: &[u8]) -> PathBuf {
        let file = self.path(&format!("{name}.wkl"));
        fs::write(&file, model).expect("a model");
        let plan = Plan::of_files(self.board, Some(&self.firmware), &file, false).expect("it fits");
        let path = self.path(&format!("{name}.uf2"));
        fs::write(&path, uf2::write(&plan, Family::Rp2040)).expect("a file");
        path
    }

    /// Runs a command of `tests/pico/main.mjs` and returns its result.
    pub fn run(&self, command: &str, scenario: &Value) -> Value {
        Session::start(self, command, scenario).finish()
    }
}

/// Command of the emulator that runs.
pub struct Session {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Session {
    /// Starts a command.
    pub fn start(pico: &Pico, command: &str, scenario: &Value) -> Self {
        let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("pico/main.mjs");
        let file = tempfile::NamedTempFile::new_in(pico.place.path()).expect("a file");
        let (_, path) = file.keep().expect("a file");
        fs::write(&path, scenario.to_string()).expect("a scenario");
        let mut node = Command::new("node");
        node.arg(main).arg(command).arg(path).stdout(Stdio::piped());
        let mut child = node.spawn().expect("Node.js starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    /// Returns the next line of output, parsed.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("the emulator failed: {e}: {line:?}"))
    }

    /// Returns the last line of output.
    pub fn finish(mut self) -> Value {
        let result = self.line();
        assert!(self.child.wait().expect("it ends").success());
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // After a failed assertion it may still run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the lines that the board printed.
pub fn lines(result: &Value) -> Vec<String> {
    let lines = result["lines"].as_array().expect("lines");
    lines.iter().map(|line| line["text"].as_str().expect("a text").to_owned()).collect()
}

/// Returns the moments in seconds at which an output went high and low.
pub fn pulses(result: &Value, name: &str) -> Vec<(f64, f64)> {
    let edges = result["edges"].as_array().expect("edges");
    let of_this: Vec<_> = edges.iter().filter(|edge| edge["name"] == json!(name)).collect();
    let at = |edge: &Value| edge["at"].as_f64().expect("a number");
    let pairs = of_this.chunks_exact(2);
    assert!(pairs.remainder().is_empty(), "{name} stays high: {edges:?}");
    let pulse = |pair: &[&Value]| {
        assert_eq!((&pair[0]["isHigh"], &pair[1]["isHigh"]), (&json!(true), &json!(false)));
        (at(pair[0]), at(pair[1]))
    };
    pairs.map(pulse).collect()
}
