//! The tasks of the repository, as `scripts/help.txt` describes them.
//!
//! `./x TASK` first installs what a task needs (`scripts/needs.sh`), and then runs `cargo xtask TASK`.
//!
//! | module | content |
//! |---|---|
//! | [`arguments`] | command line → a task |
//! | [`table`] | boards and emulated machines, from `boards.toml` |
//! | [`process`] | programs that run, cargo above all |
//! | [`program`], [`firmware`], [`archives`] | what is built |
//! | [`shipped`] | firmware of boards, as the program finds it |
//! | [`sizes`], [`documents`] | what documents repeat, compared or written |
//! | [`checks`], [`fuzz`] | tests, bench, lints, fuzz targets |
//! | [`images`] | images of the documents |
//! | [`package`] | packages of the crates |
//! | [`npm`], [`wheel`] | packages of other languages |
//! | [`demo`] | the whole journey |
//! | [`release`], [`c_packages`], [`licences`] | archives and checksums; licences of what they contain |

#![forbid(unsafe_code)]

mod archives;
mod arguments;
// The reader of the build scripts, which do not compile a parser of TOML. Tests compare both.
#[cfg(test)]
#[allow(dead_code, reason = "only build scripts read the file")]
#[path = "../../firmware/boards/table.rs"]
mod build_script;
mod c_packages;
mod checks;
mod demo;
mod documents;
mod firmware;
mod fuzz;
mod images;
mod licences;
mod npm;
mod package;
mod process;
mod program;
mod release;
mod shipped;
mod sizes;
mod table;
mod wheel;

use std::{env, path::Path, process::ExitCode};

use arguments::Task;
use process::{Failure, TaskResult};
use table::Table;

/// Root of the repository.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn run(arguments: &[String]) -> TaskResult {
    env::set_current_dir(root()).map_err(Failure::io(root()))?;
    let table = Table::embedded()?;
    match Task::parse(arguments, &table)? {
        Task::Help => print!("{}", arguments::HELP),
        Task::Build => {
            let (_, bytes) = program::build(None)?;
            shipped::make_all(&table)?;
            npm::build_if_possible()?;
            program::check_size(bytes)?;
        }
        Task::Firmware(machines) => firmware::build_all(&machines)?,
        Task::Boards { accept, boards } => {
            shipped::make(&table, &boards)?;
            sizes::compare(&boards, accept)?;
        }
        Task::Sizes(boards) => sizes::compare(&boards, false)?,
        Task::Table { accept } => documents::compare(&table, accept)?,
        Task::Test(arguments) => checks::test(&table, &arguments)?,
        Task::Bench { accept, machines } => checks::bench(&table, accept, &machines)?,
        Task::Fuzz { seconds, targets } => fuzz::run(seconds, targets)?,
        Task::Lint => checks::lint()?,
        Task::Images => images::make()?,
        Task::Package => package::run()?,
        Task::Demo => demo::run(&table)?,
        Task::Release(release) => release::run(&table, &release)?,
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("x: {failure}");
            failure.code()
        }
    }
}
