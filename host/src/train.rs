//! The one training loop; a stage of training is data for it.
//!
//! Each update asks the [`Stage`] for one loss a worker. Workers are threads that each run their own
//! graph on the same parameters (data parallel); their gradients are averaged in a fixed order. What
//! a worker draws depends on the seed, the update and the worker alone, so a run that was cut off and
//! resumed from a checkpoint ends with the same weights, bit for bit, as one that was not.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use candle_core::Tensor;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    Error, Result,
    files::write_atomic,
    nn::{
        optimizer::{AdamW, Gradients, Schedule},
        params::Params,
        trunk::{LayerMoments, update_running},
    },
    progress::progress_bar,
};

/// What one worker found for one update.
pub struct Outcome {
    /// Scalar to minimize.
    pub loss: Tensor,
    /// Moments that batch norm collected, by layer.
    pub moments: Vec<LayerMoments>,
    /// Examples that the loss is about.
    pub examples: usize,
}

/// A stage of training: which examples, which loss.
pub trait Stage: Sync {
    /// The loss of one worker's share of an update.
    fn loss(&self, params: &Params, rng: &mut StdRng) -> Result<Outcome>;

    /// Looks at the weights now and then, to choose what to learn from next.
    fn refresh(&self, _params: &Params) -> Result<()> {
        Ok(())
    }

    /// Makes room for new examples, between updates.
    fn advance(&self) -> Result<()> {
        Ok(())
    }

    /// How far the stage is in its examples; kept in the checkpoint.
    fn position(&self) -> u64 {
        0
    }

    /// Goes to where a checkpoint was written, or to the start; called once, before all else.
    fn seek(&self, _position: u64) -> Result<()> {
        Ok(())
    }

    /// Figures on held-out data, by name; none if there is nothing to hold out.
    fn validate(&self, _params: &Params) -> Result<Vec<(&'static str, f64)>> {
        Ok(Vec::new())
    }
}

/// How a stage is run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Rates and lengths.
    pub schedule: Schedule,
    /// Threads that each compute a share of every update.
    pub workers: usize,
    /// Seed of everything drawn.
    pub seed: u64,
    /// Updates between validations; 0 for none.
    pub validate_every: usize,
    /// Updates between refreshes of the stage; 0 for none.
    pub refresh_every: usize,
    /// Folder of `checkpoint.safetensors` and `train.csv`; none for short runs.
    pub folder: Option<PathBuf>,
    /// Updates between checkpoints.
    pub checkpoint_every: usize,
    /// What the progress bar is called.
    pub title: &'static str,
}

impl Run {
    /// The generator of one worker at one update.
    fn rng(&self, step: usize, worker: usize) -> StdRng {
        let mut seed = [0; 32];
        let parts = [self.seed, step as u64, worker as u64];
        for (slot, part) in seed.as_chunks_mut::<8>().0.iter_mut().zip(parts) {
            *slot = part.to_le_bytes();
        }
        StdRng::from_seed(seed)
    }

    /// Trains `params`; returns the averaged weights. Continues from the folder's checkpoint if
    /// there is one.
    ///
    /// # Errors
    /// Whatever the stage returns; a checkpoint that cannot be read or written.
    pub fn train(&self, stage: &dyn Stage, params: Params) -> Result<Params> {
        let (mut params, mut adam) = self.resume(stage, params)?;
        let mut log = self.open_log(adam.steps_done())?;
        let bar = progress_bar(self.schedule.steps as u64, self.title);
        bar.set_position(adam.steps_done() as u64);
        bar.reset_eta();
        let mut recent = Recent::new();
        while adam.steps_done() < self.schedule.steps {
            let step = adam.steps_done();
            if self.refresh_every > 0 && step.is_multiple_of(self.refresh_every) {
                stage.refresh(&params)?;
            }
            let Share { loss, examples, gradients, moments } =
                self.share_out(stage, &params, step)?;
            let norm = adam.update(&params, &gradients)?;
            for collected in &moments {
                update_running(&mut params, collected);
            }
            stage.advance()?;
            recent.add(loss, examples);
            bar.set_message(format!("loss {:.3}  {:.0} examples/s", recent.loss(), recent.rate()));
            bar.inc(1);
            let done = step + 1;
            let validation = if self.validate_every > 0 && done.is_multiple_of(self.validate_every)
            {
                stage.validate(&adam.averaged(&params)?)?
            } else {
                Vec::new()
            };
            if let Some(log) = &mut log {
                log.row(done, loss, self.schedule.rate(step), norm, &validation)?;
            }
            if !validation.is_empty() {
                let figures: Vec<String> =
                    validation.iter().map(|(k, v)| format!("{k} {v:.4}")).collect();
                bar.suspend(|| eprintln!("step {done}: {}", figures.join(", ")));
            }
            if done.is_multiple_of(self.checkpoint_every.max(1)) {
                self.checkpoint(stage, &params, &adam)?;
            }
        }
        bar.finish_and_clear();
        self.checkpoint(stage, &params, &adam)?;
        adam.averaged(&params)
    }

    /// Every worker's loss and gradients, averaged in the order of the workers.
    fn share_out(&self, stage: &dyn Stage, params: &Params, step: usize) -> Result<Share> {
        let work = |worker: usize| Share::of(stage, params, &mut self.rng(step, worker));
        let workers = self.workers.max(1);
        let results: Vec<Result<Share>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|w| scope.spawn(move || work(w))).collect();
            let mut results = vec![work(0)];
            for other in others {
                results.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            results
        });
        let mut sum = Share::default();
        for result in results {
            sum.add(result?, 1.0 / workers as f32);
        }
        Ok(sum)
    }

    fn checkpoint_path(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|f| f.join("checkpoint.safetensors"))
    }

    /// Parameters, optimizer and position in one file, so that they cannot disagree.
    fn checkpoint(&self, stage: &dyn Stage, params: &Params, adam: &AdamW) -> Result<()> {
        let Some(path) = self.checkpoint_path() else { return Ok(()) };
        let mut all = params.clone();
        all.track_all(&adam.state(), "optimizer.");
        let metadata = HashMap::from([
            ("step".to_owned(), adam.steps_done().to_string()),
            ("seed".to_owned(), self.seed.to_string()),
            ("position".to_owned(), stage.position().to_string()),
        ]);
        all.save(&path, metadata)
    }

    fn resume(&self, stage: &dyn Stage, params: Params) -> Result<(Params, AdamW)> {
        let fresh = |params| {
            stage.seek(0)?;
            Ok((params, AdamW::new(self.schedule)))
        };
        let Some(path) = self.checkpoint_path() else { return fresh(params) };
        if !path.exists() {
            return fresh(params);
        }
        let (mut all, metadata) = Params::load(&path)?;
        let number = |key: &str| metadata.get(key).and_then(|v| v.parse::<u64>().ok());
        let (Some(step), Some(seed)) = (number("step"), number("seed")) else {
            return Err(Error::input(
                &path,
                "no step in the checkpoint",
                "remove it to start anew",
            ));
        };
        let same_names =
            all.vars().map(|(n, v)| (n, v.dims())).eq(params.vars().map(|(n, v)| (n, v.dims())));
        if seed != self.seed || !same_names {
            return Err(Error::input(
                &path,
                "the checkpoint is of another run (other seed or network)",
                "choose another --out folder, or remove this one",
            ));
        }
        let state = all.take_tracked("optimizer.");
        let adam = AdamW::restore(self.schedule, step as usize, &all, &state);
        // Checkpoints of stages that keep all they learn from have none.
        stage.seek(number("position").unwrap_or(0))?;
        eprintln!("resuming {} at step {step}", path.display());
        Ok((all, adam))
    }

    /// The log, without what was written after the checkpoint.
    fn open_log(&self, steps_done: usize) -> Result<Option<Log>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        Log::open(&folder.join("train.csv"), steps_done).map(Some)
    }
}

/// What the workers found for one update.
#[derive(Default)]
struct Share {
    loss: f64,
    examples: usize,
    gradients: Gradients,
    /// One set of moments a worker.
    moments: Vec<Vec<LayerMoments>>,
}

impl Share {
    /// One worker's loss and gradients.
    fn of(stage: &dyn Stage, params: &Params, rng: &mut StdRng) -> Result<Self> {
        let outcome = stage.loss(params, rng)?;
        let store = outcome.loss.backward()?;
        let mut gradients = Gradients::new();
        for (name, var) in params.vars() {
            if let Some(gradient) = store.get(var.as_tensor()) {
                gradients.insert(name.to_owned(), gradient.flatten_all()?.to_vec1()?);
            }
        }
        let loss = f64::from(outcome.loss.to_scalar::<f32>()?);
        Ok(Self { loss, examples: outcome.examples, gradients, moments: vec![outcome.moments] })
    }

    /// Adds `weight` of another worker's loss and gradients, and all of its moments.
    fn add(&mut self, other: Self, weight: f32) {
        self.loss += f64::from(weight) * other.loss;
        self.examples += other.examples;
        for (name, gradient) in other.gradients {
            let entry = self.gradients.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
            entry.iter_mut().zip(&gradient).for_each(|(s, g)| *s += weight * g);
        }
        self.moments.extend(other.moments);
    }
}

/// `train.csv`: one row an update.
struct Log {
    file: fs::File,
    path: PathBuf,
}

impl Log {
    fn open(path: &Path, steps_done: usize) -> Result<Self> {
        let is_new = !path.exists();
        if path.is_file() {
            let text = fs::read_to_string(path).map_err(Error::io(path, "read"))?;
            let step = |line: &str| line.split(',').next().and_then(|s| s.parse::<usize>().ok());
            let kept = text.split_inclusive('\n').take_while(|line| {
                line.ends_with('\n') && step(line).is_none_or(|step| step <= steps_done)
            });
            write_atomic(path, kept.collect::<String>().as_bytes())?;
        }
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(Error::io(path, "create"))?;
        let mut log = Self { file, path: path.to_owned() };
        if is_new {
            log.write("step,loss,rate,gradient_norm,validation\n")?;
        }
        Ok(log)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(Error::io(&self.path, "write"))
    }

    fn row(
        &mut self,
        step: usize,
        loss: f64,
        rate: f64,
        norm: f64,
        validation: &[(&str, f64)],
    ) -> Result<()> {
        let figures: Vec<String> = validation.iter().map(|(k, v)| format!("{k}={v:.5}")).collect();
        self.write(&format!("{step},{loss:.5},{rate:.3e},{norm:.3},{}\n", figures.join(" ")))
    }
}

/// Loss and speed of late, for the progress bar.
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

    /// Linear regression on data drawn by the loop's own generator.
    struct Line;

    impl Stage for Line {
        fn loss(&self, params: &Params, rng: &mut StdRng) -> Result<Outcome> {
            let x: Vec<f32> = (0..16).map(|_| rng.random_range(-1.0..1.0)).collect();
            let y: Vec<f32> = x.iter().map(|x| 3.0 * x).collect();
            let x = Tensor::from_vec(x, 16, &Device::Cpu)?;
            let y = Tensor::from_vec(y, 16, &Device::Cpu)?;
            let error = (x.broadcast_mul(params.get("slope")?)? - y)?;
            Ok(Outcome { loss: error.sqr()?.mean_all()?, moments: Vec::new(), examples: 16 })
        }
    }

    fn run(folder: Option<PathBuf>, steps: usize) -> Run {
        let schedule = Schedule {
            steps,
            warmup_steps: 5,
            peak_rate: 0.1,
            weight_decay: 0.0,
            clip_norm: 10.0,
            average_decay: 0.9,
            trunk_rate_share: 1.0,
        };
        let title = "line";
        Run {
            schedule,
            workers: 2,
            seed: 1,
            validate_every: 0,
            refresh_every: 0,
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
    fn it_learns_a_slope() -> Result<()> {
        let slope = run(None, 150).train(&Line, start()?)?.values("slope")?[0];
        assert!((slope - 3.0).abs() < 0.05, "{slope}");
        Ok(())
    }

    #[test]
    fn a_run_that_was_cut_off_ends_with_the_same_weights() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io(".", "create"))?;
        let whole = run(None, 60).train(&Line, start()?)?.values("slope")?;
        // Cut off after 30 updates of the same schedule: the stage fails, the last checkpoint stays.
        struct CutOff(std::sync::atomic::AtomicUsize);
        impl Stage for CutOff {
            fn loss(&self, params: &Params, rng: &mut StdRng) -> Result<Outcome> {
                let calls = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if calls > 60 {
                    Err(Error::usage("cut off", "resume"))
                } else {
                    Line.loss(params, rng)
                }
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
        let other = Run { seed: 2, ..run(Some(folder.path().to_owned()), 8) };
        assert!(other.train(&Line, start()?).unwrap_err().to_string().contains("another run"));
        Ok(())
    }
}
