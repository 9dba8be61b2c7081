//! A wake word's head: a few small layers over time on the trunk's output, and one logit.
//!
//! `x [B, T, C]` → pointwise to `hidden` channels, ReLU → for each temporal layer a depthwise
//! convolution, ReLU, a pointwise, ReLU → logit `[B, T]`. No batch norm: twenty recordings give no
//! statistics worth keeping. Inputs are divided by each channel's root mean square over other
//! speech instead, which quantization folds into the first weights.

use candle_core::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{
    ops::{depthwise::depthwise_causal, linear::linear},
    params::Params,
    trunk::Mode,
};
use crate::Result;

/// Tracked name of the root mean squares.
const INPUT_RMS: &str = "head.input_rms";

/// Shape of a head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadConfig {
    /// Channels within the head.
    pub hidden: usize,
    /// Taps and dilation of each temporal layer.
    pub temporal: Vec<(usize, usize)>,
}

/// One layer of a head.
#[derive(Clone, Debug)]
pub struct HeadLayer {
    /// Name, and prefix of its parameters.
    pub name: String,
    /// Taps and dilation of a depthwise layer; none for a pointwise one.
    pub temporal: Option<(usize, usize)>,
}

impl HeadLayer {
    /// Name of the weights, `[inputs or taps, outputs]`.
    pub fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Name of the biases.
    pub fn bias(&self) -> String {
        format!("{}.bias", self.name)
    }

    /// Whether it convolves over time.
    pub fn is_depthwise(&self) -> bool {
        self.temporal.is_some()
    }

    /// Whether it reads the trunk's output.
    pub fn is_first(&self) -> bool {
        self.name == "head.0"
    }
}

impl HeadConfig {
    /// The layers before the logit, each followed by a ReLU.
    pub fn layers(&self) -> Vec<HeadLayer> {
        let mut kinds = vec![None];
        for &temporal in &self.temporal {
            kinds.extend([Some(temporal), None]);
        }
        let layer = |(i, temporal)| HeadLayer { name: format!("head.{i}"), temporal };
        kinds.into_iter().enumerate().map(layer).collect()
    }

    /// Steps before the current one that a logit depends on.
    pub fn history(&self) -> usize {
        self.temporal.iter().map(|(taps, dilation)| (taps - 1) * dilation).sum()
    }

    /// Adds freshly drawn parameters for a trunk whose outputs have these root mean squares.
    pub fn init(&self, params: &mut Params, rms: Vec<f32>, rng: &mut impl Rng) -> Result<()> {
        let mut inputs = rms.len();
        for layer in self.layers() {
            let outputs = self.hidden;
            let fan_in = layer.temporal.map_or(inputs, |(taps, _)| taps);
            params.insert_normal(layer.weight(), &[fan_in, outputs], fan_in, 2.0, rng)?;
            params.insert(layer.bias(), &[outputs], vec![0.0; outputs])?;
            inputs = outputs;
        }
        params.insert_normal("head.logits.weight", &[inputs, 1], inputs, 1.0, rng)?;
        // Nearly everything ever heard is not the word.
        params.insert("head.logits.bias", &[1], vec![-3.0])?;
        params.track(INPUT_RMS, rms);
        Ok(())
    }

    /// What the head sees of one value of channel `channel` of the trunk.
    pub fn input_gains(params: &Params) -> Vec<f32> {
        params.tracked(INPUT_RMS).iter().map(|rms| 1.0 / rms.max(1e-4)).collect()
    }

    /// Logits `[B, T, 1]` of inputs that [`input_gains`](Self::input_gains) were applied to.
    pub fn forward(&self, params: &Params, x: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in self.layers() {
            let weight = params.get(&layer.weight())?;
            let bias = params.get(&layer.bias())?;
            x = match layer.temporal {
                Some((_, dilation)) => {
                    depthwise_causal(&x, weight, dilation)?.broadcast_add(bias)?.relu()?
                }
                None => linear(&x, weight, Some(bias))?.relu()?,
            };
            mode.observe(&layer.name, &x)?;
        }
        let weight = params.get("head.logits.weight")?;
        Ok(linear(&x, weight, Some(params.get("head.logits.bias")?))?)
    }

    /// Folds the input gains into rows of the first layer's weights, one row an output: columns are
    /// inputs, or, for a depthwise layer, each row is one input's taps.
    pub fn unscale_rows(&self, params: &Params, rows: &mut [Vec<f32>], depthwise: bool) {
        let gains = Self::input_gains(params);
        for (o, row) in rows.iter_mut().enumerate() {
            for (i, w) in row.iter_mut().enumerate() {
                *w *= gains.get(if depthwise { o } else { i }).copied().unwrap_or(1.0);
            }
        }
    }
}
