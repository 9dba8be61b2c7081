//! Mel bands: 240 bins into 40 overlapping triangles.
//!
//! Each bin lies between the centres of two neighbouring bands: it gives the share `w` of its power
//! to the lower one and `1 - w` to the upper one, as in TensorFlow Lite's
//! `microfrontend/lib/filterbank.c`. The second share is what the first leaves, so one multiply a
//! bin is enough. The table travels in the model; [`FrontendParams`] describes it.
//!
//! In: 255 powers in Q16. Out: 40 powers in Q6.

use super::fft::{self, Spectrum};
use super::params::{FrontendParams, MEL_WEIGHT_BITS, words};
use super::{MEL_CHANNELS, MelPowers, kernels};

/// Fractional bits of a mel power.
const MEL_FRACTION_BITS: u32 = 6;

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

    /// `out[c] = ⌊2⁶⁻¹⁶ · Σ w·power⌋` with `w` in Q12.
    ///
    /// The powers sum to less than 2⁶², so their high words times weights, and their low words times
    /// weights, each stay in 63 bits; together they are exact. The operations wrap only for a table
    /// that was not validated.
    pub fn accumulate(&self, spectrum: &Spectrum, out: &mut MelPowers) {
        let mut starts = words(self.starts);
        let mut start = starts.next().unwrap_or(1);
        let mut bins = spectrum.bins.get(usize::from(start)..).unwrap_or_default();
        let mut weights = self.weights.as_chunks().0;
        // The share of the segment below that belongs to the band whose centre ends it.
        let mut carried = Wide::default();
        for (segment, end) in starts.take(MEL_CHANNELS + 1).enumerate() {
            let count = usize::from(end.saturating_sub(start)).min(bins.len()).min(weights.len());
            let (inside, above) = bins.split_at(count);
            let (shares, later) = weights.split_at(count);
            let sums = kernels::segment(inside, shares);
            // The first segment's falling share lies under the lowest band: nobody's.
            if let Some(channel) = segment.checked_sub(1).and_then(|c| out.get_mut(c)) {
                *channel = carried.mel_power(sums);
            }
            carried = Wide::rest(sums);
            (start, bins, weights) = (end, above, later);
        }
    }
}

/// Sums over a part of the powers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sums {
    /// `Σ w · ⌊power / 2³²⌋`.
    pub high: u64,
    /// `Σ w · (power mod 2³²)`.
    pub low: u64,
    /// `Σ power`.
    pub total: u64,
}

/// `2³²·high + low`: a sum of powers times weights in Q12.
#[derive(Clone, Copy, Debug, Default)]
struct Wide {
    high: u64,
    /// Negative when something greater was taken away.
    low: i64,
}

impl Wide {
    /// `Σ (1 - w)·power`.
    const fn rest(Sums { high, low, total }: Sums) -> Self {
        const ONE: u64 = 1 << MEL_WEIGHT_BITS;
        Self {
            high: ((total >> 32) * ONE).wrapping_sub(high),
            low: ((total & 0xFFFF_FFFF) * ONE).wrapping_sub(low) as i64,
        }
    }

    /// The sum with `Σ w·power` of `sums`, in Q6 and rounded down.
    const fn mel_power(self, sums: Sums) -> u64 {
        const SHIFT: u32 = fft::POWER_FRACTION_BITS + MEL_WEIGHT_BITS - MEL_FRACTION_BITS;
        let high = self.high.wrapping_add(sums.high);
        let low = self.low.wrapping_add_unsigned(sums.low) >> SHIFT;
        (high << (32 - SHIFT)).wrapping_add_signed(low)
    }
}
