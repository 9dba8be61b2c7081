//! Errors of the program: a problem, what the user can do about it, and an exit code.
//!
//! Libraries state only the problem. Here, one module for each library adds the remedy and the exit
//! code, by a match without a wildcard: an error without a remedy does not compile.

mod audio;
mod capture;
mod core;
mod data;
mod device;
mod interop;
mod nn;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "studio")]
mod studio;
mod train;
#[cfg(feature = "vision")]
mod vision;

use std::{borrow::Cow, error::Error as StdError, fmt, io, path::PathBuf};

use wakeling_core::console;

/// Exit code of an invalid request.
const USAGE: u8 = 2;
/// Exit code of a file or folder that cannot be used.
const INPUT: u8 = 3;
/// Exit code of a failure of the system, a device, or another program.
const SYSTEM: u8 = 4;
/// Exit code of a defect of this program.
const INTERNAL: u8 = 5;
/// Exit code of work that the user cancelled, as after an interrupt.
const CANCELLED: u8 = 130;

/// Error of the program.
#[derive(Debug)]
pub struct Error {
    problem: String,
    advice: Advice,
}

/// Result of the program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the user can do about an error, and the exit code that it ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    exit_code: u8,
    /// Absent where the user can do nothing.
    remedy: Option<Cow<'static, str>>,
}

impl Advice {
    fn new(exit_code: u8, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { exit_code, remedy: Some(remedy.into()) }
    }

    /// Advice for an invalid request.
    fn usage(remedy: impl Into<Cow<'static, str>>) -> Self {
        Self::new(USAGE, remedy)
    }

    /// Advice for a file or folder that cannot be used.
    fn input(remedy: impl Into<Cow<'static, str>>) -> Self {
        Self::new(INPUT, remedy)
    }

    /// Advice for a failure of the system, a device, or another program.
    fn system(remedy: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SYSTEM, remedy)
    }

    /// Exit code alone.
    fn none(exit_code: u8) -> Self {
        Self { exit_code, remedy: None }
    }
}

/// Error of a library, for which the program has advice.
pub trait Advise: StdError {
    /// Returns the advice.
    fn advice(&self) -> Advice;
}

impl<E: Advise> From<E> for Error {
    fn from(error: E) -> Self {
        Self { problem: error.to_string(), advice: error.advice() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        self.advice.remedy.iter().try_for_each(|remedy| write!(f, "\n  remedy: {remedy}"))
    }
}

impl Error {
    /// Creates the error of an invalid request.
    pub fn usage(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), advice: Advice::usage(remedy.into()) }
    }

    /// Creates the error of a file or folder that cannot be used.
    pub fn input(
        path: impl Into<PathBuf>,
        problem: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        let problem = format!("{}: {problem}", path.into().display());
        Self { problem, advice: Advice::input(remedy.into()) }
    }

    /// Creates the error of a device or an external program.
    pub fn device(
        device: impl fmt::Display,
        problem: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self { problem: format!("{device}: {problem}"), advice: Advice::system(remedy.into()) }
    }

    /// Returns a function that wraps a system error with the file and the verb.
    pub fn io(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let wrap = wakeling_core::Error::io(path, action);
        move |source| wrap(source).into()
    }

    /// Creates the error for a state that the program should rule out.
    pub fn defect(what: impl Into<String>) -> Self {
        wakeling_core::Error::defect(what).into()
    }

    /// Returns the exit code: 2 usage, 3 input, 4 system or device, 5 internal, 130 cancelled.
    pub fn exit_code(&self) -> u8 {
        self.advice.exit_code
    }

    /// Returns the problem, without what to do about it.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Returns what the user can do; empty if nothing.
    pub fn remedy(&self) -> &str {
        self.advice.remedy.as_deref().unwrap_or_default()
    }

    /// Returns `true` if the error is about the content of this file, or about reading it.
    pub fn is_about(&self, file: &std::path::Path) -> bool {
        let starts = || self.problem.starts_with(&format!("{}: ", file.display()));
        matches!(self.exit_code(), INPUT | SYSTEM) && starts()
    }
}

/// Lets the libraries log errors with their remedies.
pub fn explain_logged() {
    console::explain_with(|error| match advice_of(error) {
        Some(advice) => Error { problem: error.to_string(), advice }.to_string(),
        None => error.to_string(),
    });
}

/// Returns what the page of the studio shows of an error.
#[cfg(feature = "studio")]
pub fn explain_on_page(error: &wakeling_studio::Error) -> wakeling_studio::Explanation {
    let advice = error.advice();
    let is_request = advice.exit_code == USAGE;
    let text = Error { problem: error.to_string(), advice }.to_string();
    wakeling_studio::Explanation { text, is_request }
}

/// Returns the advice for an error of any library.
fn advice_of(error: &(dyn StdError + 'static)) -> Option<Advice> {
    fn of<E: Advise + 'static>(error: &(dyn StdError + 'static)) -> Option<Advice> {
        error.downcast_ref::<E>().map(Advise::advice)
    }
    let found = of::<wakeling_core::Error>(error)
        .or_else(|| of::<wakeling_audio::Error>(error))
        .or_else(|| of::<wakeling_data::Error>(error))
        .or_else(|| of::<wakeling_nn::Error>(error))
        .or_else(|| of::<wakeling_device::Error>(error))
        .or_else(|| of::<wakeling_interop::Error>(error))
        .or_else(|| of::<wakeling_train::Error>(error))
        .or_else(|| of::<wakeling_capture::Error>(error));
    #[cfg(feature = "serve")]
    let found = found.or_else(|| of::<wakeling_serve::Error>(error));
    #[cfg(feature = "studio")]
    let found = found.or_else(|| of::<wakeling_studio::Error>(error));
    #[cfg(feature = "vision")]
    let found = found.or_else(|| of::<wakeling_vision::Error>(error));
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Sources with the remedies, by name.
    fn sources() -> Vec<(String, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/error");
        let entries = std::fs::read_dir(folder).expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let read = |path: std::path::PathBuf| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("a source"))
        };
        paths.map(read).collect()
    }

    /// Returns the string literals of a source, with line ends that are escaped joined.
    fn literals(source: &str) -> Vec<String> {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n").replace("\\\"", "'");
        let inside = code.split('"').skip(1).step_by(2);
        let joined = |text: &str| text.split("\\\n").map(str::trim_start).collect::<String>();
        inside.map(joined).collect()
    }

    #[test]
    fn every_remedy_is_plain_text() {
        let mut count = 0;
        for (name, source) in sources() {
            // The shortest are separators.
            for text in literals(&source).into_iter().filter(|text| text.len() > 2) {
                let is_plain = !text.chars().any(char::is_control);
                assert!(is_plain && !text.is_empty(), "{name}: {text:?}");
                assert!(text.trim() == text && !text.ends_with('.'), "{name}: {text:?}");
                assert!(!text.contains("remedy"), "{name}: {text:?}");
                count += 1;
            }
        }
        assert!(count > 80, "{count}");
    }

    #[test]
    fn no_library_is_matched_with_a_wildcard() {
        for (name, source) in sources() {
            let advice = source.split("fn advice(&self)").skip(1);
            for body in advice.map(|body| body.split("\n    }\n").next().unwrap_or_default()) {
                assert!(!body.contains("_ =>"), "{name}");
            }
        }
    }

    #[test]
    fn every_kind_of_error_has_the_exit_code_of_the_readme() {
        let missing = || Error::io("x", "read")(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(Error::usage("x", "y").exit_code(), 2);
        assert_eq!(Error::input("x", "y", "z").exit_code(), 3);
        assert_eq!(missing().exit_code(), 4);
        assert_eq!(Error::device("x", "y", "z").exit_code(), 4);
        assert_eq!(Error::defect("x").exit_code(), 5);
        assert_eq!(Error::from(wakeling_core::Error::Cancelled).exit_code(), 130);
        assert_eq!(
            Error::input("a.wav", "it is empty", "record it").to_string(),
            "a.wav: it is empty\n  remedy: record it"
        );
        assert!(
            missing()
                .to_string()
                .ends_with("\n  remedy: check the name and the folder that it is in")
        );
    }

    #[test]
    fn an_error_keeps_its_advice_through_the_libraries() {
        let lost = || wakeling_audio::Error::MicrophoneFormat { channels: 0, rate: 1 };
        let direct = Error::from(lost());
        let nested = Error::from(wakeling_capture::Error::from(lost()));
        assert_eq!(nested.to_string(), direct.to_string());
        assert_eq!(nested.exit_code(), 4);
        explain_logged();
        assert_eq!(console::explained(&lost()), direct.to_string());
    }

    #[test]
    fn an_old_model_is_made_again_from_its_head() {
        let path = PathBuf::from("old.wkl");
        let reason = wakeling_shared::model::LoadError::Version { found: 1 };
        let error = Error::from(wakeling_device::Error::InvalidModel { path, reason });
        assert!(error.remedy().contains("`wakeling quantize --head`"), "{error}");
        assert!(error.to_string().starts_with("old.wkl: format version 1; "), "{error}");
        assert_eq!(error.exit_code(), 3);
    }
}
