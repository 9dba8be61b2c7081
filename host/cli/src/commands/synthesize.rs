//! `wakeling synthesize`: makes samples of a phrase with the user's text-to-speech program.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{check_phrase, file_name, number, shell_word};
use crate::error::{Error, Result};
use wakeling_data::{
    phrase,
    synthesize::{Engine, Preset, Speech, Spoken, Template, Utterance, VoiceGrid, check_text},
};

/// Speak a phrase in many voices, for fine-tuning
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling synthesize \"hey computer\" --out speech/
  wakeling finetune --samples speech/ --out runs/computer

espeak-ng is fast and sounds mechanical; neural voices give better models. Any program works that
writes an audio file in a supported format:
  --command 'espeak-ng -v {voice} -s {speed} -p {pitch} -w {out} -- {text}'
  --command 'python3 -m piper -m {voice} --length-scale {speed} -f {out} -- {text}'
  --command 'python3 -m kokoro --voice {voice} --speed {speed} -o {out} --text {text}'
with --voices, --speeds and --pitches in the program's own units; {language} can be used too.
Without {text} the program reads the phrase from its standard input. No shell is involved.

Every file is checked for sound and length and becomes 16 kHz mono; manifest.jsonl names
the voice of each. The same command continues after an interruption. --negatives near/ also
makes samples of partial phrases, of the words in another order or twice, and of words that
sound similar, for finetune --negatives near/. They give fewer false accepts of partial
phrases, and more misses, many more if all voices are mechanical. Use them together with
recordings of people.")]
pub struct SynthesizeArgs {
    /// Phrase to speak
    phrase: String,
    /// Folder for the samples
    #[arg(long)]
    out: PathBuf,
    /// Folder for samples of similar phrases, as hard negatives
    #[arg(long, value_name = "DIR")]
    negatives: Option<PathBuf>,
    /// Known program, with its command line, voices, speeds and pitches
    #[arg(long, value_parser = crate::commands::choice::choice::<Engine>(), default_value = "espeak-ng")]
    engine: Engine,
    /// Command line of another program
    #[arg(long, value_name = "LINE", requires = "voices", conflicts_with = "engine")]
    command: Option<String>,
    /// Voices, instead of the known ones
    #[arg(long, num_args = 1..)]
    voices: Vec<String>,
    /// Speeds in the program's unit, instead of the known ones
    #[arg(long, num_args = 1..)]
    speeds: Vec<String>,
    /// Pitches in the program's unit, instead of the known ones
    #[arg(long, num_args = 1..)]
    pitches: Vec<String>,
    /// Maximum number of files; fewer if there are fewer combinations of voice, speed and pitch
    #[arg(long, default_value_t = 200, value_parser = number::within(1..=1_000_000_usize))]
    count: usize,
    /// Language of the phrase, as a code or an English name: en, pt-br, Portuguese [default:
    /// guessed]
    #[arg(long, value_parser = phrase::language::parse)]
    language: Option<String>,
    /// Time limit for one run of the program, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0,
        value_parser = number::within(0.01..=86_400.0))]
    timeout_s: f64,
    /// Seed of the order of voices, speeds and pitches
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
}

/// Number of voices for each text of the negatives.
const VOICES_PER_NEGATIVE: usize = 8;

/// Runs the command.
pub fn run(args: SynthesizeArgs) -> Result<()> {
    check_text(&args.phrase)?;
    let timeout = Duration::from_secs_f64(args.timeout_s);
    let language =
        args.language.clone().unwrap_or_else(|| phrase::guess_language(&args.phrase).into());
    check_phrase::warn(&args.phrase, args.language.as_deref());
    let Preset { template, grid } = args.preset(&language)?;
    let speech =
        |kind| Speech { template: template.clone(), language: language.clone(), kind, timeout };
    let utterances = grid.utterances(&args.phrase, args.count, args.seed);
    report(&speech("word").speak(&utterances, &args.out)?, &args.out, utterances.len());
    if let Some(folder) = &args.negatives {
        let utterances = args.negative_utterances(&grid, &language);
        report(&speech("speech").speak(&utterances, folder)?, folder, utterances.len());
    }
    log::info!(
        "next: wakeling finetune --samples {} --out runs/{}",
        shell_word(&args.out),
        file_name(&args.phrase)
    );
    println!("{}", args.out.display());
    Ok(())
}

impl SynthesizeArgs {
    /// Returns the command line with its voices, speeds and pitches, as changed by the options.
    fn preset(&self, language: &str) -> Result<Preset> {
        let one = || vec![String::new()];
        let mut preset = match &self.command {
            Some(line) => Preset {
                template: Template::parse(line)?,
                grid: VoiceGrid { voices: Vec::new(), speeds: one(), pitches: one() },
            },
            None => self.engine.preset(language, &self.voices)?,
        };
        let VoiceGrid { voices, speeds, pitches } = &mut preset.grid;
        for (own, list, place) in [
            (&self.voices, voices, "{voice}"),
            (&self.speeds, speeds, "{speed}"),
            (&self.pitches, pitches, "{pitch}"),
        ] {
            if !preset.template.has(place) && own.len() > 1 {
                let problem = format!("`{}` has no {place} to put them", preset.template);
                return Err(Error::usage(problem, format!("write {place} into --command")));
            }
            if !own.is_empty() {
                list.clone_from(own);
            }
            if preset.template.has(place) && list.iter().all(String::is_empty) {
                let problem =
                    format!("`{}` has a {place} and nothing to put there", preset.template);
                let option = place.trim_matches(['{', '}']);
                let plural = if option == "pitch" { "pitches" } else { &format!("{option}s") };
                return Err(Error::usage(problem, format!("give --{plural}")));
            }
        }
        Ok(preset)
    }

    /// Returns the utterances of the negatives: every text in some voices, with other voices for
    /// each text.
    fn negative_utterances(&self, grid: &VoiceGrid, language: &str) -> Vec<Utterance> {
        let g2p = wakeling_data::tokens::is_there(phrase::G2P).then_some(phrase::G2P);
        let texts = phrase::confusions(&phrase::check(&self.phrase, language, g2p), g2p);
        let texts = texts.iter().filter(|text| check_text(text).is_ok());
        let each = VOICES_PER_NEGATIVE.min(self.count);
        let in_voices =
            |(i, text): (usize, &String)| grid.utterances(text, each, self.seed + 1 + i as u64);
        texts.enumerate().flat_map(in_voices).collect()
    }
}

fn report(spoken: &Spoken, folder: &std::path::Path, asked: usize) {
    let Spoken { files, kept, alike, failed } = spoken;
    let mut line = format!("{}: {files} of {asked} files", folder.display());
    for (count, what) in [
        (*kept, "there before"),
        (*alike, "like another and removed"),
        (failed.len(), "voices failed"),
    ] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    log::info!("{line}");
}
