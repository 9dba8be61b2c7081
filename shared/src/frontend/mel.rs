//! Mel bands: 240 bins into 40 overlapping triangles.
//!
//! Each bin is between the centres of two neighbouring bands. It contributes the share `w` of its
//! power to the lower one and `1 - w` to the upper one, as in TensorFlow Lite's
//! `microfrontend/lib/filterbank.c`. The second share is the remainder of the first, so one
//! multiplication per bin is enough. The table is part of the model; see [`FrontendParams`].
//!
//! In: 255 powers in Q16. Out: 40 powers in Q6.

use super::fft::Spectrum;
use super::params::FrontendParams;
use super::{MelPowers, kernels};

/// Mel table of a model, checked.
#[derive(Clone, Copy, Debug)]
pub struct MelBands<'a> {
    /// First bin of each segment and end of the last, then one weight per bin; `None` if they are
    /// invalid.
    tables: Option<Tables<'a>>,
}

/// Little-endian words.
type Tables<'a> = (&'a [[u8; 2]], &'a [[u8; 2]]);

impl<'a> MelBands<'a> {
    /// Uses the tables of `params`, which must have been validated. With invalid ones every power
    /// is 0.
    pub fn new(params: &FrontendParams<'a>) -> Self {
        let fits = params.validate_tables().is_ok();
        let tables = (params.mel_starts.as_chunks().0, params.mel_weights.as_chunks().0);
        Self { tables: fits.then_some(tables) }
    }

    /// Returns 42 starts in ascending order, none above 256, and one weight for each bin between
    /// the first and the last.
    pub(super) fn tables(&self) -> Option<Tables<'a>> {
        self.tables
    }

    /// Computes `out[c] = ⌊2⁶⁻¹⁶ · Σ w·power⌋` with `w` in Q12.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub fn accumulate(&self, spectrum: &Spectrum, out: &mut MelPowers) {
        kernels::mel_powers(&spectrum.bins, self, out);
    }
}
