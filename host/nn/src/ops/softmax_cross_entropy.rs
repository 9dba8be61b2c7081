//! Cross-entropy of a softmax over classes, one target class per row.
//!
//! `loss = Σₙ wₙ · (ln Σᵥ e^logits[n, v] - logits[n, targetₙ]) / Σₙ wₙ`; gradient
//! `wₙ / Σ w · (softmax[n, v] - 1{v = targetₙ})`.
//! Shapes: `logits [N, V]`, targets and weights `N` values, loss scalar.
//!
//! This is a custom operation because candle's log-softmax and gather take several passes in each
//! direction; this one takes a single pass.

use candle_core::{Result, Tensor, bail};

use super::{
    Reader,
    math::{add_scaled, exp_shifted, max},
    stored_gradient::scalar_loss,
};

/// Computes the weighted mean over rows of `-ln softmax(logits[n])[targets[n]]`, in nats.
///
/// `logits [N, V]`, `targets` `N` classes below `V`, `weights` `N` values (all 1 if absent). Rows
/// of weight 0 are left out, and their targets are not read. If all weights are 0 the loss is 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wakeling_nn::ops::softmax_cross_entropy::softmax_cross_entropy;
///
/// let logits = Tensor::new(&[[2f32, 2.0], [0.0, 50.0]], &Device::Cpu)?;
/// let loss = softmax_cross_entropy(&logits, &[0, 1], None)?.to_scalar::<f32>()?;
/// assert!((loss - 2f32.ln() / 2.0).abs() < 1e-6); // the first row is undecided
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If lengths disagree, a target is no class, the weights sum to less than 0, or the logits are not
/// f32 on the CPU.
pub fn softmax_cross_entropy(
    logits: &Tensor,
    targets: &[u32],
    weights: Option<&[f32]>,
) -> Result<Tensor> {
    let (rows, classes) = logits.dims2()?;
    if targets.len() != rows || weights.is_some_and(|w| w.len() != rows) {
        bail!(
            "softmax cross-entropy: expected {rows} targets and weights, found {} and {:?}",
            targets.len(),
            weights.map(<[f32]>::len)
        )
    }
    let weight = |n: usize| weights.map_or(1.0, |w| w[n]);
    let total: f64 = (0..rows).map(|n| f64::from(weight(n))).sum();
    if total.is_nan() || total < 0.0 {
        bail!("softmax cross-entropy: expected weights of positive sum, found {total}")
    }
    let logits = logits.contiguous()?;
    let mut gradient = vec![0.0; logits.elem_count()];
    let mut scratch = vec![0.0; classes];
    let mut loss = 0.0f64;
    {
        let values = Reader::new(&logits);
        let values = values.values()?;
        for (n, &target) in targets.iter().enumerate().filter(|&(n, _)| weight(n) != 0.0) {
            let target = target as usize;
            if target >= classes {
                bail!("softmax cross-entropy: expected a target below {classes}, found {target}")
            }
            let factor = f64::from(weight(n)) / total;
            let row = &values[n * classes..][..classes];
            let largest = max(row);
            let sum = exp_shifted(row, largest, &mut scratch);
            loss += factor * f64::from(largest - row[target] + sum.ln());
            let gradient = &mut gradient[n * classes..][..classes];
            add_scaled(gradient, factor as f32 / sum, &scratch);
            gradient[target] -= factor as f32;
        }
    }
    scalar_loss("softmax_cross_entropy", &logits, loss, Some(gradient))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, assert_same, check};
    use super::*;

    fn reference(logits: &[f64], targets: &[u32], weights: &[f32]) -> Vec<f64> {
        let classes = logits.len() / targets.len();
        let mut loss = 0.0;
        for ((row, &target), &w) in logits.chunks(classes).zip(targets).zip(weights) {
            let sum: f64 = row.iter().map(|v| v.exp()).sum();
            loss -= f64::from(w) * (row[target as usize].exp() / sum).ln();
        }
        vec![loss / weights.iter().map(|&w| f64::from(w)).sum::<f64>()]
    }

    #[test]
    fn value_and_gradient_match_the_formula() {
        for (seed, (rows, classes)) in
            [(1, 1), (1, 2), (7, 3), (5, 67), (3, 130)].into_iter().enumerate()
        {
            let logits = Input::new(&[rows, classes], seed as u64).map(|v| 4.0 * v);
            let targets: Vec<u32> = (0..rows).map(|n| ((n * 31 + 7) % classes) as u32).collect();
            let weights: Vec<f32> = (0..rows).map(|n| ((n + 1) % 4) as f32 * 0.7).collect();
            let even = vec![1.0; rows];
            check(
                std::slice::from_ref(&logits),
                |t| softmax_cross_entropy(&t[0], &targets, None),
                |v| reference(&v[0], &targets, &even),
            );
            check(
                &[logits],
                |t| softmax_cross_entropy(&t[0], &targets, Some(&weights)),
                |v| reference(&v[0], &targets, &weights),
            );
        }
    }

    #[test]
    fn loss_and_gradient_are_those_of_candle() -> Result<()> {
        let logits = Input::new(&[6, 9], 4).map(|v| 6.0 * v);
        let logits = candle_core::Var::from_vec(logits.values, (6, 9), &candle_core::Device::Cpu)?;
        let targets = [0u32, 8, 3, 3, 7, 1];
        let candle = Tensor::new(&targets, logits.device())?;
        let losses = [
            softmax_cross_entropy(&logits, &targets, None)?,
            candle_nn::loss::cross_entropy(&logits, &candle)?,
        ];
        assert_same(&logits, losses)
    }

    #[test]
    fn a_target_that_is_no_class_is_refused_unless_it_weighs_nothing() -> Result<()> {
        let logits = Tensor::zeros((2, 3), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        assert!(softmax_cross_entropy(&logits, &[0, 3], None).is_err());
        assert!(softmax_cross_entropy(&logits, &[0], None).is_err());
        let loss = softmax_cross_entropy(&logits, &[0, 3], Some(&[1.0, 0.0]))?;
        assert!((loss.to_scalar::<f32>()? - 3.0f32.ln()).abs() < 1e-6);
        let none = softmax_cross_entropy(&logits, &[9, 9], Some(&[0.0, 0.0]))?;
        assert_eq!(none.to_scalar::<f32>()?, 0.0);
        Ok(())
    }
}
