//! The `wakeling` program: parses, dispatches, and maps errors to exit codes.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wakeling::cli;

/// Raise a wake word on a laptop, set it loose on a microcontroller
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Wakeling {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pretrain(cli::pretrain::PretrainArgs),
}

fn main() -> ExitCode {
    wakeling::startup::prepare();
    let result = match Wakeling::parse().command {
        Command::Pretrain(args) => cli::pretrain::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
