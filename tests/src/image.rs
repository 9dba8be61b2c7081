//! Image networks with random weights, in the shapes of MLPerf Tiny's keyword spotting and visual
//! wake words (Banbury et al., "MLPerf Tiny Benchmark", 2021, table 1), and a small one with a
//! residual sum.

use wakeling_device::model_file::{PackedAffine, encode_image};
use wakeling_shared::model::{Affine, Card, ImageLayer, ImageModel, ImageOp, Shape, Window};
use wakeling_vision::{
    Labelling,
    dataset::{ImageSet, LabelledImage},
    file::ImageNetwork,
    network::{NetworkConfig, Tier},
    plan::place,
    quantize,
    training::calibrate,
};

use crate::{
    Random,
    model::{Input, Output, depthwise, pointwise},
};

/// Shape of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Spectrogram of 49 × 10, 64 channels, four separable blocks, 12 keywords: 2.66 M MAC.
    KeywordSpotting,
    /// Image of 96 × 96 × 3, MobileNetV1 of width 0.25, 2 classes: 7.49 M MAC.
    VisualWakeWords,
    /// Odd sizes, uneven strides and padding, a residual sum.
    Small,
}

/// Returns the length of the output along one axis, and the padding before it, for TensorFlow's
/// `SAME` padding.
fn same(length: u16, size: u8, stride: u8) -> (u16, u8) {
    let output = length.div_ceil(stride.into());
    let padding = ((output - 1) * u16::from(stride) + u16::from(size)).saturating_sub(length);
    (output, (padding / 2) as u8)
}

fn window(shape: Shape, (height, width): (u8, u8), stride: (u8, u8)) -> Window {
    let (rows, top) = same(shape.height, height, stride.0);
    let (columns, left) = same(shape.width, width, stride.1);
    Window { height, width, stride_y: stride.0, stride_x: stride.1, top, left, rows, columns }
}

/// A layer before the arena is planned.
struct Part {
    input: u8,
    kind: Kind,
    arrays: Option<PackedAffine>,
}

enum Kind {
    Convolution(Window, i8),
    Depthwise(Window, i8),
    Average(Window),
    Add(u8),
}

/// Builds layers one after another.
struct Builder {
    random: Random,
    input: Shape,
    shape: Shape,
    parts: Vec<Part>,
}

impl Builder {
    fn new(seed: u64, height: u16, width: u16, channels: u16) -> Self {
        let shape = Shape { height, width, channels };
        Self { random: Random::new(seed), input: shape, shape, parts: Vec::new() }
    }

    /// Scale of the next layer's input.
    fn read(&self) -> Input {
        if self.parts.is_empty() { Input::FEATURES } else { Input::RELU }
    }

    fn push(&mut self, kind: Kind, arrays: Option<PackedAffine>) {
        self.parts.push(Part { input: self.parts.len() as u8, kind, arrays });
    }

    fn convolution(&mut self, outputs: u16, size: (u8, u8), stride: (u8, u8)) {
        let (window, x) = (window(self.shape, size, stride), self.read());
        let inputs = window.area() as u16 * self.shape.channels;
        let arrays = pointwise(&mut self.random, (inputs, outputs), x, Output::RELU);
        self.push(Kind::Convolution(window, x.zero()), Some(arrays));
        self.shape = Shape { height: window.rows, width: window.columns, channels: outputs };
    }

    fn depthwise(&mut self, size: (u8, u8), stride: (u8, u8)) {
        let (window, x) = (window(self.shape, size, stride), self.read());
        let taps = window.area() as u8;
        let arrays = depthwise(&mut self.random, taps, self.shape.channels, x, Output::RELU);
        self.push(Kind::Depthwise(window, x.zero()), Some(arrays));
        self.shape = Shape { height: window.rows, width: window.columns, ..self.shape };
    }

    fn separable(&mut self, outputs: u16, stride: u8) {
        self.depthwise((3, 3), (stride, stride));
        self.convolution(outputs, (1, 1), (1, 1));
    }

    /// Adds the mean of all pixels.
    fn average(&mut self) {
        let Shape { height, width, .. } = self.shape;
        let window = Window {
            height: height as u8,
            width: width as u8,
            rows: 1,
            columns: 1,
            ..Window::pixel(self.shape)
        };
        self.push(Kind::Average(window), None);
        self.shape = Shape { height: 1, width: 1, ..self.shape };
    }

    /// Adds the sum of the last tensor and an earlier one.
    fn add(&mut self, other: u8) {
        self.push(Kind::Add(other), None);
    }

    fn finish(mut self, labels: &[&str]) -> Vec<u8> {
        let inputs = self.shape.bytes() as u16;
        let shape = (inputs, labels.len() as u16);
        let logits = pointwise(&mut self.random, shape, Input::RELU, Output::LOGIT);
        let layers = self.parts.iter().map(|part| ImageLayer {
            input: part.input,
            offset: 0,
            op: op(&part.kind, part.arrays.as_ref().map(PackedAffine::affine)),
        });
        let mut model = ImageModel {
            card: Card {
                name: "random image network",
                pretrained: "",
                provenance: "random weights for tests; it recognizes nothing",
                licence: "MIT OR Apache-2.0",
            },
            shape: self.input,
            offset: 0,
            layers: layers.collect(),
            logits: logits.affine(),
            labels: labels.iter().copied().collect(),
        };
        place(&mut model);
        encode_image(&model).expect("a model this small can be written")
    }
}

fn op<'a>(kind: &Kind, affine: Option<Affine<'a>>) -> ImageOp<'a> {
    let affine = || affine.expect("the layer has arrays");
    match *kind {
        Kind::Convolution(window, input_zero) => {
            ImageOp::Convolution { window, input_zero, affine: affine() }
        }
        Kind::Depthwise(window, input_zero) => {
            ImageOp::Depthwise { window, input_zero, affine: affine() }
        }
        Kind::Average(window) => ImageOp::Average {
            window,
            bias: 128 * window.area() as i32,
            // Slightly more than the mean, which would be close to the middle.
            multiplier: (1.5 * 4_294_967_296.0 / window.area() as f64).min(2e9) as i32,
            zero_point: -128,
        },
        Kind::Add(other) => ImageOp::Add {
            other,
            x_scale: 734_003,
            o_scale: 500_000,
            x_zero: -128,
            o_zero: -128,
            zero: -128,
        },
    }
}

/// Builds a valid model file for images.
pub fn random_image_model(seed: u64, network: Network) -> Vec<u8> {
    match network {
        Network::KeywordSpotting => {
            let mut network = Builder::new(seed, 49, 10, 1);
            network.convolution(64, (10, 4), (2, 2));
            (0..4).for_each(|_| network.separable(64, 1));
            network.average();
            network.finish(&[
                "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence",
                "unknown",
            ])
        }
        Network::VisualWakeWords => {
            let mut network = Builder::new(seed, 96, 96, 3);
            network.convolution(8, (3, 3), (2, 2));
            let blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)];
            let more = [(128, 1); 5].into_iter().chain([(256, 2), (256, 1)]);
            for (outputs, stride) in blocks.into_iter().chain(more) {
                network.separable(outputs, stride);
            }
            network.average();
            network.finish(&["nobody", "a person"])
        }
        Network::Small => {
            let mut network = Builder::new(seed, 13, 9, 2);
            network.convolution(11, (5, 3), (2, 1));
            network.depthwise((5, 4), (1, 2));
            network.convolution(11, (3, 3), (1, 1));
            network.add(2);
            network.convolution(6, (1, 1), (2, 2));
            network.finish(&["first", "second", "third"])
        }
    }
}

/// Builds a calibrated network in the shape of a tier for RGB images, with two labels and random
/// weights.
pub fn seen_network(seed: u64, tier: Tier, side: usize) -> ImageNetwork {
    let mut random = Random::new(seed);
    let config = NetworkConfig::new(tier.width(), side, 3);
    let labels = ["nobody", "a person"].map(String::from);
    let shape = config.shape();
    let mut image = || LabelledImage {
        pixels: (0..shape.bytes()).map(|_| random.bits() as u8).collect(),
        answers: vec![Some(true), Some(false)],
    };
    let all = vec![image(), image()];
    let mut network = ImageNetwork::fresh(config, Labelling::OneOf, &labels, seed)
        .expect("the shape is a good one");
    let images = ImageSet { shape, labelling: Labelling::OneOf, labels: labels.into(), all };
    calibrate(&mut network, &images).expect("the weights fit");
    network
}

/// Builds a valid model file of [`seen_network`].
pub fn tier_model(seed: u64, tier: Tier, side: usize) -> Vec<u8> {
    quantize::encode(&seen_network(seed, tier, side)).expect("a device loads it")
}
