//! What a model file says: features, layers, heads, words, and where it all comes from.
//!
//! Weights and factors stay in flash, packed in the order in which the fastest kernels read them;
//! [`Affine`] says how.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{detector::DetectorParams, frontend::FrontendParams, gate::GateParams};

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
/// Taps of a depthwise layer.
pub const MAX_TAPS: usize = 32;
/// Outputs that lie together in packed weights and factors.
pub const LANES: usize = 4;
/// Inputs that lie together in the packed weights of a pointwise layer.
pub const UNIT: usize = 8;

/// A whole model: 4.6 KB on a processor of 32 bits, weights not counted. Serialized, it is the
/// description of a file, without the arrays of its [`Affine`]s.
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
    /// When the network need not run; without it, it always does. Left out of a file that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateParams>,
}

impl<'a> Model<'a> {
    /// Every layer's arrays, then every head's: the order in which a file holds them.
    pub fn affines(&self) -> impl Iterator<Item = &Affine<'a>> {
        let layers = self.layers.iter().filter_map(|layer| layer.op.affine());
        layers.chain(self.heads.iter().map(|head| &head.logits))
    }
}

/// What a person needs in order to trust a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer<'a> {
    /// Buffer read.
    pub input: u8,
    /// Buffer written; never the one read.
    pub output: u8,
    /// What is computed.
    pub op: Op<'a>,
}

impl<'a> Op<'a> {
    /// The layer's arrays.
    pub fn affine(&self) -> Option<&Affine<'a>> {
        match self {
            Self::Depthwise { affine, .. } | Self::Pointwise { affine } => Some(affine),
            Self::Add { .. } => None,
        }
    }
}

/// The kinds of layer. `sat8`, rounding and the multipliers are those of
/// [`requantize`](crate::fixed::requantize); a zero point is the `i8` that stands for 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Op<'a> {
    /// Causal depthwise convolution over time:
    /// `y[c] = requantize(bias[c] + Σₖ w[k,c] · x[t − k·dilation, c])`.
    /// Tap 0 is on the current column.
    Depthwise {
        /// Number of taps, 1 … [`MAX_TAPS`].
        taps: u8,
        /// Steps between taps, at least 1.
        dilation: u8,
        /// Computes at every `stride`-th step only, and the layers behind it with it.
        stride: u8,
        /// Value of the columns before the first.
        input_zero: i8,
        /// Weights, biases, scales.
        affine: Affine<'a>,
    },
    /// Pointwise convolution or dense layer: `y[o] = requantize(bias[o] + Σᵢ w[o,i] · x[i])`.
    Pointwise {
        /// Weights, biases, scales.
        affine: Affine<'a>,
    },
    /// Residual sum with `other`:
    /// `y = sat8(zero + ((x − x_zero)·x_scale + (o − o_zero)·o_scale + 2¹⁹) >> 20)`.
    Add {
        /// The second buffer.
        other: u8,
        /// `round(2²⁰ · s_x / s_y)`, at most 2²¹.
        x_scale: i32,
        /// `round(2²⁰ · s_o / s_y)`, at most 2²¹.
        o_scale: i32,
        /// Zero point of the input.
        x_zero: i8,
        /// Zero point of the other input.
        o_zero: i8,
        /// Zero point of the sum.
        zero: i8,
    },
}

/// Biases, then multipliers, of [`LANES`] outputs.
pub type Factors = [[i32; LANES]; 2];

/// Weights, biases and scales of a layer, borrowed from flash.
///
/// The exporter folds the input's zero point into the bias, so the kernels multiply raw `i8`.
/// Whatever is beyond `inputs` or `outputs` in the arrays is 0 or means nothing.
///
/// **Pointwise weights** are `(blocks of 4 outputs, units of 8 inputs, 2 pairs, 8)` `i16`; each holds
/// the weights of two outputs for one input, `256 · odd + even`. The low byte is the even weight;
/// what is left without it, divided by 256, is the odd one (−128 … 128). So a processor that
/// multiplies `i16` has `256 · Σ odd·x + Σ even·x` without taking the pair apart, and takes only the
/// low bytes out.
///
/// **Depthwise weights** are `(blocks of 4 channels, taps, 4)` `i16`, whose whole range may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Affine<'a> {
    /// Inputs (channels, for a depthwise layer).
    pub inputs: u16,
    /// Outputs (channels, for a depthwise layer).
    pub outputs: u16,
    /// Zero point of the output; −128 makes the saturation a ReLU. Unused for logits.
    pub zero_point: i8,
    /// Packed weights, two `i16` a word, the first in the low half.
    #[serde(skip)]
    pub weights: &'a [u32],
    /// Biases, each from −2³⁰ to 2³⁰ − 1, and multipliers, none negative.
    #[serde(skip)]
    pub factors: &'a [Factors],
}

impl<'a> Affine<'a> {
    /// [`Factors`] of all outputs.
    pub fn blocks(&self) -> usize {
        usize::from(self.outputs).div_ceil(LANES)
    }

    /// Units of a block of pointwise weights.
    pub fn units(&self) -> usize {
        usize::from(self.inputs).div_ceil(UNIT)
    }

    /// Words of pointwise weights.
    pub fn pointwise_words(&self) -> usize {
        self.blocks() * self.units() * UNIT
    }

    /// Words of depthwise weights.
    pub fn depthwise_words(&self, taps: usize) -> usize {
        self.blocks() * taps * (LANES / 2)
    }

    /// The weight of pointwise output `o` for input `i`; 0 beyond the array.
    pub fn pointwise_weight(&self, o: usize, i: usize) -> i32 {
        let unit = o / LANES * self.units() + i / UNIT;
        let pair = self.half((2 * unit + o % LANES / 2) * UNIT + i % UNIT);
        let even = i32::from(pair as i8);
        if o.is_multiple_of(2) { even } else { (i32::from(pair) - even) >> 8 }
    }

    /// The weight of tap `k` of `taps` for channel `c`; 0 beyond the array.
    pub fn depthwise_weight(&self, taps: usize, k: usize, c: usize) -> i32 {
        i32::from(self.half((c / LANES * taps + k) * LANES + c % LANES))
    }

    /// The `index`-th `i16` of the weights.
    fn half(&self, index: usize) -> i16 {
        let word = self.weights.get(index / 2).copied().unwrap_or(0);
        (word >> (16 * (index % 2))) as i16
    }
}

/// Layers on top of the trunk, and the logits they end in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head<'a> {
    /// How many of the model's layers are this head's.
    pub layers: u8,
    /// Buffer that the logits are computed from.
    pub input: u8,
    /// `logit[o] = sat16(round_high(bias[o] + Σᵢ w[o,i] · x[i], multiplier[o]))`, Q8.
    pub logits: Affine<'a>,
}

/// A word, and when it counts as heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
