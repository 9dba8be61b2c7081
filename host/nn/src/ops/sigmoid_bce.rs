//! Weighted binary cross-entropy of independent detectors, from logits, with a focal exponent.
//!
//! `loss = 1/normalizer · Σ w · (t · f(x) + (1 - t) · f(-x))`, with
//! `f(u) = σ(-u)^γ · ln(1 + e^-u)`: the cross-entropy `-ln σ(u)`, damped where the prediction is
//! already right (Lin et al. 2017, section 3). `γ = 0` is plain cross-entropy. Gradient of a term:
//! `f'(u) = -σ(-u)^γ · (σ(-u) + γ · σ(u) · ln(1 + e^-u))`.
//! Shapes: `logits`, `targets`, `weights` equal and of any shape, loss scalar.
//!
//! This is a custom operation because a stable composition takes many passes over mostly missing
//! labels (`w = 0`). This one takes a single pass and skips blocks of missing labels.

use candle_core::{Result, Tensor, bail};

use super::{
    Reader, expect_shape,
    math::{exp, softplus},
    stored_gradient::scalar_loss,
};
use wakeling_core::simd;

/// Computes `1/normalizer · Σ w · (t · f(x) + (1 - t) · f(-x))`, `f(u) = -σ(-u)^γ · ln σ(u)`.
///
/// `targets` in [0, 1] and `weights` have the shape of `logits` and get no gradient; weight 0 marks
/// a missing label, whatever its target. `gamma >= 0` is the focal exponent, 0 for none.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wakeling_nn::ops::sigmoid_bce::sigmoid_bce;
///
/// let tensor = |values: [f32; 3]| Tensor::new(&values, &Device::Cpu);
/// let (logits, targets) = (tensor([0.0, 3.0, -9.0])?, tensor([1.0, 1.0, 1.0])?);
/// let known = tensor([1.0, 1.0, 0.0])?; // the third label is "?"
/// let loss = sigmoid_bce(&logits, &targets, &known, 2.0, 0.0)?.to_scalar::<f32>()?;
/// assert!((loss - (2f32.ln() + (-3f32).exp().ln_1p()) / 2.0).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes disagree, `normalizer` is not positive, `gamma` is negative, or a tensor is not f32
/// on the CPU.
pub fn sigmoid_bce(
    logits: &Tensor,
    targets: &Tensor,
    weights: &Tensor,
    normalizer: f64,
    gamma: f32,
) -> Result<Tensor> {
    expect_shape("sigmoid bce targets", targets, logits.dims())?;
    expect_shape("sigmoid bce weights", weights, logits.dims())?;
    if normalizer.is_nan() || normalizer <= 0.0 || gamma.is_nan() || gamma < 0.0 {
        bail!("sigmoid bce: normalizer {normalizer} or gamma {gamma} is out of range")
    }
    let (logits, targets, weights) =
        (logits.contiguous()?, targets.contiguous()?, weights.contiguous()?);
    let mut gradient = vec![0.0; logits.elem_count()];
    let total = {
        let (x, t, w) = (Reader::new(&logits), Reader::new(&targets), Reader::new(&weights));
        let terms = Terms { targets: t.values()?, weights: w.values()?, gamma };
        add_terms(terms, x.values()?, (1.0 / normalizer) as f32, &mut gradient)
    };
    scalar_loss("sigmoid_bce", &logits, total / normalizer, Some(gradient))
}

/// Targets and weights of the logits.
#[derive(Clone, Copy)]
struct Terms<'a> {
    targets: &'a [f32],
    weights: &'a [f32],
    gamma: f32,
}

/// Number of terms summed in f32 before they are added in f64.
const BLOCK: usize = 64;

simd! {
    /// Returns `Σ w · (t · f(x) + (1 - t) · f(-x))`; `gradient` is `factor` times its gradient.
    fn add_terms(terms: Terms<'_>, x: &[f32], factor: f32, gradient: &mut [f32]) -> f64 {
        let labels = terms.targets.chunks(BLOCK).zip(terms.weights.chunks(BLOCK));
        let mut total = 0.0f64;
        for ((gradient, x), (targets, weights)) in
            gradient.chunks_mut(BLOCK).zip(x.chunks(BLOCK)).zip(labels)
        {
            if weights.iter().all(|&w| w == 0.0) {
                continue;
            }
            let mut losses = [0.0f32; BLOCK];
            let labels = targets.iter().zip(weights);
            for (((loss, g), &x), (&t, &w)) in
                losses.iter_mut().zip(gradient).zip(x).zip(labels)
            {
                let (yes, yes_slope) = focal(x, terms.gamma);
                let (no, no_slope) = focal(-x, terms.gamma);
                let missing = w == 0.0;
                *loss = if missing { 0.0 } else { w * (t * yes + (1.0 - t) * no) };
                let slope = t * yes_slope - (1.0 - t) * no_slope;
                *g = if missing { 0.0 } else { factor * w * slope };
            }
            total += f64::from(losses.iter().sum::<f32>());
        }
        total
    }
}

/// Returns `f(u) = σ(-u)^γ · ln(1 + e^-u)` and its slope.
#[inline(always)]
fn focal(u: f32, gamma: f32) -> (f32, f32) {
    let nats = softplus(-u);
    // ln σ(-u) = -ln(1 + e^u) is computed from u itself, which is exact for large u.
    let log_wrong = -softplus(u);
    let (right, wrong) = (exp(-nats), exp(log_wrong));
    let damping = exp(gamma * log_wrong);
    (damping * nats, -damping * (wrong + gamma * right * nats))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, assert_same, check, random};
    use super::*;
    use candle_core::{Device, Var};

    fn reference(x: &[f64], targets: &[f32], weights: &[f32], gamma: f64) -> f64 {
        let term = |u: f64| (1.0 / (1.0 + u.exp())).powf(gamma) * (-u).exp().ln_1p();
        x.iter().zip(targets).zip(weights).fold(0.0, |sum, ((&x, &t), &w)| {
            let t = f64::from(t);
            sum + f64::from(w) * (t * term(x) + (1.0 - t) * term(-x))
        })
    }

    #[test]
    fn value_and_gradient_match_the_formula() {
        for (seed, shape) in [vec![1], vec![3, 5, 7], vec![2, 67]].into_iter().enumerate() {
            let logits = Input::new(&shape, seed as u64).map(|v| 9.0 * v);
            let count = logits.values.len();
            let targets: Vec<f32> = (0..count).map(|i| [1.0, 0.0, 0.0, 0.3][i * 7 % 4]).collect();
            let weights: Vec<f32> =
                random(count, 50).iter().map(|w| if *w < -0.3 { 0.0 } else { w.abs() }).collect();
            let tensor =
                |v: &[f32]| Tensor::from_vec(v.to_vec(), shape.clone(), &Device::Cpu).unwrap();
            let (t, w) = (tensor(&targets), tensor(&weights));
            for gamma in [0.0, 1.0, 2.5] {
                check(
                    std::slice::from_ref(&logits),
                    |x| sigmoid_bce(&x[0], &t, &w, 7.0, gamma),
                    |x| vec![reference(&x[0], &targets, &weights, f64::from(gamma)) / 7.0],
                );
            }
        }
    }

    #[test]
    fn loss_and_gradient_are_those_of_candle() -> Result<()> {
        let logits = Var::from_vec(random(24, 5), (4, 6), &Device::Cpu)?.affine(4.0, 0.0)?;
        let logits = Var::from_tensor(&logits.detach())?;
        let targets: Vec<f32> = (0..24).map(|i| f32::from(u8::from(i % 5 < 2))).collect();
        let targets = Tensor::from_vec(targets, (4, 6), &Device::Cpu)?;
        // Candle's is the mean over all elements, all of weight 1.
        let losses = [
            sigmoid_bce(&logits, &targets, &targets.ones_like()?, 24.0, 0.0)?,
            candle_nn::loss::binary_cross_entropy_with_logit(&logits, &targets)?,
        ];
        assert_same(&logits, losses)
    }

    #[test]
    fn extreme_logits_stay_finite_and_missing_labels_weigh_nothing() -> Result<()> {
        let x = Var::from_vec(vec![1e4f32, -1e4, 200.0, f32::NAN], 4, &Device::Cpu)?;
        let t = Tensor::new(&[0f32, 0.0, 1.0, 1.0], &Device::Cpu)?;
        let w = Tensor::new(&[1f32, 1.0, 1.0, 0.0], &Device::Cpu)?;
        let loss = sigmoid_bce(&x, &t, &w, 1.0, 0.0)?;
        assert!((loss.to_scalar::<f32>()? - 1e4).abs() < 1e-2);
        let gradient = loss.backward()?.get(&x).expect("dx").to_vec1::<f32>()?;
        let expected = [1.0, 0.0, 0.0, 0.0];
        assert!(gradient.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-6), "{gradient:?}");
        Ok(())
    }
}
