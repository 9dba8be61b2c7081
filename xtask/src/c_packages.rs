//! Packages of the C library: for any C program, for Arduino, ESP-IDF and Zephyr.
//!
//! Each is a ZIP file with one folder, which has the header, the archives that its build files choose from, and
//! the licences.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    archives::{ARCHIVES, Archive, HEADER},
    licences::notices_of,
    process::{Failure, TaskResult, entries, host_target, log},
    release::VERSION,
};

/// File in a package: its path there, and its bytes.
type Entry = (String, Vec<u8>);

/// A kind of package.
struct Package {
    /// Start of its file's name.
    name: &'static str,
    /// Folder inside.
    folder: &'static str,
    /// Folder of its files in the repository.
    source: &'static str,
    /// Path of the header.
    header: &'static str,
    /// Folders of an archive; none for one that it does not contain.
    places: fn(&Archive) -> Vec<String>,
}

/// Folder `lib/NAME`, if the package contains the archive.
fn lib(archive: &Archive, is_contained: bool) -> Vec<String> {
    is_contained.then(|| format!("lib/{}", archive.name)).into_iter().collect()
}

const PACKAGES: [Package; 4] = [
    Package {
        name: "wakeling-c",
        folder: "wakeling-c",
        source: "bindings/c/examples",
        header: "include/wakeling.h",
        places: |archive| lib(archive, true),
    },
    Package {
        name: "wakeling-arduino",
        folder: "Wakeling",
        source: "bindings/arduino",
        // In a folder of its own: on some disks its name would be that of the class's header.
        header: "src/c/wakeling.h",
        places: |archive| archive.arduino.iter().map(|folder| format!("src/{folder}")).collect(),
    },
    Package {
        name: "wakeling-esp-idf",
        folder: "wakeling",
        source: "bindings/esp-idf",
        header: "include/wakeling.h",
        places: |archive| lib(archive, archive.name.starts_with("riscv32")),
    },
    Package {
        name: "wakeling-zephyr",
        folder: "wakeling",
        source: "bindings/zephyr",
        header: "include/wakeling.h",
        places: |archive| lib(archive, !archive.name.starts_with("linux")),
    },
];

/// Builds all archives and writes the packages to `dist`.
pub fn pack(dist: &Path) -> TaskResult {
    ARCHIVES.iter().try_for_each(Archive::build)?;
    let notices = notices_of("wakeling-c", "bindings", &host_target()?)?;
    for package in PACKAGES {
        let path = dist.join(format!("{}-{VERSION}.zip", package.name));
        write(&path, package.folder, &contents(&package, &notices)?)?;
        log(&format!("packed {}", path.display()));
    }
    Ok(())
}

/// Returns the files of a package.
fn contents(package: &Package, notices: &str) -> TaskResult<Vec<Entry>> {
    let read = |path: &Path| fs::read(path).map_err(Failure::io(path));
    let source = Path::new(package.source);
    let mut files = Vec::new();
    for path in files_below(source) {
        let inside = path.strip_prefix(source).unwrap_or(&path);
        let inside: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        let name = inside.join("/");
        // Examples of C are beside the library; other packages are as in the repository.
        let name = if package.name == "wakeling-c" { format!("examples/{name}") } else { name };
        files.push((name, read(&path)?));
    }
    files.push((package.header.to_owned(), read(Path::new(HEADER))?));
    for archive in &ARCHIVES {
        for folder in (package.places)(archive) {
            files.push((format!("{folder}/libwakeling.a"), read(&archive.path())?));
        }
    }
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        files.push((name.to_owned(), read(Path::new(name))?));
    }
    files.push(("THIRD-PARTY.txt".to_owned(), notices.as_bytes().to_vec()));
    Ok(files)
}

/// Returns all files in a folder and those below it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(below).collect()
}

/// Writes a ZIP file whose entries are in `folder`. Equal files give equal bytes: entries have no time.
fn write(path: &Path, folder: &str, files: &[Entry]) -> TaskResult {
    let failed = |error: String| Failure::new(format!("{}: {error}", path.display()));
    let mut zip = ZipWriter::new(fs::File::create(path).map_err(Failure::io(path))?);
    for (name, bytes) in files {
        let options = SimpleFileOptions::default();
        zip.start_file(format!("{folder}/{name}"), options).map_err(|e| failed(e.to_string()))?;
        zip.write_all(bytes).map_err(|e| failed(e.to_string()))?;
    }
    zip.finish().map(drop).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn build_files_name_archives_that_exist() {
        let names: BTreeSet<&str> = ARCHIVES.iter().map(|archive| archive.name).collect();
        assert_eq!(names.len(), ARCHIVES.len());
        let mut found = BTreeSet::new();
        for package in &PACKAGES[2..] {
            let path = crate::root().join(package.source).join("CMakeLists.txt");
            let text = fs::read_to_string(path).expect("a build file");
            for line in text.lines().filter_map(|l| l.split("set(wakeling_processor ").nth(1)) {
                let name = line.trim_end_matches(')');
                let stem = name.replace("${wakeling_convention}", "");
                assert!(names.contains(&*stem), "{stem}");
                let has_both = !name.contains('$') || names.contains(&*format!("{stem}f"));
                assert!(has_both, "{stem} for both calling conventions");
                found.insert(stem);
            }
        }
        assert!(found.len() >= 6, "{found:?}");
    }

    #[test]
    fn arduino_versions_are_those_of_the_program() {
        let root = crate::root().join("bindings");
        let read = |name: &str| fs::read_to_string(root.join(name)).expect("a file");
        assert!(read("arduino/library.properties").contains(&format!("\nversion={VERSION}\n")));
        assert!(read("esp-idf/idf_component.yml").contains(&format!("version: \"{VERSION}\"")));
        assert!(read("Cargo.toml").contains(&format!("\nversion = \"{VERSION}\"\n")));
    }

    #[test]
    fn every_package_has_header_archives_and_licences() {
        let folders = |package: &Package| ARCHIVES.iter().flat_map(package.places).count();
        assert_eq!(PACKAGES.each_ref().map(folders), [11, 6, 2, 9]);
    }
}
