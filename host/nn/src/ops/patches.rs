//! Gathers the pixels under each window of an image into one row (im2col, Chellapilla et al. 2006).
//! Followed by [`linear`](super::linear), this is a convolution over images.
//!
//! `y[b, r, c, (ky, kx, i)] = x[b, r·stride + ky − top, c·stride + kx − left, i]`, 0 in the
//! padding. Gradient: the sum over all windows that hold a pixel.
//! Shapes: `x [B, H, W, I]`, `y [B, R, C, K·K·I]`.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{Reader, channels_of, expect_shape, values, window::Window};

/// Gathers the pixels under each window.
///
/// # Errors
/// If `x` does not have the window's image size, or is not f32 on the CPU.
pub fn patches(x: &Tensor, window: Window) -> Result<Tensor> {
    let channels = channels_of("patches x", x)?;
    let (batch, ..) = x.dims4()?;
    let [height, width] = window.image;
    expect_shape("patches x", x, &[batch, height, width, channels])?;
    x.contiguous()?.apply_op1(Patches { window, channels })
}

#[derive(Clone, Copy)]
struct Patches {
    window: Window,
    channels: usize,
}

impl Patches {
    /// Calls `copy` for each contiguous run of a window row of one image, with the start of the run
    /// in the patches, its start in the image, and its number of values.
    fn runs(&self, mut copy: impl FnMut(usize, usize, usize)) {
        let Self { window, channels } = *self;
        let [rows, columns] = window.output;
        let patch = window.area() * channels;
        for row in 0..rows {
            for column in 0..columns {
                let start = (row * columns + column) * patch;
                // Columns of the window that are inside the image.
                let first = window.before[1].saturating_sub(column * window.stride);
                let Some(left) = window.line(1, column, first) else { continue };
                let count = (window.size - first).min(window.image[1] - left);
                for tap in 0..window.size {
                    let Some(line) = window.line(0, row, tap) else { continue };
                    let target = start + (tap * window.size + first) * channels;
                    let source = (line * window.image[1] + left) * channels;
                    copy(target, source, count * channels);
                }
            }
        }
    }
}

impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Self { window, channels } = *self;
        let x = values(x, layout)?;
        let (image, patch) = (window.image_pixels() * channels, window.area() * channels);
        let batch = x.len() / image;
        let each = window.output_pixels() * patch;
        let mut y = vec![0.0; batch * each];
        for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(each)) {
            self.runs(|target, source, count| {
                y[target..target + count].copy_from_slice(&x[source..source + count]);
            });
        }
        let [rows, columns] = window.output;
        Ok((CpuStorage::F32(y), Shape::from((batch, rows, columns, patch))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        if !x.track_op() {
            return Ok(None);
        }
        let Self { window, channels } = *self;
        let dy = dy.contiguous()?;
        let dy = Reader::new(&dy);
        let mut dx = vec![0.0; x.elem_count()];
        let image = window.image_pixels() * channels;
        let each = window.output_pixels() * window.area() * channels;
        for (dx, dy) in dx.chunks_exact_mut(image).zip(dy.values()?.chunks_exact(each)) {
            self.runs(|target, source, count| {
                let pixels = dx[source..source + count].iter_mut();
                pixels.zip(&dy[target..target + count]).for_each(|(dx, dy)| *dx += dy);
            });
        }
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check};
    use super::*;

    fn reference(x: &[f64], window: Window, channels: usize) -> Vec<f64> {
        let [height, width] = window.image;
        let mut y = Vec::new();
        for image in x.chunks(height * width * channels) {
            for row in 0..window.output[0] {
                for column in 0..window.output[1] {
                    for tap in 0..window.area() {
                        let line = row * window.stride + tap / window.size;
                        let place = column * window.stride + tap % window.size;
                        let line = line.checked_sub(window.before[0]).filter(|l| *l < height);
                        let place = place.checked_sub(window.before[1]).filter(|p| *p < width);
                        let at = line.zip(place).map(|(l, p)| (l * width + p) * channels);
                        y.extend((0..channels).map(|c| at.map_or(0.0, |at| image[at + c])));
                    }
                }
            }
        }
        y
    }

    #[test]
    fn value_and_gradient_match_the_formula() -> Result<()> {
        for (seed, (shape, size, stride)) in [
            ([1, 1, 1, 1], 3, 1),
            ([2, 5, 4, 3], 3, 1),
            ([2, 6, 7, 2], 3, 2),
            ([1, 4, 9, 1], 5, 3),
            ([3, 3, 3, 2], 1, 2),
        ]
        .into_iter()
        .enumerate()
        {
            let window = Window::same([shape[1], shape[2]], size, stride)?;
            check(
                &[Input::new(&shape, seed as u64)],
                |t| patches(&t[0], window),
                |v| reference(&v[0], window, shape[3]),
            );
        }
        Ok(())
    }

    #[test]
    fn another_size_is_refused() -> Result<()> {
        let x = Tensor::zeros((1, 4, 4, 2), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        assert!(patches(&x, Window::same([4, 5], 3, 1)?).is_err());
        Ok(())
    }
}
