//! Augmentation of images, sampled anew each time an image is used.
//!
//! Flip, shift and zoom are one resampling (bilinear, edges repeated). Contrast, brightness,
//! conversion to gray, and a hidden square (cutout: DeVries & Taylor 2017) follow. All randomness
//! comes from the generator that the caller passes in.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wakeling_shared::model::Shape;

use super::pixels::value;

/// Strength of each augmentation; 0 or `false` turns it off.
///
/// ```
/// use rand::{SeedableRng, rngs::StdRng};
/// use wakeling_shared::model::Shape;
/// use wakeling_vision::augment::Augment;
///
/// let shape = Shape { height: 16, width: 16, channels: 1 };
/// let pixels: Vec<u8> = (0..=255).collect();
/// let mut rng = StdRng::seed_from_u64(1);
/// assert_eq!(Augment::NONE.transform(&pixels, shape, &mut rng)[192], 1.0); // (192 − 128) / 64
/// assert_ne!(
///     Augment::default().transform(&pixels, shape, &mut rng),
///     Augment::default().transform(&pixels, shape, &mut rng)
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Mirrors half of the images, left to right.
    pub flip: bool,
    /// Largest shift each way, as a fraction of the side.
    pub shift: f32,
    /// Largest zoom, in and out: a factor of `e^±zoom`.
    pub zoom: f32,
    /// Largest change of the contrast: a factor of `e^±contrast`.
    pub contrast: f32,
    /// Largest change of the brightness, in steps of 0 … 255.
    pub brightness: f32,
    /// Share of colour images that become gray.
    pub gray: f32,
    /// Side of the hidden square as a fraction of the side of the image. Half of the images have
    /// one.
    pub cutout: f32,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip: true,
            shift: 0.12,
            zoom: 0.15,
            contrast: 0.3,
            brightness: 25.0,
            gray: 0.2,
            cutout: 0.3,
        }
    }
}

impl Augment {
    /// No augmentation.
    pub const NONE: Self = Self {
        flip: false,
        shift: 0.0,
        zoom: 0.0,
        contrast: 0.0,
        brightness: 0.0,
        gray: 0.0,
        cutout: 0.0,
    };

    /// Returns an augmented image as the network's input: `(p − 128) / 64`,
    /// `(height, width, channels)`.
    pub fn transform(&self, pixels: &[u8], shape: Shape, rng: &mut impl Rng) -> Vec<f32> {
        let mut uniform = |most: f32| most * (2.0 * rng.random::<f32>() - 1.0);
        let [shift_y, shift_x] = [uniform(self.shift), uniform(self.shift)];
        let (zoom, gain) = (uniform(self.zoom).exp(), uniform(self.contrast).exp());
        let offset = uniform(self.brightness);
        let flip = self.flip && rng.random::<bool>();
        let sampling = Sampling { zoom, shift: [shift_y, shift_x], flip };
        let mut y = sampling.apply(pixels, shape);
        if shape.channels == 3 && rng.random::<f32>() < self.gray {
            for pixel in y.as_chunks_mut::<3>().0 {
                let [r, g, b] = *pixel;
                // BT.709, as in the decoder of images.
                *pixel = [0.2126 * r + 0.7152 * g + 0.0722 * b; 3];
            }
        }
        let mean = y.iter().sum::<f32>() / y.len().max(1) as f32;
        for p in &mut y {
            *p = value((gain * (*p - mean) + mean + offset).clamp(0.0, 255.0));
        }
        if self.cutout > 0.0 && rng.random::<bool>() {
            hide(&mut y, shape, self.cutout, rng);
        }
        y
    }
}

/// Mapping from pixels of the result to positions in the source image.
struct Sampling {
    zoom: f32,
    shift: [f32; 2],
    flip: bool,
}

impl Sampling {
    fn apply(&self, pixels: &[u8], shape: Shape) -> Vec<f32> {
        let [height, width, channels] =
            [shape.height, shape.width, shape.channels].map(usize::from);
        // Both neighbouring source lines of each result line, and the distance from the first.
        let lines = |length: usize, shift: f32, flip: bool| -> Vec<(usize, usize, f32)> {
            let middle = (length as f32 - 1.0) / 2.0;
            let place = |at: usize| {
                let at = if flip { length - 1 - at } else { at };
                let place = middle + (at as f32 - middle) / self.zoom + shift * length as f32;
                let place = place.clamp(0.0, length as f32 - 1.0);
                let first = place as usize;
                (first, (first + 1).min(length - 1), place - first as f32)
            };
            (0..length).map(place).collect()
        };
        let rows = lines(height, self.shift[0], false);
        let columns = lines(width, self.shift[1], self.flip);
        let mut y = Vec::with_capacity(pixels.len());
        for &(above, below, down) in &rows {
            let row = |line: usize| &pixels[line * width * channels..][..width * channels];
            let (above, below) = (row(above), row(below));
            for &(left, right, across) in &columns {
                for c in 0..channels {
                    let mix = |row: &[u8]| {
                        let [a, b] = [left, right].map(|p| f32::from(row[p * channels + c]));
                        a + across * (b - a)
                    };
                    let (a, b) = (mix(above), mix(below));
                    y.push(a + down * (b - a));
                }
            }
        }
        y
    }
}

/// Sets a random square to 0, which is middle gray and equals the padding.
fn hide(y: &mut [f32], shape: Shape, side: f32, rng: &mut impl Rng) {
    let [height, width, channels] = [shape.height, shape.width, shape.channels].map(usize::from);
    let mut span = |length: usize| {
        let half = side * length as f32 / 2.0;
        let middle = rng.random::<f32>() * length as f32;
        let end = ((middle + half) as usize).min(length);
        ((middle - half).max(0.0) as usize).min(end)..end
    };
    let (rows, columns) = (span(height), span(width));
    for row in rows {
        let start = row * width * channels;
        y[start + columns.start * channels..start + columns.end * channels].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    const SHAPE: Shape = Shape { height: 6, width: 5, channels: 3 };

    fn image() -> Vec<u8> {
        (0..SHAPE.bytes()).map(|i| (i * 37 % 256) as u8).collect()
    }

    #[test]
    fn no_augmentation_returns_the_image() {
        let found = Augment::NONE.transform(&image(), SHAPE, &mut StdRng::seed_from_u64(1));
        let expected: Vec<f32> = image().iter().map(|&p| value(f32::from(p))).collect();
        assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-5));
    }

    #[test]
    fn a_flipped_image_is_its_mirror() {
        let sampling = Sampling { zoom: 1.0, shift: [0.0; 2], flip: true };
        let found = sampling.apply(&image(), SHAPE);
        for row in 0..6 {
            for column in 0..5 {
                for c in 0..3 {
                    let expected = image()[(row * 5 + 4 - column) * 3 + c];
                    assert_eq!(found[(row * 5 + column) * 3 + c], f32::from(expected));
                }
            }
        }
    }

    #[test]
    fn a_shift_by_pixels_moves_them_and_repeats_the_edge() {
        let sampling = Sampling { zoom: 1.0, shift: [0.0, 0.2], flip: false };
        let found = sampling.apply(&image(), SHAPE);
        for column in 0..5 {
            let expected = image()[(column + 1).min(4) * 3];
            assert!((found[column * 3] - f32::from(expected)).abs() < 1e-3);
        }
    }

    #[test]
    fn same_seed_gives_same_augmentation_within_range() {
        let transform =
            |seed| Augment::default().transform(&image(), SHAPE, &mut StdRng::seed_from_u64(seed));
        assert_eq!(transform(3), transform(3));
        assert_ne!(transform(3), transform(4));
        for seed in 0..50 {
            assert!(transform(seed).iter().all(|v| (-2.0..=2.0).contains(v)));
        }
        // Some images are gray, others have a hidden square.
        let is_gray = |y: &[f32]| y.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b);
        let gray = (0..100).filter(|&seed| is_gray(&transform(seed))).count();
        assert!((5..50).contains(&gray), "{gray}");
    }
}
