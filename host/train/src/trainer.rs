//! Training loop, shared by all stages of training.
//!
//! Each training step consists of a fixed number of shards; the [`TrainStep`] computes the loss of
//! each. Shards run their own graphs on the same parameters (data parallelism), on the available
//! threads. Their gradients are averaged in the order of the shards. The random numbers of a shard
//! depend only on the seed, the step and the shard's number. Weights therefore do not depend on the
//! number of threads, bit for bit. A run that resumes from a checkpoint ends with the same weights
//! as an uninterrupted one.
//!
//! Several processes ([`ProcessGroup`]) share a training step in the same way. Shards are numbered across
//! processes, so two processes with one shard each compute the same as one process with two.
//!
//! A network on a GPU has one shard per process. Candle gives all threads one cuBLAS handle but
//! each its own stream, so two threads would overwrite each other's workspace. Gradients, moments
//! and the optimizer are always in host memory.

mod curves;
mod run_log;
mod distributed;
mod report;
mod share;

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use candle_core::Tensor;
pub use distributed::{ProcessGroup, Rank};
use rand::{SeedableRng, rngs::StdRng};
use report::Report;
pub use report::Tick;
use run_log::Log;
pub use run_log::Metric;
use share::ShardSum;

use crate::{Error, Result};
use wakeling_core::progress::Progress;
use wakeling_nn::{
    mode::{LayerMoments, update_running},
    optimizer::{Schedule, ScheduledAdamW},
    params::Params,
};

/// Default number of shards per training step. Results depend on it, so it is the same on every
/// machine; two keep both cores of a small laptop busy.
pub const SHARDS: usize = 2;

/// Key of [`TrainStep::gathered`] in a checkpoint.
const GATHERED: &str = "gathered";

/// Result of one shard of a training step.
pub struct StepOutput {
    /// Scalar loss to minimize.
    pub loss: Tensor,
    /// Statistics collected by batch norm, by layer.
    pub moments: Vec<LayerMoments>,
    /// Number of examples in the loss.
    pub examples: usize,
}

/// Source of training examples and their loss.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use rand::rngs::StdRng;
/// use wakeling_nn::{optimizer::Schedule, params::Params};
/// use wakeling_train::{Result, trainer::{StepOutput, TrainStep, Trainer}};
///
/// /// Fits `y = w · x` to points on a line of slope 3.
/// struct Line;
/// impl TrainStep for Line {
///     fn loss(&self, params: &Params, _worker: usize, _rng: &mut StdRng) -> Result<StepOutput> {
///         let x = Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu)?;
///         let error = (x.broadcast_mul(&params.get("w")?)? - (&x * 3.0)?)?;
///         Ok(StepOutput { loss: error.sqr()?.mean_all()?, moments: vec![], examples: 3 })
///     }
/// }
///
/// # let schedule = Schedule { steps: 200, warmup_steps: 5, peak_rate: 0.2, weight_decay: 0.0, clip_norm: 5.0, average_decay: 0.0, backbone_rate_share: 1.0 };
/// # let trainer = Trainer { schedule, shards: 2, workers: 1, seed: 1, validate_every: 0, mine_every: 0, folder: None, checkpoint_every: 1_000, title: "line" };
/// let mut params = Params::default();
/// params.insert("w", &[1], vec![0.0])?;
/// let trained = trainer.train(&Line, params)?; // by a `Trainer` with a `Schedule` of 200 steps
/// assert!((trained.values("w")?[0] - 3.0).abs() < 0.05);
/// # Ok::<(), wakeling_train::Error>(())
/// ```
pub trait TrainStep: Sync {
    /// Computes the loss of one shard of a training step; `worker` is the shard's index within this
    /// process.
    ///
    /// # Errors
    /// Any error here and below ends the training, for instance that of a tensor operation.
    fn loss(&self, params: &Params, worker: usize, rng: &mut StdRng) -> Result<StepOutput>;

    /// Called regularly with the current weights, for instance to mine hard negatives.
    fn mine_hard_negatives(&self, _params: &Params) -> Result<()> {
        Ok(())
    }

    /// Loads the next examples; called between training steps.
    fn next_batch(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the position of each worker of this process in its data, for the checkpoint.
    fn positions(&self, workers: usize) -> Vec<u64> {
        vec![0; workers]
    }

    /// Returns what was gathered under earlier weights, such as mined negatives, for the checkpoint.
    fn gathered(&self) -> String {
        String::new()
    }

    /// Restores what [`TrainStep::gathered`] returned for a checkpoint. Called after
    /// [`TrainStep::restore`].
    fn restore_gathered(&self, _gathered: &str) {}

    /// Restores the positions of a checkpoint, or of the start. Called once, before all other
    /// methods.
    fn restore(&self, _positions: &[u64]) -> Result<()> {
        Ok(())
    }

    /// Computes metrics on this process's share of the held-out data. All processes return the same
    /// names. Empty without held-out data.
    fn validate(&self, _params: &Params, _rank: Rank) -> Result<Vec<Metric>> {
        Ok(Vec::new())
    }
}

/// Configuration of a training run.
#[derive(Clone, Debug)]
pub struct Trainer {
    /// Learning rate schedule and number of steps.
    pub schedule: Schedule,
    /// Shards of every training step, each with its own batch; 1 for a network on a GPU. The result
    /// depends on it.
    pub shards: usize,
    /// Threads that compute the shards. The result does not depend on it.
    pub workers: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Training steps between validations; 0 for none.
    pub validate_every: usize,
    /// Training steps between calls of [`TrainStep::mine_hard_negatives`]; 0 for none.
    pub mine_every: usize,
    /// Folder of `checkpoint.safetensors` and `train.csv`; `None` for short runs.
    pub folder: Option<PathBuf>,
    /// Training steps between checkpoints.
    pub checkpoint_every: usize,
    /// Title of the progress bar.
    pub title: &'static str,
}

impl Trainer {
    /// Returns the random number generator of one shard in one training step.
    fn rng(&self, step: usize, worker: usize) -> StdRng {
        let mut seed = [0; 32];
        let parts = [self.seed, step as u64, worker as u64];
        for (slot, part) in seed.as_chunks_mut::<8>().0.iter_mut().zip(parts) {
            *slot = part.to_le_bytes();
        }
        StdRng::from_seed(seed)
    }

    /// Trains `params` in a single process; see [`Trainer::train_among`].
    ///
    /// # Errors
    /// As [`Trainer::train_among`].
    pub fn train(&self, stage: &dyn TrainStep, params: Params) -> Result<Params> {
        self.train_among(&ProcessGroup::alone(), stage, params)
    }

    /// Trains `params` alone, as [`Trainer::train`] does. Calls `tick` at the start and after each
    /// training step instead of showing a bar.
    ///
    /// # Errors
    /// As there, and errors of `tick`, which end the training.
    pub fn train_ticking(
        &self,
        stage: &dyn TrainStep,
        params: Params,
        tick: &dyn Fn(Tick) -> Result<()>,
    ) -> Result<Params> {
        self.run_steps(&ProcessGroup::alone(), stage, params, Report::Ticks(tick))
    }

    /// Trains `params` alone, as [`Trainer::train`] does. Reports the training steps to `progress`
    /// as one stage, and stops after the step at which it is cancelled.
    ///
    /// # Errors
    /// As there; an error for which [`Error::is_cancelled`] is `true`.
    pub fn train_with_progress(
        &self,
        stage: &dyn TrainStep,
        params: Params,
        progress: &dyn Progress,
    ) -> Result<Params> {
        self.run_steps(&ProcessGroup::alone(), stage, params, Report::Observer(progress))
    }

    /// Trains `params` and returns the averaged weights. Resumes from the folder's checkpoint if
    /// there is one.
    ///
    /// # Errors
    /// Errors of the stage; [`Error::SharedGpu`] for several shards on a GPU; also if a checkpoint
    /// cannot be read or written.
    pub fn train_among(
        &self,
        group: &ProcessGroup,
        stage: &dyn TrainStep,
        params: Params,
    ) -> Result<Params> {
        let report = if group.rank().index == 0 { Report::bar() } else { Report::Silent };
        self.run_steps(group, stage, params, report)
    }

    fn run_steps(
        &self,
        group: &ProcessGroup,
        stage: &dyn TrainStep,
        params: Params,
        mut report: Report<'_>,
    ) -> Result<Params> {
        let rank = group.rank();
        if self.shards > 1 && !params.device().is_cpu() {
            return Err(Error::SharedGpu { workers: self.shards });
        }
        let (params, mut adam) = self.resume(rank, stage, params)?;
        let mut log = match &self.folder {
            Some(folder) if rank.index == 0 => Some(Log::open(folder, adam.steps_done())?),
            _ => None,
        };
        report.begin(self.title, self.schedule.steps, adam.steps_done())?;
        let mut recent = Recent::new();
        while adam.steps_done() < self.schedule.steps {
            let step = adam.steps_done();
            if self.mine_every > 0 && step.is_multiple_of(self.mine_every) {
                stage.mine_hard_negatives(&params)?;
            }
            let share = self.distribute(rank, stage, &params, step)?;
            let ShardSum { loss, examples, gradients, moments } = share.exchange(group, &params)?;
            let norm = adam.update(gradients)?;
            for collected in &moments {
                update_running(&params, collected)?;
            }
            stage.next_batch()?;
            recent.add(loss, examples);
            let done = step + 1;
            report.step(done, loss, || {
                format!("loss {:.3}  {:.0} examples/s", recent.loss(), recent.rate())
            })?;
            let metrics = self.metrics(group, stage, &params, &adam)?;
            if let Some(log) = &mut log {
                log.row(done, loss, self.schedule.rate(step), norm, &metrics)?;
                if !metrics.is_empty() {
                    let metrics: Vec<String> = metrics.iter().map(Metric::to_string).collect();
                    report.line(&format!("step {done}: {}", metrics.join(", ")));
                }
            }
            if done.is_multiple_of(self.checkpoint_every.max(1)) {
                self.checkpoint(group, stage, &params, &adam)?;
                log.as_mut().map_or(Ok(()), |log| log.draw(false))?;
            }
        }
        report.end();
        self.checkpoint(group, stage, &params, &adam)?;
        log.as_mut().map_or(Ok(()), |log| log.draw(true))?;
        Ok(adam.averaged(&params)?)
    }

    /// Evaluates the averaged weights on held-out data, if a validation is due.
    fn metrics(
        &self,
        group: &ProcessGroup,
        stage: &dyn TrainStep,
        params: &Params,
        adam: &ScheduledAdamW,
    ) -> Result<Vec<Metric>> {
        if self.validate_every == 0 || !adam.steps_done().is_multiple_of(self.validate_every) {
            return Ok(Vec::new());
        }
        let mut metrics = stage.validate(&adam.averaged(params)?, group.rank())?;
        let mut sums: Vec<f64> = metrics.iter().flat_map(|f| [f.sum, f.of]).collect();
        group.sum(&mut sums);
        for (figure, [sum, of]) in metrics.iter_mut().zip(sums.as_chunks().0) {
            (figure.sum, figure.of) = (*sum, *of);
        }
        Ok(metrics)
    }

    /// Computes this process's part of the mean of loss and gradients over all shards.
    fn distribute(
        &self,
        rank: Rank,
        stage: &dyn TrainStep,
        params: &Params,
        step: usize,
    ) -> Result<ShardSum> {
        let shards = self.shards.max(1);
        let threads = self.workers.clamp(1, shards);
        let work = |shard: usize| {
            ShardSum::of(stage, params, shard, &mut self.rng(step, rank.index * shards + shard))
        };
        // Thread `t` computes the shards `t`, `t + threads`, …
        let some = |thread: usize| -> Vec<Result<ShardSum>> {
            (thread..shards).step_by(threads).map(work).collect()
        };
        let results: Vec<Vec<Result<ShardSum>>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|t| scope.spawn(move || some(t))).collect();
            let mut results = vec![some(0)];
            for other in others {
                results.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            results
        });
        let mut results: Vec<_> = results.into_iter().map(Vec::into_iter).collect();
        let weight = 1.0 / (shards * rank.count) as f32;
        let mut sum: Option<ShardSum> = None;
        for result in (0..shards).filter_map(|shard| results[shard % threads].next()) {
            match &mut sum {
                Some(sum) => sum.add(result?, weight),
                None => sum = Some(result?.scaled(weight)),
            }
        }
        Ok(sum.unwrap_or_default())
    }

    fn checkpoint_path(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|f| f.join("checkpoint.safetensors"))
    }

    /// Writes parameters, optimizer and positions to one file, so that they are always consistent.
    fn checkpoint(
        &self,
        group: &ProcessGroup,
        stage: &dyn TrainStep,
        params: &Params,
        adam: &ScheduledAdamW,
    ) -> Result<()> {
        let Some(path) = self.checkpoint_path() else { return Ok(()) };
        let positions = group.gather(&stage.positions(self.shards.max(1)));
        if group.rank().index > 0 {
            return Ok(());
        }
        let mut all = params.clone();
        all.track_all(&adam.state()?, "optimizer.")?;
        let positions: Vec<String> = positions.iter().map(u64::to_string).collect();
        let mut metadata = HashMap::from([
            ("step".to_owned(), adam.steps_done().to_string()),
            ("seed".to_owned(), self.seed.to_string()),
            ("position".to_owned(), positions.join(" ")),
        ]);
        let gathered = stage.gathered();
        if !gathered.is_empty() {
            metadata.insert(GATHERED.to_owned(), gathered);
        }
        Ok(all.save(&path, metadata)?)
    }

    fn resume(
        &self,
        rank: Rank,
        stage: &dyn TrainStep,
        params: Params,
    ) -> Result<(Params, ScheduledAdamW)> {
        let workers = self.shards.max(1);
        let fresh = |params| {
            stage.restore(&vec![0; workers])?;
            let adam = ScheduledAdamW::new(self.schedule, &params)?;
            Ok((params, adam))
        };
        let Some(path) = self.checkpoint_path() else { return fresh(params) };
        if !path.exists() {
            return fresh(params);
        }
        let (all, metadata) = Params::load(&path)?;
        let mut all = all.to_device(params.device())?;
        let number = |key: &str| metadata.get(key).and_then(|v| v.parse::<u64>().ok());
        let (Some(step), Some(seed)) = (number("step"), number("seed")) else {
            return Err(Error::CheckpointWithoutStep { path });
        };
        let shapes = |params: &Params| -> Vec<(String, Vec<usize>)> {
            params.vars().map(|(name, var)| (name, var.dims().to_vec())).collect()
        };
        let same_names = shapes(&all) == shapes(&params);
        if seed != self.seed || !same_names {
            return Err(Error::OtherCheckpoint { path });
        }
        let state = all.take_tracked("optimizer.");
        let adam = ScheduledAdamW::restore(self.schedule, step as usize, &all, &state)?;
        let positions: Vec<u64> = metadata
            .get("position")
            .map_or(Vec::new(), |text| text.split(' ').filter_map(|p| p.parse().ok()).collect());
        stage.restore(&distributed_positions(&positions, rank, workers))?;
        stage.restore_gathered(metadata.get(GATHERED).map_or("", String::as_str));
        if rank.index == 0 {
            log::info!("resuming {} at step {step}", path.display());
            // Stages that keep all their data in memory always store position 0.
            if positions.len() != workers * rank.count && positions.iter().any(|&p| p > 0) {
                log::info!(
                    "it was written by {} workers; with {} the run goes on, but to other weights",
                    positions.len(),
                    workers * rank.count
                );
            }
        }
        Ok((all, adam))
    }
}

/// Returns this process's part of the positions of all workers. If the number of workers has
/// changed, all resume at the average position.
fn distributed_positions(positions: &[u64], rank: Rank, workers: usize) -> Vec<u64> {
    let all = workers * rank.count;
    if positions.len() == all {
        return positions[rank.index * workers..][..workers].to_vec();
    }
    vec![positions.iter().sum::<u64>() / all as u64; workers]
}

/// Running average of loss and speed, for the progress bar.
struct Recent {
    loss: f64,
    examples: f64,
    since: Instant,
}

impl Recent {
    fn new() -> Self {
        Self { loss: f64::NAN, examples: 0.0, since: Instant::now() }
    }

    fn add(&mut self, loss: f64, examples: usize) {
        self.loss = if self.loss.is_nan() { loss } else { 0.95 * self.loss + 0.05 * loss };
        self.examples += examples as f64;
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn rate(&self) -> f64 {
        self.examples / self.since.elapsed().max(Duration::from_millis(1)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::RngExt;

    /// Linear regression on data from the loop's own generator.
    struct Line;

    impl TrainStep for Line {
        fn loss(&self, params: &Params, _: usize, rng: &mut StdRng) -> Result<StepOutput> {
            let x: Vec<f32> = (0..16).map(|_| rng.random_range(-1.0..1.0)).collect();
            let y: Vec<f32> = x.iter().map(|x| 3.0 * x).collect();
            let x = Tensor::from_vec(x, 16, &Device::Cpu)?;
            let y = Tensor::from_vec(y, 16, &Device::Cpu)?;
            let error = (x.broadcast_mul(&params.get("slope")?)? - y)?;
            Ok(StepOutput { loss: error.sqr()?.mean_all()?, moments: Vec::new(), examples: 16 })
        }
    }

    fn run(folder: Option<PathBuf>, steps: usize) -> Trainer {
        let schedule = Schedule {
            steps,
            warmup_steps: 5,
            peak_rate: 0.1,
            weight_decay: 0.0,
            clip_norm: 10.0,
            average_decay: 0.9,
            backbone_rate_share: 1.0,
        };
        let title = "line";
        Trainer {
            schedule,
            shards: 2,
            workers: 2,
            seed: 1,
            validate_every: 0,
            mine_every: 0,
            folder,
            checkpoint_every: 7,
            title,
        }
    }

    fn start() -> Result<Params> {
        let mut params = Params::default();
        params.insert("slope", &[1], vec![0.0])?;
        Ok(params)
    }

    #[test]
    fn learns_a_slope() -> Result<()> {
        let slope = run(None, 150).train(&Line, start()?)?.values("slope")?[0];
        assert!((slope - 3.0).abs() < 0.05, "{slope}");
        Ok(())
    }

    #[test]
    fn weights_do_not_depend_on_the_number_of_threads() -> Result<()> {
        for shards in 1..6 {
            let slope = |workers| -> Result<Vec<f32>> {
                Ok(Trainer { shards, workers, ..run(None, 20) }
                    .train(&Line, start()?)?
                    .values("slope")?)
            };
            let one = slope(1)?;
            for workers in [0, 2, 3, 4, 9] {
                assert_eq!(slope(workers)?, one, "{shards} shards, {workers} threads");
            }
        }
        Ok(())
    }

    #[test]
    fn a_run_that_was_cut_off_ends_with_the_same_weights() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io(".", "create"))?;
        let whole = run(None, 60).train(&Line, start()?)?.values("slope")?;
        // Interrupted after 30 steps of the same schedule: the stage fails, and the last checkpoint
        // stays.
        struct CutOff(std::sync::atomic::AtomicUsize);
        impl TrainStep for CutOff {
            fn loss(&self, params: &Params, w: usize, rng: &mut StdRng) -> Result<StepOutput> {
                let calls = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if calls > 60 { Err(Error::defect("cut off")) } else { Line.loss(params, w, rng) }
            }
        }
        let here = run(Some(folder.path().to_owned()), 60);
        assert!(here.train(&CutOff(0.into()), start()?).is_err());
        let resumed = here.train(&Line, start()?)?.values("slope")?;
        assert_eq!(whole, resumed);
        Ok(())
    }

    #[test]
    fn a_checkpoint_of_another_run_is_refused() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io(".", "create"))?;
        run(Some(folder.path().to_owned()), 8).train(&Line, start()?)?;
        let other = Trainer { seed: 2, ..run(Some(folder.path().to_owned()), 8) };
        assert!(other.train(&Line, start()?).unwrap_err().to_string().contains("another run"));
        Ok(())
    }
}
