//! Scores: what an exported network returns, and what ESPHome compares with its cutoff.
//!
//! microWakeWord's networks end in a logistic function, and ESPHome averages their probabilities.
//! Our detector averages logits instead. In 8 bits, a probability hardly differs between a logit of
//! 5 and one of 12, and many of our thresholds are there. An exported network therefore returns a
//! score that is linear in the logit: 0 is −12, 255 is +12, where our detector clamps as well. The
//! mean of scores is then the mean of clamped logits, and ESPHome decides as our detector does.

use wakeling_shared::{detector::LOGIT_CLAMP, model::Keyword};

/// Largest score.
const LARGEST: f64 = u8::MAX as f64;
/// Units of a logit in Q8 per unit of the score: 24.1, or 0.094 log-odds.
pub const LOGIT_UNITS: f64 = 2.0 * LOGIT_CLAMP as f64 / LARGEST;
/// Smallest and largest cutoff. ESPHome needs scores below the cutoff before it detects, and some
/// above it to detect.
const CUTOFFS: (f64, f64) = (1.0, LARGEST - 1.0);
/// What is added to a cutoff in the manifest. ESPHome computes `int(cutoff · 255)`, which this
/// keeps from rounding down by one.
const CUTOFF_MARGIN: f64 = 0.03;

/// Map from logits to scores, and the cutoff on their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreScale {
    /// Score of a logit of 0, before rounding.
    zero_logit: f64,
    /// Threshold on the smoothed logit, Q8.
    threshold: i16,
    /// Largest mean score that is no detection.
    cutoff: u8,
    /// Number of scores that are averaged.
    window: u8,
}

impl ScoreScale {
    /// Returns the map for a keyword and its threshold.
    ///
    /// The map is shifted by less than a unit, so that the threshold is where the sum of a window
    /// goes from `cutoff · window` to one more.
    ///
    /// ```
    /// use wakeling_interop::microwakeword::score::ScoreScale;
    /// # use wakeling_shared::{detector::DetectorParams, model::Keyword};
    /// # let detector = DetectorParams { smoothing_steps: 3, threshold: 900, refractory_steps: 25 };
    /// # let keyword = Keyword { label: "hey computer", detector, points: Default::default() };
    ///
    /// let scale = ScoreScale::of(&keyword);
    /// assert_eq!((scale.cutoff(), scale.window()), (165, 3));
    /// assert_eq!((scale.score(-4_000), scale.score(900), scale.score(4_000)), (0, 165, 255));
    /// assert_eq!((scale.probability_cutoff() * 255.0) as u8, 165); // as ESPHome computes it
    /// ```
    pub fn of(keyword: &Keyword<'_>) -> Self {
        let threshold = keyword.detector.threshold;
        let window = keyword.detector.smoothing_steps.max(1);
        let at_threshold = (f64::from(threshold) + f64::from(LOGIT_CLAMP)) / LOGIT_UNITS;
        let cutoff = at_threshold.round().clamp(CUTOFFS.0, CUTOFFS.1);
        let half_unit_of_sum = 0.5 / f64::from(window);
        let zero_logit = cutoff + half_unit_of_sum - f64::from(threshold) / LOGIT_UNITS;
        Self { zero_logit, threshold, cutoff: cutoff as u8, window }
    }

    /// Score of a logit of 0, before rounding: 126.5 … 128.5, unless the threshold is beyond the
    /// clamp.
    pub fn zero_logit(&self) -> f64 {
        self.zero_logit
    }

    /// Returns the score of a logit (Q8). The network rounds the sum before it, so that its score
    /// may differ by one.
    pub fn score(&self, logit: i16) -> u8 {
        let score = self.zero_logit + f64::from(logit) / LOGIT_UNITS;
        score.round().clamp(0.0, LARGEST) as u8
    }

    /// Threshold on the smoothed logit, Q8.
    pub fn threshold(&self) -> i16 {
        self.threshold
    }

    /// Number of scores that are averaged.
    pub fn window(&self) -> u8 {
        self.window
    }

    /// Largest mean score that is no detection.
    pub fn cutoff(&self) -> u8 {
        self.cutoff
    }

    /// Returns the cutoff for another threshold (Q8), rounded toward fewer detections.
    pub fn cutoff_for(&self, threshold: i16) -> u8 {
        let distance = f64::from(threshold) - f64::from(self.threshold);
        let cutoff = f64::from(self.cutoff) + (distance / LOGIT_UNITS).ceil();
        cutoff.clamp(CUTOFFS.0, CUTOFFS.1) as u8
    }

    /// Returns the cutoff as a manifest has it.
    pub fn probability_cutoff(&self) -> f64 {
        probability(self.cutoff)
    }
}

/// Returns a cutoff as a manifest and ESPHome's `probability_cutoff` have it, with five decimals.
pub fn probability(cutoff: u8) -> f64 {
    ((f64::from(cutoff) + CUTOFF_MARGIN) / LARGEST * 1e5).round() / 1e5
}

/// Decision of ESPHome's component on the scores of a network.
///
/// Source: `esphome/components/micro_wake_word/streaming_model.cpp`, 2026.6. The mean of the last
/// scores must exceed the cutoff. After a start and after a detection, the scores count from 0, and
/// nothing is detected until 100 frames were below the cutoff.
#[derive(Clone, Debug)]
pub struct EsphomeDetector {
    scores: Vec<u8>,
    next: usize,
    cutoff: u8,
    frames_per_step: u32,
    ignored_frames: u32,
}

impl EsphomeDetector {
    /// Frames below the cutoff before the first detection, and between two.
    const IGNORED_FRAMES: u32 = 100;

    /// Creates a detector for a network that runs every `frames_per_step` frames.
    pub fn new(cutoff: u8, window: u8, frames_per_step: u8) -> Self {
        let scores = vec![0; usize::from(window.max(1))];
        let ignored_frames = Self::IGNORED_FRAMES;
        Self { scores, next: 0, cutoff, frames_per_step: frames_per_step.into(), ignored_frames }
    }

    /// Processes the score of one step; returns whether the keyword is detected.
    pub fn step(&mut self, score: u8) -> bool {
        // The frames before the last of a step are compared with the score before.
        let last = self.scores.get(self.next).copied().unwrap_or(0);
        self.ignore(last, self.frames_per_step.saturating_sub(1));
        let is_above = self.is_above(score);
        self.ignore(score, 1);
        let is_detected = self.ignored_frames == 0 && is_above;
        if is_detected {
            self.scores.fill(0);
            self.ignored_frames = Self::IGNORED_FRAMES;
        }
        is_detected
    }

    /// Adds a score; returns whether the mean is above the cutoff, whatever was detected before.
    pub fn is_above(&mut self, score: u8) -> bool {
        let count = self.scores.len();
        self.next = (self.next + 1) % count;
        self.scores[self.next] = score;
        let sum: u32 = self.scores.iter().map(|&score| u32::from(score)).sum();
        sum > u32::from(self.cutoff) * count as u32
    }

    fn ignore(&mut self, score: u8, frames: u32) {
        if score < self.cutoff {
            self.ignored_frames = self.ignored_frames.saturating_sub(frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_shared::detector::{Detector, DetectorParams};

    fn keyword(smoothing_steps: u8, threshold: i16) -> Keyword<'static> {
        let detector = DetectorParams { smoothing_steps, threshold, refractory_steps: 25 };
        Keyword { label: "x", detector, points: Default::default() }
    }

    #[test]
    fn the_mean_of_scores_decides_as_the_mean_of_logits() {
        for (window, threshold) in [(1, -2_000), (3, 700), (5, 1_898), (16, -30)] {
            let keyword = keyword(window, threshold);
            let scale = ScoreScale::of(&keyword);
            let mut detector = Detector::new(keyword.detector);
            // Logits that approach the threshold slowly from below: both must fire within the
            // unit of a score.
            let mut esphome = EsphomeDetector::new(scale.cutoff(), window, 4);
            let ramp = |step: i32| (i32::from(threshold) - 300 + step.max(0)) as i16;
            let found = (-50..600).map(|step| {
                (detector.step(ramp(step)).fired, esphome.step(scale.score(ramp(step))))
            });
            let found: Vec<(bool, bool)> = found.collect();
            let first = [found.iter().position(|f| f.0), found.iter().position(|f| f.1)];
            let [ours, theirs] = first.map(|first| first.expect("both fire") as i64);
            assert!((ours - theirs).abs() <= 13, "{window}, {threshold}: {ours} {theirs}");
        }
    }

    #[test]
    fn esphome_computes_the_same_cutoff_from_the_manifest() {
        for cutoff in 1..=254u8 {
            assert_eq!((probability(cutoff) * 255.0) as u8, cutoff);
            // The Python package compares the mean of scores in 1/255 with the cutoff itself.
            for window in 1..=16u32 {
                let sum = u32::from(cutoff) * window;
                let mean = |sum: u32| f64::from(sum) / f64::from(window) / 255.0;
                assert!(mean(sum) <= probability(cutoff) && mean(sum + 1) > probability(cutoff));
            }
        }
    }

    #[test]
    fn stricter_thresholds_have_higher_cutoffs() {
        let scale = ScoreScale::of(&keyword(3, 500));
        assert_eq!(scale.cutoff_for(500), scale.cutoff());
        assert_eq!(scale.cutoff_for(501), scale.cutoff() + 1);
        assert_eq!(scale.cutoff_for(i16::MAX), 254);
        assert_eq!(scale.cutoff_for(i16::MIN), 1);
    }

    #[test]
    fn nothing_is_detected_in_the_first_second() {
        let mut detector = EsphomeDetector::new(100, 1, 4);
        assert!((0..25).all(|_| !detector.step(0)));
        assert!(detector.step(101));
        assert!((0..500).all(|_| !detector.step(200)), "frames above the cutoff do not count");
        assert!((0..25).all(|_| !detector.step(99)));
        assert!(detector.step(101));
    }
}
