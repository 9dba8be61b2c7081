//! `wakeling listen`: detects keywords live, with the microphone and the device's pipeline.

use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    path::PathBuf,
};

use clap::Args;
use wakeling_shared::model::Model;

use super::{number, record::MicrophoneArgs};
use crate::error::Result;
use wakeling_capture::{
    live::{LiveDetection, Options, detect},
    terminal,
};
use wakeling_device::{
    owned::OwnedPipeline,
    sensitivity::{Preset, SensitivityScale},
    simulate::Sensitivity,
    stream::KeywordStream,
};

/// Longest time to listen, in seconds: 366 days.
const MOST_SECONDS: f64 = 31_622_400.0;

/// Detect wake words live with the microphone, as the device would
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling listen runs/computer/model.wkl
  wakeling listen runs/computer/model.wkl --false-accepts-per-hour 1
  wakeling listen runs/computer/model.wkl --seconds 60 --json > heard.jsonl

+ selects a more sensitive level and - a stricter one: strict, normal (the model's own threshold),
eager. Each is shown with its counted false accepts and their upper bound. The level of a detection
is its peak on a scale of 0 to 100, on which the threshold is 50. A line is printed when the word is
over, at most the refractory period (a second) after its detection. f saves the last three seconds
as a false wake, m as a miss; then:
  wakeling finetune --word \"hey computer=recordings/hey-computer\" \\
    --false-wakes runs/listen/false-wakes --samples runs/listen/misses/hey-computer --out runs/v2")]
pub struct ListenArgs {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    microphone: MicrophoneArgs,
    /// Sensitivity at the start
    #[arg(long, value_parser = crate::commands::choice::choice::<Preset>(), value_name = "NAME", conflicts_with = "false_accepts_per_hour")]
    sensitivity: Option<Preset>,
    /// Start with the threshold of the model's table for at most this rate
    #[arg(long, value_name = "RATE", value_parser = number::within(0.0..=number::MOST_PER_HOUR))]
    false_accepts_per_hour: Option<f64>,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = number::within(0.1..=MOST_SECONDS))]
    seconds: Option<f64>,
    /// Folder for saved false accepts and misses
    #[arg(long, value_name = "DIR", default_value = "runs/listen")]
    out: PathBuf,
    /// Print detections as one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Runs the command. A closed standard output ends it without an error message.
///
/// # Errors
/// Errors of the model, of the requested sensitivity, and of the microphone.
pub fn run(args: ListenArgs) -> Result<()> {
    let stream = KeywordStream::new(OwnedPipeline::open(&args.model)?);
    let sensitivity = args.sensitivity(stream.model())?;
    let mut screen = terminal::screen()?;
    let mut microphone = args.microphone.open(screen.as_mut(), false)?;
    // On a terminal the screen already shows them.
    let is_printed = args.json || !io::stdout().is_terminal();
    let mut is_closed = false;
    let mut on_detection = |detections: &LiveDetection| {
        if is_printed && let Err(error) = print(detections, args.json) {
            is_closed = error.kind() == ErrorKind::BrokenPipe;
            return Err(wakeling_capture::Error::io("standard output", "write")(error));
        }
        Ok(())
    };
    let (seconds, out) = (args.seconds, &args.out);
    let mut options = Options { seconds, sensitivity, out, on_detection: &mut on_detection };
    let outcome = detect(stream, microphone.as_mut(), screen.as_mut(), &mut options);
    drop(screen);
    if is_closed { Ok(()) } else { Ok(outcome?) }
}

impl ListenArgs {
    /// Returns the sensitivity settings of the model, with the initial one selected.
    fn sensitivity(&self, model: &Model<'_>) -> Result<SensitivityScale> {
        let mut scale = SensitivityScale::of(model);
        if let Some(rate) = self.false_accepts_per_hour {
            let mut chosen = model.clone();
            Sensitivity::FalseAcceptsPerHour(rate).apply(&mut chosen)?;
            let thresholds = chosen.words.iter().map(|w| w.detector.threshold).collect();
            return Ok(scale.with_thresholds(model, thresholds));
        }
        scale.move_to(self.sensitivity.unwrap_or_default() as usize);
        Ok(scale)
    }
}

fn print(detections: &LiveDetection, json: bool) -> io::Result<()> {
    let LiveDetection { time_s, word, score, threshold, peak, level } = detections;
    let mut out = io::stdout().lock();
    if json {
        let line = serde_json::json!({
            "time_s": time_s, "word": word, "score": score, "threshold": threshold,
            "peak": peak, "level": level.value(),
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{time_s:9.2} s  level {level:>3}  {word}")?;
    }
    out.flush()
}
