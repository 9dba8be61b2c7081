//! Charts as SVG. Colours are classes, so that the style of a page, light or dark, controls them.
//! Sizes fit a phone; a desktop shows the charts larger.

use std::fmt::Write;

use super::escape;
use wakeling_device::sensitivity::{FalseAccepts, duration};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// Approximate number of grid lines.
const GRID: f64 = 4.0;

/// Colours by name, on white and on black. `s0`, `s1` … are for series; they differ in hue and in
/// lightness.
const COLOURS: [(&str, &str, &str); 8] = [
    ("grid", "#d9dde3", "#333b48"),
    ("ink", "#3b4252", "#c6cdd8"),
    ("back", "#fff", "#12161d"),
    ("s0", "#0b5fb0", "#6cb6ff"),
    ("s1", "#d9730d", "#ffab5e"),
    ("s2", "#2f8f5b", "#6fd39b"),
    ("s3", "#a3459b", "#e59be0"),
    ("s4", "#7d6608", "#d9c86b"),
];
/// Number of series with their own colour.
const HUES: usize = 5;
/// Style of the classes of a chart, with colours by name.
const CLASSES: &str = "\
.chart{font:12px system-ui,sans-serif;fill:var(--ink)}
.grid{stroke:var(--grid);fill:none}.ink{stroke:var(--ink);fill:none}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}
.dash{stroke-dasharray:5 4}.band{opacity:.16;stroke:none}.whisker{stroke-width:1.6}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}
.f0{fill:var(--s0)}.f1{fill:var(--s1)}.f2{fill:var(--s2)}.f3{fill:var(--s3)}.f4{fill:var(--s4)}
.mark{stroke-width:2;fill:var(--back)}
";

/// Returns the colours by name.
fn colours(is_dark: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    COLOURS.iter().map(move |&(name, light, dark)| (name, if is_dark { dark } else { light }))
}

/// Returns the style of a page's charts, light or dark as the reader prefers. The page itself
/// defines `--back`, the background.
pub fn style() -> String {
    let names = |is_dark| -> String {
        let own = colours(is_dark).filter(|(name, _)| *name != "back");
        own.map(|(name, colour)| format!("--{name}:{colour};")).collect()
    };
    let (light, dark) = (names(false), names(true));
    format!("{CLASSES}.chart{{{light}}}@media(prefers-color-scheme:dark){{.chart{{{dark}}}}}")
}

/// Returns the style of a standalone SVG file, including its background. Colours are written out,
/// because only browsers support them by name and people open the files with other programs too.
pub fn standalone_style() -> String {
    let written = |is_dark| {
        colours(is_dark)
            .fold(format!("{CLASSES}svg{{background:var(--back)}}"), |text, (name, colour)| {
                text.replace(&format!("var(--{name})"), colour)
            })
    };
    let (light, dark) = (written(false), written(true));
    format!("{light}@media(prefers-color-scheme:dark){{{dark}}}")
}

/// Turns a chart into a standalone SVG file, with its style and additional `marks` in front.
pub fn standalone(chart: &str, marks: &str) -> String {
    chart.replacen('>', &format!("><style>{}</style>{marks}", standalone_style()), 1) + "\n"
}

/// Maximum number of bars of a histogram.
const MOST_BINS: f64 = 60.0;
/// Minimum number of bars of a histogram.
const FEWEST_BINS: f64 = 8.0;

/// DET curve: misses against false accepts per hour.
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// False accepts per hour, share missed, and its 95 % interval; by rising rate.
    pub points: Vec<(f64, f64, (f64, f64))>,
    /// Point of the model's own threshold.
    pub mark: Option<Mark>,
    /// Draws the curve as a dashed line.
    pub is_dashed: bool,
}

/// Point of a curve with its own text.
pub struct Mark {
    /// False accepts per hour.
    pub rate: f64,
    /// Share missed.
    pub share: f64,
    /// Text shown for the point.
    pub text: String,
}

/// Named value with its interval.
pub struct Column {
    /// Name below the axis.
    pub name: String,
    /// Value, as a share.
    pub share: f64,
    /// 95 % interval of the share.
    pub interval: (f64, f64),
}

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

/// Draws misses against false accepts per hour, with the rate on a logarithmic axis. Zero false
/// accepts are at the left edge, at half the rate of one in `hours`. The axis counts false accepts
/// if the audio is too short for a rate.
pub fn det(title: &str, curves: &[Curve], hours: f64) -> String {
    let least = 0.5 / hours.max(1e-3);
    let marks = curves.iter().filter_map(|c| c.mark.as_ref()).map(|m| m.rate);
    let rates = curves.iter().flat_map(|c| c.points.iter().map(|p| p.0)).chain(marks);
    let most = rates.fold(2.0 * least, f64::max).max(least * 4.0);
    let shares = curves
        .iter()
        .flat_map(|c| c.points.iter().map(|p| p.1).chain(c.mark.iter().map(|m| m.share)));
    let mut axes = Axes::new(shares.fold(0.0, f64::max));
    let x = |rate: f64| {
        let share = (rate.max(least) / least).ln() / (most / least).ln();
        LEFT + share.min(1.0) * (WIDTH - LEFT - RIGHT)
    };
    axes.tick(x(0.0), "none");
    let (unit, below) = unit(hours);
    let room = 34.0;
    let mut last = x(0.0) + 8.0;
    for power in -3..=4 {
        for n in [1.0, 2.0, 5.0] {
            let value = n * 10f64.powi(power);
            let rate = value / unit;
            if rate > 1.2 * least && rate <= most * 1.001 && x(rate) - last >= room {
                axes.tick(x(rate), &format!("{value}"));
                let _ = write!(
                    axes.text,
                    "<path class='grid' d='M{:.1} {TOP}V{:.1}'/>",
                    x(rate),
                    HEIGHT - BOTTOM
                );
                last = x(rate);
            }
        }
    }
    for (i, curve) in curves.iter().enumerate() {
        if i == 0 {
            band(&mut axes, curve, &x);
        }
        draw(&mut axes, curve, i, &x);
    }
    axes.finish(&below, title)
}

/// Returns the axis value of a rate of one per hour, and the name of the axis.
fn unit(hours: f64) -> (f64, String) {
    if (FalseAccepts { count: 0, hours }).is_rate() {
        (1.0, "false accepts per hour of negatives".into())
    } else {
        (hours.max(1e-3), format!("false accepts in {} of negatives", duration(hours)))
    }
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

/// Draws the intervals of the first curve as a band.
fn band(axes: &mut Axes, curve: &Curve, x: &impl Fn(f64) -> f64) {
    if curve.points.len() > 1 {
        let above = corners(curve.points.iter().map(|p| (p.0, p.2.1)), axes, x);
        let below = corners(curve.points.iter().rev().map(|p| (p.0, p.2.0)), axes, x);
        let _ = write!(axes.text, "<path class='band f0' d='M{above}L{below}Z'/>");
    }
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
    if let Some(Mark { rate, share, text }) = &curve.mark {
        let (x, y) = (x(*rate), axes.y(*share));
        let _ = write!(
            axes.text,
            "<circle class='mark s{hue}' cx='{x:.1}' cy='{y:.1}' r='4.5'><title>{name}: {}</title></circle>",
            escape(text)
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

/// Draws shares and their intervals as named columns.
pub fn columns(title: &str, below: &str, columns: &[Column]) -> String {
    let highest = columns.iter().map(|c| c.interval.1).fold(0.0, f64::max);
    let mut axes = Axes::new(highest);
    let step = (WIDTH - LEFT - RIGHT) / columns.len().max(1) as f64;
    let half = (step * 0.28).min(30.0);
    for (i, column) in columns.iter().enumerate() {
        let x = LEFT + step * (i as f64 + 0.5);
        axes.tick(x, &column.name);
        let (y, zero) = (axes.y(column.share), axes.y(0.0));
        let (low, high) = (axes.y(column.interval.0), axes.y(column.interval.1));
        let _ = write!(
            axes.text,
            "<rect class='f0' opacity='.75' x='{:.1}' y='{y:.1}' width='{:.1}' height='{:.1}'/>\
             <path class='whisker ink' d='M{x:.1} {low:.1}V{high:.1}M{:.1} {high:.1}h10M{:.1} {low:.1}h10'/>\
             <text x='{:.1}' y='{:.1}'>{:.1}%</text>",
            x - half,
            2.0 * half,
            zero - y,
            x - 5.0,
            x - 5.0,
            x + 8.0,
            (y - 5.0).max(TOP + 4.0),
            100.0 * column.share
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
        "<path class='line s1' d='M{:.1} {TOP}V{:.1}'><title>median {median:.0}</title></path>",
        x(median),
        axes.y(0.0)
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
    fn svg_uses_named_colours_and_the_page_defines_all() {
        let image = standalone(&growth("t", "b", &[]), "");
        assert!(!image.contains("var(") && image.contains(".s0{stroke:#0b5fb0}"), "{image}");
        assert!(image.contains("dark){") && image.contains(".s0{stroke:#6cb6ff}"), "{image}");
        let style = style();
        for used in style.split("var(").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(used == "--back" || style.contains(&format!("{used}:#")), "{used}");
        }
    }

    #[test]
    fn seconds_of_audio_have_an_axis_of_counts() {
        let short = det("t", &[], 43.0 / 3_600.0);
        assert!(short.contains("false accepts in 43 s of negatives"), "{short}");
        assert!(short.contains(">1</text>") && !short.contains("per hour"), "{short}");
        assert!(det("t", &[], 6.0).contains("false accepts per hour of negatives"));
    }

    #[test]
    fn no_chart_holds_a_number_that_is_none_or_lies_outside() {
        let point = |rate, share| (rate, share, (0.0, 1.0));
        let mark = || Mark { rate: 900.0, share: 0.5, text: "<b>".into() };
        let curve =
            |points| Curve { name: "<a>".into(), points, mark: Some(mark()), is_dashed: true };
        let charts = [
            det("t", &[curve(vec![point(0.0, 1.0), point(20.0, 0.0)])], 6.3),
            det("t", &[curve(vec![]), curve(vec![point(0.0, 0.0)])], 0.0),
            det("t", &[curve(vec![point(0.0, 1.0), point(84.0, 0.0)])], 43.0 / 3_600.0),
            growth("t", "<b>", &[curve(vec![point(1.0, 0.3), point(50.0, 0.1)]), curve(vec![])]),
            growth("t", "b", &[]),
            columns("'t'", "b", &[]),
            columns("t", "b", &[Column { name: "<b>".into(), share: 0.0, interval: (0.0, 0.02) }]),
            histogram("t", "b", &[120.0, -40.0, 9e9], 40.0),
            histogram("t", "b", &[0.0], 40.0),
            progress("t", "b", &[], false),
            progress("t", "b", &[Series { name: "<a>", points: &[(1.0, 0.0)] }], true),
            progress("t", "b", &[Series { name: "a", points: &[(1.0, 7.0), (9e5, 0.2)] }], false),
        ];
        for chart in charts {
            assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>"), "{chart}");
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
            assert!(!chart.contains("<a>") && !chart.contains("<b>"), "{chart}");
            let numbers = chart.split(['\'', ' ', 'M', 'L', 'V', 'H', 'h', 'Z']);
            for number in numbers.filter_map(|n| n.parse::<f64>().ok()) {
                assert!((-1.0..=WIDTH + 1.0).contains(&number), "{number} in {chart}");
            }
        }
        assert!(histogram("t", "b", &[], 40.0).is_empty());
    }
}
