//! Distillation data: speech streams with the outputs of a larger network.
//!
//! A teacher, trained on far more speech than is available here, passes on what it learned through
//! its outputs on the available speech (distillation: Hinton et al. 2015; of features, Romero et
//! al. 2015). A folder holds
//!
//! - `teacher.json`: [`Teacher`], the description of the outputs;
//! - `streams.jsonl`: one JSON object per line, with `audio` and `targets` (file names), and
//!   `clips`, the labelled stretches: `start_s`, `end_s`, `text`, `lang`, `kind`;
//! - the audio, and for each file a `.npy` of `f32`, `(rows, dimensions)`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use serde::Deserialize;
use wakeling_shared::frontend::FrontendParams;

use crate::{Error, Result};
use wakeling_audio::features::LogMel;
use wakeling_core::progress::progress_bar;
use wakeling_data::clip_features::read_log_mel;
use wakeling_data::{dataset::Example, mixing::FRAMES_PER_SECOND};

/// Approximate reach of a frame beyond its hops, in seconds: its window of 30 ms extends 20 ms
/// further, and the teacher's frames are 25 ms long.
const FRAME_REACH_S: f32 = 0.025;

/// Description of a teacher's outputs.
#[derive(Clone, Debug, Deserialize)]
pub struct Teacher {
    /// Name of the teacher, for the provenance of the pretrained model.
    pub name: String,
    /// Time between two rows, in seconds.
    pub hop_s: f32,
    /// Length of the stream that the first row covers, in seconds.
    pub first_s: f32,
}

/// Labelled stretch of a stream, as stored in the file.
#[derive(Clone, Debug, Deserialize)]
struct Stretch {
    start_s: f32,
    end_s: f32,
    text: Option<String>,
    lang: Option<String>,
    kind: Option<String>,
}

/// Line of `streams.jsonl`.
#[derive(Debug, Deserialize)]
struct Line {
    audio: PathBuf,
    targets: PathBuf,
    #[serde(default)]
    clips: Vec<Stretch>,
}

/// Labelled stretch of a stream.
#[derive(Clone, Debug)]
pub struct TeacherClip {
    /// First frame.
    pub start: usize,
    /// One past the last frame.
    pub end: usize,
    /// Labels; the path is that of the stream.
    pub example: Example,
}

/// Stream with labelled stretches and teacher targets.
pub struct TeacherStream {
    /// Log-mel frames.
    pub log_mel: LogMel,
    /// Labelled stretches, in order.
    pub clips: Vec<TeacherClip>,
    /// Targets `(rows, dimensions)`, each dimension with mean 0 and variance 1 over all streams.
    targets: Vec<f32>,
}

/// Streams of one teacher.
pub struct TeacherTargets {
    /// Description of the teacher's outputs.
    pub teacher: Teacher,
    /// Number of values per row.
    pub dimensions: usize,
    /// Streams.
    pub streams: Vec<TeacherStream>,
}

impl TeacherTargets {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`Error::TeacherFile`] naming the first file that is missing or does not fit.
    pub fn load(folder: &Path, frontend: &FrontendParams<'_>) -> Result<Self> {
        let teacher: Teacher = parse(&folder.join("teacher.json"), &read(folder, "teacher.json")?)?;
        if !(teacher.hop_s > 0.0 && teacher.first_s >= 0.0) {
            let problem = "hop_s must be positive and first_s not negative";
            return Err(misfit(&folder.join("teacher.json"), problem));
        }
        let list = folder.join("streams.jsonl");
        let text = read(folder, "streams.jsonl")?;
        let lines: Vec<Line> =
            text.lines().map(|line| parse(&list, line)).collect::<Result<_>>()?;
        if lines.is_empty() {
            return Err(misfit(&list, "it names no stream"));
        }
        let bar = progress_bar(lines.len() as u64, "taught");
        let read = |line: &Line| {
            bar.inc(1);
            stream(folder, line, frontend)
        };
        let read: Vec<(TeacherStream, usize)> =
            lines.par_iter().map(read).collect::<Result<_>>()?;
        bar.finish_and_clear();
        let dimensions = read[0].1;
        if read.iter().any(|(_, d)| *d != dimensions) {
            return Err(misfit(&list, "the streams' targets differ in width"));
        }
        let mut streams: Vec<TeacherStream> = read.into_iter().map(|(s, _)| s).collect();
        standardize(&mut streams, dimensions);
        Ok(Self { teacher, dimensions, streams })
    }

    /// Writes the teacher's target at frame `frame` to `out`, interpolated between two rows.
    /// Returns `false` if the teacher has no rows there.
    pub fn target(&self, stream: &TeacherStream, frame: f32, out: &mut [f32]) -> bool {
        let audio_s = frame / FRAMES_PER_SECOND + FRAME_REACH_S;
        let position = (audio_s - self.teacher.first_s) / self.teacher.hop_s;
        let rows = stream.targets.len() / self.dimensions;
        if position < 0.0 || position + 1.0 >= rows as f32 {
            return false;
        }
        let (row, share) = (position as usize, position.fract());
        let (a, b) = stream.targets[row * self.dimensions..].split_at(self.dimensions);
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = a + share * (b - a);
        }
        true
    }
}

fn misfit(path: &Path, problem: impl Into<String>) -> Error {
    Error::TeacherFile { path: path.to_owned(), problem: problem.into() }
}

fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(Error::io(path, "read"))
}

fn parse<'t, T: Deserialize<'t>>(path: &Path, text: &'t str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| misfit(path, e.to_string()))
}

fn stream(
    folder: &Path,
    line: &Line,
    frontend: &FrontendParams<'_>,
) -> Result<(TeacherStream, usize)> {
    let audio = folder.join(&line.audio);
    let log_mel = read_log_mel(&Example::unlabelled(&audio), frontend, usize::MAX)?;
    let path = folder.join(&line.targets);
    let problem = |problem: String| misfit(&path, problem);
    let targets = Tensor::read_npy(&path)
        .and_then(|t| t.to_dtype(DType::F32))
        .map_err(|e| problem(e.to_string()))?;
    let (_, dimensions) = targets.dims2().map_err(|e| problem(e.to_string()))?;
    let targets: Vec<f32> = targets.flatten_all()?.to_vec1()?;
    if dimensions == 0 || targets.iter().any(|v| !v.is_finite()) {
        return Err(problem("it has no numbers, or some that are not finite".into()));
    }
    let frame = |s: f32| ((s.max(0.0) * FRAMES_PER_SECOND) as usize).min(log_mel.len());
    let clips = line.clips.iter().map(|clip| TeacherClip {
        start: frame(clip.start_s),
        end: frame(clip.end_s),
        example: Example {
            text: clip.text.clone(),
            lang: clip.lang.clone(),
            kind: clip.kind.clone(),
            ..Example::unlabelled(&audio)
        },
    });
    let clips = clips.filter(|c| c.start < c.end).collect();
    Ok((TeacherStream { log_mel, clips, targets }, dimensions))
}

/// Scales every dimension to mean 0 and variance 1; a constant one becomes 0.
fn standardize(streams: &mut [TeacherStream], dimensions: usize) {
    let mut moments = vec![(0f64, 0f64); dimensions];
    let mut rows = 0.0;
    for row in streams.iter().flat_map(|s| s.targets.chunks_exact(dimensions)) {
        rows += 1.0;
        for ((sum, squares), &x) in moments.iter_mut().zip(row) {
            *sum += f64::from(x);
            *squares += f64::from(x).powi(2);
        }
    }
    let scale: Vec<(f32, f32)> = moments
        .iter()
        .map(|(sum, squares)| {
            let mean = sum / f64::max(rows, 1.0);
            let variance = squares / f64::max(rows, 1.0) - mean * mean;
            let gain = if variance > 1e-12 { 1.0 / variance.sqrt() } else { 0.0 };
            (mean as f32, gain as f32)
        })
        .collect();
    for row in streams.iter_mut().flat_map(|s| s.targets.chunks_exact_mut(dimensions)) {
        row.iter_mut().zip(&scale).for_each(|(x, (mean, gain))| *x = (*x - mean) * gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teacher() -> TeacherTargets {
        let teacher = Teacher { name: "t".into(), hop_s: 0.08, first_s: 0.8 };
        let targets = vec![1.0, 7.0, 3.0, 7.0, 8.0, 7.0];
        let mut streams = vec![TeacherStream { log_mel: Vec::new(), clips: Vec::new(), targets }];
        standardize(&mut streams, 2);
        TeacherTargets { teacher, dimensions: 2, streams }
    }

    #[test]
    fn rows_are_standardized_and_read_in_between() {
        let teacher = teacher();
        let stream = &teacher.streams[0];
        let (mean, deviation) = (4.0, (26.0f32 / 3.0).sqrt());
        let mut out = [9.0; 2];
        // Row 0.5 is halfway between 1 and 3.
        let frame = (0.8 + 0.04 - FRAME_REACH_S) * FRAMES_PER_SECOND;
        assert!(teacher.target(stream, frame, &mut out));
        assert!((out[0] - (2.0 - mean) / deviation).abs() < 1e-3, "{out:?}");
        assert_eq!(out[1], 0.0, "a dimension that never moves says nothing");
        assert!(!teacher.target(stream, 10.0, &mut out));
        assert!(!teacher.target(stream, 500.0, &mut out));
    }

    #[test]
    fn a_folder_that_does_not_fit_is_refused_by_name() {
        let folder = std::env::temp_dir().join(format!("wakeling-taught-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let tables = wakeling_audio::features::FrontendTables::default();
        let frontend = tables.params(wakeling_audio::features::NormalizationKind::Log);
        let refused = |name: &str| {
            let error = TeacherTargets::load(&folder, &frontend).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        };
        refused("teacher.json");
        fs::write(folder.join("teacher.json"), r#"{"name":"t","hop_s":0,"first_s":0.8}"#).unwrap();
        refused("hop_s");
        fs::write(folder.join("teacher.json"), r#"{"name":"t","hop_s":0.08,"first_s":0.8}"#)
            .unwrap();
        fs::write(folder.join("streams.jsonl"), "").unwrap();
        refused("no stream");
        fs::write(folder.join("streams.jsonl"), r#"{"audio":"a.wav","targets":"a.npy"}"#).unwrap();
        refused("a.wav");
        fs::remove_dir_all(&folder).unwrap();
    }
}
