//! Fake quantization to int8 with a straight-through gradient, for quantization-aware training.
//!
//! `q = clip(round(x / scale) + zero_point, -128, 127)`, `y = scale · (q - zero_point)`; the
//! gradient passes unchanged where nothing was clipped and is 0 elsewhere (Jacob et al. 2018,
//! section 3). Shapes: any, `y` as `x`.
//!
//! Custom because candle's `round` has no gradient and a composition takes several passes.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{Reader, values};
use crate::simd::simd;

/// Rounds `x` to the int8 grid: `scale · (clip(round(x / scale) + zero_point, -128, 127) - zero_point)`.
///
/// Ties round away from zero. `scale > 0` and finite, `zero_point` in [-128, 127].
///
/// # Errors
/// If `scale` or `zero_point` is out of range, or `x` is not f32 on the CPU.
pub fn fake_quantize(x: &Tensor, scale: f32, zero_point: i32) -> Result<Tensor> {
    if !(scale.is_normal() && scale > 0.0 && (-128..=127).contains(&zero_point)) {
        bail!("fake_quantize: scale {scale}, zero point {zero_point} are no int8 grid")
    }
    let zero_point = zero_point as f32;
    let grid = Grid { scale, lowest: -128.0 - zero_point, highest: 127.0 - zero_point };
    x.contiguous()?.apply_op1(grid)
}

/// The int8 grid relative to its zero point: bounds are in steps of `scale`.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    lowest: f32,
    highest: f32,
}

impl CustomOp1 for Grid {
    fn name(&self) -> &'static str {
        "fake_quantize"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut y = vec![0.0; x.len()];
        quantize(*self, x, &mut y);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        pass(*self, Reader::new(x).values()?, Reader::new(&dy).values()?, &mut dx);
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

simd! {
    fn quantize(grid: Grid, x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = grid.scale * (x / grid.scale).round().clamp(grid.lowest, grid.highest);
        }
    }

    fn pass(grid: Grid, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            let step = (x / grid.scale).round();
            *dx = if step >= grid.lowest && step <= grid.highest { dy } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::random;
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn value_and_straight_through_gradient_match_the_formula() -> Result<()> {
        for (count, scale, zero_point) in [(1, 0.5, 0), (77, 0.01, -128), (130, 0.007, 5)] {
            let values: Vec<f32> = random(count, 3).iter().map(|v| 2.0 * v).collect();
            let upstream = random(count, 4);
            let x = Var::from_vec(values.clone(), count, &Device::Cpu)?;
            let y = fake_quantize(&x, scale, zero_point)?;
            let weights = Tensor::from_vec(upstream.clone(), count, &Device::Cpu)?;
            let grads = y.mul(&weights)?.sum_all()?.backward()?;
            let (y, dx) = (y.to_vec1::<f32>()?, grads.get(&x).expect("dx").to_vec1::<f32>()?);
            for i in 0..count {
                let q = f64::from(values[i] / scale).round() + f64::from(zero_point);
                let expected = f64::from(scale) * (q.clamp(-128.0, 127.0) - f64::from(zero_point));
                assert!((f64::from(y[i]) - expected).abs() < 1e-6);
                let inside = (-128.0..=127.0).contains(&q);
                assert_eq!(dx[i], if inside { upstream[i] } else { 0.0 });
            }
        }
        Ok(())
    }

    #[test]
    fn grids_that_int8_cannot_hold_are_refused() -> Result<()> {
        let x = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu)?;
        assert!(fake_quantize(&x, 0.0, 0).is_err());
        assert!(fake_quantize(&x, f32::NAN, 0).is_err());
        assert!(fake_quantize(&x, 1.0, 128).is_err());
        Ok(())
    }
}
