//! Backbone: causal depthwise-separable temporal convolutions with dilation and residuals (the MDTC
//! and DS-TCN family), shared by any number of heads.
//!
//! `x [B, T, frames_per_step·40]` → stem (pointwise, batch norm, ReLU) → blocks of
//! `ReLU(x + BN(pointwise(ReLU(BN(depthwise(x))))))` → `[B, T, C]`, none negative.

use std::{collections::BTreeMap, ops::Range};

use candle_core::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};
use wakeling_shared::frontend::MEL_CHANNELS;

use super::{
    ops::{
        batch_norm::{affine, batch_norm},
        depthwise::depthwise_causal,
        linear::linear,
        residual::add_relu,
        stack::{Stack, stack},
    },
    params::Params,
};
use wakeling_core::Result;
use wakeling_data::mixing::steps_per_second;

/// Constant added to a variance before its square root is taken.
pub const BATCH_NORM_EPSILON: f64 = 1e-5;
/// Share of a batch's moments in each update of the running statistics.
const RUNNING_SHARE: f32 = 0.02;

/// Standard sizes of pretrained models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// 96 channels, 8 blocks: Cortex-M0+, M33, ESP32-C3.
    S,
    /// 192 channels, 8 blocks: Cortex-M4F, RP2350, ESP32-S3.
    M,
    /// 256 channels, 12 blocks: Cortex-M7.
    L,
}

wakeling_core::choices!(Tier {
    S: "s", "96 channels, 8 blocks: Cortex-M0+, M33, ESP32-C3";
    M: "m", "192 channels, 8 blocks: Cortex-M4F, RP2350, ESP32-S3";
    L: "l", "256 channels, 12 blocks: Cortex-M7";
});

/// Upper limit of every number in a backbone's shape.
const LARGEST: usize = 4096;

/// Shape of a backbone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackboneConfig {
    /// Channels of every block.
    pub channels: usize,
    /// Taps of every depthwise convolution.
    pub taps: usize,
    /// Dilation of each block, in steps.
    pub dilations: Vec<usize>,
    /// Feature frames per step.
    pub frames_per_step: usize,
}

impl BackboneConfig {
    /// Returns the shape of a tier.
    pub fn of(tier: Tier) -> Self {
        let (channels, dilations) = match tier {
            Tier::S => (96, [1, 1, 2, 2].repeat(2)),
            Tier::M => (192, [1, 1, 2, 2].repeat(2)),
            Tier::L => (256, [1, 1, 2].repeat(4)),
        };
        Self { channels, taps: 5, dilations, frames_per_step: 4 }
    }

    /// Returns `true` if every number of the shape is within 1 … 4,096. Otherwise, values computed
    /// from an untrusted file could divide by zero or overflow.
    pub fn is_sound(&self) -> bool {
        let numbers = [self.channels, self.taps, self.frames_per_step, self.dilations.len()];
        numbers.iter().chain(&self.dilations).all(|n| (1..=LARGEST).contains(n))
    }

    /// Number of steps per second of audio.
    pub fn steps_per_second(&self) -> f64 {
        steps_per_second(self.frames_per_step)
    }

    /// Number of features per step.
    pub fn inputs(&self) -> usize {
        self.frames_per_step * MEL_CHANNELS
    }

    /// Number of steps on which one output depends.
    pub fn receptive_field(&self) -> usize {
        1 + self.dilations.iter().map(|d| d * (self.taps - 1)).sum::<usize>()
    }

    /// Adds randomly initialized parameters under `backbone.`.
    pub fn init(&self, params: &mut Params, rng: &mut impl Rng) -> Result<()> {
        let (c, i) = (self.channels, self.inputs());
        params.insert_normal("trunk.stem.weight", &[i, c], i, 2.0, rng)?;
        init_norm(params, "trunk.stem", c)?;
        for block in 0..self.dilations.len() {
            let name = |part: &str| format!("trunk.{block:02}.{part}");
            params.insert_normal(name("depthwise.weight"), &[self.taps, c], self.taps, 2.0, rng)?;
            init_norm(params, &name("depthwise"), c)?;
            params.insert_normal(name("pointwise.weight"), &[c, c], c, 1.0, rng)?;
            init_norm(params, &name("pointwise"), c)?;
        }
        Ok(())
    }

    /// Runs the backbone over whole sequences, with zero history before the first step.
    pub fn forward(&self, params: &Params, x: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        if let Mode::Train(collected) = mode {
            return self.train(params, x, collected);
        }
        let x = self.stem(params, x, mode)?;
        self.blocks(params, &x, 0..self.dilations.len(), mode)
    }

    /// Computes the input `[B, T, C]` of the first block from features `[B, T, inputs]`.
    pub fn stem(&self, params: &Params, x: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        let stem = linear(x, params.get("trunk.stem.weight")?, None)?;
        norm(params, "trunk.stem", &stem, true, mode)
    }

    /// Runs some of the blocks, with zero history before the first step; `[B, T, C]` in and out.
    pub fn blocks(
        &self,
        params: &Params,
        x: &Tensor,
        which: Range<usize>,
        mode: &mut Mode,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        for block in which {
            let Some(&dilation) = self.dilations.get(block) else { break };
            let name = |part: &str| format!("trunk.{block:02}.{part}");
            let y = depthwise_causal(&x, params.get(&name("depthwise.weight"))?, dilation)?;
            let y = norm(params, &name("depthwise"), &y, true, mode)?;
            let y = linear(&y, params.get(&name("pointwise.weight"))?, None)?;
            let y = norm(params, &name("pointwise"), &y, false, mode)?;
            x = add_relu(&x, &y)?;
            mode.observe(&name("sum"), &x)?;
        }
        Ok(x)
    }
}

impl BackboneConfig {
    /// Runs the backbone in training mode, as one operation.
    fn train(
        &self,
        params: &Params,
        x: &Tensor,
        collected: &mut Vec<LayerMoments>,
    ) -> Result<Tensor> {
        let mut norms = vec!["trunk.stem".to_owned()];
        let mut tensors = vec![params.get("trunk.stem.weight")?];
        let push = |norm: &str, tensors: &mut Vec<_>| -> Result<()> {
            for part in ["gamma", "beta"] {
                tensors.push(params.get(&format!("{norm}.{part}"))?);
            }
            Ok(())
        };
        push("trunk.stem", &mut tensors)?;
        for block in 0..self.dilations.len() {
            for part in ["depthwise", "pointwise"] {
                let name = format!("trunk.{block:02}.{part}");
                tensors.push(params.get(&format!("{name}.weight"))?);
                push(&name, &mut tensors)?;
                norms.push(name);
            }
        }
        let config = Stack { dilations: self.dilations.clone(), epsilon: BATCH_NORM_EPSILON };
        let (y, moments) = stack(x, &tensors, &config)?;
        let named = norms.into_iter().zip(moments);
        collected.extend(named.map(|(name, m)| (name, m.mean, m.variance)));
        Ok(y)
    }
}

/// Adds the parameters and running statistics of a batch norm over `channels` channels.
pub fn init_norm(params: &mut Params, name: &str, channels: usize) -> Result<()> {
    params.insert(format!("{name}.gamma"), &[channels], vec![1.0; channels])?;
    params.insert(format!("{name}.beta"), &[channels], vec![0.0; channels])?;
    params.track(format!("{name}.mean"), vec![0.0; channels]);
    params.track(format!("{name}.variance"), vec![1.0; channels]);
    Ok(())
}

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

/// A batch norm's name, and the mean and variance of each channel in one batch.
pub type LayerMoments = (String, Vec<f32>, Vec<f32>);

/// Values of activations, by layer name.
pub type Samples = BTreeMap<String, Vec<f32>>;

impl Mode {
    /// Keeps every 61st value of `x`. A prime stride reaches all channels, unless their number is a
    /// multiple of it.
    pub fn observe(&mut self, name: &str, x: &Tensor) -> Result<()> {
        const STRIDE: usize = 61;
        if let Self::Calibrate(samples) = self {
            let values: Vec<f32> = x.flatten_all()?.to_vec1()?;
            samples.entry(name.to_owned()).or_default().extend(values.iter().step_by(STRIDE));
        }
        Ok(())
    }
}

impl Mode {
    /// Creates a training mode with nothing collected yet.
    pub fn train() -> Self {
        Self::Train(Vec::new())
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

/// Applies batch norm with the statistics that `mode` selects, followed by a ReLU if `relu` is set.
pub fn norm(
    params: &Params,
    name: &str,
    x: &Tensor,
    relu: bool,
    mode: &mut Mode,
) -> Result<Tensor> {
    let gamma = params.get(&format!("{name}.gamma"))?;
    let beta = params.get(&format!("{name}.beta"))?;
    match mode {
        Mode::Train(collected) => {
            let (y, moments) = batch_norm(x, gamma, beta, BATCH_NORM_EPSILON, relu)?;
            collected.push((name.to_owned(), moments.mean, moments.variance));
            Ok(y)
        }
        Mode::Evaluate | Mode::Calibrate(_) => {
            let (scale, shift) = folded_norm(params, name)?;
            let n = scale.len();
            let scale = Tensor::from_vec(scale, n, x.device())?;
            let shift = Tensor::from_vec(shift, n, x.device())?;
            let y = affine(x, &scale, &shift, relu)?;
            mode.observe(name, &y)?;
            Ok(y)
        }
    }
}

/// Returns scale and shift per channel of batch norm with its running statistics,
/// `y = scale · x + shift`.
pub fn folded_norm(params: &Params, name: &str) -> Result<(Vec<f32>, Vec<f32>)> {
    let gamma = params.values(&format!("{name}.gamma"))?;
    let beta = params.values(&format!("{name}.beta"))?;
    let mean = params.tracked(&format!("{name}.mean"));
    let variance = params.tracked(&format!("{name}.variance"));
    let scale: Vec<f32> = gamma
        .iter()
        .zip(variance)
        .map(|(&g, &v)| (f64::from(g) / (f64::from(v) + BATCH_NORM_EPSILON).sqrt()) as f32)
        .collect();
    let shift = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    Ok((scale, shift))
}

/// Moves the running statistics toward those that one training step collected.
pub fn update_running(params: &mut Params, collected: &[LayerMoments]) {
    for (name, mean, variance) in collected {
        for (part, batch) in [("mean", mean), ("variance", variance)] {
            let name = format!("{name}.{part}");
            let mut running = params.tracked(&name).to_vec();
            for (r, b) in running.iter_mut().zip(batch) {
                *r += RUNNING_SHARE * (b - *r);
            }
            params.track(name, running);
        }
    }
}
