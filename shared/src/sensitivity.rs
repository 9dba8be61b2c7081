//! Named thresholds of a keyword, and the scale on which every threshold has the same value.

use crate::{detector::LOGIT_CLAMP, model::OperatingPoint};

/// Distance in Q8 log-odds to a stricter or a more sensitive threshold if the table has no row for
/// it: one unit, or five levels.
const STEP: i16 = 256;

/// Named sensitivity of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// Fewest false accepts, most misses.
    Strict,
    /// The keyword's own threshold.
    Normal,
    /// Fewest misses, more false accepts.
    Eager,
}

impl Sensitivity {
    /// Returns the threshold (Q8) of a keyword with these operating points and this threshold of
    /// its own.
    ///
    /// `Normal` is the keyword's own. `Strict` is the threshold of the table's strictest row.
    /// `Eager` is that of the next looser row that counts more false accepts than the keyword's
    /// own. If the table has no such row, the threshold moves by one unit of log-odds. `Strict`
    /// moves by at least this much, but not beyond the largest possible smoothed logit.
    ///
    /// ```
    /// use wakeling_shared::{model::OperatingPoint, sensitivity::Sensitivity};
    ///
    /// let point = |false_accepts, threshold| OperatingPoint { false_accepts, audio_seconds: 7_200, threshold };
    /// let points = [point(0, 1_800), point(1, 900), point(9, 200)]; // of two hours of negatives
    /// assert_eq!(Sensitivity::Strict.threshold(&points, 900), 1_800);
    /// assert_eq!(Sensitivity::Normal.threshold(&points, 900), 900);
    /// assert_eq!(Sensitivity::Eager.threshold(&points, 900), 200);
    /// assert_eq!(Sensitivity::Eager.threshold(&[], 900), 644);
    /// ```
    pub fn threshold(self, points: &[OperatingPoint], own: i16) -> i16 {
        match self {
            Self::Normal => own,
            Self::Strict => {
                let strictest = points.iter().map(|p| p.threshold).max().unwrap_or(own);
                strictest.max(own.saturating_add(STEP)).min(LOGIT_CLAMP).max(own)
            }
            Self::Eager => {
                // A looser row with the same count would show no difference.
                let counted = counted(points, own);
                let is_looser = |p: &&OperatingPoint| {
                    p.threshold < own && counted.is_none_or(|count| p.false_accepts > count)
                };
                let next = points.iter().filter(is_looser).map(|p| p.threshold).max();
                next.unwrap_or(own.saturating_sub(STEP))
            }
        }
    }
}

/// Returns the false accepts counted at a threshold (Q8): those of the row with this threshold, or
/// none if a looser row counts none.
fn counted(points: &[OperatingPoint], threshold: i16) -> Option<u32> {
    let row = nearest_below(points, threshold)?;
    (row.threshold == threshold || row.false_accepts == 0).then_some(row.false_accepts)
}

/// Returns the row with the highest threshold that is at most `threshold` (Q8); of several, the
/// one with the fewest false accepts.
pub fn nearest_below(points: &[OperatingPoint], threshold: i16) -> Option<&OperatingPoint> {
    let below = points.iter().filter(|p| p.threshold <= threshold);
    below.max_by_key(|p| (p.threshold, core::cmp::Reverse(p.false_accepts)))
}

/// Level of the threshold itself, in tenths.
pub const THRESHOLD_TENTHS: u16 = 500;
/// Highest level, in tenths.
pub const HIGHEST_TENTHS: u16 = 1_000;
/// Tenths of a level per unit of log-odds, which is 256 in Q8.
const TENTHS_PER_LOGIT: i32 = 50;

/// Returns the level of a smoothed logit for a threshold, both in Q8, in tenths:
/// `min(1000, max(0, 500 + ⌊50 · (logit − threshold) / 256⌋))`. It is 500 or more exactly where the
/// detector fires.
///
/// ```
/// use wakeling_shared::sensitivity::level_tenths;
///
/// assert_eq!(level_tenths(-1_377, -1_377), 500);
/// assert_eq!(level_tenths(512, 0), 600); // two units of log-odds above the threshold
/// assert_eq!(level_tenths(i16::MIN, i16::MAX), 0);
/// ```
pub fn level_tenths(logit: i16, threshold: i16) -> u16 {
    let distance = i32::from(logit) - i32::from(threshold);
    let tenths = i32::from(THRESHOLD_TENTHS) + ((distance * TENTHS_PER_LOGIT) >> 8);
    tenths.clamp(0, HIGHEST_TENTHS.into()) as u16
}
