//! Mel bands: 240 bins into 40 overlapping triangles.
//!
//! Each bin lies between the centres of two neighbouring bands: it gives the share `w` of its power
//! to the lower one and `1 - w` to the upper one, as in TensorFlow Lite's
//! `microfrontend/lib/filterbank.c`. The second share is what the first leaves, so one multiply a
//! bin is enough. The table travels in the model; [`FrontendParams`] describes it.
//!
//! In: 255 powers in Q6. Out: 40 powers in Q6.

use super::fft::{self, Spectrum};
use super::params::{FrontendParams, MEL_WEIGHT_BITS, words};
use super::{MEL_CHANNELS, MelPowers};

/// The checked table of a model.
#[derive(Clone, Copy, Debug)]
pub struct MelBands<'a> {
    starts: &'a [u8],
    weights: &'a [u8],
}

impl<'a> MelBands<'a> {
    /// The table of `params`, which must have been validated.
    pub fn new(params: &FrontendParams<'a>) -> Self {
        Self { starts: params.mel_starts, weights: params.mel_weights }
    }

    /// `out[c] = ⌊Σ w·power⌋` with `w` in Q12.
    ///
    /// By Parseval's theorem the powers of bins 1…255 sum to less than
    /// 2⁶ · 256 · 180 · 2³⁰ < 2⁵², so the sums of products in Q12 stay in `u64`.
    /// The operations wrap only for a table that was not validated.
    pub fn accumulate(&self, spectrum: &Spectrum, out: &mut MelPowers) {
        let mut starts = words(self.starts);
        let mut start = starts.next().unwrap_or(1);
        let mut bins = spectrum.bins.iter().skip(usize::from(start)).zip(words(self.weights));
        // The share of the segment below that belongs to the band whose centre ends it.
        let mut carried = 0u64;
        for (segment, end) in starts.take(MEL_CHANNELS + 1).enumerate() {
            let (mut weighted, mut total) = (0u64, 0u64);
            for (&bin, weight) in bins.by_ref().take(usize::from(end.saturating_sub(start))) {
                let power = fft::power(bin);
                weighted = weighted.wrapping_add(power.wrapping_mul(u64::from(weight)));
                total = total.wrapping_add(power);
            }
            // The first segment's falling share lies under the lowest band: nobody's.
            if let Some(channel) = segment.checked_sub(1).and_then(|c| out.get_mut(c)) {
                *channel = carried.wrapping_add(weighted) >> MEL_WEIGHT_BITS;
            }
            carried = (total << MEL_WEIGHT_BITS).wrapping_sub(weighted);
            start = end;
        }
    }
}
