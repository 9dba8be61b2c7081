//! Batch normalization over all axes but the last, fused with an optional ReLU.
//!
//! `y = relu(γ · x̂ + β)`, `x̂ = (x - μ) / √(σ² + ε)`, with mean `μ` and biased variance `σ²` of
//! each channel over its `N` rows (Ioffe & Szegedy 2015, algorithm 1). With `g = dy` where the ReLU
//! passed: `dβ = Σ g`, `dγ = Σ g · x̂`, `dx = γ / √(σ² + ε) · (g - dβ / N - x̂ · dγ / N)`.
//! Shapes: `x [.., C]`, `γ, β [C]`, `y [.., C]`.
//!
//! This is a custom operation because a composition of candle's operations takes many passes over
//! memory, some of them slow reductions over a non-last axis. This one takes two passes in each
//! direction.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{Reader, channels_of, composed, expect_shape, values};
use wakeling_core::simd;

/// Statistics of each channel over one batch, for the running averages.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Variance of each channel, biased: divided by the number of rows.
    pub variance: Vec<f32>,
    /// Number of rows over which the statistics were computed.
    pub rows: usize,
}

/// Normalizes each channel by the batch's own statistics: `relu(γ·(x - μ)/√(σ² + ε) + β)`.
///
/// `x [.., C]`, `gamma [C]`, `beta [C]`; without `relu` the clipping is left out. Gradients go
/// through mean and variance.
///
/// # Errors
/// If shapes disagree, there is no row, or the tensors are not f32 on one device.
pub fn batch_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    relu: bool,
) -> Result<(Tensor, Moments)> {
    let channels = channels_of("batch norm x", x)?;
    expect_shape("batch norm gamma", gamma, &[channels])?;
    expect_shape("batch norm beta", beta, &[channels])?;
    if x.elem_count() == 0 {
        bail!("batch norm: expected at least one row, found {:?}", x.dims())
    }
    let x = x.contiguous()?;
    if !x.device().is_cpu() {
        return composed::batch_norm(&x, gamma, beta, eps, relu);
    }
    let (op, moments) = Normalize::of_batch(Reader::new(&x).values()?, channels, eps, relu);
    Ok((x.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)?, moments))
}

/// Computes `relu(scale[c] · x[.., c] + shift[c])`: batch norm with frozen statistics.
///
/// `x [.., C]`, `scale [C]` (`γ / √(σ² + ε)`), `shift [C]` (`β - μ · scale`); without `relu` the
/// clipping is left out. All three have gradients.
///
/// # Errors
/// If shapes disagree or the tensors are not f32 on one device.
pub fn affine(x: &Tensor, scale: &Tensor, shift: &Tensor, relu: bool) -> Result<Tensor> {
    let channels = channels_of("affine x", x)?;
    expect_shape("affine scale", scale, &[channels])?;
    expect_shape("affine shift", shift, &[channels])?;
    if !x.device().is_cpu() {
        return composed::affine(x, scale, shift, relu);
    }
    let op = Normalize {
        mean: vec![0.0; channels],
        inverse_deviation: vec![1.0; channels],
        relu,
        frozen: true,
    };
    x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, op)
}

/// Computes mean and biased variance of each channel of `x [N, C]`, `N >= 1`.
fn moments(x: &[f32], channels: usize) -> Moments {
    let rows = x.len() / channels;
    let mut sums = vec![0.0f64; channels];
    let mut squares = vec![0.0f64; channels];
    add_moments(x, &mut sums, &mut squares);
    let count = rows as f64;
    let offsets: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let mean = offsets.iter().zip(x).map(|(o, &pivot)| (f64::from(pivot) + o) as f32).collect();
    let variance = squares.iter().zip(&offsets).map(|(q, o)| (q / count - o * o).max(0.0) as f32);
    Moments { mean, variance: variance.collect(), rows }
}

/// Operation `y = relu(γ · (x - mean) · inverse_deviation + β)`.
pub(super) struct Normalize {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    relu: bool,
    /// `true` if the statistics are constants; otherwise they depend on `x`, and its gradient
    /// includes them.
    frozen: bool,
}

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (scale, shift) =
            self.coefficients(values(gamma, gamma_layout)?, values(beta, beta_layout)?);
        let x = values(x, x_layout)?;
        let mut y = vec![0.0; x.len()];
        let lowest = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        scale_rows(x, &scale, &shift, lowest, &mut y);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let channels = gamma.elem_count();
        let (x_values, y, dy) = (Reader::new(x), Reader::new(y), Reader::new(&dy));
        // Without ReLU every gradient passes: any values serve as gate below a threshold of −∞.
        let (gate, lowest) =
            if self.relu { (y.values()?, 0.0) } else { (dy.values()?, f32::NEG_INFINITY) };
        let passed = Passed { dy: dy.values()?, gate, lowest };
        let (sums, products) = self.sums(passed, x_values.values()?, channels);
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let mut dx = None;
        if x.track_op() {
            let rows = x.elem_count() / channels;
            let row = self.row_gradient(Reader::new(gamma).values()?, &sums, &products, rows);
            let mut gradient = vec![0.0; x.elem_count()];
            input_gradient(passed, x_values.values()?, &row, &mut gradient);
            dx = Some(Tensor::from_vec(gradient, x.shape(), x.device())?);
        }
        let dgamma = Tensor::from_vec(narrow(&products), gamma.shape(), x.device())?;
        let dbeta = Tensor::from_vec(narrow(&sums), beta.shape(), x.device())?;
        Ok((dx, Some(dgamma), Some(dbeta)))
    }
}

impl Normalize {
    /// Creates the normalization by the statistics of `x [N, C]`, `N >= 1`, and returns them.
    pub(super) fn of_batch(x: &[f32], channels: usize, eps: f64, relu: bool) -> (Self, Moments) {
        let moments = moments(x, channels);
        let inverse = |&variance: &f32| (1.0 / (f64::from(variance) + eps).sqrt()) as f32;
        let inverse_deviation = moments.variance.iter().map(inverse).collect();
        (Self { mean: moments.mean.clone(), inverse_deviation, relu, frozen: false }, moments)
    }

    /// Returns `scale` and `shift` of `y = scale · x + shift`.
    pub(super) fn coefficients(&self, gamma: &[f32], beta: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> =
            gamma.iter().zip(&self.inverse_deviation).map(|(g, i)| g * i).collect();
        let shift = beta.iter().zip(&self.mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        (scale, shift)
    }

    /// Computes the gradients of β and γ.
    fn sums(&self, passed: Passed<'_>, x: &[f32], channels: usize) -> (Vec<f64>, Vec<f64>) {
        let mut sums = vec![0.0f64; channels];
        let mut products = vec![0.0f64; channels];
        add_gradient_sums(passed, x, &self.mean, &mut sums, &mut products);
        for (p, &i) in products.iter_mut().zip(&self.inverse_deviation) {
            *p *= f64::from(i);
        }
        (sums, products)
    }

    /// Writes the gradient of `x [N, C]` to `dx`, and those of γ and β to `dgamma` and `dbeta`.
    pub(super) fn gradients(
        &self,
        passed: Passed<'_>,
        x: &[f32],
        gamma: &[f32],
        dx: &mut [f32],
        [dgamma, dbeta]: [&mut [f32]; 2],
    ) {
        let (sums, products) = self.sums(passed, x, gamma.len());
        let row = self.row_gradient(gamma, &sums, &products, x.len() / gamma.len());
        input_gradient(passed, x, &row, dx);
        dgamma.iter_mut().zip(&products).for_each(|(d, &v)| *d = v as f32);
        dbeta.iter_mut().zip(&sums).for_each(|(d, &v)| *d = v as f32);
    }

    /// Computes the coefficients of `dx = passed · g + slope · (x - mean) + offset` for each
    /// channel.
    fn row_gradient(
        &self,
        gamma: &[f32],
        sums: &[f64],
        products: &[f64],
        rows: usize,
    ) -> RowGradient {
        let channels = gamma.len();
        let rows = rows.max(1) as f64;
        let mut row = RowGradient {
            passed: Vec::with_capacity(channels),
            slope: vec![0.0; channels],
            mean: self.mean.clone(),
            offset: vec![0.0; channels],
        };
        for c in 0..channels {
            let inverse = f64::from(self.inverse_deviation[c]);
            let scale = f64::from(gamma[c]) * inverse;
            row.passed.push(scale as f32);
            if !self.frozen {
                row.slope[c] = (-scale * inverse * products[c] / rows) as f32;
                row.offset[c] = (-scale * sums[c] / rows) as f32;
            }
        }
        row
    }
}

/// Coefficients of `dx = passed · g + slope · (x - mean) + offset`, one value per channel.
struct RowGradient {
    passed: Vec<f32>,
    slope: Vec<f32>,
    mean: Vec<f32>,
    offset: Vec<f32>,
}

/// Gradient behind the ReLU: `dy` where `gate > lowest`, else 0.
#[derive(Clone, Copy)]
pub(super) struct Passed<'a> {
    pub dy: &'a [f32],
    pub gate: &'a [f32],
    pub lowest: f32,
}

/// Number of rows summed in f32 before they are added in f64.
const TILE: usize = 32;
/// Number of channels whose sums are held in registers at a time.
const BLOCK: usize = 32;

/// Two sums per channel, to which those of a tile are added block by block.
struct Totals<'a> {
    channels: usize,
    /// First channel of the next block.
    start: usize,
    first: &'a mut [f64],
    second: &'a mut [f64],
}

impl Totals<'_> {
    /// Returns the start of the next whole block, if there is one.
    #[inline(always)]
    fn block(&self) -> Option<usize> {
        (self.start + BLOCK <= self.channels).then_some(self.start)
    }

    #[inline(always)]
    fn add(&mut self, first: &[f32; BLOCK], second: &[f32; BLOCK]) {
        add_wide(&mut self.first[self.start..][..BLOCK], first);
        add_wide(&mut self.second[self.start..][..BLOCK], second);
        self.start += BLOCK;
    }

    /// Returns the channels after the last whole block.
    #[inline(always)]
    fn tail(&self) -> std::ops::Range<usize> {
        self.start..self.channels
    }

    #[inline(always)]
    fn add_one(&mut self, channel: usize, first: f32, second: f32) {
        self.first[channel] += f64::from(first);
        self.second[channel] += f64::from(second);
    }
}

simd! {
    /// Sums `x - p` and its square for each channel. The pivot `p`, the first row, keeps the
    /// variance exact where the mean is large.
    fn add_moments(x: &[f32], sums: &mut [f64], squares: &mut [f64]) {
        let channels = sums.len();
        let pivot = &x[..channels];
        for tile in x.chunks(TILE * channels) {
            let mut totals = Totals { channels, start: 0, first: &mut *sums, second: &mut *squares };
            while let Some(start) = totals.block() {
                let pivot: &[f32; BLOCK] = pivot[start..].first_chunk().unwrap_or(&[0.0; BLOCK]);
                let (mut sum, mut square) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
                for row in tile.chunks_exact(channels) {
                    let row = &row[start..][..BLOCK];
                    for (((s, q), &v), &p) in sum.iter_mut().zip(&mut square).zip(row).zip(pivot) {
                        let v = v - p;
                        *s += v;
                        *q = v.mul_add(v, *q);
                    }
                }
                totals.add(&sum, &square);
            }
            for c in totals.tail() {
                let (mut sum, mut square) = (0.0f32, 0.0f32);
                for row in tile.chunks_exact(channels) {
                    let v = row[c] - pivot[c];
                    sum += v;
                    square = v.mul_add(v, square);
                }
                totals.add_one(c, sum, square);
            }
        }
    }

    /// Computes `y = max(x · scale + shift, lowest)`.
    pub(super) fn scale_rows(x: &[f32], scale: &[f32], shift: &[f32], lowest: f32, y: &mut [f32]) {
        let channels = scale.len();
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            for (((y, &x), &a), &b) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                let v = x.mul_add(a, b);
                // This form lets NaN pass.
                *y = if v < lowest { lowest } else { v };
            }
        }
    }

    /// Adds `Σ g` to `sums` and `Σ g · (x - mean)` to `products` for each channel.
    fn add_gradient_sums(
        passed: Passed<'_>,
        x: &[f32],
        mean: &[f32],
        sums: &mut [f64],
        products: &mut [f64],
    ) {
        let channels = mean.len();
        let size = TILE * channels;
        for ((x, dy), gate) in x.chunks(size).zip(passed.dy.chunks(size)).zip(passed.gate.chunks(size))
        {
            let rows = || {
                let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
                rows.zip(gate.chunks_exact(channels))
            };
            let mut totals = Totals { channels, start: 0, first: &mut *sums, second: &mut *products };
            while let Some(start) = totals.block() {
                let mean: &[f32; BLOCK] = mean[start..].first_chunk().unwrap_or(&[0.0; BLOCK]);
                let (mut sum, mut product) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
                for ((x, dy), gate) in rows() {
                    let (x, dy) = (&x[start..][..BLOCK], &dy[start..][..BLOCK]);
                    let inputs = x.iter().zip(dy).zip(&gate[start..][..BLOCK]).zip(mean);
                    let totals = sum.iter_mut().zip(&mut product);
                    for ((s, p), (((&x, &dy), &gate), &m)) in totals.zip(inputs) {
                        let g = if gate > passed.lowest { dy } else { 0.0 };
                        *s += g;
                        *p = g.mul_add(x - m, *p);
                    }
                }
                totals.add(&sum, &product);
            }
            for c in totals.tail() {
                let (mut sum, mut product) = (0.0f32, 0.0f32);
                for ((x, dy), gate) in rows() {
                    let g = if gate[c] > passed.lowest { dy[c] } else { 0.0 };
                    sum += g;
                    product = g.mul_add(x[c] - mean[c], product);
                }
                totals.add_one(c, sum, product);
            }
        }
    }

    /// Computes `dx = passed · g + slope · (x - mean) + offset`.
    fn input_gradient(passed: Passed<'_>, x: &[f32], row: &RowGradient, dx: &mut [f32]) {
        let channels = row.passed.len();
        let coefficients = || row.passed.iter().zip(&row.slope).zip(&row.mean).zip(&row.offset);
        let rows = dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
        let gates = passed.dy.chunks_exact(channels).zip(passed.gate.chunks_exact(channels));
        for ((dx, x), (dy, gate)) in rows.zip(gates) {
            let inputs = x.iter().zip(dy).zip(gate);
            for ((dx, ((&x, &dy), &gate)), (((&a, &k), &m), &o)) in
                dx.iter_mut().zip(inputs).zip(coefficients())
            {
                let g = if gate > passed.lowest { dy } else { 0.0 };
                *dx = a.mul_add(g, k.mul_add(x - m, o));
            }
        }
    }
}

#[inline(always)]
fn add_wide(totals: &mut [f64], partial: &[f32]) {
    for (t, &p) in totals.iter_mut().zip(partial) {
        *t += f64::from(p);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check, random};
    use super::*;
    use candle_core::Device;

    const EPS: f64 = 1e-3;

    fn normalized(inputs: &[Vec<f64>], relu: bool) -> Vec<f64> {
        let c = inputs[1].len();
        let rows = inputs[0].len() / c;
        let mut y = vec![0.0; rows * c];
        for channel in 0..c {
            let column: Vec<f64> = (0..rows).map(|r| inputs[0][r * c + channel]).collect();
            let mean = column.iter().sum::<f64>() / rows as f64;
            let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
            for (r, v) in column.iter().enumerate() {
                let hat = (v - mean) / (variance + EPS).sqrt();
                let v = inputs[1][channel] * hat + inputs[2][channel];
                y[r * c + channel] = if relu { v.max(0.0) } else { v };
            }
        }
        y
    }

    fn scaled(inputs: &[Vec<f64>], relu: bool) -> Vec<f64> {
        let c = inputs[1].len();
        let value = |(i, x): (usize, &f64)| inputs[1][i % c] * x + inputs[2][i % c];
        let values = inputs[0].iter().enumerate().map(value);
        values.map(|v| if relu { v.max(0.0) } else { v }).collect()
    }

    #[test]
    fn values_and_gradients_match_the_formulas() {
        for (seed, shape) in
            [vec![1, 1, 3], vec![2, 7, 5], vec![39, 3], vec![1, 9, 67], vec![3, 5, 33]]
                .into_iter()
                .enumerate()
        {
            let seed = seed as u64;
            let c = shape[shape.len() - 1];
            let inputs = [
                Input::new(&shape, seed).map(|v| 1.5 * v + 0.7),
                Input::new(&[c], 10 + seed),
                Input::new(&[c], 20 + seed),
            ];
            for relu in [false, true] {
                let norm = |t: &[Tensor]| Ok(batch_norm(&t[0], &t[1], &t[2], EPS, relu)?.0);
                check(&inputs, norm, |v| normalized(v, relu));
                check(&inputs, |t| affine(&t[0], &t[1], &t[2], relu), |v| scaled(v, relu));
            }
        }
    }

    #[test]
    fn moments_are_exact_far_from_zero() -> Result<()> {
        let x: Vec<f32> = random(1000 * 3, 5).iter().map(|v| v + 1000.0).collect();
        let column = |c: usize| x.iter().skip(c).step_by(3).map(|&v| f64::from(v));
        let t = Tensor::from_vec(x.clone(), (10, 100, 3), &Device::Cpu)?;
        let one = Tensor::ones(3, candle_core::DType::F32, &Device::Cpu)?;
        let (_, found) = batch_norm(&t, &one, &one, EPS, true)?;
        assert_eq!(found.rows, 1000);
        for c in 0..3 {
            let mean = column(c).sum::<f64>() / 1000.0;
            let variance = column(c).map(|v| (v - mean).powi(2)).sum::<f64>() / 1000.0;
            assert!((f64::from(found.mean[c]) - mean).abs() < 1e-4);
            assert!((f64::from(found.variance[c]) / variance - 1.0).abs() < 1e-5);
        }
        Ok(())
    }
}
