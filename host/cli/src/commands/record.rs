//! `wakeling record`: records takes of a phrase, or the sound of a room, from the microphone.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{check_phrase, file_name, number, shell_word};
use crate::error::{Error, Result};
use wakeling_capture as capture;
use wakeling_capture::{
    DefaultLoudspeaker,
    device::{Found, Microphone, Wanted},
    folder::{ClipMetadata, Folder},
    record::{Devices, Plan, record, record_room},
    terminal::{self, Screen},
};
use wakeling_data::synthesize;

/// Minimum length of room sound, in minutes.
const LEAST_MINUTES: f64 = 0.01;
/// Maximum length of room sound, in minutes.
const MOST_MINUTES: f64 = 1_000.0;
/// Supported sample rates of a microphone, in Hz.
const RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=1_536_000;
/// Maximum number of takes of one command.
const MOST_TAKES: u64 = 10_000;

/// Record a wake word, or the sound of the room
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling record \"hey computer\"
  wakeling record \"hey computer\" --takes 10 --speaker Ana --device usb
  wakeling record --negatives 10

Each take is counted down; a short tone (where there is no loudspeaker, the terminal's bell) and NOW
mean that the phrase is due. Takes from across the room have a longer countdown. Each take is cut
to the phrase, checked (clipped, too quiet, cut off), and kept or recorded again with one key. A
kept take is on the disk at once, as 16 kHz WAV with a line in manifest.jsonl. The same command
continues where you stopped. Then:
  wakeling finetune --word \"hey computer=recordings/hey-computer\" \\
    --negatives recordings/room --out runs/computer")]
pub struct RecordArgs {
    /// Phrase to record
    #[arg(required_unless_present_any = ["negatives", "list"])]
    phrase: Option<String>,
    /// Total number of takes to reach, including existing ones
    #[arg(short = 'n', long, default_value_t = 20, value_parser = number::within(1..=MOST_TAKES))]
    takes: u64,
    /// Name of the speaker, who is kept together when recordings are split
    #[arg(long, value_name = "NAME")]
    speaker: Option<String>,
    /// Record this many minutes of the room instead, as negative data for the phrase
    #[arg(long, value_name = "MINUTES", conflicts_with = "phrase",
        value_parser = number::within(LEAST_MINUTES..=MOST_MINUTES))]
    negatives: Option<f64>,
    /// Folder for the recordings [default: recordings/PHRASE, or recordings/room]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    microphone: MicrophoneArgs,
    /// List the microphones and exit
    #[arg(long)]
    list: bool,
    /// Ask nothing: keep good takes, and record the others again
    #[arg(long)]
    keep_good: bool,
    /// Play no tone when the phrase is due
    #[arg(long, short)]
    quiet: bool,
}

/// Choice of the microphone.
#[derive(Args, Clone, Debug)]
pub struct MicrophoneArgs {
    /// Microphone: its number in `wakeling record --list`, its name, or a part of it
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Sample rate in Hz [default: 16000 if the microphone supports it, else its own]
    #[arg(long, value_name = "HZ", value_parser = number::within(RATES_HZ))]
    rate: Option<u32>,
}

impl MicrophoneArgs {
    /// Returns the requested microphone and rate, if any.
    pub fn wanted(&self) -> Wanted {
        Wanted { device: self.device.clone(), rate: self.rate }
    }

    /// Opens the requested microphone, or asks if there are several and `may_ask` is set.
    ///
    /// # Errors
    /// As [`capture::open`], and errors of the screen.
    pub fn open(&self, screen: &mut dyn Screen, may_ask: bool) -> Result<Box<dyn Microphone>> {
        let mut wanted = self.wanted();
        if wanted.device.is_none() && may_ask {
            let found = capture::microphones()?;
            if found.len() > 1 {
                let list = index(&found);
                let answer = screen.ask(&format!("{list}Microphone"), "1")?;
                wanted.device = answer;
            }
        }
        Ok(capture::open(&wanted)?)
    }
}

/// Formats one microphone per line, with its number.
fn index(found: &[Found]) -> String {
    let line = |(i, f): (usize, &Found)| {
        let mark = if f.is_default { " (default)" } else { "" };
        format!("{:3}  {}{mark}\n", i + 1, f.name)
    };
    found.iter().enumerate().map(line).collect()
}

/// Runs the command.
///
/// # Errors
/// Errors of the microphone, of the folder, and of the arguments.
pub fn run(args: RecordArgs) -> Result<()> {
    if args.list {
        print!("{}", index(&capture::microphones()?));
        return Ok(());
    }
    match (args.negatives, &args.phrase) {
        (Some(minutes), _) => room(&args, minutes),
        (None, Some(phrase)) => takes(&args, phrase.trim()),
        (None, None) => Err(Error::usage("there is no phrase", "wakeling record \"hey computer\"")),
    }
}

fn room(args: &RecordArgs, minutes: f64) -> Result<()> {
    let path = args.out.clone().unwrap_or_else(|| Path::new("recordings").join("room"));
    let metadata = ClipMetadata { kind: "room".into(), ..ClipMetadata::default() };
    let mut folder = Folder::open(&path, "room", &metadata)?;
    let mut screen = terminal::screen()?;
    let mut microphone = args.microphone.open(screen.as_mut(), !args.keep_good)?;
    let mut devices = Devices {
        microphone: microphone.as_mut(),
        loudspeaker: &mut DefaultLoudspeaker,
        screen: screen.as_mut(),
    };
    let outcome = record_room(&mut devices, &mut folder, minutes);
    drop(screen);
    let seconds = outcome?;
    log::info!(
        "{seconds:.0} s recorded; {:.1} minutes are in {}",
        folder.seconds() / 60.0,
        path.display()
    );
    log::info!(
        "next: wakeling finetune --word NAME=PATH --negatives {} --out runs/NAME",
        shell_word(&path)
    );
    println!("{}", path.join(wakeling_data::dataset::manifest::MANIFEST).display());
    Ok(())
}

fn takes(args: &RecordArgs, phrase: &str) -> Result<()> {
    synthesize::check_text(phrase)?;
    let default = || Path::new("recordings").join(file_name(&phrase.to_lowercase()));
    let path = args.out.clone().unwrap_or_else(default);
    let metadata =
        ClipMetadata { text: phrase.into(), kind: "word".into(), ..ClipMetadata::default() };
    let mut folder = Folder::open(&path, "take", &metadata)?;
    check_phrase::warn(phrase, None);
    let there = folder.count(phrase);
    if there > 0 {
        log::info!("{there} takes are in {} already", path.display());
    }
    let mut screen = terminal::screen()?;
    let last = folder.kept().last().map(|k| k.metadata.speaker.clone()).unwrap_or_default();
    let speaker = match &args.speaker {
        Some(name) => name.clone(),
        None if args.keep_good => last,
        None => screen.ask("Name of the speaker (may be empty)", &last)?.unwrap_or_default(),
    };
    let mut microphone = args.microphone.open(screen.as_mut(), !args.keep_good)?;
    let plan = Plan {
        phrase: phrase.into(),
        takes: args.takes as usize,
        speaker,
        keep_good: args.keep_good,
        quiet: args.quiet,
    };
    let mut devices = Devices {
        microphone: microphone.as_mut(),
        loudspeaker: &mut DefaultLoudspeaker,
        screen: screen.as_mut(),
    };
    let outcome = record(&mut devices, &mut folder, &plan);
    // Dropping the screen restores the terminal before anything else is printed.
    drop(screen);
    let summary = outcome?;
    log::info!(
        "{} takes kept; {} of {} are in {}",
        summary.kept,
        summary.total,
        plan.takes,
        path.display()
    );
    let next = if summary.total < plan.takes {
        "give the same command again to go on".into()
    } else {
        format!(
            "next: wakeling finetune --word \"{phrase}={}\" --out runs/{}",
            path.display(),
            file_name(phrase)
        )
    };
    log::info!("{next}");
    println!("{}", path.join(wakeling_data::dataset::manifest::MANIFEST).display());
    Ok(())
}
