//! Command line of a text-to-speech program, with placeholders.
//!
//! The line is first split into arguments as a shell would (blanks, quotes, backslashes). Only then
//! are the placeholders filled. There is no shell, so no text can become another argument or a
//! command.

use std::{
    fmt, io,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Error, Result};

/// Placeholders that a template may contain.
const PLACES: [&str; 6] = ["{text}", "{voice}", "{speed}", "{pitch}", "{language}", "{out}"];
/// Number of bytes of a program's messages that are kept.
const MESSAGE_BYTES: u64 = 4_096;
/// Interval at which a running program is polled.
const PATIENCE: Duration = Duration::from_millis(5);

/// Command line such as `espeak-ng -v {voice} -s {speed} -w {out} -- {text}`.
///
/// Placeholders are `{text}`, `{voice}`, `{speed}`, `{pitch}`, `{language}`, and `{out}`, the name
/// of the file to write. A line without `{text}` gets the text on its standard input.
///
/// ```
/// use wakeling_data::synthesize::Template;
///
/// let template = Template::parse("espeak-ng -v {voice} -w {out} -- {text}")?;
/// assert!(template.has("{voice}") && !template.has("{speed}"));
/// assert!(Template::parse("espeak-ng {text}").is_err()); // nowhere to write to
/// # Ok::<(), wakeling_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    line: String,
    arguments: Vec<String>,
}

/// Values for the placeholders of a [`Template`].
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Value of `{text}`.
    pub text: &'a str,
    /// Value of `{voice}`.
    pub voice: &'a str,
    /// Value of `{speed}`.
    pub speed: &'a str,
    /// Value of `{pitch}`.
    pub pitch: &'a str,
    /// Value of `{language}`.
    pub language: &'a str,
    /// Value of `{out}`.
    pub out: &'a Path,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Template {
    /// Splits a command line into arguments.
    ///
    /// # Errors
    /// [`Error::InvalidCommand`] if a quote is not closed, there is no program or no `{out}`, or a
    /// placeholder is unknown.
    pub fn parse(line: &str) -> Result<Self> {
        let refused = |problem: &str| {
            let (line, problem) = (line.to_owned(), problem.to_owned());
            Err(Error::InvalidCommand { line, problem })
        };
        let arguments = match split(line) {
            Ok(arguments) => arguments,
            Err(problem) => return refused(problem),
        };
        match arguments.first() {
            None => return refused("it is empty"),
            Some(program) if program.contains('{') || program.is_empty() => {
                return refused("the program itself must be named");
            }
            Some(_) => {}
        }
        if !arguments.iter().any(|a| a.contains("{out}")) {
            return refused("it has no {out}, the file to write");
        }
        for argument in &arguments {
            let rest = PLACES.iter().fold(argument.clone(), |a, place| a.replace(place, ""));
            if rest.contains(['{', '}']) {
                return refused(&format!(
                    "{argument:?} holds a place that is none of {}",
                    PLACES.join(" ")
                ));
            }
        }
        Ok(Self { line: line.to_owned(), arguments })
    }

    /// Returns true if the template contains a placeholder.
    pub fn has(&self, place: &str) -> bool {
        self.arguments.iter().any(|a| a.contains(place))
    }

    /// Returns the arguments with every placeholder filled.
    fn fill(&self, values: &Values<'_>) -> Vec<std::ffi::OsString> {
        let out = values.out.to_string_lossy();
        let Values { text, voice, speed, pitch, language, .. } = *values;
        let pairs = PLACES.iter().zip([text, voice, speed, pitch, language, out.as_ref()]);
        let pairs: Vec<(&&str, &str)> = pairs.collect();
        self.arguments.iter().map(|argument| fill_places(argument, &pairs).into()).collect()
    }

    /// Runs the program to its end. Returns the command as one can type it, or a description of the
    /// failure.
    ///
    /// # Errors
    /// [`Error::CommandNotStarted`] if the program cannot be started. A failing program is the inner `Err`.
    pub fn run(&self, values: &Values<'_>, timeout: Duration) -> Result<Result<String, String>> {
        let arguments = self.fill(values);
        let Some((program, rest)) = arguments.split_first() else { return Ok(Err(String::new())) };
        let shown = show(&arguments);
        let by_stdin = !self.has("{text}");
        let mut child = Command::new(program)
            .args(rest)
            .stdin(if by_stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| cannot_start(&shown, &error))?;
        if let Some(mut input) = child.stdin.take() {
            // A text is far shorter than a pipe's buffer, and a program that does not read it
            // reports its own error.
            let _ = writeln!(input, "{}", values.text);
        }
        let messages = child.stderr.take();
        let reader = std::thread::spawn(move || first_messages(messages));
        let status = match wait(&mut child, timeout) {
            Ok(status) => status,
            Err(why) => return Ok(Err(format!("`{shown}`: {why}"))),
        };
        let messages = reader.join().unwrap_or_default();
        if status.success() {
            return Ok(Ok(shown));
        }
        let message = messages.trim();
        let message = if message.is_empty() { "it printed nothing on stderr" } else { message };
        Ok(Err(format!("`{shown}` ended with {status}: {message}")))
    }
}

fn cannot_start(shown: &str, error: &io::Error) -> Error {
    Error::CommandNotStarted { command: shown.to_owned(), reason: error.to_string() }
}

/// Returns the first few kilobytes that a program prints on stderr. The rest is read and discarded,
/// since a full pipe would block the program.
fn first_messages(pipe: Option<impl Read>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(MESSAGE_BYTES).read_to_end(&mut kept);
    let _ = io::copy(&mut pipe, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// Waits for a program, and kills it after `timeout`.
fn wait(child: &mut Child, timeout: Duration) -> Result<std::process::ExitStatus, String> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if started.elapsed() < timeout => std::thread::sleep(PATIENCE),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it was still running after {} s", timeout.as_secs_f64()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Replaces every placeholder in one pass, so that a text which contains `{out}` is left as it is.
fn fill_places(argument: &str, pairs: &[(&&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), argument);
    while !rest.is_empty() {
        match pairs.iter().find(|(place, _)| rest.starts_with(**place)) {
            Some((place, value)) => {
                filled += value;
                rest = &rest[place.len()..];
            }
            None => {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                filled += &rest[..length];
                rest = &rest[length..];
            }
        }
    }
    filled
}

/// Formats arguments as one line that a shell splits into the same arguments.
fn show(arguments: &[std::ffi::OsString]) -> String {
    let quoted = |argument: &std::ffi::OsString| {
        let argument = argument.to_string_lossy();
        let plain = |c: char| c.is_alphanumeric() || "-_./+=:,%@".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.into_owned()
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Splits at blanks outside of quotes. Single quotes keep everything; in double quotes and outside,
/// a backslash keeps the next character.
fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = chars.next().ok_or("it ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(text: &'a str, out: &'a Path) -> Values<'a> {
        Values { text, voice: "en us", speed: "170", pitch: "50", language: "en", out }
    }

    #[test]
    fn lines_are_split_as_a_shell_splits_them() {
        for (line, words) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            (r#"a 'b c' "d \" e" f\ g"#, vec!["a", "b c", "d \" e", "f g"]),
            (r"'\n' ''", vec![r"\n", ""]),
            ("a'b'\"c\"", vec!["abc"]),
            ("  ", vec![]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert!(split("a 'b").is_err() && split("a \"b").is_err() && split("a \\").is_err());
    }

    #[test]
    fn placeholder_value_stays_one_argument() {
        let template = Template::parse("say --v={voice} {text} -o '{out}'").unwrap();
        let hostile = r#"a "b"; $(rm) `c` {out} --x"#;
        let filled = template.fill(&values(hostile, Path::new("/tmp/o p.wav")));
        assert_eq!(filled, ["say", "--v=en us", hostile, "-o", "/tmp/o p.wav"]);
        assert_eq!(
            split(&show(&filled)).unwrap(),
            filled.iter().map(|a| a.to_str().unwrap()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn lines_that_cannot_work_are_refused() {
        for line in
            ["", "say {text}", "say {txt} {out}", "{voice} {out}", "say '{out}", "say {out} }"]
        {
            let error = Template::parse(line).unwrap_err();
            assert!(matches!(error, Error::InvalidCommand { .. }), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn waits_for_the_program_and_reports_its_messages() {
        let out = Path::new("/dev/null");
        let run = |line: &str, timeout_ms| {
            let template = Template::parse(line).unwrap();
            template.run(&values("hey you", out), Duration::from_millis(timeout_ms))
        };
        assert!(
            run("sh -c 'read line; test \"$line\" = \"hey you\"' {out}", 5_000).unwrap().is_ok()
        );
        let failed =
            run("sh -c 'echo no such voice >&2; exit 3' {out}", 5_000).unwrap().unwrap_err();
        assert!(failed.contains("no such voice") && failed.contains("3"), "{failed}");
        let endless = run("sleep 5 {out}", 50);
        // Some versions of `sleep` reject the second operand at once; either way the run fails
        // soon.
        assert!(endless.unwrap().is_err());
        let missing = run("no-such-program {out}", 5_000).unwrap_err();
        assert!(matches!(missing, Error::CommandNotStarted { .. }), "{missing}");
    }
}
