//! DET curves: misses against false accepts per hour, around the operating point.

use std::fmt::Write;

use super::{
    HUES, WIDTH, apart, escape,
    plot::{Area, RateScale, ShareScale, path},
};
use wakeling_device::sensitivity::{FalseAccepts, duration};

/// Rate of false accepts per hour that is usually aimed at; a line marks it.
pub(super) const USUAL_RATE: f64 = 0.5;
/// Rate per hour up to which a chart reaches at least.
const REACH: f64 = 5.0;
const HEIGHT: f64 = 302.0;
const AREA: Area = Area { left: 50.0, top: 26.0, width: 264.0, height: 220.0 };

/// False accepts per hour, share missed, and its 95 % interval.
pub type CurvePoint = (f64, f64, (f64, f64));

/// DET curve: misses against false accepts per hour.
#[derive(Default)]
pub struct Curve {
    /// Name, shown beside the curve.
    pub name: String,
    /// Points in the order of thresholds.
    pub points: Vec<CurvePoint>,
    /// Point of the model's own threshold.
    pub mark: Option<Mark>,
    /// Draws the curve as a dashed line, without its intervals.
    pub is_dashed: bool,
}

/// Operating point with its 95 % intervals.
pub struct Mark {
    /// False accepts per hour.
    pub rate: f64,
    /// Interval of the rate.
    pub rates: (f64, f64),
    /// Share missed.
    pub share: f64,
    /// Interval of the share.
    pub shares: (f64, f64),
}

/// Scales of a chart.
struct Scales {
    rate: RateScale,
    share: ShareScale,
}

impl Scales {
    /// Chooses scales that include every mark with its intervals, and 0.5 false accepts per hour.
    fn new(curves: &[Curve], hours: f64) -> Self {
        let is_rate = (FalseAccepts { count: 0, hours }).is_rate();
        let marks = || curves.iter().filter_map(|curve| curve.mark.as_ref());
        let reach = if is_rate { REACH } else { 8.0 / hours.max(1e-3) };
        let most = marks().map(|mark| (1.5 * mark.rates.1).max(2.0 * mark.rate));
        let rate = RateScale::new(hours, most.fold(reach, f64::max), is_rate);
        let share = ShareScale::new(marks().map(|mark| mark.shares.1).fold(0.0, f64::max));
        Self { rate, share }
    }

    fn place(&self, rate: f64, share: f64) -> (f64, f64) {
        (AREA.x(self.rate.at(rate)), AREA.y(self.share.at(share)))
    }
}

/// Draws misses against false accepts per hour, around the marks. `text` describes the chart to
/// those who cannot see it.
///
/// The rate is on a logarithmic axis, with a place of its own for zero false accepts. The axis
/// counts false accepts if `hours` of audio are too short for a rate.
pub fn det(text: &str, curves: &[Curve], hours: f64) -> String {
    let scales = Scales::new(curves, hours);
    let mut chart = String::new();
    axes(&mut chart, &scales, hours);
    // The bands of more than two curves would hide each other.
    let last = curves.iter().rposition(|curve| !curve.is_dashed);
    let lines = curves.iter().enumerate().map(|(i, curve)| {
        let has_band = i == 0 || Some(i) == last;
        lines(curve, i % HUES, has_band, &scales)
    });
    let inner: String = lines.collect();
    chart += &AREA.inner(&inner);
    for (i, curve) in curves.iter().enumerate() {
        cross(&mut chart, curve, i % HUES, &scales);
    }
    names(&mut chart, curves, &scales);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{}'>{chart}</svg>",
        escape(text)
    )
}

fn axes(chart: &mut String, scales: &Scales, hours: f64) {
    AREA.rows(chart, &scales.share.ticks(0.09));
    let mut ticks = scales.rate.ticks(0.13);
    ticks.push((scales.rate.at(0.0), "none".into()));
    AREA.columns(chart, &ticks);
    let is_rate = (FalseAccepts { count: 0, hours }).is_rate();
    if is_rate {
        let x = AREA.x(scales.rate.at(USUAL_RATE));
        let _ = write!(
            chart,
            "<path class='limit' d='M{x:.1} {:.1}V{:.1}'/><text class='faint' x='{x:.1}' y='{:.1}' text-anchor='middle'>0.5/h</text>",
            AREA.top,
            AREA.y(0.0),
            AREA.top - 7.0
        );
    }
    let unit = if is_rate { "per hour".into() } else { format!("in {}", duration(hours)) };
    let _ = write!(
        chart,
        "<text x='{:.1}' y='{:.1}' text-anchor='middle'>false accepts {unit} of negatives</text>\
         <text x='4' y='{:.1}'>missed</text>",
        AREA.x(0.5),
        HEIGHT - 8.0,
        AREA.top - 13.0
    );
}

/// Returns the line of a curve, over the band of its intervals if it has one.
fn lines(curve: &Curve, hue: usize, has_band: bool, scales: &Scales) -> String {
    let along = |value: fn(&CurvePoint) -> f64| {
        curve.points.iter().map(move |point| scales.place(point.0, value(point)))
    };
    let line = path(along(|point| point.1));
    if line.is_empty() {
        return String::new();
    }
    if curve.is_dashed {
        return format!("<path class='line s{hue} dash' d='M{line}'/>");
    }
    if !has_band {
        return format!("<path class='line s{hue}' d='M{line}'/>");
    }
    let above: Vec<_> = along(|point| point.2.1).collect();
    let below: Vec<_> = along(|point| point.2.0).collect();
    let band = path(above.into_iter().chain(below.into_iter().rev()));
    format!("<path class='band f{hue}' d='M{band}Z'/><path class='line s{hue}' d='M{line}'/>")
}

/// Adds the operating point as a ring, with its intervals as a cross.
fn cross(chart: &mut String, curve: &Curve, hue: usize, scales: &Scales) {
    let Some(Mark { rate, rates, share, shares }) = &curve.mark else { return };
    let (x, y) = scales.place(*rate, *share);
    let ((left, _), (right, _)) = (scales.place(rates.0, 0.0), scales.place(rates.1, 0.0));
    let (low, high) = (scales.place(0.0, shares.0).1, scales.place(0.0, shares.1).1);
    let _ = write!(
        chart,
        "<path class='whisker s{hue}' d='M{left:.1} {y:.1}H{right:.1}M{x:.1} {low:.1}V{high:.1}'/>\
         <circle class='mark s{hue}' cx='{x:.1}' cy='{y:.1}' r='5'/>"
    );
}

/// Adds the name of each curve at the right, where it leaves the chart.
fn names(chart: &mut String, curves: &[Curve], scales: &Scales) {
    let end = |curve: &Curve| {
        let places = curve.points.iter().map(|point| scales.place(point.0, point.1));
        let mut inside = places.filter(|(x, y)| *x <= AREA.x(1.0) + 1.0 && *y >= AREA.top - 1.0);
        inside.next_back().map_or(AREA.y(0.0), |(_, y)| y)
    };
    let heights: Vec<f64> = curves.iter().map(|curve| end(curve) + 4.0).collect();
    for ((i, curve), y) in curves.iter().enumerate().zip(apart(&heights, AREA.top + 8.0)) {
        let _ = write!(
            chart,
            "<text class='f{}' x='{:.1}' y='{y:.1}'>{}</text>",
            i % HUES,
            AREA.x(1.0) + 6.0,
            escape(&curve.name)
        );
    }
}
