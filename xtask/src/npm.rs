//! The npm package: JavaScript of `bindings/npm`, and the module in two builds, with and without vectors.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    firmware,
    licences::notices_of,
    process::{Failure, TaskResult, log, output, run, target_variable},
    program::target_folder,
};

/// Target of the module.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Folder with the JavaScript.
const SOURCE: &str = "bindings/npm";
/// Files of that folder in the package.
const FILES: [&str; 7] = [
    "package.json",
    "README.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "index.js",
    "index.d.ts",
    "engine.js",
];
/// Names of the builds, and their flags.
const BUILDS: [(&str, &str); 2] =
    [("wasm-simd.js", "-C target-feature=+simd128"), ("wasm-plain.js", "")];

/// Builds the package's folder, `target/npm/wakeling`, and returns its path.
pub fn build() -> TaskResult<PathBuf> {
    let folder = target_folder().join("npm/wakeling");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Failure::io(&folder))?;
    }
    let demo = Path::new(SOURCE).join("demo");
    fs::create_dir_all(folder.join("demo")).map_err(Failure::io(&folder))?;
    let copy = |from: &Path, to: PathBuf| fs::copy(from, to).map(drop).map_err(Failure::io(from));
    for name in FILES {
        copy(&Path::new(SOURCE).join(name), folder.join(name))?;
    }
    for file in crate::process::entries(&demo) {
        copy(&file, folder.join("demo").join(file.file_name().unwrap_or_default()))?;
    }
    for (name, flags) in BUILDS {
        let path = folder.join(name);
        let text = format!("export default \"{}\";\n", base64(&module(flags)?));
        fs::write(&path, text).map_err(Failure::io(&path))?;
    }
    let notices = folder.join("THIRD-PARTY.txt");
    let text = notices_of("wakeling-wasm", "bindings", TARGET)?;
    fs::write(&notices, text).map_err(Failure::io(&notices))?;
    check_version(&folder)?;
    log(&format!("built {}", folder.display()));
    Ok(folder)
}

/// Builds the package's folder, and returns true; or prints that it is skipped, where the compiler lacks the
/// target and there is no rustup that would have added it.
pub fn build_if_possible() -> TaskResult<bool> {
    if firmware::has_target(TARGET)? {
        return build().map(|_| true);
    }
    log(&format!("SKIP: package for browsers, for the studio; rustup target add {TARGET}"));
    Ok(false)
}

/// Builds the package and its archive in `place`, for `npm install FILE` or `npm publish FILE`. Returns the
/// path of the archive.
pub fn pack(place: &Path) -> TaskResult<PathBuf> {
    let folder = build()?;
    fs::create_dir_all(place).map_err(Failure::io(place))?;
    let place = place.canonicalize().map_err(Failure::io(place))?;
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "--pack-destination"]).arg(&place).current_dir(&folder);
    let name = output(&mut npm)?;
    let archive = place.join(name.trim());
    log(&format!("packed {}", archive.display()));
    Ok(archive)
}

/// Builds the module with these flags and returns its bytes.
fn module(flags: &str) -> TaskResult<Vec<u8>> {
    let mut command = firmware::compiler(TARGET)?;
    command
        .args(["--profile", "web", "--locked", "--target", TARGET, "-p", "wakeling-wasm"])
        .current_dir("bindings")
        .env("CARGO_TARGET_DIR", "target")
        .env(target_variable(TARGET, "RUSTFLAGS"), flags);
    run(&mut command)?;
    let path = Path::new("bindings/target").join(TARGET).join("web/wakeling_wasm.wasm");
    fs::read(&path).map_err(Failure::io(&path))
}

/// Fails unless the package has the version of the crates.
fn check_version(folder: &Path) -> TaskResult {
    let path = folder.join("package.json");
    let text = fs::read_to_string(&path).map_err(Failure::io(&path))?;
    let expected = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    if text.contains(&expected) {
        return Ok(());
    }
    Err(Failure::new(format!("{SOURCE}/package.json must have {expected}")))
}

/// Encodes bytes in Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|chunk| {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        [18, 12, 6, 0].into_iter().enumerate().map(move |(i, shift)| match i <= chunk.len() {
            true => char::from(LETTERS[(bits >> shift & 63) as usize]),
            false => '=',
        })
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn the_package_has_the_version_and_every_file() {
        let source = crate::root().join(SOURCE);
        assert_eq!(check_version(&source), Ok(()));
        for name in FILES {
            assert!(source.join(name).is_file(), "{name}");
        }
    }
}
