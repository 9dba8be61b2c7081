//! Log of a training run: `train.csv`, a row per training step, and `train.svg`, its curves.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::curves::Curves;
use crate::{Error, Result};
use wakeling_core::files::write_atomic;

/// Metric on held-out data: an error count out of a total, or a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Column name in the table.
    pub name: &'static str,
    /// Number of errors, or sum of values.
    pub sum: f64,
    /// Total number of decisions, or number of summed values.
    pub of: f64,
    /// `true` if both are counts, which are then printed.
    pub is_count: bool,
}

impl Metric {
    /// Creates a metric from an error count and its total.
    pub fn errors(name: &'static str, errors: usize, of: usize) -> Self {
        Self { name, sum: errors as f64, of: of as f64, is_count: true }
    }

    /// Creates a metric from a sum and the number of its terms.
    pub fn mean(name: &'static str, sum: f64, of: f64) -> Self {
        Self { name, sum, of, is_count: false }
    }

    /// Returns the error rate or the mean.
    pub fn value(&self) -> f64 {
        self.sum / self.of.max(1.0)
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:.4}", self.name, self.value())?;
        if self.is_count {
            write!(f, " ({} of {})", self.sum, self.of)?;
        }
        Ok(())
    }
}

/// Log in the folder of a run.
pub struct Log {
    file: fs::File,
    path: PathBuf,
    curves: Curves,
    chart_written: Instant,
}

/// Minimum time between two updates of the chart.
const IMAGE_EVERY: Duration = Duration::from_secs(20);

impl Log {
    /// Opens a folder's log and drops rows written after the checkpoint.
    pub fn open(folder: &Path, steps_done: usize) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        let path = folder.join("train.csv");
        let (mut curves, mut kept) = (Curves::default(), String::new());
        if path.is_file() {
            let text = fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
            let step = |line: &str| line.split(',').next().and_then(|s| s.parse::<usize>().ok());
            let whole = text.split_inclusive('\n').take_while(|line| {
                line.ends_with('\n') && step(line).is_none_or(|step| step <= steps_done)
            });
            kept = whole.collect();
            kept.lines().for_each(|line| curves.read(line));
            write_atomic(&path, kept.as_bytes())?;
        }
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(Error::io(&path, "create"))?;
        let mut log = Self { file, path, curves, chart_written: Instant::now() };
        // A killed run may have left no header line.
        if kept.is_empty() {
            log.write("step,loss,rate,gradient_norm,validation\n")?;
        }
        Ok(log)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(Error::io(&self.path, "write"))
    }

    /// Appends a row; metrics and their counts are in the last column.
    pub fn row(
        &mut self,
        step: usize,
        loss: f64,
        rate: f64,
        norm: f64,
        metrics: &[Metric],
    ) -> Result<()> {
        let format_metric = |f: &Metric| {
            let counts = if f.is_count {
                format!(" {0}.count={1} {0}.of={2}", f.name, f.sum, f.of)
            } else {
                String::new()
            };
            format!("{}={:.5}{counts}", f.name, f.value())
        };
        let metrics: Vec<String> = metrics.iter().map(format_metric).collect();
        let line = format!("{step},{loss:.5},{rate:.3e},{norm:.3},{}", metrics.join(" "));
        self.curves.read(&line);
        self.write(&format!("{line}\n"))
    }

    /// Redraws `train.svg` if the last drawing is old, or if `now` is set.
    pub fn draw(&mut self, now: bool) -> Result<()> {
        if now || self.chart_written.elapsed() > IMAGE_EVERY {
            self.chart_written = Instant::now();
            write_atomic(self.path.with_extension("svg"), self.curves.image().as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_cut_in_its_first_line_gets_it_again() -> Result<()> {
        let place = tempfile::tempdir().map_err(Error::io(".", "create"))?;
        let path = place.path().join("train.csv");
        for cut in ["", "step,lo"] {
            fs::write(&path, cut).map_err(Error::io(&path, "write"))?;
            Log::open(place.path(), 0)?.row(1, 5.0, 1e-3, 1.0, &[])?;
            let table = fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
            assert!(table.starts_with("step,loss,") && table.lines().count() == 2, "{table}");
        }
        Ok(())
    }

    #[test]
    fn table_and_chart_grow_and_continue() -> Result<()> {
        let place = tempfile::tempdir().map_err(Error::io(".", "create"))?;
        let mut log = Log::open(place.path(), 0)?;
        let metrics =
            [Metric::errors("token_error_rate", 3, 4), Metric::mean("dev_loss", 9.0, 2.0)];
        for step in 1..=6 {
            log.row(step, 5.0, 1e-3, 1.0, if step == 2 { &metrics } else { &[] })?;
        }
        log.draw(true)?;
        // Interrupted at step 4, then resumed.
        let mut log = Log::open(place.path(), 4)?;
        log.row(5, 4.0, 1e-3, 1.0, &[])?;
        log.draw(true)?;
        let read = |name: &str| fs::read_to_string(place.path().join(name)).unwrap_or_default();
        let table = read("train.csv");
        let steps: Vec<&str> = table.lines().filter_map(|l| l.split(',').next()).collect();
        assert_eq!(steps, ["step", "1", "2", "3", "4", "5"]);
        assert!(table.contains(
            "token_error_rate=0.75000 token_error_rate.count=3 token_error_rate.of=4 dev_loss=4.50000"
        ));
        let image = read("train.svg");
        assert!(image.contains("token_error_rate") && image.ends_with("</svg>\n"), "{image}");
        Ok(())
    }
}
