//! What evaluation found, as a table, as a curve in numbers, and as a picture of it.

use std::{fmt::Write, ops::Range};

use wakeling_shared::detector::DetectorParams;

use crate::simulate::score;

use super::{Played, Scores, detections, interval, threshold_for, upper_rate};

/// False accepts per hour at which the table has a row.
pub(super) const TABLE_RATES: [f64; 4] = [0.0, 0.5, 1.0, 5.0];

/// A word's logits over recordings with it and over audio without it.
#[derive(Clone, Copy)]
pub struct Heard<'a> {
    /// Recordings of the word.
    pub played: &'a Played,
    /// Audio without the word.
    pub other: &'a Scores,
    /// Hours of it.
    pub hours: f64,
    /// Which word of the model.
    pub index: usize,
    /// Its detector.
    pub detector: DetectorParams,
}

/// One threshold and what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Threshold on the smoothed logit, Q8.
    pub threshold: i16,
    /// Detections in the audio without the word.
    pub false_accepts: usize,
    /// Recordings in which the word was not heard.
    pub misses: usize,
}

impl Heard<'_> {
    /// Counts at a threshold. A recording is heard if the detector fires between its start and 1 s
    /// after its end.
    pub fn at(&self, threshold: i16) -> Point {
        let false_accepts = detections(self.other, self.index, &self.detector, threshold)
            .iter()
            .map(Vec::len)
            .sum();
        let heard = self.detected_at(threshold);
        let misses = heard.iter().filter(|step| step.is_none()).count();
        Point { threshold, false_accepts, misses }
    }

    /// For each recording the step at which it is heard, or none if it is missed.
    pub fn detected_at(&self, threshold: i16) -> Vec<Option<usize>> {
        let steps = detections(&self.played.scores, self.index, &self.detector, threshold);
        let in_time = |(steps, span): (Vec<usize>, &Range<usize>)| {
            steps
                .into_iter()
                .find(|t| (span.start..=span.end + self.played.scores.late_steps()).contains(t))
        };
        steps.into_iter().zip(&self.played.spans).map(in_time).collect()
    }

    /// Recordings.
    pub fn count(&self) -> usize {
        self.played.spans.len()
    }
}

/// Thresholds from no false accept up to 20 an hour, in falling order.
pub fn thresholds(heard: &Heard<'_>) -> Vec<i16> {
    let most = (20.0 * heard.hours).ceil() as usize;
    let lowest = |allowed| threshold_for(heard.other, heard.index, &heard.detector, allowed).0;
    let mut thresholds: Vec<i16> = (0..=most).map(lowest).collect();
    thresholds.dedup();
    thresholds
}

/// A table for people: the model's own threshold, and those for some rates. `heard` is one word in
/// different surroundings.
pub fn table(label: &str, heard: &[Heard<'_>]) -> String {
    let Some(first) = heard.first() else { return String::new() };
    let hours = first.hours;
    let mut text = format!("{label}: {} recordings; {hours:.2} hours without it\n", first.count());
    let _ = write!(text, "{:>24} {:>9}", "", "threshold");
    for heard in heard {
        let name = format!("misses, {}", heard.played.surroundings);
        let _ = write!(text, " {name:>24}");
    }
    let _ = writeln!(text, " {:>24}", "false accepts per hour");
    let mut row = |name: String, threshold: i16| {
        let _ = write!(text, "{name:>24} {:>9.4}", score(threshold));
        let mut false_accepts = 0;
        for heard in heard {
            let p = heard.at(threshold);
            false_accepts = p.false_accepts;
            let _ = write!(text, " {:>24}", share(p.misses, heard.count()));
        }
        let rate = format!(
            "{false_accepts} = {:.2} (below {:.2})",
            false_accepts as f64 / hours.max(1e-9),
            upper_rate(false_accepts, hours)
        );
        let _ = writeln!(text, " {rate:>24}");
    };
    row("the model's own".into(), first.detector.threshold);
    for rate in TABLE_RATES {
        let allowed = (rate * hours).floor() as usize;
        // Less than one event an audio is no rate: the first row, none, says all there is.
        if allowed == 0 && rate > 0.0 {
            continue;
        }
        let (threshold, _) = threshold_for(first.other, first.index, &first.detector, allowed);
        let name = if allowed == 0 { "none".into() } else { format!("at most {rate}/h") };
        row(name, threshold);
    }
    text
}

/// `3/84 3.6 % (0.7-10.1)`: a count, its share, and the exact 95 % interval of that.
fn share(count: usize, of: usize) -> String {
    let (low, high) = interval(count, of);
    let percent = 100.0 * count as f64 / of.max(1) as f64;
    format!("{count}/{of} {percent:.1} % ({:.1}-{:.1})", 100.0 * low, 100.0 * high)
}

/// Curves as comma-separated values: one column of misses for each surroundings.
pub fn csv(heard: &[Heard<'_>], thresholds: &[i16]) -> String {
    let mut text = String::from("threshold_q8,false_accepts");
    for heard in heard {
        let name = heard.played.surroundings.replace(' ', "_");
        let _ = write!(text, ",misses_{name}");
    }
    text.push('\n');
    for &threshold in thresholds {
        let points: Vec<Point> = heard.iter().map(|h| h.at(threshold)).collect();
        let false_accepts = points.first().map_or(0, |p| p.false_accepts);
        let misses: String = points.iter().map(|p| format!(",{}", p.misses)).collect();
        let _ = writeln!(text, "{threshold},{false_accepts}{misses}");
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

    fn played(surroundings: &str, streams: Vec<Vec<i16>>) -> Played {
        let spans = vec![2..3; streams.len()];
        Played::new(surroundings.into(), scores(streams), spans)
    }

    fn heard<'a>(played: &'a Played, other: &'a Scores) -> Heard<'a> {
        Heard { played, other, hours: 0.2, index: 0, detector: detector() }
    }

    #[test]
    fn misses_and_false_accepts_are_counted() {
        // Heard, heard too early, heard too late, not heard.
        let clean = played(
            "clean",
            vec![
                vec![-900, -900, 900, -900],
                vec![900, -900, -900, -900],
                [vec![-900; 80], vec![900]].concat(),
                vec![-900; 60],
            ],
        );
        let noisy = played("10 dB", vec![vec![-900; 60]; 4]);
        let other = scores(vec![[vec![600], vec![-900; 40], vec![700], vec![-900; 40]].concat()]);
        let heard = [heard(&clean, &other), heard(&noisy, &other)];
        assert_eq!(heard[0].at(500), Point { threshold: 500, false_accepts: 2, misses: 3 });
        assert_eq!(heard[0].at(650), Point { threshold: 650, false_accepts: 1, misses: 3 });
        assert_eq!(heard[0].detected_at(500), [Some(2), None, None, None]);
        let thresholds = thresholds(&heard[0]);
        assert_eq!(thresholds[0], 701);
        let table = table("a word", &heard);
        for part in ["3/4 75.0 % (19.4-99.4)", "4/4 100.0 %", "misses, 10 dB", "2 = 10.00 (below"] {
            assert!(table.contains(part), "no {part:?} in\n{table}");
        }
        let csv = csv(&heard, &thresholds);
        assert!(
            csv.starts_with("threshold_q8,false_accepts,misses_clean,misses_10_dB\n701,0,3,4\n")
        );
    }
}
