//! The command line.

use crate::{
    process::{Failure, TaskResult},
    release::Release,
    table::{Board, Machine, Table},
};

/// Text of `./x help`, which the bootstrap prints without this program.
pub const HELP: &str = include_str!("../../scripts/help.txt");

/// Time for each fuzz target, if none is given.
const FUZZ_SECONDS: u32 = 60;

/// A task and its arguments.
#[derive(Debug)]
pub enum Task<'t> {
    Help,
    Build,
    Firmware(Vec<&'t Machine>),
    Boards {
        /// Writes the sizes to the document.
        accept: bool,
        boards: Vec<&'t Board>,
    },
    Sizes(Vec<&'t Board>),
    Table {
        accept: bool,
    },
    /// Arguments of `cargo test`.
    Test(Vec<String>),
    Bench {
        accept: bool,
        machines: Vec<&'t Machine>,
    },
    Fuzz {
        seconds: u32,
        targets: Vec<String>,
    },
    Lint,
    Images,
    Package,
    Demo,
    Release(Release),
}

impl<'t> Task<'t> {
    /// Parses the arguments of this program.
    pub fn parse(arguments: &[String], table: &'t Table) -> TaskResult<Self> {
        let (task, rest) = match arguments {
            [] => ("help", arguments),
            [task, rest @ ..] => (task.as_str(), rest),
        };
        let without = |task: Self, name: &str| match rest {
            [] => Ok(task),
            [first, ..] => {
                Err(Failure::new(format!("{name} takes no arguments, not {first}; see ./x help")))
            }
        };
        let (accept, names) = accept(rest);
        match task {
            "help" | "-h" | "--help" => Ok(Self::Help),
            "build" => without(Self::Build, task),
            "firmware" => Ok(Self::Firmware(machines(rest, "cortex-m4", table)?)),
            "boards" => Ok(Self::Boards { accept, boards: boards(names, table)? }),
            "sizes" => Ok(Self::Sizes(boards(rest, table)?)),
            "table" if names.is_empty() => Ok(Self::Table { accept }),
            "table" => Err(Failure::new(format!("accept expected, not {}", names[0]))),
            "test" => Ok(Self::Test(rest.to_vec())),
            "bench" if accept && !names.is_empty() => {
                Err(Failure::new("a page has all processors: ./x bench accept"))
            }
            "bench" => Ok(Self::Bench { accept, machines: machines(names, "all", table)? }),
            "fuzz" => fuzz(rest),
            "lint" => without(Self::Lint, task),
            "images" => without(Self::Images, task),
            "package" => without(Self::Package, task),
            "demo" => without(Self::Demo, task),
            "release" => Ok(Self::Release(Release::parse(rest)?)),
            _ => Err(Failure::new(format!("unknown task: {task}; see ./x help"))),
        }
    }
}

/// Splits a leading `accept` off.
fn accept(arguments: &[String]) -> (bool, &[String]) {
    match arguments {
        [first, rest @ ..] if first == "accept" => (true, rest),
        _ => (false, arguments),
    }
}

/// Returns the machines of these names; `all` stands for all, and `default` for none.
fn machines<'t>(names: &[String], default: &str, table: &'t Table) -> TaskResult<Vec<&'t Machine>> {
    let default = [default.to_owned()];
    let names = if names.is_empty() { &default } else { names };
    match names {
        [all] if all == "all" => Ok(table.built_machines().collect()),
        names => names.iter().map(|name| table.machine(name)).collect(),
    }
}

/// Returns the boards of these names; `all` or none stand for all.
fn boards<'t>(names: &[String], table: &'t Table) -> TaskResult<Vec<&'t Board>> {
    match names {
        [] => Ok(table.boards.iter().collect()),
        [all] if all == "all" => Ok(table.boards.iter().collect()),
        names => names.iter().map(|name| table.board(name)).collect(),
    }
}

fn fuzz<'t>(arguments: &[String]) -> TaskResult<Task<'t>> {
    let (seconds, targets) = match arguments {
        [] => (FUZZ_SECONDS, arguments),
        [text, targets @ ..] => {
            // libFuzzer takes 0 for no end.
            let seconds = text.parse().ok().filter(|&seconds| seconds > 0);
            let wrong = || Failure::new(format!("seconds expected, not {text}; see ./x help"));
            (seconds.ok_or_else(wrong)?, targets)
        }
    };
    Ok(Task::Fuzz { seconds, targets: targets.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::embedded().expect("boards.toml is valid")
    }

    /// Debug text of the parsed task, or the message.
    fn parse(arguments: &str, table: &Table) -> Result<String, String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let task = Task::parse(&arguments, table).map_err(|failure| failure.to_string())?;
        let names = |machines: &[&Machine]| {
            machines.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let boards = |boards: &[&Board]| {
            boards.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        Ok(match &task {
            Task::Firmware(machines) => names(machines),
            Task::Boards { accept, boards: found } => format!("{accept} {}", boards(found)),
            Task::Sizes(found) => boards(found),
            Task::Bench { accept, machines } => format!("{accept} {}", names(machines)),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn names_and_their_defaults_are_parsed() {
        let table = table();
        let ok = |text| parse(text, &table).expect("valid arguments");
        let all = "cortex-m0 cortex-m4 cortex-m33 cortex-m55 rv32imc";
        assert_eq!(ok("firmware"), "cortex-m4");
        assert_eq!(ok("firmware all"), all);
        assert_eq!(ok("firmware rv32imc cortex-m0"), "rv32imc cortex-m0");
        assert_eq!(ok("bench"), format!("false {all}"));
        assert_eq!(ok("bench accept"), format!("true {all}"));
        assert_eq!(ok("bench cortex-m0"), "false cortex-m0");
        assert_eq!(ok("boards accept pico"), "true pico");
        assert_eq!(ok("sizes").split(' ').count(), table.boards.len());
        assert_eq!(ok("boards all"), format!("false {}", ok("sizes")));
        assert_eq!(ok("fuzz"), "Fuzz { seconds: 60, targets: [] }");
        assert_eq!(ok("fuzz 5 head"), "Fuzz { seconds: 5, targets: [\"head\"] }");
        assert_eq!(ok("test -- --nocapture"), "Test([\"--\", \"--nocapture\"])");
        assert_eq!(ok(""), "Help");
        assert_eq!(ok("table accept"), "Table { accept: true }");
    }

    #[test]
    fn rejects_wrong_arguments() {
        let table = table();
        for (arguments, expected) in [
            ("firmware z80", "unknown processor: z80"),
            ("firmware cortex-m7", "unknown processor: cortex-m7"),
            ("boards toaster", "unknown board: toaster; there are: nano33"),
            ("bench accept cortex-m0", "a page has all processors"),
            ("fuzz 0", "seconds expected, not 0"),
            ("fuzz head", "seconds expected, not head"),
            ("build fast", "build takes no arguments, not fast"),
            ("table now", "accept expected, not now"),
            ("deploy", "unknown task: deploy"),
        ] {
            let message = parse(arguments, &table).expect_err(arguments);
            assert!(message.starts_with(expected), "{arguments}: {message}");
        }
    }

    #[test]
    fn the_help_lists_every_task_and_processor() {
        let table = table();
        let tasks: Vec<_> = HELP.lines().filter_map(|line| line.strip_prefix("./x ")).collect();
        for line in &tasks {
            let task = line.split(' ').next().unwrap_or_default();
            assert!(parse(task, &table).is_ok(), "{line}");
        }
        assert_eq!(tasks.len(), 14);
        for machine in table.built_machines() {
            assert!(HELP.contains(&machine.name), "{}", machine.name);
        }
    }
}
