//! The order of crates and modules: imports run one way, and only the program knows its command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Crates of the product from the lowest layer to the highest. A crate may import those before it.
const LAYERS: [&str; 14] = [
    "wakeling-shared",
    "wakeling-core",
    "wakeling-page",
    "wakeling-audio",
    "wakeling-device",
    "wakeling-interop",
    "wakeling-serve",
    "wakeling-data",
    "wakeling-nn",
    "wakeling-train",
    "wakeling-vision",
    "wakeling-capture",
    "wakeling-studio",
    "wakeling",
];
/// Packages that only the program may depend on.
const PROGRAM_ONLY: [&str; 3] = ["clap", "clap_complete", "clap_mangen"];

/// Dependencies by crate, and folder by crate.
struct Workspace {
    dependencies: BTreeMap<String, Vec<String>>,
    folders: BTreeMap<String, PathBuf>,
}

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (mut dependencies, mut folders) = (BTreeMap::new(), BTreeMap::new());
        for package in metadata["packages"].as_array().expect("packages") {
            let name = text(&package["name"]);
            // Dependencies of tests may point upwards: they are in no product.
            let used = package["dependencies"].as_array().expect("dependencies").iter();
            let used = used.filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect();
            let folder = PathBuf::from(text(&package["manifest_path"]));
            folders.insert(name.clone(), folder.parent().expect("a folder").to_owned());
            dependencies.insert(name, used);
        }
        Self { dependencies, folders }
    }
}

#[test]
fn crates_import_only_lower_layers() {
    let workspace = Workspace::read();
    let layer = |name: &str| LAYERS.iter().position(|known| *known == name);
    for (at, name) in LAYERS.iter().enumerate() {
        let used = workspace.dependencies.get(*name).unwrap_or_else(|| panic!("no crate {name}"));
        for dependency in used {
            let below = layer(dependency).is_none_or(|other| other < at);
            assert!(below, "{name} depends on {dependency}, which is not below it");
        }
    }
    // Every crate in `host` has a layer.
    for (name, folder) in &workspace.folders {
        let is_host = folder.parent().is_some_and(|parent| parent.ends_with("host"));
        assert!(!is_host || layer(name).is_some(), "{name} has no layer");
    }
}

/// Libraries, each with errors of its own.
const LIBRARIES: [&str; 11] = [
    "core", "audio", "data", "nn", "device", "interop", "serve", "train", "vision", "capture",
    "studio",
];

/// The program adds what a user can do; a library states only the problem.
#[test]
fn libraries_state_problems_only() {
    for name in LIBRARIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host").join(name).join("src");
        for (path, text) in sources(&folder) {
            // They are the verdict on a phrase, which is a result and no error.
            let exempt = ["data/src/phrase.rs", "phrase/obstacle.rs", "phrase/tests.rs"];
            if !exempt.iter().any(|end| path.ends_with(end)) {
                assert!(!text.to_lowercase().contains("remedy"), "{}", path.display());
            }
        }
    }
}

/// Reads the sources in a folder and those below it.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            found.push((path, text));
        }
    }
    found
}

#[test]
fn only_the_program_depends_on_the_command_line() {
    let workspace = Workspace::read();
    for name in LAYERS.iter().filter(|name| **name != "wakeling") {
        let used = &workspace.dependencies[*name];
        let found = used.iter().find(|dependency| PROGRAM_ONLY.contains(&dependency.as_str()));
        assert!(found.is_none(), "{name} depends on {found:?}");
    }
}

/// Returns the top-level modules that each top-level module of a crate imports, tests left out.
fn imports(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let source = folder.join("src");
    let (mut found, mut folders) = (BTreeMap::new(), vec![source.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a name").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&source).expect("below the source");
            let first = inside.iter().next().expect("a name").to_string_lossy();
            let module = first.trim_end_matches(".rs").to_owned();
            let is_test = inside.iter().any(|part| part.to_string_lossy().starts_with("tests"));
            if path.extension().is_none_or(|e| e != "rs")
                || is_test
                || ["lib", "main"].contains(&&*module)
            {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file");
            let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let used: &mut BTreeSet<String> = found.entry(module.clone()).or_default();
            used.extend(used_modules(own).into_iter().filter(|used| *used != module));
        }
    }
    found
}

/// Returns the first segment after each `crate::`, also of those in braces. Comments do not count.
fn used_modules(source: &str) -> Vec<String> {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(first_segments(group));
        } else {
            found.push(name(rest));
        }
    }
    found
}

/// Returns the first segment of each path in the rest of a group, which ends at its closing brace.
fn first_segments(group: &str) -> Vec<String> {
    let (mut found, mut depth, mut is_start) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && !c.is_whitespace() => {
                found.push(name(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    found
}

fn name(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Returns a cycle of modules, if there is one.
fn cycle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit<'m>(
        module: &'m str,
        imports: &'m BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<&'m str>,
        done: &mut BTreeSet<&'m str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|seen| *seen == module) {
            return Some(path[start..].iter().map(|&m| m.to_owned()).collect());
        }
        if !done.insert(module) {
            return None;
        }
        path.push(module);
        let used = imports.get(module).into_iter().flatten();
        let found =
            used.filter(|m| imports.contains_key(*m)).find_map(|m| visit(m, imports, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| visit(module, imports, &mut Vec::new(), &mut done))
}

#[test]
fn modules_of_a_crate_have_no_cycle() {
    let workspace = Workspace::read();
    let mut modules = 0;
    for name in LAYERS {
        let imports = imports(&workspace.folders[name]);
        modules += imports.len();
        let cycle = cycle(&imports);
        assert!(cycle.is_none(), "{name}: {cycle:?}");
    }
    assert!(modules > 60, "only {modules} modules were found");
}

#[test]
fn cycles_are_found() {
    let graph = |edges: &[(&str, &[&str])]| {
        let entry = |(from, to): &(&str, &[&str])| {
            (from.to_string(), to.iter().map(|t| (*t).to_owned()).collect())
        };
        edges.iter().map(entry).collect::<BTreeMap<_, _>>()
    };
    let chain = graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
    assert_eq!(cycle(&chain), None);
    let ring = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
    assert_eq!(cycle(&ring), Some(vec!["b".to_owned(), "c".to_owned()]));
}

#[test]
fn imports_are_found_in_paths_and_in_groups() {
    let source = "use crate::{Error, text::{nfc, clean}, table};\n// crate::comment\n\
                  fn f() { crate::loader::load() }";
    assert_eq!(used_modules(source), ["Error", "text", "table", "loader"]);
}
