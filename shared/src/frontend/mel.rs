//! Mel bands: 240 bins into 40 overlapping triangles.
//!
//! Each bin lies between the centres of two neighbouring bands: it gives the share `w` of its power
//! to the lower one and `1 - w` to the upper one, as in TensorFlow Lite's
//! `microfrontend/lib/filterbank.c`. The second share is what the first leaves, so one multiply a
//! bin is enough. The table travels in the model; [`FrontendParams`] describes it.
//!
//! In: 255 powers in Q16. Out: 40 powers in Q6.

use super::fft::Spectrum;
use super::params::FrontendParams;
use super::{MelPowers, kernels};

/// The checked table of a model.
#[derive(Clone, Copy, Debug)]
pub struct MelBands<'a> {
    /// The first bin of each segment and the end of the last, then a weight a bin, if they fit.
    tables: Option<Tables<'a>>,
}

/// Little-endian words.
type Tables<'a> = (&'a [[u8; 2]], &'a [[u8; 2]]);

impl<'a> MelBands<'a> {
    /// The table of `params`, which must have been validated; with another every power is 0.
    pub fn new(params: &FrontendParams<'a>) -> Self {
        let fits = params.validate_tables().is_ok();
        let tables = (params.mel_starts.as_chunks().0, params.mel_weights.as_chunks().0);
        Self { tables: fits.then_some(tables) }
    }

    /// 42 starts in ascending order, none above 256, and as many weights as bins between the first and
    /// the last.
    pub(super) fn tables(&self) -> Option<Tables<'a>> {
        self.tables
    }

    /// `out[c] = ⌊2⁶⁻¹⁶ · Σ w·power⌋` with `w` in Q12.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub fn accumulate(&self, spectrum: &Spectrum, out: &mut MelPowers) {
        kernels::mel_powers(&spectrum.bins, self, out);
    }
}
