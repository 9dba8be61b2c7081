//! Pretraining: a trunk that hears speech sounds, from transcribed speech.
//!
//! Clips are composed into rows (see [`compose`](crate::compose)), and each task is a linear head on
//! the trunk whose targets are read by CTC within the clip's stretch of the row: tokens of the
//! transcript, and the clip's word where it is one. Where a teacher has listened (see
//! [`taught`](crate::taught)), a third head learns to say what it said. A clip contributes to the
//! tasks it has labels for.

mod batch;

use std::{collections::BTreeMap, path::PathBuf};

use batch::{Batch, Builder, Stretch, TaughtRows, fits};
use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use wakeling_shared::frontend::FrontendParams;

use crate::{
    Error, Result,
    base::{BASE_FORMAT, Base, BaseInfo},
    compose::{Distortion, NoisePool},
    corpus::Example,
    features::{FrontendTables, LogMel, NormalizationKind, load_log_mel},
    nn::{
        ops::{
            ctc::{Segment as CtcSegment, ctc_loss},
            linear::linear,
            squared_error::squared_error,
        },
        params::Params,
        trunk::{Mode, Samples, TrunkConfig},
    },
    quantize,
    taught::{Taught, TaughtClip},
    tokens::{Tokenizer, Vocabulary, clean},
    train::{Outcome, Run, Stage},
};

/// Weight of the teacher's squared error beside CTC's nats a token.
const TAUGHT_WEIGHT: f64 = 4.0;
/// Rounds of four rows from which ranges of activations are taken.
const CALIBRATION_ROUNDS: usize = 16;
/// A token needs so many occurrences to be learned.
const LEAST_TOKEN_COUNT: usize = 20;
/// A word needs so many clips to be learned.
const LEAST_WORD_COUNT: usize = 40;

/// Which labels train the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// The word of clips that hold one.
    Words,
    /// The transcript, by CTC.
    Transcripts,
    /// Both.
    Both,
}

/// Choices of a pretraining run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the base.
    pub name: String,
    /// Shape of the trunk.
    pub trunk: TrunkConfig,
    /// How features are normalized.
    pub normalization: NormalizationKind,
    /// Which labels count.
    pub task: Task,
    /// Folder of streams that a teacher has heard; see [`taught`](crate::taught).
    pub taught: Option<PathBuf>,
    /// Rows a worker composes for one update.
    pub rows: usize,
    /// Rates, lengths, seeds, folder.
    pub run: Run,
    /// Licence of the weights.
    pub licence: String,
    /// Grapheme-to-phoneme program.
    pub tokenizer: Tokenizer,
}

/// A clip ready for training.
struct Clip {
    log_mel: LogMel,
    tokens: Vec<u32>,
    words: Vec<u32>,
    /// How often it is drawn, relative to its length.
    weight: f32,
}

/// Pretrains a trunk on `train`, with `noise` under it, and watches the loss on `dev`.
///
/// # Errors
/// [`Error::Usage`] if no example has a label for the task.
pub fn pretrain(
    settings: &Settings,
    train: &[Example],
    dev: &[Example],
    noise: &[Example],
) -> Result<Base> {
    let tables = FrontendTables::default();
    let frontend = tables.params(settings.normalization);
    let labels = Labels::of(settings, train)?;
    eprintln!(
        "{} tokens, {} words, {} clips",
        labels.tokens.outputs() - 1,
        labels.words.outputs() - 1,
        train.len()
    );
    let noise = load_log_mel(noise, &frontend, "noise").into_iter().flatten().collect();
    let taught = match &settings.taught {
        Some(folder) => Some(labels.taught(Taught::load(folder, &frontend)?)?),
        None => None,
    };
    let stage = Pretraining {
        trunk: settings.trunk.clone(),
        frontend,
        clips: labels.clips(train, &frontend, "train")?,
        dev: labels.clips(dev, &frontend, "dev")?,
        noise: NoisePool::new(noise),
        taught,
        rows: settings.rows,
    };
    let mut rng = StdRng::seed_from_u64(settings.run.seed);
    let mut params = Params::default();
    settings.trunk.init(&mut params, &mut rng)?;
    let (tokens, words) = (labels.tokens.outputs(), labels.words.outputs());
    let dimensions = stage.taught.as_ref().map_or(0, |t| t.taught.dimensions);
    for (name, v) in [("ctc", tokens), ("words", words), ("taught", dimensions)] {
        if v > 1 {
            let c = settings.trunk.channels;
            params.insert_normal(format!("{name}.weight"), &[c, v], c, 1.0, &mut rng)?;
            params.insert(format!("{name}.bias"), &[v], vec![0.0; v])?;
        }
    }
    eprintln!("{} parameters to train", params.count());
    let params = settings.run.train(&stage, params)?;
    let ranges = quantize::ranges(&stage.calibrate(&params, &mut rng)?);
    let hours = stage.clips.iter().map(|c| c.log_mel.len()).sum::<usize>() as f64 / 360_000.0;
    let mut sources: Vec<&str> = train.iter().filter_map(|e| e.source.as_deref()).collect();
    sources.sort_unstable();
    sources.dedup();
    let info = BaseInfo {
        format: BASE_FORMAT,
        name: settings.name.clone(),
        trunk: settings.trunk.clone(),
        normalization: settings.normalization,
        tokens: labels.tokens,
        words: labels.words,
        ranges,
        provenance: format!(
            "{hours:.1} hours of {}{}; {} updates, seed {}",
            sources.join(", "),
            stage
                .taught
                .map_or(String::new(), |t| format!(", taught by {}", t.taught.teacher.name)),
            settings.run.schedule.steps,
            settings.run.seed
        ),
        licence: settings.licence.clone(),
    };
    Ok(Base { info, params, tables: FrontendTables::default() })
}

fn texts(examples: &[Example]) -> Vec<(String, String)> {
    let text = |e: &Example| {
        (e.lang.clone().unwrap_or_else(|| "en".into()), e.text.clone().unwrap_or_default())
    };
    examples.iter().map(text).collect()
}

/// One label for each example that is a single word; none for the others.
fn word_labels(examples: &[Example]) -> Vec<Vec<String>> {
    let label = |e: &Example| match (&e.kind, &e.text) {
        (Some(kind), Some(text)) if kind == "word" => {
            let text = clean(text);
            if text.is_empty() { Vec::new() } else { vec![text] }
        }
        _ => Vec::new(),
    };
    examples.iter().map(label).collect()
}

/// The tokens and words that a trunk learns, and how transcripts become them.
struct Labels<'s> {
    tokenizer: &'s Tokenizer,
    tokens: Vocabulary,
    words: Vocabulary,
}

impl<'s> Labels<'s> {
    /// Those that the task needs and the examples have often enough.
    fn of(settings: &'s Settings, train: &[Example]) -> Result<Self> {
        let tokenizer = &settings.tokenizer;
        let tokens = match settings.task {
            Task::Words => Vocabulary::default(),
            _ => Vocabulary::of(&tokenizer.tokenize(&texts(train))?, LEAST_TOKEN_COUNT),
        };
        let words = match settings.task {
            Task::Transcripts => Vocabulary::default(),
            _ => Vocabulary::of(&word_labels(train), LEAST_WORD_COUNT),
        };
        if tokens.outputs() + words.outputs() == 2 {
            return Err(Error::usage(
                "no example has a label that this task can learn from",
                "give a manifest with `text`, or a folder of words with at least 40 clips each",
            ));
        }
        Ok(Self { tokenizer, tokens, words })
    }

    /// The examples that can be read, are neither too short nor too long, and have a label.
    fn clips(
        &self,
        examples: &[Example],
        frontend: &FrontendParams<'_>,
        title: &'static str,
    ) -> Result<Vec<Clip>> {
        let text = |e: &Example| e.text.clone().unwrap_or_default();
        let mut copies: BTreeMap<String, f32> = BTreeMap::new();
        for example in examples {
            *copies.entry(text(example)).or_default() += 1.0;
        }
        let tokens = self.tokenizer.tokenize(&texts(examples))?;
        let words = word_labels(examples);
        let loaded = load_log_mel(examples, frontend, title);
        let rows = loaded.into_iter().zip(examples).zip(tokens.iter().zip(&words));
        let clips = rows.filter_map(|((log_mel, example), (tokens, words))| {
            let log_mel = log_mel.filter(fits)?;
            // A word spoken a thousand times teaches less a clip than a sentence spoken once.
            let copies = copies.get(&text(example)).copied().unwrap_or(1.0);
            let weight = (20.0 / copies).clamp(0.05, 1.0).sqrt() * (log_mel.len() as f32).sqrt();
            let (tokens, words) = (self.tokens.encode(tokens), self.words.encode(words));
            let labelled = !tokens.is_empty() || !words.is_empty();
            labelled.then_some(Clip { log_mel, tokens, words, weight })
        });
        Ok(clips.collect())
    }
}

impl Labels<'_> {
    /// The labels of every stretch of the streams, as far as there are any.
    fn taught(&self, taught: Taught) -> Result<TaughtRows> {
        let examples: Vec<Example> =
            taught.streams.iter().flat_map(|s| &s.clips).map(|c| c.example.clone()).collect();
        let tokens = self.tokenizer.tokenize(&texts(&examples))?;
        let mut labels = tokens.iter().zip(word_labels(&examples));
        let stretches = taught.streams.iter().map(|stream| {
            let clips = stream.clips.iter().zip(&mut labels);
            let stretch =
                |(clip, (tokens, words)): (&TaughtClip, (&Vec<String>, Vec<String>))| Stretch {
                    start: clip.start,
                    end: clip.end,
                    tokens: self.tokens.encode(tokens),
                    words: self.words.encode(&words),
                };
            clips.map(stretch).collect()
        });
        let stretches = stretches.collect();
        Ok(TaughtRows { taught, stretches })
    }
}

/// The stage that the training loop runs.
struct Pretraining<'a> {
    trunk: TrunkConfig,
    frontend: FrontendParams<'a>,
    clips: Vec<Clip>,
    dev: Vec<Clip>,
    noise: NoisePool,
    taught: Option<TaughtRows>,
    rows: usize,
}

impl Pretraining<'_> {
    /// Rows from clips that `next` gives until it has none.
    fn batch<'c>(
        &self,
        rows: usize,
        distortion: Distortion,
        mut next: impl FnMut(&mut StdRng) -> Option<&'c Clip>,
        rng: &mut StdRng,
    ) -> Result<Batch> {
        let mut builder = self.builder(distortion);
        let mut pending = next(rng);
        for _ in 0..rows {
            pending = builder.add_clips(pending, &mut next, rng);
        }
        builder.build()
    }

    /// Rows to train on: with a teacher, three in four are taught.
    fn training_batch(&self, rng: &mut StdRng) -> Result<Batch> {
        let Some(taught) = &self.taught else {
            return self.batch(self.rows, Distortion::STRONG, |rng| self.draw(rng), rng);
        };
        let mut builder = self.builder(Distortion::STRONG);
        let of_clips = self.rows / 4;
        for _ in 0..of_clips {
            let first = self.draw(rng);
            builder.add_clips(first, |rng| self.draw(rng), rng);
        }
        for _ in of_clips..self.rows {
            builder.add_taught(taught, rng);
        }
        builder.build()
    }

    fn builder(&self, distortion: Distortion) -> Builder<'_> {
        let dimensions = self.taught.as_ref().map_or(0, |t| t.taught.dimensions);
        let frames_per_step = self.trunk.frames_per_step;
        Builder::new(&self.frontend, &self.noise, distortion, frames_per_step, dimensions)
    }

    /// A clip, by weight.
    fn draw(&self, rng: &mut StdRng) -> Option<&Clip> {
        let total: f32 = self.clips.iter().map(|c| c.weight).sum();
        let mut left = rng.random_range(0.0..total);
        let found = self.clips.iter().find(|c| {
            left -= c.weight;
            left <= 0.0
        });
        found.or_else(|| self.clips.last())
    }

    /// Samples of every activation over rows as in training, half of them undistorted.
    fn calibrate(&self, params: &Params, rng: &mut StdRng) -> Result<Samples> {
        let mut mode = Mode::Calibrate(Samples::new());
        for round in 0..CALIBRATION_ROUNDS {
            let distortion = if round % 2 == 0 { Distortion::NONE } else { Distortion::STRONG };
            let next = |rng: &mut StdRng| self.clips.choose(rng);
            let batch = self.batch(4, distortion, next, rng)?;
            self.trunk.forward(params, &batch.features, &mut mode)?;
        }
        match mode {
            Mode::Calibrate(samples) => Ok(samples),
            Mode::Train(_) | Mode::Evaluate => Ok(Samples::new()),
        }
    }

    fn tasks(batch: &Batch) -> [(&'static str, &[CtcSegment], f64); 2] {
        [("ctc", &batch.tokens, 1.0), ("words", &batch.words, 0.5)]
    }

    /// Weighted sum of the tasks' losses.
    fn loss_of(&self, params: &Params, batch: &Batch, mode: &mut Mode) -> Result<Option<Tensor>> {
        let trunk = self.trunk.forward(params, &batch.features, mode)?;
        let mut sum: Option<Tensor> = None;
        for (name, segments, weight) in Self::tasks(batch) {
            if segments.is_empty() {
                continue;
            }
            let w = params.get(&format!("{name}.weight"))?;
            let logits = linear(&trunk, w, Some(params.get(&format!("{name}.bias"))?))?;
            let loss = (ctc_loss(&logits, segments)?.loss * weight)?;
            sum = Some(match sum {
                Some(sum) => (sum + loss)?,
                None => loss,
            });
        }
        if let Some((targets, weights)) = &batch.taught {
            let w = params.get("taught.weight")?;
            let said = linear(&trunk, w, Some(params.get("taught.bias")?))?;
            let loss = (squared_error(&said, targets, weights)? * TAUGHT_WEIGHT)?;
            sum = Some(match sum {
                Some(sum) => (sum + loss)?,
                None => loss,
            });
        }
        Ok(sum)
    }
}

impl Stage for Pretraining<'_> {
    fn loss(&self, params: &Params, rng: &mut StdRng) -> Result<Outcome> {
        let batch = self.training_batch(rng)?;
        let mut mode = Mode::train();
        let nothing = || Tensor::zeros((), candle_core::DType::F32, &Device::Cpu);
        let loss = match self.loss_of(params, &batch, &mut mode)? {
            Some(loss) => loss,
            None => nothing()?,
        };
        let moments = match mode {
            Mode::Train(moments) => moments,
            Mode::Evaluate | Mode::Calibrate(_) => Vec::new(),
        };
        Ok(Outcome { loss, moments, examples: batch.tokens.len().max(batch.words.len()) })
    }

    fn validate(&self, params: &Params) -> Result<Vec<(&'static str, f64)>> {
        let mut left = self.dev.iter();
        let mut rng = StdRng::seed_from_u64(0);
        let (mut sum, mut batches) = (0.0, 0);
        let (mut errors, mut spoken) = (0, 0);
        while !left.as_slice().is_empty() {
            let batch = self.batch(8, Distortion::NONE, |_| left.next(), &mut rng)?;
            let mut mode = Mode::Evaluate;
            if let Some(loss) = self.loss_of(params, &batch, &mut mode)? {
                sum += f64::from(loss.to_scalar::<f32>()?);
                batches += 1;
            }
            let (e, n) = self.token_errors(params, &batch)?;
            errors += e;
            spoken += n;
        }
        let mut figures = vec![("dev_loss", sum / f64::from(batches.max(1)))];
        if spoken > 0 {
            figures.push(("token_error_rate", errors as f64 / spoken as f64));
        }
        Ok(figures)
    }
}

impl Pretraining<'_> {
    /// Edits between best-path decodings (Graves et al. 2006, section 3.2) and transcripts, and the
    /// number of tokens in the transcripts.
    fn token_errors(&self, params: &Params, batch: &Batch) -> Result<(usize, usize)> {
        if batch.tokens.is_empty() {
            return Ok((0, 0));
        }
        let trunk = self.trunk.forward(params, &batch.features, &mut Mode::Evaluate)?;
        let logits = linear(&trunk, params.get("ctc.weight")?, Some(params.get("ctc.bias")?))?;
        let best: Vec<Vec<u32>> = logits.argmax(candle_core::D::Minus1)?.to_vec2()?;
        let mut errors = 0;
        for segment in &batch.tokens {
            let path = &best[segment.row][segment.start..segment.end];
            let mut heard: Vec<u32> = Vec::new();
            for (t, &token) in path.iter().enumerate() {
                if token != 0 && (t == 0 || path[t - 1] != token) {
                    heard.push(token);
                }
            }
            errors += edit_distance(&heard, &segment.labels);
        }
        Ok((errors, batch.tokens.iter().map(|s| s.labels.len()).sum()))
    }
}

/// Least number of insertions, deletions and substitutions (Levenshtein 1966).
fn edit_distance(a: &[u32], b: &[u32]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edit_distance(&[1, 2, 3], &[1, 2, 3]), 0);
        assert_eq!(edit_distance(&[1, 3], &[1, 2, 3]), 1);
        assert_eq!(edit_distance(&[], &[4, 5]), 2);
        assert_eq!(edit_distance(&[9, 8, 7], &[7]), 2);
    }
}
