//! Effect of microphone faults: number of missed recordings of a keyword under each fault, and the
//! microphone health that the device reports. Writes the table of SECURITY.md.
//!
//! ```text
//! ./x demo      # makes the model
//! cargo run --release -p wakeling-experiments --bin stream_gaps -- runs/demo/model.wkl demo/test
//! ```
//!
//! A stream is 4 s of a quiet room, a recording, and 2 s of the room. A fault covers the whole
//! stream, or only the first 4 s, to count whether the keyword is detected directly after it. The
//! second table measures the duration of a fault's effect, with some seconds of the room between
//! the fault and the keyword.

use std::{env, path::Path};

use wakeling_audio as audio;
use wakeling_data::dataset::Dataset;
use wakeling_device::{
    model_file,
    simulate::{Chunking, Device},
};
use wakeling_experiments::{Error, Result};
use wakeling_shared::model::Model;

/// Samples of room before a recording, 4 s: two periods in which microphone health is judged.
const BEFORE: usize = 64_000;
const AFTER: usize = 32_000;

/// Seconds of room between the end of a fault and a keyword.
const GAPS: [usize; 6] = [0, 1, 2, 4, 8, 16];

/// Modification of a stream, sample by sample or as a whole.
type MicIssue = fn(&mut Vec<i16>);

const MIC_ISSUES: [(&str, MicIssue); 10] = [
    ("none", |_| {}),
    ("offset of 6,000", |pcm| pcm.iter_mut().for_each(|x| *x = x.saturating_add(6_000))),
    ("18 dB too loud, clipped", |pcm| pcm.iter_mut().for_each(|x| *x = x.saturating_mul(8))),
    ("20 ms of every second lost", |pcm| {
        *pcm = pcm
            .chunks(16_000)
            .flat_map(|second| &second[320.min(second.len())..])
            .copied()
            .collect();
    }),
    ("20 ms of every second twice", |pcm| {
        let second = |second: &[i16]| [&second[..320.min(second.len())], second].concat();
        *pcm = pcm.chunks(16_000).flat_map(second).collect();
    }),
    ("20 ms of every second silent", |pcm| {
        pcm.chunks_mut(16_000).for_each(|second| second.iter_mut().take(320).for_each(|x| *x = 0));
    }),
    ("digital silence", |pcm| pcm.fill(0)),
    ("stuck at 12,000", |pcm| pcm.fill(12_000)),
    ("square wave at full scale", |pcm| {
        pcm.iter_mut().enumerate().for_each(|(n, x)| *x = [i16::MIN, i16::MAX][n / 20 % 2]);
    }),
    // As loud, but below full scale; the running level follows it.
    ("square wave of 32,600", |pcm| {
        pcm.iter_mut().enumerate().for_each(|(n, x)| *x = [-32_600, 32_600][n / 20 % 2]);
    }),
];

/// Generates a quiet room, in which only the last bits vary.
fn room(samples: usize) -> Vec<i16> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as i16 % 16 - 8
    };
    (0..samples).map(|_| next()).collect()
}

/// Results over all recordings under one fault.
#[derive(Default)]
struct Counted {
    detections: usize,
    /// Names of the faults that the device reported.
    reported: Vec<String>,
    /// Number of streams without any fault at their end.
    recovered: usize,
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(model), Some(recordings)) = (arguments.next(), arguments.next()) else {
        return Err(Error::new("a model and recordings are expected: stream_gaps MODEL FOLDER"));
    };
    let path = Path::new(&model);
    let bytes = model_file::read(path)?;
    let model = model_file::load(path, &bytes)?;
    let clips: Vec<Vec<i16>> = Dataset::open(&recordings)?
        .examples
        .iter()
        .map(|e| audio::read(&e.path))
        .collect::<Result<_, _>>()?;
    let embedded = EmbeddedBackbone { model: &model, clips: &clips };
    println!(
        "| fault | missed of {} | told | missed right after it | over at the end |",
        clips.len()
    );
    println!("|---|---|---|---|---|");
    for (name, mic_issue) in MIC_ISSUES {
        let (all, before) = (embedded.count(mic_issue, None)?, embedded.count(mic_issue, Some(0))?);
        let mut reported = [&all.reported[..], &before.reported].concat();
        reported.sort();
        reported.dedup();
        println!(
            "| {name} | {} | {} | {} | {} of {} |",
            clips.len() - all.detections,
            if reported.is_empty() { "–".into() } else { reported.join(", ") },
            clips.len() - before.detections,
            before.recovered,
            clips.len(),
        );
    }
    let seconds = GAPS.map(|gap| format!(" {gap} s |")).concat();
    println!("\n| missed so long after |{seconds}\n|{}", "---|".repeat(1 + GAPS.len()));
    for (name, mic_issue) in MIC_ISSUES {
        print!("| {name} |");
        for gap in GAPS {
            print!(" {} |", clips.len() - embedded.count(mic_issue, Some(gap))?.detections);
        }
        println!();
    }
    Ok(())
}

/// Model and recordings of the experiment.
struct EmbeddedBackbone<'m> {
    model: &'m Model<'m>,
    clips: &'m [Vec<i16>],
}

impl EmbeddedBackbone<'_> {
    /// Runs the recordings under a fault, or with so many seconds between the fault and the
    /// recording.
    fn count(&self, mic_issue: MicIssue, seconds_after: Option<usize>) -> Result<Counted> {
        let mut counted = Counted::default();
        for clip in self.clips {
            let mut stream = room(BEFORE);
            if let Some(seconds) = seconds_after {
                mic_issue(&mut stream);
                stream.extend(room(seconds * 16_000));
                stream.extend([&clip[..], &room(2 * AFTER)].concat());
            } else {
                stream.extend([&clip[..], &room(AFTER)].concat());
                mic_issue(&mut stream);
            }
            let simulation = Device::Host(Chunking::Whole).run(self.model, &stream, false)?;
            counted.detections += usize::from(!simulation.detections.is_empty());
            let names = simulation.mic_issues.iter().map(|f| f.kind.name().to_owned());
            counted.reported.extend(names.filter(|name| name != "none"));
            let last = simulation.mic_issues.last();
            counted.recovered += usize::from(last.is_none_or(|f| f.kind.name() == "none"));
        }
        Ok(counted)
    }
}
