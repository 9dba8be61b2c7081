//! Sizes that follow from a model's layers alone: widths, rings, multiply-accumulates.
//!
//! Both the validator and the engine use them.

use super::types::{Affine, Model, Op, TfliteAffine};
use crate::frontend::MEL_CHANNELS;

impl Op<'_> {
    /// Number of bytes of history that the layer keeps: `(taps − 1) · dilation` columns.
    pub(crate) fn ring_bytes(&self) -> usize {
        match self {
            Op::Depthwise { taps, dilation, affine, .. }
            | Op::DepthwiseTflite { taps, dilation, affine: TfliteAffine { affine, .. }, .. } => {
                (usize::from(*taps) - 1) * usize::from(*dilation) * usize::from(affine.inputs)
            }
            Op::Window { history, .. } => usize::from(*history),
            Op::Pointwise { .. }
            | Op::Add { .. }
            | Op::Table { .. }
            | Op::Join { .. }
            | Op::PointwiseTflite { .. }
            | Op::AddTflite { .. } => 0,
        }
    }

    /// Value of the history before the first column.
    pub(crate) fn input_zero(&self) -> i8 {
        match self {
            Op::Depthwise { input_zero, .. }
            | Op::DepthwiseTflite { input_zero, .. }
            | Op::Window { input_zero, .. } => *input_zero,
            _ => 0,
        }
    }

    /// Number of channels that the layer writes; `None` where it keeps those of its input.
    pub(crate) fn outputs(&self) -> Option<usize> {
        match self {
            Op::Window { outputs, .. } | Op::Join { outputs, .. } => Some(usize::from(*outputs)),
            _ => self.affine().map(|affine| usize::from(affine.outputs)),
        }
    }
}

impl Model<'_> {
    /// Number of features in the input column of one step.
    pub fn step_width(&self) -> u16 {
        u16::from(self.frames_per_step) * MEL_CHANNELS as u16
    }

    /// Index of the buffer that holds the output of the backbone.
    pub fn backbone_output(&self) -> u8 {
        let last = usize::from(self.backbone_layers).saturating_sub(1);
        self.layers.get(last).map_or(0, |l| l.output)
    }

    /// Number of channels that a head reads from the backbone.
    pub fn backbone_width(&self) -> usize {
        let backbone = self.layers.iter().take(usize::from(self.backbone_layers));
        backbone.filter_map(|l| l.op.outputs()).next_back().unwrap_or(0)
    }

    /// Number of channels of the widest activation.
    pub(crate) fn buffer_width(&self) -> usize {
        let widest = self.layers.iter().filter_map(|l| l.op.outputs()).max().unwrap_or(0);
        widest.max(usize::from(self.step_width()))
    }

    /// Number of multiply-accumulates of one step, with every head, if no layer has a stride.
    pub fn step_macs(&self) -> usize {
        let dense = |a: &Affine<'_>| usize::from(a.inputs) * usize::from(a.outputs);
        let layers = self.layers.iter().map(|l| match &l.op {
            Op::Depthwise { affine, taps, .. }
            | Op::DepthwiseTflite { affine: TfliteAffine { affine, .. }, taps, .. } => {
                usize::from(*taps) * usize::from(affine.outputs)
            }
            Op::Pointwise { affine }
            | Op::PointwiseTflite { affine: TfliteAffine { affine, .. } } => dense(affine),
            Op::Add { .. }
            | Op::Window { .. }
            | Op::Table { .. }
            | Op::Join { .. }
            | Op::AddTflite { .. } => 0,
        });
        layers.chain(self.heads.iter().map(|h| dense(&h.logits))).sum()
    }
}
