//! Scales and ticks of the report's charts.

use std::fmt::Write;

/// Ticks of shares from which an axis takes those that have room.
const SHARE_TICKS: [f64; 11] = [0.0, 1.0, 0.1, 0.01, 0.5, 0.25, 0.05, 0.02, 0.75, 0.005, 0.002];
/// Largest shares at which an axis may end.
const SHARE_ENDS: [f64; 5] = [0.05, 0.1, 0.25, 0.5, 1.0];
/// Part of a [`RateScale`] at which zero is.
const ZERO_AT: f64 = 0.06;
/// Part of a [`RateScale`] at which the logarithmic part begins.
const LOG_FROM: f64 = 0.15;

/// Scale for shares from 0 on, by their square root. It spreads small shares, has a place for zero,
/// and makes intervals of equal numbers of recordings about equally wide.
#[derive(Clone, Copy)]
pub(super) struct ShareScale {
    end: f64,
}

impl ShareScale {
    /// Creates a scale that includes `highest`.
    pub(super) fn new(highest: f64) -> Self {
        let end = SHARE_ENDS.into_iter().find(|end| *end >= highest * 0.999);
        Self { end: end.unwrap_or(1.0) }
    }

    /// Returns the position of a share: 0 for none, 1 for the end of the axis.
    pub(super) fn at(&self, share: f64) -> f64 {
        (share.max(0.0) / self.end).sqrt()
    }

    /// Returns the ticks that are at least `apart` from each other, as position and text.
    pub(super) fn ticks(&self, apart: f64) -> Vec<(f64, String)> {
        let mut ticks: Vec<(f64, String)> = Vec::new();
        let end = std::iter::once(self.end);
        for share in SHARE_TICKS.into_iter().take(1).chain(end).chain(SHARE_TICKS) {
            let at = self.at(share);
            if at <= 1.001 && ticks.iter().all(|(other, _)| (other - at).abs() >= apart) {
                ticks.push((at, format!("{} %", (share * 1_000.0).round() / 10.0)));
            }
        }
        ticks
    }
}

/// Logarithmic scale for rates or counts, with a place of its own for zero before it.
#[derive(Clone, Copy)]
pub(super) struct RateScale {
    least: f64,
    most: f64,
    /// Value of the axis per event per hour: 1 for a rate, the hours for a count.
    pub(super) per_rate: f64,
}

impl RateScale {
    /// Creates a scale for rates per hour of audio of `hours`, up to about `most`. Audio that is too
    /// short for a rate has an axis of counts.
    pub(super) fn new(hours: f64, most: f64, is_rate: bool) -> Self {
        let hours = hours.max(1e-3);
        // The smallest rate above zero that can be counted; the line of 0.5 per hour is inside too.
        let least = 1.0 / hours;
        let least = if is_rate { least.min(super::det::USUAL_RATE) } else { least };
        let most = most.clamp(least * 8.0, 1e6_f64.max(least * 8.0));
        Self { least: least / 1.4, most, per_rate: if is_rate { 1.0 } else { hours } }
    }

    /// Returns the position of a rate per hour: [`ZERO_AT`] for none, 1 for the end of the axis.
    pub(super) fn at(&self, rate: f64) -> f64 {
        if rate <= 0.0 {
            return ZERO_AT;
        }
        let share = (rate / self.least).ln() / (self.most / self.least).ln();
        LOG_FROM + share.clamp(0.0, 2.0) * (1.0 - LOG_FROM)
    }

    /// Returns the ticks above zero that are at least `apart` from each other.
    pub(super) fn ticks(&self, apart: f64) -> Vec<(f64, String)> {
        let mut ticks: Vec<(f64, String)> = Vec::new();
        // Powers of ten have priority.
        for n in [1.0, 2.0, 5.0] {
            for power in -4..=6 {
                let value: f64 = n * 10f64.powi(power);
                let at = self.at(value / self.per_rate);
                let is_inside = value / self.per_rate >= self.least && at <= 1.001;
                if is_inside && ticks.iter().all(|(other, _)| (other - at).abs() >= apart) {
                    ticks.push((at, format!("{value}")));
                }
            }
        }
        ticks
    }
}

/// Area of a chart in which curves are.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    /// Returns the horizontal position of a part of the width.
    pub(super) fn x(&self, part: f64) -> f64 {
        self.left + part * self.width
    }

    /// Returns the vertical position of a part of the height, from below.
    pub(super) fn y(&self, part: f64) -> f64 {
        self.top + (1.0 - part) * self.height
    }

    /// Adds horizontal grid lines with text at their left.
    pub(super) fn rows(&self, text: &mut String, ticks: &[(f64, String)]) {
        for (at, name) in ticks {
            let y = self.y(*at);
            let _ = write!(
                text,
                "<path class='grid' d='M{:.1} {y:.1}H{:.1}'/><text class='faint' x='{:.1}' y='{:.1}' text-anchor='end'>{name}</text>",
                self.left,
                self.left + self.width,
                self.left - 6.0,
                y + 4.5
            );
        }
    }

    /// Adds vertical grid lines with text below.
    pub(super) fn columns(&self, text: &mut String, ticks: &[(f64, String)]) {
        for (at, name) in ticks {
            let x = self.x(*at);
            let _ = write!(
                text,
                "<path class='grid' d='M{x:.1} {:.1}V{:.1}'/><text class='faint' x='{x:.1}' y='{:.1}' text-anchor='middle'>{name}</text>",
                self.top,
                self.top + self.height,
                self.top + self.height + 16.0
            );
        }
    }

    /// Returns an element that cuts off what lies outside of the area.
    pub(super) fn inner(&self, content: &str) -> String {
        let Self { left, top, width, height } = self;
        // Lines on the edge keep their full width.
        let (left, top, width, height) = (left - 2.0, top - 2.0, width + 4.0, height + 4.0);
        format!(
            "<svg x='{left}' y='{top}' width='{width}' height='{height}' viewBox='{left} {top} {width} {height}'>{content}</svg>"
        )
    }
}

/// Formats positions as an SVG path, without the ones that repeat their predecessor.
pub(super) fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut corners: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    corners.dedup();
    corners.join("L")
}

/// Draws a share and its interval on a line from 0 to `end`, for a cell of a table.
pub fn estimate(share: f64, (low, high): (f64, f64), end: f64) -> String {
    const WIDTH: f64 = 120.0;
    let x = |share: f64| 4.0 + (share / end.max(1e-9)).clamp(0.0, 1.0) * (WIDTH - 8.0);
    format!(
        "<svg class='chart estimate' viewBox='0 0 {WIDTH} 16' aria-hidden='true'>\
         <path class='grid' d='M4 2V14M{:.1} 8H{:.1}'/>\
         <path class='whisker s0' d='M{:.1} 8H{:.1}M{2:.1} 5V11M{3:.1} 5V11'/>\
         <circle class='f0' cx='{:.1}' cy='8' r='3.6'/></svg>",
        4.0,
        WIDTH - 4.0,
        x(low),
        x(high),
        x(share)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_ticks_at_both_ends_and_room_between() {
        for highest in [0.0, 0.03, 0.1, 0.14, 0.4, 1.0] {
            let scale = ShareScale::new(highest);
            let mut ticks = scale.ticks(0.09);
            assert_eq!(ticks[0], (0.0, "0 %".into()));
            assert!((ticks[1].0 - 1.0).abs() < 1e-9 && scale.at(highest) <= 1.001, "{ticks:?}");
            ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(ticks.len() > 3, "{ticks:?}");
            assert!(ticks.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 0.09), "{ticks:?}");
        }
    }

    #[test]
    fn zero_has_a_place_below_every_rate() {
        for hours in [0.012, 0.5, 6.0, 500.0] {
            let scale = RateScale::new(hours, 5.0, hours >= 0.5);
            let places = [0.0, 1.0 / hours, 2.0 / hours, 10.0 / hours].map(|rate| scale.at(rate));
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] > 0.05), "{hours}: {places:?}");
            assert!(scale.at(1.0 / hours) >= LOG_FROM);
        }
    }
}
