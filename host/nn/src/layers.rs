//! Layers: parameters from a [`VarBuilder`], and the operation over them.
//!
//! Each layer is a [`Module`], or a [`ModuleT`] if training differs from evaluation. Candle-nn has
//! layers of the same names. These run the fused [operations](super::ops) with exact gradients, on
//! channels-last activations and with weights `[inputs, outputs]`, the layout of the files.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Init, Module, ModuleT, VarBuilder, init};

use super::{
    builder::he_normal,
    mode::Observer,
    ops::{
        batch_norm::{affine, batch_norm},
        depthwise::depthwise_causal,
        depthwise2d::depthwise2d,
        linear::linear,
        patches::patches,
        window::Window,
    },
    params::BUFFERS,
};

/// Constant added to a variance before its square root is taken.
pub const BATCH_NORM_EPSILON: f64 = 1e-5;

/// Configuration of a [`Linear`] layer.
#[derive(Clone, Copy, Debug)]
pub struct LinearConfig {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Variance of the initial weights, times the inputs: 2 before a ReLU, 1 otherwise.
    pub gain: f32,
    /// Initial bias; `None` for a layer without biases.
    pub bias: Option<f64>,
}

/// Fully connected layer, also a pointwise convolution: `y = x · W + b`.
///
/// `weight [I, O]`, `bias [O]`; `x [.., I]` → `y [.., O]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Takes or adds the parameters `weight` and `bias`.
    ///
    /// # Errors
    /// If the shape of a parameter differs, or it does not exist and `vb` adds none.
    pub fn new(config: LinearConfig, vb: &VarBuilder) -> Result<Self> {
        let LinearConfig { inputs, outputs, gain, bias } = config;
        let weight = vb.get_with_hints((inputs, outputs), "weight", he_normal(gain, inputs))?;
        let bias = match bias {
            Some(value) => Some(vb.get_with_hints(outputs, "bias", Init::Const(value))?),
            None => None,
        };
        Ok(Self { weight, bias })
    }

    /// Takes existing parameters `weight` and `bias` of any size.
    ///
    /// # Errors
    /// If a parameter does not exist, or their shapes do not fit each other.
    pub fn existing(vb: &VarBuilder) -> Result<Self> {
        let weight = vb.get_unchecked("weight")?;
        let (inputs, outputs) = weight.dims2()?;
        Self::new(LinearConfig { inputs, outputs, gain: 1.0, bias: Some(0.0) }, vb)
    }

    /// Returns the weights.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Returns the layer with parameters that get no gradient.
    pub fn frozen(self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.map(|bias| bias.detach()) }
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, self.bias.as_ref())
    }
}

/// Causal depthwise convolution over time: `y[t] = Σₖ w[k] · x[t - k·dilation] + b`.
///
/// `weight [K, C]`, `bias [C]`; `x`, `y` `[B, T, C]`, with zero history.
#[derive(Clone, Debug)]
pub struct Depthwise {
    weight: Tensor,
    bias: Option<Tensor>,
    dilation: usize,
}

/// Configuration of a [`Depthwise`] layer.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseConfig {
    /// Steps under the convolution.
    pub taps: usize,
    /// Channels of input and output.
    pub channels: usize,
    /// Distance from one tap to the next, in steps.
    pub dilation: usize,
    /// `true` for a layer with biases.
    pub bias: bool,
}

impl Depthwise {
    /// Takes or adds the parameters `weight` and `bias`.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(config: DepthwiseConfig, vb: &VarBuilder) -> Result<Self> {
        let DepthwiseConfig { taps, channels, dilation, bias } = config;
        let weight = vb.get_with_hints((taps, channels), "weight", he_normal(2.0, taps))?;
        let bias = match bias {
            true => Some(vb.get_with_hints(channels, "bias", init::ZERO)?),
            false => None,
        };
        Ok(Self { weight, bias, dilation })
    }

    /// Returns the taps.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}

impl Module for Depthwise {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = depthwise_causal(x, &self.weight, self.dilation)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// Depthwise convolution over images, without biases.
///
/// `weight [K·K, C]`; `x [B, H, W, C]` → `y [B, R, S, C]`.
#[derive(Clone, Debug)]
pub struct Depthwise2d {
    weight: Tensor,
    window: Window,
}

impl Depthwise2d {
    /// Takes or adds the parameter `weight`.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(window: Window, channels: usize, vb: &VarBuilder) -> Result<Self> {
        let taps = window.area();
        let weight = vb.get_with_hints((taps, channels), "weight", he_normal(2.0, taps))?;
        Ok(Self { weight, window })
    }

    /// Returns the layer with parameters that get no gradient.
    pub fn frozen(self) -> Self {
        Self { weight: self.weight.detach(), ..self }
    }
}

impl Module for Depthwise2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        depthwise2d(x, &self.weight, self.window)
    }
}

/// Convolution over images, without biases: a linear layer over the pixels under each window.
///
/// `weight [K·K·I, O]`; `x [B, H, W, I]` → `y [B, R, S, O]`.
#[derive(Clone, Debug)]
pub struct Convolution {
    linear: Linear,
    window: Window,
}

impl Convolution {
    /// Takes or adds the parameter `weight`.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(window: Window, channels: usize, outputs: usize, vb: &VarBuilder) -> Result<Self> {
        let inputs = window.area() * channels;
        let linear = Linear::new(LinearConfig { inputs, outputs, gain: 2.0, bias: None }, vb)?;
        Ok(Self { linear, window })
    }

    /// Returns the layer with parameters that get no gradient.
    pub fn frozen(self) -> Self {
        Self { linear: self.linear.frozen(), ..self }
    }
}

impl Module for Convolution {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear.forward(&patches(x, self.window)?)
    }
}

/// Batch norm over all axes but the last, and an optional ReLU.
///
/// Training uses the statistics of the batch and records them. They reach the running statistics
/// after the training step, because shards run side by side. Evaluation uses the running
/// statistics, and gives gradients to the input only.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    relu: bool,
    name: String,
    observer: Observer,
}

impl BatchNorm {
    /// Takes or adds the parameters `gamma` and `beta` and the buffers `mean` and `variance`, for
    /// `channels` channels. A ReLU follows if `relu` is set.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(channels: usize, relu: bool, observer: &Observer, vb: &VarBuilder) -> Result<Self> {
        let name = vb.prefix();
        let running = vb.root().set_device(Device::Cpu).pp(BUFFERS).pp(&name);
        Ok(Self {
            gamma: vb.get_with_hints(channels, "gamma", init::ONE)?,
            beta: vb.get_with_hints(channels, "beta", init::ZERO)?,
            mean: running.get_with_hints(channels, "mean", init::ZERO)?,
            variance: running.get_with_hints(channels, "variance", init::ONE)?,
            relu,
            name,
            observer: observer.clone(),
        })
    }

    /// Returns the name under which the layer records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns γ and β.
    pub fn parameters(&self) -> [&Tensor; 2] {
        [&self.gamma, &self.beta]
    }

    /// Returns scale and shift of each channel with the running statistics, `y = scale · x + shift`.
    ///
    /// # Errors
    /// If the parameters cannot be copied to the host.
    pub fn folded(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let [gamma, beta, mean, variance]: [Vec<f32>; 4] = [
            self.gamma.to_vec1()?,
            self.beta.to_vec1()?,
            self.mean.to_vec1()?,
            self.variance.to_vec1()?,
        ];
        let scale: Vec<f32> = gamma
            .iter()
            .zip(variance)
            .map(|(&g, v)| (f64::from(g) / (f64::from(v) + BATCH_NORM_EPSILON).sqrt()) as f32)
            .collect();
        let shift = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Ok((scale, shift))
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if train {
            let (y, moments) =
                batch_norm(x, &self.gamma, &self.beta, BATCH_NORM_EPSILON, self.relu)?;
            self.observer.record(&self.name, moments);
            return Ok(y);
        }
        let (scale, shift) = self.folded()?;
        let channels = scale.len();
        let scale = Tensor::from_vec(scale, channels, x.device())?;
        let shift = Tensor::from_vec(shift, channels, x.device())?;
        let y = affine(x, &scale, &shift, self.relu)?;
        self.observer.sample(&self.name, &y)?;
        Ok(y)
    }
}
