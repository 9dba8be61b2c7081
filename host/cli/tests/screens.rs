//! Tests of what the program prints on a terminal: its colours, and the screens in the documents, which
//! must be those that it prints now.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use wakeling_tests::{
    Tier, random_model,
    terminal::{commands, plain},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wakeling");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the program with variables that decide about colours, and no others of this kind.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "WAKELING_PROGRESS_LINES"] {
        command.env_remove(name);
    }
    let output = command.args(arguments).envs(variables.iter().copied()).output();
    output.expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Returns the commands of an image of the documents, each with the lines that it printed.
fn image(name: &str) -> Vec<(String, Vec<String>)> {
    let path = root().join(format!("docs/images/{name}.txt"));
    commands(&fs::read_to_string(path).expect("an accepted screen"))
}

/// Replaces numbers, and blanks in a row, which follow from the model.
fn masked(line: &str) -> String {
    let digits = line.replace(|c: char| c.is_ascii_digit(), "0");
    let words: Vec<_> = digits.split_whitespace().collect();
    let mut text = words.join(" ");
    while text.contains("00") || text.contains("0.0") {
        text = text.replace("00", "0").replace("0.0", "0");
    }
    text
}

/// Colours come on request, and leave the text as it is without them: an error, help, a table.
#[test]
fn colours_change_no_text() {
    let force = ("CLICOLOR_FORCE", "1");
    for arguments in [
        &["boards"][..],
        &["--help"],
        &["finetune", "--help"],
        &["simulate", "no-such.wav", "--model", "no-such.wkl"],
        &["simulate", "--modl"],
        &["check-phrase", "open", "--g2p", "no-such-program"],
    ] {
        let piped = run(arguments, &[]);
        let coloured = run(arguments, &[force]);
        let refused = run(arguments, &[force, ("NO_COLOR", "1")]);
        let both = |output: &Output| text(&output.stdout) + &text(&output.stderr);
        assert!(!both(&piped).contains('\u{1b}'), "{arguments:?}: {}", both(&piped));
        assert_eq!(both(&refused), both(&piped), "{arguments:?}");
        assert!(both(&coloured).contains("\u{1b}["), "{arguments:?}: {}", both(&coloured));
        assert_eq!(plain(&both(&coloured)), plain(&both(&piped)), "{arguments:?}");
        assert_eq!(coloured.status.code(), piped.status.code(), "{arguments:?}");
    }
    let error = text(&run(&["simulate", "a.wav", "--model", "no-such.wkl"], &[force]).stderr);
    assert!(error.starts_with("\u{1b}[1;31merror:\u{1b}[0m no-such.wkl"), "{error:?}");
    assert!(error.contains("\n  \u{1b}[1;36mremedy:\u{1b}[0m "), "{error:?}");
    // A program that reads the messages gets none.
    let lines = [force, ("WAKELING_PROGRESS_LINES", "1")];
    let error = text(&run(&["simulate", "a.wav", "--model", "no-such.wkl"], &lines).stderr);
    assert!(error.starts_with("error: "), "{error:?}");
}

#[test]
fn the_image_of_the_help_is_what_the_program_prints() {
    let output = run(&["--help"], &[("COLUMNS", "80")]);
    let image = image("help");
    let [(command, lines)] = &image[..] else { panic!("{image:?}") };
    assert_eq!(command, "wakeling --help");
    assert_eq!(lines.join("\n"), text(&output.stdout).trim_end(), "{ANEW}");
}

/// What a machine has differs, but the checks and their order do not.
#[test]
fn the_image_of_doctor_has_the_checks_of_the_program() {
    let names = |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        let name = |line: &str| {
            let marked = ["ok  ", "--  ", "!!  ", "BAD "]
                .iter()
                .any(|mark| line.strip_prefix("  ").is_some_and(|line| line.starts_with(mark)));
            let title =
                !line.starts_with(' ') && !line.ends_with('.') && (1..20).contains(&line.len());
            match marked {
                true => line.get(7..23).map(|name| name.trim().to_owned()),
                false => title.then(|| line.to_owned()),
            }
        };
        lines.filter_map(name).collect()
    };
    let printed = text(&run(&["doctor"], &[]).stdout);
    let image = image("doctor");
    let [(_, lines)] = &image[..] else { panic!("{image:?}") };
    let expected = names(&mut printed.lines());
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(names(&mut lines.iter().map(String::as_str)), expected, "{ANEW}");
    // Long lines are broken at blanks, within 80 columns.
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
}

/// Another model gives other numbers and thresholds, in the same table.
#[test]
fn the_image_of_evaluate_has_the_table_of_the_program() {
    let place = tempfile::tempdir().expect("a folder");
    let model = place.path().join("m.wkl");
    fs::write(&model, random_model(1, Tier::Tiny)).expect("a model");
    let label = {
        let refused = run(
            &[
                "evaluate",
                "--model",
                &model.display().to_string(),
                "--word",
                "none=x",
                "--negatives",
                "x",
            ],
            &[],
        );
        let text = text(&refused.stderr);
        let labels = text.split("it has: ").nth(1).expect("the words of the model");
        labels.trim().split(", ").next().expect("a word").to_owned()
    };
    let speech = root().join("demo/test");
    let word = format!("{label}={}", speech.display());
    let (model, talk) = (model.display().to_string(), root().join("demo/train"));
    let talk = talk.display().to_string();
    let output = run(&["evaluate", "--model", &model, "--word", &word, "--negatives", &talk], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let image = image("evaluate");
    let [(_, lines)] = &image[..] else { panic!("{image:?}") };
    let image = table(lines.iter().map(String::as_str));
    let printed = table(printed.lines());
    assert_eq!(image.len().min(6), printed.len().min(6), "{ANEW}: {printed:#?}");
    for at in [0, 1, image.len() - 1] {
        let own = if at < 2 { at } else { printed.len() - 1 };
        assert_eq!(image[at], printed[own], "{ANEW}");
    }
    // Rows have a name, a level, misses and false accepts; the last two are those of the model.
    for row in ["strict", "normal (the model's own)", "eager"] {
        let has = |lines: &[String]| lines.iter().any(|line| line.starts_with(row));
        assert!(has(&image) && has(&printed), "{row}: {ANEW}: {printed:#?}");
    }
}

/// Returns the lines of a table of `evaluate`, from its title on, without the word's name and with
/// numbers replaced.
fn table<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<String> {
    let mut lines = lines.skip_while(|line| !line.contains(" recordings; "));
    let title = lines.next().expect("a title").split_once(": ").expect("a name").1;
    // Hours or minutes of negatives.
    let title = title.split_once("; ").expect("two counts").0;
    std::iter::once(title).chain(lines).map(masked).collect()
}

const ANEW: &str = "`./x images` makes docs/images anew";
