//! Square window of a 2-D layer that moves over an image, with padding so that the output has
//! `size / stride` rows and columns (rounded up), where `size` is that of the image.
//!
//! The padding is that of TensorFlow's `SAME`: split evenly, with an odd row at the bottom or
//! right.

use candle_core::{Result, bail};

/// Window over images of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the image.
    pub image: [usize; 2],
    /// Height and width of the window, in pixels.
    pub size: usize,
    /// Distance from one window to the next, down and across, in pixels.
    pub stride: usize,
    /// Number of windows, down and across.
    pub output: [usize; 2],
    /// Padding above and to the left.
    pub before: [usize; 2],
}

impl Window {
    /// Creates the window of `size` pixels each way over images of height `image[0]` and width
    /// `image[1]`.
    ///
    /// # Errors
    /// If a size or the stride is 0.
    pub fn same(image: [usize; 2], size: usize, stride: usize) -> Result<Self> {
        if image.contains(&0) || size == 0 || stride == 0 {
            bail!("window: expected no 0, found image {image:?}, size {size}, stride {stride}")
        }
        let output = image.map(|length| length.div_ceil(stride));
        let padding =
            |axis: usize| ((output[axis] - 1) * stride + size).saturating_sub(image[axis]) / 2;
        Ok(Self { image, size, stride, output, before: [padding(0), padding(1)] })
    }

    /// Number of pixels under the window.
    pub fn area(&self) -> usize {
        self.size * self.size
    }

    /// Number of pixels of the image.
    pub fn image_pixels(&self) -> usize {
        self.image[0] * self.image[1]
    }

    /// Number of output pixels.
    pub fn output_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Returns the image's line (row or column) under line `tap` of window `at` along `axis`;
    /// `None` in the padding.
    #[inline(always)]
    pub(super) fn line(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let line = (at * self.stride + tap).wrapping_sub(self.before[axis]);
        (line < self.image[axis]).then_some(line)
    }

    /// Returns the windows in row `row` whose pixel `tap` (counted row by row) is inside the image,
    /// and the image's pixel under the first of them.
    #[inline(always)]
    pub(super) fn run(&self, row: usize, tap: usize) -> Option<(std::ops::Range<usize>, usize)> {
        let line = self.line(0, row, tap / self.size)?;
        let across = tap % self.size;
        let inside = self.inside(1, across);
        let first = self.line(1, inside.start, across)?;
        (!inside.is_empty()).then_some((inside, line * self.image[1] + first))
    }

    /// Returns the range of windows along `axis` whose line `tap` is inside the image.
    #[inline(always)]
    fn inside(&self, axis: usize, tap: usize) -> std::ops::Range<usize> {
        let first = self.before[axis].saturating_sub(tap).div_ceil(self.stride);
        // at · stride + tap − before <= image − 1
        let last = (self.image[axis] + self.before[axis]).checked_sub(tap + 1);
        let end = last.map_or(0, |last| last / self.stride + 1).min(self.output[axis]);
        first..end.max(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_ranges_agree() -> Result<()> {
        for image in [[1, 1], [2, 5], [7, 3], [8, 9]] {
            for (size, stride) in [(1, 1), (3, 1), (3, 2), (2, 2), (5, 3)] {
                let window = Window::same(image, size, stride)?;
                for (axis, length) in image.into_iter().enumerate() {
                    assert_eq!(window.output[axis], length.div_ceil(stride));
                    for tap in 0..size {
                        let within: Vec<usize> = (0..window.output[axis])
                            .filter(|&at| window.line(axis, at, tap).is_some())
                            .collect();
                        let range: Vec<usize> = window.inside(axis, tap).collect();
                        assert_eq!(within, range, "{window:?} {axis} {tap}");
                    }
                }
            }
        }
        assert!(Window::same([0, 3], 1, 1).is_err() && Window::same([3, 3], 1, 0).is_err());
        Ok(())
    }
}
