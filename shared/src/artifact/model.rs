//! What a model file says: features, layers, heads, words, and where it all comes from.
//!
//! Byte slices are little-endian arrays that stay in flash; [`Affine`] reads them.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{detector::DetectorParams, frontend::FrontendParams};

/// Layers in a model, heads included.
pub const MAX_LAYERS: usize = 64;
/// Heads on one trunk.
pub const MAX_HEADS: usize = 16;
/// Words, that is logits, over all heads.
pub const MAX_WORDS: usize = 16;
/// Operating points a word carries.
pub const MAX_POINTS: usize = 4;
/// Activation buffers that layers read and write; buffer 0 is the input.
pub const BUFFERS: usize = 4;

/// A whole model: 4.6 KB on a processor of 32 bits, weights not counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model<'a> {
    /// Provenance and licence.
    pub card: Card<'a>,
    /// How audio becomes features.
    pub frontend: FrontendParams<'a>,
    /// Feature frames that make one step's input column, oldest first.
    pub frames_per_step: u8,
    /// The trunk's layers, then each head's in order.
    pub layers: Vec<Layer<'a>, MAX_LAYERS>,
    /// How many of `layers` are the trunk.
    pub trunk_layers: u8,
    /// The heads; each reads the buffer that the trunk's last layer wrote.
    pub heads: Vec<Head<'a>, MAX_HEADS>,
    /// One word a logit, in the order of the heads' logits.
    pub words: Vec<Word<'a>, MAX_WORDS>,
}

/// What a person needs in order to trust a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card<'a> {
    /// Name of the model.
    pub name: &'a str,
    /// Name of the base it was fine-tuned from.
    pub base: &'a str,
    /// What it was trained on, and how.
    pub provenance: &'a str,
    /// SPDX expression.
    pub licence: &'a str,
}

/// One layer: reads a buffer, writes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer<'a> {
    /// Buffer read.
    pub input: u8,
    /// Buffer written; never the one read.
    pub output: u8,
    /// What is computed.
    #[serde(borrow)]
    pub op: Op<'a>,
}

/// The kinds of layer. `sat8`, rounding and the multipliers are those of
/// [`requantize`](crate::fixed::requantize); a zero point is the `i8` that stands for 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op<'a> {
    /// Causal depthwise convolution over time:
    /// `y[c] = requantize(bias[c] + Σₖ w[k,c] · x[t − k·dilation, c])`.
    /// Weights `(taps, channels)`, tap 0 on the current column.
    Depthwise {
        /// Number of taps, at least 1.
        taps: u8,
        /// Steps between taps, at least 1.
        dilation: u8,
        /// Computes at every `stride`-th step only, and the layers behind it with it.
        stride: u8,
        /// Value of the columns before the first.
        input_zero: i8,
        /// Weights, biases, scales.
        #[serde(borrow)]
        affine: Affine<'a>,
    },
    /// Pointwise convolution or dense layer: `y[o] = requantize(bias[o] + Σᵢ w[o,i] · x[i])`.
    /// Weights `(outputs, inputs)`.
    Pointwise {
        /// Weights, biases, scales.
        #[serde(borrow)]
        affine: Affine<'a>,
    },
    /// Residual sum with `other`:
    /// `y = sat8(zero + ((x − x_zero)·x_scale + (o − o_zero)·o_scale + 2¹⁹) >> 20)`.
    Add {
        /// The second buffer.
        other: u8,
        /// `round(2²⁰ · s_x / s_y)`, below 2²².
        x_scale: i32,
        /// `round(2²⁰ · s_o / s_y)`, below 2²².
        o_scale: i32,
        /// Zero point of the input.
        x_zero: i8,
        /// Zero point of the other input.
        o_zero: i8,
        /// Zero point of the sum.
        zero: i8,
    },
}

/// Weights, biases and scales of a layer, borrowed from flash.
///
/// The exporter folds the input's zero point into the bias, so the kernels multiply raw `i8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affine<'a> {
    /// Columns of the weights (channels, for a depthwise layer).
    pub inputs: u16,
    /// Rows of the weights (channels, for a depthwise layer).
    pub outputs: u16,
    /// Zero point of the output; −128 makes the saturation a ReLU. Unused for logits.
    pub zero_point: i8,
    /// `i8` weights in the order of the layer.
    pub weights: &'a [u8],
    /// `outputs` biases, `i32` little-endian, each below 2³⁰ in magnitude.
    pub bias: &'a [u8],
    /// `outputs` multipliers, `i32` little-endian, none negative.
    pub multipliers: &'a [u8],
}

impl Affine<'_> {
    /// Bias and multiplier of each output.
    pub fn rows(&self) -> impl Iterator<Item = (i32, i32)> + '_ {
        words(self.bias).zip(words(self.multipliers))
    }
}

/// The `i32` of a little-endian byte slice; a remainder is ignored.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b))
}

/// Layers on top of the trunk, and the logits they end in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head<'a> {
    /// How many of the model's layers are this head's.
    pub layers: u8,
    /// Buffer that the logits are computed from.
    pub input: u8,
    /// `logit[o] = sat16(round_high(bias[o] + Σᵢ w[o,i] · x[i], multiplier[o]))`, Q8.
    #[serde(borrow)]
    pub logits: Affine<'a>,
}

/// A word, and when it counts as heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word<'a> {
    /// What a detection is called.
    pub label: &'a str,
    /// Smoothing, threshold, refractory time.
    pub detector: DetectorParams,
    /// Thresholds by false accepts per hour, strictest first.
    pub points: Vec<OperatingPoint, MAX_POINTS>,
}

/// One row of the table from false accepts per hour to threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// False accepts counted at this threshold.
    pub false_accepts: u32,
    /// Seconds of audio without the word behind the count.
    pub audio_seconds: u32,
    /// Threshold on the smoothed logit, Q8.
    pub threshold: i16,
}
