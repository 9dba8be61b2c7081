//! The `wakeling` program: parses arguments, runs the command, and maps errors to exit codes.

#![deny(clippy::print_stderr)]

// Declared first, because its macros replace those of the standard library in the modules below.
#[macro_use]
mod output;

mod commands;
mod doctor;
mod error;
mod help;
mod layout;

use std::{
    env,
    io::{self, ErrorKind, IsTerminal},
    panic::{UnwindSafe, catch_unwind},
    process::ExitCode,
};

use crate::error::{Error, Result};
use anstream::{AutoStream, ColorChoice};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use wakeling_core::{
    console::{self, Stream, Style},
    progress,
};

/// Raise a wake word on a laptop, set it loose on a microcontroller
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Examples:
  wakeling record \"hey computer\"
  wakeling finetune --word \"hey computer=recordings/\" --out runs/computer
  wakeling listen runs/computer/model.wkl

`wakeling COMMAND -h` prints the everyday options, `--help` all of them."
)]
struct Wakeling {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(commands::record::RecordArgs),
    Listen(commands::listen::ListenArgs),
    #[cfg(feature = "serve")]
    Serve(commands::serve::ServeArgs),
    #[cfg(feature = "studio")]
    Studio(commands::studio::StudioArgs),
    #[command(name = "corpus", visible_alias = "dataset")]
    Dataset(commands::dataset::DatasetArgs),
    Pretrain(commands::pretrain::PretrainArgs),
    Finetune(commands::finetune::FinetuneArgs),
    Quantize(commands::quantize::QuantizeArgs),
    Evaluate(commands::evaluate::EvaluateArgs),
    Compare(commands::compare::CompareArgs),
    Simulate(commands::simulate::SimulateArgs),
    Boards(commands::boards::BoardsArgs),
    Flash(commands::flash::FlashArgs),
    Export(commands::export::ExportArgs),
    Sign(commands::sign::SignArgs),
    Device(commands::device::DeviceArgs),
    #[cfg(feature = "vision")]
    Images(commands::images::ImagesArgs),
    Import(commands::import::ImportArgs),
    Pack(commands::pack::PackArgs),
    CheckPhrase(commands::check_phrase::CheckPhraseArgs),
    Advise(commands::advise::AdviseArgs),
    Synthesize(commands::synthesize::SynthesizeArgs),
    Doctor(commands::doctor::DoctorArgs),
    Completions(commands::generate::CompletionsArgs),
    Man(commands::generate::ManArgs),
}

fn main() -> ExitCode {
    wakeling_train::startup::prepare();
    set_up_console();
    console::log_to_stderr();
    error::explain_logged();
    guarded(run)
}

/// Words that begin a message or a line of it, with their styles.
static LABELS: [(&str, Style); 4] = [
    ("error:", Style::Error),
    ("warning:", Style::Warning),
    ("remedy:", Style::Accent),
    ("next:", Style::Accent),
];

/// Decides about colours, for all output: clap decides by the same rules. `NO_COLOR`, `CLICOLOR`,
/// `CLICOLOR_FORCE` and `TERM` are honoured; a pipe or a file gets none.
fn set_up_console() {
    let has_colour = |choice| choice != ColorChoice::Never;
    // A program that reads lines of progress reads the messages as well.
    let is_read = env::var_os(progress::LINES).is_some();
    let (output, error) = (AutoStream::choice(&io::stdout()), AutoStream::choice(&io::stderr()));
    console::set_colour(Stream::Output, has_colour(output));
    console::set_colour(Stream::Error, has_colour(error) && !is_read);
    console::set_labels(&LABELS);
    if io::stderr().is_terminal() {
        // On Windows, creating this stream makes the console take escape sequences.
        let _ = AutoStream::always_ansi(io::stderr());
        let size = crossterm::terminal::size();
        console::set_columns(size.map_or(0, |(columns, _)| columns.into()));
    }
}

/// Runs the program. A panic is a defect and exits with the code of a defect.
fn guarded(run: impl FnOnce() -> ExitCode + UnwindSafe) -> ExitCode {
    catch_unwind(run)
        .unwrap_or_else(|_| end(Err(Error::defect("a panic, at the place named above"))))
}

fn run() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let extent = help::Extent::of(arguments.iter().skip(1).map(|argument| argument.as_os_str()));
    let mut definition = help::arrange(Wakeling::command(), extent);
    let parsed = definition.try_get_matches_from_mut(arguments);
    let parsed = parsed.and_then(|matches| {
        Wakeling::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
    });
    let command = match parsed {
        Ok(parsed) => parsed.command,
        Err(error) => return print(&error),
    };
    let all = || help::arrange(Wakeling::command(), help::Extent::Full);
    let result = match command {
        Command::Listen(args) => commands::listen::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => commands::serve::run(args),
        #[cfg(feature = "studio")]
        Command::Studio(args) => commands::studio::run(args),
        Command::Record(args) => commands::record::run(args),
        Command::Dataset(args) => commands::dataset::run(args),
        Command::Pretrain(args) => commands::pretrain::run(args),
        Command::Finetune(args) => commands::finetune::run(args),
        Command::Quantize(args) => commands::quantize::run(args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Compare(args) => commands::compare::run(args),
        Command::Simulate(args) => commands::simulate::run(args),
        Command::Boards(args) => commands::boards::run(args),
        Command::Flash(args) => commands::flash::run(args),
        Command::Export(args) => commands::export::run(args),
        Command::Sign(args) => commands::sign::run(args),
        Command::Device(args) => commands::device::run(args),
        #[cfg(feature = "vision")]
        Command::Images(args) => commands::images::run(args),
        Command::Import(args) => commands::import::run(args),
        Command::Pack(args) => commands::pack::run(args),
        Command::CheckPhrase(args) => commands::check_phrase::run(args),
        Command::Advise(args) => commands::advise::run(args),
        Command::Synthesize(args) => commands::synthesize::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Completions(args) => commands::generate::completions(args, all()),
        Command::Man(args) => commands::generate::man(args, all()),
    };
    end(result.and_then(|()| Ok(console::finish()?)))
}

/// Maps a result to an exit code, and logs an error.
fn end(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::info!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints help or a version to standard output, and errors in the arguments to standard error.
fn print(parsed: &clap::Error) -> ExitCode {
    match parsed.print() {
        Err(error) if !parsed.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
            end(Err(Error::io("standard output", "write")(error)))
        }
        _ => ExitCode::from(u8::try_from(parsed.exit_code()).unwrap_or(2)),
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{Arg, error::ErrorKind};

    use super::{CommandFactory, Error, ExitCode, Wakeling, end, guarded};

    #[test]
    fn defects_and_panics_end_with_5() {
        let codes = [
            guarded(|| panic!("for this test")),
            guarded(|| end(Err(Error::defect("for this test")))),
        ];
        assert_eq!(
            codes.map(|code| format!("{code:?}")),
            [5; 2].map(|code| format!("{:?}", ExitCode::from(code)))
        );
        assert_eq!(format!("{:?}", guarded(|| end(Ok(())))), format!("{:?}", ExitCode::SUCCESS));
    }

    /// Returns every option with a numeric value, with the names of its command.
    fn numeric_options(command: &clap::Command, path: &[String]) -> Vec<(Vec<String>, Arg)> {
        let path = [path, &[command.get_name().to_owned()]].concat();
        let own = command.get_arguments().filter(|arg| is_numeric(arg));
        let mut found: Vec<_> = own.map(|arg| (path.clone(), arg.clone())).collect();
        for command in command.get_subcommands() {
            found.extend(numeric_options(command, &path));
        }
        found
    }

    fn is_numeric(arg: &Arg) -> bool {
        let id = arg.get_value_parser().type_id();
        let types = [
            TypeId::of::<usize>(),
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<i8>(),
            TypeId::of::<i16>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
            TypeId::of::<isize>(),
            TypeId::of::<f32>(),
            TypeId::of::<f64>(),
        ];
        types.into_iter().any(|numeric| id == numeric)
    }

    #[test]
    fn every_number_has_a_range_that_the_parser_checks() {
        let options = numeric_options(&Wakeling::command(), &[]);
        let name = |arg: &Arg| arg.get_long().unwrap_or_default().to_owned();
        assert!(options.len() > 50, "{}", options.len());
        let signed = [TypeId::of::<i32>(), TypeId::of::<i64>(), TypeId::of::<isize>()];
        for (path, arg) in &options {
            let id = arg.get_value_parser().type_id();
            let is_signed = signed.iter().any(|signed| id == *signed);
            // A signed type comes from a range of literals without a suffix, which is `i32`;
            // parsing then panics.
            assert!(!is_signed, "{} --{}", path.join(" "), name(arg));
        }
        for (path, arg) in &options {
            let option = name(arg);
            let wrong = ["nan", "inf", "-inf", "-1e9", "1e300", "18446744073709551616", "x", ""];
            // Only seeds may use all 64 bits.
            let largest = (option != "seed").then_some("18446744073709551615");
            for value in wrong.into_iter().chain(largest) {
                let given = path.iter().cloned().chain([format!("--{option}={value}")]);
                let error = Wakeling::command().try_get_matches_from(given).expect_err(&option);
                let text = error.to_string();
                let place = format!("{} --{option}={value}: {text}", path.join(" "));
                assert_eq!(error.exit_code(), 2, "{place}");
                assert_eq!(error.kind(), ErrorKind::ValueValidation, "{place}");
                assert!(text.contains("expected a number from "), "{place}");
            }
        }
        // Zero makes no sense for these options.
        for option in
            ["steps", "backbone-steps", "workers", "ensemble", "takes", "count", "samples"]
        {
            assert!(options.iter().any(|(_, arg)| name(arg) == option), "{option}");
        }
        for (path, arg) in options.iter().filter(|(_, arg)| {
            [
                "steps",
                "backbone-steps",
                "workers",
                "readers",
                "ensemble",
                "takes",
                "count",
                "samples",
            ]
            .contains(&name(arg).as_str())
        }) {
            let given = path.iter().cloned().chain([format!("--{}=0", name(arg))]);
            let error = Wakeling::command().try_get_matches_from(given).expect_err("no range");
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{error}");
        }
    }

    #[test]
    fn numbers_within_words_are_checked_as_well() {
        for (option, value) in [
            ("finetune --train", "last:0"),
            ("finetune --train", "last:99999999999999999999"),
            ("compare --train", "scratch:0"),
            ("compare --train", "scratch:65536"),
            ("pretrain --weight", "words=nan"),
            ("pretrain --weight", "words=-1"),
            ("pretrain --device", "cuda:-1"),
        ] {
            let given = format!("wakeling {option}={value}");
            let error =
                Wakeling::command().try_get_matches_from(given.split(' ')).expect_err(value);
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{given}: {error}");
        }
    }
}
