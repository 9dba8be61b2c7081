//! Validation of a model: checks everything that the later stages rely on.
//!
//! Bounds on accumulators: with `inputs ≤ 2¹⁵`, `|bias| < 2³⁰` and `|w·x| ≤ 2¹⁴`, a sum stays below
//! `2³⁰ + 2²⁹ < 2³¹`. With `taps ≤ 32` and `|w·x| ≤ 2²²`, it does so as well.

use core::fmt;

use super::types::{
    Affine, BUFFERS, BiasScale, Head, Layer, MAX_KEYWORDS, MAX_ORDER, MAX_TAPS, Model, Op,
    TfliteAffine, TfliteFactors, TfliteScale,
};
use crate::{
    decimal::Decimal, detector::DetectorError, frontend::FrontendError,
    timebase::MAX_FRAMES_PER_STEP,
};

/// Contradiction within a model. Layers count from 0, those of the heads included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// The parameters of the front end are invalid.
    Frontend(FrontendError),
    /// Number of frames per step, which is 0 or more than 16.
    FramesPerStep(u8),
    /// A layer names a buffer that does not exist, that no layer wrote, or that is its own input.
    Buffer {
        /// Index of the layer.
        layer: usize,
        /// Index of the buffer.
        buffer: u8,
    },
    /// A layer expects another number of channels than its buffer has.
    Width {
        /// Index of the layer.
        layer: usize,
        /// Number of channels that the layer expects.
        expected: u16,
        /// Number of channels in the buffer.
        found: u16,
    },
    /// A value is out of its range: taps, dilation, stride, channels, bias, multiplier or scale.
    Value {
        /// Index of the layer.
        layer: usize,
    },
    /// A layer inside a head has a stride. The head would then have no result at some steps at
    /// which other heads have one.
    HeadStride {
        /// Index of the layer.
        layer: usize,
    },
    /// The number of layers is not that of the backbone and the heads together.
    LayerCount,
    /// The number of keywords differs from that of logits, or is 0.
    KeywordCount,
    /// The statistics for enrollment do not fit the last head, or a value is out of its range.
    Statistics,
    /// The detector parameters of a keyword are invalid.
    Detector(DetectorError),
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = Decimal::of::<usize>;
        match *self {
            Self::Frontend(error) => error.fmt(f),
            Self::FramesPerStep(frames) => {
                write!(f, "{} frames a step, not 1 to 16", number(frames.into()))
            }
            Self::Buffer { layer, buffer } => {
                let [layer, buffer] = [number(layer), number(buffer.into())];
                write!(f, "layer {layer} cannot use buffer {buffer}")
            }
            Self::Width { layer, expected, found } => {
                let [expected, found] = [number(expected.into()), number(found.into())];
                let layer = number(layer);
                write!(f, "layer {layer} takes {expected} channels and is given {found}")
            }
            Self::Value { layer } => {
                write!(f, "layer {} has a number out of its range", number(layer))
            }
            Self::HeadStride { layer } => {
                write!(f, "layer {}, of a head, has a stride", number(layer))
            }
            Self::LayerCount => f.write_str(
                "the layers of backbone and heads do not add up to the number of layers",
            ),
            Self::Statistics => {
                f.write_str("the statistics for enrollment do not fit the last head")
            }
            Self::KeywordCount => f.write_str("there are not as many words as logits"),
            Self::Detector(DetectorError::Smoothing(steps)) => {
                write!(f, "a word is smoothed over {} steps", number(steps.into()))
            }
        }
    }
}

/// Checks a model against everything that the device flow relies on.
pub(super) fn check(model: &Model<'_>) -> Result<(), ShapeError> {
    model.frontend.validate().map_err(ShapeError::Frontend)?;
    if model.frames_per_step == 0 || model.frames_per_step > MAX_FRAMES_PER_STEP {
        return Err(ShapeError::FramesPerStep(model.frames_per_step));
    }
    let mut widths = [None; BUFFERS];
    widths[0] = Some(model.step_width());

    let backbone = usize::from(model.backbone_layers);
    let head_layers: usize = model.heads.iter().map(|h| usize::from(h.layers)).sum();
    if backbone == 0 || backbone + head_layers != model.layers.len() {
        return Err(ShapeError::LayerCount);
    }
    let (backbone_layers, mut rest) =
        model.layers.split_at_checked(backbone).ok_or(ShapeError::LayerCount)?;
    check_layers(backbone_layers, 0, &mut widths)?;

    // Heads are independent: each reads the backbone's output and must not overwrite it.
    let kept = model.backbone_output();
    let mut first = backbone;
    let mut logits = 0;
    for head in &model.heads {
        let (own, others) =
            rest.split_at_checked(usize::from(head.layers)).ok_or(ShapeError::LayerCount)?;
        rest = others;
        check_head(head, own, first, kept, widths)?;
        first += own.len();
        logits += usize::from(head.logits.outputs);
    }
    if logits == 0 || logits > MAX_KEYWORDS || logits != model.words.len() {
        return Err(ShapeError::KeywordCount);
    }
    check_statistics(model)?;
    model.words.iter().try_for_each(|w| w.detector.validate().map_err(ShapeError::Detector))
}

fn check_statistics(model: &Model<'_>) -> Result<(), ShapeError> {
    let Some(statistics) = &model.statistics else { return Ok(()) };
    let order = usize::from(statistics.order);
    let fits = |channels: usize| {
        statistics.deviation > 0
            && order <= MAX_ORDER
            && statistics.predictors.len() == order * channels * channels
    };
    let head = model.enrollment_head().filter(|head| fits(head.channels));
    head.map(drop).ok_or(ShapeError::Statistics)
}

fn check_head(
    head: &Head<'_>,
    layers: &[Layer<'_>],
    first: usize,
    kept: u8,
    mut widths: [Option<u16>; BUFFERS],
) -> Result<(), ShapeError> {
    for (i, layer) in layers.iter().enumerate() {
        let layer_index = first + i;
        if layer.output == kept {
            return Err(ShapeError::Buffer { layer: layer_index, buffer: layer.output });
        }
        if let Op::Depthwise { stride, .. } = layer.op
            && stride != 1
        {
            return Err(ShapeError::HeadStride { layer: layer_index });
        }
    }
    check_layers(layers, first, &mut widths)?;
    let layer = first + layers.len();
    let width = width_of(&widths, head.input, layer)?;
    check_width(head.logits.inputs, width, layer)?;
    check_affine(&head.logits, usize::from(head.logits.inputs), layer)
}

fn check_layers(
    layers: &[Layer<'_>],
    first: usize,
    widths: &mut [Option<u16>; BUFFERS],
) -> Result<(), ShapeError> {
    for (i, layer) in layers.iter().enumerate() {
        let index = first + i;
        let found = width_of(widths, layer.input, index)?;
        let bad_output = ShapeError::Buffer { layer: index, buffer: layer.output };
        if layer.output == layer.input {
            return Err(bad_output);
        }
        let written = check_op(&layer.op, layer.output, found, index, widths)?;
        *widths.get_mut(usize::from(layer.output)).ok_or(bad_output)? = Some(written);
    }
    Ok(())
}

/// Returns the number of channels that the layer writes.
fn check_op(
    op: &Op<'_>,
    output: u8,
    found: u16,
    layer: usize,
    widths: &[Option<u16>; BUFFERS],
) -> Result<u16, ShapeError> {
    match op {
        Op::Depthwise { taps, dilation, stride, affine, .. } => {
            let taps = usize::from(*taps);
            if taps > MAX_TAPS || *dilation == 0 || *stride == 0 || affine.inputs != affine.outputs
            {
                return Err(ShapeError::Value { layer });
            }
            check_width(affine.inputs, found, layer)?;
            check_affine(affine, taps, layer)?;
            Ok(affine.outputs)
        }
        Op::Pointwise { affine } => {
            check_width(affine.inputs, found, layer)?;
            check_affine(affine, usize::from(affine.inputs), layer)?;
            Ok(affine.outputs)
        }
        Op::Add { other, x_scale, o_scale, .. } => {
            if *other == output {
                return Err(ShapeError::Buffer { layer, buffer: *other });
            }
            check_width(width_of(widths, *other, layer)?, found, layer)?;
            let range = 0..=1 << 21;
            if !range.contains(x_scale) || !range.contains(o_scale) {
                return Err(ShapeError::Value { layer });
            }
            Ok(found)
        }
        Op::Window { history, outputs, .. } => {
            let both = found.checked_add(*history).ok_or(ShapeError::Value { layer })?;
            check_width(*outputs, both, layer)?;
            Ok(both)
        }
        Op::Table { table } => {
            if table.len() == TABLE_BYTES {
                Ok(found)
            } else {
                Err(ShapeError::Value { layer })
            }
        }
        Op::Join { other, outputs } => {
            if *other == output {
                return Err(ShapeError::Buffer { layer, buffer: *other });
            }
            let second = width_of(widths, *other, layer)?;
            let both = found.checked_add(second).ok_or(ShapeError::Value { layer })?;
            check_width(*outputs, both, layer)?;
            Ok(both)
        }
        Op::DepthwiseTflite { taps, dilation, affine, .. } => {
            let (taps, shape) = (usize::from(*taps), &affine.affine);
            if taps > MAX_TAPS || *dilation == 0 || shape.inputs != shape.outputs {
                return Err(ShapeError::Value { layer });
            }
            check_width(shape.inputs, found, layer)?;
            check_tflite(affine, taps, layer)?;
            Ok(shape.outputs)
        }
        Op::PointwiseTflite { affine } => {
            check_width(affine.affine.inputs, found, layer)?;
            check_tflite(affine, usize::from(affine.affine.inputs), layer)?;
            Ok(affine.affine.outputs)
        }
        Op::AddTflite { other, scales } => {
            if *other == output {
                return Err(ShapeError::Buffer { layer, buffer: *other });
            }
            check_width(width_of(widths, *other, layer)?, found, layer)?;
            // Each input is at most 255 · 2²⁰, halved, so that the sum fits an `i32`.
            let half = |scale: &TfliteScale| {
                scale.multiplier < 0
                    && scale.shift <= 31
                    && (scale.shift > 0 || scale.multiplier == i32::MIN)
            };
            let below_1 = scales.y_scale.multiplier < 0 && scales.y_scale.shift <= 31;
            if half(&scales.x_scale) && half(&scales.o_scale) && below_1 {
                Ok(found)
            } else {
                Err(ShapeError::Value { layer })
            }
        }
    }
}

/// Number of entries of a table.
const TABLE_BYTES: usize = 256;

/// Checks the ranges of a layer of TensorFlow Lite with `fan_in` weights per output.
fn check_tflite(affine: &TfliteAffine<'_>, fan_in: usize, layer: usize) -> Result<(), ShapeError> {
    let out_of_range = |[biases, multipliers, shifts]: &TfliteFactors| {
        biases.iter().any(|bias| !(-(1 << 30)..1 << 30).contains(bias))
            || multipliers.iter().any(|&multiplier| multiplier >= 0)
            || shifts.iter().any(|shift| !(0..=30).contains(shift))
    };
    check_affine(&affine.affine, fan_in, layer)?;
    if affine.factors.iter().any(out_of_range) {
        return Err(ShapeError::Value { layer });
    }
    Ok(())
}

fn width_of(widths: &[Option<u16>; BUFFERS], buffer: u8, layer: usize) -> Result<u16, ShapeError> {
    widths.get(usize::from(buffer)).copied().flatten().ok_or(ShapeError::Buffer { layer, buffer })
}

pub(super) fn check_width(expected: u16, found: u16, layer: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError::Width { layer, expected, found }) }
}

/// Checks the ranges of a layer with `fan_in` weights per output.
pub(super) fn check_affine(
    affine: &Affine<'_>,
    fan_in: usize,
    layer: usize,
) -> Result<(), ShapeError> {
    let sound =
        affine.outputs > 0 && (1..=1 << 15).contains(&fan_in) && in_range(affine.bias_scales);
    if sound { Ok(()) } else { Err(ShapeError::Value { layer }) }
}

/// Returns whether every bias is in −2³⁰ … 2³⁰ − 1 and no multiplier is negative.
fn in_range(bias_scales: &[BiasScale]) -> bool {
    // In range, bits 30 and 31 of a bias are equal, and bit 31 of a multiplier is 0.
    let stray = |bits: i32, &[[a, b, c, d], [i, j, k, l]]: &BiasScale| {
        let biases = (a ^ a << 1) | (b ^ b << 1) | (c ^ c << 1) | (d ^ d << 1);
        bits | biases | i | j | k | l
    };
    bias_scales.iter().fold(0, stray) >= 0
}
