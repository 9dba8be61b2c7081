//! The Python package: a wheel of `bindings/python`, built by maturin.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    licences::notices_of,
    process::{Failure, TaskResult, entries, host_target, log, on_path, run},
    program::target_folder,
};

/// Licences of what the wheel contains, written before it is built.
const NOTICES: &str = "bindings/python/python/wakeling/THIRD-PARTY.txt";
/// Version of maturin that a virtual environment of ours gets.
const MATURIN: &str = "maturin>=1.9,<2";

/// Builds the wheel for this machine into `place`, and returns its path. One wheel serves every Python from
/// 3.9 on.
pub fn build(place: &Path) -> TaskResult<PathBuf> {
    fs::create_dir_all(place).map_err(Failure::io(place))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|e| e == "whl");
    for old in entries(place).iter().filter(|path| is_wheel(path)) {
        fs::remove_file(old).map_err(Failure::io(old))?;
    }
    let text = notices_of("wakeling-python", "bindings", &host_target()?)?;
    fs::write(NOTICES, text).map_err(Failure::io(Path::new(NOTICES)))?;
    let mut maturin = Command::new(maturin()?);
    maturin
        .args(["build", "--profile", "wheel", "--strip", "--locked", "--out"])
        .arg(place)
        .args(["--manifest-path", "bindings/python/Cargo.toml"]);
    if env::var_os("CARGO_TARGET_DIR").is_none() {
        maturin.env("CARGO_TARGET_DIR", "bindings/target");
    }
    run(&mut maturin)?;
    let wheel = entries(place).into_iter().find(is_wheel);
    let wheel = wheel.ok_or_else(|| Failure::new("maturin wrote no wheel"))?;
    log(&format!("packed {}", wheel.display()));
    Ok(wheel)
}

/// Builds the wheel for the tests, if `WAKELING_PYTHON` names a Python that can test it.
pub fn for_tests() -> TaskResult<Option<PathBuf>> {
    let python = env::var_os("WAKELING_PYTHON").map(PathBuf::from);
    let can_test = python.is_some_and(|python| {
        let output = Command::new(python).args(["-c", "import numpy, pytest"]).output();
        output.is_ok_and(|output| output.status.success())
    });
    if !can_test {
        log("SKIP: the wheel; WAKELING_PYTHON names no Python with pytest and numpy");
        return Ok(None);
    }
    let wheel = build(&target_folder().join("wheel"))?;
    wheel.canonicalize().map(Some).map_err(Failure::io(&wheel))
}

/// Returns the path of maturin: beside `WAKELING_PYTHON`, in `PATH`, or in a virtual environment, which is
/// made if it is missing.
fn maturin() -> TaskResult<PathBuf> {
    let reference = env::var_os("WAKELING_PYTHON").map(PathBuf::from);
    let beside = reference.and_then(|python| Some(python.parent()?.join("maturin")));
    if let Some(path) = beside.filter(|path| path.is_file()).or_else(|| on_path("maturin")) {
        return Ok(path);
    }
    let folder = target_folder().join("maturin");
    let program = folder.join("bin/maturin");
    if !program.is_file() {
        log("installing maturin in a virtual environment");
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(folder.join("bin/pip")).args(["install", "-q", MATURIN]))?;
    }
    Ok(program)
}
