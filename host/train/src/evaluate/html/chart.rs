//! Charts as SVG. Colours are classes, so that the style of a page, light or dark, controls them.
//! Sizes fit a phone; a desktop shows the charts larger.

mod det;
mod plot;
mod threshold;

use std::fmt::Write;

pub use det::{Curve, CurvePoint, Mark, det};
pub use plot::estimate;
pub use threshold::{Setting, Step, threshold};

use super::escape;
use wakeling_page::{CHART_STYLE, token};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// Approximate number of grid lines.
const GRID: f64 = 4.0;

/// Number of series with their own colour.
pub(super) const HUES: usize = 5;

/// Returns the style of a standalone SVG file, including its background. Colours are written out,
/// because only browsers support them by name and people open the files with other programs too.
pub fn standalone_style() -> String {
    // Without the blocks of tokens, whose values replace their names.
    let blocks = CHART_STYLE.split_inclusive('}').filter(|block| block.contains("var("));
    let classes: String = blocks.map(str::trim).collect();
    let written = |is_dark| -> String {
        let mut text = String::new();
        for (i, part) in classes.split("var(").enumerate() {
            let Some((name, rest)) = part.split_once(')').filter(|_| i > 0) else {
                text += part;
                continue;
            };
            // A chart in a file of its own lies on the background, not on a card.
            let name = if name == "--card" { "--back" } else { name };
            text += token(name, is_dark).unwrap_or("currentColor");
            text += rest;
        }
        format!("svg{{background:{}}}{text}", token("--back", is_dark).unwrap_or("none"))
    };
    let plain: String = CHART_STYLE
        .split_inclusive('}')
        .filter(|block| !block.contains("--") && block.contains('{'))
        .map(str::trim)
        .collect();
    let (light, dark) = (written(false), written(true));
    format!("{plain}{light}@media(prefers-color-scheme:dark){{{dark}}}")
}

/// Turns a chart into a standalone SVG file, with its style and additional `marks` in front.
pub fn standalone(chart: &str, marks: &str) -> String {
    chart.replacen('>', &format!("><style>{}</style>{marks}", standalone_style()), 1) + "\n"
}

/// Maximum number of bars of a histogram.
const MOST_BINS: f64 = 60.0;
/// Width of the label of the median.
const MEDIAN_WIDTH: f64 = 84.0;
/// Minimum number of bars of a histogram.
const FEWEST_BINS: f64 = 8.0;

/// Curve of a training metric.
pub struct Series<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// Position and value of each point; by rising position.
    pub points: &'a [(f64, f64)],
}

/// Mapping from values to positions.
struct Axes {
    highest: f64,
    text: String,
}

impl Axes {
    /// Creates a frame with percent on its left side, up to about `highest` (a share).
    fn new(highest: f64) -> Self {
        let step = nice(highest.clamp(0.02, 1.0) / GRID);
        let digits = usize::from(step < 0.0099);
        Self::with(highest.max(0.02), step, |value| format!("{:.digits$}%", 100.0 * value))
    }

    /// Creates a frame with lines every `step`, up to about `highest`.
    fn with(highest: f64, step: f64, name: impl Fn(f64) -> String) -> Self {
        let highest = (highest / step - 1e-9).ceil() * step;
        let mut axes = Self { highest, text: String::new() };
        let mut value = 0.0;
        while value <= highest + 1e-9 {
            let y = axes.y(value);
            let _ = write!(
                axes.text,
                "<path class='grid' d='M{LEFT} {y:.1}H{:.1}'/><text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                name(value)
            );
            value += step;
        }
        axes
    }

    fn y(&self, share: f64) -> f64 {
        HEIGHT - BOTTOM - share.min(self.highest) / self.highest * (HEIGHT - TOP - BOTTOM)
    }

    fn tick(&mut self, x: f64, name: &str) {
        let _ = write!(
            self.text,
            "<text x='{x:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
            HEIGHT - BOTTOM + 16.0,
            escape(name)
        );
    }

    fn finish(mut self, below: &str, title: &str) -> String {
        let _ = write!(
            self.text,
            "<text x='{:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            escape(below)
        );
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{}'>{}</svg>",
            escape(title),
            self.text
        )
    }
}

/// Returns the smallest number of the form 1, 2 or 5 times a power of ten that is at least `x`.
fn nice(x: f64) -> f64 {
    let power = 10f64.powf(x.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|n| *n >= x * 0.999).unwrap_or(x)
}

/// Formats points as the corners of an SVG path.
fn corners(
    points: impl Iterator<Item = (f64, f64)>,
    axes: &Axes,
    x: &impl Fn(f64) -> f64,
) -> String {
    let at = |(value, share)| format!("{:.1} {:.1}", x(value), axes.y(share));
    points.map(at).collect::<Vec<_>>().join("L")
}

fn draw(axes: &mut Axes, curve: &Curve, number: usize, x: &impl Fn(f64) -> f64) {
    let hue = number % HUES;
    let line = corners(curve.points.iter().map(|p| (p.0, p.1)), axes, x);
    let dash = if curve.is_dashed { " dash" } else { "" };
    let name = escape(&curve.name);
    if !line.is_empty() {
        let _ = write!(
            axes.text,
            "<path class='line s{hue}{dash}' d='M{line}'><title>{name}</title></path>"
        );
    }
}

/// Draws shares and their intervals over a count from 1 on, on a logarithmic axis. The points of
/// each curve are sorted by count.
pub fn growth(title: &str, below: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|c| &c.points);
    let most = points().map(|p| p.0).fold(2.0, f64::max);
    let least = points().map(|p| p.0).fold(most, f64::min).max(0.5);
    let mut axes = Axes::new(points().map(|p| p.2.1).fold(0.0, f64::max));
    let span = (most / least).ln().max(1e-9);
    let inner = WIDTH - LEFT - RIGHT - 20.0;
    let x = |count: f64| LEFT + 10.0 + ((count.max(least) / least).ln() / span).min(1.0) * inner;
    let mut counts: Vec<f64> = points().map(|p| p.0).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    let mut last = f64::NEG_INFINITY;
    for &count in counts.iter().filter(|c| c.is_finite()) {
        if x(count) - last >= 18.0 {
            axes.tick(x(count), &format!("{count}"));
            last = x(count);
        }
    }
    for (i, curve) in curves.iter().enumerate() {
        let hue = i % HUES;
        for &(count, _, (low, high)) in &curve.points {
            // Curves with the same count are drawn side by side.
            let x = x(count) + 2.5 * (i as f64 - (curves.len() as f64 - 1.0) / 2.0);
            let (low, high) = (axes.y(low.max(0.0)), axes.y(high));
            let _ = write!(
                axes.text,
                "<path class='whisker s{hue}' fill='none' d='M{x:.1} {low:.1}V{high:.1}'/>"
            );
        }
        draw(&mut axes, curve, i, &x);
    }
    let ends = curves.iter().enumerate().filter_map(|(i, c)| Some((i, c, c.points.last()?)));
    let ends: Vec<_> = ends.collect();
    let heights: Vec<f64> = ends.iter().map(|(.., point)| axes.y(point.1) - 6.0).collect();
    for ((i, curve, point), y) in ends.into_iter().zip(apart(&heights, TOP + 8.0)) {
        let (hue, name, x) = (i % HUES, escape(&curve.name), x(point.0) - 4.0);
        let _ = write!(
            axes.text,
            "<text class='f{hue}' x='{x:.1}' y='{y:.1}' text-anchor='end'>{name}</text>"
        );
    }
    axes.finish(below, title)
}

/// Spreads label heights so that the labels do not overlap: each one at its height or above, unless
/// that exceeds `highest` (a smaller number).
fn apart(heights: &[f64], highest: f64) -> Vec<f64> {
    const LINE: f64 = 13.0;
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[b].total_cmp(&heights[a]));
    let mut placed = heights.to_vec();
    for pair in order.windows(2) {
        placed[pair[1]] = placed[pair[1]].min(placed[pair[0]] - LINE);
    }
    let mut above = highest - LINE;
    for &name in order.iter().rev() {
        placed[name] = placed[name].max(above + LINE);
        above = placed[name];
    }
    placed
}

/// Draws training curves from 0 upward, as percentages or as plain values, with their names.
pub fn progress(title: &str, below: &str, series: &[Series<'_>], are_shares: bool) -> String {
    let points = || series.iter().flat_map(|s| s.points);
    let highest = points().map(|p| p.1).fold(0.0, f64::max);
    let mut axes = if are_shares {
        Axes::new(highest)
    } else {
        let step = nice(highest.max(1e-3) / GRID);
        let digits = (-step.log10().floor()).clamp(0.0, 4.0) as usize;
        Axes::with(highest.max(1e-3), step, |value| format!("{value:.digits$}"))
    };
    let last = points().map(|p| p.0).fold(1.0, f64::max);
    let x = |place: f64| LEFT + place / last * (WIDTH - LEFT - RIGHT);
    let tick = nice(last / GRID);
    let mut place = 0.0;
    while place <= last * 1.001 {
        axes.tick(x(place), &format!("{place:.0}"));
        place += tick;
    }
    for (i, series) in series.iter().enumerate() {
        let (hue, name) = (i % HUES, escape(series.name));
        let at = |&(place, value): &(f64, f64)| format!("{:.1} {:.1}", x(place), axes.y(value));
        let line = series.points.iter().map(at).collect::<Vec<_>>().join("L");
        if !line.is_empty() {
            let _ = write!(axes.text, "<path class='line s{hue}' d='M{line}'/>");
        }
        let _ = write!(
            axes.text,
            "<text class='f{hue}' x='{:.1}' y='{:.1}' text-anchor='end'>{name}</text>",
            WIDTH - RIGHT - 4.0,
            TOP + 12.0 + 15.0 * i as f64
        );
    }
    axes.finish(below, title)
}

/// Draws a histogram of `values` as shares, with the median marked.
pub fn histogram(title: &str, below: &str, values: &[f64], bin: f64) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else { return String::new() };
    let median = sorted[sorted.len() / 2];
    let number = |v: f64| (v / bin).floor();
    // An outlier counts in the outermost bar; otherwise it would squeeze all other bars.
    let first = number(least).max(number(median) - MOST_BINS / 2.0);
    let last = number(most).min(number(median) + MOST_BINS / 2.0).max(first + FEWEST_BINS - 1.0);
    let mut bins = vec![0usize; (last - first) as usize + 1];
    for &v in values {
        bins[(number(v).clamp(first, last) - first) as usize] += 1;
    }
    let count = bins.len();
    let share = |n: usize| n as f64 / values.len() as f64;
    let mut axes = Axes::new(bins.iter().map(|&n| share(n)).fold(0.0, f64::max));
    let step = (WIDTH - LEFT - RIGHT) / count as f64;
    let x = |v: f64| LEFT + (v / bin - first) * step;
    for (i, &n) in bins.iter().enumerate() {
        let y = axes.y(share(n));
        let height = axes.y(0.0) - y;
        let left = LEFT + step * i as f64;
        let width = (step - 1.0).max(0.5);
        let _ = write!(
            axes.text,
            "<rect class='f0' opacity='.75' x='{left:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}'/>"
        );
    }
    let tick = nice(bin * count as f64 / 5.0);
    let mut value = (first * bin / tick).ceil() * tick;
    while value <= (first + count as f64) * bin {
        axes.tick(x(value), &format!("{value:.0}"));
        value += tick;
    }
    let _ = write!(
        axes.text,
        "<path class='line s1' d='M{:.1} {TOP}V{:.1}'/><text class='f1 halo' x='{:.1}' y='{:.1}'>median {median:.0}</text>",
        x(median),
        axes.y(0.0),
        (x(median) + 5.0).min(WIDTH - RIGHT - MEDIAN_WIDTH),
        TOP + 12.0
    );
    axes.finish(below, title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (x, step) in [(0.03, 0.05), (0.05, 0.05), (0.11, 0.2), (0.9, 1.0), (0.0, 1e-9)] {
            assert!((nice(x) - step).abs() < 1e-9, "{x}: {}", nice(x));
        }
    }

    #[test]
    fn names_do_not_lie_on_each_other() {
        for heights in [&[30.0, 25.0, 45.0, 28.0][..], &[50.0, 22.0], &[22.0], &[]] {
            let mut placed = apart(heights, 22.0);
            assert!(placed.iter().all(|&y| y >= 22.0), "{placed:?}");
            if let [a, b] = heights {
                assert_eq!(placed, [*a, *b]);
            }
            placed.sort_by(f64::total_cmp);
            assert!(placed.windows(2).all(|pair| pair[1] - pair[0] >= 13.0), "{placed:?}");
        }
    }

    #[test]
    fn standalone_files_have_their_colours_written_out() {
        let image = standalone(&growth("t", "b", &[]), "");
        assert!(!image.contains("var(") && !image.contains("--"), "{image}");
        assert!(image.contains(".s0 { stroke: #0b5fb0; }"), "{image}");
        assert!(image.contains("dark){") && image.contains(".s0 { stroke: #6cb6ff; }"), "{image}");
        assert!(image.contains(".grid { stroke: #") && image.contains(".dash {"), "{image}");
        assert_eq!(image.matches('{').count(), image.matches('}').count(), "{image}");
        assert!(!image.contains("currentColor"), "a token without a value in {image}");
    }

    #[test]
    fn seconds_of_audio_have_an_axis_of_counts() {
        let short = det("t", &[], 43.0 / 3_600.0);
        assert!(short.contains("false accepts in 43 s of negatives"), "{short}");
        assert!(short.contains(">1</text>") && !short.contains("per hour"), "{short}");
        assert!(!short.contains("0.5/h"), "{short}");
        let long = det("t", &[], 6.0);
        assert!(long.contains("false accepts per hour of negatives") && long.contains("0.5/h"));
    }

    /// Returns the horizontal position of the first element that contains `part`.
    fn x_of(chart: &str, part: &str) -> f64 {
        let at = chart.find(part).unwrap_or_else(|| panic!("no {part} in {chart}"));
        let element = chart[at..].split('>').next().unwrap();
        let number = element.split_once("cx='").or(element.split_once(" d='M")).unwrap().1;
        number.split([' ', '\'']).next().unwrap().parse().unwrap()
    }

    #[test]
    fn operating_point_and_half_an_accept_per_hour_lie_inside() {
        for hours in [0.5, 0.72, 6.0, 90.0, 2_000.0] {
            for (count, missed) in [(0, 0.0), (0, 0.9), (1, 0.02), (40, 0.3), (20_000, 0.0)] {
                let mark = Mark {
                    rate: f64::from(count) / hours,
                    rates: (f64::from(count) / hours * 0.5, f64::from(count + 4) / hours * 1.5),
                    share: missed,
                    shares: (missed * 0.5, (missed + 0.1).min(1.0)),
                };
                let points = vec![(0.0, 1.0, (0.9, 1.0)), (0.5, 0.1, (0.0, 0.2))];
                let curve = Curve { name: "a".into(), points, mark: Some(mark), is_dashed: false };
                let chart = det("t", &[curve], hours);
                let (half, own) = (x_of(&chart, "<path class='limit'"), x_of(&chart, "<circle"));
                assert!((LEFT + 10.0..WIDTH - 60.0).contains(&half), "{half} in {chart}");
                assert!((LEFT + 10.0..WIDTH - 60.0).contains(&own), "{own} in {chart}");
                let is_left = f64::from(count) / hours < 0.5;
                assert_eq!(own < half, is_left, "{count} in {hours} h: {chart}");
            }
        }
    }

    #[test]
    fn no_chart_holds_a_number_that_is_none_or_lies_outside() {
        let point = |rate, share| (rate, share, (0.0, 1.0));
        let mark = || Mark { rate: 900.0, rates: (0.0, 2e3), share: 0.5, shares: (0.2, 0.7) };
        let curve =
            |points| Curve { name: "<a>".into(), points, mark: Some(mark()), is_dashed: true };
        let plain = |points| Curve { name: "<a>".into(), points, mark: None, is_dashed: false };
        let step = |level, accepts| Step {
            level,
            misses: vec![(0.5, (0.2, 0.8))],
            rate: accepts,
            rates: (0.0, accepts + 1.0),
        };
        let setting = || Setting { name: "<b>".into(), level: 50.0 };
        let names = ["<a>".to_owned()];
        let charts = [
            det("t", &[curve(vec![point(0.0, 1.0), point(20.0, 0.0)])], 6.3),
            det("t", &[curve(vec![]), curve(vec![point(0.0, 0.0)])], 0.0),
            det("t", &[curve(vec![point(0.0, 1.0), point(84.0, 0.0)])], 43.0 / 3_600.0),
            det("'t'", &[plain(vec![point(0.0, 1.0), point(1e9, 0.0)])], 6.0),
            threshold("'t'", &names, &[], &[], 0.0),
            threshold("t", &names, &[step(25.0, 0.0), step(75.0, 1e9)], &[setting()], 0.1),
            threshold("t", &names, &[step(25.0, 4.0), step(75.0, 0.0)], &[setting()], 20.0),
            growth("t", "<b>", &[plain(vec![point(1.0, 0.3), point(50.0, 0.1)]), plain(vec![])]),
            growth("t", "b", &[]),
            histogram("t", "b", &[120.0, -40.0, 9e9], 40.0),
            histogram("t", "b", &[0.0], 40.0),
            progress("t", "b", &[], false),
            progress("t", "b", &[Series { name: "<a>", points: &[(1.0, 0.0)] }], true),
            progress("t", "b", &[Series { name: "a", points: &[(1.0, 7.0), (9e5, 0.2)] }], false),
            estimate(0.0, (0.0, 0.3), 0.3),
            estimate(1.0, (0.9, 1.0), 0.5),
        ];
        for chart in charts {
            assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>"), "{chart}");
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
            assert!(!chart.contains("<a>") && !chart.contains("<b>"), "{chart}");
            // What lies outside of the inner area is cut off there.
            let (outer, inner) = chart.split_once("<svg x=").unwrap_or((&chart, ""));
            let outer = [outer, inner.split_once("</svg>").map_or("", |(_, rest)| rest)].concat();
            let numbers = outer.split(['\'', ' ', 'M', 'L', 'V', 'H', 'h', 'Z']);
            for number in numbers.filter_map(|n| n.parse::<f64>().ok()) {
                assert!((-1.0..=WIDTH + 1.0).contains(&number), "{number} in {chart}");
            }
        }
        assert!(histogram("t", "b", &[], 40.0).is_empty());
    }
}
