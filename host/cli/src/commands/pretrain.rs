//! `wakeling pretrain`: trains a pretrained model from transcribed speech.

use std::path::PathBuf;

use clap::Args;

use super::number;
use crate::error::{Error, Result};
use wakeling_audio::features::NormalizationKind;
use wakeling_core::files;
use wakeling_data::{
    mixing::{BackgroundMix, FeatureAugmentation},
    tokens::Tokenizer,
};
use wakeling_nn::{
    backbone::{BackboneConfig, Tier},
    optimizer::Schedule,
    processor::Processor,
};
use wakeling_train::{
    models,
    pretrain::{Datasets, Settings, Task, Weights, pretrain},
    trainer::{ProcessGroup, SHARDS, Trainer},
};

/// Pretrain a model on transcribed speech, on words, or on both
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling pretrain --train speech_commands/ --noise _background_noise_/ --out runs/base
  wakeling pretrain --train train.jsonl --dev dev.jsonl --noise noise.jsonl --g2p espeak-ng \\
    --tier s --out runs/s

An interrupted run continues when the same command is given again. Built with MPI
(`cargo build --release -p wakeling --features mpi`), several processes train together:
  mpirun -n 4 wakeling pretrain --workers 1 --train … --out runs/base   (see docs/guide/scaling.md)
Built with CUDA (`--features cuda`), it trains on an NVIDIA GPU (not tested yet):
  wakeling pretrain --device cuda --streams 64 --train … --out runs/base")]
pub struct PretrainArgs {
    /// Training data: manifests, folders, shards, addresses (see docs/guide/datasets.md)
    #[arg(long, required = true, num_args = 1..)]
    train: Vec<PathBuf>,
    /// Held-out dataset; without it, one speaker in twenty of --train is held out
    #[arg(long)]
    dev: Option<PathBuf>,
    /// Noise and music to mix under the speech
    #[arg(long, num_args = 1..)]
    noise: Vec<PathBuf>,
    /// Folder for the pretrained model, its checkpoint and its log
    #[arg(long)]
    out: PathBuf,
    /// Name of the pretrained model
    #[arg(long, default_value = "base")]
    name: String,
    /// Size of the network
    #[arg(long, value_parser = crate::commands::choice::choice::<Tier>(), ignore_case = true, default_value = "m")]
    tier: Tier,
    /// Shape of a network that is no tier, as JSON, for experiments
    #[arg(long, hide = true, value_name = "JSON", value_parser = parse_shape)]
    shape: Option<BackboneConfig>,
    /// Pretrained model to start from, by name or path: its backbone, with new heads
    #[arg(long, value_name = "BASE")]
    from: Option<String>,
    /// Normalization of the features
    #[arg(long, value_parser = crate::commands::choice::choice::<NormalizationKind>(), default_value = "log")]
    normalization: NormalizationKind,
    /// Labels to train on
    #[arg(long, value_parser = crate::commands::choice::choice::<Task>(), default_value = "both")]
    task: Task,
    /// Loss weight of a task, as TASK=NUMBER: transcripts (default 1), words (0.5), taught (4),
    /// voice (0: voice activity, trained on the levels of clips); 0 leaves a task out
    #[arg(long, value_parser = parse_weight, num_args = 1.., value_name = "TASK=NUMBER")]
    weight: Vec<(String, f64)>,
    /// Maximum length of a clip, in seconds; longer ones are skipped and logged. Every step of a
    /// clip stays in memory until its gradient is computed
    #[arg(long, default_value_t = 40.0, value_parser = number::within(1.0..=600.0))]
    longest: f64,
    /// Folder of speech and of a teacher network's outputs for it, for distillation: `teacher.json`
    /// {name, hop_s, first_s}, `streams.jsonl` {audio, targets, clips}, `.npy` targets
    #[arg(long = "teacher", alias = "taught", value_name = "DIR")]
    teacher: Option<PathBuf>,
    /// Program that converts text to phones, with the interface of espeak-ng
    #[arg(long)]
    g2p: Option<String>,
    /// Leave out clips of these sources (as the manifest names them)
    #[arg(long, num_args = 1..)]
    without: Vec<String>,
    /// Training steps
    #[arg(long, default_value_t = 6_000, value_parser = number::steps())]
    steps: usize,
    /// Streams of 12 s that each worker mixes per training step; fewer if a clip needs longer ones
    #[arg(long = "streams", alias = "rows", value_name = "COUNT", default_value_t = 8, value_parser = number::within(1..=4_096_usize))]
    streams: usize,
    /// Number of clips in memory, from which streams are sampled at random (10 s take 80 kB); a
    /// larger dataset is read repeatedly, and workers share these clips
    #[arg(long, default_value_t = 32_768, value_parser = number::within(1..=1_000_000_000_usize))]
    window: usize,
    /// Threads that read clips ahead
    #[arg(long, default_value_t = wakeling_data::default_readers(), value_parser = number::workers())]
    readers: usize,
    /// Worker threads per process, each with its own batch. The result depends on it, since a step
    /// of more workers holds more streams [default: 2, and 1 on a GPU]
    #[arg(long, value_parser = number::workers())]
    workers: Option<usize>,
    /// Processor to train on: `cpu`, or, in a program built with the feature `cuda`, a GPU: `cuda`
    /// or `cuda:NUMBER`
    #[arg(long, default_value_t = Processor::Cpu)]
    device: Processor,
    /// Training steps between checkpoints
    #[arg(long, default_value_t = 100, value_parser = number::steps())]
    checkpoint_every: usize,
    /// Training steps between evaluations on the held-out clips
    #[arg(long, default_value_t = 500, value_parser = number::within(0..=number::MOST_STEPS))]
    validate_every: usize,
    /// Peak learning rate
    #[arg(long, default_value_t = 4e-3, value_parser = number::within(number::LEARNING_RATES))]
    rate: f64,
    /// Lowest signal-to-noise ratio, in dB, of the backgrounds under three streams in four
    #[arg(long, value_name = "DB", default_value_t = 0.0, allow_negative_numbers = true, value_parser = number::within(-20.0..=60.0))]
    snr_min: f64,
    /// Highest signal-to-noise ratio of these backgrounds, in dB
    #[arg(long, value_name = "DB", default_value_t = 40.0, allow_negative_numbers = true, value_parser = number::within(-20.0..=60.0))]
    snr_max: f64,
    /// Share of the backgrounds that is babble of other talkers; the others are noise
    #[arg(long, default_value_t = 0.0, value_parser = number::within(0.0..=1.0))]
    babble: f64,
    /// Leave out augmentation of the clips and the backgrounds under them
    #[arg(long)]
    no_augmentation: bool,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
    /// Licence of the weights, as an SPDX expression
    #[arg(long, default_value = "CC-BY-SA-4.0")]
    licence: String,
}

fn parse_weight(text: &str) -> Result<(String, f64), String> {
    let parsed = text.split_once('=').and_then(|(task, w)| Some((task, w.parse().ok()?)));
    let (task, weight): (&str, f64) = parsed.ok_or("expected TASK=NUMBER")?;
    Weights::default().set(task, weight).map_err(|error| Error::from(error).to_string())?;
    Ok((task.to_owned(), weight))
}

fn parse_shape(text: &str) -> Result<BackboneConfig, String> {
    let shape: BackboneConfig = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if shape.is_sound() { Ok(shape) } else { Err("a number is 0 or above 4,096".into()) }
}

/// Runs the command.
pub fn run(args: PretrainArgs) -> Result<()> {
    let group = ProcessGroup::join()?;
    let result = run_among(args, &group);
    if let (Err(error), 2..) = (&result, group.rank().count) {
        // The other processes wait for the gradients of this one, so it has to stop them.
        log::info!("error in process {}: {error}", group.rank().index);
        group.stop(error.exit_code());
    }
    result
}

fn run_among(args: PretrainArgs, group: &ProcessGroup) -> Result<()> {
    let settings = settings(&args)?;
    // Only the first process of a run claims the folder.
    let _claim = (group.rank().index == 0).then(|| files::claim(&args.out)).transpose()?;
    let datasets =
        Datasets { train: args.train, dev: args.dev, noise: args.noise, without: args.without };
    let pretrained = pretrain(&settings, &datasets, group)?;
    if group.rank().index == 0 {
        let path = args.out.join(format!("{}.safetensors", args.name));
        pretrained.save(&path)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn settings(args: &PretrainArgs) -> Result<Settings> {
    let mut weights = Weights::default();
    for (task, weight) in &args.weight {
        weights.set(task, *weight)?;
    }
    let device = args.device.open()?;
    let workers = args.workers.unwrap_or(if device.is_cpu() { SHARDS } else { 1 });
    Ok(Settings {
        name: args.name.clone(),
        backbone: args.shape.clone().unwrap_or_else(|| BackboneConfig::of(args.tier)),
        start: args.from.as_deref().map(models::pretrained).transpose()?,
        normalization: args.normalization,
        task: args.task,
        weights,
        longest_s: args.longest,
        teacher: args.teacher.clone(),
        augmentation: if args.no_augmentation {
            FeatureAugmentation::NONE
        } else {
            FeatureAugmentation::STRONG
        },
        background: if args.no_augmentation {
            BackgroundMix::NONE
        } else {
            BackgroundMix {
                chance: 0.75,
                snr_db: (args.snr_min as f32, args.snr_max.max(args.snr_min) as f32),
                babble_chance: args.babble,
                most_talkers: 6,
                ..BackgroundMix::NONE
            }
        },
        streams: args.streams,
        window: args.window,
        readers: args.readers,
        device,
        run: Trainer {
            schedule: Schedule {
                steps: args.steps,
                warmup_steps: (args.steps / 20).clamp(1, 500),
                peak_rate: args.rate,
                weight_decay: 0.02,
                clip_norm: 5.0,
                average_decay: 0.998,
                backbone_rate_share: 1.0,
            },
            shards: workers,
            workers,
            seed: args.seed,
            validate_every: args.validate_every,
            mine_every: 0,
            folder: Some(args.out.clone()),
            checkpoint_every: args.checkpoint_every,
            title: "pretrain",
        },
        licence: args.licence.clone(),
        tokenizer: Tokenizer { g2p: args.g2p.clone() },
    })
}
