//! Features: 16 kHz mono `i16` in, 40 mel features `i8` every 10 ms out.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | window | [`window`] | any number of `i16` | the last 480, every 160 samples |
//! | spectrum | [`fft`] | 480 `i16`, weighed | bins 1…255, `\|X\|²` as `u64` in Q16 |
//! | mel bands | [`mel`] | bins 1…255 | [`MelPowers`], 40 `u64` in Q6 |
//! | normalization | [`normalize`] | [`MelPowers`] | 40 `i8` |
//!
//! The first three are [`PowerFrontend`] and have no state but the last 320 samples; the last is
//! [`Normalizer`], which follows the level of a room and a voice. They are apart so that a trainer
//! can keep the powers, augment them, and run the very code of the device over the result.
//! [`Frontend`] is the two in a row.
//!
//! A window at [full scale](crate::fault::is_full_scale) leaves the level as it is: the level falls
//! more slowly than such sound raises it, and the device would be hard of hearing for seconds after.
//!
//! All arithmetic is on integers, with one rounding at each place and no scaling that depends on
//! the data: every processor gives the same bytes, and quiet sound is as exact as loud sound. The
//! structure (30 ms Hann window, 512 points, 40 bands of triangles from 125 to 7,500 Hz) is that of
//! TensorFlow Lite's `tensorflow/lite/experimental/microfrontend`; unlike it, the spectrum keeps
//! 32 bits, so no block of samples is rescaled.

pub mod error;
pub mod fft;
mod kernels;
pub mod log;
pub mod mel;
pub mod normalize;
pub mod params;
mod pcan;
pub mod window;

pub use error::FrontendError;
pub use log::log2_q8;
pub use normalize::Normalizer;
pub use params::{FrontendParams, Level, LevelStatistic, Normalization, Quantizer};

pub use crate::timebase::{HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES};

use crate::fault::is_full_scale;
use fft::Spectrum;
use window::Window;

/// Points of the real Fourier transform; the window is padded with zeros up to it.
pub const FFT_SIZE: usize = 512;
/// Mel bands of a frame.
pub const MEL_CHANNELS: usize = 40;

/// The power of each mel band, `64 · Σ w·|X|²` rounded down, where `X` is the unscaled 512-point
/// transform of the windowed samples. At most 2⁵².
pub type MelPowers = [u64; MEL_CHANNELS];
/// What the network sees of one frame.
pub type Features = [i8; MEL_CHANNELS];

/// Samples to mel powers: window, spectrum, mel bands. About 3.4 KB.
#[derive(Clone, Debug)]
pub struct PowerFrontend<'a> {
    window: Window,
    spectrum: Spectrum,
    mel: mel::MelBands<'a>,
    powers: MelPowers,
    full_scale: bool,
}

impl<'a> PowerFrontend<'a> {
    /// An empty window. `params` must have passed [`FrontendParams::validate`]; with others nothing
    /// panics, but the powers mean nothing.
    ///
    /// Inlined, as all that it calls, so that it is made where it stays: what is built first and then
    /// moved is on the stack twice.
    #[inline(always)]
    pub fn new(params: &FrontendParams<'a>) -> Self {
        Self {
            window: Window::new(),
            spectrum: Spectrum::new(),
            mel: mel::MelBands::new(params),
            powers: [0; MEL_CHANNELS],
            full_scale: false,
        }
    }

    /// Takes samples until a frame is ready; returns how many it took and whether
    /// [`PowerFrontend::powers`] is new.
    ///
    /// Call it again with the rest until nothing is left. The first frame comes with sample 480,
    /// then one with every 160, however the samples are divided.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub fn push(&mut self, pcm: &[i16]) -> (usize, bool) {
        let (consumed, ready) = self.window.push(pcm);
        if ready {
            self.spectrum.transform(self.window.samples());
            self.full_scale = is_full_scale(&self.window.samples().0);
            self.window.advance();
            self.spectrum.powers();
            self.mel.accumulate(&self.spectrum, &mut self.powers);
        }
        (consumed, ready)
    }

    /// The powers of the latest frame; zeros before the first.
    pub fn powers(&self) -> &MelPowers {
        &self.powers
    }

    /// Whether the latest frame's window was at full scale, so that its level says nothing.
    pub fn is_full_scale(&self) -> bool {
        self.full_scale
    }

    /// Forgets every sample, as if new.
    pub fn reset(&mut self) {
        self.window.reset();
        self.powers = [0; MEL_CHANNELS];
        self.full_scale = false;
    }
}

/// Samples to features: [`PowerFrontend`], then [`Normalizer`].
#[derive(Clone, Debug)]
pub struct Frontend<'a> {
    power: PowerFrontend<'a>,
    normalizer: Normalizer<'a>,
}

impl<'a> Frontend<'a> {
    /// A front end that has heard nothing; see [`PowerFrontend::new`] for what `params` must be.
    #[inline(always)]
    pub fn new(params: &FrontendParams<'a>) -> Self {
        Self {
            power: PowerFrontend::new(params),
            normalizer: Normalizer::new(params.normalization),
        }
    }

    /// Takes samples until a frame is ready; returns how many it took and whether `features` was
    /// written. See [`PowerFrontend::push`].
    pub fn push(&mut self, pcm: &[i16], features: &mut Features) -> (usize, bool) {
        let (consumed, ready) = self.power.push(pcm);
        if ready {
            let powers = self.power.powers();
            *features = if self.power.is_full_scale() {
                self.normalizer.process_apart(powers)
            } else {
                self.normalizer.process(powers)
            };
        }
        (consumed, ready)
    }

    /// The level of the latest frame; see [`Normalizer::level`].
    pub fn level(&self) -> i32 {
        self.normalizer.level()
    }

    /// Forgets samples and levels, as if new.
    pub fn reset(&mut self) {
        self.power.reset();
        self.normalizer.reset();
    }
}

#[cfg(test)]
mod tests;
