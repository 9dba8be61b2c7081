//! Backbone: causal depthwise-separable temporal convolutions with dilation and residuals (the MDTC
//! and DS-TCN family), shared by any number of heads.
//!
//! `x [B, T, frames_per_step·40]` → stem (pointwise, batch norm, ReLU) → blocks of
//! `ReLU(x + BN(pointwise(ReLU(BN(depthwise(x))))))` → `[B, T, C]`, none negative.

use std::ops::Range;

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::{Module, ModuleT, VarBuilder};
use rand::Rng;
use serde::{Deserialize, Serialize};
use wakeling_shared::frontend::MEL_CHANNELS;

use super::{
    layers::{BATCH_NORM_EPSILON, BatchNorm, Depthwise, DepthwiseConfig, Linear, LinearConfig},
    mode::{Observed, Observer},
    ops::{
        residual::add_relu,
        stack::{Stack, stack},
    },
    params::Params,
};
use crate::Result;
use wakeling_data::mixing::steps_per_second;

/// Prefix of the parameters.
const PREFIX: &str = "trunk";

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
///
/// ```
/// use wakeling_nn::backbone::{BackboneConfig, Tier};
///
/// let m = BackboneConfig::of(Tier::M);
/// assert_eq!((m.channels, m.inputs(), m.steps_per_second()), (192, 160, 25.0));
/// assert_eq!(m.receptive_field(), 49); // steps of 40 ms: two seconds
/// assert!(!BackboneConfig { frames_per_step: 0, ..m }.is_sound());
/// ```
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
    pub fn init(&self, params: &mut Params, rng: &mut (impl Rng + Send)) -> Result<()> {
        BackboneNetwork::new(self, &params.initializer(rng))?;
        Ok(())
    }

    fn linear(&self, inputs: usize, gain: f32) -> LinearConfig {
        LinearConfig { inputs, outputs: self.channels, gain, bias: None }
    }
}

/// Layers of a backbone: `x [B, T, inputs]` → `[B, T, C]`, with zero history before the first step.
///
/// Training runs all layers as one operation.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use rand::{SeedableRng, rngs::StdRng};
/// use wakeling_nn::{backbone::{BackboneConfig, BackboneNetwork}, mode::Mode, params::Params};
///
/// let config = BackboneConfig { channels: 8, taps: 3, dilations: vec![1, 2], frames_per_step: 2 };
/// let mut params = Params::default();
/// config.init(&mut params, &mut StdRng::seed_from_u64(1))?;
/// let network = BackboneNetwork::new(&config, &params.builder())?;
/// let x = Tensor::ones((4, 10, config.inputs()), DType::F32, &Device::Cpu)?; // batch, steps, features
/// let mut mode = Mode::train(); // collects the statistics of each batch norm
/// assert_eq!(mode.run(&network, &x)?.dims(), [4, 10, 8]);
/// assert_eq!(mode.moments().len(), 5); // of the stem, and two per block
/// # Ok::<(), wakeling_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct BackboneNetwork {
    stem: Stem,
    blocks: Blocks,
    stack: Stack,
    observer: Observer,
}

impl BackboneNetwork {
    /// Takes or adds the parameters under `backbone.`.
    ///
    /// # Errors
    /// If a parameter does not exist and `vb` adds none, or has another shape.
    pub fn new(config: &BackboneConfig, vb: &VarBuilder) -> TensorResult<Self> {
        let observer = Observer::default();
        let stack = Stack { dilations: config.dilations.clone(), epsilon: BATCH_NORM_EPSILON };
        let stem = Stem::observed(config, &observer, vb)?;
        let blocks = Blocks::observed(config, 0..config.dilations.len(), &observer, vb)?;
        Ok(Self { stem, blocks, stack, observer })
    }

    /// Runs the layers in training mode, as one operation.
    fn train(&self, x: &Tensor) -> TensorResult<Tensor> {
        let norms: Vec<&BatchNorm> = [&self.stem.norm]
            .into_iter()
            .chain(self.blocks.0.iter().flat_map(Block::norms))
            .collect();
        let mut tensors = vec![self.stem.linear.weight()];
        tensors.extend(self.stem.norm.parameters());
        tensors.extend(self.blocks.0.iter().flat_map(Block::parameters));
        let (y, moments) = stack(x, &tensors, &self.stack)?;
        for (norm, moments) in norms.into_iter().zip(moments) {
            self.observer.record(norm.name(), moments);
        }
        Ok(y)
    }
}

impl ModuleT for BackboneNetwork {
    fn forward_t(&self, x: &Tensor, train: bool) -> TensorResult<Tensor> {
        if train {
            return self.train(x);
        }
        self.blocks.forward_t(&self.stem.forward_t(x, false)?, false)
    }
}

impl Observed for BackboneNetwork {
    fn observer(&self) -> &Observer {
        &self.observer
    }
}

/// First layer of a backbone: `x [B, T, inputs]` → `[B, T, C]`.
#[derive(Debug)]
pub struct Stem {
    linear: Linear,
    norm: BatchNorm,
    observer: Observer,
}

impl Stem {
    /// Takes or adds the parameters under `backbone.stem.`.
    ///
    /// # Errors
    /// As [`BackboneNetwork::new`].
    pub fn new(config: &BackboneConfig, vb: &VarBuilder) -> TensorResult<Self> {
        Self::observed(config, &Observer::default(), vb)
    }

    fn observed(
        config: &BackboneConfig,
        observer: &Observer,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        let vb = vb.pp(PREFIX).pp("stem");
        Ok(Self {
            linear: Linear::new(config.linear(config.inputs(), 2.0), &vb)?,
            norm: BatchNorm::new(config.channels, true, observer, &vb)?,
            observer: observer.clone(),
        })
    }
}

impl ModuleT for Stem {
    fn forward_t(&self, x: &Tensor, train: bool) -> TensorResult<Tensor> {
        self.norm.forward_t(&self.linear.forward(x)?, train)
    }
}

impl Observed for Stem {
    fn observer(&self) -> &Observer {
        &self.observer
    }
}

/// Consecutive blocks of a backbone: `[B, T, C]` in and out, with zero history before the first step.
#[derive(Debug)]
pub struct Blocks(Vec<Block>, Observer);

impl Blocks {
    /// Takes or adds the parameters of the blocks `which` under `backbone.`.
    ///
    /// # Errors
    /// As [`BackboneNetwork::new`].
    pub fn new(
        config: &BackboneConfig,
        which: Range<usize>,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        Self::observed(config, which, &Observer::default(), vb)
    }

    fn observed(
        config: &BackboneConfig,
        which: Range<usize>,
        observer: &Observer,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        let numbered = config.dilations.iter().enumerate();
        let chosen = numbered.filter(|(block, _)| which.contains(block));
        let block = |(block, &dilation): (usize, &usize)| {
            Block::new(config, dilation, observer, &vb.pp(PREFIX).pp(format!("{block:02}")))
        };
        Ok(Self(chosen.map(block).collect::<TensorResult<_>>()?, observer.clone()))
    }
}

impl ModuleT for Blocks {
    fn forward_t(&self, x: &Tensor, train: bool) -> TensorResult<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, block| block.forward_t(&x, train))
    }
}

impl Observed for Blocks {
    fn observer(&self) -> &Observer {
        &self.1
    }
}

/// Residual block: `ReLU(x + BN(pointwise(ReLU(BN(depthwise(x))))))`, `[B, T, C]` in and out.
#[derive(Debug)]
struct Block {
    depthwise: Depthwise,
    first: BatchNorm,
    pointwise: Linear,
    second: BatchNorm,
    /// Name under which the output is sampled.
    sum: String,
    observer: Observer,
}

impl Block {
    fn new(
        config: &BackboneConfig,
        dilation: usize,
        observer: &Observer,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        let BackboneConfig { channels, taps, .. } = *config;
        let (depthwise, pointwise) = (vb.pp("depthwise"), vb.pp("pointwise"));
        let taps = DepthwiseConfig { taps, channels, dilation, bias: false };
        Ok(Self {
            depthwise: Depthwise::new(taps, &depthwise)?,
            first: BatchNorm::new(channels, true, observer, &depthwise)?,
            pointwise: Linear::new(config.linear(channels, 1.0), &pointwise)?,
            second: BatchNorm::new(channels, false, observer, &pointwise)?,
            sum: format!("{}.sum", vb.prefix()),
            observer: observer.clone(),
        })
    }

    fn norms(&self) -> [&BatchNorm; 2] {
        [&self.first, &self.second]
    }

    /// Returns the parameters in the order of [`stack`].
    fn parameters(&self) -> [&Tensor; 6] {
        let ([gamma1, beta1], [gamma2, beta2]) =
            (self.first.parameters(), self.second.parameters());
        [self.depthwise.weight(), gamma1, beta1, self.pointwise.weight(), gamma2, beta2]
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> TensorResult<Tensor> {
        let y = self.first.forward_t(&self.depthwise.forward(x)?, train)?;
        let y = self.second.forward_t(&self.pointwise.forward(&y)?, train)?;
        let y = add_relu(x, &y)?;
        self.observer.sample(&self.sum, &y)?;
        Ok(y)
    }
}

/// Returns scale and shift per channel of batch norm with its running statistics,
/// `y = scale · x + shift`.
pub fn folded_norm(params: &Params, name: &str) -> Result<(Vec<f32>, Vec<f32>)> {
    let channels = params.get(&format!("{name}.gamma"))?.elem_count();
    let vb = params.builder().pp(name);
    Ok(BatchNorm::new(channels, false, &Observer::default(), &vb)?.folded()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mode::{Mode, Samples, update_running},
        ops::testing::random,
    };
    use candle_core::Device;
    use rand::{SeedableRng, rngs::StdRng};

    fn config() -> BackboneConfig {
        BackboneConfig { channels: 24, taps: 3, dilations: vec![1, 2], frames_per_step: 1 }
    }

    fn given(config: &BackboneConfig) -> (Params, Tensor) {
        let mut params = Params::default();
        config.init(&mut params, &mut StdRng::seed_from_u64(5)).unwrap();
        let x = random(2 * 9 * config.inputs(), 8);
        (params, Tensor::from_vec(x, (2, 9, config.inputs()), &Device::Cpu).unwrap())
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let close = |(f, e): (&f32, &f32)| (f - e).abs() < 1e-4 * (1.0 + e.abs());
        assert!(found.iter().zip(expected).all(close), "{found:?} {expected:?}");
    }

    #[test]
    fn training_as_one_operation_equals_training_layer_by_layer() -> Result<()> {
        let config = config();
        let (params, x) = given(&config);
        let (mut together, mut apart) = (Mode::train(), Mode::train());
        let y = together.run(&BackboneNetwork::new(&config, &params.builder())?, &x)?;
        let stem = apart.run(&Stem::new(&config, &params.builder())?, &x)?;
        let expected = apart.run(&Blocks::new(&config, 0..2, &params.builder())?, &stem)?;
        assert_close(&values(&y), &values(&expected));
        let (found, expected) = (together.moments(), apart.moments());
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        let parts = ["stem", "00.depthwise", "00.pointwise", "01.depthwise", "01.pointwise"];
        assert_eq!(names, parts.map(|part| format!("trunk.{part}")));
        for ((name, mean, variance), (other, expected_mean, expected_variance)) in
            found.iter().zip(&expected)
        {
            assert_eq!(name, other);
            assert_close(mean, expected_mean);
            assert_close(variance, expected_variance);
        }
        Ok(())
    }

    #[test]
    fn running_statistics_converge_to_those_of_the_batch() -> Result<()> {
        let config = config();
        let (params, x) = given(&config);
        let network = BackboneNetwork::new(&config, &params.builder())?;
        let mut mode = Mode::train();
        let expected = mode.run(&network, &x)?;
        let moments = mode.moments();
        (0..800).try_for_each(|_| update_running(&params, &moments))?;
        // The network reads the variables that were updated.
        assert_close(&values(&Mode::Evaluate.run(&network, &x)?), &values(&expected));
        Ok(())
    }

    #[test]
    fn calibration_samples_every_activation() -> Result<()> {
        let config = config();
        let (params, x) = given(&config);
        let network = BackboneNetwork::new(&config, &params.builder())?;
        let mut mode = Mode::Calibrate(Samples::new());
        mode.run(&network, &x)?;
        mode.run(&network, &x)?;
        let samples = mode.samples();
        let parts = ["depthwise", "pointwise", "sum"];
        let names = ["00", "01"].map(|block| parts.map(|part| format!("trunk.{block}.{part}")));
        let names: Vec<String> = names.into_iter().flatten().chain(["trunk.stem".into()]).collect();
        assert_eq!(samples.keys().cloned().collect::<Vec<_>>(), names);
        let each = (2 * 9 * 24usize).div_ceil(61);
        assert!(samples.values().all(|values| values.len() == 2 * each));
        // Evaluation samples nothing.
        Mode::Evaluate.run(&network, &x)?;
        assert!(Mode::Evaluate.samples().is_empty());
        Ok(())
    }

    #[test]
    fn parameters_of_another_shape_are_rejected() -> Result<()> {
        let (params, _) = given(&config());
        let wider = BackboneConfig { channels: 32, ..config() };
        let deeper = BackboneConfig { dilations: vec![1, 2, 1], ..config() };
        for other in [wider, deeper] {
            assert!(BackboneNetwork::new(&other, &params.builder()).is_err());
        }
        assert!(Blocks::new(&config(), 1..2, &params.builder()).is_ok());
        Ok(())
    }

    #[test]
    fn same_seed_gives_the_same_weights() -> Result<()> {
        let mut params = Params::default();
        BackboneConfig::of(Tier::S).init(&mut params, &mut StdRng::seed_from_u64(1))?;
        // Weights that earlier versions sampled from this seed.
        assert_eq!(params.checksum()?, 0x57ac_d25f);
        Ok(())
    }
}
