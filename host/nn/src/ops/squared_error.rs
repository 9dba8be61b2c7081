//! Weighted mean squared error of a regression whose rows may lack a target.
//!
//! `loss = 1/(D · max(1, Σ w)) · Σ_rows w · Σ_d (x - t)²`. Gradient: `2 · w · (x - t)` over the
//! same divisor.
//! Shapes: `x`, `t` `[.., D]`, `w` one value per row of `D` values, loss scalar.
//!
//! This is a custom operation because candle composes it in six passes and sums over spinning
//! threads. This one takes a single pass and skips rows of weight 0.

use candle_core::{Result, Tensor, bail};

use super::{Reader, expect_shape, stored_gradient::scalar_loss};
use wakeling_core::simd;

/// Computes `1/(D · max(1, Σ w)) · Σ_rows w · Σ_d (x - t)²`.
///
/// `targets` has the shape of `x`. Neither `targets` nor `weights` gets a gradient. Weight 0 marks
/// a row without a target; its values are ignored.
///
/// # Errors
/// If the shapes disagree, `x` has no last axis, a weight is negative or not finite, or a tensor is
/// not f32 on the CPU.
pub fn squared_error(x: &Tensor, targets: &Tensor, weights: &[f32]) -> Result<Tensor> {
    expect_shape("squared error targets", targets, x.dims())?;
    let width = x.dims().last().copied().unwrap_or(0);
    if width == 0 || weights.len() * width != x.elem_count() {
        bail!("squared error: {} weights for rows of {:?}", weights.len(), x.dims())
    }
    if weights.iter().any(|w| !w.is_finite() || *w < 0.0) {
        bail!("squared error: weights must be finite and not negative")
    }
    let (x, targets) = (x.contiguous()?, targets.contiguous()?);
    let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let divisor = width as f64 * sum.max(1.0);
    let mut gradient = vec![0.0; x.elem_count()];
    let total = {
        let (x, t) = (Reader::new(&x), Reader::new(&targets));
        let rows = x.values()?.chunks_exact(width).zip(t.values()?.chunks_exact(width));
        let mut total = 0.0;
        for ((gradient, (x, t)), &w) in gradient.chunks_exact_mut(width).zip(rows).zip(weights) {
            if w > 0.0 {
                total +=
                    f64::from(w) * f64::from(add_row(x, t, 2.0 * w / divisor as f32, gradient));
            }
        }
        total
    };
    scalar_loss("squared_error", &x, total / divisor, Some(gradient))
}

simd! {
    /// Returns `Σ (x - t)²`; `gradient` becomes `factor · (x - t)`.
    fn add_row(x: &[f32], t: &[f32], factor: f32, gradient: &mut [f32]) -> f32 {
        let mut sum = 0.0;
        for ((g, &x), &t) in gradient.iter_mut().zip(x).zip(t) {
            let difference = x - t;
            sum += difference * difference;
            *g = factor * difference;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, assert_same, check, random};
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn value_and_gradient_match_the_formula() {
        for (seed, shape) in [vec![1, 1], vec![3, 5, 7], vec![2, 33]].into_iter().enumerate() {
            let x = Input::new(&shape, seed as u64);
            let (count, width) = (x.values.len(), *shape.last().unwrap());
            let t: Vec<f32> = random(count, 40);
            let weights: Vec<f32> =
                (0..count / width).map(|i| [1.0, 0.0, 0.5, 2.0][i * 3 % 4]).collect();
            let targets = Tensor::from_vec(t.clone(), shape.clone(), &Device::Cpu).unwrap();
            let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            check(
                std::slice::from_ref(&x),
                |x| squared_error(&x[0], &targets, &weights),
                |x| {
                    let terms = x[0].iter().zip(&t).enumerate();
                    let total: f64 = terms
                        .map(|(i, (x, t))| {
                            f64::from(weights[i / width]) * (x - f64::from(*t)).powi(2)
                        })
                        .sum();
                    vec![total / (width as f64 * sum.max(1.0))]
                },
            );
        }
    }

    #[test]
    fn loss_and_gradient_are_those_of_candle() -> Result<()> {
        let x = Var::from_vec(random(35, 6), (5, 7), &Device::Cpu)?;
        let targets = Tensor::from_vec(random(35, 7), (5, 7), &Device::Cpu)?;
        let losses = [squared_error(&x, &targets, &[1.0; 5])?, candle_nn::loss::mse(&x, &targets)?];
        assert_same(&x, losses)
    }

    #[test]
    fn rows_without_a_target_weigh_nothing_and_bad_shapes_are_refused() -> Result<()> {
        let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
        let t = Tensor::new(&[[1f32, 0.0], [f32::NAN, f32::NAN]], &Device::Cpu)?;
        assert_eq!(squared_error(&x, &t, &[1.0, 0.0])?.to_scalar::<f32>()?, 2.0);
        assert!(squared_error(&x, &t, &[1.0]).is_err());
        assert!(squared_error(&x, &t, &[1.0, -1.0]).is_err());
        Ok(())
    }
}
