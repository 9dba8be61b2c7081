//! Curves of a run of any length in little memory. Losses are means over a growing number of
//! training steps, so that a few hundred points remain.

use std::collections::BTreeMap;

use crate::evaluate::chart::{Series, progress, standalone_style};

/// Maximum number of points of a curve; beyond it, neighbours are merged.
const POINTS_MAX: usize = 600;

/// Curves of a run.
#[derive(Debug, Default)]
pub struct Curves {
    loss: Curve,
    /// Metrics on held-out data, by name.
    metrics: BTreeMap<String, Curve>,
}

/// Points of a curve, each a mean over `stride` values.
#[derive(Debug)]
struct Curve {
    stride: usize,
    points: Vec<(f64, f64)>,
    /// Count and sum of the values of the unfinished point.
    open: (usize, f64),
}

impl Default for Curve {
    fn default() -> Self {
        Self { stride: 1, points: Vec::new(), open: (0, 0.0) }
    }
}

impl Curve {
    fn add(&mut self, step: f64, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.open = (self.open.0 + 1, self.open.1 + value);
        if self.open.0 == self.stride {
            self.points.push((step, self.open.1 / self.stride as f64));
            self.open = (0, 0.0);
        }
        if self.points.len() == POINTS_MAX {
            let join = |pair: &[(f64, f64); 2]| (pair[1].0, (pair[0].1 + pair[1].1) / 2.0);
            self.points = self.points.as_chunks::<2>().0.iter().map(join).collect();
            self.stride *= 2;
        }
    }
}

impl Curves {
    /// Adds a line of the table. Lines without numbers, such as the header, are ignored.
    pub fn read(&mut self, line: &str) {
        let mut cells = line.split(',');
        let mut number = || cells.next().and_then(|cell| cell.parse::<f64>().ok());
        let (Some(step), Some(loss)) = (number(), number()) else { return };
        self.loss.add(step, loss);
        for pair in cells.next_back().unwrap_or_default().split(' ') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            if let (false, Ok(value)) = (name.contains('.'), value.parse()) {
                self.metrics.entry(name.to_owned()).or_default().add(step, value);
            }
        }
    }

    /// Draws losses above error rates, as one SVG.
    pub fn image(&self) -> String {
        let is_loss = |name: &str| name.ends_with("loss");
        let metrics = |losses: bool| {
            self.metrics
                .iter()
                .filter(move |(name, _)| is_loss(name) == losses)
                .map(|(name, curve)| Series { name, points: &curve.points })
        };
        let mut losses = vec![Series { name: "loss", points: &self.loss.points }];
        losses.extend(metrics(true));
        let rates: Vec<Series<'_>> = metrics(false).collect();
        let mut charts = vec![progress("loss", "updates", &losses, false)];
        if !rates.is_empty() {
            charts.push(progress("errors on held-out data", "updates", &rates, true));
        }
        let height = 270 * charts.len();
        let placed = charts.iter().enumerate().map(|(i, chart)| {
            format!("<svg y='{}' width='400' height='270'>{chart}</svg>\n", 270 * i)
        });
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 400 {height}'>\n<style>{}</style>\n{}</svg>\n",
            standalone_style(),
            placed.collect::<String>()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_course_in_few_points() {
        let mut curve = Curve::default();
        (0..1_000_000).for_each(|step| curve.add(f64::from(step), f64::from(step % 2)));
        assert!((POINTS_MAX / 2..POINTS_MAX).contains(&curve.points.len()));
        let late = |point: &&(f64, f64)| point.0 > 100.0;
        assert!(curve.points.iter().filter(late).all(|&(_, mean)| (mean - 0.5).abs() < 1e-9));
        assert!(curve.points.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn lines_are_read_and_what_is_no_number_is_passed_over() {
        let mut curves = Curves::default();
        for line in
            ["step,loss,rate,gradient_norm,validation", "1,NaN,1,1,", "", "2,3.5,1,1,x=0.25 x.of=4"]
        {
            curves.read(line);
        }
        assert_eq!(curves.loss.points, [(2.0, 3.5)]);
        assert_eq!(curves.metrics.len(), 1);
        assert_eq!(curves.metrics["x"].points, [(2.0, 0.25)]);
        let image = curves.image();
        assert!(!image.contains("NaN") && image.contains(">x<"), "{image}");
        assert!(!Curves::default().image().contains("NaN"));
    }
}
