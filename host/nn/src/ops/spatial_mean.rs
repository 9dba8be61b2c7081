//! Mean over all pixels of an image, channel by channel.
//!
//! `y[b, c] = 1/N · Σ_n x[b, n, c]`; gradient `dx[b, n, c] = dy[b, c] / N`.
//! Shapes: `x [B, H, W, C]` with `N = H · W`, `y [B, C]`.
//!
//! This is a custom operation because candle's mean over axes other than the last is slow.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{Reader, channels_of, math::add_column_sums, values};

/// Computes `y[b, c] = mean over the pixels of x[b, .., c]`.
///
/// # Errors
/// If there is no pixel, or `x` is not `[B, H, W, C]` f32 on the CPU.
pub fn spatial_mean(x: &Tensor) -> Result<Tensor> {
    let channels = channels_of("spatial mean x", x)?;
    let (_, height, width, _) = x.dims4()?;
    if height * width == 0 {
        bail!("spatial mean: expected at least one pixel, found {:?}", x.dims())
    }
    x.contiguous()?.apply_op1(SpatialMean { pixels: height * width, channels })
}

struct SpatialMean {
    pixels: usize,
    channels: usize,
}

impl CustomOp1 for SpatialMean {
    fn name(&self) -> &'static str {
        "spatial_mean"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let batch = x.len() / (self.pixels * self.channels);
        let mut y = vec![0.0; batch * self.channels];
        let images = x.chunks_exact(self.pixels * self.channels);
        for (x, y) in images.zip(y.chunks_exact_mut(self.channels)) {
            add_column_sums(x, y);
            y.iter_mut().for_each(|y| *y /= self.pixels as f32);
        }
        Ok((CpuStorage::F32(y), Shape::from((batch, self.channels))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let dy = Reader::new(&dy);
        let mut dx = Vec::with_capacity(x.elem_count());
        for dy in dy.values()?.chunks_exact(self.channels) {
            let share: Vec<f32> = dy.iter().map(|dy| dy / self.pixels as f32).collect();
            (0..self.pixels).for_each(|_| dx.extend_from_slice(&share));
        }
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check};
    use super::*;

    #[test]
    fn value_and_gradient_match_the_formula() {
        for (seed, [b, h, w, c]) in
            [[1, 1, 1, 1], [2, 3, 5, 7], [3, 2, 2, 33]].into_iter().enumerate()
        {
            let mean = |x: &[f64], b: usize, channel: usize| {
                let image = &x[b * h * w * c..][..h * w * c];
                image.iter().skip(channel).step_by(c).sum::<f64>() / (h * w) as f64
            };
            check(
                &[Input::new(&[b, h, w, c], seed as u64)],
                |t| spatial_mean(&t[0]),
                |v| (0..b * c).map(|i| mean(&v[0], i / c, i % c)).collect(),
            );
        }
    }
}
