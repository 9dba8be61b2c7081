//! A file as a C header: a constant array, its length and a comment.

use std::{fmt::Write as _, path::Path};

use crate::Result;
use wakeling_device::{Error, model_file};
use wakeling_shared::model::{Card, ImageModel, LoadError};

/// Alignment of the array in bytes; models are read in words, TensorFlow Lite's in blocks of 16.
const ALIGNMENT: usize = 16;
/// Bytes per line.
const LINE: usize = 12;

/// Returns a model file as a C header, with the facts of its card as a comment. `path` is that of the
/// file, for errors.
///
/// # Errors
/// [`Error::InvalidModel`] if the file is no model for sound or for images.
pub fn of_model(name: &str, path: &Path, bytes: &[u8]) -> Result<String> {
    let card = card(path, bytes)?;
    let lines = [
        format!("Model of Wakeling: {}", card.name),
        format!("Licence: {}", card.licence),
        format!("Pretrained model: {}", card.pretrained),
        format!("Origin: {}", card.provenance),
    ];
    let comment: Vec<&str> = lines.iter().map(String::as_str).collect();
    Ok(CArray { name, bytes, comment: &comment }.header())
}

/// Returns the card of a model for sound or for images.
fn card<'a>(path: &Path, bytes: &'a [u8]) -> Result<Card<'a>> {
    match ImageModel::load(bytes) {
        Ok(model) => Ok(model.card),
        Err(LoadError::Kind { image: false }) => Ok(model_file::load(path, bytes)?.card),
        Err(reason) => Err(Error::InvalidModel { path: path.to_owned(), reason }.into()),
    }
}

/// File to be written as a C array.
///
/// ```
/// use wakeling_interop::c_array::CArray;
///
/// let array = CArray {
///     name: "hey computer",
///     bytes: &[0x57, 0x4B, 0x4C],
///     comment: &["Wakeling model: hey computer", "Licence: CC-BY-SA-4.0"],
/// };
/// let header = array.header();
/// assert!(header.contains("const unsigned char hey_computer[3] HEY_COMPUTER_ALIGNED = {\n    0x57, 0x4b, 0x4c,\n};"));
/// assert!(header.contains("#define HEY_COMPUTER_LENGTH 3u"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CArray<'a> {
    /// Name, from which the identifier is made.
    pub name: &'a str,
    /// Contents.
    pub bytes: &'a [u8],
    /// Lines of the comment at the top.
    pub comment: &'a [&'a str],
}

impl CArray<'_> {
    /// Returns the identifier of the array: letters, digits and `_` of the name in lower case.
    pub fn identifier(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let name: String = self.name.chars().map(plain).collect();
        let has_letter = name.contains(|c: char| c.is_ascii_alphanumeric());
        match name.chars().next() {
            Some(first) if has_letter && !first.is_ascii_digit() => name,
            Some(_) if has_letter => format!("model_{name}"),
            _ => "model".to_owned(),
        }
    }

    /// Returns the header as text: C99 and C++11.
    ///
    /// The array is `static`, so that several files can include the header; include it in one to
    /// have it in flash once.
    pub fn header(&self) -> String {
        let name = self.identifier();
        let upper = name.to_ascii_uppercase();
        let mut text = String::with_capacity(self.bytes.len() * 6 + 1_024);
        for line in self.comment {
            // A comment could otherwise end in the text, or go on into the next line.
            let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let line = line.replace("??/", "").replace('\\', "/");
            let _ = writeln!(text, "// {line}");
        }
        let length = self.bytes.len();
        let _ = writeln!(
            text,
            "#ifndef {upper}_H\n#define {upper}_H\n\n\
             #if defined(__cplusplus)\n#define {upper}_ALIGNED\n\
             #define {upper}_BEFORE alignas({ALIGNMENT})\n\
             #elif defined(__GNUC__) || defined(__clang__)\n\
             #define {upper}_ALIGNED __attribute__((aligned({ALIGNMENT})))\n\
             #define {upper}_BEFORE\n\
             #else\n#define {upper}_ALIGNED\n#define {upper}_BEFORE _Alignas({ALIGNMENT})\n#endif\n\n\
             // Number of bytes.\n#define {upper}_LENGTH {length}u\n\n\
             {upper}_BEFORE static const unsigned char {name}[{length}] {upper}_ALIGNED = {{"
        );
        for line in self.bytes.chunks(LINE) {
            let bytes: Vec<String> = line.iter().map(|byte| format!("0x{byte:02x}")).collect();
            let _ = writeln!(text, "    {},", bytes.join(", "));
        }
        let _ = writeln!(text, "}};\n\n#endif");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<'a>(name: &'a str, comment: &'a [&'a str]) -> CArray<'a> {
        CArray { name, bytes: &[1, 2, 255], comment }
    }

    #[test]
    fn any_name_gives_an_identifier() {
        let found =
            ["hey computer", "2 lights", "你好", "", "Ünal"].map(|n| array(n, &[]).identifier());
        assert_eq!(found, ["hey_computer", "model_2_lights", "model", "model", "_nal"]);
    }

    #[test]
    fn a_comment_cannot_become_code() {
        let header = array("x", &["one\nint evil;", "two \\", "three ??/"]).header();
        let before = header.split("#ifndef").next().expect("a comment");
        assert!(before.lines().all(|line| line.starts_with("// ")), "{before}");
        assert!(!before.contains('\\') && !before.contains("??/"));
    }

    /// Compiles the header as C and as C++, where a compiler is, and compares what a program reads.
    #[test]
    fn compilers_read_the_same_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes: Vec<u8> = (0..=255).chain(0..33).collect();
        let header = CArray { name: "my model", bytes: &bytes, comment: &["a test"] }.header();
        std::fs::write(folder.path().join("model.h"), header).expect("the header");
        let source = "#include <stdint.h>\n#include <stdio.h>\n#include \"model.h\"\nint main(void) {\n    \
                      if ((uintptr_t)my_model % 16) return 1;\n    \
                      return fwrite(my_model, 1, MY_MODEL_LENGTH, stdout) != MY_MODEL_LENGTH;\n}\n";
        for (compiler, file, standard) in [("cc", "main.c", "c99"), ("c++", "main.cpp", "c++11")] {
            let path = |name: &str| folder.path().join(name);
            std::fs::write(path(file), source).expect("the source");
            let built = std::process::Command::new(compiler)
                .arg(format!("-std={standard}"))
                .args(["-Wall", "-Werror", "-o"])
                .args([path("program"), path(file)])
                .output();
            let Ok(built) = built else {
                println!("SKIP: no {compiler}");
                continue;
            };
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            let run = std::process::Command::new(path("program")).output().expect("it runs");
            assert!(run.status.success() && run.stdout == bytes, "{compiler}");
        }
    }
}
