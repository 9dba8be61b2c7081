//! Smoothing and decision: a keyword's logits in, at most one detection per utterance out.
//!
//! The logit is clamped, so that a single outlier cannot dominate the window. It is averaged over
//! the last few steps and compared with a threshold. After a detection there is no other until the
//! refractory period ends.

use serde::{Deserialize, Serialize};

/// Longest smoothing window, in steps.
pub const MAX_SMOOTHING: usize = 16;
/// Logits are clamped to ±12 (Q8) before they are averaged: `sigmoid(12) = 0.999994`.
pub const LOGIT_CLAMP: i16 = 12 * 256;

/// Parameters that turn a keyword's logits into detections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorParams {
    /// Length of the smoothing window in steps, 1 … [`MAX_SMOOTHING`].
    pub smoothing_steps: u8,
    /// Smoothed logit (Q8) from which on the keyword is detected.
    pub threshold: i16,
    /// Number of steps after a detection without another one.
    pub refractory_steps: u16,
}

/// Reason for which a detector's parameters are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectorError {
    /// Length of the smoothing window, outside 1 … [`MAX_SMOOTHING`].
    Smoothing(u8),
}

impl DetectorParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`DetectorError::Smoothing`] if the length of the window is out of range.
    pub fn validate(&self) -> Result<(), DetectorError> {
        if (1..=MAX_SMOOTHING).contains(&usize::from(self.smoothing_steps)) {
            Ok(())
        } else {
            Err(DetectorError::Smoothing(self.smoothing_steps))
        }
    }
}

/// State of one keyword's detector.
///
/// ```
/// use wakeling_shared::detector::{Detector, DetectorParams};
///
/// let params = DetectorParams { smoothing_steps: 4, threshold: 256, refractory_steps: 25 };
/// let mut detector = Detector::new(params);
/// // One high logit is not enough: the mean of four must reach the threshold.
/// let fired = [3_000, 3_000, 3_000, 3_000, 3_000].map(|logit| detector.step(logit).fired);
/// assert_eq!(fired, [false, false, true, false, false]); // then the refractory period begins
/// ```
#[derive(Clone, Debug)]
pub struct Detector {
    params: DetectorParams,
    window: [i16; MAX_SMOOTHING],
    position: usize,
    refractory_left: u16,
}

/// Result of one step for one keyword.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Mean of the clamped logits in the window, Q8, rounded toward −∞.
    pub smoothed: i16,
    /// `true` if the keyword was detected at this step.
    pub fired: bool,
}

impl Detector {
    /// Creates a detector whose window is filled with the least logit.
    pub const fn new(params: DetectorParams) -> Self {
        Self { params, window: [-LOGIT_CLAMP; MAX_SMOOTHING], position: 0, refractory_left: 0 }
    }

    /// Parameters in use.
    pub const fn params(&self) -> &DetectorParams {
        &self.params
    }

    /// Sets the threshold (Q8). The smoothing window keeps its contents.
    pub const fn set_threshold(&mut self, threshold: i16) {
        self.params.threshold = threshold;
    }

    /// Processes the logit (Q8) of one step.
    pub fn step(&mut self, logit: i16) -> Decision {
        let length = usize::from(self.params.smoothing_steps).clamp(1, MAX_SMOOTHING);
        if let Some(slot) = self.window.get_mut(self.position) {
            *slot = logit.clamp(-LOGIT_CLAMP, LOGIT_CLAMP);
        }
        self.position = if self.position + 1 < length { self.position + 1 } else { 0 };
        let sum: i32 = self.window.iter().take(length).map(|&l| i32::from(l)).sum();
        let smoothed = sum.div_euclid(length as i32) as i16;

        self.refractory_left = self.refractory_left.saturating_sub(1);
        let fired = self.refractory_left == 0 && smoothed >= self.params.threshold;
        if fired {
            self.refractory_left = self.params.refractory_steps.saturating_add(1);
        }
        Decision { smoothed, fired }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: DetectorParams =
        DetectorParams { smoothing_steps: 4, threshold: 256, refractory_steps: 3 };

    #[test]
    fn one_wild_column_is_not_a_word() {
        let mut detector = Detector::new(PARAMS);
        for logit in [-2_000, -2_000, -2_000, -2_000, i16::MAX, -2_000, -2_000] {
            assert!(!detector.step(logit).fired);
        }
    }

    #[test]
    fn a_word_fires_once_per_refractory_time() {
        let mut detector = Detector::new(PARAMS);
        let mut fired = [false; 16];
        for slot in &mut fired {
            *slot = detector.step(3_000).fired;
        }
        // The window starts at −12: four columns near +12 bring the mean above 1.
        let expected: [bool; 16] = core::array::from_fn(|i| i >= 2 && (i - 2) % 4 == 0);
        assert_eq!(fired, expected);
    }

    #[test]
    fn a_threshold_changes_while_it_listens() {
        let mut detector = Detector::new(PARAMS);
        assert!((0..9).all(|_| !detector.step(200).fired));
        detector.set_threshold(200);
        assert!(detector.step(200).fired);
    }

    #[test]
    fn the_mean_rounds_down() {
        let mut detector = Detector::new(PARAMS);
        for logit in [-1, 0, 0, 0] {
            detector.step(logit);
        }
        assert_eq!(detector.step(0).smoothed, 0);
        detector.step(-1);
        assert_eq!(detector.step(0).smoothed, -1);
    }

    #[test]
    fn a_window_out_of_range_is_refused() {
        for steps in [0, 17, 255] {
            let params = DetectorParams { smoothing_steps: steps, ..PARAMS };
            assert_eq!(params.validate(), Err(DetectorError::Smoothing(steps)));
        }
    }
}
