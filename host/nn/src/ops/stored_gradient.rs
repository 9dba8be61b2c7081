//! Scalar loss whose gradient is computed in the forward pass.
//!
//! A loss over logits computes nearly all of its gradient with its value. The gradient is therefore
//! kept, and the backward pass only multiplies it by the incoming gradient.
//! Shapes: logits of any shape, loss scalar.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

struct StoredGradient {
    name: &'static str,
    loss: f32,
    gradient: Tensor,
}

/// Returns the scalar `loss`, whose gradient with respect to `logits` is `gradient` (same element
/// count).
///
/// Without `gradient`, or if `logits` needs none, the result is a constant.
pub(super) fn scalar_loss(
    name: &'static str,
    logits: &Tensor,
    loss: f64,
    gradient: Option<Vec<f32>>,
) -> Result<Tensor> {
    let loss = loss as f32;
    match gradient {
        Some(gradient) if logits.track_op() => {
            let gradient = Tensor::from_vec(gradient, logits.shape(), logits.device())?;
            logits.apply_op1(StoredGradient { name, loss, gradient })
        }
        _ => Tensor::new(loss, logits.device()),
    }
}

impl CustomOp1 for StoredGradient {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.loss]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<Option<Tensor>> {
        let upstream = upstream.to_scalar::<f32>()?;
        if upstream == 1.0 {
            return Ok(Some(self.gradient.clone()));
        }
        self.gradient.affine(f64::from(upstream), 0.0).map(Some)
    }
}
