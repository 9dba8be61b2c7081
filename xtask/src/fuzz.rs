//! libFuzzer on a stable compiler: what `cargo fuzz --sanitizer none` would pass.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::process::{
    Failure, TaskResult, cargo, entries, host_target, log, run as run_command, target_variable,
};

/// Compiler flags that count every branch. They are for the target alone, so that build scripts and
/// macros stay as they are.
const FLAGS: [&str; 6] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Runs fuzz targets, or all if none is named, for `seconds` each. Inputs that break one are left in
/// `fuzz/artifacts`; the others run all the same.
pub fn run(seconds: u32, targets: Vec<String>) -> TaskResult {
    let all = names(&entries(Path::new("fuzz/fuzz_targets")));
    if let Some(unknown) = targets.iter().find(|target| !all.contains(target)) {
        let all = all.join(" ");
        return Err(Failure::new(format!("unknown fuzz target: {unknown}; there are: {all}")));
    }
    let targets = if targets.is_empty() { all } else { targets };
    let host = host_target()?;
    log("building, with every branch counted");
    let mut build = cargo();
    build
        .args(["build", "--release", "--target", &host])
        .args(targets.iter().map(|target| format!("--bin={target}")))
        .current_dir("fuzz")
        .env(target_variable(&host, "RUSTFLAGS"), FLAGS.join(" "));
    run_command(&mut build)?;
    let seeds =
        ["run", "-q", "-p", "wakeling-tests", "--example", "fuzz_seeds", "--", "fuzz/corpus"];
    run_command(cargo().args(seeds))?;
    let programs = Path::new("fuzz/target").join(&host).join("release");
    let mut broken = Vec::new();
    for target in targets {
        log(&format!("{target}, {seconds} s"));
        if !holds(&programs.join(&target), &target, seconds)? {
            broken.push(target);
        }
    }
    match broken[..] {
        [] => Ok(()),
        _ => Err(Failure::new(format!(
            "broken: {}; the inputs are in fuzz/artifacts",
            broken.join(" ")
        ))),
    }
}

/// Returns whether a fuzz target took all inputs.
fn holds(program: &Path, target: &str, seconds: u32) -> TaskResult<bool> {
    let artifacts = Path::new("fuzz/artifacts").join(target);
    fs::create_dir_all(&artifacts).map_err(Failure::io(&artifacts))?;
    let mut command = Command::new(program);
    command
        .arg(Path::new("fuzz/corpus").join(target))
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    let status = command.status().map_err(Failure::io(program))?;
    Ok(status.success())
}

/// Names of sources without `.rs`.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let sources = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    sources.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_a_fuzz_target() {
        let found = names(&entries(&crate::root().join("fuzz/fuzz_targets")));
        assert!(found.len() > 10 && found.contains(&"head".to_owned()), "{found:?}");
        assert_eq!(names(&["a.rs".into(), "b.txt".into()]), ["a"]);
    }
}
