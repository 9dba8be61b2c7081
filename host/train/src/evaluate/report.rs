//! Evaluation results as a table and as a curve in CSV.

use std::{fmt::Write, ops::Range};

use wakeling_shared::{detector::DetectorParams, model::OperatingPoint};

use wakeling_device::sensitivity::{DetectionLevel, FalseAccepts, Preset, duration, upper_rate};

use super::{ScoredClips, Scores, detections, interval, threshold_for};

/// False accepts per hour with a row in the table, if the audio is long enough for a rate.
const TABLE_RATES: [f64; 3] = [0.5, 1.0, 5.0];
/// Minimum of the highest rate in false accepts per hour that curves cover.
const CURVE_RATE: f64 = 20.0;

/// Scores of a keyword over its recordings and over negative audio.
#[derive(Clone, Copy)]
pub struct ScoredKeyword<'a> {
    /// Scores of the keyword's recordings.
    pub scored: &'a ScoredClips,
    /// Scores of the negative audio.
    pub other: &'a Scores,
    /// Hours of negative audio.
    pub hours: f64,
    /// Index of the keyword in the model.
    pub index: usize,
    /// Detector of the keyword.
    pub detector: DetectorParams,
}

/// Operating point: a threshold and its error counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Threshold on the smoothed logit, Q8.
    pub threshold: i16,
    /// Number of detections in the negative audio.
    pub false_accepts: usize,
    /// Number of missed recordings.
    pub misses: usize,
}

impl ScoredKeyword<'_> {
    /// Counts errors at a threshold. A recording is detected if the detector fires between its
    /// start and 1 s after its end.
    pub fn at(&self, threshold: i16) -> Point {
        let false_accepts = detections(self.other, self.index, &self.detector, threshold)
            .iter()
            .map(Vec::len)
            .sum();
        Point { threshold, false_accepts, misses: self.missed(threshold) }
    }

    /// Returns the number of recordings that are missed at a threshold.
    pub fn missed(&self, threshold: i16) -> usize {
        self.detected_at(threshold).iter().filter(|step| step.is_none()).count()
    }

    /// Returns for each recording the step at which it is detected, or `None` if it is missed.
    pub fn detected_at(&self, threshold: i16) -> Vec<Option<usize>> {
        let steps = detections(&self.scored.scores, self.index, &self.detector, threshold);
        let in_time = |(steps, span): (Vec<usize>, &Range<usize>)| {
            steps
                .into_iter()
                .find(|t| (span.start..=span.end + self.scored.scores.late_steps()).contains(t))
        };
        steps.into_iter().zip(&self.scored.spans).map(in_time).collect()
    }

    /// Returns the number of recordings.
    pub fn count(&self) -> usize {
        self.scored.spans.len()
    }

    /// Returns the false accepts at a point, with the hours of audio behind them.
    pub fn false_accepts(&self, point: &Point) -> FalseAccepts {
        FalseAccepts { count: point.false_accepts, hours: self.hours }
    }

    /// Converts a threshold (Q8) to a level. The model's own threshold has level 50.
    pub fn level(&self, threshold: i16) -> DetectionLevel {
        DetectionLevel::of(threshold, self.detector.threshold)
    }

    /// Returns the lowest threshold (Q8) with at most `allowed` false accepts.
    pub fn threshold_for(&self, allowed: usize) -> i16 {
        threshold_for(self.other, self.index, &self.detector, allowed).0
    }
}

/// Row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Name of the row.
    pub name: String,
    /// Threshold in Q8.
    pub threshold: i16,
    /// Allowed false accepts; `None` for the named sensitivities.
    pub allowed: Option<usize>,
}

/// Returns the rows of the table: the named sensitivities, the lowest threshold without a false
/// accept, and the thresholds for some rates. `points` is the keyword's table of operating points.
pub(super) fn rows(scored_keywords: &ScoredKeyword<'_>, points: &[OperatingPoint]) -> Vec<Row> {
    let own = scored_keywords.detector.threshold;
    let preset = |preset: Preset| {
        let threshold = preset.threshold(points, own);
        let note = if preset == Preset::Normal { " (the model's own)" } else { "" };
        Row { name: format!("{preset}{note}"), threshold, allowed: None }
    };
    let counted = |name: String, allowed: usize| Row {
        name,
        threshold: scored_keywords.threshold_for(allowed),
        allowed: Some(allowed),
    };
    let mut rows: Vec<Row> = Preset::ALL.map(preset).into();
    rows.push(counted("no false accept".into(), 0));
    for rate in TABLE_RATES {
        let allowed = (rate * scored_keywords.hours).floor() as usize;
        // With less than one allowed event, the row above ("none") already shows the result.
        if allowed > 0 && (FalseAccepts { count: allowed, hours: scored_keywords.hours }).is_rate()
        {
            rows.push(counted(format!("{rate}/h counted"), allowed));
        }
    }
    rows
}

/// Returns the thresholds of a curve in falling order: from no false accept up to 20 per hour, and
/// at least down to the model's own, which is included.
pub fn thresholds(scored_keywords: &ScoredKeyword<'_>) -> Vec<i16> {
    let own = scored_keywords.detector.threshold;
    let most = (CURVE_RATE * scored_keywords.hours).ceil() as usize;
    let mut thresholds: Vec<i16> = (0..=most).map(|n| scored_keywords.threshold_for(n)).collect();
    // The steps grow from here on, since a low threshold may have thousands of false accepts.
    let (last, mut allowed) = (scored_keywords.at(own).false_accepts, most);
    while allowed < last {
        allowed += allowed / 4 + 1;
        thresholds.push(scored_keywords.threshold_for(allowed.min(last)));
    }
    thresholds.push(own);
    thresholds.sort_unstable_by(|a, b| b.cmp(a));
    thresholds.dedup();
    thresholds
}

/// Formats a table for reading: the named sensitivities, and the thresholds for some rates. `scored_keywords`
/// is one keyword under several test conditions, `points` its table of operating points.
pub fn table(
    label: &str,
    scored_keywords: &[ScoredKeyword<'_>],
    points: &[OperatingPoint],
) -> String {
    let Some(first) = scored_keywords.first() else { return String::new() };
    let audio = duration(first.hours);
    let mut text = format!("{label}: {} recordings; {audio} without it\n", first.count());
    let _ = write!(text, "{:>26} {:>6}", "", "level");
    for scored_keywords in scored_keywords {
        let name = format!("misses, {}", scored_keywords.scored.conditions);
        let _ = write!(text, " {name:>24}");
    }
    let _ = writeln!(text, "   false accepts");
    for Row { name, threshold, .. } in rows(first, points) {
        let _ = write!(text, "{name:>26} {:>6.1}", first.level(threshold).value());
        for scored_keywords in scored_keywords {
            let _ = write!(
                text,
                " {:>24}",
                share(scored_keywords.at(threshold).misses, scored_keywords.count())
            );
        }
        let _ = writeln!(text, "   {}", first.false_accepts(&first.at(threshold)));
    }
    text += "Level: the threshold on a scale on which the model's own is 50; ten more are 7.4 times the odds.\n";
    text
}

/// Formats a count, its share and the exact 95 % interval: `3/84 3.6 % (0.7-10.1)`.
fn share(count: usize, of: usize) -> String {
    let (low, high) = interval(count, of);
    let percent = 100.0 * count as f64 / of.max(1) as f64;
    format!("{count}/{of} {percent:.1} % ({:.1}-{:.1})", 100.0 * low, 100.0 * high)
}

/// Formats curves as CSV, with one column of misses per test condition. The last columns are the
/// hours of audio, the upper 95 % bound of false accepts per hour, and 1 if the audio is too short
/// for this bound to be a rate.
pub fn csv(scored_keywords: &[ScoredKeyword<'_>], thresholds: &[i16]) -> String {
    let mut text = String::from("threshold_q8,false_accepts");
    for scored_keywords in scored_keywords {
        let name = scored_keywords.scored.conditions.replace(' ', "_");
        let _ = write!(text, ",misses_{name}");
    }
    text += ",hours,at_most_per_hour,too_short_for_a_rate\n";
    for &threshold in thresholds {
        let points: Vec<Point> = scored_keywords.iter().map(|h| h.at(threshold)).collect();
        let count = points.first().map_or(0, |p| p.false_accepts);
        let misses: String = points.iter().map(|p| format!(",{}", p.misses)).collect();
        let hours = scored_keywords.first().map_or(0.0, |h| h.hours);
        let (bound, is_rate) = (upper_rate(count, hours), FalseAccepts { count, hours }.is_rate());
        let _ = writeln!(
            text,
            "{threshold},{count}{misses},{hours:.4},{bound:.3},{}",
            u8::from(!is_rate)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector() -> DetectorParams {
        DetectorParams { smoothing_steps: 1, threshold: 500, refractory_steps: 10 }
    }

    fn scores(streams: Vec<Vec<i16>>) -> Scores {
        Scores { words: 1, steps_per_second: 50.0, streams }
    }

    fn scored(conditions: &str, streams: Vec<Vec<i16>>) -> ScoredClips {
        let spans = vec![2..3; streams.len()];
        ScoredClips::new(conditions.into(), scores(streams), spans)
    }

    fn scored_keywords<'a>(scored: &'a ScoredClips, other: &'a Scores) -> ScoredKeyword<'a> {
        ScoredKeyword { scored, other, hours: 0.2, index: 0, detector: detector() }
    }

    #[test]
    fn misses_and_false_accepts_are_counted() {
        // Detected, detected too early, detected too late, not detected.
        let clean = scored(
            "clean",
            vec![
                vec![-900, -900, 900, -900],
                vec![900, -900, -900, -900],
                [vec![-900; 80], vec![900]].concat(),
                vec![-900; 60],
            ],
        );
        let noisy = scored("10 dB", vec![vec![-900; 60]; 4]);
        let other = scores(vec![[vec![600], vec![-900; 40], vec![700], vec![-900; 40]].concat()]);
        let scored_keywords = [scored_keywords(&clean, &other), scored_keywords(&noisy, &other)];
        assert_eq!(
            scored_keywords[0].at(500),
            Point { threshold: 500, false_accepts: 2, misses: 3 }
        );
        assert_eq!(
            scored_keywords[0].at(650),
            Point { threshold: 650, false_accepts: 1, misses: 3 }
        );
        assert_eq!(scored_keywords[0].detected_at(500), [Some(2), None, None, None]);
        let thresholds = thresholds(&scored_keywords[0]);
        assert_eq!(thresholds[0], 701);
        let table = table("a word", &scored_keywords, &[]);
        for part in [
            "3/4 75.0 % (19.4-99.4)",
            "4/4 100.0 %",
            "misses, 10 dB",
            "normal (the model's own)   50.0",
            "2 in 12 min: too short for a rate",
            "none in 12 min: too short for a rate",
        ] {
            assert!(table.contains(part), "no {part:?} in\n{table}");
        }
        assert!(!table.contains("/h"), "a rate from 12 minutes in\n{table}");
        let csv = csv(&scored_keywords, &thresholds);
        assert!(
            csv.starts_with(
                "threshold_q8,false_accepts,misses_clean,misses_10_dB,hours,at_most_per_hour,\
                 too_short_for_a_rate\n701,0,3,4,0.2000,14.979,1\n"
            ),
            "{csv}"
        );
        let long = scored_keywords.map(|h| ScoredKeyword { hours: 2.5, ..h });
        let long_table = super::table("a word", &long, &[]);
        for part in ["2 in 2.5 h (at most 2.6/h)", "none in 2.5 h (at most 1.2/h)", "0.5/h counted"]
        {
            assert!(long_table.contains(part), "no {part:?} in\n{long_table}");
        }
        assert!(super::csv(&long, &thresholds).contains(",2.5000,1.198,0\n"));
    }
    #[test]
    fn the_curve_reaches_the_models_own_threshold() {
        // Ten peaks of negative speech exceed a low threshold; 20 per hour would allow one of them.
        let peaks = (0..10).flat_map(|i| [vec![600 + 10 * i], vec![-900; 20]].concat());
        let other = scores(vec![peaks.collect()]);
        let clean = scored("clean", vec![vec![-900; 60]]);
        for own in [-1_000, 500, 3_000] {
            let detector = DetectorParams { threshold: own, ..detector() };
            let scored_keywords =
                ScoredKeyword { hours: 0.04, detector, ..scored_keywords(&clean, &other) };
            let thresholds = thresholds(&scored_keywords);
            assert!(thresholds.contains(&own), "{own} in {thresholds:?}");
            assert!(thresholds.windows(2).all(|pair| pair[0] > pair[1]), "{thresholds:?}");
            let last = scored_keywords.at(thresholds[thresholds.len() - 1]);
            assert!(last.false_accepts >= scored_keywords.at(own).false_accepts);
        }
    }
}
