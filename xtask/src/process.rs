//! Programs that the tasks run, and how they fail.

use std::{
    env,
    fmt::{self, Display},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// End of a task that did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    code: u8,
}

/// Result of a task, or of a part of it.
pub type TaskResult<T = ()> = Result<T, Failure>;

impl Failure {
    /// Creates a failure of the task itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// Returns a function that makes a failure of an error at `path`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::new(format!("{path}: {error}"))
    }

    /// Exit code: that of the program that failed, or 1.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints the step that begins.
pub fn log(text: &str) {
    eprintln!("\x1b[1m» {text}\x1b[0m");
}

/// Command for the cargo that runs this program.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end; a failure has its exit code.
pub fn run(command: &mut Command) -> TaskResult {
    let name = name(command);
    let status = command.status().map_err(Failure::io(Path::new(&name)))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(Failure { message: format!("{name} failed: {status}"), code: code.unwrap_or(1) })
}

/// Runs a command to its end and returns what it prints on stdout.
pub fn output(command: &mut Command) -> TaskResult<String> {
    let name = name(command);
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(Failure::io(Path::new(&name)))?;
    if !output.status.success() {
        return Err(Failure::new(format!("{name} failed: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| Failure::new(format!("{name}: not UTF-8")))
}

/// Name of a program and its first argument.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let first = command.get_args().next().unwrap_or_default();
    format!("{} {}", program.display(), first.display()).trim_end().to_owned()
}

/// Tests whether a program is in `PATH`.
pub fn has_program(name: &str) -> bool {
    on_path(name).is_some()
}

/// Returns the path of a program in `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Paths in a folder, in order; none if there is no such folder.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Name of the variable with the flags or the linker (`what`) of a target.
pub fn target_variable(target: &str, what: &str) -> String {
    let name: String = target
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    format!("CARGO_TARGET_{name}_{what}")
}

/// Target of this machine.
pub fn host_target() -> TaskResult<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc -vV names no host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_as_cargo_does() {
        let expected = "CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_RUSTFLAGS";
        assert_eq!(target_variable("thumbv8m.main-none-eabihf", "RUSTFLAGS"), expected);
    }

    #[test]
    fn failure_has_the_exit_code_of_its_program() {
        let failure = run(Command::new("sh").args(["-c", "exit 7"])).expect_err("it fails");
        assert_eq!(failure.code, 7);
        assert!(failure.to_string().starts_with("sh -c failed"), "{failure}");
        assert!(run(&mut Command::new("no-such-program")).is_err());
        assert_eq!(output(Command::new("sh").args(["-c", "echo a"])).as_deref(), Ok("a\n"));
    }
}
