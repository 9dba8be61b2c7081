//! Pretraining: a trunk that hears speech sounds, from transcribed speech.
//!
//! Clips are composed into rows (see [`compose`](crate::compose)), and each task is a linear head on
//! the trunk whose targets are read by CTC within the clip's stretch of the row: tokens of the
//! transcript, and the clip's word where it is one. A clip contributes to the tasks it has labels
//! for.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_shared::frontend::{FrontendParams, MEL_CHANNELS};

use crate::{
    Error, Result,
    base::{BASE_FORMAT, Base, BaseInfo},
    compose::{Distortion, NoisePool, Row, loudness, mask},
    corpus::Example,
    features::{FrontendTables, LogMel, NormalizationKind, load_log_mel},
    nn::{
        ops::{
            ctc::{Segment as CtcSegment, ctc_loss},
            linear::linear,
        },
        params::Params,
        trunk::{Mode, Samples, TrunkConfig},
    },
    quantize,
    tokens::{Tokenizer, Vocabulary, clean},
    train::{Outcome, Run, Stage},
};

/// Frames of a training row: 12 s.
const ROW_FRAMES: usize = 1_200;
/// Background before the first clip of a row, in frames.
const LEAD_FRAMES: usize = 60;
/// CTC may place its tokens up to so many steps after the clip: the trunk is causal.
const DELAY_STEPS: usize = 15;
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
    let stage = Pretraining {
        trunk: settings.trunk.clone(),
        frontend,
        clips: labels.clips(train, &frontend, "train")?,
        dev: labels.clips(dev, &frontend, "dev")?,
        noise: NoisePool::new(noise),
        rows: settings.rows,
    };
    let mut rng = StdRng::seed_from_u64(settings.run.seed);
    let mut params = Params::default();
    settings.trunk.init(&mut params, &mut rng)?;
    for (name, vocabulary) in [("ctc", &labels.tokens), ("words", &labels.words)] {
        if vocabulary.outputs() > 1 {
            let (c, v) = (settings.trunk.channels, vocabulary.outputs());
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
            "{hours:.1} hours of {}; {} updates, seed {}",
            sources.join(", "),
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
            let lengths = 10..ROW_FRAMES - LEAD_FRAMES - 50;
            let log_mel = log_mel.filter(|l| lengths.contains(&l.len()))?;
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

/// The stage that the training loop runs.
struct Pretraining<'a> {
    trunk: TrunkConfig,
    frontend: FrontendParams<'a>,
    clips: Vec<Clip>,
    dev: Vec<Clip>,
    noise: NoisePool,
    rows: usize,
}

/// Rows and where their clips lie.
struct Batch {
    features: Tensor,
    tokens: Vec<CtcSegment>,
    words: Vec<CtcSegment>,
}

impl Pretraining<'_> {
    /// Rows from clips that `next` gives until it has none.
    fn batch(
        &self,
        rows: usize,
        distortion: Distortion,
        mut next: impl FnMut(&mut StdRng) -> Option<usize>,
        clips: &[Clip],
        rng: &mut StdRng,
    ) -> Result<Batch> {
        let augment = distortion.tempo > 0.0;
        let step_frames = self.trunk.frames_per_step;
        let steps = ROW_FRAMES / step_frames;
        let mut features = Vec::with_capacity(rows * ROW_FRAMES * MEL_CHANNELS);
        let (mut tokens, mut words) = (Vec::new(), Vec::new());
        let mut pending = next(rng);
        for row_index in 0..rows {
            let mut row = Row::new(ROW_FRAMES);
            let mut at = LEAD_FRAMES;
            let mut level = None;
            while let Some(index) = pending {
                let clip = &clips[index];
                let sound = distortion.apply(&clip.log_mel, rng);
                if at + sound.len() + 2 * DELAY_STEPS > ROW_FRAMES {
                    break;
                }
                level.get_or_insert_with(|| loudness(&sound));
                row.add(at, &sound, 1.0);
                let start = at / step_frames;
                let end = ((at + sound.len()) / step_frames + DELAY_STEPS).min(steps);
                for (labels, segments) in [(&clip.tokens, &mut tokens), (&clip.words, &mut words)] {
                    if !labels.is_empty() {
                        let labels = labels.clone();
                        segments.push(CtcSegment { row: row_index, start, end, labels });
                    }
                }
                at += sound.len() + rng.random_range(2..40);
                pending = next(rng);
            }
            if augment && rng.random_bool(0.75) {
                let snr_db = rng.random_range(0.0..40.0);
                row.add_noise_below(&self.noise, level.unwrap_or(1e6), snr_db, rng);
            }
            let mut row = row.features(&self.frontend);
            if augment {
                mask(&mut row, rng);
            }
            features.extend(row.into_iter().map(|f| f32::from(f) * crate::nn::INPUT_SCALE));
        }
        let shape = (rows, steps, self.trunk.inputs());
        Ok(Batch { features: Tensor::from_vec(features, shape, &Device::Cpu)?, tokens, words })
    }

    /// Samples of every activation over rows as in training, half of them undistorted.
    fn calibrate(&self, params: &Params, rng: &mut StdRng) -> Result<Samples> {
        let mut mode = Mode::Calibrate(Samples::new());
        for round in 0..CALIBRATION_ROUNDS {
            let distortion = if round % 2 == 0 { Distortion::NONE } else { Distortion::STRONG };
            let next = |rng: &mut StdRng| Some(rng.random_range(0..self.clips.len()));
            let batch = self.batch(4, distortion, next, &self.clips, rng)?;
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
        Ok(sum)
    }
}

impl Stage for Pretraining<'_> {
    fn loss(&self, params: &Params, rng: &mut StdRng) -> Result<Outcome> {
        let total: f32 = self.clips.iter().map(|c| c.weight).sum();
        let draw = |rng: &mut StdRng| -> Option<usize> {
            let mut left = rng.random_range(0.0..total);
            let found = self.clips.iter().position(|c| {
                left -= c.weight;
                left <= 0.0
            });
            found.or_else(|| self.clips.len().checked_sub(1))
        };
        let batch = self.batch(self.rows, Distortion::STRONG, draw, &self.clips, rng)?;
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
        let mut order = (0..self.dev.len()).rev().collect::<Vec<_>>();
        let mut rng = StdRng::seed_from_u64(0);
        let (mut sum, mut batches) = (0.0, 0);
        let (mut errors, mut spoken) = (0, 0);
        while !order.is_empty() {
            let batch = self.batch(8, Distortion::NONE, |_| order.pop(), &self.dev, &mut rng)?;
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
