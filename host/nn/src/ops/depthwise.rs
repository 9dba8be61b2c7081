//! Causal dilated depthwise convolution over time: each channel has its own taps.
//!
//! `y[b, t, c] = Σₖ w[k, c] · x[b, t - k·dilation, c]`, with `x = 0` before `t = 0`. Tap 0 weighs
//! the current column, so a stream needs only the past.
//! Gradients: `dx[b, s, c] = Σₖ w[k, c] · dy[b, s + k·dilation, c]` and
//! `dw[k, c] = Σ_{b, t} dy[b, t, c] · x[b, t - k·dilation, c]`.
//! Shapes: `x [B, T, C]`, `w [K, C]`, `y [B, T, C]`.
//!
//! This is a custom operation because candle's grouped conv1d is one convolution per channel, and
//! its gradient for the kernel is wrong on the CPU. With channels last, every tap is a product of
//! two rows.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{Reader, channels_of, composed, values};
use wakeling_core::simd;

/// Computes `y[b, t, c] = Σₖ w[k, c] · x[b, t - k·dilation, c]` with zero history.
///
/// `x [B, T, C]`, `w [K, C]` with `K >= 1`, `dilation >= 1`.
///
/// # Errors
/// If shapes disagree, `dilation` is 0, or the tensors are not f32 on one device.
pub fn depthwise_causal(x: &Tensor, w: &Tensor, dilation: usize) -> Result<Tensor> {
    let channels = channels_of("depthwise x", x)?;
    let (_, steps, _) = x.dims3()?;
    let (taps, found) = w.dims2()?;
    if found != channels || taps == 0 || dilation == 0 {
        bail!(
            "depthwise: expected w [K >= 1, {channels}] and dilation >= 1, \
             found w {:?} and dilation {dilation}",
            w.dims()
        )
    }
    if !x.device().is_cpu() {
        return composed::depthwise_causal(x, w, dilation);
    }
    let op = Depthwise { steps, channels, dilation };
    x.contiguous()?.apply_op2(&w.contiguous()?, op)
}

/// Sizes of one call; one sequence is `steps * channels` values.
#[derive(Clone, Copy)]
pub(super) struct Depthwise {
    pub steps: usize,
    pub channels: usize,
    pub dilation: usize,
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise_causal"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(x, x_layout)?;
        let mut y = vec![0.0; x.len()];
        if self.steps > 0 {
            convolve(*self, Direction::Past, x, values(w, w_layout)?, &mut y);
        }
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let dy = Reader::new(&dy);
        let mut dx = None;
        if x.track_op() {
            let mut gradient = vec![0.0; x.elem_count()];
            if self.steps > 0 {
                let w = Reader::new(w);
                convolve(*self, Direction::Future, dy.values()?, w.values()?, &mut gradient);
            }
            dx = Some(Tensor::from_vec(gradient, x.shape(), x.device())?);
        }
        let mut dw = None;
        if w.track_op() {
            let mut gradient = vec![0.0; w.elem_count()];
            if self.steps > 0 {
                tap_gradient(*self, Reader::new(x).values()?, dy.values()?, &mut gradient);
            }
            dw = Some(Tensor::from_vec(gradient, w.shape(), w.device())?);
        }
        Ok((dx, dw))
    }
}

/// Direction in which the taps reach: the past in the forward pass, the future in the gradient.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Past,
    Future,
}

/// Number of channels held in registers at a time.
const BLOCK: usize = 32;
/// Number of columns whose tap products are summed in registers before they reach the gradient.
const TILE: usize = 16;

simd! {
    /// Computes `y[t] = Σₖ w[k] · x[t ∓ k·dilation]` for each sequence.
    pub(super) fn convolve(op: Depthwise, direction: Direction, x: &[f32], w: &[f32], y: &mut [f32]) {
        let Depthwise { steps, channels, dilation } = op;
        let sequence = steps * channels;
        for (x, y) in x.chunks_exact(sequence).zip(y.chunks_exact_mut(sequence)) {
            for (t, y) in y.chunks_exact_mut(channels).enumerate() {
                let reach = if direction == Direction::Past { t } else { steps - 1 - t };
                let taps = (w.len() / channels).min(reach / dilation + 1);
                let column = |k: usize| match direction {
                    Direction::Past => (t - k * dilation) * channels,
                    Direction::Future => (t + k * dilation) * channels,
                };
                let (blocks, tail) = y.as_chunks_mut::<BLOCK>();
                let tail_start = channels - tail.len();
                for (index, block) in blocks.iter_mut().enumerate() {
                    let mut sums = [0.0f32; BLOCK];
                    for k in 0..taps {
                        let x = &x[column(k) + index * BLOCK..][..BLOCK];
                        let w = &w[k * channels + index * BLOCK..][..BLOCK];
                        for ((s, &x), &w) in sums.iter_mut().zip(x).zip(w) {
                            *s = x.mul_add(w, *s);
                        }
                    }
                    *block = sums;
                }
                tail.fill(0.0);
                for k in 0..taps {
                    let x = &x[column(k) + tail_start..][..tail.len()];
                    let w = &w[k * channels + tail_start..][..tail.len()];
                    for ((s, &x), &w) in tail.iter_mut().zip(x).zip(w) {
                        *s = x.mul_add(w, *s);
                    }
                }
            }
        }
    }

    /// Computes `dw[k] += Σ_t dy[t] · x[t - k·dilation]` over all sequences.
    pub(super) fn tap_gradient(op: Depthwise, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let Depthwise { steps, channels, dilation } = op;
        let sequence = steps * channels;
        for (x, dy) in x.chunks_exact(sequence).zip(dy.chunks_exact(sequence)) {
            for start in (0..steps).step_by(TILE) {
                let end = (start + TILE).min(steps);
                for (k, dw) in dw.chunks_exact_mut(channels).enumerate() {
                    let shift = k * dilation;
                    let first = start.max(shift);
                    if first >= end {
                        break;
                    }
                    let x = &x[(first - shift) * channels..(end - shift) * channels];
                    let dy = &dy[first * channels..end * channels];
                    add_products(x, dy, dw);
                }
            }
        }
    }
}

/// Computes `totals[c] += Σ_rows a[r, c] · b[r, c]` over rows of `totals.len()` values.
#[inline(always)]
fn add_products(a: &[f32], b: &[f32], totals: &mut [f32]) {
    let channels = totals.len();
    let (blocks, tail) = totals.as_chunks_mut::<BLOCK>();
    let tail_start = channels - tail.len();
    for (index, block) in blocks.iter_mut().enumerate() {
        let mut sums = [0.0f32; BLOCK];
        for (a, b) in a.chunks_exact(channels).zip(b.chunks_exact(channels)) {
            let (a, b) = (&a[index * BLOCK..][..BLOCK], &b[index * BLOCK..][..BLOCK]);
            for ((s, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *s = a.mul_add(b, *s);
            }
        }
        for (t, &s) in block.iter_mut().zip(&sums) {
            *t += s;
        }
    }
    for (a, b) in a.chunks_exact(channels).zip(b.chunks_exact(channels)) {
        for ((t, &a), &b) in tail.iter_mut().zip(&a[tail_start..]).zip(&b[tail_start..]) {
            *t = a.mul_add(b, *t);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check};
    use super::*;

    fn reference(inputs: &[Vec<f64>], shape: [usize; 3], dilation: usize) -> Vec<f64> {
        let ([b, t, c], taps) = (shape, inputs[1].len() / shape[2]);
        let mut y = vec![0.0; b * t * c];
        for (index, y) in y.iter_mut().enumerate() {
            let (row, step, channel) = (index / (t * c), index / c % t, index % c);
            for k in 0..taps {
                if step >= k * dilation {
                    let source = (row * t + step - k * dilation) * c + channel;
                    *y += inputs[1][k * c + channel] * inputs[0][source];
                }
            }
        }
        y
    }

    #[test]
    fn value_and_gradients_match_the_formula() {
        for (seed, (shape, taps, dilation)) in [
            ([1, 1, 1], 1, 1),
            ([2, 7, 5], 1, 3),
            ([1, 5, 3], 4, 8),
            ([2, 21, 3], 3, 8),
            ([1, 19, 67], 5, 2),
            ([3, 17, 33], 2, 1),
        ]
        .into_iter()
        .enumerate()
        {
            let x = Input::new(&shape, seed as u64);
            let w = Input::new(&[taps, shape[2]], 10 + seed as u64);
            check(
                &[x, w],
                |t| depthwise_causal(&t[0], &t[1], dilation),
                |v| reference(v, shape, dilation),
            );
        }
    }

    #[test]
    fn a_dilation_of_zero_is_refused() -> Result<()> {
        let x = Tensor::zeros((1, 2, 3), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        let w = Tensor::zeros((2, 3), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        assert!(depthwise_causal(&x, &w, 0).is_err());
        Ok(())
    }
}
