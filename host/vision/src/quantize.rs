//! Conversion of a float network over images to an int8 model file: batch norm is folded,
//! activation ranges come from calibration, and the arena is planned.
//!
//! Arithmetic and conventions are those of [`quantize`](wakeling_train::quantize).

use heapless::Vec as Bounded;
use wakeling_shared::fixed::LOGIT_FRACTION_BITS;
use wakeling_shared::model::{Card, ImageLayer, ImageModel, ImageOp, Window as PixelWindow};

use super::{
    Error, Result,
    file::ImageNetwork,
    network::{MEAN, block_part},
    pixels::INPUT,
};
use crate::plan::place;
use wakeling_device::model_file::{PackedAffine, encode_image};
use wakeling_nn::ops::window::Window;
use wakeling_train::quantize::{
    Float, Order, QuantParams, folded_rows, quantize_affine, rows, sum_params, sum_scale, widened,
};

/// Encodes a network as a model file.
///
/// # Errors
/// [`Error::NoRange`] if the network was never calibrated; [`Error::TooLarge`] if no device would
/// load the model.
pub fn encode(network: &ImageNetwork) -> Result<Vec<u8>> {
    let mut parts = Parts { network, all: Vec::new(), code: INPUT };
    parts.backbone()?;
    let float = rows(&network.params, "head.weight", network.params.values("head.bias")?)?;
    let step = 1.0 / (1u32 << LOGIT_FRACTION_BITS) as f32;
    let logits = quantize_affine(&float, Order::Rows, parts.code, step, 0);
    let info = &network.info;
    let mut layers = Bounded::new();
    for part in &parts.all {
        let layer = ImageLayer { input: part.input, offset: 0, op: part.op() };
        layers.push(layer).map_err(|_| too_large("too many layers"))?;
    }
    let mut labels = Bounded::new();
    for label in &info.labels {
        labels.push(label.as_str()).map_err(|_| too_large("too many labels"))?;
    }
    let mut model = ImageModel {
        card: Card {
            name: &info.name,
            pretrained: &info.pretrained,
            provenance: &info.provenance,
            licence: &info.licence,
        },
        shape: info.network.shape(),
        offset: 0,
        layers,
        logits: logits.affine(),
        labels,
    };
    place(&mut model);
    let bytes = encode_image(&model)?;
    ImageModel::load(&bytes).map_err(|error| too_large(&error.to_string()))?;
    Ok(bytes)
}

fn too_large(problem: &str) -> Error {
    Error::TooLarge { problem: problem.into() }
}

/// Layer that owns its weights.
struct Part {
    input: u8,
    kind: Kind,
}

enum Kind {
    Convolution(PixelWindow, i8, PackedAffine),
    Depthwise(PixelWindow, i8, PackedAffine),
    Average { window: PixelWindow, bias: i32, multiplier: i32, zero_point: i8 },
    Add { other: u8, scales: [i32; 2], zeros: [i8; 3] },
}

impl Part {
    fn op(&self) -> ImageOp<'_> {
        match &self.kind {
            Kind::Convolution(window, input_zero, packed) => ImageOp::Convolution {
                window: *window,
                input_zero: *input_zero,
                affine: packed.affine(),
            },
            Kind::Depthwise(window, input_zero, packed) => ImageOp::Depthwise {
                window: *window,
                input_zero: *input_zero,
                affine: packed.affine(),
            },
            &Kind::Average { window, bias, multiplier, zero_point } => {
                ImageOp::Average { window, bias, multiplier, zero_point }
            }
            &Kind::Add { other, scales: [x_scale, o_scale], zeros: [x_zero, o_zero, zero] } => {
                ImageOp::Add { other, x_scale, o_scale, x_zero, o_zero, zero }
            }
        }
    }
}

/// Layers so far; each reads the output of the previous one.
struct Parts<'a> {
    network: &'a ImageNetwork,
    all: Vec<Part>,
    /// Quantization parameters of the last tensor.
    code: QuantParams,
}

impl Parts<'_> {
    fn push(&mut self, kind: Kind, code: QuantParams) {
        // Index of the tensor written last; there are at most 64.
        let input = self.all.len() as u8;
        self.all.push(Part { input, kind });
        self.code = code;
    }

    fn range(&self, name: &str) -> Result<(f32, f32)> {
        let found = self.network.info.ranges.iter().find(|(n, _, _)| n == name);
        let missing = || Error::NoRange { layer: name.into() };
        found.map(|(_, lower, upper)| (*lower, *upper)).ok_or_else(missing)
    }

    /// Returns a layer with batch norm folded in, and its output's quantization parameters. The
    /// range starts at 0 after a ReLU.
    fn folded(&self, name: &str, relu: bool) -> Result<(Float, QuantParams)> {
        let float = folded_rows(&self.network.params, &format!("{name}.weight"), name)?;
        let (lower, upper) = self.range(name)?;
        let code = widened(if relu { 0.0 } else { lower }, upper, &float, self.code);
        Ok((float, code))
    }

    fn pack(&self, float: &Float, order: Order, y: QuantParams) -> PackedAffine {
        quantize_affine(float, order, self.code, y.scale, y.zero_point)
    }

    /// Adds all layers before the logits.
    fn backbone(&mut self) -> Result<()> {
        let config = &self.network.info.network;
        let windows = config.windows()?;
        let (float, y) = self.folded("stem", true)?;
        let packed = self.pack(&float, Order::Rows, y);
        self.push(Kind::Convolution(pixels(&windows[0]), self.code.zero_point, packed), y);
        for (block, window) in windows[1..].iter().enumerate() {
            let (x, x_tensor) = (self.code, self.all.len() as u8);
            let (float, y) = self.folded(&block_part(block, "depthwise"), true)?;
            let packed = self.pack(&float, Order::Taps, y);
            self.push(Kind::Depthwise(pixels(window), x.zero_point, packed), y);

            let is_residual = config.is_residual(block);
            let (float, z) = self.folded(&block_part(block, "pointwise"), !is_residual)?;
            let packed = self.pack(&float, Order::Rows, z);
            let one = pixels(&Window::same(window.output, 1, 1)?);
            self.push(Kind::Convolution(one, y.zero_point, packed), z);

            if is_residual {
                let (_, upper) = self.range(&block_part(block, "sum"))?;
                let sum = sum_params(z, x, upper);
                let scales = [sum_scale(z, sum), sum_scale(x, sum)];
                let zeros = [z.zero_point, x.zero_point, sum.zero_point];
                self.push(Kind::Add { other: x_tensor, scales, zeros }, sum);
            }
        }
        self.average(windows[windows.len() - 1].output)
    }

    /// Adds the mean over all pixels.
    fn average(&mut self, [height, width]: [usize; 2]) -> Result<()> {
        let count = (height * width) as f64;
        let (_, upper) = self.range(MEAN)?;
        let x = self.code;
        // The multiplier, 2³² · s_x / (n · s_y), must stay below 2³¹.
        let least = 255.0 * 2.01 * x.scale / count as f32;
        let y = QuantParams::of(0.0, upper.max(least));
        let ratio = f64::from(x.scale) / (count * f64::from(y.scale));
        let window = PixelWindow {
            height: height as u8,
            width: width as u8,
            stride_y: 1,
            stride_x: 1,
            top: 0,
            left: 0,
            rows: 1,
            columns: 1,
        };
        let kind = Kind::Average {
            window,
            bias: -(count as i32) * i32::from(x.zero_point),
            multiplier: (ratio * 4_294_967_296.0).round() as i32,
            zero_point: y.zero_point,
        };
        self.push(kind, y);
        Ok(())
    }
}

/// Converts a training window to the engine's type.
fn pixels(window: &Window) -> PixelWindow {
    PixelWindow {
        height: window.size as u8,
        width: window.size as u8,
        stride_y: window.stride as u8,
        stride_x: window.stride as u8,
        top: window.before[0] as u8,
        left: window.before[1] as u8,
        rows: window.output[0] as u16,
        columns: window.output[1] as u16,
    }
}
