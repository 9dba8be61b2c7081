//! Depthwise convolution over images: each channel has its own taps.
//!
//! `y[b, r, s, c] = Σ_{ky, kx} w[(ky, kx), c] · x[b, r·stride + ky − top, s·stride + kx − left,
//! c]`, with `x = 0` in the padding. Gradients: `dx` sums `w ·
//! dy` over the windows that hold a pixel, `dw[(ky, kx), c] = Σ dy · x` over all windows.
//! Shapes: `x [B, H, W, C]`, `w [K·K, C]`, `y [B, R, S, C]`.
//!
//! This is a custom operation because candle's grouped convolution is one convolution per channel.
//! With channels last, every tap is a product of two rows.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::{Reader, channels_of, expect_shape, values, window::Window};
use wakeling_core::simd;

/// Computes `y[b, r, s, c] = Σₖ w[k, c] · x[b, pixel k under window (r, s), c]`.
///
/// # Errors
/// If shapes disagree, or the tensors are not f32 on the CPU.
pub fn depthwise2d(x: &Tensor, w: &Tensor, window: Window) -> Result<Tensor> {
    let channels = channels_of("depthwise2d x", x)?;
    let (batch, ..) = x.dims4()?;
    let [height, width] = window.image;
    expect_shape("depthwise2d x", x, &[batch, height, width, channels])?;
    expect_shape("depthwise2d w", w, &[window.area(), channels])?;
    x.contiguous()?.apply_op2(&w.contiguous()?, Depthwise2d { window, channels })
}

#[derive(Clone, Copy)]
struct Depthwise2d {
    window: Window,
    channels: usize,
}

impl CustomOp2 for Depthwise2d {
    fn name(&self) -> &'static str {
        "depthwise2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (values(x, x_layout)?, values(w, w_layout)?);
        let batch = x.len() / (self.window.image_pixels() * self.channels);
        let [rows, columns] = self.window.output;
        let mut y = vec![0.0; batch * rows * columns * self.channels];
        convolve(*self, x, w, &mut y);
        Ok((CpuStorage::F32(y), Shape::from((batch, rows, columns, self.channels))))
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
            spread(*self, dy.values()?, Reader::new(w).values()?, &mut gradient);
            dx = Some(Tensor::from_vec(gradient, x.shape(), x.device())?);
        }
        let mut dw = None;
        if w.track_op() {
            let mut gradient = vec![0.0; w.elem_count()];
            tap_gradient(*self, Reader::new(x).values()?, dy.values()?, &mut gradient);
            dw = Some(Tensor::from_vec(gradient, w.shape(), w.device())?);
        }
        Ok((dx, dw))
    }
}

/// Number of channels held in registers at a time.
const BLOCK: usize = 16;

/// Computes `y[c] += a[c] · b[c]`.
#[inline(always)]
fn multiply_add(a: &[f32], b: &[f32], y: &mut [f32]) {
    let (y_blocks, y_tail) = y.as_chunks_mut::<BLOCK>();
    let (a_blocks, a_tail) = a.as_chunks::<BLOCK>();
    let (b_blocks, b_tail) = b.as_chunks::<BLOCK>();
    for ((y, a), b) in y_blocks.iter_mut().zip(a_blocks).zip(b_blocks) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = a.mul_add(*b, *y);
        }
    }
    for ((y, a), b) in y_tail.iter_mut().zip(a_tail).zip(b_tail) {
        *y = a.mul_add(*b, *y);
    }
}

simd! {
    /// Computes `y[r, s] = Σₖ w[k] · x[…]`, image by image.
    fn convolve(op: Depthwise2d, x: &[f32], w: &[f32], y: &mut [f32]) {
        let Depthwise2d { window, channels } = op;
        let [rows, columns] = window.output;
        let images = x.chunks_exact(window.image_pixels() * channels);
        for (x, y) in images.zip(y.chunks_exact_mut(rows * columns * channels)) {
            for (row, y) in y.chunks_exact_mut(columns * channels).enumerate() {
                for (k, w) in w.chunks_exact(channels).enumerate() {
                    let Some((inside, pixel)) = window.run(row, k) else { continue };
                    let x = &x[pixel * channels..];
                    let y = &mut y[inside.start * channels..inside.end * channels];
                    let pixels = x.chunks(channels).step_by(window.stride);
                    for (y, x) in y.chunks_exact_mut(channels).zip(pixels) {
                        multiply_add(x, w, y);
                    }
                }
            }
        }
    }

    /// Computes `dx[…] += w[k] · dy[r, s]`, image by image.
    fn spread(op: Depthwise2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        let Depthwise2d { window, channels } = op;
        let [rows, columns] = window.output;
        let images = dx.chunks_exact_mut(window.image_pixels() * channels);
        for (dx, dy) in images.zip(dy.chunks_exact(rows * columns * channels)) {
            for (row, dy) in dy.chunks_exact(columns * channels).enumerate() {
                for (k, w) in w.chunks_exact(channels).enumerate() {
                    let Some((inside, pixel)) = window.run(row, k) else { continue };
                    let dx = &mut dx[pixel * channels..];
                    let dy = &dy[inside.start * channels..inside.end * channels];
                    let pixels = dx.chunks_mut(channels).step_by(window.stride);
                    for (dy, dx) in dy.chunks_exact(channels).zip(pixels) {
                        multiply_add(dy, w, dx);
                    }
                }
            }
        }
    }

    /// Computes `dw[k] += Σ dy[r, s] · x[…]` over all images.
    fn tap_gradient(op: Depthwise2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let Depthwise2d { window, channels } = op;
        let [rows, columns] = window.output;
        let images = x.chunks_exact(window.image_pixels() * channels);
        for (x, dy) in images.zip(dy.chunks_exact(rows * columns * channels)) {
            for (row, dy) in dy.chunks_exact(columns * channels).enumerate() {
                for (k, dw) in dw.chunks_exact_mut(channels).enumerate() {
                    let Some((inside, pixel)) = window.run(row, k) else { continue };
                    let x = &x[pixel * channels..];
                    let dy = &dy[inside.start * channels..inside.end * channels];
                    let pixels = x.chunks(channels).step_by(window.stride);
                    for (dy, x) in dy.chunks_exact(channels).zip(pixels) {
                        multiply_add(dy, x, dw);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check};
    use super::*;

    fn reference(inputs: &[Vec<f64>], window: Window, channels: usize) -> Vec<f64> {
        let [height, width] = window.image;
        let mut y = Vec::new();
        for x in inputs[0].chunks(height * width * channels) {
            for row in 0..window.output[0] {
                for column in 0..window.output[1] {
                    for c in 0..channels {
                        let mut sum = 0.0;
                        for k in 0..window.area() {
                            let line = (row * window.stride + k / window.size)
                                .checked_sub(window.before[0])
                                .filter(|line| *line < height);
                            let place = (column * window.stride + k % window.size)
                                .checked_sub(window.before[1])
                                .filter(|place| *place < width);
                            if let Some((line, place)) = line.zip(place) {
                                sum += inputs[1][k * channels + c]
                                    * x[(line * width + place) * channels + c];
                            }
                        }
                        y.push(sum);
                    }
                }
            }
        }
        y
    }

    #[test]
    fn value_and_gradients_match_the_formula() -> Result<()> {
        for (seed, (shape, size, stride)) in [
            ([1, 1, 1, 1], 3, 1),
            ([2, 5, 4, 3], 3, 1),
            ([1, 6, 7, 19], 3, 2),
            ([1, 7, 6, 16], 3, 2),
            ([1, 4, 9, 1], 5, 3),
            ([2, 3, 3, 5], 2, 2),
        ]
        .into_iter()
        .enumerate()
        {
            let window = Window::same([shape[1], shape[2]], size, stride)?;
            let x = Input::new(&shape, seed as u64);
            let w = Input::new(&[window.area(), shape[3]], 10 + seed as u64);
            check(
                &[x, w],
                |t| depthwise2d(&t[0], &t[1], window),
                |v| reference(v, window, shape[3]),
            );
        }
        Ok(())
    }

    #[test]
    fn shapes_that_disagree_are_refused() -> Result<()> {
        let zeros = |shape: &[usize]| {
            Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu)
        };
        let window = Window::same([4, 4], 3, 1)?;
        assert!(depthwise2d(&zeros(&[1, 4, 4, 2])?, &zeros(&[9, 3])?, window).is_err());
        assert!(depthwise2d(&zeros(&[1, 4, 5, 2])?, &zeros(&[9, 2])?, window).is_err());
        Ok(())
    }
}
