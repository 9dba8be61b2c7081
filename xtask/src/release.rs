//! Files of a release: archives of the program and of the firmware, and their checksums.
//!
//! Everything lies in `target/dist`.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{
    c_packages,
    licences::{firmware_notices, third_party},
    npm,
    process::{Failure, TaskResult, entries, host_target, log, run as run_command},
    program::{self, target_folder},
    shipped,
    table::Table,
    wheel,
};

/// Name of the file with the checksums.
const CHECKSUMS: &str = "SHA256SUMS";
/// Version of everything in a release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Files of the repository in the program's archive, with their names there: our licences, and the cards of
/// the models and data.
const FILES: [(&str, &str); 3] = [
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("host/models/README.md", "MODELS.md"),
];
/// Folder of pretrained models and negatives, which the program finds beside itself.
const MODELS: &str = "host/models";

/// Part of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The program `wakeling`.
    Program,
    /// Programs of the boards.
    Firmware,
    /// Static libraries for C, and packages for Arduino, ESP-IDF and Zephyr.
    C,
    /// Package for browsers and Node.
    Npm,
    /// Package for Python, for this machine.
    Wheel,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 5] = [Self::Program, Self::Firmware, Self::C, Self::Npm, Self::Wheel];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Firmware => "firmware",
            Self::C => "c",
            Self::Npm => "npm",
            Self::Wheel => "wheel",
        }
    }

    fn build(self, table: &Table, target: Option<&str>) -> TaskResult {
        match self {
            Self::Program => pack_program(table, target),
            Self::Firmware => pack_firmware(table),
            Self::C => c_packages::pack(&dist()?),
            Self::Npm => npm::pack(&dist()?).map(drop),
            Self::Wheel => wheel::build(&dist()?).map(drop),
        }
    }
}

/// Arguments of the task.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// Parts to build.
    pub parts: Vec<Part>,
    /// Target of the program; that of this machine without one.
    pub target: Option<String>,
}

impl Release {
    /// Parses names of parts, in any order, and `--target TRIPLE`. No name stands for all parts.
    pub fn parse(arguments: &[String]) -> TaskResult<Self> {
        let (mut parts, mut target) = (Vec::new(), None);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--target" {
                let triple = arguments.next();
                let triple = triple.ok_or_else(|| Failure::new("--target needs a target"))?;
                target = Some(triple.clone());
                continue;
            }
            let part = Part::ALL.into_iter().find(|part| part.name() == argument);
            parts.push(part.ok_or_else(|| {
                let names = Part::ALL.map(Part::name).join(", ");
                Failure::new(format!("unknown part: {argument}; there are: {names}"))
            })?);
        }
        if parts.is_empty() {
            parts.extend(Part::ALL);
        }
        Ok(Self { parts, target })
    }
}

/// Builds the parts and writes the checksums of all files in the folder.
pub fn run(table: &Table, release: &Release) -> TaskResult {
    let dist = dist()?;
    for part in &release.parts {
        part.build(table, release.target.as_deref())?;
    }
    let sums = checksums(&dist)?;
    let path = dist.join(CHECKSUMS);
    fs::write(&path, sums).map_err(Failure::io(&path))?;
    log(&format!("wrote {}", path.display()));
    Ok(())
}

/// Returns the folder of the files, which it creates.
fn dist() -> TaskResult<PathBuf> {
    let dist = target_folder().join("dist");
    fs::create_dir_all(&dist).map_err(Failure::io(&dist))?;
    Ok(dist)
}

/// Creates an empty folder for what an archive will contain.
fn staging(name: &str) -> TaskResult<PathBuf> {
    let folder = dist()?.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Failure::io(&folder))?;
    }
    fs::create_dir_all(&folder).map_err(Failure::io(&folder))?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> TaskResult {
    fs::copy(from, to).map(drop).map_err(Failure::io(from))
}

/// Copies a folder with all it contains.
fn copy_folder(from: &Path, to: &Path) -> TaskResult {
    fs::create_dir_all(to).map_err(Failure::io(to))?;
    entries(from).iter().try_for_each(|path| {
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() { copy_folder(path, &to) } else { copy(path, &to) }
    })
}

/// Packs a folder beside itself and removes it. Windows' `tar` also writes ZIP files.
fn pack(folder: &Path) -> TaskResult {
    let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let place = folder.parent().unwrap_or(Path::new("."));
    let (archive, options) = match cfg!(windows) {
        true => (format!("{name}.zip"), "-acf"),
        false => (format!("{name}.tar.gz"), "-czf"),
    };
    run_command(Command::new("tar").current_dir(place).args([options, &archive, &name]))?;
    fs::remove_dir_all(folder).map_err(Failure::io(folder))?;
    log(&format!("packed {}", place.join(archive).display()));
    Ok(())
}

/// Builds the program for a target and packs it with models, firmware of boards, licences and notices.
fn pack_program(table: &Table, target: Option<&str>) -> TaskResult {
    let (program, _) = program::build(target)?;
    let triple = target.map_or_else(host_target, |target| Ok(target.to_owned()))?;
    let folder = staging(&format!("wakeling-{VERSION}-{triple}"))?;
    copy(&program, &folder.join(program.file_name().unwrap_or_default()))?;
    FILES.iter().try_for_each(|(from, to)| copy(Path::new(from), &folder.join(to)))?;
    copy_folder(Path::new(MODELS), &folder.join("models"))?;
    copy_firmware(table, &folder.join("firmware"))?;
    // The studio packs it with a model.
    copy_folder(&npm::build()?, &folder.join("npm/wakeling"))?;
    let notices = folder.join("THIRD-PARTY.txt");
    fs::write(&notices, third_party(&triple)?).map_err(Failure::io(&notices))?;
    pack(&folder)
}

/// Builds the firmware of all boards and packs it.
fn pack_firmware(table: &Table) -> TaskResult {
    let folder = staging(&format!("wakeling-firmware-{VERSION}"))?;
    copy_firmware(table, &folder)?;
    FILES[..2].iter().try_for_each(|(from, to)| copy(Path::new(from), &folder.join(to)))?;
    pack(&folder)
}

/// Builds the firmware of all boards, and writes it to a folder with the licences of what it contains.
fn copy_firmware(table: &Table, to: &Path) -> TaskResult {
    let boards: Vec<_> = table.boards.iter().collect();
    shipped::make(table, &boards)?;
    shipped::copy_files(&boards, &shipped::folder(), to)?;
    let notices = to.join("THIRD-PARTY.txt");
    fs::write(&notices, firmware_notices(&boards)?).map_err(Failure::io(&notices))
}

/// Returns a line `HASH  NAME` for each file of the folder, as `sha256sum --check` reads it.
fn checksums(dist: &Path) -> TaskResult<String> {
    let mut lines = Vec::new();
    for path in entries(dist).into_iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != CHECKSUMS {
            let bytes = fs::read(&path).map_err(Failure::io(&path))?;
            let hash: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
            lines.push((name.clone(), format!("{hash}  {name}\n")));
        }
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Release, String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        Release::parse(&arguments).map_err(|failure| failure.to_string())
    }

    #[test]
    fn parts_and_target_are_parsed() {
        let all = Release { parts: Part::ALL.to_vec(), target: None };
        assert_eq!(parse(""), Ok(all));
        let windows = parse("--target x86_64-pc-windows-gnu program");
        let target = Some("x86_64-pc-windows-gnu".to_owned());
        assert_eq!(windows, Ok(Release { parts: vec![Part::Program], target }));
        assert!(
            parse("programs").is_err_and(|message| message.contains("program, firmware, c, npm"))
        );
        assert!(parse("program --target").is_err());
    }

    /// The workflow calls parts that exist.
    #[test]
    fn the_workflow_builds_every_part() {
        let path = crate::root().join(".github/workflows/release.yml");
        let workflow = fs::read_to_string(path).expect("a workflow");
        let calls = workflow.lines().filter_map(|line| {
            let (_, call) = line.split_once("run: ")?;
            call.strip_prefix("cargo xtask release ").or(call.strip_prefix("./x release "))
        });
        let parts: Vec<_> = calls.flat_map(|call| parse(call).expect("parts").parts).collect();
        assert!(Part::ALL.iter().all(|part| parts.contains(part)), "{parts:?}");
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        let folder =
            std::env::temp_dir().join(format!("wakeling-checksums-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in [("b", "abc"), ("a", ""), (CHECKSUMS, "old")] {
            fs::write(folder.join(name), text).expect("a file");
        }
        let sums = checksums(&folder).expect("checksums");
        fs::remove_dir_all(&folder).expect("removed");
        // FIPS 180-4, appendix: the empty message and "abc".
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n";
        assert_eq!(sums, format!("{empty}{abc}"));
    }
}
