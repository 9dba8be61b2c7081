//! Scale for scores on which every model's threshold has the same value.

use std::fmt;

use wakeling_shared::sensitivity::{HIGHEST_TENTHS, THRESHOLD_TENTHS, level_tenths};

/// Smoothed logit on a scale of 0 to 100 with the threshold at 50:
/// `level = min(100, max(0, 50 + 5 · (logit − threshold)))`, rounded down to a tenth.
///
/// Logits are natural log-odds (Q8 in the code), so ten levels are a factor of `e² ≈ 7.4` in the
/// odds. The scale spans a factor of `e¹⁰ ≈ 22,000` to each side of the threshold. The level is
/// defined for every pair of logits and never falls as the logit rises. It is 50 or more exactly
/// where the detector fires. The level compares a score with the threshold in force, so it changes
/// with the sensitivity.
///
/// ```
/// use wakeling_device::sensitivity::DetectionLevel;
///
/// let threshold = -1_377; // Q8; another model has another one
/// assert_eq!(DetectionLevel::of(threshold, threshold).value(), 50.0);
/// assert_eq!(DetectionLevel::of(threshold + 512, threshold).value(), 60.0); // two units of log-odds
/// assert!(DetectionLevel::of(threshold - 1, threshold) < DetectionLevel::THRESHOLD);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DetectionLevel {
    tenths: i32,
}

impl DetectionLevel {
    /// Level of the threshold itself.
    pub const THRESHOLD: Self = Self { tenths: THRESHOLD_TENTHS };

    /// Computes the level of a smoothed logit for a threshold, both in Q8.
    pub fn of(logit: i16, threshold: i16) -> Self {
        Self { tenths: level_tenths(logit, threshold) }
    }

    /// Returns the level, 0 to 100, with one decimal.
    pub fn value(self) -> f64 {
        f64::from(self.tenths) / 10.0
    }

    /// Returns the share of the whole scale, 0 to 1, for a bar; the threshold is at 0.5.
    pub fn share(self) -> f64 {
        f64::from(self.tenths) / f64::from(HIGHEST_TENTHS)
    }
}

/// Formats the level rounded down, so that 49.9 does not look like a detection.
impl fmt::Display for DetectionLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.tenths / 10).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_threshold_stands_at_fifty() {
        // The thresholds of three training runs: 0.0046, 0.9994, 0.0288.
        for threshold in [-1_377, 1_898, -901, 0, i16::MIN, i16::MAX] {
            assert_eq!(DetectionLevel::of(threshold, threshold), DetectionLevel::THRESHOLD);
            assert_eq!(DetectionLevel::of(threshold, threshold).share(), 0.5);
        }
        assert_eq!(DetectionLevel::of(512, 0).value(), 60.0);
        assert_eq!(DetectionLevel::of(0, 512).value(), 40.0);
        assert_eq!(DetectionLevel::of(i16::MAX, i16::MIN).value(), 100.0);
        assert_eq!(DetectionLevel::of(i16::MIN, i16::MAX).value(), 0.0);
    }

    #[test]
    fn levels_never_fall_and_show_a_detection_exactly() {
        for threshold in [i16::MIN, -3_072, -1_377, 0, 77, 1_898, 3_072, i16::MAX] {
            let mut last = DetectionLevel::of(i16::MIN, threshold);
            for logit in i16::MIN..=i16::MAX {
                let level = DetectionLevel::of(logit, threshold);
                assert!(level >= last, "{logit} and {threshold}");
                assert_eq!(level >= DetectionLevel::THRESHOLD, logit >= threshold);
                let shown: i32 = level.to_string().parse().unwrap();
                assert_eq!(shown >= 50, logit >= threshold, "{logit} and {threshold}");
                last = level;
            }
        }
    }

    #[test]
    fn padding_keeps_the_width() {
        assert_eq!(
            format!("{:>5}|{:<4}|", DetectionLevel::THRESHOLD, DetectionLevel::THRESHOLD),
            "   50|50  |"
        );
    }
}
