//! Allows `unsafe` only in the kernels of an architecture, in code that accesses a board, and in a
//! few named places of the host that call the system. Each block needs its proof.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files and folders that may contain it, with the reason.
const ALLOWED: [(&str, &str); 10] = [
    ("shared/src/engine/kernels/", "instructions of a processor"),
    ("shared/src/frontend/kernels/", "instructions of a processor"),
    ("shared/src/artifact/checksum.rs", "instructions of a processor"),
    ("firmware/boards/", "registers, symbols of the linker, semihosting"),
    ("host/src/simd.rs", "functions compiled for what the processor was found to have"),
    ("host/src/nn/ops/linear.rs", "a matrix product that takes pointers"),
    ("host/src/startup.rs", "the environment, before there are threads"),
    ("host/tests/robustness.rs", "a terminal whose other side is closed"),
    ("host/benches/pretrain_step.rs", "the clock of a thread"),
    ("host/examples/data_path.rs", "the clock of a thread"),
];
/// Crates, by their root, that forbid it, or deny it except where a file allows it.
const CLOSED: [(&str, &str); 5] = [
    ("shared/src/lib.rs", "#![deny(unsafe_code)]"),
    ("host/src/lib.rs", "#![deny(unsafe_code)]"),
    ("tests/src/lib.rs", "#![forbid(unsafe_code)]"),
    ("firmware/src/lib.rs", "#![forbid(unsafe_code)]"),
    ("xtask/src/main.rs", "#![forbid(unsafe_code)]"),
];
/// Number of lines above a block within which its proof starts.
const NEAR: usize = 12;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns every source file of the project.
fn sources() -> Vec<PathBuf> {
    let root = root();
    let mut folders =
        ["shared", "host", "tests", "firmware", "fuzz", "xtask"].map(|f| root.join(f)).to_vec();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|e| e.expect("a name").path()) {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Returns a line without its comment and its quoted text.
fn code(line: &str) -> String {
    let line = line.split("//").next().unwrap_or_default();
    line.split('"').step_by(2).collect()
}

/// Returns whether the line contains the keyword.
fn says_unsafe(code: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c| !is_part(c)).any(|word| word == "unsafe")
}

#[test]
fn unsafe_stands_only_where_it_must_and_with_its_proof() {
    let (mut blocks, mut used) = (0, [false; ALLOWED.len()]);
    for path in sources() {
        if path.ends_with(file!()) {
            continue; // The file contains the word that it searches for.
        }
        let text = fs::read_to_string(&path).expect("a source file");
        let name =
            path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = code(line);
            if !says_unsafe(&code) {
                continue;
            }
            let allowed = ALLOWED.iter().position(|(place, _)| name.starts_with(place));
            let allowed = allowed.unwrap_or_else(|| panic!("{name}:{}: unsafe", at + 1));
            used[allowed] = true;
            // A declaration is proven where it is called.
            if !code.contains("unsafe {") {
                continue;
            }
            blocks += 1;
            let near = &lines[at.saturating_sub(NEAR)..(at + 2).min(lines.len())];
            let proven = near.iter().any(|line| line.contains("SAFETY:"));
            assert!(proven, "{name}:{}: a block without its proof", at + 1);
        }
    }
    assert!(blocks > 30 && used.iter().all(|&used| used), "{blocks} blocks; unused: {used:?}");
}

#[test]
fn crates_close_the_door_to_it() {
    for (path, line) in CLOSED {
        let text = fs::read_to_string(root().join(path)).expect("the root of a crate");
        assert!(text.lines().any(|found| found == line), "{path} has no {line}");
    }
}

#[test]
fn the_word_is_found_as_a_word() {
    assert!(says_unsafe(&code("    unsafe { x() } // y")));
    assert!(says_unsafe(&code("#[unsafe(naked)]")));
    assert!(!says_unsafe(&code("let unsafe_code = \"unsafe\"; // unsafe")));
}
