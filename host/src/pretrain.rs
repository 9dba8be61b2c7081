//! Pretraining: a trunk that hears speech sounds, from transcribed speech.
//!
//! Clips are composed into rows (see [`compose`](crate::compose)), and each task is a linear head on
//! the trunk whose targets are read by CTC within the clip's stretch of the row: tokens of the
//! transcript, and the clip's word where it is one. Where a teacher has listened (see
//! [`taught`](crate::taught)), a third head learns to say what it said. A clip contributes to the
//! tasks it has labels for.

mod batch;
mod prepare;

use std::{
    path::PathBuf,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use batch::{Batch, Builder, Stretch, TaughtRows};
use candle_core::{Device, Tensor};
pub use prepare::Corpora;
use prepare::{Clip, ClipLoader, Found, Labelling, NoiseLoader, Prepared, prepare};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_shared::frontend::FrontendParams;

use crate::{
    Error, Result,
    base::{BASE_FORMAT, Base, BaseInfo},
    compose::{Distortion, NoisePool},
    corpus::Example,
    features::{FrontendTables, NormalizationKind},
    feed::{Feed, Walk},
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
    tokens::{Tokenizer, clean, collapse, edit_distance},
    train::{Outcome, Run, Stage},
};

/// Weight of the teacher's squared error beside CTC's nats a token.
const TAUGHT_WEIGHT: f64 = 4.0;
/// Rounds of four rows from which ranges of activations are taken.
const CALIBRATION_ROUNDS: usize = 16;
/// A token needs so many occurrences to be learned.
const LEAST_TOKEN_COUNT: usize = 20;
/// Held-out clips that are looked at; a large held-out corpus is represented by so many of it.
const DEV_CLIPS: usize = 4_096;
/// Noises to choose from; a large collection is represented by so many of it.
const NOISE_CLIPS: usize = 1_000;
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
    /// Clips in memory, from which rows are drawn.
    pub window: usize,
    /// Threads that read clips ahead of the updates.
    pub readers: usize,
    /// Rates, lengths, seeds, folder.
    pub run: Run,
    /// Licence of the weights.
    pub licence: String,
    /// Grapheme-to-phoneme program.
    pub tokenizer: Tokenizer,
}

/// Pretrains a trunk on corpora of any size.
///
/// # Errors
/// [`Error::Usage`] if no example has a label for the task, or there is no folder for the run.
pub fn pretrain(settings: &Settings, corpora: &Corpora) -> Result<Base> {
    let Some(folder) = &settings.run.folder else {
        return Err(Error::usage("pretraining needs a folder", "name one with --out"));
    };
    let tables = FrontendTables::default();
    let frontend = tables.params(settings.normalization);
    let labelling =
        Labelling { task: settings.task, tokenizer: &settings.tokenizer, seed: settings.run.seed };
    let lists = prepare(corpora, &labelling, folder)?;
    let labels = Labels { tokenizer: &settings.tokenizer, found: &lists.found };
    let (tokens, words) = (lists.found.tokens.outputs(), lists.found.words.outputs());
    eprintln!("{} tokens, {} words, {} clips", tokens - 1, words - 1, lists.train.clips());
    let taught = match &settings.taught {
        Some(folder) => Some(labels.taught(Taught::load(folder, &frontend)?)?),
        None => None,
    };
    let Prepared { found, skipped, .. } = &lists;
    let stage = Pretraining::of(settings, &lists, frontend, taught)?;
    let mut rng = StdRng::seed_from_u64(settings.run.seed);
    let mut params = Params::default();
    settings.trunk.init(&mut params, &mut rng)?;
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
    let left_out = stage.pool().feed.skipped();
    if left_out > 0 {
        eprintln!("{left_out} skipped, see {}", skipped.display());
    }
    let info = BaseInfo {
        format: BASE_FORMAT,
        name: settings.name.clone(),
        trunk: settings.trunk.clone(),
        normalization: settings.normalization,
        tokens: found.tokens.clone(),
        words: found.words.clone(),
        ranges,
        provenance: stage.provenance(settings, &found.sources),
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

/// The label of an example that is a single word; none for the others.
fn word_label(example: &Example) -> Vec<String> {
    match (&example.kind, &example.text) {
        (Some(kind), Some(text)) if kind == "word" => {
            let text = clean(text);
            if text.is_empty() { Vec::new() } else { vec![text] }
        }
        _ => Vec::new(),
    }
}

/// The tokens and words that a trunk learns, and how transcripts become them.
struct Labels<'s> {
    tokenizer: &'s Tokenizer,
    found: &'s Found,
}

impl Labels<'_> {
    /// The labels of every stretch of the streams, as far as there are any.
    fn taught(&self, taught: Taught) -> Result<TaughtRows> {
        let examples: Vec<Example> =
            taught.streams.iter().flat_map(|s| &s.clips).map(|c| c.example.clone()).collect();
        let tokens = self.tokenizer.tokenize(&texts(&examples))?;
        let words: Vec<Vec<String>> = examples.iter().map(word_label).collect();
        let mut labels = tokens.iter().zip(words);
        let stretches = taught.streams.iter().map(|stream| {
            let clips = stream.clips.iter().zip(&mut labels);
            let stretch =
                |(clip, (tokens, words)): (&TaughtClip, (&Vec<String>, Vec<String>))| Stretch {
                    start: clip.start,
                    end: clip.end,
                    tokens: self.found.tokens.encode(tokens),
                    words: self.found.words.encode(&words),
                };
            clips.map(stretch).collect()
        });
        let stretches = stretches.collect();
        Ok(TaughtRows { taught, stretches })
    }
}

/// The clips in memory, and how they are drawn.
struct Pool {
    feed: Feed<ClipLoader>,
    /// Sum of the weights up to and including each clip of the window.
    cumulative: Vec<f64>,
}

impl Pool {
    fn weigh(&mut self) {
        let window = self.feed.window();
        let mut sum = 0.0;
        self.cumulative.clear();
        self.cumulative.extend((0..window.len()).map(|index| {
            sum += window.get(index).map_or(0.0, |clip| f64::from(clip.weight));
            sum
        }));
    }

    /// A clip, by weight.
    fn draw(&self, rng: &mut StdRng) -> Option<&Clip> {
        let total = self.cumulative.last().copied().filter(|total| *total > 0.0)?;
        let at = rng.random_range(0.0..total);
        // Holes weigh nothing, so the first clip whose sum exceeds `at` is none.
        self.feed.window().get(self.cumulative.partition_point(|sum| *sum <= at))
    }

    /// Any clip.
    fn choose(&self, rng: &mut StdRng) -> Option<&Clip> {
        let window = self.feed.window();
        let whole = window.iter().count();
        (whole > 0).then(|| window.iter().nth(rng.random_range(0..whole)))?
    }

    /// Hours of the corpus, judged by the window.
    fn hours(&self) -> f64 {
        let window = self.feed.window();
        let frames: usize = window.iter().map(|clip| clip.log_mel.len()).sum();
        frames as f64 / 360_000.0 * self.feed.clips() as f64 / window.len().max(1) as f64
    }
}

/// The stage that the training loop runs.
struct Pretraining<'a> {
    trunk: TrunkConfig,
    frontend: FrontendParams<'a>,
    pool: RwLock<Pool>,
    /// Clips that were drawn for this update.
    drawn: AtomicU64,
    dev: Option<Feed<ClipLoader>>,
    noise: NoisePool,
    taught: Option<TaughtRows>,
    rows: usize,
}

impl<'a> Pretraining<'a> {
    /// Opens the lists; the clips to learn from are read once training begins.
    fn of(
        settings: &Settings,
        lists: &Prepared,
        frontend: FrontendParams<'a>,
        taught: Option<TaughtRows>,
    ) -> Result<Self> {
        let walk = |window, title| Walk {
            seed: settings.run.seed,
            window,
            threads: settings.readers,
            skipped: Some(lists.skipped.clone()),
            title,
        };
        let loader = || ClipLoader::new(&lists.found, settings.normalization);
        let noise = if lists.noise.clips() == 0 {
            NoisePool::default()
        } else {
            let walk = walk(NOISE_CLIPS, "noise");
            let noise =
                Feed::start(&lists.noise, walk, NoiseLoader::new(settings.normalization), 0)?;
            NoisePool::new(noise.window().iter().cloned().collect())
        };
        let dev = match lists.dev.clips() {
            0 => None,
            _ => Some(Feed::start(&lists.dev, walk(DEV_CLIPS, "dev"), loader(), 0)?),
        };
        let feed = Feed::new(&lists.train, walk(settings.window, "train"), loader())?;
        Ok(Self {
            trunk: settings.trunk.clone(),
            frontend,
            pool: RwLock::new(Pool { feed, cumulative: Vec::new() }),
            drawn: AtomicU64::new(0),
            dev,
            noise,
            taught,
            rows: settings.rows,
        })
    }

    /// What the base was made of, for its card.
    fn provenance(&self, settings: &Settings, sources: &[String]) -> String {
        let teacher = self.taught.as_ref().map(|t| &t.taught.teacher.name);
        format!(
            "{:.1} hours of {}{}; {} updates, seed {}",
            self.pool().hours(),
            sources.join(", "),
            teacher.map_or(String::new(), |name| format!(", taught by {name}")),
            settings.run.schedule.steps,
            settings.run.seed
        )
    }
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
        let pool = self.pool();
        let draw = |rng: &mut StdRng| {
            self.drawn.fetch_add(1, Ordering::Relaxed);
            pool.draw(rng)
        };
        let Some(taught) = &self.taught else {
            return self.batch(self.rows, Distortion::STRONG, draw, rng);
        };
        let mut builder = self.builder(Distortion::STRONG);
        let of_clips = self.rows / 4;
        for _ in 0..of_clips {
            let first = draw(rng);
            builder.add_clips(first, draw, rng);
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

    fn pool(&self) -> std::sync::RwLockReadGuard<'_, Pool> {
        self.pool.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool_mut(&self) -> std::sync::RwLockWriteGuard<'_, Pool> {
        self.pool.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples of every activation over rows as in training, half of them undistorted.
    fn calibrate(&self, params: &Params, rng: &mut StdRng) -> Result<Samples> {
        let mut mode = Mode::Calibrate(Samples::new());
        let pool = self.pool();
        for round in 0..CALIBRATION_ROUNDS {
            let distortion = if round % 2 == 0 { Distortion::NONE } else { Distortion::STRONG };
            let next = |rng: &mut StdRng| pool.choose(rng);
            let batch = self.batch(4, distortion, next, rng)?;
            self.trunk.forward(params, &batch.features, &mut mode)?;
        }
        Ok(mode.samples())
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
        let moments = mode.moments();
        Ok(Outcome { loss, moments, examples: batch.tokens.len().max(batch.words.len()) })
    }

    fn position(&self) -> u64 {
        self.pool().feed.position()
    }

    fn seek(&self, position: u64) -> Result<()> {
        let mut pool = self.pool_mut();
        pool.feed.seek(position)?;
        pool.weigh();
        Ok(())
    }

    fn advance(&self) -> Result<()> {
        let mut pool = self.pool_mut();
        pool.feed.advance(self.drawn.swap(0, Ordering::Relaxed))?;
        if !pool.feed.is_whole() {
            pool.weigh();
        }
        Ok(())
    }

    fn validate(&self, params: &Params) -> Result<Vec<(&'static str, f64)>> {
        let Some(dev) = &self.dev else { return Ok(Vec::new()) };
        let mut left = dev.window().iter().peekable();
        let mut rng = StdRng::seed_from_u64(0);
        let (mut sum, mut batches) = (0.0, 0);
        let (mut errors, mut spoken) = (0, 0);
        while left.peek().is_some() {
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
    /// Edits between best-path decodings and transcripts, and the
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
            errors += edit_distance(&collapse(path), &segment.labels);
        }
        Ok((errors, batch.tokens.iter().map(|s| s.labels.len()).sum()))
    }
}
