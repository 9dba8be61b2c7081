//! `wakeling simulate`: what a device would hear in recordings, on the laptop or in an emulator.
//!
//! Each file is a fresh start of the device, and a little silence follows it, since a phrase at the
//! very end is heard only once the receptive field has passed over it.

use std::{
    fs,
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Serialize, Serializer};
use wakeling_shared::{artifact::Model, fault::FaultKind};

use super::number;
use crate::{
    Error, Result, artifact, audio,
    corpus::AUDIO,
    emulator::Emulator,
    simulate::{Chunking, Detection, Device, SAMPLE_RATE_HZ, Sensitivity, Simulation},
};

const LONGEST_TAIL_S: f64 = 60.0;
/// Scores that have a logit.
const SCORES: std::ops::RangeInclusive<f64> = 0.000_001..=0.999_999;

/// Hear recordings as the device will.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  wakeling simulate recordings/ kitchen.wav --model hey.wkl --json\n  wakeling simulate kitchen.wav --model hey.wkl --emulator"
)]
pub struct SimulateArgs {
    /// Recordings, or folders of them (wav, flac, mp3, ogg)
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The model file
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Run the firmware on an emulated Cortex-M4F instead of the pipeline here
    #[arg(long)]
    pub emulator: bool,
    /// The firmware's ELF file [default: $WAKELING_FIRMWARE, then what ./x firmware built]
    #[arg(long, value_name = "ELF", requires = "emulator")]
    pub firmware: Option<PathBuf>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    pub json: bool,
    /// Print the scores of every step too
    #[arg(long)]
    pub scores: bool,
    /// Seconds of silence that follow each file
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5,
        value_parser = number::within(0.0..=LONGEST_TAIL_S))]
    pub tail_s: f64,
    /// Score (0 … 1) at which a word counts as heard, instead of the model's
    #[arg(long, value_name = "SCORE", conflicts_with = "false_accepts_per_hour",
        value_parser = number::within(SCORES))]
    pub threshold: Option<f64>,
    /// Take the threshold from the model's table for at most this rate
    #[arg(long, value_name = "RATE", value_parser = number::within(0.0..=number::MOST_PER_HOUR))]
    pub false_accepts_per_hour: Option<f64>,
}

impl SimulateArgs {
    fn sensitivity(&self) -> Sensitivity {
        match (self.threshold, self.false_accepts_per_hour) {
            (Some(score), _) => Sensitivity::Score(score),
            (None, Some(rate)) => Sensitivity::FalseAcceptsPerHour(rate),
            (None, None) => Sensitivity::Model,
        }
    }

    fn device(&self) -> Result<Device> {
        if self.emulator {
            Ok(Device::Emulator(Emulator::find(self.firmware.as_deref())?))
        } else {
            Ok(Device::Host(Chunking::Whole))
        }
    }

    fn tail_samples(&self) -> usize {
        (self.tail_s * f64::from(SAMPLE_RATE_HZ)).round() as usize
    }
}

/// Runs the command; a closed standard output ends it quietly.
///
/// # Errors
/// Those of reading model and recordings, of the sensitivity asked for, and of the emulator.
pub fn run(args: SimulateArgs) -> Result<()> {
    let bytes = artifact::read(&args.model)?;
    let mut model = artifact::load(&args.model, &bytes)?;
    args.sensitivity().apply(&mut model)?;
    let device = args.device()?;
    let tail = args.tail_samples();
    let files = recordings(&args.files)?;
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        json: args.json,
        model: &model,
        width: files.iter().map(|f| f.display().to_string().chars().count()).max().unwrap_or(0),
    };
    for file in &files {
        let mut pcm = audio::read(file)?;
        pcm.resize(pcm.len() + tail, 0);
        let simulation = device.run(&model, &pcm, args.scores)?;
        match printer.file(file, &simulation) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(Error::io("standard output", "write"))?,
        }
    }
    Ok(())
}

/// The files named, and those in the folders named, each folder's in order of name.
fn recordings(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            let before = files.len();
            collect(path, &mut files)?;
            if files.len() == before {
                let remedy = "name a folder that holds wav, flac, mp3 or ogg files";
                return Err(Error::input(path, "no recordings in this folder", remedy));
            }
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder).and_then(|entries| entries.collect());
    let mut entries = entries.map_err(Error::io(folder, "read"))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io(&path, "read"))?;
        if kind.is_dir() {
            collect(&path, files)?;
        } else if is_recording(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_recording(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    AUDIO.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Writes what was heard, as a table or as JSON.
struct Printer<'m, 'a, W> {
    out: W,
    json: bool,
    model: &'m Model<'a>,
    /// Of the longest file name, in characters.
    width: usize,
}

#[derive(Serialize)]
struct DetectionLine<'l> {
    file: &'l str,
    time_s: f64,
    word: &'l str,
    score: f64,
}

#[derive(Serialize)]
struct StepLine<'l> {
    file: &'l str,
    time_s: f64,
    scores: WordScores<'l>,
}

/// An object with the words as keys, in the order of the model.
struct WordScores<'l>(Vec<(&'l str, f64)>);

impl Serialize for WordScores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The score of a smoothed logit, rounded to what its precision supports.
fn score(logit: i16) -> f64 {
    const PLACES: f64 = 10_000.0;
    (crate::simulate::score(logit) * PLACES).round() / PLACES
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE_HZ)
}

/// For a person.
fn describe(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::None => "the sound is in order again",
        FaultKind::Stuck => "the sound is one value: the microphone is off, muted or not connected",
        FaultKind::Clipping => {
            "the sound clips: turn the microphone down, or speak from further away"
        }
        FaultKind::Offset => "the sound is not around zero: the microphone has a large offset",
    }
}

impl<W: Write> Printer<'_, '_, W> {
    /// Everything about one file, in order of time; a step comes before what it detected.
    fn file(&mut self, file: &Path, simulation: &Simulation) -> io::Result<()> {
        let name = file.display().to_string();
        for fault in &simulation.faults {
            let (from_s, what) = (seconds(fault.end_samples), describe(fault.kind));
            crate::log!("{name}: from {from_s:.2} s on: {what}");
        }
        let mut detections = simulation.detections.iter().peekable();
        for step in &simulation.steps {
            while let Some(earlier) = detections.next_if(|d| d.end_samples < step.end_samples) {
                self.detection(&name, earlier)?;
            }
            let scores = step.words.iter().map(|s| score(s.smoothed));
            self.step(&name, seconds(step.end_samples), scores)?;
        }
        detections.try_for_each(|d| self.detection(&name, d))?;
        if simulation.detections.is_empty() && !self.json {
            writeln!(self.out, "{name:<width$}  nothing heard", width = self.width)?;
        }
        if let (Some(stats), false) = (&simulation.stats, self.json) {
            let heard_s = seconds(stats.samples).max(f64::MIN_POSITIVE);
            writeln!(
                self.out,
                "{name:<width$}  device: {:.2} M instructions a second, {} bytes of stack, {} of arena",
                stats.audio_instructions as f64 / heard_s / 1e6,
                stats.stack_bytes,
                stats.arena_bytes,
                width = self.width,
            )?;
        }
        self.out.flush()
    }

    fn json_line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }

    fn detection(&mut self, file: &str, detection: &Detection) -> io::Result<()> {
        let time_s = seconds(detection.end_samples);
        let (word, score) = (&detection.word, score(detection.logit));
        if self.json {
            self.json_line(&DetectionLine { file, time_s, word, score })
        } else {
            writeln!(
                self.out,
                "{file:<width$}  {time_s:9.2} s  {score:6.4}  {word}",
                width = self.width
            )
        }
    }

    fn step(
        &mut self,
        file: &str,
        time_s: f64,
        scores: impl Iterator<Item = f64>,
    ) -> io::Result<()> {
        let labelled = self.model.words.iter().map(|w| w.label).zip(scores);
        if self.json {
            let scores = WordScores(labelled.collect());
            return self.json_line(&StepLine { file, time_s, scores });
        }
        write!(self.out, "{file:<width$}  {time_s:9.2} s ", width = self.width)?;
        for (label, score) in labelled {
            write!(self.out, "  {label} {score:6.4}")?;
        }
        writeln!(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use wakeling_shared::{artifact::Card, events::Stats};

    use crate::features::{FrontendTables, NormalizationKind};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(line: &str) -> clap::error::Result<SimulateArgs> {
        Line::try_parse_from(line.split(' ')).map(|line| line.args)
    }

    #[test]
    fn the_command_line_is_consistent() {
        let args = parse("simulate a.wav b/ --model m.wkl --threshold 0.7 --tail-s 1").unwrap();
        assert_eq!(args.sensitivity(), Sensitivity::Score(0.7));
        assert_eq!(args.tail_samples(), 16_000);
        assert!(parse("simulate --model m.wkl").is_err());
        assert!(parse("simulate a.wav --model m --firmware f").is_err());
        assert!(parse("simulate a --model m --threshold 0.7 --false-accepts-per-hour 1").is_err());
        assert!(parse("simulate a --model m --tail-s NaN").is_err());
    }

    #[test]
    fn json_is_one_object_a_line() {
        let tables = FrontendTables::default();
        let model = Model {
            card: Card::default(),
            frontend: tables.params(NormalizationKind::Log),
            frames_per_step: 2,
            layers: Default::default(),
            trunk_layers: 0,
            heads: Default::default(),
            words: Default::default(),
            gate: None,
        };
        let detection = Detection { end_samples: 8_000, logit: 512, word: "hey \"you\"".into() };
        let simulation = Simulation {
            detections: vec![detection],
            stats: Some(Stats::default()),
            ..Simulation::default()
        };
        let mut printer = Printer { out: Vec::new(), json: true, model: &model, width: 5 };
        printer.file(Path::new("a.wav"), &simulation).unwrap();
        assert_eq!(
            String::from_utf8(printer.out).unwrap(),
            "{\"file\":\"a.wav\",\"time_s\":0.5,\"word\":\"hey \\\"you\\\"\",\"score\":0.8808}\n"
        );
    }

    #[test]
    fn a_folder_gives_its_recordings_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.WAV", "a.flac", "note.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = recordings(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().filter_map(|f| f.file_name()).collect();
        assert_eq!(names, ["a.flac", "b.WAV"]);
        let empty = tempfile::tempdir().unwrap();
        assert!(recordings(&[empty.path().to_owned()]).is_err());
    }
}
