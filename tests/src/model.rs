//! Models with random weights, in the shape of the tiers: 80 features → C channels → 8 residual
//! blocks of depthwise (k = 5) and pointwise → heads.
//!
//! Weights are uniform. Multipliers follow from the resulting deviation of each sum. Activations
//! thus spread over `i8`, and neither vanish nor all saturate, at any depth.

use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_device::model_file::{PackedAffine, Scales, encode};
use wakeling_shared::{
    detector::DetectorParams,
    frontend::MEL_CHANNELS,
    gate::GateParams,
    model::{Card, Head, Keyword, Layer, Model, Op, OperatingPoint},
};

use crate::Random;

/// Width of the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Width of 8 channels, for tests that try every bit.
    Tiny,
    /// Width of 263 channels, a prime above 256, for the tails of the kernels' blocks.
    Odd,
    /// Width of 48 channels, seven blocks: about as many products per step as microWakeWord's
    /// alexa, 24,000.
    Alexa,
    /// Shape of the tier S.
    S,
    /// Shape of the tier M.
    M,
}

impl Tier {
    const fn channels(self) -> u16 {
        match self {
            Self::Tiny => 8,
            Self::Odd => 263,
            Self::Alexa => 48,
            Self::S => 96,
            Self::M => 192,
        }
    }

    const fn dilations(self) -> &'static [u8] {
        match self {
            Self::Tiny | Self::Odd => &[1, 2],
            Self::Alexa => &[1, 2, 4, 8, 1, 2, 4],
            Self::S | Self::M => &[1, 1, 2, 2, 1, 1, 2, 2],
        }
    }

    const fn frames_per_step(self) -> u8 {
        match self {
            Self::Tiny | Self::Odd | Self::Alexa => 2,
            Self::S | Self::M => 4,
        }
    }

    const fn inputs(self) -> u16 {
        self.frames_per_step() as u16 * MEL_CHANNELS as u16
    }
}

const HEAD_CHANNELS: u16 = 32;
/// Zero point of a ReLU's output.
const RELU_ZERO: i8 = i8::MIN;
/// Deviations of activations in units of `i8`: of features, of sums before a ReLU, elsewhere.
const FEATURE_DEVIATION: f64 = 50.0;
const RELU_DEVIATION: f64 = 90.0;
const LINEAR_DEVIATION: f64 = 40.0;
/// Deviation of logits, in Q8.
const LOGIT_DEVIATION: f64 = 3.0 * 256.0;
const LABELS: [&str; 4] = ["hey wakeling", "lights on", "stop", "你好小鸭"];

/// Normalizations, which seeds use in turn.
const NORMALIZATIONS: [NormalizationKind; 4] = [
    NormalizationKind::Pcan,
    NormalizationKind::Log,
    NormalizationKind::LogPcen,
    NormalizationKind::LogPlain,
];

/// Input of a layer: its zero point, and its root mean square around it.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    zero: i8,
    rms: f64,
}

impl Input {
    /// Zero point: the `i8` that represents 0.
    pub const fn zero(self) -> i8 {
        self.zero
    }

    /// Features of sound, or pixels.
    pub const FEATURES: Self = Self { zero: 0, rms: FEATURE_DEVIATION };
    const LINEAR: Self = Self { zero: 0, rms: LINEAR_DEVIATION };
    /// Half of the sums are clipped.
    pub const RELU: Self = Self { zero: RELU_ZERO, rms: RELU_DEVIATION * 0.707 };
}

/// Output of a layer: its zero point and deviation.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    zero: i8,
    deviation: f64,
}

impl Output {
    const LINEAR: Self = Self { zero: 0, deviation: LINEAR_DEVIATION };
    /// Half of the sums are clipped.
    pub const RELU: Self = Self { zero: RELU_ZERO, deviation: RELU_DEVIATION };
    /// Logit in Q8.
    pub const LOGIT: Self = Self { zero: 0, deviation: LOGIT_DEVIATION };
}

/// Builds a pointwise layer, convolution or logits of `(inputs, outputs)`.
pub fn pointwise(
    random: &mut Random,
    (inputs, outputs): (u16, u16),
    x: Input,
    y: Output,
) -> PackedAffine {
    let weights = weights(random, usize::from(inputs) * usize::from(outputs));
    let rows: Vec<i32> = weights.chunks(usize::from(inputs)).map(sum).collect();
    let (biases, multipliers) = bias_scales(random, inputs, &rows, (x, y));
    let scales = Scales { biases: &biases, multipliers: &multipliers, zero_point: y.zero };
    PackedAffine::pointwise(&weights, scales)
}

/// Builds a depthwise layer.
pub fn depthwise(
    random: &mut Random,
    taps: u8,
    channels: u16,
    x: Input,
    y: Output,
) -> PackedAffine {
    let width = usize::from(channels);
    let weights = weights(random, usize::from(taps) * width);
    let column = |c: usize| weights.iter().skip(c).step_by(width).map(|&w| i32::from(w)).sum();
    let rows: Vec<i32> = (0..width).map(column).collect();
    let (biases, multipliers) = bias_scales(random, taps.into(), &rows, (x, y));
    let scales = Scales { biases: &biases, multipliers: &multipliers, zero_point: y.zero };
    let weights: Vec<i16> = weights.into_iter().map(i16::from).collect();
    PackedAffine::depthwise(&weights, scales)
}

/// Returns biases and multipliers. `rows` are the sums of each output's weights, since the zero
/// point of the input is folded into the bias.
fn bias_scales(
    random: &mut Random,
    fan_in: u16,
    rows: &[i32],
    (x, y): (Input, Output),
) -> (Vec<i32>, Vec<i32>) {
    /// Deviation of a uniform distribution over −127 … 127.
    const WEIGHT_DEVIATION: f64 = 73.3;
    let deviation = f64::from(fan_in).sqrt() * WEIGHT_DEVIATION * x.rms;
    let scale = y.deviation / deviation * 4_294_967_296.0;
    let mut one = |row: &i32| {
        let shift = (0.3 * deviation * random.unit()) as i32;
        let multiplier = (scale * (1.0 + 0.2 * random.unit())) as i32;
        (shift - row * i32::from(x.zero), multiplier)
    };
    rows.iter().map(&mut one).unzip()
}

fn weights(random: &mut Random, count: usize) -> Vec<i8> {
    (0..count).map(|_| (127.0 * random.unit()) as i8).collect()
}

fn sum(row: &[i8]) -> i32 {
    row.iter().map(|&w| i32::from(w)).sum()
}

/// Builds a valid model file with `heads` keywords (1 to 4), each with its own head.
pub fn random_model_with_heads(seed: u64, tier: Tier, heads: usize) -> Vec<u8> {
    let random = &mut Random::new(seed);
    let channels = tier.channels();
    let entry = pointwise(random, (tier.inputs(), channels), Input::FEATURES, Output::LINEAR);
    let blocks: Vec<[PackedAffine; 2]> = tier
        .dilations()
        .iter()
        .map(|_| {
            let square = (channels, channels);
            [
                depthwise(random, 5, channels, Input::LINEAR, Output::RELU),
                pointwise(random, square, Input::RELU, Output::LINEAR),
            ]
        })
        .collect();
    let head_arrays: Vec<[PackedAffine; 3]> = (0..heads)
        .map(|_| {
            let (to_head, to_logit) = ((channels, HEAD_CHANNELS), (HEAD_CHANNELS, 1));
            [
                depthwise(random, 9, channels, Input::LINEAR, Output::RELU),
                pointwise(random, to_head, Input::RELU, Output::RELU),
                pointwise(random, to_logit, Input::RELU, Output::LOGIT),
            ]
        })
        .collect();
    let tables = FrontendTables::default();
    let (mut layers, stream) = backbone(&entry, &blocks, tier.dilations());
    let backbone_layers = layers.len() as u8;
    layers.extend(head_arrays.iter().flat_map(|arrays| head_layers(arrays, stream)));
    let model = Model {
        card: card(),
        frontend: tables.params(NORMALIZATIONS[seed as usize % NORMALIZATIONS.len()]),
        frames_per_step: tier.frames_per_step(),
        layers: layers.into_iter().collect(),
        backbone_layers,
        heads: head_arrays
            .iter()
            .map(|[.., logits]| Head { layers: 2, input: 3, logits: logits.affine() })
            .collect(),
        words: LABELS.iter().take(heads).map(|label| word(label)).collect(),
        gate: None,
        statistics: None,
    };
    encode(&model).expect("a model this small can be written")
}

/// Adds a gate in front of the network of a model file.
pub fn gated(file: &[u8], gate: GateParams) -> Vec<u8> {
    let model = Model::load(file).expect("the model is valid");
    encode(&Model { gate: Some(gate), ..model }).expect("a model this small can be written")
}

/// Builds a valid model file with one keyword.
pub fn random_model(seed: u64, tier: Tier) -> Vec<u8> {
    random_model_with_heads(seed, tier, 1)
}

/// Returns the layers of the backbone, and the index of its output buffer. The residual stream
/// alternates between buffers 1 and 0.
fn backbone<'a>(
    entry: &'a PackedAffine,
    blocks: &'a [[PackedAffine; 2]],
    dilations: &[u8],
) -> (Vec<Layer<'a>>, u8) {
    /// Scale `2²⁰ · 0.7`: the sum of two equal deviations keeps the deviation.
    const ADD_SCALE: i32 = 734_003;
    let entry = Op::Pointwise { affine: entry.affine() };
    let mut layers = vec![Layer { input: 0, output: 1, op: entry }];
    let mut stream = 1;
    for ([depthwise, pointwise], &dilation) in blocks.iter().zip(dilations) {
        let op = Op::Depthwise {
            taps: 5,
            dilation,
            stride: 1,
            input_zero: 0,
            affine: depthwise.affine(),
        };
        layers.push(Layer { input: stream, output: 2, op });
        let op = Op::Pointwise { affine: pointwise.affine() };
        layers.push(Layer { input: 2, output: 3, op });
        let op = Op::Add {
            other: stream,
            x_scale: ADD_SCALE,
            o_scale: ADD_SCALE,
            x_zero: 0,
            o_zero: 0,
            zero: 0,
        };
        layers.push(Layer { input: 3, output: 1 - stream, op });
        stream = 1 - stream;
    }
    (layers, stream)
}

fn head_layers([depthwise, pointwise, _]: &[PackedAffine; 3], stream: u8) -> [Layer<'_>; 2] {
    let depthwise = Op::Depthwise {
        taps: 9,
        dilation: 1,
        stride: 1,
        input_zero: 0,
        affine: depthwise.affine(),
    };
    let pointwise = Op::Pointwise { affine: pointwise.affine() };
    [
        Layer { input: stream, output: 2, op: depthwise },
        Layer { input: 2, output: 3, op: pointwise },
    ]
}

fn card() -> Card<'static> {
    Card {
        name: "random",
        pretrained: "",
        provenance: "random weights for tests; it recognizes nothing",
        licence: "MIT OR Apache-2.0",
    }
}

fn word(label: &str) -> Keyword<'_> {
    let point = OperatingPoint { false_accepts: 3, audio_seconds: 7_200, threshold: 512 };
    Keyword {
        label,
        detector: DetectorParams { smoothing_steps: 4, threshold: 512, refractory_steps: 50 },
        points: [point].into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_nn::backbone::BackboneConfig;

    #[test]
    fn tiers_have_the_shapes_that_are_trained() {
        for (tier, trained) in [
            (Tier::S, BackboneConfig::of(wakeling_nn::backbone::Tier::S)),
            (Tier::M, BackboneConfig::of(wakeling_nn::backbone::Tier::M)),
        ] {
            let dilations: Vec<usize> = tier.dilations().iter().map(|&d| d.into()).collect();
            assert_eq!(usize::from(tier.channels()), trained.channels);
            assert_eq!(dilations, trained.dilations);
            assert_eq!(usize::from(tier.frames_per_step()), trained.frames_per_step);
        }
    }
}
