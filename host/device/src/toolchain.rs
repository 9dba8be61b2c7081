//! Rust's compiler on this machine: targets of boards, and rustup, which adds them.
//!
//! `./x` does the same in `scripts/needs.sh` before it compiles.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, Result};

/// Returns the path of `program` in `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Returns the first line that a program prints, if it succeeds.
pub fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// Folder of the compiler with its libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysroot(PathBuf);

impl Sysroot {
    /// Asks `rustc` in `PATH`; `None` if there is no compiler.
    pub fn find() -> Option<Self> {
        let path = first_line("rustc", &["--print", "sysroot"])?;
        Some(Self(path.into()))
    }

    /// Tests whether the standard library of `target` is installed.
    pub fn has(&self, target: &str) -> bool {
        self.0.join("lib/rustlib").join(target).join("lib").is_dir()
    }
}

/// Command that adds a target.
pub fn add_command(target: &str) -> String {
    format!("rustup target add {target}")
}

/// Adds `target` with rustup if the compiler lacks it. Needs no rights. rustup's messages go to stderr.
///
/// # Errors
/// [`Error::NoCompiler`]; [`Error::TargetNotAdded`] and [`Error::NoRustup`] if the target is missing.
pub fn need_target(target: &str) -> Result<()> {
    let Some(sysroot) = Sysroot::find() else { return Err(Error::NoCompiler) };
    if sysroot.has(target) {
        return Ok(());
    }
    let command = add_command(target);
    log::info!("the compiler lacks the target {target}; adding it: {command}");
    let added = Command::new("rustup")
        .args(["target", "add", target])
        .stdin(Stdio::null())
        // stdout is data.
        .stdout(io::stderr())
        .status();
    let target = target.to_owned();
    match added {
        Ok(_) if sysroot.has(&target) => Ok(()),
        Ok(status) => Err(Error::TargetNotAdded { target, status }),
        Err(source) => Err(Error::NoRustup { target, source }),
    }
}

/// Tests whether Debian's compiler is here with the source of `core`, which `./x firmware` builds for the
/// emulated boards where a target is missing.
pub fn has_debian_sources() -> bool {
    Path::new("/usr/lib/rustlib/src/rust/library").is_dir() && on_path("rustc").is_some()
}
