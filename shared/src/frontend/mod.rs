//! Features: 16 kHz mono `i16` in, 40 mel features `i8` every 10 ms out.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | window | [`window`] | any number of `i16` | the last 480, every 160 samples |
//! | spectrum | [`fft`] | 480 `i16`, windowed | bins 1…255, `\|X\|²` as `u64` in Q16 |
//! | mel bands | [`mel`] | bins 1…255 | [`MelPowers`], 40 `u64` in Q6 |
//! | normalization | [`normalize`] | [`MelPowers`] | 40 `i8` |
//!
//! The first three stages are [`PowerFrontend`], whose only state is the last 320 samples. The last
//! stage is [`Normalizer`], which follows the level of the room and the voice. They are separate so
//! that a trainer can store the powers, augment them, and then run the code of the device on the
//! result. [`Frontend`] combines the two.
//!
//! A window at [full scale](crate::mic_health::is_full_scale) does not change the level. Such sound
//! raises the level faster than it falls, and the device would miss keywords for seconds
//! afterwards.
//!
//! All arithmetic is on integers, with one rounding at each place and no scaling that depends on
//! the data. Every processor thus returns the same bytes, and quiet sound is as exact as loud
//! sound. The structure (30 ms Hann window, 512 points, 40 bands of triangles from 125 to 7,500 Hz)
//! is that of TensorFlow Lite's `tensorflow/lite/experimental/microfrontend`. Unlike there, the
//! spectrum keeps 32 bits, so no block of samples is rescaled.

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

use crate::mic_health::is_full_scale;
use fft::Spectrum;
use window::Window;

/// Number of points of the real Fourier transform. The window is padded with zeros to this length.
pub const FFT_SIZE: usize = 512;
/// Number of mel bands in a frame.
pub const MEL_CHANNELS: usize = 40;

/// Power of each mel band, `64 · Σ w·|X|²` rounded down, where `X` is the unscaled 512-point
/// transform of the windowed samples. At most 2⁵².
pub type MelPowers = [u64; MEL_CHANNELS];
/// Features of one frame, the input of the network.
pub type Features = [i8; MEL_CHANNELS];

/// Computes mel powers from samples: window, spectrum, mel bands. Takes about 3.4 KB.
#[derive(Clone, Debug)]
pub struct PowerFrontend<'a> {
    window: Window,
    spectrum: Spectrum,
    mel: mel::MelBands<'a>,
    powers: MelPowers,
    full_scale: bool,
}

impl<'a> PowerFrontend<'a> {
    /// Creates a front end with an empty window. `params` must have passed
    /// [`FrontendParams::validate`]. With invalid ones nothing panics, but the powers are
    /// meaningless.
    ///
    /// Inlined, with all that it calls, so that it is built in place. A value that is built and
    /// then moved is on the stack twice.
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

    /// Processes samples until a frame is ready. Returns the number of samples consumed, and
    /// whether [`PowerFrontend::powers`] is new.
    ///
    /// The caller repeats the call with the rest until nothing is left. The first frame is ready at
    /// sample 480, and then one at every 160, however the samples are divided.
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

    /// Powers of the latest frame; zeros before the first.
    pub fn powers(&self) -> &MelPowers {
        &self.powers
    }

    /// Returns whether the latest frame's window was at full scale. Its level is then meaningless.
    pub fn is_full_scale(&self) -> bool {
        self.full_scale
    }

    /// Resets to the initial state.
    pub fn reset(&mut self) {
        self.window.reset();
        self.powers = [0; MEL_CHANNELS];
        self.full_scale = false;
    }
}

/// Computes features from samples: [`PowerFrontend`], then [`Normalizer`].
///
/// ```
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/loud.rs")); }
/// # let file = support::loud_model();
/// # let model = wakeling_shared::model::Model::load(&file).unwrap();
/// use wakeling_shared::frontend::Frontend;
///
/// let mut frontend = Frontend::new(&model.frontend);
/// let (mut features, mut frames) = ([0; 40], 0);
/// let pcm = support::sawtooth(16_000); // a second
/// let mut rest = &pcm[..];
/// while !rest.is_empty() {
///     let (consumed, is_ready) = frontend.push(rest, &mut features);
///     rest = &rest[consumed..];
///     frames += usize::from(is_ready);
/// }
/// assert_eq!(frames, 98); // the first after 30 ms, then one every 10 ms
/// assert!(features.iter().max() > Some(&50)); // of the last frame
/// ```
#[derive(Clone, Debug)]
pub struct Frontend<'a> {
    power: PowerFrontend<'a>,
    normalizer: Normalizer<'a>,
}

impl<'a> Frontend<'a> {
    /// Creates a front end before the first sample; see [`PowerFrontend::new`] for the requirements
    /// on `params`.
    #[inline(always)]
    pub fn new(params: &FrontendParams<'a>) -> Self {
        Self {
            power: PowerFrontend::new(params),
            normalizer: Normalizer::new(params.normalization),
        }
    }

    /// Processes samples until a frame is ready. Returns the number of samples consumed, and
    /// whether `features` was written. See [`PowerFrontend::push`].
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

    /// Level of the latest frame; see [`Normalizer::level`].
    pub fn level(&self) -> i32 {
        self.normalizer.level()
    }

    /// Resets to the initial state.
    pub fn reset(&mut self) {
        self.power.reset();
        self.normalizer.reset();
    }
}

#[cfg(test)]
mod tests;
