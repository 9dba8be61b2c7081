//! Recordings played to the device, and what it made of them.

use std::ops::Range;

use rayon::prelude::*;
use wakeling_shared::{
    artifact::Model,
    frontend::{FrontendParams, HOP_SAMPLES},
    pipeline::Pipeline,
};

use super::{
    Scores, Surroundings,
    surroundings::{LEAD_SAMPLES, TAIL_SAMPLES, steps},
};
use crate::{
    Error, Result,
    audio::SAMPLE_RATE,
    compose::{FRAMES_PER_SECOND, Row, steps_per_second},
    corpus::Example,
    features::read_log_mel,
    progress::progress_bar,
};

/// Samples between two negatives: 0.3 s.
const PAUSE_SAMPLES: usize = 4_800;
/// Negatives that are played one after another on one device: about 10 minutes.
const STREAM_SECONDS: f64 = 600.0;

/// Recordings of a word, played one by one.
#[derive(Clone, Debug)]
pub struct Played {
    /// What they were played in, for a table's head.
    pub surroundings: String,
    /// One stream a recording.
    pub scores: Scores,
    /// The steps at which each recording lies in its stream.
    pub spans: Vec<Range<usize>>,
    /// The number of each among the recordings given, since some may not be readable.
    pub recordings: Vec<usize>,
}

impl Played {
    /// All of the recordings given, each at its span.
    pub fn new(surroundings: String, scores: Scores, spans: Vec<Range<usize>>) -> Self {
        Self { surroundings, scores, recordings: (0..spans.len()).collect(), spans }
    }
}

/// Steps that a second of audio makes.
fn rate(model: &Model<'_>) -> f64 {
    steps_per_second(model.frames_per_step.into())
}

/// A fresh device and the logits of its steps, `(steps, words)`.
struct Player<'m, 'a> {
    pipeline: Pipeline<'m, 'a>,
    logits: Vec<i16>,
    /// Samples that were played.
    samples: usize,
}

impl<'m, 'a> Player<'m, 'a> {
    fn new(model: &'m Model<'a>, arena: &'m mut Vec<i8>) -> Result<Self> {
        arena.resize(model.arena_bytes(), 0);
        let pipeline = Pipeline::new(model, arena).map_err(|e| Error::defect(format!("{e:?}")))?;
        Ok(Self { pipeline, logits: Vec::new(), samples: 0 })
    }

    fn push(&mut self, pcm: &[i16]) {
        self.samples += pcm.len();
        self.pipeline.push(pcm, |step| self.logits.extend_from_slice(step.logits));
    }

    /// Plays a clip block by block, and the pause that follows; returns the samples of the clip.
    ///
    /// # Errors
    /// Those of reading it; some of it may have been played by then.
    fn push_clip(&mut self, example: &Example, pause: usize) -> Result<usize> {
        let samples = example.for_each_block(|block| self.push(block))?;
        self.push(&vec![0; pause]);
        Ok(samples)
    }
}

/// Audio without the words, played one clip after another.
#[derive(Clone, Debug)]
pub struct PlayedStream {
    /// One stream for about ten minutes of it.
    pub scores: Scores,
    /// The clips of each stream, in order.
    pub pieces: Vec<Vec<Piece>>,
    /// Hours of the clips alone, without the pauses put between them.
    pub hours: f64,
}

impl PlayedStream {
    /// The same streams as the features see them; `clips` are those that were played.
    pub fn rows(&self, clips: &[Example], frontend: &FrontendParams<'_>) -> Vec<Row> {
        let row = |(pieces, scores): (&Vec<Piece>, &Vec<i16>)| {
            let steps = scores.len() / self.scores.words.max(1);
            let frames = f64::from(FRAMES_PER_SECOND) / self.scores.steps_per_second;
            let mut row = Row::new((steps as f64 * frames) as usize);
            for piece in pieces {
                let clip = clips.get(piece.recording);
                let frames = clip.map(|clip| read_log_mel(clip, frontend, usize::MAX));
                if let Some(Ok(frames)) = frames {
                    row.add_clip(piece.start / HOP_SAMPLES, &frames);
                }
            }
            row
        };
        self.pieces.par_iter().zip(&self.scores.streams).map(row).collect()
    }
}

/// Where a clip lies in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its number among the clips given.
    pub recording: usize,
    /// The first sample of it in the stream.
    pub start: usize,
    /// Samples of it.
    pub samples: usize,
}

/// Plays every example after the other, with pauses, to devices that hear ten minutes each; examples
/// that cannot be read are told on stderr. No stream comes back if none can be read.
///
/// # Errors
/// None but that of a model too large for the memory.
pub fn play_stream(model: &Model<'_>, examples: &[Example]) -> Result<PlayedStream> {
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
    let bar = progress_bar(examples.len() as u64, "negatives");
    let hear = |part: &Vec<usize>| {
        let (mut arena, mut pieces) = (Vec::new(), Vec::new());
        let mut player = Player::new(model, &mut arena)?;
        for &recording in part {
            bar.inc(1);
            let start = player.samples;
            match player.push_clip(&examples[recording], PAUSE_SAMPLES) {
                Ok(samples) => pieces.push(Piece { recording, start, samples }),
                Err(error) if player.samples == start => {
                    bar.suspend(|| crate::log!("skipped: {error}"));
                }
                Err(error) => {
                    bar.suspend(|| crate::log!("used up to where it is damaged: {error}"));
                    pieces.push(Piece { recording, start, samples: player.samples - start });
                    player.push(&[0; PAUSE_SAMPLES]);
                }
            }
        }
        Ok((player.logits, pieces))
    };
    let mut heard: Vec<(Vec<i16>, Vec<Piece>)> =
        parts.par_iter().map(hear).collect::<Result<_>>()?;
    heard.retain(|(stream, _)| !stream.is_empty());
    bar.finish_and_clear();
    let (streams, pieces): (Vec<_>, Vec<Vec<Piece>>) = heard.into_iter().unzip();
    let samples: usize = pieces.iter().flatten().map(|p| p.samples).sum();
    let hours = samples as f64 / f64::from(SAMPLE_RATE) / 3_600.0;
    Ok(PlayedStream {
        scores: Scores { words: model.words.len(), steps_per_second: rate(model), streams },
        pieces,
        hours,
    })
}

/// Plays every example to a device of its own, in the given surroundings; examples that cannot be
/// read are told on stderr.
///
/// # Errors
/// None but that of a model too large for the memory.
pub fn play_clips(
    model: &Model<'_>,
    examples: &[Example],
    surroundings: Surroundings<'_>,
) -> Result<Played> {
    let bar = progress_bar(examples.len() as u64, "words");
    let hear = |(number, example): (usize, &Example)| {
        bar.inc(1);
        let mut arena = Vec::new();
        let mut player = Player::new(model, &mut arena)?;
        let recording = match surroundings {
            Surroundings::Silence => {
                player.push(&[0; LEAD_SAMPLES]);
                let clip = player.push_clip(example, TAIL_SAMPLES);
                clip.map(|samples| LEAD_SAMPLES..LEAD_SAMPLES + samples)
            }
            // The noise is as loud as the whole recording demands.
            Surroundings::Noise { .. } => example.load().map(|recording| {
                let placed = surroundings.place(&recording, number);
                player.push(&placed.pcm);
                placed.recording
            }),
        };
        match recording {
            Ok(recording) => Ok(Some((player.logits, steps(&recording, rate(model)), number))),
            Err(error) => {
                bar.suspend(|| crate::log!("skipped: {error}"));
                Ok(None)
            }
        }
    };
    let heard = examples.par_iter().enumerate().map(hear).collect::<Result<Vec<_>>>()?;
    bar.finish_and_clear();
    let mut played = Played {
        surroundings: surroundings.name(),
        scores: Scores {
            words: model.words.len(),
            steps_per_second: rate(model),
            streams: Vec::new(),
        },
        spans: Vec::new(),
        recordings: Vec::new(),
    };
    for (stream, span, number) in heard.into_iter().flatten() {
        played.scores.streams.push(stream);
        played.spans.push(span);
        played.recordings.push(number);
    }
    Ok(played)
}
