//! A network over a whole image, or over other data on a grid. Its 2-D layers run one after
//! another, each of which writes a tensor into an arena that the exporter planned.
//!
//! Tensors are `(height, width, channels)` `i8`. Tensor 0 is the input, and layer `n − 1` writes
//! tensor `n`. The last tensor gives the logits, one per label.

use heapless::Vec;
use serde::Serialize;

use super::{
    check::{ShapeError, check_affine, check_width},
    header::{self, FLAG_IMAGE, LoadError},
    read::{Arrays, Malformed, Read, Reader},
    types::{Affine, Card, MAX_KEYWORDS, MAX_LAYERS, MAX_TAPS},
};

/// Largest arena in bytes: 16 MiB.
const MAX_ARENA: u64 = 1 << 24;

/// A network over a whole image. Its serialization is the description of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageModel<'a> {
    /// Provenance and licence.
    pub card: Card<'a>,
    /// Shape of the image.
    pub shape: Shape,
    /// Offset of the image in the arena, in bytes.
    pub offset: u32,
    /// The layers in the order in which they run.
    pub layers: Vec<ImageLayer<'a>, MAX_LAYERS>,
    /// `logit[o] = sat16(round_high(bias[o] + Σᵢ w[o,i] · x[i], multiplier[o]))`, Q8, of the whole
    /// last tensor.
    pub logits: Affine<'a>,
    /// Label of each logit.
    pub labels: Vec<&'a str, MAX_KEYWORDS>,
}

/// Shape of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
    /// Channels of each pixel.
    pub channels: u16,
}

impl Shape {
    /// Size of the tensor in bytes.
    pub const fn bytes(&self) -> usize {
        self.height as usize * self.width as usize * self.channels as usize
    }
}

/// One layer of an image network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageLayer<'a> {
    /// Number of the tensor that the layer reads.
    pub input: u8,
    /// Offset in the arena of the tensor that it writes, in bytes.
    pub offset: u32,
    /// The operation.
    pub op: ImageOp<'a>,
}

/// Receptive field of an output pixel. It starts at row `y·stride_y − top` and column
/// `x·stride_x − left`. Pixels outside the image have the value of the input's zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Rows, at least 1.
    pub height: u8,
    /// Columns, at least 1.
    pub width: u8,
    /// Rows from one window to the next, at least 1.
    pub stride_y: u8,
    /// Columns from one window to the next, at least 1.
    pub stride_x: u8,
    /// Rows of padding above the image, fewer than `height`.
    pub top: u8,
    /// Columns of padding left of the image, fewer than `width`.
    pub left: u8,
    /// Rows of the output.
    pub rows: u16,
    /// Columns of the output.
    pub columns: u16,
}

impl Window {
    /// Returns a window of one pixel for each pixel of `shape`.
    pub const fn pixel(shape: Shape) -> Self {
        let Shape { height: rows, width: columns, .. } = shape;
        Self { height: 1, width: 1, stride_y: 1, stride_x: 1, top: 0, left: 0, rows, columns }
    }

    /// Number of pixels in the window.
    pub const fn area(&self) -> usize {
        self.height as usize * self.width as usize
    }

    /// Returns whether every window overlaps the image.
    fn fits(&self, Shape { height, width, .. }: Shape) -> bool {
        let axis = |size: u8, stride: u8, before: u8, count: u16, length: u16| {
            let last = u32::from(count).saturating_sub(1) * u32::from(stride);
            before < size && stride > 0 && count > 0 && last < u32::from(length) + u32::from(before)
        };
        axis(self.height, self.stride_y, self.top, self.rows, height)
            && axis(self.width, self.stride_x, self.left, self.columns, width)
    }

    /// Returns whether every window is inside the image.
    fn lies_within(&self, Shape { height, width, .. }: Shape) -> bool {
        let end = |size: u8, stride: u8, count: u16| {
            u32::from(count).saturating_sub(1) * u32::from(stride) + u32::from(size)
        };
        (self.top, self.left) == (0, 0)
            && end(self.height, self.stride_y, self.rows) <= height.into()
            && end(self.width, self.stride_x, self.columns) <= width.into()
    }
}

/// Kinds of layer. Rounding and saturation are those of [`Op`](super::Op).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ImageOp<'a> {
    /// `y[p,o] = requantize(bias[o] + Σᵢ w[o,i] · x[i])` over the pixels of the window, where `i`
    /// counts rows, columns, channels. A window of one pixel makes it pointwise, one of all pixels
    /// dense.
    Convolution {
        /// The pixels read.
        window: Window,
        /// Value of pixels outside the image.
        input_zero: i8,
        /// Pointwise weights, biases, scales.
        affine: Affine<'a>,
    },
    /// `y[p,c] = requantize(bias[c] + Σₖ w[k,c] · x[k,c])` over the pixels `k` of the window, at
    /// most [`MAX_TAPS`].
    Depthwise {
        /// The pixels read.
        window: Window,
        /// Value of pixels outside the image.
        input_zero: i8,
        /// Depthwise weights, biases, scales.
        affine: Affine<'a>,
    },
    /// `y[p,c] = requantize(bias + Σₖ x[k,c])` over the pixels `k` of a window within the image.
    /// With `n` pixels, `bias = −n · x_zero` and `multiplier = round(2³² · s_x / (n · s_y))`.
    Average {
        /// The pixels read.
        window: Window,
        /// Bias, below 2³⁰ in magnitude.
        bias: i32,
        /// Multiplier, not negative.
        multiplier: i32,
        /// Zero point of the output.
        zero_point: i8,
    },
    /// Residual sum of two tensors of equal shape, as [`Op::Add`](super::Op::Add).
    Add {
        /// Number of the second tensor.
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

impl<'a> ImageOp<'a> {
    /// Returns the shape of the layer's output for the shape `input`.
    pub fn output(&self, input: Shape) -> Shape {
        let shape = |window: &Window, channels| Shape {
            height: window.rows,
            width: window.columns,
            channels,
        };
        match self {
            Self::Convolution { window, affine, .. } | Self::Depthwise { window, affine, .. } => {
                shape(window, affine.outputs)
            }
            Self::Average { window, .. } => shape(window, input.channels),
            Self::Add { .. } => input,
        }
    }

    /// Weights, biases and scales of the layer; `None` if it has none.
    pub fn affine(&self) -> Option<&Affine<'a>> {
        match self {
            Self::Convolution { affine, .. } | Self::Depthwise { affine, .. } => Some(affine),
            Self::Average { .. } | Self::Add { .. } => None,
        }
    }
}

impl<'a> ImageModel<'a> {
    /// Reads and checks a model file, as [`Model::load`](super::Model::load).
    ///
    /// # Errors
    /// [`LoadError`], with what was expected and what was found.
    pub fn load(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let (body, mut integrity) = header::body(bytes, FLAG_IMAGE)?;
        integrity.finish()?;
        let mut reader = Reader::new(body.description);
        let mut model = reader.image()?;
        reader.finish()?;
        let mut arrays = Arrays::new(body.arrays);
        for layer in &mut model.layers {
            match &mut layer.op {
                ImageOp::Convolution { affine, .. } => arrays.attach_pointwise(affine),
                ImageOp::Depthwise { window, affine, .. } => {
                    let words = affine.depthwise_words(window.area());
                    arrays.attach(affine, words);
                }
                ImageOp::Average { .. } | ImageOp::Add { .. } => {}
            }
        }
        arrays.attach_pointwise(&mut model.logits);
        arrays.finish()?;
        check(&model)?;
        Ok(model)
    }

    /// Iterates over every layer's arrays, then the logits': the order in which a file stores them.
    pub fn affines(&self) -> impl Iterator<Item = &Affine<'a>> {
        self.layers.iter().filter_map(|l| l.op.affine()).chain([&self.logits])
    }

    /// Returns shape and offset of every tensor.
    pub fn tensors(&self) -> Tensors {
        let mut tensors = Tensors(Vec::new());
        tensors.push(Tensor { shape: self.shape, offset: self.offset });
        for layer in &self.layers {
            let input = tensors.get(layer.input).map_or(Shape::NONE, |tensor| tensor.shape);
            tensors.push(Tensor { shape: layer.op.output(input), offset: layer.offset });
        }
        tensors
    }
}

/// Shape and place of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Shape of the tensor.
    pub shape: Shape,
    /// Offset of its first byte in the arena.
    pub offset: u32,
}

impl Tensor {
    /// Offset of the byte after its last.
    const fn end(&self) -> u64 {
        self.offset as u64
            + self.shape.height as u64 * self.shape.width as u64 * self.shape.channels as u64
    }

    const fn overlaps(&self, other: &Self) -> bool {
        (self.offset as u64) < other.end() && (other.offset as u64) < self.end()
    }
}

impl Shape {
    const NONE: Self = Self { height: 0, width: 0, channels: 0 };
}

/// The input and the output of each layer.
#[derive(Clone, Debug)]
pub struct Tensors(Vec<Tensor, { MAX_LAYERS + 1 }>);

impl Tensors {
    fn push(&mut self, tensor: Tensor) {
        // The list has room for one more than the layers.
        let _ = self.0.push(tensor);
    }

    /// Returns the tensor with this number.
    pub fn get(&self, number: u8) -> Option<&Tensor> {
        self.0.get(usize::from(number))
    }

    /// Iterates over all tensors, the input first.
    pub fn iter(&self) -> impl Iterator<Item = &Tensor> {
        self.0.iter()
    }

    /// Size of the arena in bytes, up to the end of the last tensor: the peak of the activations.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Tensor::end).max().unwrap_or(0) as usize
    }
}

/// Checks everything that the engine relies on.
fn check(model: &ImageModel<'_>) -> Result<(), ShapeError> {
    let tensors = model.tensors();
    for (layer, tensor) in tensors.iter().enumerate() {
        let shape = tensor.shape;
        if shape.height == 0 || shape.width == 0 || shape.channels == 0 || tensor.end() > MAX_ARENA
        {
            return Err(ShapeError::Value { layer: layer.saturating_sub(1) });
        }
    }
    for (index, layer) in model.layers.iter().enumerate() {
        let x = readable(&tensors, layer.input, index)?;
        check_op(&layer.op, x, index)?;
        if let ImageOp::Add { other, .. } = layer.op {
            let o = readable(&tensors, other, index)?;
            if other == layer.input || o != x {
                return Err(ShapeError::Buffer { layer: index, buffer: other });
            }
        }
    }
    let last = model.layers.len();
    let x = readable(&tensors, last as u8, last)?;
    let bytes = u16::try_from(x.bytes()).map_err(|_| ShapeError::Value { layer: last })?;
    check_width(model.logits.inputs, bytes, last)?;
    check_affine(&model.logits, x.bytes(), last)?;
    if usize::from(model.logits.outputs) == model.labels.len() {
        Ok(())
    } else {
        Err(ShapeError::KeywordCount)
    }
}

/// Returns the shape of a tensor that a layer reads. The tensor must have been written, and no
/// later one, the layer's own output included, may overlap it.
fn readable(tensors: &Tensors, number: u8, layer: usize) -> Result<Shape, ShapeError> {
    let refused = ShapeError::Buffer { layer, buffer: number };
    let written = usize::from(number) <= layer;
    let tensor = tensors.get(number).filter(|_| written).ok_or(refused)?;
    let mut since = tensors.iter().take(layer + 2).skip(usize::from(number) + 1);
    if since.any(|later| later.overlaps(tensor)) { Err(refused) } else { Ok(tensor.shape) }
}

fn check_op(op: &ImageOp<'_>, x: Shape, layer: usize) -> Result<(), ShapeError> {
    let bad = Err(ShapeError::Value { layer });
    match op {
        ImageOp::Convolution { window, affine, .. } => {
            let inputs = window.area() * usize::from(x.channels);
            if !window.fits(x) || inputs != usize::from(affine.inputs) {
                return bad;
            }
            check_affine(affine, inputs, layer)
        }
        ImageOp::Depthwise { window, affine, .. } => {
            if !window.fits(x) || window.area() > MAX_TAPS || affine.inputs != affine.outputs {
                return bad;
            }
            check_width(affine.inputs, x.channels, layer)?;
            check_affine(affine, window.area(), layer)
        }
        ImageOp::Average { window, bias, multiplier, .. } => {
            let sound = window.fits(x)
                && window.lies_within(x)
                && bias.unsigned_abs() < 1 << 30
                && *multiplier >= 0;
            if sound { Ok(()) } else { bad }
        }
        ImageOp::Add { x_scale, o_scale, .. } => {
            let range = 0..=1 << 21;
            if range.contains(x_scale) && range.contains(o_scale) { Ok(()) } else { bad }
        }
    }
}

impl<'a> Reader<'a> {
    fn image(&mut self) -> Read<ImageModel<'a>> {
        let card = self.card()?;
        let shape = Shape { height: self.u16()?, width: self.u16()?, channels: self.u16()? };
        let offset = self.u32()?;
        let mut layers = Vec::new();
        self.list(&mut layers, Self::image_layer)?;
        let logits = self.affine()?;
        let mut labels = Vec::new();
        self.list(&mut labels, Self::text)?;
        Ok(ImageModel { card, shape, offset, layers, logits, labels })
    }

    fn image_layer(&mut self) -> Read<ImageLayer<'a>> {
        Ok(ImageLayer { input: self.u8()?, offset: self.u32()?, op: self.image_op()? })
    }

    fn image_op(&mut self) -> Read<ImageOp<'a>> {
        Ok(match self.u32()? {
            0 => ImageOp::Convolution {
                window: self.window()?,
                input_zero: self.i8()?,
                affine: self.affine()?,
            },
            1 => ImageOp::Depthwise {
                window: self.window()?,
                input_zero: self.i8()?,
                affine: self.affine()?,
            },
            2 => ImageOp::Average {
                window: self.window()?,
                bias: self.i32()?,
                multiplier: self.i32()?,
                zero_point: self.i8()?,
            },
            3 => ImageOp::Add {
                other: self.u8()?,
                x_scale: self.i32()?,
                o_scale: self.i32()?,
                x_zero: self.i8()?,
                o_zero: self.i8()?,
                zero: self.i8()?,
            },
            _ => return Err(Malformed),
        })
    }

    fn window(&mut self) -> Read<Window> {
        Ok(Window {
            height: self.u8()?,
            width: self.u8()?,
            stride_y: self.u8()?,
            stride_x: self.u8()?,
            top: self.u8()?,
            left: self.u8()?,
            rows: self.u16()?,
            columns: self.u16()?,
        })
    }
}
