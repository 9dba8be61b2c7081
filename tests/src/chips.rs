//! Programs of boards on doubles of their chips: `tests/chips` runs a processor core of QEMU between
//! peripherals that are described register by register. Wires are connected to the pins that
//! `docs/reference/boards.md` names, so a program and a document that disagree fail.

use std::{env, fmt::Write, fs, path::Path, process::Command};

use object::{Object, ObjectSymbol};
use serde_json::Value;
use wakeling_device::{
    board::Board,
    flash::{Plan, Source},
};

use crate::program::built;

/// Columns of the table of pins in `docs/reference/boards.md`.
const COLUMNS: [&str; 7] = ["board", "microphone", "wires", "LED", "pin", "UART", "source"];

/// Returns the cells of a board in the table of pins, by the column's name.
///
/// # Panics
/// If the document has no such row, or a table with other columns.
pub fn cells(board: &str) -> impl Fn(&str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/boards.md");
    let page = fs::read_to_string(&path).expect("docs/reference/boards.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| board | microphone |"));
    let mut rows = rows.map(|line| {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(rows.next().expect("the table of pins"), COLUMNS);
    let start = format!("`{board}`");
    let row = rows.find(|row| row[0].starts_with(&start));
    let row = row.unwrap_or_else(|| panic!("boards.md has no pins of {board}"));
    move |column| row[COLUMNS.iter().position(|name| *name == column).expect("a column")].clone()
}

/// Returns the pins of a board's button in the table of buttons in `docs/reference/boards.md`; none if
/// it has no button.
///
/// # Panics
/// If the document has no such table.
pub fn button(board: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/boards.md");
    let page = fs::read_to_string(&path).expect("docs/reference/boards.md");
    let (_, table) = page.split_once("| board | button |\n").expect("the table of buttons");
    let mut rows = table.lines().take_while(|line| line.starts_with('|'));
    let row = rows.find(|row| row.contains(&format!("`{board}`")));
    row.map_or_else(Vec::new, pins)
}

/// Returns pins named in a cell, in order, each with the word before it: `TX, PA2; RX, PA3` gives
/// TX PA2 and RX PA3.
pub fn pins(cell: &str) -> Vec<(String, String)> {
    let words: Vec<&str> =
        cell.split([' ', ',', ';', '(', ')']).filter(|w| !w.is_empty()).collect();
    let pairs = words.windows(2).filter(|pair| is_pin(pair[1]));
    let mut found: Vec<_> = pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
    if let Some(first) = words.first().filter(|word| is_pin(word)) {
        found.insert(0, (String::new(), (*first).to_owned()));
    }
    found
}

/// Returns whether a word names a pin of a chip: PB10, P0.26, GP10 or GPIO4.
pub fn is_pin(word: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let number = word.strip_prefix("GPIO").or_else(|| word.strip_prefix("GP"));
    let nordic = word.strip_prefix("P0.").or_else(|| word.strip_prefix("P1."));
    let port =
        word.strip_prefix('P').and_then(|w| w.strip_prefix(|c: char| ('A'..='I').contains(&c)));
    [number, nordic, port].into_iter().flatten().any(digits)
}

/// Returns the cell with the wires of a board's microphone. The Pico 2 has those of the Pico.
pub fn wires_cell(board: &str) -> String {
    match &cells(board)("wires")[..] {
        "as `pico`" => cells("pico")("wires"),
        own => own.to_owned(),
    }
}

/// Returns the wires of a board, `purpose=pin`, as the document names them.
fn wires(board: &str) -> Vec<String> {
    let cell = cells(board);
    let mut wires: Vec<String> = Vec::new();
    for (purpose, pin) in [pins(&wires_cell(board)), pins(&cell("UART"))].concat() {
        wires.push(format!("{}={pin}", purpose.to_lowercase()));
    }
    for (purpose, pin) in pins(&cell("LED")) {
        let purpose = if purpose == "column" { "column" } else { "led" };
        wires.push(format!("{purpose}={pin}"));
    }
    let [.., (_, pin)] = &pins(&cell("pin"))[..] else { panic!("{board} has no pin") };
    wires.push(format!("pin={pin}"));
    wires
}

/// A board whose chip has a double.
pub struct Double {
    board: &'static Board,
    /// First address of the flash, and its size.
    flash: (u32, usize),
    program: Vec<u8>,
    folder: tempfile::TempDir,
}

/// Conditions from power-on to power-off.
#[derive(Clone, Copy)]
pub struct PowerOn<'r> {
    /// Contents of the flash when the power comes.
    pub flash: &'r [u8],
    /// Sound at the microphone.
    pub pcm: &'r [i16],
    /// Time after which the power goes.
    pub seconds: f64,
    /// Frames that the host sends, each after the reply to the one before.
    pub requests: &'r [u8],
    /// Further options of `tests/chips/run.py`.
    pub options: &'r [&'r str],
}

/// What a board did in one run.
pub struct BoardReport {
    /// Report of `tests/chips/run.py`.
    pub report: Value,
    /// Words or samples that DMA delivered, in order.
    pub words: Vec<u16>,
    /// Contents of the flash at the end.
    pub flash: Vec<u8>,
}

impl BoardReport {
    /// Text that the board sent.
    pub fn text(&self) -> &str {
        self.report["text"].as_str().unwrap_or_default()
    }

    /// A number of the report.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn number(&self, name: &str) -> f64 {
        self.report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {}", self.report))
    }

    /// Times in seconds at which an output got another level, with the level.
    pub fn edges(&self, name: &str) -> Vec<(f64, bool)> {
        let log = self.report["pins"].as_array().map_or(&[][..], |log| log);
        let own = log.iter().filter(|entry| entry[1] == name);
        own.filter_map(|entry| Some((entry[0].as_f64()?, entry[2].as_u64()? == 1))).collect()
    }
}

impl Double {
    /// Returns the double of a board, after building its program. Without Python's packages or the
    /// compiler's target it prints that the test is skipped, and returns `None`.
    ///
    /// # Panics
    /// If the board is unknown, or its program does not compile.
    pub fn new(name: &str, flash: (u32, usize)) -> Option<Self> {
        let board = Board::named(name).expect("a board");
        let found = Command::new(python()).args(["-c", "import unicorn, numpy"]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIP: no Python with unicorn and numpy");
            return None;
        }
        let program = fs::read(built(board)?).expect("the program can be read");
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { board, flash, program, folder })
    }

    /// Returns the flash of a board after `wakeling flash` has written program and model.
    ///
    /// # Panics
    /// If model or program do not fit.
    pub fn flashed(&self, model: &[u8]) -> Vec<u8> {
        let (start, bytes) = self.flash;
        let mut flash = vec![0xFF; bytes];
        let [program, model] =
            [&self.program[..], model].map(|bytes| Source { path: Path::new("test"), bytes });
        let plan = Plan::new(self.board, Some(program), model, false).expect("it fits");
        for part in plan.parts {
            let at = (part.address - start) as usize;
            flash[at..at + part.bytes.len()].copy_from_slice(&part.bytes);
        }
        flash
    }

    fn symbols(&self) -> String {
        let file = object::File::parse(&*self.program).expect("an ELF file");
        let mut lines = String::new();
        let functions =
            file.symbols().filter(|s| s.kind() == object::SymbolKind::Text && s.size() > 0);
        for symbol in functions {
            let name = symbol.name().unwrap_or("?");
            let _ = writeln!(lines, "{} {} {name}", symbol.address(), symbol.size());
        }
        lines
    }

    /// Runs the board from power-on to power-off.
    ///
    /// # Panics
    /// If the double cannot be run, or if the program does what its chip does not allow.
    pub fn run(&self, run: PowerOn<'_>) -> BoardReport {
        let outcome = self.try_run(run);
        assert!(outcome.report["failure"].is_null(), "{}: {}", self.board.name, outcome.report);
        outcome
    }

    /// Runs the board; the report may have a failure.
    ///
    /// # Panics
    /// If the double cannot be run.
    pub fn try_run(&self, run: PowerOn<'_>) -> BoardReport {
        let path = |name: &str| self.folder.path().join(name);
        let pcm: Vec<u8> = run.pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let inputs = [
            ("flash", run.flash.to_vec()),
            ("sound", pcm),
            ("requests", run.requests.to_vec()),
            ("symbols", self.symbols().into_bytes()),
        ];
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("chips/run.py");
        let mut command = Command::new(python());
        command.arg(script).arg(self.board.name).args(["--seconds", &run.seconds.to_string()]);
        for (name, bytes) in inputs {
            fs::write(path(name), bytes).expect("the file can be written");
            command.arg(format!("--{name}")).arg(path(name));
        }
        for wire in wires(self.board.name) {
            command.args(["--wire", &wire]);
        }
        command.arg("--words").arg(path("words")).arg("--flash-out").arg(path("flash-out"));
        let output = command.args(run.options).output().expect("Python runs");
        let report = serde_json::from_slice(&output.stdout);
        let report =
            report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        let words = fs::read(path("words")).expect("the words");
        let words = words.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word)).collect();
        BoardReport { report, words, flash: fs::read(path("flash-out")).expect("the flash") }
    }
}

fn python() -> String {
    env::var("WAKELING_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// An operation of a chip's flash.
#[derive(Clone, Debug)]
pub struct FlashOperation {
    offset: usize,
    /// Bytes that are written; `None` for an erase.
    bytes: Option<Vec<u8>>,
    length: usize,
}

impl FlashOperation {
    /// Returns whether a page is erased.
    pub fn is_erase(&self) -> bool {
        self.bytes.is_none()
    }

    /// Does the whole operation to a copy of the flash.
    pub fn apply(&self, flash: &mut [u8]) {
        self.change(flash, self.length, 0xFF);
    }

    /// Does it as far as the power lasted: half of a page is erased, half of a word's bits written.
    pub fn tear(&self, flash: &mut [u8]) {
        self.change(flash, self.length / if self.is_erase() { 2 } else { 1 }, 0x55);
    }

    /// Changes the first `length` bytes, and of those that are written only the bits of `mask`.
    fn change(&self, flash: &mut [u8], length: usize, mask: u8) {
        let cells = &mut flash[self.offset..][..length];
        match &self.bytes {
            None => cells.fill(0xFF),
            Some(bytes) => {
                cells.iter_mut().zip(bytes).for_each(|(cell, byte)| *cell &= byte | !mask)
            }
        }
    }
}

impl BoardReport {
    /// Operations of the flash, in order.
    ///
    /// # Panics
    /// If the report has none in its form.
    pub fn flash_operations(&self) -> Vec<FlashOperation> {
        let log = self.report["flash"].as_array().expect("a list");
        log.iter()
            .map(|entry| {
                let offset = entry[1].as_u64().expect("an offset") as usize;
                match entry[2].as_str() {
                    Some(hex) => {
                        let digits =
                            |n: usize| u8::from_str_radix(&hex[n..n + 2], 16).expect("digits");
                        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
                        FlashOperation { offset, length: bytes.len(), bytes: Some(bytes) }
                    }
                    None => {
                        let length = entry[2].as_u64().expect("a length") as usize;
                        FlashOperation { offset, length, bytes: None }
                    }
                }
            })
            .collect()
    }
}
