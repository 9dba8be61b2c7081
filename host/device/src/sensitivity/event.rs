//! Detection from its first step to its last.

use wakeling_shared::detector::DetectorParams;

/// Detection of a keyword, followed to its peak.
///
/// It starts at the step at which the smoothed logit reaches the threshold. It ends at the first
/// step below the threshold, or with the refractory period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectionEvent {
    /// Samples up to the end of the step at which the detector fired.
    pub end_samples: u64,
    /// Smoothed logit of that step, Q8.
    pub logit: i16,
    /// Threshold that it reached, Q8.
    pub threshold: i16,
    /// Highest smoothed logit so far, Q8.
    pub peak: i16,
    steps_left: u16,
}

impl DetectionEvent {
    /// Starts at the step at which the detector fired.
    pub fn start(end_samples: u64, logit: i16, detector: &DetectorParams) -> Self {
        Self {
            end_samples,
            logit,
            threshold: detector.threshold,
            peak: logit,
            steps_left: detector.refractory_steps,
        }
    }

    /// Adds the smoothed logit of the next step. Returns `true` while the event continues.
    pub fn extend(&mut self, smoothed: i16) -> bool {
        let goes_on = self.steps_left > 0 && smoothed >= self.threshold;
        if goes_on {
            self.steps_left -= 1;
            self.peak = self.peak.max(smoothed);
        }
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETECTOR: DetectorParams =
        DetectorParams { smoothing_steps: 1, threshold: 100, refractory_steps: 4 };

    fn peak(steps: &[i16]) -> (i16, usize) {
        let mut event = DetectionEvent::start(9, steps[0], &DETECTOR);
        let count = steps[1..].iter().take_while(|&&s| event.extend(s)).count();
        (event.peak, count)
    }

    #[test]
    fn an_event_ends_below_the_threshold_or_with_the_refractory_period() {
        assert_eq!(peak(&[110, 200, 150, 100, 99, 900]), (200, 3));
        assert_eq!(peak(&[110, 120, 130, 140, 150, 900]), (150, 4));
        assert_eq!(peak(&[110, 50, 900]), (110, 0));
    }
}
