//! Thresholds for false accepts per hour, from audio that no head was trained on.

use wakeling_shared::{
    detector::{DetectorParams, LOGIT_CLAMP},
    model::OperatingPoint,
};

use crate::evaluate::{Scores, threshold_for};

/// Target rates in false accepts per hour, strictest first.
pub const RATES_PER_HOUR: [f64; 4] = [0.1, 0.5, 1.0, 5.0];
/// Rate of false accepts per hour at which a new keyword starts.
const STARTING_RATE: f64 = 0.5;
/// Number of peak scores of the negatives from which a tail is estimated.
const TAIL_PEAKS: usize = 12;

/// Returns the thresholds for those [`RATES_PER_HOUR`] that the audio can support, and the initial
/// threshold for at most [`STARTING_RATE`]. The initial one is counted if the audio is long enough,
/// and estimated otherwise.
pub fn operating_points(scores: &Scores, detector: &DetectorParams) -> (Vec<OperatingPoint>, i16) {
    let hours = scores.hours();
    let mut points: Vec<OperatingPoint> = Vec::new();
    for rate in RATES_PER_HOUR {
        let allowed = (rate * hours).floor() as usize;
        // Less than one event gives no rate; one row represents all such rates.
        if allowed == 0 && points.iter().any(|p| p.false_accepts == 0) {
            continue;
        }
        let (threshold, false_accepts) = threshold_for(scores, 0, detector, allowed);
        points.push(OperatingPoint {
            false_accepts: false_accepts as u32,
            audio_seconds: (hours * 3600.0) as u32,
            threshold,
        });
    }
    let counted = points.iter().rev().find(|p| f64::from(p.false_accepts) <= STARTING_RATE * hours);
    let threshold = match counted {
        Some(point) if STARTING_RATE * hours >= 1.0 => point.threshold,
        _ => estimated_threshold(scores, detector, STARTING_RATE),
    };
    (points, threshold)
}

/// Estimates the threshold for a rate that is too low to be counted. Peak scores above a high level
/// follow approximately an exponential distribution; its mean is estimated from the highest
/// [`TAIL_PEAKS`] (peaks over threshold: Pickands 1975, with shape 0).
fn estimated_threshold(scores: &Scores, detector: &DetectorParams, rate: f64) -> i16 {
    let peaks: Vec<f64> = (0..=TAIL_PEAKS)
        .map(|allowed| f64::from(threshold_for(scores, 0, detector, allowed).0))
        .collect();
    let (level, above) = (peaks[TAIL_PEAKS], &peaks[..TAIL_PEAKS]);
    let mean_excess = above.iter().map(|p| p - level).sum::<f64>() / TAIL_PEAKS as f64;
    let events = (TAIL_PEAKS + 1) as f64;
    let threshold = level + mean_excess * (events / (rate * scores.hours())).ln();
    threshold.clamp(peaks[0], f64::from(LOGIT_CLAMP)).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_too_low_to_count_is_estimated_from_the_tail() {
        // One peak per minute for two hours, exponentially distributed with a mean of 400.
        let hours = 2.0;
        let count = (hours * 60.0) as usize;
        let peak = |i: usize| -400.0 * ((i as f64 + 0.5) / count as f64).ln() - 2_000.0;
        let stream = (0..count)
            .flat_map(|i| [vec![peak((i * 37) % count) as i16], vec![-3_000; 2_999]].concat())
            .collect();
        let scores = Scores { words: 1, steps_per_second: 50.0, streams: vec![stream] };
        let detector = DetectorParams { smoothing_steps: 1, threshold: 0, refractory_steps: 50 };
        // A tenth of an event per hour is one in 600 peaks.
        let expected = 400.0 * 600f64.ln() - 2_000.0;
        let found = f64::from(estimated_threshold(&scores, &detector, 0.1));
        assert!((found - expected).abs() < 200.0, "{found}, about {expected} expected");
        let (points, threshold) = operating_points(&scores, &detector);
        assert!(points.iter().any(|p| p.threshold == threshold), "two hours suffice to count one");
        assert_eq!(points[0].false_accepts, 0);
    }
}
