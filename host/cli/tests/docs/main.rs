//! Checks the documents against the tree: links have targets, every page can be reached, and the
//! program accepts every command that a page shows.

mod commands;
mod links;
mod markdown;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Root of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository is where it was built")
}

/// Lists the files below `folder`, relative to the root and in order, without hidden and generated
/// ones.
fn files(folder: &str, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let (root, mut found, mut folders) = (root(), Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be listed") {
            let entry = entry.expect("the folder can be listed");
            let (name, path) = (entry.file_name(), entry.path());
            let kind = entry.file_type().expect("the entry has a type");
            let built = ["target", "runs", "recordings", "corpus", "artifacts"];
            if name.to_string_lossy().starts_with('.') || built.iter().any(|built| name == *built) {
                continue;
            }
            let relative = path.strip_prefix(&root).expect("it lies below the root");
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && wanted(relative) {
                found.push(relative.to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Lists every Markdown file of the repository.
fn pages() -> Vec<PathBuf> {
    files("", |path| path.extension().is_some_and(|extension| extension == "md"))
}

/// Reads a file, given relative to the root.
fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Fails with one line per defect.
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "{} faults:\n{}", problems.len(), problems.join("\n"));
}
