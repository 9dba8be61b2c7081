//! Curves over the thresholds around the model's own.

use rayon::prelude::*;

use super::super::{
    ScoredKeyword, TestConditions, detail::KeywordDetail, interval, poisson_interval,
};
use super::{
    chart::{self, Curve, Mark, Setting, Step},
    percent,
};
use wakeling_device::sensitivity::{DetectionLevel, Preset};

/// Distance of the thresholds in Q8: half a level.
const STEP: i32 = 26;
/// Number of thresholds to each side of the model's own. They span 75 levels to each side: a factor
/// of three million in the odds.
const STEPS: i32 = 148;
/// Number of characters of a name beside a curve.
const LONGEST_NAME: usize = 12;

/// Counts at one threshold.
pub(super) struct SweepPoint {
    pub(super) threshold: i16,
    pub(super) false_accepts: usize,
    /// Misses under each test condition.
    pub(super) misses: Vec<usize>,
}

/// Counts at all thresholds around the model's own, in rising order.
pub(super) struct Sweep<'a> {
    pub(super) keywords: &'a [ScoredKeyword<'a>],
    pub(super) points: Vec<SweepPoint>,
    own: i16,
    hours: f64,
}

/// Returns the thresholds around `own`, in rising order.
fn around(own: i16) -> Vec<i16> {
    let limits = i32::from(i16::MIN)..=i32::from(i16::MAX);
    let all = (-STEPS..=STEPS).map(|step| i32::from(own) + step * STEP);
    all.filter(|threshold| limits.contains(threshold)).map(|threshold| threshold as i16).collect()
}

impl<'a> Sweep<'a> {
    /// Counts misses under each test condition, and false accepts.
    pub(super) fn new(keywords: &'a [ScoredKeyword<'a>]) -> Self {
        let clean = keywords.first();
        let own = clean.map_or(0, |clean| clean.detector.threshold);
        let point = |threshold: i16| SweepPoint {
            threshold,
            false_accepts: clean.map_or(0, |clean| clean.at(threshold).false_accepts),
            misses: keywords.iter().map(|keyword| keyword.missed(threshold)).collect(),
        };
        let points = around(own).into_par_iter().map(point).collect();
        Self { keywords, points, own, hours: clean.map_or(0.0, |clean| clean.hours) }
    }

    /// Returns the DET curve of a test condition.
    fn curve(&self, number: usize, name: String) -> Curve {
        let count = self.keywords[number].count();
        let (rate, share) = (self.rate(), share(count));
        // Falling thresholds: from no false accept to many.
        let points = self.points.iter().rev().map(|point| {
            let misses = point.misses[number];
            (rate(point.false_accepts), share(misses), interval(misses, count))
        });
        let mut points: Vec<_> = points.collect();
        points.dedup();
        let own = self.points.iter().find(|point| point.threshold == self.own);
        let mark = own.map(|point| Mark {
            rate: rate(point.false_accepts),
            rates: self.rates(point.false_accepts),
            share: share(point.misses[number]),
            shares: interval(point.misses[number], count),
        });
        Curve { name, points, mark, is_dashed: false }
    }

    /// Returns the 95 % interval of the rate per hour behind a count of false accepts.
    fn rates(&self, count: usize) -> (f64, f64) {
        let ((low, high), hours) = (poisson_interval(count), self.hours.max(1e-9));
        (low / hours, high / hours)
    }

    fn rate(&self) -> impl Fn(usize) -> f64 + use<> {
        let hours = self.hours.max(1e-9);
        move |count| count as f64 / hours
    }

    /// Draws the DET curves of all test conditions, and of the float network.
    pub(super) fn det(&self, word: &KeywordDetail<'_>) -> String {
        let names = word.conditions.iter().map(name);
        let mut curves: Vec<Curve> =
            names.take(self.keywords.len()).enumerate().map(|(i, n)| self.curve(i, n)).collect();
        if let Some(float) = word.float {
            let sweep = Sweep::new(std::slice::from_ref(&float));
            let curve = sweep.curve(0, "float".into());
            curves.push(Curve { mark: None, is_dashed: true, ..curve });
        }
        let text =
            format!("Chart of misses against false accepts of {}. {}", word.label, self.text(word));
        chart::det(&text, &curves, self.hours)
    }

    /// Describes the operating point.
    fn text(&self, word: &KeywordDetail<'_>) -> String {
        let missed = self.keywords.iter().zip(word.conditions).map(|(keyword, conditions)| {
            let (missed, count) = (keyword.missed(self.own), keyword.count());
            format!("{} {} are missed", conditions.words(), percent(missed, count))
        });
        let missed: Vec<String> = missed.collect();
        let clean = self.keywords.first();
        let accepts = clean.map(|clean| clean.false_accepts(&clean.at(self.own)));
        let accepts = accepts.map_or_else(String::new, |a| format!("; false accepts: {a}"));
        format!("At the model's own threshold, {}{accepts}.", missed.join(", "))
    }

    /// Draws misses and false accepts over the threshold.
    pub(super) fn thresholds(&self, word: &KeywordDetail<'_>) -> String {
        let names: Vec<String> = word.conditions.iter().map(name).collect();
        let rate = self.rate();
        let shown = self.points.iter().map(|point| (level(point.threshold, self.own), point));
        let shown = shown.filter(|(level, _)| (24.0..=76.0).contains(level));
        let steps = shown.map(|(level, point)| {
            let misses = point.misses.iter().zip(self.keywords).map(|(&misses, keyword)| {
                let count = keyword.count();
                (share(count)(misses), interval(misses, count))
            });
            Step {
                level,
                misses: misses.collect(),
                rate: rate(point.false_accepts),
                rates: self.rates(point.false_accepts),
            }
        });
        let steps: Vec<Step> = steps.collect();
        let settings = Preset::ALL.map(|preset| Setting {
            name: preset.name().into(),
            level: level(preset.threshold(word.points, self.own), self.own),
        });
        let text = format!(
            "Chart of misses and false accepts of {} over the threshold. {}",
            word.label,
            self.text(word)
        );
        chart::threshold(&text, &names, &steps, &settings, self.hours)
    }

    /// Returns the points of a table: one for each count of false accepts up to about twelve rows,
    /// the one with the fewest misses.
    pub(super) fn rows(&self) -> Vec<&SweepPoint> {
        let mut rows: Vec<&SweepPoint> = Vec::new();
        let mut next = 0;
        // Falling thresholds, so the last point of a count has the fewest misses.
        for point in self.points.iter().rev() {
            match rows.last_mut() {
                Some(last) if last.false_accepts == point.false_accepts => *last = point,
                _ if point.false_accepts >= next => {
                    next = point.false_accepts + point.false_accepts / 2 + 1;
                    rows.push(point);
                }
                _ => {}
            }
        }
        rows.truncate(12);
        rows
    }
}

fn share(count: usize) -> impl Fn(usize) -> f64 {
    move |misses| misses as f64 / count.max(1) as f64
}

/// Returns the level of a threshold, also beyond 0 and 100.
fn level(threshold: i16, own: i16) -> f64 {
    let units = (f64::from(threshold) - f64::from(own)) / 256.0;
    let per_unit = DetectionLevel::of(256, 0).value() - DetectionLevel::of(0, 0).value();
    DetectionLevel::THRESHOLD.value() + per_unit * units
}

/// Returns the name of a test condition beside its curve.
fn name(conditions: &TestConditions<'_>) -> String {
    let name = match conditions.snr_db() {
        None => "quiet room".into(),
        Some(snr_db) => format!("noise {snr_db} dB"),
    };
    name.chars().take(LONGEST_NAME).collect()
}

/// Draws the DET curves of a keyword as a separate SVG file.
pub fn det_svg(label: &str, scored_keywords: &[ScoredKeyword<'_>]) -> String {
    let sweep = Sweep::new(scored_keywords);
    let name = |keyword: &ScoredKeyword<'_>| {
        keyword.scored.conditions.chars().take(LONGEST_NAME).collect()
    };
    let curves: Vec<Curve> = scored_keywords
        .iter()
        .enumerate()
        .map(|(i, keyword)| sweep.curve(i, name(keyword)))
        .collect();
    let text = format!("Misses against false accepts of {label}");
    let title: String = label.chars().take(34).collect();
    let title = format!("<text x='60' y='38' font-weight='600'>{}</text>", super::escape(&title));
    let chart = chart::det(&text, &curves, sweep.hours);
    // The title lies over the curves.
    let chart = format!("{}{title}</svg>", chart.strip_suffix("</svg>").unwrap_or(&chart));
    chart::standalone(&chart, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_surround_the_models_own_everywhere() {
        for own in [i16::MIN, -3_000, 0, 900, i16::MAX] {
            let all = around(own);
            assert!(all.contains(&own) && all.windows(2).all(|pair| pair[0] < pair[1]), "{own}");
        }
        assert!((level(512, 0) - 60.0).abs() < 1e-9 && (level(-2_560, 0)).abs() < 1e-9);
    }
}
