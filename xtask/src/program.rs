//! The program `wakeling`.

use std::{env, fs, path::PathBuf};

use crate::process::{Failure, TaskResult, cargo, log, run};

/// Largest size of the program in bytes: it has 19 MB, symbols would add 4, and debug information 100.
const LIMIT: u64 = 25_000_000;

/// Folder in which cargo builds the workspace.
pub fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// Builds the program for a target, or for this machine; returns its path and its size in bytes. A large
/// program still works, so only a build for its own sake fails ([`check_size`]).
pub fn build(target: Option<&str>) -> TaskResult<(PathBuf, u64)> {
    let mut command = cargo();
    command.args(["build", "--release", "-p", "wakeling"]);
    let mut folder = target_folder();
    if let Some(target) = target {
        command.args(["--target", target]);
        folder.push(target);
    }
    run(&mut command)?;
    let is_windows = target.map_or(cfg!(windows), |target| target.contains("windows"));
    let path = folder.join("release").join(if is_windows { "wakeling.exe" } else { "wakeling" });
    let bytes = fs::metadata(&path).map_err(Failure::io(&path))?.len();
    log(&format!("built {}, {} MB", path.display(), bytes / 1_000_000));
    if let Err(failure) = check_size(bytes) {
        log(&format!("warning: {failure}"));
    }
    Ok((path, bytes))
}

/// Fails if the program has grown beyond [`LIMIT`].
pub fn check_size(bytes: u64) -> TaskResult {
    if bytes <= LIMIT {
        return Ok(());
    }
    let limit = LIMIT / 1_000_000;
    Err(Failure::new(format!(
        "the program is larger than {limit} MB, LIMIT in xtask/src/program.rs"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_beyond_the_limit_is_a_failure() {
        assert!(check_size(LIMIT).is_ok());
        assert!(check_size(LIMIT + 1).is_err());
    }
}
