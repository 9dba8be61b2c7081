//! Sensitivity as people choose and read it: thresholds from a model's table, and scores on a scale
//! with the threshold in its middle.

use crate::{detector::LOGIT_CLAMP, model::OperatingPoint};

/// Distance in Q8 log-odds to a stricter or a more sensitive threshold if the table has no row for
/// it: one unit, or five levels.
const STEP: i16 = 256;
/// Tenths of a level at the threshold.
pub const THRESHOLD_TENTHS: i32 = 500;
/// Highest level, in tenths.
pub const HIGHEST_TENTHS: i32 = 1_000;
/// Tenths of a level per unit of log-odds, which is 256 in Q8.
const TENTHS_PER_LOGIT: i32 = 50;

/// Returns the threshold (Q8) of the table's strictest row. It is above the keyword's own by at
/// least one unit of log-odds, but not beyond the largest possible smoothed logit.
///
/// ```
/// use wakeling_shared::{model::OperatingPoint, sensitivity::{eager, strict}};
///
/// let point = |false_accepts, threshold| OperatingPoint { false_accepts, audio_seconds: 7_200, threshold };
/// let points = [point(0, 1_800), point(1, 900), point(9, 200)]; // of two hours of negatives
/// assert_eq!((strict(&points, 900), eager(&points, 900)), (1_800, 200));
/// ```
pub fn strict(points: &[OperatingPoint], own: i16) -> i16 {
    let strictest = points.iter().map(|p| p.threshold).max().unwrap_or(own);
    strictest.max(own.saturating_add(STEP)).min(LOGIT_CLAMP).max(own)
}

/// Returns the threshold (Q8) of the next looser row that counts more false accepts than the
/// keyword's own threshold. If the table has no such row, the threshold is one unit of log-odds
/// below the keyword's own.
pub fn eager(points: &[OperatingPoint], own: i16) -> i16 {
    // A looser row with the same count would show no difference.
    let counted = match row_below(points, own) {
        Some((row, true)) => Some(row.false_accepts),
        _ => None,
    };
    let is_looser = |p: &&OperatingPoint| {
        p.threshold < own && counted.is_none_or(|count| p.false_accepts > count)
    };
    let next = points.iter().filter(is_looser).map(|p| p.threshold).max();
    next.unwrap_or(own.saturating_sub(STEP))
}

/// Returns the strictest row at or below a threshold (Q8), and whether its count holds for that
/// threshold exactly: it does at the row's own threshold, and where the row counts none.
pub fn row_below(points: &[OperatingPoint], threshold: i16) -> Option<(&OperatingPoint, bool)> {
    let below = points.iter().filter(|p| p.threshold <= threshold);
    let row = below.max_by_key(|p| (p.threshold, core::cmp::Reverse(p.false_accepts)))?;
    Some((row, row.threshold == threshold || row.false_accepts == 0))
}

/// Returns the level of a smoothed logit for a threshold, both in Q8, in tenths:
/// `min(1000, max(0, 500 + 50 · (logit − threshold)))`, rounded down. It is 500 or more exactly where
/// the detector fires.
///
/// ```
/// use wakeling_shared::sensitivity::level_tenths;
/// assert_eq!(level_tenths(-1_377, -1_377), 500);
/// assert_eq!(level_tenths(-1_377 + 512, -1_377), 600); // two units of log-odds
/// ```
pub fn level_tenths(logit: i16, threshold: i16) -> i32 {
    let distance = i32::from(logit) - i32::from(threshold);
    let tenths = THRESHOLD_TENTHS + ((distance * TENTHS_PER_LOGIT) >> 8);
    tenths.clamp(0, HIGHEST_TENTHS)
}
