//! Checks the commands that pages show against the program and against `x`.

use std::process::Command;

use super::{markdown, none, pages, read, root};

/// Returns the commands of a shell script, with continued lines joined and comments removed.
fn commands(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Splits a command into words as a shell does: at spaces outside quotes, up to a pipe or similar.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('|' | '>' | ';' | ')', None) => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Returns the arguments of each call of `program` that a page shows, with the page's name.
fn shown(program: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for page in pages() {
        let fences = markdown::fences(&read(&page));
        let scripts = fences.iter().filter(|(language, _)| language == "sh" || language == "bash");
        for command in scripts.flat_map(|(_, script)| commands(script)) {
            let mut words = words(&command);
            let at = words.iter().position(|word| word.rsplit('/').next() == Some(program));
            // An ellipsis replaces repeated parts of a page; cargo's `-p wakeling` is a package.
            let whole = !command.contains('…') && !words.iter().any(|word| word == "cargo");
            if let (Some(at), true) = (at, whole) {
                found.push((format!("{}: {command}", page.display()), words.split_off(at + 1)));
            }
        }
    }
    found
}

#[test]
fn the_program_takes_every_command_that_a_page_shows() {
    let commands = shown("wakeling");
    assert!(commands.len() > 20, "only {} commands found", commands.len());
    let mut problems = Vec::new();
    for (place, words) in commands {
        // With --help at the end, a command is parsed completely, including option values, but not
        // run.
        let output =
            Command::new(env!("CARGO_BIN_EXE_wakeling")).args(&words).arg("--help").output();
        let output = output.expect("the program starts");
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            problems.push(format!("{place}\n    {}", stderr.lines().next().unwrap_or_default()));
        }
    }
    none(&problems);
}

#[test]
fn x_has_every_task_that_a_page_shows() {
    let help = Command::new(root().join("x")).arg("help").output().expect("./x starts");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let tasks = shown("x");
    assert!(!tasks.is_empty());
    let known = |task: &str| help.lines().any(|line| line.split_whitespace().nth(1) == Some(task));
    let problems = tasks.iter().filter(|(_, words)| !words.first().is_some_and(|task| known(task)));
    none(&problems.map(|(place, _)| place.clone()).collect::<Vec<_>>());
}

#[test]
fn commands_are_split_as_a_shell_does() {
    let script =
        "# no\nwakeling finetune --word \"hey computer=a b/\" \\\n  --out o   # why\n\n./x test\n";
    let found = commands(script);
    assert_eq!(found.len(), 2);
    let finetune = ["wakeling", "finetune", "--word", "hey computer=a b/", "--out", "o"];
    assert_eq!(words(&found[0]), finetune);
    assert_eq!(words("wakeling evaluate 'a | b' | head"), ["wakeling", "evaluate", "a | b"]);
}

#[test]
fn the_reference_lists_every_command() {
    let help = Command::new(env!("CARGO_BIN_EXE_wakeling")).arg("--help").output();
    let help = String::from_utf8_lossy(&help.expect("the program starts").stdout).into_owned();
    // Groups of commands come before the options.
    let listed = help.split("Options:").next().unwrap_or_default();
    // Continuation lines of descriptions are indented further.
    let commands = listed.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty()).then_some(name)
    });
    let commands: Vec<&str> = commands.collect();
    assert!(commands.len() > 20, "the help lists {commands:?}");
    let page = read("docs/reference/commands.md".as_ref());
    let missing = commands.iter().filter(|name| !page.contains(&format!("`wakeling {name}`")));
    none(&missing.map(|name| format!("{name} is not in commands.md")).collect::<Vec<_>>());
}
