//! Misses and false accepts over the threshold, around the model's own.

use std::fmt::Write;

use super::{
    HUES, WIDTH, apart, escape,
    plot::{Area, RateScale, ShareScale, path},
};
use wakeling_device::sensitivity::{FalseAccepts, duration};

const HEIGHT: f64 = 382.0;
const MISSES: Area = Area { left: 50.0, top: 40.0, width: 264.0, height: 130.0 };
const ACCEPTS: Area = Area { left: 50.0, top: 206.0, width: 264.0, height: 116.0 };
/// Lowest and highest level of the axis.
const LEVELS: (f64, f64) = (25.0, 75.0);
/// Rate per hour up to which the axis of false accepts reaches at least.
const REACH: f64 = 20.0;

/// Results at one threshold.
pub struct Step {
    /// Level of the threshold; the model's own is at 50.
    pub level: f64,
    /// Share missed and its 95 % interval, under each test condition.
    pub misses: Vec<(f64, (f64, f64))>,
    /// False accepts per hour.
    pub rate: f64,
    /// 95 % interval of the rate.
    pub rates: (f64, f64),
}

/// Named threshold.
pub struct Setting {
    /// Name, shown above the chart.
    pub name: String,
    /// Level of the threshold.
    pub level: f64,
}

/// Draws misses over the level of the threshold, and below them false accepts per hour. `steps` are
/// in rising order, and `names` are those of the test conditions.
pub fn threshold(
    text: &str,
    names: &[String],
    steps: &[Step],
    settings: &[Setting],
    hours: f64,
) -> String {
    let mut chart = String::new();
    misses(&mut chart, names, steps);
    accepts(&mut chart, steps, hours);
    marks(&mut chart, settings);
    let _ = write!(
        chart,
        "<text class='faint' x='{:.1}' y='{:.1}'>← more sensitive</text>\
         <text class='faint' x='{:.1}' y='{1:.1}' text-anchor='end'>less sensitive →</text>\
         <text x='{:.1}' y='{:.1}' text-anchor='middle'>level of the threshold</text>",
        MISSES.left,
        HEIGHT - 25.0,
        MISSES.x(1.0),
        MISSES.x(0.5),
        HEIGHT - 7.0,
    );
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{}'>{chart}</svg>",
        escape(text)
    )
}

/// Returns the horizontal position of a level, as a part of the width.
fn along(level: f64) -> f64 {
    (level - LEVELS.0) / (LEVELS.1 - LEVELS.0)
}

fn misses(chart: &mut String, names: &[String], steps: &[Step]) {
    let highest = steps.iter().flat_map(|s| &s.misses).map(|(share, _)| *share);
    let scale = ShareScale::new(highest.fold(0.1, f64::max));
    MISSES.rows(chart, &scale.ticks(0.14));
    let _ = write!(chart, "<text x='4' y='{:.1}'>missed</text>", MISSES.top - 24.0);
    let mut inner = String::new();
    let mut ends = Vec::new();
    for number in 0..names.len() {
        let hue = number % HUES;
        let known = || steps.iter().filter_map(move |s| Some((s.level, s.misses.get(number)?)));
        let place = |level: f64, share: f64| (MISSES.x(along(level)), MISSES.y(scale.at(share)));
        let line: Vec<_> = known().map(|(level, (share, _))| place(level, *share)).collect();
        let above = known().map(|(level, (_, (_, high)))| place(level, *high));
        let below: Vec<_> = known().map(|(level, (_, (low, _)))| place(level, *low)).collect();
        let band = path(above.chain(below.into_iter().rev()));
        ends.push(line.last().map_or(MISSES.y(0.0), |end| end.1) + 4.0);
        if !line.is_empty() {
            let line = path(line.into_iter());
            // The bands of more than two curves would hide each other.
            if number == 0 || number + 1 == names.len() {
                let _ = write!(inner, "<path class='band f{hue}' d='M{band}Z'/>");
            }
            let _ = write!(inner, "<path class='line s{hue}' d='M{line}'/>");
        }
    }
    *chart += &MISSES.inner(&inner);
    for ((number, name), y) in names.iter().enumerate().zip(apart(&ends, MISSES.top + 8.0)) {
        let (hue, x) = (number % HUES, MISSES.x(1.0) + 6.0);
        let _ = write!(chart, "<text class='f{hue}' x='{x:.1}' y='{y:.1}'>{}</text>", escape(name));
    }
}

fn accepts(chart: &mut String, steps: &[Step], hours: f64) {
    let is_rate = (FalseAccepts { count: 0, hours }).is_rate();
    let most = steps.iter().map(|step| step.rate).fold(REACH, f64::max);
    let scale = RateScale::new(hours, most, is_rate);
    let mut ticks = scale.ticks(0.17);
    ticks.push((scale.at(0.0), "none".into()));
    ACCEPTS.rows(chart, &ticks);
    let levels = [30.0, 40.0, 50.0, 60.0, 70.0].map(|level| (along(level), format!("{level}")));
    ACCEPTS.columns(chart, &levels);
    let unit = if is_rate { "per hour".into() } else { format!("in {}", duration(hours)) };
    let _ = write!(chart, "<text x='4' y='{:.1}'>false accepts {unit}</text>", ACCEPTS.top - 10.0);
    if steps.is_empty() {
        return;
    }
    let place = |level: f64, rate: f64| (ACCEPTS.x(along(level)), ACCEPTS.y(scale.at(rate)));
    let line = path(steps.iter().map(|step| place(step.level, step.rate)));
    let above = steps.iter().map(|step| place(step.level, step.rates.1));
    let below = steps.iter().rev().map(|step| place(step.level, step.rates.0));
    let band = path(above.chain(below));
    let inner = format!("<path class='band f0' d='M{band}Z'/><path class='line s0' d='M{line}'/>");
    *chart += &ACCEPTS.inner(&inner);
}

/// Adds a line through both parts for each named threshold.
fn marks(chart: &mut String, settings: &[Setting]) {
    let mut last = f64::NEG_INFINITY;
    let mut sorted: Vec<&Setting> = settings.iter().collect();
    sorted.sort_by(|a, b| a.level.total_cmp(&b.level));
    for Setting { name, level } in sorted {
        let is_outside = !(LEVELS.0..=LEVELS.1).contains(level);
        let x = MISSES.x(along(level.clamp(LEVELS.0, LEVELS.1)));
        if !is_outside {
            let _ = write!(
                chart,
                "<path class='limit' d='M{x:.1} {:.1}V{:.1}M{x:.1} {:.1}V{:.1}'/>",
                MISSES.top,
                MISSES.y(0.0),
                ACCEPTS.top,
                ACCEPTS.y(0.0)
            );
        }
        // Names that would lie on each other move to the right.
        let at = x.max(last + 48.0);
        last = at;
        let _ = write!(
            chart,
            "<text class='faint' x='{at:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
            MISSES.top - 6.0,
            escape(name)
        );
    }
}
