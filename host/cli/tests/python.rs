//! Test of the Python package against the program: its own tests, in `bindings/python/tests`, get
//! models, a recording and damaged models. `./x test` builds the wheel and names it in
//! `WAKELING_WHEEL` where `WAKELING_PYTHON` names a Python with pytest and numpy. Skipped, with a
//! message, where one of them is missing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use wakeling_tests::bindings::{write_damaged, write_models, write_sound};

#[test]
fn tests_of_the_package_pass() {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(python), Some(wheel)) = (variable("WAKELING_PYTHON"), variable("WAKELING_WHEEL"))
    else {
        eprintln!("SKIP: no wheel; `./x test` builds it where WAKELING_PYTHON names a Python");
        return;
    };
    let place = tempfile::tempdir().expect("a temporary folder");
    let files = place.path().join("files");
    std::fs::create_dir(&files).expect("a folder");
    write_models(&files);
    write_sound(&files);
    write_damaged(&files.join("damaged"));
    let installed = place.path().join("installed");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]);
    run(pip.arg(&installed).arg(&wheel));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bindings/python/tests");
    let mut pytest = Command::new(&python);
    pytest
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(tests)
        .env("PYTHONPATH", &installed)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("WAKELING_PROGRAM", env!("CARGO_BIN_EXE_wakeling"))
        .env("WAKELING_MODELS", &files)
        .current_dir(place.path());
    run(&mut pytest);
}

/// Runs a command, whose output is shown if it fails.
fn run(command: &mut Command) {
    let output = command.output().expect("Python starts");
    let [out, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{out}\n{errors}");
    println!("{}", out.lines().last().unwrap_or_default());
}
