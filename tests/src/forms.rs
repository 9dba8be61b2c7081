//! Generated images: discs, crosses and stripes at random places in noise.

use wakeling_shared::model::Shape;
use wakeling_vision::{
    Labelling,
    dataset::{ImageSet, LabelledImage},
};

use crate::Random;

/// Labels of the images.
pub const FORMS: [&str; 3] = ["cross", "disc", "stripes"];

/// Returns the pixels of a gray image, `side × side`: form `form` of [`FORMS`], lighter than the
/// background, at a random position and of a random size.
pub fn form(random: &mut Random, form: usize, side: usize) -> Vec<u8> {
    let mut between = |low: f64, high: f64| low + (high - low) * (random.unit() + 1.0) / 2.0;
    let length = side as f64;
    let radius = between(0.2, 0.35) * length;
    let [y0, x0] = [0, 1].map(|_| between(radius, length - radius));
    let (behind, before) = (between(20.0, 110.0), between(150.0, 235.0));
    let mut pixels = Vec::new();
    for y in 0..side {
        for x in 0..side {
            let [dy, dx] = [y as f64 - y0, x as f64 - x0].map(f64::abs);
            let inside = dy <= radius && dx <= radius;
            let hit = match form {
                0 => inside && dy.min(dx) <= 0.25 * radius,
                1 => dy.hypot(dx) <= radius,
                _ => inside && (x / 2) % 2 == 0,
            };
            let value = if hit { before } else { behind };
            pixels.push((value + between(-12.0, 12.0)) as u8);
        }
    }
    pixels
}

/// Returns `count` gray images with one form each, in turn.
pub fn forms(seed: u64, count: usize, side: usize) -> ImageSet {
    let random = &mut Random::new(seed);
    let image = |i: usize| LabelledImage {
        pixels: form(random, i % FORMS.len(), side),
        answers: (0..FORMS.len()).map(|label| Some(label == i % FORMS.len())).collect(),
    };
    let all = (0..count).map(image).collect();
    ImageSet {
        shape: Shape { height: side as u16, width: side as u16, channels: 1 },
        labelling: Labelling::OneOf,
        labels: FORMS.map(String::from).into(),
        all,
    }
}
