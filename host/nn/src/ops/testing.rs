//! Checks of an operation's value and gradient against a transcribed formula in f64.
//!
//! The operation runs in f32 on candle; the formula runs in f64. Its central finite differences are
//! the reference for every gradient. Inputs are random and never constant.

use candle_core::{Device, Result, Tensor, Var};

/// Step of the central differences. The truncation error is of the order of its square, 1e-10.
const STEP: f64 = 1e-5;
/// Allowed error, absolute and relative, of an f32 operation.
const TOLERANCE: f64 = 2e-4;

/// Returns uniform values in [-1, 1), by xorshift64* from a seed.
pub(crate) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..8).for_each(|_| {
        next();
    });
    (0..count).map(|_| next()).collect()
}

/// Differentiable argument of an operation.
#[derive(Clone)]
pub(super) struct Input {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Input {
    pub(super) fn new(shape: &[usize], seed: u64) -> Self {
        Self { shape: shape.to_vec(), values: random(shape.iter().product(), seed) }
    }

    pub(super) fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.values.iter_mut().for_each(|v| *v = f(*v));
        self
    }
}

fn assert_close(what: &str, found: f64, expected: f64, size: f64) {
    let allowed = TOLERANCE * (size + expected.abs());
    assert!((found - expected).abs() <= allowed, "{what}: found {found}, expected {expected}");
}

/// Compares `operation` with `formula` in value, and in the gradient of a random projection.
pub(super) fn check(
    inputs: &[Input],
    operation: impl Fn(&[Tensor]) -> Result<Tensor>,
    formula: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let vars: Vec<Var> = inputs
        .iter()
        .map(|i| Var::from_vec(i.values.clone(), i.shape.clone(), &Device::Cpu).unwrap())
        .collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let mut exact: Vec<Vec<f64>> =
        inputs.iter().map(|i| i.values.iter().map(|&v| f64::from(v)).collect()).collect();

    let y = operation(&tensors).unwrap();
    let expected = formula(&exact);
    let found = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    for (index, (&f, &e)) in found.iter().zip(&expected).enumerate() {
        assert_close(&format!("value {index}"), f64::from(f), e, 1.0);
    }

    let projection = random(expected.len(), 77);
    let weights = Tensor::from_vec(projection.clone(), y.shape(), &Device::Cpu).unwrap();
    let grads = y.mul(&weights).unwrap().sum_all().unwrap().backward().unwrap();
    let project = |values: &[Vec<f64>]| -> f64 {
        formula(values).iter().zip(&projection).map(|(&y, &p)| y * f64::from(p)).sum()
    };
    for (argument, var) in vars.iter().enumerate() {
        let found = grads.get(var).expect("a gradient").flatten_all().unwrap();
        for (index, f) in found.to_vec1::<f32>().unwrap().into_iter().enumerate() {
            let saved = exact[argument][index];
            exact[argument][index] = saved + STEP;
            let above = project(&exact);
            exact[argument][index] = saved - STEP;
            let below = project(&exact);
            exact[argument][index] = saved;
            let expected = (above - below) / (2.0 * STEP);
            assert_close(&format!("d/d{argument}[{index}]"), f64::from(f), expected, 0.5);
        }
    }
}

/// Compares two losses of the same logits, in value and gradient.
pub(super) fn assert_same(logits: &Var, [found, expected]: [Tensor; 2]) -> Result<()> {
    let value = |loss: &Tensor| Ok::<_, candle_core::Error>(f64::from(loss.to_scalar::<f32>()?));
    assert_close("loss", value(&found)?, value(&expected)?, 0.1);
    let gradient = |loss: &Tensor| -> Result<Vec<f32>> {
        loss.backward()?.get(logits).expect("a gradient").flatten_all()?.to_vec1()
    };
    for (found, expected) in gradient(&found)?.into_iter().zip(gradient(&expected)?) {
        assert_close("gradient", found.into(), expected.into(), 0.1);
    }
    Ok(())
}
