//! Mode in which a network runs, and what its layers record beside their output.
//!
//! [`Module`](candle_nn::Module) and [`ModuleT`] return one tensor. Training also needs the
//! statistics of each batch norm, and calibration needs samples of every activation. Layers leave
//! both in an [`Observer`] that they share with their network. [`Mode::run`] collects them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use candle_core::Tensor;
use candle_nn::ModuleT;

use super::{ops::batch_norm::Moments, params::Params};
use crate::Result;

/// Share of a batch's moments in each update of the running statistics.
const RUNNING_SHARE: f32 = 0.02;

/// A batch norm's name, and the mean and variance of each channel in one batch.
pub type LayerMoments = (String, Vec<f32>, Vec<f32>);

/// Values of activations, by layer name.
pub type Samples = BTreeMap<String, Vec<f32>>;

/// Source of the statistics in batch norm.
#[derive(Debug)]
pub enum Mode {
    /// Statistics of the batch, which are collected here by layer name.
    Train(Vec<LayerMoments>),
    /// Running statistics.
    Evaluate,
    /// Running statistics; a sample of every activation is kept here by layer name.
    Calibrate(Samples),
}

impl Mode {
    /// Creates a training mode with nothing collected yet.
    pub fn train() -> Self {
        Self::Train(Vec::new())
    }

    /// Runs a network in this mode, and collects what its layers recorded.
    pub fn run(&mut self, network: &impl Observed, x: &Tensor) -> Result<Tensor> {
        let observer = network.observer();
        match self {
            Self::Train(collected) => {
                let y = network.forward_t(x, true)?;
                collected.append(&mut observer.lock().moments);
                Ok(y)
            }
            Self::Evaluate => Ok(network.forward_t(x, false)?),
            Self::Calibrate(samples) => {
                observer.lock().samples = Some(std::mem::take(samples));
                let y = network.forward_t(x, false);
                *samples = observer.lock().samples.take().unwrap_or_default();
                Ok(y?)
            }
        }
    }

    /// Returns the statistics collected in training.
    pub fn moments(self) -> Vec<LayerMoments> {
        match self {
            Self::Train(moments) => moments,
            Self::Evaluate | Self::Calibrate(_) => Vec::new(),
        }
    }

    /// Returns the samples kept by calibration.
    pub fn samples(self) -> Samples {
        match self {
            Self::Calibrate(samples) => samples,
            Self::Train(_) | Self::Evaluate => Samples::new(),
        }
    }
}

/// Network whose layers record into one [`Observer`].
pub trait Observed: ModuleT {
    /// Returns the observer of the layers.
    fn observer(&self) -> &Observer;
}

/// Shared record of the layers of one network.
#[derive(Clone, Debug, Default)]
pub struct Observer(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    moments: Vec<LayerMoments>,
    /// Samples of activations; `None` unless they are wanted.
    samples: Option<Samples>,
}

impl Observer {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the statistics of a batch norm over one batch.
    pub(super) fn record(&self, name: &str, moments: Moments) {
        self.lock().moments.push((name.to_owned(), moments.mean, moments.variance));
    }

    /// Samples an activation, if samples are wanted: every 61st value. A prime stride reaches all
    /// channels, unless their number is a multiple of it.
    ///
    /// # Errors
    /// If the values cannot be copied to the host.
    pub fn sample(&self, name: &str, x: &Tensor) -> candle_core::Result<()> {
        const STRIDE: usize = 61;
        if let Some(samples) = &mut self.lock().samples {
            let values: Vec<f32> = x.flatten_all()?.to_vec1()?;
            samples.entry(name.to_owned()).or_default().extend(values.iter().step_by(STRIDE));
        }
        Ok(())
    }
}

/// Moves the running statistics toward those that one training step collected.
pub fn update_running(params: &Params, collected: &[LayerMoments]) -> Result<()> {
    for (name, mean, variance) in collected {
        for (part, batch) in [("mean", mean), ("variance", variance)] {
            params.update_tracked(&format!("{name}.{part}"), |running| {
                for (r, b) in running.iter_mut().zip(batch) {
                    *r += RUNNING_SHARE * (b - *r);
                }
            })?;
        }
    }
    Ok(())
}
