//! Pretraining of a backbone on transcribed speech.
//!
//! Clips are composed into training streams (see [`mixing`](wakeling_data::mixing)). Each task is a
//! linear head on the backbone. Two heads are trained with CTC on the clip's stretch of the stream:
//! the tokens of the transcript, and the word of a clip that holds a single one. With a teacher
//! (see [`distillation`](crate::distillation)), a third head learns to predict the teacher's embeddings. A
//! fourth may learn voice activity. The loss is a weighted sum over the tasks; a clip contributes
//! to the tasks for which it has labels.

mod batch;
mod prepare;
mod score;
mod train_step;
mod voice;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use batch::{Stretch, TeacherRows};
use candle_core::Device;
pub use prepare::Datasets;
use prepare::{Found, Labelling, PretrainIndex, prepare};
use rand::{SeedableRng, rngs::StdRng};
use train_step::{Head, Pretraining};

use crate::distillation::{TeacherClip, TeacherTargets};
use crate::{Error, Result};
use crate::{
    quantize,
    trainer::{ProcessGroup, Trainer},
};
use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_data::{
    dataset::Example,
    mixing::{BackgroundMix, FRAMES_PER_SECOND, FeatureAugmentation},
    text::clean,
    tokens::Tokenizer,
};
use wakeling_nn::{
    backbone::BackboneConfig,
    params::Params,
    pretrained::{PRETRAINED_FORMAT, PretrainedMetadata, PretrainedModel},
};

/// Minimum number of occurrences for a token to be learned.
const LEAST_TOKEN_COUNT: usize = 20;
/// Minimum number of clips for a word to be learned.
const LEAST_WORD_COUNT: usize = 40;

/// Labels that train the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Word label of clips that hold a single word.
    Words,
    /// Transcript, with CTC.
    Transcripts,
    /// Words and transcripts.
    Both,
}

wakeling_core::choices!(Task {
    Words: "words", "Word label of clips that hold a single word";
    Transcripts: "transcripts", "Transcript, with CTC";
    Both: "both", "Words and transcripts";
});

/// Loss weight of each task. The losses are in nats per token (transcripts, words), in squared
/// errors of standardized values (teacher), and in nats per step (voice). A task of weight 0 is not
/// learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// CTC on the tokens of transcripts.
    pub transcripts: f64,
    /// CTC on words.
    pub words: f64,
    /// Prediction of the teacher's embeddings.
    pub teacher: f64,
    /// Voice activity.
    pub voice: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { transcripts: 1.0, words: 0.5, teacher: 4.0, voice: 0.0 }
    }
}

impl Weights {
    /// Names of the tasks, as [`Weights::set`] takes them.
    pub const NAMES: [&str; 4] = ["transcripts", "words", "taught", "voice"];

    /// Sets the weight of a task by name.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] if the task does not exist, [`Error::TaskWeight`] if the weight is negative or not finite.
    pub fn set(&mut self, name: &str, weight: f64) -> Result<()> {
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(Error::TaskWeight { task: name.to_owned(), weight });
        }
        match name {
            "transcripts" => self.transcripts = weight,
            "words" => self.words = weight,
            "taught" => self.teacher = weight,
            "voice" => self.voice = weight,
            _ => {
                return Err(Error::UnknownTask { name: name.to_owned(), known: &Self::NAMES });
            }
        }
        Ok(())
    }

    fn of(&self, head: Head) -> f64 {
        match head {
            Head::Tokens => self.transcripts,
            Head::Words => self.words,
            Head::TeacherTargets => self.teacher,
            Head::Voice => self.voice,
        }
    }
}

/// Configuration of a pretraining run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the pretrained model.
    pub name: String,
    /// Shape of the backbone.
    pub backbone: BackboneConfig,
    /// Pretrained model whose backbone training starts from; random weights without one.
    pub start: Option<PretrainedModel>,
    /// Normalization of the features.
    pub normalization: NormalizationKind,
    /// Labels to train on.
    pub task: Task,
    /// Loss weight of each task.
    pub weights: Weights,
    /// Length of the longest clip that is used, in seconds.
    pub longest_s: f64,
    /// Folder of streams with a teacher's outputs; see [`distillation`](crate::distillation).
    pub teacher: Option<PathBuf>,
    /// Augmentation of the clips. If its tempo range is 0, masking is off as well.
    pub augmentation: FeatureAugmentation,
    /// Noise and babble under the clips and the teacher's streams.
    pub background: BackgroundMix,
    /// Rows of 12 s that each worker composes per training step, or fewer longer ones.
    pub streams: usize,
    /// Size of the shuffle buffer in clips, over all workers.
    pub window: usize,
    /// Threads that read clips ahead of the training steps.
    pub readers: usize,
    /// Device on which the network is trained.
    pub device: Device,
    /// Learning rates, lengths, seeds and folder of the run.
    pub run: Trainer,
    /// Licence of the weights.
    pub licence: String,
    /// Grapheme-to-phoneme program.
    pub tokenizer: Tokenizer,
}

/// Pretrains a backbone on datasets of any size, together with the other processes of the group.
/// All processes share one folder. Only the first writes to it, and its model is the one to keep.
///
/// # Errors
/// [`Error::NoLabel`] if no example has a label for the task, [`Error::NoFolder`].
pub fn pretrain(
    settings: &Settings,
    datasets: &Datasets,
    group: &ProcessGroup,
) -> Result<PretrainedModel> {
    let Some(folder) = &settings.run.folder else {
        return Err(Error::NoFolder);
    };
    let tables = FrontendTables::default();
    let frontend = tables.params(settings.normalization);
    let labelling = Labelling {
        task: settings.task,
        tokenizer: &settings.tokenizer,
        seed: settings.run.seed,
        voice: settings.weights.voice > 0.0,
    };
    let lists = prepare_once(datasets, &labelling, folder, group)?;
    let labels = Labels {
        tokenizer: &settings.tokenizer,
        found: &lists.found,
        frames_per_step: settings.backbone.frames_per_step,
    };
    let teacher = match &settings.teacher {
        Some(folder) => {
            let (teacher, too_long) = labels.teacher(TeacherTargets::load(folder, &frontend)?)?;
            log_too_long(&lists.skipped, &too_long)?;
            Some(teacher)
        }
        None => None,
    };
    let dimensions = teacher.as_ref().map_or(0, |t| t.teacher.dimensions);
    let stage = Pretraining::of(settings, &lists, frontend, teacher, group.rank())?;
    let mut rng = StdRng::seed_from_u64(settings.run.seed);
    let params = initial(settings, &lists.found, dimensions, &mut rng)?;
    let is_first = group.rank().index == 0;
    if is_first {
        let (tokens, words) = (lists.found.tokens.outputs(), lists.found.words.outputs());
        log::info!("{} tokens, {} words, {} clips", tokens - 1, words - 1, lists.train.clips());
        log::info!("{} parameters to train", params.count());
    }
    // Everything after training runs on the CPU, so the ranges are measured there too.
    let params = settings.run.train_among(group, &stage, params)?.to_device(&Device::Cpu)?;
    let ranges = quantize::ranges(&stage.calibrate(&params, &mut rng)?);
    if is_first {
        log_left_out(&lists, &stage)?;
    }
    let info = PretrainedMetadata {
        format: PRETRAINED_FORMAT,
        name: settings.name.clone(),
        backbone: settings.backbone.clone(),
        normalization: settings.normalization,
        tokens: lists.found.tokens.clone(),
        words: lists.found.words.clone(),
        ranges,
        provenance: stage.provenance(settings, &lists.found.sources),
        licence: settings.licence.clone(),
    };
    Ok(PretrainedModel { info, params, tables: FrontendTables::default() })
}

/// Prepares the dataset indices in the first process and loads them in the others. Each process
/// lists the clips it skips in a file of its own.
fn prepare_once(
    datasets: &Datasets,
    labelling: &Labelling<'_>,
    folder: &std::path::Path,
    group: &ProcessGroup,
) -> Result<PretrainIndex> {
    let rank = group.rank();
    if rank.index > 0 {
        group.wait();
    }
    let mut lists = prepare(datasets, labelling, folder)?;
    if rank.index > 0 {
        lists.skipped = folder.join(format!("skipped-{}.txt", rank.index));
    } else {
        group.wait();
    }
    Ok(lists)
}

/// Initializes a backbone and a head for each task that is learned.
fn initial(
    settings: &Settings,
    found: &Found,
    dimensions: usize,
    rng: &mut StdRng,
) -> Result<Params> {
    let mut params = match &settings.start {
        Some(start) => start_from(settings, start)?,
        None => Params::on(settings.device.clone()),
    };
    settings.backbone.init(&mut params, rng)?;
    for head in Head::ALL {
        let outputs = match head {
            // A head with only the blank label has nothing to learn.
            Head::Tokens => {
                if found.tokens.outputs() > 1 {
                    found.tokens.outputs()
                } else {
                    0
                }
            }
            Head::Words => {
                if found.words.outputs() > 1 {
                    found.words.outputs()
                } else {
                    0
                }
            }
            Head::TeacherTargets => dimensions,
            Head::Voice => 1,
        };
        if outputs > 0 && settings.weights.of(head) > 0.0 {
            head.init(&mut params, settings.backbone.channels, outputs, rng)?;
        }
    }
    if !Head::ALL.into_iter().any(|head| head.is_in(&params)) {
        return Err(Error::NoTask);
    }
    Ok(params)
}

/// Returns the backbone of `start`, without its heads.
fn start_from(settings: &Settings, start: &PretrainedModel) -> Result<Params> {
    let PretrainedMetadata { name, backbone, normalization, .. } = &start.info;
    if *backbone != settings.backbone || *normalization != settings.normalization {
        return Err(Error::OtherShape { name: name.clone() });
    }
    let mut params = start.params.detached()?;
    Head::ALL.into_iter().for_each(|head| params.remove(head.name()));
    Ok(params.to_device(&settings.device)?)
}

/// Logs how many clips could not be used, and how often labels did not fit into their steps.
fn log_left_out(lists: &PretrainIndex, stage: &Pretraining<'_>) -> Result<()> {
    let skipped = std::fs::read_to_string(&lists.skipped);
    let left_out = skipped.map_err(Error::io(&lists.skipped, "read"))?.lines().count();
    if left_out > 0 {
        log::info!("{left_out} skipped, see {}", lists.skipped.display());
    }
    if let (infeasible @ 1.., all) = stage.infeasible() {
        log::info!(
            "{infeasible} of {all} times, a clip was sped up so much that its labels did not fit into \
             its steps, and was left out of the loss"
        );
    }
    Ok(())
}

/// Logs the stretches whose transcript needs more steps than they have.
fn log_too_long(skipped: &Path, too_long: &[String]) -> Result<()> {
    let Some(first) = too_long.first() else { return Ok(()) };
    log::info!(
        "{} stretches of the teacher's streams have transcripts that need more steps than they \
         have, such as {first}; they train without, see {}",
        too_long.len(),
        skipped.display()
    );
    let lines: String = too_long.iter().map(|line| format!("{line}\n")).collect();
    let file = std::fs::OpenOptions::new().create(true).append(true).open(skipped);
    file.and_then(|mut file| file.write_all(lines.as_bytes())).map_err(Error::io(skipped, "write"))
}

fn texts(examples: &[Example]) -> Vec<(String, String)> {
    let text = |e: &Example| {
        (e.lang.clone().unwrap_or_else(|| "en".into()), e.text.clone().unwrap_or_default())
    };
    examples.iter().map(text).collect()
}

/// Returns the label of an example that is a single word; empty for other examples.
fn word_label(example: &Example) -> Vec<String> {
    match (&example.kind, &example.text) {
        (Some(kind), Some(text)) if kind == "word" => {
            let text = clean(text);
            if text.is_empty() { Vec::new() } else { vec![text] }
        }
        _ => Vec::new(),
    }
}

/// Vocabularies of the run, and the tokenizer that turns transcripts into tokens.
struct Labels<'s> {
    tokenizer: &'s Tokenizer,
    found: &'s Found,
    frames_per_step: usize,
}

impl Labels<'_> {
    /// Labels every stretch of the streams, as far as the examples have labels. A transcript that
    /// needs more steps than its stretch has is left out; the second value names these.
    fn teacher(&self, teacher: TeacherTargets) -> Result<(TeacherRows, Vec<String>)> {
        let examples: Vec<Example> =
            teacher.streams.iter().flat_map(|s| &s.clips).map(|c| c.example.clone()).collect();
        let tokens = self.tokenizer.tokenize(&texts(&examples))?;
        let words: Vec<Vec<String>> = examples.iter().map(word_label).collect();
        let mut labels = tokens.iter().zip(words);
        let mut too_long = Vec::new();
        let mut stretch = |clip: &TeacherClip, tokens: &[String], words: &[String]| {
            let mut tokens = self.found.tokens.encode(tokens);
            let steps = batch::steps_for(clip.end - clip.start, self.frames_per_step);
            if let Some(needed) = batch::steps_beyond(&tokens, steps) {
                too_long.push(format!(
                    "{} from {:.2} to {:.2} s: {needed} steps needed, {steps} there",
                    clip.example.name(),
                    clip.start as f32 / FRAMES_PER_SECOND,
                    clip.end as f32 / FRAMES_PER_SECOND,
                ));
                tokens.clear();
            }
            let words = self.found.words.encode(words);
            Stretch { start: clip.start, end: clip.end, tokens, words }
        };
        let stretches = teacher.streams.iter().map(|stream| {
            let clips = stream.clips.iter().zip(&mut labels);
            clips.map(|(clip, (tokens, words))| stretch(clip, tokens, &words)).collect()
        });
        let stretches = stretches.collect();
        Ok((TeacherRows { teacher, stretches }, too_long))
    }
}
