//! Tests of `wakeling doctor` with the built program, on machines where something is missing.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// Runs the program in `folder`, without ALSA's configuration, which makes its library print many
/// lines.
fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(arguments)
        .current_dir(folder)
        .env("ALSA_CONFIG_PATH", folder.join("none"))
        .env("WAKELING_MODELS", Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"))
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn optional_things_that_are_missing_are_no_failure() {
    let place = TempDir::new().expect("a folder");
    let empty = place.path().join("bin");
    fs::create_dir(&empty).expect("a folder");
    let output = run(place.path(), &["doctor"], &[("PATH", &empty)]);
    let (report, messages) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{report}{messages}");
    // Neither the program nor a sound library may print more lines.
    assert_eq!(messages, "", "{report}");
    for line in [
        "needed",
        "for recording",
        "for boards",
        "for emulation",
        "  --   compiler         there is no rustc",
        "  --   QEMU             qemu-system-arm is not installed",
    ] {
        assert!(report.lines().any(|found| found == line), "{line}: {report}");
    }
    assert!(report.contains("All that is needed is here."), "{report}");
    // A remedy that names the same command would be circular.
    assert!(!report.contains("wakeling doctor"), "{report}");
}

#[test]
fn a_damaged_pretrained_model_is_a_failure() {
    let place = TempDir::new().expect("a folder");
    fs::write(place.path().join("base-m.safetensors"), [7; 100]).expect("a file");
    let output = run(place.path(), &["doctor"], &[("WAKELING_MODELS", place.path())]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{report}");
    assert!(report.contains("  BAD  pretrained model"), "{report}");
    assert!(report.contains("Needed and missing: 1 thing."), "{report}");
    assert!(text(&output.stderr).contains("marked BAD"), "{}", text(&output.stderr));
}

#[cfg(target_os = "linux")]
#[test]
fn sound_libraries_print_nothing_where_there_is_no_microphone() {
    let place = TempDir::new().expect("a folder");
    for arguments in [&["record", "--list"][..], &["record", "hey computer"]] {
        let output = run(place.path(), arguments, &[]);
        assert!(!text(&output.stderr).contains("ALSA lib"), "{}", text(&output.stderr));
    }
}
