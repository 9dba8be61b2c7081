//! Residual sum and ReLU in one pass.
//!
//! `y = max(a + b, 0)`; gradient of both: `dy` where `y > 0`, else 0. Shapes: all equal.
//!
//! This is a custom operation because candle's two operations and their gradients make seven passes
//! over the activations, a sixth of a training step.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::{Reader, composed, expect_shape, values};
use wakeling_core::simd;

/// Computes `max(a + b, 0)`.
///
/// # Errors
/// If the shapes differ, or the arguments are not f32 on one device.
pub fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    expect_shape("residual", b, a.dims())?;
    if !a.device().is_cpu() {
        return composed::add_relu(a, b);
    }
    a.contiguous()?.apply_op2(&b.contiguous()?, AddRelu)
}

struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add_relu"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (values(a, a_layout)?, values(b, b_layout)?);
        let mut y = vec![0.0; a.len()];
        sum(a, b, &mut y);
        Ok((CpuStorage::F32(y), a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let mut dx = vec![0.0; y.elem_count()];
        pass(Reader::new(y).values()?, Reader::new(&dy).values()?, &mut dx);
        let dx = Tensor::from_vec(dx, y.shape(), y.device())?;
        Ok((Some(dx.clone()), Some(dx)))
    }
}

simd! {
    fn sum(a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = (a + b).max(0.0);
        }
    }

    fn pass(y: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = if y > 0.0 { dy } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check};
    use super::*;

    #[test]
    fn value_and_gradient_match_the_formula() {
        for shape in [vec![1, 1, 1], vec![2, 3, 37], vec![4, 64]] {
            let inputs = [Input::new(&shape, 1), Input::new(&shape, 2)];
            check(
                &inputs,
                |x| add_relu(&x[0], &x[1]),
                |x| x[0].iter().zip(&x[1]).map(|(a, b)| (a + b).max(0.0)).collect(),
            );
        }
    }

    #[test]
    fn other_shapes_are_refused() -> Result<()> {
        let zeros = |n: usize| Tensor::zeros(n, candle_core::DType::F32, &candle_core::Device::Cpu);
        assert!(add_relu(&zeros(3)?, &zeros(4)?).is_err());
        Ok(())
    }
}
