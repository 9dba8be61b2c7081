//! Benchmark of a complete training step of the M backbone, against PyTorch, in alternating turns.
//!
//! `experiments/pretrain_step.sh` installs PyTorch and runs this benchmark. Both sides get the
//! same batch of 12 s rows, its CTC labels, and the same initial weights. A turn is a fresh run of
//! [`Trainer::train`] over a few training steps (forward, CTC, backward, clipping, AdamW, averaged
//! weights), and the same in `pretrain_step.py`. Both compute on one thread, and the CPU time of
//! that thread is measured. Turns alternate, so a machine that slows down slows both; the median of
//! the ratios is printed. The losses of all training steps must agree. Otherwise the two sides do
//! not compute the same, and the benchmark fails.
//!
//! A second part measures the cost of making the rows of a training step: the front end over the
//! samples ("features on the fly"), and augmentation, noise and normalization of cached powers.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use candle_core::{Device, Tensor};
use candle_nn::Module;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_audio::features::{FrontendTables, LogMel, NormalizationKind, log_mel, mel_powers};
use wakeling_core::Error as Core;
use wakeling_core::random::normal;
use wakeling_data::mixing::{FeatureAugmentation, MelStream, NoisePool, loudness, mask};
use wakeling_experiments::{Error, Result, cpu_s};
use wakeling_nn::{
    INPUT_SCALE,
    backbone::{BackboneConfig, BackboneNetwork, Tier},
    layers::{Linear, LinearConfig},
    mode::Mode,
    ops::ctc::{Segment, ctc_loss},
    optimizer::Schedule,
    params::Params,
};
use wakeling_train::trainer::{StepOutput, TrainStep, Trainer};

/// Length of a row, in seconds.
const STREAM_S: usize = 12;
/// Length of a row, in frames.
const STREAM_FRAMES: usize = 100 * STREAM_S;
/// Classes of the CTC head: the tokens of `base-m` and the blank.
const CLASSES: usize = 120;
/// Labelled clips per row, and labels per clip: ten phones per second.
const CLIPS: usize = 4;
const LABELS: usize = 28;
/// Training steps of a turn.
const UPDATES: usize = 8;
/// Allowed relative difference of the losses of both sides, in each training step of a turn.
const TOLERANCE: f64 = 2e-3;

/// Batch that is used for every training step.
struct Batch {
    backbone: BackboneConfig,
    features: Tensor,
    segments: Vec<Segment>,
    losses: Mutex<Vec<f64>>,
}

impl TrainStep for Batch {
    fn loss(
        &self,
        params: &Params,
        _: usize,
        _: &mut StdRng,
    ) -> wakeling_train::Result<StepOutput> {
        let mut mode = Mode::train();
        let vb = params.builder();
        let backbone = mode.run(&BackboneNetwork::new(&self.backbone, &vb)?, &self.features)?;
        let logits = Linear::existing(&vb.pp("ctc"))?.forward(&backbone)?;
        let loss = ctc_loss(&logits, &self.segments)?.loss;
        self.losses.lock().expect("one thread").push(f64::from(loss.to_scalar::<f32>()?));
        let Mode::Train(moments) = mode else { unreachable!("set above") };
        Ok(StepOutput { loss, moments, examples: self.segments.len() })
    }
}

/// Generates noise with the rhythm of syllables, at 16 kHz.
fn sound(seconds: usize, rng: &mut StdRng) -> Vec<i16> {
    let mut low = 0.0f32;
    (0..16_000 * seconds)
        .map(|t| {
            low += 0.3 * (normal(rng) - low);
            let syllable = (t as f32 * std::f32::consts::TAU * 4.0 / 16_000.0).sin().max(0.02);
            (4_000.0 * syllable * low) as i16
        })
        .collect()
}

/// Makes one row from cached powers, as training does.
fn row(
    powers: &LogMel,
    frontend: &wakeling_shared::frontend::FrontendParams<'_>,
    rng: &mut StdRng,
) -> Vec<f32> {
    let mut row = MelStream::new(STREAM_FRAMES);
    let clip = STREAM_FRAMES / CLIPS;
    for (index, powers) in powers.chunks(clip).take(CLIPS).enumerate() {
        let sound = FeatureAugmentation::STRONG.apply(powers, rng);
        row.add(index * clip, &sound, 1.0);
        if index == 0 {
            row.add_noise_below(&NoisePool::default(), loudness(&sound), 20.0, rng);
        }
    }
    let mut features = row.features(frontend);
    mask(&mut features, rng);
    features.into_iter().map(|f| f32::from(f) * INPUT_SCALE).collect()
}

fn batch(streams: usize, powers: &LogMel, rng: &mut StdRng) -> Result<Batch> {
    let backbone = BackboneConfig::of(Tier::M);
    let (tables, steps) = (FrontendTables::default(), STREAM_FRAMES / backbone.frames_per_step);
    let frontend = tables.params(NormalizationKind::Log);
    let values: Vec<f32> = (0..streams).flat_map(|_| row(powers, &frontend, rng)).collect();
    let features = Tensor::from_vec(values, (streams, steps, backbone.inputs()), &Device::Cpu)?;
    let length = steps / CLIPS;
    let segments = (0..streams * CLIPS).map(|clip| Segment {
        row: clip / CLIPS,
        start: clip % CLIPS * length,
        end: (clip % CLIPS + 1) * length,
        labels: (0..LABELS).map(|_| rng.random_range(1..CLASSES as u32)).collect(),
    });
    Ok(Batch { backbone, features, segments: segments.collect(), losses: Mutex::default() })
}

fn initial(backbone: &BackboneConfig, rng: &mut StdRng) -> Result<Params> {
    let mut params = Params::default();
    backbone.init(&mut params, rng)?;
    let head =
        LinearConfig { inputs: backbone.channels, outputs: CLASSES, gain: 1.0, bias: Some(0.0) };
    Linear::new(head, &params.initializer(rng).pp("ctc"))?;
    Ok(params)
}

fn run() -> Trainer {
    let schedule = Schedule {
        steps: UPDATES,
        warmup_steps: 1,
        peak_rate: 1e-3,
        weight_decay: 0.02,
        clip_norm: 5.0,
        average_decay: 0.998,
        backbone_rate_share: 1.0,
    };
    Trainer {
        schedule,
        shards: 1,
        workers: 1,
        seed: 1,
        validate_every: 0,
        mine_every: 0,
        folder: None,
        checkpoint_every: usize::MAX,
        title: "",
    }
}

/// Runs one turn here. Returns CPU seconds and losses.
fn turn(batch: &Batch, params: &Params) -> Result<(f64, Vec<f64>)> {
    batch.losses.lock().expect("one thread").clear();
    let (run, params) = (run(), params.detached()?);
    let start = cpu_s();
    run.train(batch, params)?;
    Ok((cpu_s() - start, batch.losses.lock().expect("one thread").clone()))
}

/// Process of `pretrain_step.py`, waiting for turns.
struct PyTorch {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    version: String,
}

impl PyTorch {
    fn start(python: &Path, folder: &Path, variant: &str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pretrain_step.py");
        let mut command = Command::new(python);
        command.arg(&script).arg(folder).arg(variant).stdin(Stdio::piped()).stdout(Stdio::piped());
        for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(name, "1");
        }
        let mut child = command.spawn().map_err(Core::io(python, "start"))?;
        let to = child.stdin.take().expect("piped");
        let mut from = BufReader::new(child.stdout.take().expect("piped"));
        let mut version = String::new();
        from.read_line(&mut version).map_err(Core::io(script, "read"))?;
        Ok(Self { child, to, from, version: version.trim().into() })
    }

    /// Runs one turn in PyTorch. Returns CPU seconds and losses.
    fn turn(&mut self) -> Result<(f64, Vec<f64>)> {
        let mut line = String::new();
        let asked = writeln!(self.to, "turn").and_then(|()| self.to.flush());
        asked.and_then(|()| self.from.read_line(&mut line)).map_err(Core::io("PyTorch", "run"))?;
        let numbers: Vec<f64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        match numbers.split_first() {
            Some((&seconds, losses)) => Ok((seconds, losses.to_vec())),
            None => Err(Error::new("PyTorch gave no answer: look at what it wrote above")),
        }
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // The process may have ended by itself, so errors are ignored.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the batch and the weights to files of little-endian numbers, with their shapes.
fn export(folder: &Path, batch: &Batch, params: &Params) -> Result<()> {
    let write = |name: &str, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(Core::io(path, "write"))
    };
    write("features", &batch.features.flatten_all()?.to_vec1::<f32>()?)?;
    for (name, _) in params.vars() {
        write(&name, &params.values(&name)?)?;
    }
    let (schedule, segments) = (run().schedule, &batch.segments);
    let segments: Vec<_> =
        segments.iter().map(|s| (s.row, s.start, s.end, s.labels.clone())).collect();
    let shapes: Vec<_> = params.vars().map(|(name, var)| (name, var.dims().to_vec())).collect();
    let meta = serde_json::json!({
        "features": batch.features.dims(),
        "dilations": batch.backbone.dilations,
        "shapes": shapes,
        "segments": segments,
        "schedule": schedule,
        "rates": (0..UPDATES).map(|step| schedule.rate(step)).collect::<Vec<_>>(),
    });
    let path = folder.join("meta.json");
    Ok(fs::write(&path, meta.to_string()).map_err(Core::io(path, "write"))?)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints clips and seconds of audio per core-second, and returns the seconds of a training step.
fn print_speed(name: &str, seconds: &[f64], streams: usize) -> f64 {
    let update = median(&mut seconds.to_vec()) / UPDATES as f64;
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min) / UPDATES as f64;
    println!(
        "{name:<42} {:6.1} ms an update (least {:.1})  {:6.0} clips and {:6.0} s of audio per core-second",
        1e3 * update,
        1e3 * least,
        (streams * CLIPS) as f64 / update,
        (streams * STREAM_S) as f64 / update,
    );
    update
}

/// Returns the median cost of making one row, in seconds: front end, and composition.
fn stream_costs(rounds: usize, rng: &mut StdRng) -> (f64, f64) {
    let tables = FrontendTables::default();
    let frontend = tables.params(NormalizationKind::Log);
    let pcm = sound(STREAM_S, rng);
    let (mut front, mut mix) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = cpu_s();
        let powers = log_mel(&mel_powers(&pcm, &frontend));
        let middle = cpu_s();
        std::hint::black_box(row(&powers, &frontend, rng));
        front.push(middle - start);
        mix.push(cpu_s() - middle);
    }
    (median(&mut front), median(&mut mix))
}

struct Args {
    python: Option<PathBuf>,
    streams: usize,
    rounds: usize,
    variants: Vec<String>,
}

fn args() -> Args {
    let mut args = Args { python: None, streams: 4, rounds: 15, variants: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        let mut number = || given.next().and_then(|n| n.parse().ok()).expect("a number");
        match arg.as_str() {
            "--streams" => args.streams = number(),
            "--rounds" => args.rounds = number(),
            "--python" => args.python = given.next().map(PathBuf::from),
            _ => args.variants.push(arg),
        }
    }
    if args.variants.is_empty() {
        args.variants = vec!["conv1d".into(), "channels-last".into()];
    }
    args
}

fn main() -> Result<()> {
    wakeling_experiments::start();
    let args = args();
    let mut rng = StdRng::seed_from_u64(1);
    let tables = FrontendTables::default();
    let powers =
        log_mel(&mel_powers(&sound(STREAM_S, &mut rng), &tables.params(NormalizationKind::Log)));
    let batch = batch(args.streams, &powers, &mut rng)?;
    let params = initial(&batch.backbone, &mut rng)?;
    let folder = std::env::temp_dir().join(format!("wakeling-step-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(Core::io(&folder, "create"))?;
    export(&folder, &batch, &params)?;
    let result = compare(&args, &batch, &params, &folder);
    // If removal fails, only a few megabytes are lost.
    let _ = fs::remove_dir_all(&folder);
    let update = result?;
    let (front, mix) = stream_costs(args.rounds, &mut rng);
    for (name, seconds) in
        [("front end over the samples", front), ("composing rows of cached powers", mix)]
    {
        let all = seconds * args.streams as f64;
        println!("{name:<42} {:6.1} ms, {:.1} % of the step", 1e3 * all, 100.0 * all / update);
    }
    Ok(())
}

/// Alternates turns here and in PyTorch. Returns the seconds of a training step here.
fn compare(args: &Args, batch: &Batch, params: &Params, folder: &Path) -> Result<f64> {
    let title = format!("{} parameters, {} rows of {STREAM_S} s", params.count(), args.streams);
    println!(
        "M backbone with a CTC head, {title}, {} clips; one thread each",
        batch.segments.len()
    );
    let mut here = Vec::new();
    let mut there: Vec<(PyTorch, Vec<f64>, Vec<f64>)> = Vec::new();
    for variant in args.python.iter().flat_map(|_| &args.variants) {
        let python = args.python.as_deref().unwrap_or(Path::new("python3"));
        there.push((PyTorch::start(python, folder, variant)?, Vec::new(), Vec::new()));
    }
    let (_, losses) = turn(batch, params)?;
    for (pytorch, _, _) in &mut there {
        let (_, theirs) = pytorch.turn()?;
        let differ = |(a, b): (&f64, &f64)| (a - b).abs() > TOLERANCE * a.abs();
        if theirs.len() != losses.len() || losses.iter().zip(&theirs).any(differ) {
            return Err(Error::new(format!(
                "{}: other losses: {losses:?} here, {theirs:?} there; make both do the same before \
                 comparing their speed",
                pytorch.version
            )));
        }
    }
    if !there.is_empty() {
        println!(
            "losses of {UPDATES} updates agree to {TOLERANCE}: {:.4} to {:.4}",
            losses[0],
            losses[UPDATES - 1]
        );
    }
    for _ in 0..args.rounds {
        let ours = turn(batch, params)?.0;
        here.push(ours);
        for (pytorch, seconds, ratios) in &mut there {
            let theirs = pytorch.turn()?.0;
            seconds.push(theirs);
            ratios.push(theirs / ours);
        }
    }
    let update = print_speed("wakeling", &here, args.streams);
    for (pytorch, seconds, ratios) in &mut there {
        print_speed(&pytorch.version, seconds, args.streams);
        let ratio = median(ratios);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!(
            "{:<42} {ratio:6.2} times as fast here (median of {} turns, {least:.2} to {most:.2})",
            "", args.rounds
        );
    }
    Ok(update)
}
