//! Second-order filters: bandwidth, tilt and equalizer.
//!
//! The formulas are those of R. Bristow-Johnson's "Audio EQ Cookbook" (W3C note, 2021), run in f64
//! and transposed direct form II, since low cut-offs in f32 ring at audible levels. Shapes:
//! `(samples)` of f32, changed in place; a filter starts from silence.

use std::f64::consts::TAU;

use crate::audio::SAMPLE_RATE;

/// Highest usable frequency as a part of the sample rate; at one half the formulas degenerate.
const HIGHEST: f64 = 0.49;
/// Lowest usable frequency in Hz.
const LOWEST_HZ: f64 = 1.0;
/// Damping of the four sections of an eighth-order Butterworth filter, `1 / (2·cos θ)` with
/// θ = 11.25°, 33.75°, 56.25°, 78.75°.
const BUTTERWORTH_8: [f64; 4] = [0.509_795_6, 0.601_344_9, 0.899_976_2, 2.562_915_4];
/// The same for the fourth order, θ = 22.5° and 67.5°.
const BUTTERWORTH_4: [f64; 2] = [0.541_196_1, 1.306_563_0];
/// Where a tilted spectrum keeps its level: the middle of speech on a logarithmic scale, in Hz.
const TILT_PIVOT_HZ: f32 = 1_000.0;

/// `H(z) = (b0 + b1·z⁻¹ + b2·z⁻²) / (1 + a1·z⁻¹ + a2·z⁻²)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
}

impl Biquad {
    /// Passes below `hz` and falls by 12 dB an octave above; `q` is the height at `hz`.
    pub fn low_pass(hz: f32, q: f64) -> Self {
        let (cos, alpha) = angle(hz, q);
        let b = (1.0 - cos) / 2.0;
        Self::normalized([b, 2.0 * b, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Passes above `hz` and falls by 12 dB an octave below; `q` is the height at `hz`.
    pub fn high_pass(hz: f32, q: f64) -> Self {
        let (cos, alpha) = angle(hz, q);
        let b = (1.0 + cos) / 2.0;
        Self::normalized([b, -2.0 * b, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Raises or lowers the surroundings of `hz` by `db`; a larger `q` is narrower.
    pub fn peaking(hz: f32, q: f32, db: f32) -> Self {
        let (cos, alpha) = angle(hz, f64::from(q));
        let a = amplitude(db);
        Self::normalized(
            [1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a],
            [1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a],
        )
    }

    /// Raises everything well above `hz` by `db`, `hz` itself by half of that.
    pub fn high_shelf(hz: f32, q: f64, db: f32) -> Self {
        let (cos, alpha) = angle(hz, q);
        let a = amplitude(db);
        let root = 2.0 * a.sqrt() * alpha;
        Self::normalized(
            [
                a * ((a + 1.0) + (a - 1.0) * cos + root),
                -2.0 * a * ((a - 1.0) + (a + 1.0) * cos),
                a * ((a + 1.0) + (a - 1.0) * cos - root),
            ],
            [
                (a + 1.0) - (a - 1.0) * cos + root,
                2.0 * ((a - 1.0) - (a + 1.0) * cos),
                (a + 1.0) - (a - 1.0) * cos - root,
            ],
        )
    }

    fn normalized(b: [f64; 3], a: [f64; 3]) -> Self {
        Self { b: b.map(|b| b / a[0]), a: [a[1] / a[0], a[2] / a[0]] }
    }

    /// Filters in place.
    pub fn run(&self, x: &mut [f32]) {
        let Self { b: [b0, b1, b2], a: [a1, a2] } = *self;
        let (mut s1, mut s2) = (0.0, 0.0);
        for v in x {
            let input = f64::from(*v);
            let output = b0 * input + s1;
            s1 = b1 * input - a1 * output + s2;
            s2 = b2 * input - a2 * output;
            *v = output as f32;
        }
    }
}

/// Removes what lies above `hz`: 3 dB at `hz`, more than 48 dB an octave beyond.
///
/// Above 49 % of the sample rate there is nothing to remove, and the samples stay as they are.
pub fn low_pass(x: &mut [f32], hz: f32) {
    if f64::from(hz) < HIGHEST * f64::from(SAMPLE_RATE) {
        BUTTERWORTH_8.iter().for_each(|&q| Biquad::low_pass(hz, q).run(x));
    }
}

/// Removes what lies below `hz`: 3 dB at `hz`, 24 dB an octave beyond.
pub fn high_pass(x: &mut [f32], hz: f32) {
    BUTTERWORTH_4.iter().for_each(|&q| Biquad::high_pass(hz, q).run(x));
}

/// Tilts the spectrum about 1 kHz: bass by `-db / 2`, treble by `db / 2`.
pub fn tilt(x: &mut [f32], db: f32) {
    // A shelf of Butterworth damping rises without a bump.
    Biquad::high_shelf(TILT_PIVOT_HZ, std::f64::consts::FRAC_1_SQRT_2, db).run(x);
    super::level::gain(x, -db / 2.0);
}

fn angle(hz: f32, q: f64) -> (f64, f64) {
    let rate = f64::from(SAMPLE_RATE);
    let w = TAU * f64::from(hz).max(LOWEST_HZ).min(HIGHEST * rate) / rate;
    (w.cos(), w.sin() / (2.0 * q.max(1e-3)))
}

/// The cookbook's `A`: the square root of the gain.
fn amplitude(db: f32) -> f64 {
    10f64.powf(f64::from(db) / 40.0)
}
