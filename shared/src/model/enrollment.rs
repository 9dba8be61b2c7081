//! Enrollment head of a model: the empty head that a device fills in.

use super::types::{Model, Op};

/// Largest number of channels of an enrollment head.
pub const ENROLLMENT_CHANNELS: usize = 96;
/// Largest number of its taps.
pub const ENROLLMENT_TAPS: usize = 8;
/// Limit of its taps times their dilation, in steps: less than 1.44 s where a step is 40 ms.
pub const ENROLLMENT_SPAN: usize = 36;

/// Enrollment head of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrollmentHead {
    /// Index of the head.
    pub head: usize,
    /// Index of its depthwise layer.
    pub layer: usize,
    /// Number of taps of that layer.
    pub taps: usize,
    /// Steps between taps.
    pub dilation: usize,
    /// Number of channels.
    pub channels: usize,
    /// Index of the buffer that the depthwise layer reads.
    pub column: u8,
}

impl Model<'_> {
    /// Finds the enrollment head: the last head with a pointwise and a depthwise layer, neither
    /// with a ReLU, and one logit.
    pub fn enrollment_head(&self) -> Option<EnrollmentHead> {
        let mut first = usize::from(self.backbone_layers);
        let mut found = None;
        for (i, head) in self.heads.iter().enumerate() {
            let count = usize::from(head.layers);
            let mut own = self.layers.iter().skip(first).take(count);
            if let (2, Some(white), Some(over_time)) = (count, own.next(), own.next())
                && let Op::Pointwise { affine: white_affine } = &white.op
                && let Op::Depthwise { taps, dilation, stride: 1, input_zero: 0, affine } =
                    &over_time.op
                && (white_affine.zero_point, affine.zero_point, head.logits.outputs) == (0, 0, 1)
                && usize::from(affine.outputs) <= ENROLLMENT_CHANNELS
                && usize::from(*taps) <= ENROLLMENT_TAPS
                && usize::from(*taps) * usize::from(*dilation) < ENROLLMENT_SPAN
            {
                found = Some(EnrollmentHead {
                    head: i,
                    layer: first + 1,
                    taps: (*taps).into(),
                    dilation: (*dilation).into(),
                    channels: affine.outputs.into(),
                    column: white.output,
                });
            }
            first += count;
        }
        found
    }
}
