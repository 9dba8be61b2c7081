//! Linear discriminant from utterances and the statistics of negative speech.
//!
//! The whitened columns of negative speech are modelled as a vector autoregression (Lütkepohl, New
//! Introduction to Multiple Time Series Analysis, section 2.1): each column is predicted from the
//! one or two before it at the distance of the taps, and the residual is white. With `E` for the
//! linear map from a window of columns to its residuals, the inverse of the covariance of a window
//! is `Eᵀ·E`. The discriminant between a mean utterance `u` and negative speech is thus
//! `w = Eᵀ·E·u` (Hastie et al., The Elements of Statistical Learning, section 4.3). The score
//! `w·x = ⟨E·u, E·x⟩` has the standard deviation `‖E·u‖` over negative speech, so a threshold can
//! be set without any. The columns before the oldest tap count as 0.

use super::{Column, Head, MAX_CHANNELS, MAX_TAPS, Utterance};
use crate::model::Statistics;

/// Fractional bits of residuals.
const RESIDUAL_BITS: u32 = 3;
/// Fractional bits of predictors.
const PREDICTOR_BITS: u32 = 7;

/// Window of columns or residuals, tap 0 the newest.
type Window = [[i16; MAX_CHANNELS]; MAX_TAPS];

/// Discriminant of some utterances.
///
/// Its weights are computed row by row when they are needed, since a board has no stack to spare.
pub(super) struct Discriminant<'s, 'm> {
    residuals: Residuals<'s, 'm>,
    /// Residuals of the sum of the utterances.
    common: Window,
    /// Right shift after which the largest weight fills an `i16`.
    shift: u32,
    /// Threshold on the sum of the products of weights and columns.
    pub threshold: i64,
}

impl Discriminant<'_, '_> {
    /// Returns the weights of tap `k`.
    pub fn weights(&self, k: usize) -> [i16; MAX_CHANNELS] {
        let mut wide = [0; MAX_CHANNELS];
        self.residuals.transposed(k, &self.common, &mut wide);
        wide.map(|w| (w >> self.shift) as i16)
    }
}

/// Returns the sums of the utterances at tap `k`.
pub(super) fn sums(utterances: &[Utterance], k: usize) -> [i16; MAX_CHANNELS] {
    let mut sums = [0; MAX_CHANNELS];
    for column in utterances.iter().filter_map(|utterance| utterance.get(k)) {
        sums.iter_mut().zip(column).for_each(|(sum, &x)| *sum += i16::from(x));
    }
    sums
}

/// Makes a discriminant. Returns `None` if half of the utterances or more, each against the head of
/// the others, would not reach their threshold.
///
/// Takes at most `(utterances + 2) · (order + 1) · taps · channels²` multiplications; the weights
/// of all taps take another `order · taps · channels²`.
#[inline(never)]
pub(super) fn discriminant<'s, 'm>(
    head: &Head,
    statistics: &'s Statistics<'m>,
    utterances: &[Utterance],
) -> Option<Discriminant<'s, 'm>> {
    let residuals = Residuals { statistics, taps: head.taps, channels: head.channels };
    let common = residuals.of_sum(utterances);
    let power: i64 = common.iter().map(|row| dot(row, row)).sum();
    let norm = root(power);
    let deviation = i64::from(statistics.deviation.max(1));

    let mut scores = [0; MAX_UTTERANCES];
    for (score, utterance) in scores.iter_mut().zip(utterances) {
        let (mut own, mut both) = (0, 0);
        for (k, common) in common.iter().enumerate().take(head.taps) {
            let row = residuals.row(k, |k, c| utterance[k][c].into());
            own += dot(&row, &row);
            both += dot(&row, common);
        }
        // Residuals of the others are those of all less its own.
        let others = root(power - 2 * both + own);
        *score = ((both - own) << (8 - RESIDUAL_BITS)) / (others * deviation).max(1);
    }
    let scores = scores.get_mut(..utterances.len())?;
    scores.sort_unstable();
    let median = *scores.get(scores.len() / 2)?;
    let share = i64::from(statistics.share_q8);
    let threshold_q8 = i64::from(statistics.threshold_q8) + ((median * share) >> 8);
    if median < threshold_q8 {
        return None;
    }

    let mut largest = 1;
    for k in 0..head.taps {
        let mut row = [0; MAX_CHANNELS];
        residuals.transposed(k, &common, &mut row);
        largest = row.iter().fold(largest, |most, w| w.unsigned_abs().max(most));
    }
    let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(15);
    // A score of z deviations is a product of 2⁷ · z · deviation · ‖common‖, and the threshold is
    // Q8.
    let threshold = (norm * deviation * threshold_q8) >> (8 - PREDICTOR_BITS) >> shift;
    Some(Discriminant { residuals, common, shift, threshold })
}

/// Largest number of utterances.
pub(super) const MAX_UTTERANCES: usize = 8;

fn dot(a: &[i16], b: &[i16]) -> i64 {
    a.iter().zip(b).map(|(&a, &b)| i64::from(i32::from(a) * i32::from(b))).sum()
}

/// Returns the integer square root; 0 of negative numbers.
fn root(x: i64) -> i64 {
    x.max(0).isqrt()
}

/// The map from windows to residuals.
struct Residuals<'s, 'm> {
    statistics: &'s Statistics<'m>,
    taps: usize,
    channels: usize,
}

impl Residuals<'_, '_> {
    /// Returns the residuals of the sum of the utterances.
    #[inline(never)]
    fn of_sum(&self, utterances: &[Utterance]) -> Window {
        let mut sum = [[0; MAX_CHANNELS]; MAX_TAPS];
        for (k, row) in sum.iter_mut().enumerate().take(self.taps) {
            *row = sums(utterances, k);
        }
        let mut residuals = [[0; MAX_CHANNELS]; MAX_TAPS];
        for (k, row) in residuals.iter_mut().enumerate().take(self.taps) {
            *row = self.row(k, |k, c| sum[k][c].into());
        }
        residuals
    }

    /// Returns the predictor of channel `c` from the column `j + 1` taps earlier.
    fn predictor(&self, j: usize, c: usize) -> impl Iterator<Item = i32> {
        let n = self.channels;
        let from = (j * n + c) * n;
        let row = self.statistics.predictors.get(from..from + n).unwrap_or_default();
        row.iter().map(|&byte| i32::from(byte as i8))
    }

    /// Number of earlier columns that predict tap `k`.
    fn order(&self, k: usize) -> usize {
        usize::from(self.statistics.order).min(self.taps.saturating_sub(k + 1))
    }

    /// Returns the residuals of tap `k` of a window, with [`RESIDUAL_BITS`], saturated.
    ///
    /// A value of a window is at most 2⁷ · [`MAX_UTTERANCES`] = 2¹⁰, so a sum stays below 2²⁵.
    #[inline(never)]
    fn row(&self, k: usize, window: impl Fn(usize, usize) -> i32) -> [i16; MAX_CHANNELS] {
        const SHIFT: u32 = PREDICTOR_BITS - RESIDUAL_BITS;
        const LIMIT: i32 = i16::MAX as i32;
        let mut residuals = [0; MAX_CHANNELS];
        for (c, slot) in residuals.iter_mut().enumerate().take(self.channels) {
            let mut x = window(k, c) << PREDICTOR_BITS;
            for j in 0..self.order(k) {
                let products = self.predictor(j, c).enumerate();
                x -= products.map(|(i, p)| p * window(k + j + 1, i)).sum::<i32>();
            }
            *slot = ((x + (1 << (SHIFT - 1))) >> SHIFT).clamp(-LIMIT, LIMIT) as i16;
        }
        residuals
    }

    /// Computes row `k` of the transposed map, with `RESIDUAL_BITS + PREDICTOR_BITS`.
    ///
    /// A sum stays below 2¹⁵ · (2⁷ + 2 · 96 · 2⁷) < 2³⁰.
    fn transposed(&self, k: usize, residuals: &Window, row: &mut [i32; MAX_CHANNELS]) {
        for (slot, &x) in row.iter_mut().zip(residuals.get(k).into_iter().flatten()) {
            *slot = i32::from(x) << PREDICTOR_BITS;
        }
        for j in 0..usize::from(self.statistics.order).min(k) {
            for (c, &x) in residuals[k - j - 1].iter().enumerate().take(self.channels) {
                for (slot, p) in row.iter_mut().zip(self.predictor(j, c)) {
                    *slot -= p * i32::from(x);
                }
            }
        }
    }
}

/// An utterance of zeros.
pub(super) const NO_UTTERANCE: Utterance = [NO_COLUMN; MAX_TAPS];
/// A column of zeros.
pub(super) const NO_COLUMN: Column = [0; MAX_CHANNELS];

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    const TAPS: usize = 5;
    const CHANNELS: usize = 7;
    const HEAD: Head = Head { taps: TAPS, dilation: 3, channels: CHANNELS, column: 1, at: [0; 3] };

    /// Linear congruential generator; returns −`most` … `most`.
    fn random(state: &mut u32, most: i32) -> i32 {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 16) as i32 % (2 * most + 1) - most
    }

    fn predictors(state: &mut u32) -> Vec<u8> {
        (0..2 * CHANNELS * CHANNELS).map(|_| random(state, 40) as i8 as u8).collect()
    }

    /// Utterances that share a random window, of this strength, and differ by noise.
    fn utterances(state: &mut u32, strength: i32, noise: i32) -> [Utterance; 5] {
        let mut all = [NO_UTTERANCE; 5];
        for k in 0..TAPS {
            for c in 0..CHANNELS {
                let common = random(state, strength);
                all.iter_mut().for_each(|u| u[k][c] = (common + random(state, noise)) as i8);
            }
        }
        all
    }

    fn statistics(predictors: &[u8]) -> Statistics<'_> {
        Statistics { deviation: 4, threshold_q8: 8 * 256, share_q8: 51, order: 2, predictors }
    }

    /// The map from windows to residuals in floating point.
    fn residuals(predictors: &[u8], window: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let predictor = |j: usize, c: usize, i: usize| {
            f64::from(predictors[(j * CHANNELS + c) * CHANNELS + i] as i8) / 128.0
        };
        let at = |k: usize, c: usize| {
            let mut x = window[k][c];
            for j in 0..2 {
                if k + j + 1 < TAPS {
                    let column = &window[k + j + 1];
                    x -= (0..CHANNELS).map(|i| predictor(j, c, i) * column[i]).sum::<f64>();
                }
            }
            x
        };
        (0..TAPS).map(|k| (0..CHANNELS).map(|c| at(k, c)).collect()).collect()
    }

    fn product(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
        a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn scores_and_threshold_are_those_of_the_formula() {
        let state = &mut 1;
        let predictors = predictors(state);
        let statistics = statistics(&predictors);
        let utterances = utterances(state, 60, 12);
        let found = discriminant(&HEAD, &statistics, &utterances).expect("they are alike");

        let window = |value: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
            (0..TAPS).map(|k| (0..CHANNELS).map(|c| value(k, c)).collect()).collect()
        };
        let own = |u: usize| window(&|k, c| f64::from(utterances[u][k][c]));
        let mean_of = |left_out: usize| {
            let kept = (0..5).filter(move |&u| u != left_out);
            let n = kept.clone().count() as f64;
            window(&|k, c| kept.clone().map(|u| f64::from(utterances[u][k][c])).sum::<f64>() / n)
        };
        let mean = residuals(&predictors, &mean_of(9));
        let norm = product(&mean, &mean).sqrt();
        // The weights are the transposed map of the residuals, up to a factor.
        let weights = window(&|k, c| f64::from(found.weights(k)[c]));
        let mut ratios = vec![];
        for _ in 0..20 {
            let mut value = || f64::from(random(state, 100));
            let x: Vec<Vec<f64>> =
                (0..TAPS).map(|_| (0..CHANNELS).map(|_| value()).collect()).collect();
            let expected = product(&mean, &residuals(&predictors, &x)) / norm / 4.0;
            if expected.abs() > 5.0 {
                ratios.push(product(&weights, &x) / expected);
            }
        }
        let unit = ratios.iter().sum::<f64>() / ratios.len() as f64;
        assert!(ratios.len() > 5 && ratios.iter().all(|r| (r / unit - 1.0).abs() < 0.01));

        let mut scores: Vec<f64> = (0..5)
            .map(|u| {
                let others = residuals(&predictors, &mean_of(u));
                let own = residuals(&predictors, &own(u));
                product(&others, &own) / product(&others, &others).sqrt() / 4.0
            })
            .collect();
        scores.sort_by(f64::total_cmp);
        let expected = (8.0 + scores[2] * 51.0 / 256.0) * unit;
        assert!((found.threshold as f64 / expected - 1.0).abs() < 0.01);
    }

    #[test]
    fn utterances_without_much_in_common_are_refused() {
        let state = &mut 2;
        let predictors = predictors(state);
        let statistics = statistics(&predictors);
        let accepts =
            |utterances: &[Utterance]| discriminant(&HEAD, &statistics, utterances).is_some();
        assert!(accepts(&utterances(state, 60, 12)));
        assert!(!accepts(&utterances(state, 4, 60)));
        // One of five may be anything.
        let mut five = utterances(state, 60, 12);
        five[1] = utterances(state, 4, 60)[0];
        assert!(accepts(&five));
        assert!(!accepts(&[NO_UTTERANCE; 5]) && !accepts(&[]));
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        for sign in [127i8, -127] {
            let all = vec![sign as u8; 2 * MAX_CHANNELS * MAX_CHANNELS];
            let statistics = Statistics { deviation: 1, ..statistics(&all) };
            let head = Head { taps: MAX_TAPS, channels: MAX_CHANNELS, ..HEAD };
            let utterances = [[[-128; MAX_CHANNELS]; MAX_TAPS]; MAX_UTTERANCES];
            let found = discriminant(&head, &statistics, &utterances).expect("they are equal");
            assert!(found.weights(0).iter().any(|&w| w != 0));
        }
    }
}
