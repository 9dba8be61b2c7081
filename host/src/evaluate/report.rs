//! What evaluation found, as a table, as a curve in numbers, and as a picture of it.

use std::fmt::Write;

use wakeling_shared::detector::DetectorParams;

use crate::simulate::score;

use super::{LATE_STEPS, Scores, detections, interval, threshold_for, upper_rate};

/// False accepts per hour at which the table has a row.
const TABLE_RATES: [f64; 4] = [0.0, 0.5, 1.0, 5.0];

/// A word's logits over recordings with it and over audio without it.
pub struct Heard<'a> {
    /// One stream a recording of the word.
    pub positives: &'a Scores,
    /// The step at which each recording ends.
    pub ends: &'a [usize],
    /// Audio without the word.
    pub other: &'a Scores,
    /// Which word of the model.
    pub index: usize,
    /// Its detector.
    pub detector: DetectorParams,
}

/// One threshold and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Threshold on the smoothed logit, Q8.
    pub threshold: i16,
    /// Detections in the audio without the word.
    pub false_accepts: usize,
    /// Recordings in which the word was not heard.
    pub misses: usize,
}

impl Heard<'_> {
    /// Counts at a threshold. A recording is heard if the detector fires in it or up to 1 s after it.
    pub fn at(&self, threshold: i16) -> Point {
        let false_accepts = detections(self.other, self.index, &self.detector, threshold)
            .iter()
            .map(Vec::len)
            .sum();
        let heard = detections(self.positives, self.index, &self.detector, threshold);
        let in_time =
            |(steps, end): &(&Vec<usize>, &usize)| steps.iter().any(|t| *t <= **end + LATE_STEPS);
        let hits = heard.iter().zip(self.ends).filter(in_time).count();
        Point { threshold, false_accepts, misses: self.ends.len() - hits }
    }

    /// Points from no false accept up to 20 an hour.
    pub fn curve(&self) -> Vec<Point> {
        let most = (20.0 * self.other.hours()).ceil() as usize;
        let mut points: Vec<Point> = Vec::new();
        for allowed in 0..=most {
            let (threshold, _) = threshold_for(self.other, self.index, &self.detector, allowed);
            if points.last().is_none_or(|p| p.threshold != threshold) {
                points.push(self.at(threshold));
            }
        }
        points
    }

    /// A table for people: the model's own threshold, and those for some rates.
    pub fn table(&self, label: &str) -> String {
        let hours = self.other.hours();
        let mut text = format!(
            "{label}: {} recordings; {hours:.2} hours without it\n\
             {:>24} {:>9} {:>20} {:>24}\n",
            self.ends.len(),
            "",
            "threshold",
            "misses",
            "false accepts per hour"
        );
        let mut row = |name: String, p: Point| {
            let n = self.ends.len();
            let (low, high) = interval(p.misses, n);
            let score = score(p.threshold);
            let misses = format!(
                "{}/{n} {:.1} % ({:.1}-{:.1})",
                p.misses,
                100.0 * p.misses as f64 / n.max(1) as f64,
                100.0 * low,
                100.0 * high
            );
            let rate = format!(
                "{} = {:.2} (below {:.2})",
                p.false_accepts,
                p.false_accepts as f64 / hours,
                upper_rate(p.false_accepts, hours)
            );
            let _ = writeln!(text, "{name:>24} {score:>9.4} {misses:>20} {rate:>24}");
        };
        row("the model's own".into(), self.at(self.detector.threshold));
        for rate in TABLE_RATES {
            let allowed = (rate * hours).floor() as usize;
            // Less than one event an audio is no rate: the first row, none, says all there is.
            if allowed == 0 && rate > 0.0 {
                continue;
            }
            let (threshold, _) = threshold_for(self.other, self.index, &self.detector, allowed);
            let name = if allowed == 0 { "none".into() } else { format!("at most {rate}/h") };
            row(name, self.at(threshold));
        }
        text
    }
}

/// A curve as comma-separated values.
pub fn csv(curve: &[Point]) -> String {
    let mut text = String::from("threshold_q8,false_accepts,misses\n");
    for p in curve {
        let _ = writeln!(text, "{},{},{}", p.threshold, p.false_accepts, p.misses);
    }
    text
}

/// A curve as a picture: the share of `recordings` missed over false accepts per hour of `hours`.
pub fn svg(label: &str, curve: &[Point], recordings: usize, hours: f64) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 400.0;
    const MARGIN: f64 = 60.0;
    let rate = |p: &Point| p.false_accepts as f64 / hours.max(1e-9);
    let percent = |p: &Point| 100.0 * p.misses as f64 / recordings.max(1) as f64;
    let widest = curve.iter().map(rate).fold(1.0, f64::max);
    // Whole steps of 4 % keep the four lines on whole numbers.
    let highest = 4.0 * (curve.iter().map(percent).fold(1.0, f64::max) / 4.0).ceil();
    let x = |n: f64| MARGIN + n / widest * (WIDTH - 2.0 * MARGIN);
    let y = |n: f64| HEIGHT - MARGIN - n / highest * (HEIGHT - 2.0 * MARGIN);
    let line: Vec<String> =
        curve.iter().map(|p| format!("{:.1},{:.1}", x(rate(p)), y(percent(p)))).collect();
    let label = label.replace('&', "&amp;").replace('<', "&lt;");
    let mut ticks = String::new();
    for i in 0..=4 {
        let share = f64::from(i) / 4.0;
        let (a, m) = (share * widest, share * highest);
        let _ = write!(
            ticks,
            "<text x='{:.1}' y='{:.1}' text-anchor='middle'>{a:.1}</text>\
             <text x='{:.1}' y='{:.1}' text-anchor='end'>{m:.0} %</text>\
             <path d='M{MARGIN} {:.1}H{:.1}' stroke='#ddd'/>",
            x(a),
            HEIGHT - MARGIN + 20.0,
            MARGIN - 8.0,
            y(m) + 4.0,
            y(m),
            WIDTH - MARGIN
        );
    }
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' font-family='sans-serif' font-size='13'>\
         <rect width='100%' height='100%' fill='white'/>{ticks}\
         <polyline points='{}' fill='none' stroke='#06c' stroke-width='2'/>\
         <text x='{:.1}' y='30' text-anchor='middle' font-size='16'>{label}</text>\
         <text x='{:.1}' y='{:.1}' text-anchor='middle'>false accepts per hour</text>\
         <text x='18' y='{:.1}' text-anchor='middle' transform='rotate(-90 18 {:.1})'>misses</text></svg>\n",
        line.join(" "),
        WIDTH / 2.0,
        WIDTH / 2.0,
        HEIGHT - 12.0,
        HEIGHT / 2.0,
        HEIGHT / 2.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector() -> DetectorParams {
        DetectorParams { smoothing_steps: 1, threshold: 500, refractory_steps: 10 }
    }

    fn scores(streams: Vec<Vec<i16>>) -> Scores {
        Scores { words: 1, streams }
    }

    #[test]
    fn misses_and_false_accepts_are_counted() {
        // Heard, heard too late, not heard.
        let positives = scores(vec![
            vec![-900, -900, 900, -900],
            [vec![-900; 80], vec![900]].concat(),
            vec![-900; 60],
        ]);
        let other = scores(vec![[vec![600], vec![-900; 40], vec![700], vec![-900; 40]].concat()]);
        let ends = [3, 3, 3];
        let heard = Heard {
            positives: &positives,
            ends: &ends,
            other: &other,
            index: 0,
            detector: detector(),
        };
        assert_eq!(heard.at(500), Point { threshold: 500, false_accepts: 2, misses: 2 });
        assert_eq!(heard.at(650), Point { threshold: 650, false_accepts: 1, misses: 2 });
        let curve = heard.curve();
        assert_eq!(curve[0], Point { threshold: 701, false_accepts: 0, misses: 2 });
        assert!(heard.table("a word").contains("2/3 66.7 % (9.4-99.2)"), "{}", heard.table("x"));
        assert!(csv(&curve).lines().count() > 1);
        assert!(svg("a < b", &curve, 3, 0.1).contains("a &lt; b"));
    }
}
