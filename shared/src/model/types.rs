//! Contents of a model file: features, layers, heads, keywords and provenance.
//!
//! Weights and factors stay in flash, packed in the order in which the fastest kernels read them.
//! [`Affine`] describes the packing.

use heapless::Vec;
use serde::{Deserialize, Serialize, Serializer};

use crate::{detector::DetectorParams, frontend::FrontendParams, gate::GateParams};

/// Largest number of layers in a model, those of the heads included.
pub const MAX_LAYERS: usize = 64;
/// Largest number of heads on one backbone.
pub const MAX_HEADS: usize = 16;
/// Largest number of keywords, and so of logits, over all heads.
pub const MAX_KEYWORDS: usize = 16;
/// Largest number of operating points per keyword.
pub const MAX_POINTS: usize = 4;
/// Number of activation buffers that layers read and write; buffer 0 is the input.
pub const BUFFERS: usize = 4;
/// Largest number of taps of a depthwise layer.
pub const MAX_TAPS: usize = 32;
/// Number of outputs per block in packed weights and factors.
pub const LANES: usize = 4;
/// Number of inputs per unit in the packed weights of a pointwise layer.
pub const UNIT: usize = 8;

/// A whole model. It takes 4.6 KB on a 32-bit processor, without the weights.
///
/// Its serialization is the description of a file, without the arrays of its [`Affine`]s.
#[derive(Clone, Debug, PartialEq)]
pub struct Model<'a> {
    /// Provenance and licence.
    pub card: Card<'a>,
    /// Parameters of the front end.
    pub frontend: FrontendParams<'a>,
    /// Number of feature frames in one step's input column, oldest first.
    pub frames_per_step: u8,
    /// The layers of the backbone, then those of each head in order.
    pub layers: Vec<Layer<'a>, MAX_LAYERS>,
    /// Number of `layers` that belong to the backbone.
    pub backbone_layers: u8,
    /// The heads. Each reads the buffer that the last layer of the backbone wrote.
    pub heads: Vec<Head<'a>, MAX_HEADS>,
    /// The keywords, one per logit, in the order of the heads' logits.
    pub words: Vec<Keyword<'a>, MAX_KEYWORDS>,
    /// Parameters of the gate; without one, the network runs at every step. A file omits an absent
    /// gate.
    pub gate: Option<GateParams>,
    /// Statistics of negative speech, for enrollment on the device. A file omits absent ones.
    pub statistics: Option<Statistics<'a>>,
}

impl Serialize for Model<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            card,
            frontend,
            frames_per_step,
            layers,
            backbone_layers,
            heads,
            words,
            gate,
            statistics,
        } = self;
        let all = (card, frontend, frames_per_step, layers, backbone_layers, heads, words);
        // Older readers take files without the options at the end.
        match (gate, statistics) {
            (None, None) => all.serialize(serializer),
            (Some(_), None) => (all, gate).serialize(serializer),
            (_, Some(_)) => (all, gate, statistics).serialize(serializer),
        }
    }
}

/// Statistics of negative speech, with which a device makes a head from utterances
/// ([`crate::enroll`]).
///
/// The statistics describe the columns that the first layer of the last head computes, in the
/// distance of that head's taps. A column is predicted from `order` earlier ones; what the
/// prediction misses has the same deviation in every channel and is uncorrelated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Statistics<'a> {
    /// Standard deviation of each channel around its prediction, in units of `i8`, at least 1.
    pub deviation: u8,
    /// Constant part of a threshold: standard deviations of a head's score over negative speech,
    /// Q8.
    pub threshold_q8: u16,
    /// Share of the utterances' median score that is added to the threshold, Q8.
    pub share_q8: u8,
    /// Number of earlier columns in a prediction, 0 … [`MAX_ORDER`].
    pub order: u8,
    /// Predictors, `(order, channels, channels)` `i8` in Q7:
    /// `x̂[t][c] = Σⱼ Σᵢ predictors[j][c][i] · x[t − (j + 1) · dilation][i] / 128`.
    pub predictors: &'a [u8],
}

/// Largest number of earlier columns from which [`Statistics`] predict one.
pub const MAX_ORDER: usize = 2;

impl<'a> Model<'a> {
    /// Iterates over the words of every layer's arrays, then of every head's: the order in which a
    /// file stores them.
    pub fn arrays(&self) -> impl Iterator<Item = [&'a [u32]; 2]> {
        let layers = self.layers.iter().map(|layer| layer.op.arrays());
        layers.chain(self.heads.iter().map(|head| head.logits.arrays()))
    }
}

/// Model card: name, origin and licence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Card<'a> {
    /// Name of the model.
    pub name: &'a str,
    /// Name of the pretrained model from which it was fine-tuned.
    pub pretrained: &'a str,
    /// Training data and method.
    pub provenance: &'a str,
    /// Licence as an SPDX expression.
    pub licence: &'a str,
}

/// One layer: reads a buffer and writes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer<'a> {
    /// Index of the buffer that the layer reads.
    pub input: u8,
    /// Index of the buffer that it writes; never the one that it reads.
    pub output: u8,
    /// The operation.
    pub op: Op<'a>,
}

impl<'a> Op<'a> {
    /// Weights, biases and scales of the layer; `None` if it has none.
    pub fn affine(&self) -> Option<&Affine<'a>> {
        match self {
            Self::Depthwise { affine, .. } | Self::Pointwise { affine } => Some(affine),
            Self::DepthwiseTflite { affine, .. } | Self::PointwiseTflite { affine } => {
                Some(&affine.affine)
            }
            Self::Add { .. }
            | Self::Window { .. }
            | Self::Table { .. }
            | Self::Join { .. }
            | Self::AddTflite { .. } => None,
        }
    }

    /// Words of the layer's arrays in the order of a file: weights, then biases and scales.
    pub fn arrays(&self) -> [&'a [u32]; 2] {
        match self {
            Self::DepthwiseTflite { affine, .. } | Self::PointwiseTflite { affine } => {
                [affine.affine.weights, bytemuck::cast_slice(affine.factors)]
            }
            _ => self.affine().map_or([&[]; 2], Affine::arrays),
        }
    }
}

/// Kinds of layer.
///
/// `sat8`, the rounding and the multipliers are those of [`requantize`](crate::fixed::requantize).
/// A zero point is the `i8` that represents 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Op<'a> {
    /// Causal depthwise convolution over time:
    /// `y[c] = requantize(bias[c] + Σₖ w[k,c] · x[t − k·dilation, c])`. Tap 0 is the current
    /// column.
    Depthwise {
        /// Number of taps, 1 … [`MAX_TAPS`].
        taps: u8,
        /// Steps between taps, at least 1.
        dilation: u8,
        /// Interval of steps at which the layer, and those after it, compute.
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
        /// Index of the second buffer.
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
    /// The last columns of the input, oldest first: `y = [x(t − n), …, x(t − 1), x(t)]`, cut to the
    /// newest `outputs` bytes.
    Window {
        /// Number of bytes of earlier columns, `outputs` less the width of the input.
        history: u16,
        /// Number of bytes of the window.
        outputs: u16,
        /// Value of the columns before the first.
        input_zero: i8,
    },
    /// Function of each element: `y = table[x + 128]`.
    Table {
        /// 256 `i8`.
        table: &'a [u8],
    },
    /// The channels of the input, then those of `other`.
    Join {
        /// Index of the second buffer.
        other: u8,
        /// Number of channels of both.
        outputs: u16,
    },
    /// [`Op::Depthwise`] without stride, with the rounding of TensorFlow Lite
    /// ([`requantize_tflite`](crate::fixed::requantize_tflite)).
    DepthwiseTflite {
        /// Number of taps, 1 … [`MAX_TAPS`].
        taps: u8,
        /// Steps between taps, at least 1.
        dilation: u8,
        /// Value of the columns before the first.
        input_zero: i8,
        /// Weights, biases, scales.
        affine: TfliteAffine<'a>,
    },
    /// [`Op::Pointwise`] with the rounding of TensorFlow Lite.
    PointwiseTflite {
        /// Weights, biases, scales.
        affine: TfliteAffine<'a>,
    },
    /// Residual sum with `other`, with the rounding of TensorFlow Lite: with `r` for
    /// [`scale_tflite`](crate::fixed::scale_tflite),
    /// `y = sat8(zero + r(r((x − x_zero)·2²⁰, x_scale) + r((o − o_zero)·2²⁰, o_scale), y_scale))`.
    AddTflite {
        /// Index of the second buffer.
        other: u8,
        /// Scales and zero points.
        scales: TfliteAdd,
    },
}

/// Factor below 1 as TensorFlow Lite represents it: `(2³² + multiplier) · 2⁻³² · 2^−shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TfliteScale {
    /// Twice TensorFlow Lite's quantized multiplier, less 2³²; negative.
    pub multiplier: i32,
    /// Right shift, 0 … 31.
    pub shift: u8,
}

/// Scales and zero points of [`Op::AddTflite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TfliteAdd {
    /// Scale of the input, at most ½.
    pub x_scale: TfliteScale,
    /// Scale of the other input, at most ½.
    pub o_scale: TfliteScale,
    /// Scale of the sum, below 1.
    pub y_scale: TfliteScale,
    /// Zero point of the input.
    pub x_zero: i8,
    /// Zero point of the other input.
    pub o_zero: i8,
    /// Zero point of the sum.
    pub zero: i8,
}

/// Biases, multipliers and shifts of [`LANES`] outputs.
///
/// A multiplier is twice TensorFlow Lite's, less 2³², and so negative. A shift is TensorFlow Lite's
/// right shift less 1, from 0 to 30.
pub type TfliteFactors = [[i32; LANES]; 3];

/// [`Affine`] with the rounding of TensorFlow Lite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TfliteAffine<'a> {
    /// Shape, zero point and weights; without biases and scales.
    pub affine: Affine<'a>,
    /// Biases, multipliers, shifts.
    #[serde(skip)]
    pub factors: &'a [TfliteFactors],
}

/// Biases and then multipliers of [`LANES`] outputs.
pub type BiasScale = [[i32; LANES]; 2];

/// Weights, biases and scales of a layer, borrowed from flash.
///
/// The exporter folds the zero point of the input into the bias, so the kernels multiply raw `i8`.
/// Array elements beyond `inputs` or `outputs` are 0 or unused.
///
/// **Pointwise weights** are `(blocks of 4 outputs, units of 8 inputs, 2 pairs, 8)` `i16`. Each
/// holds the weights of two outputs for one input, `256 · odd + even`. The low byte is the even
/// weight. The rest, divided by 256, is the odd one (−128 … 128). A processor that multiplies `i16`
/// thus gets `256 · Σ odd·x + Σ even·x` without separating the pair, and extracts only the low
/// bytes.
///
/// **Depthwise weights** are `(blocks of 4 channels, taps, 4)` `i16` and use their whole range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Affine<'a> {
    /// Number of inputs; number of channels in a depthwise layer.
    pub inputs: u16,
    /// Number of outputs; number of channels in a depthwise layer.
    pub outputs: u16,
    /// Zero point of the output; −128 turns the saturation into a ReLU. Unused for logits.
    pub zero_point: i8,
    /// Packed weights, two `i16` per word, the first in the low half.
    #[serde(skip)]
    pub weights: &'a [u32],
    /// Biases, each from −2³⁰ to 2³⁰ − 1, and multipliers, none negative.
    #[serde(skip)]
    pub bias_scales: &'a [BiasScale],
}

impl<'a> Affine<'a> {
    /// Words of the arrays in the order of a file: weights, then biases and scales.
    pub fn arrays(&self) -> [&'a [u32]; 2] {
        [self.weights, bytemuck::cast_slice(self.bias_scales)]
    }

    /// Number of [`BiasScale`] blocks for all outputs.
    pub fn blocks(&self) -> usize {
        usize::from(self.outputs).div_ceil(LANES)
    }

    /// Number of units in a block of pointwise weights.
    pub fn units(&self) -> usize {
        usize::from(self.inputs).div_ceil(UNIT)
    }

    /// Number of words of pointwise weights.
    pub fn pointwise_words(&self) -> usize {
        self.blocks() * self.units() * UNIT
    }

    /// Number of words of depthwise weights.
    pub fn depthwise_words(&self, taps: usize) -> usize {
        self.blocks() * taps * (LANES / 2)
    }

    /// Returns the weight of pointwise output `o` for input `i`; 0 beyond the array.
    pub fn pointwise_weight(&self, o: usize, i: usize) -> i32 {
        let unit = o / LANES * self.units() + i / UNIT;
        let pair = self.half((2 * unit + o % LANES / 2) * UNIT + i % UNIT);
        let even = i32::from(pair as i8);
        if o.is_multiple_of(2) { even } else { (i32::from(pair) - even) >> 8 }
    }

    /// Returns the weight of tap `k` of `taps` for channel `c`; 0 beyond the array.
    pub fn depthwise_weight(&self, taps: usize, k: usize, c: usize) -> i32 {
        i32::from(self.half((c / LANES * taps + k) * LANES + c % LANES))
    }

    /// Returns the `index`-th `i16` of the weights.
    fn half(&self, index: usize) -> i16 {
        let word = self.weights.get(index / 2).copied().unwrap_or(0);
        (word >> (16 * (index % 2))) as i16
    }
}

/// Layers on top of the backbone, and the logits at their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head<'a> {
    /// Number of the model's layers that belong to this head.
    pub layers: u8,
    /// Index of the buffer from which the logits are computed.
    pub input: u8,
    /// `logit[o] = sat16(round_high(bias[o] + Σᵢ w[o,i] · x[i], multiplier[o]))`, Q8.
    pub logits: Affine<'a>,
}

/// A keyword and the parameters of its detector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Keyword<'a> {
    /// Name of the keyword.
    pub label: &'a str,
    /// Smoothing, threshold and refractory period.
    pub detector: DetectorParams,
    /// Thresholds by false accepts per hour, strictest first.
    pub points: Vec<OperatingPoint, MAX_POINTS>,
}

/// One row of the table from false accepts per hour to threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Number of false accepts at this threshold.
    pub false_accepts: u32,
    /// Seconds of audio without the keyword in which they were counted.
    pub audio_seconds: u32,
    /// Threshold on the smoothed logit, Q8.
    pub threshold: i16,
}
