//! Licences of the crates in the program, the C library, and the packages of other languages.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    process::{Failure, TaskResult, cargo, entries, output},
    table::Board,
};

/// Starts of names of files with a licence, in capitals.
const LICENCES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// Names and licences of all crates in the program for a target.
pub fn third_party(target: &str) -> TaskResult<String> {
    notices_of("wakeling", ".", target)
}

/// Names and licences of all crates in the firmware of boards, and that of an ESP32's bootloader.
pub fn firmware_notices(boards: &[&Board]) -> TaskResult<String> {
    const BOOTLOADER: &str = "esp32-c3.bin begins with Espressif's bootloader, built from ESP-IDF \
                              (https://github.com/espressif/esp-idf), which the crate espflash has. \
                              Its licence: Apache-2.0.\n\n";
    let mut all = BTreeSet::new();
    for board in boards {
        let package = format!("wakeling-{}", board.name);
        all.extend(crates_of(&package, "firmware/boards", &board.target)?);
    }
    Ok(BOOTLOADER.to_owned() + &with_texts(&all)?)
}

/// Names and licences of all crates in a package of the workspace in `folder`, for a target.
pub fn notices_of(package: &str, folder: &str, target: &str) -> TaskResult<String> {
    with_texts(&crates_of(package, folder, target)?)
}

/// Name and licence of each crate in a package of the workspace in `folder`, for a target.
fn crates_of(package: &str, folder: &str, target: &str) -> TaskResult<BTreeSet<(String, String)>> {
    let mut tree = cargo();
    tree.args(["tree", "-p", package, "-e", "normal", "--prefix", "none"]).current_dir(folder);
    tree.args(["--format", "{p}|{l}", "--target", target]);
    Ok(crates(&output(&mut tree)?))
}

/// Lists crates with the texts of their licences.
fn with_texts(crates: &BTreeSet<(String, String)>) -> TaskResult<String> {
    if crates.is_empty() {
        return Err(Failure::new("cargo tree lists no crate of another project"));
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let sources = entries(&home.unwrap_or_default().join("registry/src"));
    let texts = |package: &str| {
        let folders: Vec<_> = sources.iter().map(|source| source.join(package)).collect();
        folders.iter().flat_map(|folder| licence_texts(folder)).collect()
    };
    Ok(notices(crates, texts))
}

/// Parses lines such as `serde v1.0.229|MIT OR Apache-2.0`; crates of this repository have a path.
fn crates(tree: &str) -> BTreeSet<(String, String)> {
    let parse = |line: &str| {
        let (package, licence) = line.split_once('|')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let is_ours = words.any(|word| word.contains('/'));
        let licence = licence.trim_end_matches("(*)").trim();
        (!is_ours).then(|| (format!("{name}-{version}"), licence.to_owned()))
    };
    tree.lines().filter_map(parse).collect()
}

/// Returns the texts of the licences in the folder of a crate.
fn licence_texts(folder: &Path) -> Vec<String> {
    let is_licence = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        LICENCES.iter().any(|start| name.starts_with(start))
    };
    let files = entries(folder);
    files.iter().filter(is_licence).filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// Lists crates, then each text once with the crates that have it.
fn notices(crates: &BTreeSet<(String, String)>, texts: impl Fn(&str) -> Vec<String>) -> String {
    let mut out = String::from("Crates of others in this, with their licences:\n\n");
    let mut holders = BTreeMap::<String, Vec<&str>>::new();
    for (package, licence) in crates {
        let found = texts(package);
        let remark = if found.is_empty() { " (the package has no text of it)" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{package}: {licence}{remark}");
        for text in found {
            holders.entry(text.trim().to_owned()).or_default().push(package);
        }
    }
    for (text, packages) in holders {
        let _ = write!(out, "\n{}\n{}:\n\n{text}\n", "=".repeat(80), packages.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_other_projects_are_listed_with_their_licences() {
        let tree = "wakeling v0.1.0 (/src/host)|MIT OR Apache-2.0\n\
                    serde v1.0.229|MIT OR Apache-2.0\nserde v1.0.229|MIT OR Apache-2.0 (*)\n\
                    derive v1.2.3 (proc-macro)|Zlib\n";
        let crates = crates(tree);
        let names: Vec<_> = crates.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["derive-1.2.3", "serde-1.0.229"]);
        let texts = |package: &str| match package {
            "serde-1.0.229" => vec!["Permission is granted\n".to_owned()],
            _ => Vec::new(),
        };
        let notices = notices(&crates, texts);
        assert!(notices.contains("derive-1.2.3: Zlib (the package has no text of it)\n"));
        assert!(notices.contains("serde-1.0.229: MIT OR Apache-2.0\n"));
        assert!(notices.ends_with("serde-1.0.229:\n\nPermission is granted\n"), "{notices}");
    }

    #[test]
    fn texts_are_found_by_their_names() {
        let texts = licence_texts(crate::root());
        assert_eq!(texts.len(), 2, "this repository has two licences");
        assert!(texts.iter().any(|text| text.contains("Apache License")));
    }
}
