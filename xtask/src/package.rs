//! Checks what `cargo publish` would upload: each crate's package, with its licences and below the limit.

use std::{fs, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use crate::process::{Failure, TaskResult, cargo, entries, log, output};

/// Size of the largest package that crates.io accepts, in bytes. It applies to the compressed package; the
/// check adds up the files themselves.
const LARGEST_BYTES: u64 = 10 << 20;
/// Files that every package contains.
const REQUIRED: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// Lists the package of every published crate, and fails if one could not be published.
pub fn run() -> TaskResult {
    log("packages");
    let mut problems = Vec::new();
    for folder in [Path::new("shared").to_owned()].into_iter().chain(entries(Path::new("host"))) {
        let Some(package) = Package::read(&folder)? else { continue };
        let (files, kilobytes) = (package.files.len(), package.bytes().div_ceil(1_000));
        eprintln!("{:18} {files:3} files {kilobytes:5} KB", package.name);
        problems.extend(package.problems());
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(problems.join("\nx: "))) }
}

/// Files of a package, and what crates.io wants to know of it.
#[derive(Debug, Default)]
struct Package {
    name: String,
    has_description: bool,
    /// Dependencies on crates of the workspace without a version.
    unversioned: Vec<String>,
    /// Path and size in bytes.
    files: Vec<(String, u64)>,
}

impl Package {
    /// Reads the manifest in `folder` and lists the package; `None` if the crate is not published.
    fn read(folder: &Path) -> TaskResult<Option<Self>> {
        let path = folder.join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let workspace = fs::read_to_string("Cargo.toml").map_err(Failure::io(&path))?;
        let Some(mut package) = Self::of_manifest(&text, &workspace)? else { return Ok(None) };
        let mut list = cargo();
        list.args(["package", "--quiet", "--list", "--allow-dirty", "-p", &package.name]);
        // The manifest before its conversion and other files are made while packing.
        let size = |file: &str| fs::metadata(folder.join(file)).map_or(0, |file| file.len());
        package.files =
            output(&mut list)?.lines().map(|file| (file.to_owned(), size(file))).collect();
        Ok(Some(package))
    }

    /// Reads a manifest, and the one of the workspace from which it inherits.
    fn of_manifest(text: &str, workspace: &str) -> TaskResult<Option<Self>> {
        let parse = |text: &str| {
            toml::from_str::<Manifest>(text).map_err(|error| Failure::new(error.to_string()))
        };
        let (manifest, root) = (parse(text)?, parse(workspace)?);
        let Some(package) = manifest.package.filter(|package| package.publish != Some(false))
        else {
            return Ok(None);
        };
        let shared = root.workspace.unwrap_or_default().dependencies;
        let is_unversioned = |(name, value): (&String, &Value)| {
            let inherits = value.get("workspace").is_some();
            let entry = if inherits { shared.get(name) } else { Some(value) };
            let entry = entry.filter(|entry| entry.get("path").is_some());
            entry.is_some_and(|entry| entry.get("version").is_none())
        };
        let names = manifest.dependencies.iter().filter(|entry| is_unversioned(*entry));
        Ok(Some(Self {
            unversioned: names.map(|(name, _)| name.clone()).collect(),
            has_description: package.description.is_some_and(|text| !text.is_empty()),
            name: package.name,
            files: Vec::new(),
        }))
    }

    /// Sum of the sizes of all files, in bytes.
    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Describes what keeps the package from being published.
    fn problems(&self) -> Vec<String> {
        let Self { name, files, .. } = self;
        let is_missing =
            |required: &&str| !files.iter().any(|(file, bytes)| file == required && *bytes > 0);
        let missing = REQUIRED.iter().filter(|required| is_missing(required));
        let mut problems: Vec<String> =
            missing.map(|file| format!("{name}: its package has no {file}")).collect();
        let unversioned = self.unversioned.iter();
        problems
            .extend(unversioned.map(|other| format!("{name}: {other} is given without a version")));
        if !self.has_description {
            problems.push(format!("{name}: it has no description"));
        }
        if self.bytes() > LARGEST_BYTES {
            let bytes = self.bytes();
            problems.push(format!("{name}: {bytes} bytes, and crates.io takes {LARGEST_BYTES}"));
        }
        problems
    }
}

#[derive(Deserialize)]
struct Manifest {
    package: Option<Description>,
    workspace: Option<Workspace>,
    #[serde(default)]
    dependencies: Table,
}

#[derive(Deserialize)]
struct Description {
    name: String,
    description: Option<String>,
    publish: Option<bool>,
}

#[derive(Default, Deserialize)]
struct Workspace {
    #[serde(default)]
    dependencies: Table,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "[workspace.dependencies]\na = { path = \"a\", version = \"1\" }\n\
                             b = { path = \"b\" }\nc = \"1\"\n";

    fn manifest(package: &str, dependencies: &str) -> Option<Package> {
        let text = format!("[package]\nname = \"n\"\n{package}\n[dependencies]\n{dependencies}\n");
        Package::of_manifest(&text, WORKSPACE).expect("a manifest")
    }

    fn problems(files: &[(&str, u64)]) -> Vec<String> {
        let mut package = manifest("description = \"d\"", "").expect("a package");
        package.files = files.iter().map(|(file, bytes)| (file.to_string(), *bytes)).collect();
        package.problems()
    }

    #[test]
    fn complete_package_has_no_problem() {
        let files =
            [("LICENSE-APACHE", 9), ("LICENSE-MIT", 9), ("README.md", 9), ("src/lib.rs", 0)];
        assert_eq!(problems(&files), [""; 0]);
    }

    #[test]
    fn finds_missing_licence_and_excess_size() {
        let files = [("LICENSE-APACHE", 0), ("README.md", 9), ("big.bin", LARGEST_BYTES)];
        let expected = [
            "n: its package has no LICENSE-APACHE",
            "n: its package has no LICENSE-MIT",
            "n: 10485769 bytes, and crates.io takes 10485760",
        ];
        assert_eq!(problems(&files), expected);
    }

    #[test]
    fn finds_dependency_without_version() {
        let dependencies =
            "a.workspace = true\nb = { workspace = true, features = [] }\nc.workspace = true";
        let package = manifest("", dependencies).expect("a package");
        assert_eq!(package.unversioned, ["b"]);
        assert!(!package.has_description);
        assert!(manifest("publish = false", "").is_none());
    }
}
