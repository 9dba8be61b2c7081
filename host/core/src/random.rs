//! Random numbers in one place, so that a seed means the same everywhere.

use rand::{Rng, RngExt};

/// Returns a standard normal number (Box & Muller 1958).
pub fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * rng.random::<f64>().max(f64::MIN_POSITIVE).ln()).sqrt();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (radius * angle.cos()) as f32
}
