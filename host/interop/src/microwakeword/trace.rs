//! Follows the layers of one keyword, and finds a scale for each activation.
//!
//! A model names buffers, which later layers overwrite. Here each result is a value of its own. A
//! model file has no scales, only the multipliers between them. TensorFlow Lite has scales only, so
//! they are chosen such that its multipliers become those of the model.

use wakeling_shared::model::{Affine, BUFFERS, Head, Layer, Model, Op};

use super::{INPUT_SCALE, INPUT_ZERO};
use crate::ExportError;

/// Result of this module.
type Result<T, E = ExportError> = std::result::Result<T, E>;

/// Scale of an activation that no sum determines.
const FREE_SCALE: f32 = 1.0 / 16.0;
/// Fractional bits of the scales of a sum.
const SUM_BITS: f64 = (1u32 << 20) as f64;
/// Largest relative error of a scale that two sums determine.
const SCALE_TOLERANCE: f64 = 1e-5;

/// Result of a layer, or the features.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// Number of channels.
    pub width: usize,
    /// Zero point.
    pub zero: i8,
    /// Value of one step.
    pub scale: f32,
}

/// Layer with the numbers of the values that it reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Node<'m, 'a> {
    /// Index in the model's list of layers.
    pub layer: usize,
    /// The operation.
    pub op: &'m Op<'a>,
    /// Value that it reads.
    pub input: usize,
    /// Second value of a sum.
    pub other: Option<usize>,
    /// Value that it writes.
    pub output: usize,
}

/// Layers of one keyword, in the order in which they run.
#[derive(Clone, Debug)]
pub struct Trace<'m, 'a> {
    /// The values; the first are the features.
    pub values: Vec<Value>,
    /// The layers.
    pub nodes: Vec<Node<'m, 'a>>,
    /// Value from which the logit is computed.
    pub logits_input: usize,
    /// Layer of the logits.
    pub logits: &'m Affine<'a>,
    /// Output of that layer that belongs to the keyword.
    pub logit: usize,
}

/// Value while its scale may still be open.
#[derive(Clone, Copy)]
struct Open {
    width: usize,
    zero: i8,
    scale: Option<f32>,
}

impl Open {
    /// Returns the scale, and fixes it if it was open.
    fn fixed(&mut self) -> f64 {
        f64::from(*self.scale.get_or_insert(FREE_SCALE))
    }
}

impl<'m, 'a> Trace<'m, 'a> {
    /// Follows the layers of the keyword with this index.
    ///
    /// # Errors
    /// [`ExportError::Layer`] if a layer has no counterpart.
    pub fn of(model: &'m Model<'a>, keyword: usize) -> Result<Self> {
        let (head, first, logit) = head_of(model, keyword)
            .ok_or(ExportError::Invalid("a keyword without a head in a checked model"))?;
        let backbone = model.layers.iter().enumerate().take(model.backbone_layers.into());
        let own = model.layers.iter().enumerate().skip(first).take(head.layers.into());
        let features =
            Open { width: model.step_width().into(), zero: INPUT_ZERO, scale: Some(INPUT_SCALE) };
        let mut buffers = [None; BUFFERS];
        buffers[0] = Some(0);
        let (mut open, mut nodes) = (vec![features], Vec::new());
        for (index, layer) in backbone.chain(own) {
            nodes.push(node(index, layer, &mut buffers, &mut open)?);
        }
        let logits_input = buffers.get(usize::from(head.input)).copied().flatten();
        let close = |value: &Open| Value {
            width: value.width,
            zero: value.zero,
            scale: value.scale.unwrap_or(FREE_SCALE),
        };
        Ok(Self {
            values: open.iter().map(close).collect(),
            nodes,
            logits_input: logits_input.ok_or_else(unwritten)?,
            logits: &head.logits,
            logit,
        })
    }
}

/// Returns the head of a keyword, the index of its first layer, and its output for the keyword.
fn head_of<'m, 'a>(model: &'m Model<'a>, keyword: usize) -> Option<(&'m Head<'a>, usize, usize)> {
    let (mut layer, mut logit) = (usize::from(model.backbone_layers), keyword);
    for head in &model.heads {
        let outputs = usize::from(head.logits.outputs);
        if logit < outputs {
            return Some((head, layer, logit));
        }
        logit -= outputs;
        layer += usize::from(head.layers);
    }
    None
}

/// Error for a layer that only models have that were imported.
pub fn imported(layer: usize) -> ExportError {
    ExportError::Layer { layer, problem: "it was imported, and its network is in a file already" }
}

fn unwritten() -> ExportError {
    ExportError::Invalid("a layer of a checked model reads a buffer that none wrote")
}

/// Takes the values of a layer out of its buffers, and adds the one that it writes.
fn node<'m, 'a>(
    layer: usize,
    Layer { input, output, op }: &'m Layer<'a>,
    buffers: &mut [Option<usize>; BUFFERS],
    open: &mut Vec<Open>,
) -> Result<Node<'m, 'a>> {
    let value = |buffer: u8| buffers.get(usize::from(buffer)).copied().flatten();
    let input = value(*input).ok_or_else(unwritten)?;
    let (result, other) = match op {
        Op::Depthwise { affine, .. } | Op::Pointwise { affine } => {
            (Open { width: affine.outputs.into(), zero: affine.zero_point, scale: None }, None)
        }
        Op::Add { other, .. } => {
            let other = value(*other).ok_or_else(unwritten)?;
            (sum(layer, op, (input, other), open)?, Some(other))
        }
        Op::Window { .. }
        | Op::Table { .. }
        | Op::Join { .. }
        | Op::DepthwiseTflite { .. }
        | Op::PointwiseTflite { .. }
        | Op::AddTflite { .. } => return Err(imported(layer)),
    };
    open.push(result);
    let written = open.len() - 1;
    *buffers.get_mut(usize::from(*output)).ok_or_else(unwritten)? = Some(written);
    Ok(Node { layer, op, input, other, output: written })
}

/// Returns the result of a sum, whose ratios determine its scale and that of one addend.
fn sum(layer: usize, op: &Op<'_>, (x, o): (usize, usize), open: &mut [Open]) -> Result<Open> {
    let &Op::Add { x_scale, o_scale, x_zero, o_zero, zero, .. } = op else {
        return Err(ExportError::Invalid("a layer that is no sum"));
    };
    let refused = |reason| Err(ExportError::Layer { layer, problem: reason });
    if x_scale <= 0 || o_scale <= 0 {
        return refused("it adds a value of scale 0");
    }
    if open[x].zero != x_zero || open[o].zero != o_zero {
        return refused("its zero points are not those of its inputs");
    }
    // An addend whose scale is fixed determines the sum's, which determines the other addend's.
    let addends = [(x, x_scale), (o, o_scale)];
    let is_first_fixed = open[x].scale.is_some() && open[o].scale.is_none();
    let [(known, ratio), (other, other_ratio)] =
        if is_first_fixed { addends } else { [addends[1], addends[0]] };
    let scale = (open[known].fixed() * SUM_BITS / f64::from(ratio)) as f32;
    let needed = f64::from(scale) * f64::from(other_ratio) / SUM_BITS;
    match open[other].scale {
        None => open[other].scale = Some(needed as f32),
        Some(found) if (f64::from(found) / needed - 1.0).abs() <= SCALE_TOLERANCE => {}
        Some(_) => return refused("two sums need different scales of one value"),
    }
    Ok(Open { width: open[x].width, zero, scale: Some(scale) })
}
