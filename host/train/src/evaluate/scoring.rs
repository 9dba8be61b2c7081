//! Plays recordings to the simulated device and collects its logits.

use std::ops::Range;

use rayon::prelude::*;
use wakeling_shared::{
    frontend::{FrontendParams, HOP_SAMPLES},
    model::Model,
    pipeline::Pipeline,
};

use super::{
    Scores, TestConditions,
    conditions::{LEAD_SAMPLES, TAIL_SAMPLES, steps},
};
use crate::{Error, Result};
use wakeling_audio::SAMPLE_RATE;
use wakeling_core::{console, progress::Progress};
use wakeling_data::clip_features::read_log_mel;
use wakeling_data::{
    dataset::Example,
    mixing::{FRAMES_PER_SECOND, MelStream, steps_per_second},
};

/// Pause between two negative clips in samples: 0.3 s.
const PAUSE_SAMPLES: usize = 4_800;
/// Seconds of negative clips that are played in a row on one device: about 10 minutes.
const STREAM_SECONDS: f64 = 600.0;

/// Recordings of a keyword, each played on its own.
#[derive(Clone, Debug)]
pub struct ScoredClips {
    /// Name of the test condition, for the head of a table.
    pub conditions: String,
    /// Scores, one stream per recording.
    pub scores: Scores,
    /// Steps at which each recording was played in its stream.
    pub spans: Vec<Range<usize>>,
    /// Index of each recording among those given; unreadable ones are left out.
    pub recordings: Vec<usize>,
}

impl ScoredClips {
    /// Creates a result for all given recordings, with the span of each.
    pub fn new(conditions: String, scores: Scores, spans: Vec<Range<usize>>) -> Self {
        Self { conditions, scores, recordings: (0..spans.len()).collect(), spans }
    }
}

/// Returns the steps per second of audio.
fn rate(model: &Model<'_>) -> f64 {
    steps_per_second(model.frames_per_step.into())
}

/// Simulated device in its initial state, and the logits of its steps, `(steps, words)`.
struct Scorer<'m, 'a> {
    pipeline: Pipeline<'m, 'a>,
    logits: Vec<i16>,
    /// Number of samples played.
    samples: usize,
}

impl<'m, 'a> Scorer<'m, 'a> {
    fn new(model: &'m Model<'a>, arena: &'m mut Vec<i8>) -> Result<Self> {
        arena.resize(model.arena_bytes(), 0);
        let pipeline = Pipeline::new(model, arena).map_err(|e| Error::defect(format!("{e:?}")))?;
        Ok(Self { pipeline, logits: Vec::new(), samples: 0 })
    }

    fn push(&mut self, pcm: &[i16]) {
        self.samples += pcm.len();
        self.pipeline.push(pcm, |step| self.logits.extend_from_slice(step.logits));
    }

    /// Plays a clip block by block, then a pause. Returns the number of samples of the clip.
    ///
    /// # Errors
    /// Errors of reading the clip; a part of it may have been played by then.
    fn push_clip(&mut self, example: &Example, pause: usize) -> Result<usize> {
        let samples = example.for_each_block(|block| self.push(block))?;
        self.push(&vec![0; pause]);
        Ok(samples)
    }
}

/// Negative audio, played one clip after another.
#[derive(Clone, Debug)]
pub struct ScoredStream {
    /// Scores, one stream per ten minutes of audio.
    pub scores: Scores,
    /// Clips of each stream, in order.
    pub pieces: Vec<Vec<Piece>>,
    /// Hours of the clips alone, without the pauses between them.
    pub hours: f64,
}

impl ScoredStream {
    /// Mixes the same streams again as mel powers; `clips` are those that were played.
    pub fn streams(&self, clips: &[Example], frontend: &FrontendParams<'_>) -> Vec<MelStream> {
        let stream = |(pieces, scores): (&Vec<Piece>, &Vec<i16>)| {
            let steps = scores.len() / self.scores.words.max(1);
            let frames = f64::from(FRAMES_PER_SECOND) / self.scores.steps_per_second;
            let mut stream = MelStream::new((steps as f64 * frames) as usize);
            for piece in pieces {
                let clip = clips.get(piece.recording);
                let frames = clip.map(|clip| read_log_mel(clip, frontend, usize::MAX));
                if let Some(Ok(frames)) = frames {
                    stream.add_clip(piece.start / HOP_SAMPLES, &frames);
                }
            }
            stream
        };
        self.pieces.par_iter().zip(&self.scores.streams).map(stream).collect()
    }
}

/// Position of a clip in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index among the given clips.
    pub recording: usize,
    /// First sample of the clip in the stream.
    pub start: usize,
    /// Number of samples of the clip.
    pub samples: usize,
}

/// Plays all examples in a row, with pauses, to devices that receive ten minutes each. Examples
/// that cannot be read are logged. The result has no stream if none can be read.
///
/// # Errors
/// [`Error::Core`] if no pipeline can be created from the model; [`Error::Core`].
pub fn score_stream(
    model: &Model<'_>,
    examples: &[Example],
    progress: &dyn Progress,
) -> Result<ScoredStream> {
    let mut parts: Vec<Vec<usize>> = vec![Vec::new()];
    let mut seconds = 0.0;
    for (number, example) in examples.iter().enumerate() {
        if seconds >= STREAM_SECONDS {
            parts.push(Vec::new());
            seconds = 0.0;
        }
        seconds += example.duration_s.unwrap_or(5.0);
        if let Some(part) = parts.last_mut() {
            part.push(number);
        }
    }
    progress.begin("negatives", examples.len() as u64);
    let score = |part: &Vec<usize>| {
        let (mut arena, mut pieces) = (Vec::new(), Vec::new());
        let mut player = Scorer::new(model, &mut arena)?;
        for &recording in part {
            progress.check()?;
            progress.advance(1);
            let start = player.samples;
            match player.push_clip(&examples[recording], PAUSE_SAMPLES) {
                Ok(samples) => pieces.push(Piece { recording, start, samples }),
                Err(error) if player.samples == start => {
                    progress.line(&format!("skipped: {}", console::explained(&error)));
                }
                Err(error) => {
                    let error = console::explained(&error);
                    progress.line(&format!("used up to where it is damaged: {error}"));
                    pieces.push(Piece { recording, start, samples: player.samples - start });
                    player.push(&[0; PAUSE_SAMPLES]);
                }
            }
        }
        Ok((player.logits, pieces))
    };
    let mut scored_keywords: Vec<(Vec<i16>, Vec<Piece>)> =
        parts.par_iter().map(score).collect::<Result<_>>()?;
    scored_keywords.retain(|(stream, _)| !stream.is_empty());
    progress.end();
    let (streams, pieces): (Vec<_>, Vec<Vec<Piece>>) = scored_keywords.into_iter().unzip();
    let samples: usize = pieces.iter().flatten().map(|p| p.samples).sum();
    let hours = samples as f64 / f64::from(SAMPLE_RATE) / 3_600.0;
    Ok(ScoredStream {
        scores: Scores { words: model.words.len(), steps_per_second: rate(model), streams },
        pieces,
        hours,
    })
}

/// Plays each example to its own device under a test condition. Examples that cannot be read are
/// logged and left out.
///
/// # Errors
/// As [`score_stream`].
pub fn score_clips(
    model: &Model<'_>,
    examples: &[Example],
    conditions: TestConditions<'_>,
    progress: &dyn Progress,
) -> Result<ScoredClips> {
    progress.begin("words", examples.len() as u64);
    let score = |(number, example): (usize, &Example)| {
        progress.check()?;
        progress.advance(1);
        let mut arena = Vec::new();
        let mut player = Scorer::new(model, &mut arena)?;
        let recording = match conditions {
            TestConditions::Silence => {
                player.push(&[0; LEAD_SAMPLES]);
                let clip = player.push_clip(example, TAIL_SAMPLES);
                clip.map(|samples| LEAD_SAMPLES..LEAD_SAMPLES + samples)
            }
            // The noise level depends on the whole recording, so it is loaded at once.
            TestConditions::Noise { .. } => example.load().map_err(Error::from).map(|recording| {
                let placed = conditions.place(&recording, number);
                player.push(&placed.pcm);
                placed.recording
            }),
        };
        match recording {
            Ok(recording) => Ok(Some((player.logits, steps(&recording, rate(model)), number))),
            Err(error) => {
                progress.line(&format!("skipped: {}", console::explained(&error)));
                Ok(None)
            }
        }
    };
    let scored_keywords = examples.par_iter().enumerate().map(score).collect::<Result<Vec<_>>>()?;
    progress.end();
    let mut scored = ScoredClips {
        conditions: conditions.name(),
        scores: Scores {
            words: model.words.len(),
            steps_per_second: rate(model),
            streams: Vec::new(),
        },
        spans: Vec::new(),
        recordings: Vec::new(),
    };
    for (stream, span, number) in scored_keywords.into_iter().flatten() {
        scored.scores.streams.push(stream);
        scored.spans.push(span);
        scored.recordings.push(number);
    }
    Ok(scored)
}
