//! `wakeling simulate`: runs recordings through the device's pipeline, here or in an emulator.
//!
//! Each file starts with the device in its initial state. Some silence follows it, since a phrase
//! at the very end is detected only after the receptive field has passed it.

use std::{
    collections::HashSet,
    fs,
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Serialize, Serializer};
use wakeling_shared::{
    events,
    mic_health::MicIssueKind,
    model::{Keyword, Model},
};

use super::number;
use crate::error::{Error, Result};
use wakeling_audio as audio;
use wakeling_audio::AudioReader;
use wakeling_data::dataset::folder::FolderContents;
use wakeling_device::{
    emulator::Emulator,
    model_file,
    sensitivity::{DetectionLevel, Preset},
    simulate::{Chunking, Detection, Device, SAMPLE_RATE_HZ, Sensitivity, Simulation},
};

const LONGEST_TAIL_S: f64 = 60.0;
/// Allowed raw scores: 0 and 1 have no finite logit.
const SCORES: std::ops::RangeInclusive<f64> = 0.000_001..=0.999_999;

/// Detect wake words in recordings, as the device will.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  wakeling simulate recordings/ kitchen.wav --model hey.wkl --json\n  wakeling simulate kitchen.wav --model hey.wkl --emulator\n\nThe level of a detection is its peak on a scale of 0 to 100 on which the threshold in force is 50;\nten levels are a factor of 7.4 in the odds. --json has it beside the raw scores."
)]
pub struct SimulateArgs {
    /// Recordings, or folders of them
    #[arg(required = true, value_name = "FILE", help = format!("Recordings, or folders of them: {}", audio::FORMATS))]
    pub files: Vec<PathBuf>,
    /// The model file
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Run the firmware on an emulated Cortex-M4F instead of the pipeline in this program
    #[arg(long)]
    pub emulator: bool,
    /// ELF file of the firmware [default: $WAKELING_FIRMWARE, then what ./x firmware built]
    #[arg(long, value_name = "ELF", requires = "emulator")]
    pub firmware: Option<PathBuf>,
    /// Print one JSON object per line instead of a table
    #[arg(long)]
    pub json: bool,
    /// Print the scores of every step too
    #[arg(long)]
    pub scores: bool,
    /// Seconds of silence after each file
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5,
        value_parser = number::within(0.0..=LONGEST_TAIL_S))]
    pub tail_s: f64,
    /// Sensitivity of the detection
    #[arg(long, value_parser = crate::commands::choice::choice::<Preset>(), value_name = "NAME",
        conflicts_with_all = ["threshold", "false_accepts_per_hour"])]
    pub sensitivity: Option<Preset>,
    /// Raw score (0 … 1) at which a keyword is detected, instead of the model's
    #[arg(long, value_name = "SCORE", conflicts_with = "false_accepts_per_hour",
        value_parser = number::within(SCORES))]
    pub threshold: Option<f64>,
    /// Take the threshold from the model's table for at most this rate
    #[arg(long, value_name = "RATE", value_parser = number::within(0.0..=number::MOST_PER_HOUR))]
    pub false_accepts_per_hour: Option<f64>,
}

impl SimulateArgs {
    fn sensitivity(&self) -> Sensitivity {
        match (self.threshold, self.false_accepts_per_hour, self.sensitivity) {
            (Some(score), ..) => Sensitivity::Score(score),
            (None, Some(rate), _) => Sensitivity::FalseAcceptsPerHour(rate),
            (None, None, Some(preset)) => Sensitivity::Preset(preset),
            (None, None, None) => Sensitivity::Model,
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

/// Runs the command. A closed standard output ends it without an error message. A recording that
/// cannot be read is logged, and the others are processed.
///
/// # Errors
/// Errors of the model, of the requested sensitivity, and of the emulator; [`Error::input`] at the
/// end if a recording could not be read.
pub fn run(args: SimulateArgs) -> Result<()> {
    let bytes = model_file::read(&args.model)?;
    let mut model = model_file::load(&args.model, &bytes)?;
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
    let mut unread = Vec::new();
    for file in &files {
        let simulation = match simulate(&device, &model, file, tail, args.scores) {
            Ok(simulation) => simulation,
            Err(error) if files.len() == 1 => return Err(error),
            Err(error) if error.is_about(file) => {
                log::info!("skipped: {error}");
                unread.push(file);
                continue;
            }
            Err(error) => return Err(error),
        };
        match printer.file(file, &simulation) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(Error::io("standard output", "write"))?,
        }
    }
    match unread.first() {
        None => Ok(()),
        Some(first) => Err(Error::input(
            first,
            format!(
                "{} of {} recordings cannot be read; this is the first",
                unread.len(),
                files.len()
            ),
            "see the lines above; all others were processed",
        )),
    }
}

/// Plays a file and the tail to a device in its initial state, block by block.
fn simulate(
    device: &Device,
    model: &Model<'_>,
    file: &Path,
    tail: usize,
    scores: bool,
) -> Result<Simulation> {
    let mut reader = AudioReader::open(file)?;
    let mut blocks = reader.by_ref().chain(std::iter::once(Ok(vec![0; tail])));
    let simulation = device.run_blocks(model, &mut blocks, scores)?;
    if let Some(what) = reader.shortfall() {
        audio::log_shortfall(&file.display().to_string(), &what);
    }
    Ok(simulation)
}

/// Returns the named files and the recordings in the named folders, each folder sorted by name.
/// Audio files that cannot be read are logged.
fn recordings(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            let (before, mut skipped) = (files.len(), 0);
            collect(path, &mut HashSet::new(), &mut files, &mut skipped)?;
            if files.len() == before {
                let remedy = match skipped {
                    0 => format!("name a folder that holds recordings: {}", audio::FORMATS),
                    _ => "convert the files named above".to_owned(),
                };
                return Err(Error::input(path, "no recordings in this folder", remedy));
            }
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// Adds the recordings below a folder. Folders in `seen`, reached again through a link, are
/// skipped.
fn collect(
    folder: &Path,
    seen: &mut HashSet<PathBuf>,
    files: &mut Vec<PathBuf>,
    skipped: &mut usize,
) -> Result<()> {
    if !seen.insert(fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())) {
        return Ok(());
    }
    let index = FolderContents::read(folder).map_err(Error::io(folder, "read"))?;
    for left_out in &index.skipped {
        log::info!("skipped: {left_out}");
    }
    *skipped += index.skipped.len();
    let mut entries: Vec<(PathBuf, bool)> = index.audio.into_iter().map(|p| (p, false)).collect();
    entries.extend(index.folders.into_iter().map(|p| (p, true)));
    entries.sort();
    for (path, is_folder) in entries {
        if is_folder {
            collect(&path, seen, files, skipped)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Writer of detections as a table or as JSON.
struct Printer<'m, 'a, W> {
    out: W,
    json: bool,
    model: &'m Model<'a>,
    /// Length of the longest file name, in characters.
    width: usize,
}

#[derive(Serialize)]
struct DetectionLine<'l> {
    file: &'l str,
    time_s: f64,
    word: &'l str,
    score: f64,
    peak: f64,
    threshold: f64,
    level: f64,
}

#[derive(Serialize)]
struct StepLine<'l> {
    file: &'l str,
    time_s: f64,
    scores: KeywordScores<'l>,
}

/// Scores as a JSON object with the keywords as keys, in the order of the model.
struct KeywordScores<'l>(Vec<(&'l str, f64)>);

impl Serialize for KeywordScores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Returns the score of a smoothed logit, rounded to its precision.
fn score(logit: i16) -> f64 {
    const PLACES: f64 = 10_000.0;
    (wakeling_device::simulate::score(logit) * PLACES).round() / PLACES
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE_HZ)
}

/// Returns the microphone health message for the user.
fn describe(kind: MicIssueKind) -> &'static str {
    match kind {
        MicIssueKind::None => "the sound is good again",
        MicIssueKind::Stuck => {
            "the sound is one value: the microphone is off, muted or not connected"
        }
        MicIssueKind::Clipping => {
            "the sound clips: turn the microphone down, or speak from farther away"
        }
        MicIssueKind::Offset => "the sound is not around zero: the microphone has a large offset",
    }
}

impl<W: Write> Printer<'_, '_, W> {
    /// Writes all results of a file in order of time. A step comes before its detection.
    fn file(&mut self, file: &Path, simulation: &Simulation) -> io::Result<()> {
        let name = file.display().to_string();
        for mic_issue in &simulation.mic_issues {
            let (from_s, what) = (seconds(mic_issue.end_samples), describe(mic_issue.kind));
            log::info!("{name}: from {from_s:.2} s on: {what}");
        }
        let mut detections = simulation.detections.iter().peekable();
        for step in &simulation.steps {
            while let Some(earlier) = detections.next_if(|d| d.end_samples < step.end_samples) {
                self.detection(&name, earlier)?;
            }
            let smoothed = step.words.iter().map(|s| s.smoothed);
            self.step(&name, seconds(step.end_samples), smoothed)?;
        }
        detections.try_for_each(|d| self.detection(&name, d))?;
        if simulation.detections.is_empty() && !self.json {
            let nearest = self.nearest(simulation);
            writeln!(self.out, "{name:<width$}  nothing heard{nearest}", width = self.width)?;
        }
        if let (Some(stats), false) = (&simulation.stats, self.json) {
            let audio_s = seconds(stats.samples).max(f64::MIN_POSITIVE);
            writeln!(
                self.out,
                "{name:<width$}  device: {:.2} M instructions a second, {} bytes of stack, {} of arena; printing of scores included",
                stats.audio_instructions as f64 / audio_s / 1e6,
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

    /// Returns the level that came nearest to a detection, with its keyword if there are several.
    fn nearest(&self, simulation: &Simulation) -> String {
        let words = self.model.words.iter().zip(&simulation.highest);
        let levels = words.map(|(w, &l)| (DetectionLevel::of(l, w.detector.threshold), w.label));
        match levels.max_by_key(|(level, _)| *level) {
            None => String::new(),
            Some((level, _)) if self.model.words.len() == 1 => format!(" (highest level {level})"),
            Some((level, word)) => format!(" (highest level {level}, {word})"),
        }
    }

    /// Returns the threshold (Q8) of a keyword, named as the device prints it.
    fn threshold(&self, word: &str) -> i16 {
        let is_word = |w: &&Keyword<'_>| events::Text(w.label).to_string() == word;
        // The device prints only keywords of the model.
        self.model.words.iter().find(is_word).map_or(0, |w| w.detector.threshold)
    }

    fn detection(&mut self, file: &str, detection: &Detection) -> io::Result<()> {
        let time_s = seconds(detection.end_samples);
        let (word, threshold) = (&detection.word, self.threshold(&detection.word));
        let level = DetectionLevel::of(detection.peak, threshold);
        if self.json {
            return self.json_line(&DetectionLine {
                file,
                time_s,
                word,
                score: score(detection.logit),
                peak: score(detection.peak),
                threshold: score(threshold),
                level: level.value(),
            });
        }
        writeln!(
            self.out,
            "{file:<width$}  {time_s:9.2} s  level {level:>3}  {word}",
            width = self.width
        )
    }

    /// Writes a step with the smoothed logit (Q8) of each keyword.
    fn step(
        &mut self,
        file: &str,
        time_s: f64,
        smoothed: impl Iterator<Item = i16>,
    ) -> io::Result<()> {
        let words = self.model.words.iter().zip(smoothed);
        if self.json {
            let scores = KeywordScores(words.map(|(w, logit)| (w.label, score(logit))).collect());
            return self.json_line(&StepLine { file, time_s, scores });
        }
        write!(self.out, "{file:<width$}  {time_s:9.2} s ", width = self.width)?;
        for (word, logit) in words {
            let level = DetectionLevel::of(logit, word.detector.threshold);
            write!(self.out, "  {} {level:>3}", word.label)?;
        }
        writeln!(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use wakeling_shared::{
        detector::DetectorParams,
        events::{Score, Scores, Stats},
        model::Card,
    };

    use wakeling_audio::features::{FrontendTables, NormalizationKind};

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
        let args = parse("simulate a --model m --sensitivity eager").unwrap();
        assert_eq!(args.sensitivity(), Sensitivity::Preset(Preset::Eager));
        assert!(parse("simulate a --model m --sensitivity eager --threshold 0.7").is_err());
        assert!(parse("simulate a --model m --sensitivity loud").is_err());
        assert!(parse("simulate a --model m --tail-s NaN").is_err());
    }

    /// Returns the output for a simulation with one keyword of threshold `threshold` (Q8).
    fn printed(simulation: &Simulation, threshold: i16, json: bool) -> String {
        let tables = FrontendTables::default();
        let detector = DetectorParams { smoothing_steps: 1, threshold, refractory_steps: 9 };
        let word = Keyword { label: "hey \"you\"", detector, points: Default::default() };
        let model = Model {
            card: Card::default(),
            frontend: tables.params(NormalizationKind::Log),
            frames_per_step: 2,
            layers: Default::default(),
            backbone_layers: 0,
            heads: Default::default(),
            words: [word].into_iter().collect(),
            gate: None,
            statistics: None,
        };
        let mut printer = Printer { out: Vec::new(), json, model: &model, width: 5 };
        printer.file(Path::new("a.wav"), simulation).unwrap();
        String::from_utf8(printer.out).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_with_raw_score_peak_threshold_and_level() {
        let word = "hey \"you\"".into();
        let detection = Detection { end_samples: 8_000, logit: 512, peak: 1_024, word };
        let simulation = Simulation {
            detections: vec![detection],
            stats: Some(Stats::default()),
            ..Simulation::default()
        };
        assert_eq!(
            printed(&simulation, 0, true),
            "{\"file\":\"a.wav\",\"time_s\":0.5,\"word\":\"hey \\\"you\\\"\",\"score\":0.8808,\
             \"peak\":0.982,\"threshold\":0.5,\"level\":70.0}\n"
        );
    }

    #[test]
    fn people_read_levels_with_the_threshold_at_fifty_for_every_model() {
        // Thresholds of three training runs: 0.0046, 0.9994, 0.0288.
        for threshold in [-1_377, 1_898, -901] {
            let score = |above: i16| Score { logit: 0, smoothed: threshold + above };
            let step = |index, above| Scores {
                index,
                end_samples: 160 * index,
                words: [score(above)].into_iter().collect(),
            };
            let detection = Detection {
                end_samples: 320,
                logit: threshold,
                peak: threshold + 700,
                word: "hey \"you\"".into(),
            };
            let simulation = Simulation {
                steps: vec![step(1, -256), step(2, 0)],
                detections: vec![detection],
                ..Simulation::default()
            };
            assert_eq!(
                printed(&simulation, threshold, false),
                "a.wav       0.01 s   hey \"you\"  45\n\
                 a.wav       0.02 s   hey \"you\"  50\n\
                 a.wav       0.02 s  level  63  hey \"you\"\n"
            );
            let silent = Simulation { highest: vec![threshold - 1], ..Simulation::default() };
            assert_eq!(
                printed(&silent, threshold, false),
                "a.wav  nothing heard (highest level 49)\n"
            );
        }
    }

    #[test]
    fn a_folder_gives_its_recordings_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.WAV", "a.flac", "note.txt", "._b.WAV", ".c.wav", "d.amr"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("ab")).unwrap();
        fs::write(folder.path().join("ab/a.m4a"), "").unwrap();
        let found = recordings(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().filter_map(|f| f.file_name()).collect();
        assert_eq!(names, ["a.flac", "a.m4a", "b.WAV"]);
        let empty = tempfile::tempdir().unwrap();
        assert!(recordings(&[empty.path().to_owned()]).is_err());
    }
}
