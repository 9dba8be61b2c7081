//! The `wakeling` program: parses, dispatches, and maps errors to exit codes.

#![deny(clippy::print_stderr)]

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use wakeling::cli;

/// Raise a wake word on a laptop, set it loose on a microcontroller
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Example:
  wakeling finetune --word \"hey computer=recordings/\" --out runs/computer
  wakeling simulate kitchen.wav --model runs/computer/model.wkl

`wakeling COMMAND --help` has more of them."
)]
struct Wakeling {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(cli::record::RecordArgs),
    Listen(cli::listen::ListenArgs),
    Studio(cli::studio::StudioArgs),
    Corpus(cli::corpus::CorpusArgs),
    Pretrain(cli::pretrain::PretrainArgs),
    Finetune(cli::finetune::FinetuneArgs),
    Quantize(cli::quantize::QuantizeArgs),
    Evaluate(cli::evaluate::EvaluateArgs),
    Compare(cli::compare::CompareArgs),
    Simulate(cli::simulate::SimulateArgs),
    Boards(cli::boards::BoardsArgs),
    Flash(cli::flash::FlashArgs),
    Sign(cli::sign::SignArgs),
    Device(cli::device::DeviceArgs),
    Images(cli::images::ImagesArgs),
    Pack(cli::pack::PackArgs),
    CheckPhrase(cli::check_phrase::CheckPhraseArgs),
    Advise(cli::advise::AdviseArgs),
    Synthesize(cli::synthesize::SynthesizeArgs),
    Doctor(cli::doctor::DoctorArgs),
    Completions(cli::generate::CompletionsArgs),
    Man(cli::generate::ManArgs),
}

fn main() -> ExitCode {
    wakeling::startup::prepare();
    let result = match Wakeling::parse().command {
        Command::Listen(args) => cli::listen::run(args),
        Command::Studio(args) => cli::studio::run(args),
        Command::Record(args) => cli::record::run(args),
        Command::Corpus(args) => cli::corpus::run(args),
        Command::Pretrain(args) => cli::pretrain::run(args),
        Command::Finetune(args) => cli::finetune::run(args),
        Command::Quantize(args) => cli::quantize::run(args),
        Command::Evaluate(args) => cli::evaluate::run(args),
        Command::Compare(args) => cli::compare::run(args),
        Command::Simulate(args) => cli::simulate::run(args),
        Command::Boards(args) => cli::boards::run(args),
        Command::Flash(args) => cli::flash::run(args),
        Command::Sign(args) => cli::sign::run(args),
        Command::Device(args) => cli::device::run(args),
        Command::Images(args) => cli::images::run(args),
        Command::Pack(args) => cli::pack::run(args),
        Command::CheckPhrase(args) => cli::check_phrase::run(args),
        Command::Advise(args) => cli::advise::run(args),
        Command::Synthesize(args) => cli::synthesize::run(args),
        Command::Doctor(args) => cli::doctor::run(args),
        Command::Completions(args) => cli::generate::completions(args, Wakeling::command()),
        Command::Man(args) => cli::generate::man(args, Wakeling::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            wakeling::log!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
