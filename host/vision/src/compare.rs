//! Experiments that measure the benefit of transfer and of joint training, repeated over several
//! seeds.
//!
//! Every figure comes from the int8 model on the test images. Strategies and tasks that are
//! compared use the same samples. Their difference therefore has its own interval, narrower than
//! theirs.

use std::fmt::Write;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Error, Labelling, Result,
    dataset::ImageSet,
    file::ImageNetwork,
    finetune::{self, Recipe},
    metrics::{Measured, average_precision, mean, mean_and_half},
    network::NetworkConfig,
    strategy::{SCRATCH_RATE, Trainable},
    trained_model::TrainedModel,
    training::{Settings, train_with_progress},
};
use wakeling_core::progress::Progress;

/// Samples `count` images with `seed`. Classes are as balanced as the number of images allows.
///
/// # Errors
/// [`Error::FewImages`] if there are fewer images.
pub fn sample(images: &ImageSet, count: usize, seed: u64) -> Result<ImageSet> {
    if count > images.all.len() {
        return Err(Error::FewImages { asked: count, available: images.all.len() });
    }
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..images.all.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    if images.labelling == Labelling::OneOf {
        // Takes the first of each class, then the second of each, and so on.
        let mut seen = vec![0; images.labels.len() + 1];
        let mut rank = |i: usize| {
            let class = images.all[i].class().unwrap_or(images.labels.len());
            seen[class] += 1;
            seen[class]
        };
        let mut ranked: Vec<(usize, usize)> = order.iter().map(|&i| (rank(i), i)).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        order = ranked.into_iter().map(|(_, i)| i).collect();
    }
    let all = order.iter().take(count).map(|&i| images.all[i].clone()).collect();
    Ok(ImageSet { all, labels: images.labels.clone(), ..*images })
}

/// Replaces a random share of the labels by unknown, sampled with `seed`.
pub fn hide_labels(images: &ImageSet, share: f64, seed: u64) -> ImageSet {
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut hidden = images.clone();
    for answer in hidden.all.iter_mut().flat_map(|p| &mut p.answers) {
        if rng.random::<f64>() < share {
            *answer = None;
        }
    }
    hidden
}

/// Results of one table cell, one run per seed.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Row key, such as `100 images`.
    pub row: String,
    /// Column key, such as `scratch`.
    pub column: String,
    /// Accuracy, mean area under the curve, and mean average precision of each run.
    pub runs: Vec<[f64; 3]>,
}

/// Names of the figures of a [`Cell`]'s runs.
const METRIC_NAMES: [&str; 3] = ["accuracy", "auc", "mean_average_precision"];

/// Compares strategies, such as pretrained against scratch: one cell per number of images and
/// strategy, one run of the [`Recipe`] per seed. Reports each finished cell to `progress` as a line.
///
/// # Errors
/// As [`Recipe::new`], [`Recipe::run`] and [`sample`].
pub fn trainables(
    pretrained: &ImageNetwork,
    [images, test]: [&ImageSet; 2],
    counts: &[usize],
    trainables: &[Trainable],
    repeats: &Repeats,
    progress: &dyn Progress,
) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for &count in counts {
        for &trainable in trainables {
            let mut runs = Vec::new();
            for seed in repeats.seeds() {
                let sampled = sample(images, count, seed)?;
                let mut recipe = Recipe::new(pretrained.clone(), sampled)?;
                recipe.train = Some(trainable);
                let Repeats { steps, workers, .. } = *repeats;
                recipe.settings = finetune::Settings { steps, workers, seed, ..Default::default() };
                runs.push(metric_values(&recipe.run(progress)?.measure(test)?));
            }
            let cell =
                Cell { row: format!("{count} pictures"), column: trainable.to_string(), runs };
            progress.line(&cell.line());
            cells.push(cell);
        }
    }
    Ok(cells)
}

fn metric_values(measured: &Measured) -> [f64; 3] {
    [measured.accuracy.share(), measured.auc, measured.mean_average_precision]
}

/// Compares one network for all labels with one network of the same shape per label, for each width
/// and seed, with a share `hidden` of the labels unknown. Reports each finished cell to `progress`
/// as a line.
///
/// # Errors
/// As [`train_with_progress`] and [`quantize::encode`](crate::quantize::encode).
pub fn tasks(
    [images, test]: [&ImageSet; 2],
    widths: &[f64],
    hidden: f64,
    repeats: &Repeats,
    progress: &dyn Progress,
) -> Result<Vec<Cell>> {
    let train_and_evaluate = |network, seen: &ImageSet, test: &ImageSet, settings: &Settings| {
        let network = train_with_progress(network, seen, None, settings, progress)?;
        TrainedModel::new(network, settings)?.measure(test)
    };
    let (side, channels) = (images.shape.height.into(), images.shape.channels.into());
    let mut cells = Vec::new();
    for &width in widths {
        let config = NetworkConfig::new(width, side, channels);
        let (mut joint, mut separate) = (Vec::new(), Vec::new());
        for seed in repeats.seeds() {
            let settings = repeats.settings(SCRATCH_RATE, seed);
            let seen = hide_labels(images, hidden, seed);
            let fresh = |images: &ImageSet| {
                ImageNetwork::fresh(config.clone(), images.labelling, &images.labels, seed)
            };
            joint.push(metric_values(&train_and_evaluate(fresh(&seen)?, &seen, test, &settings)?));
            let mut alone = Vec::new();
            for label in 0..images.labels.len() {
                let (seen, test) = (seen.with_labels(&[label]), test.with_labels(&[label]));
                let measured = train_and_evaluate(fresh(&seen)?, &seen, &test, &settings)?;
                alone.push(measured);
            }
            let labels = || alone.iter().flat_map(|m| &m.labels);
            let right: usize = labels().map(|l| l.accuracy.right).sum();
            let of: usize = labels().map(|l| l.accuracy.of).sum();
            separate.push([
                right as f64 / of.max(1) as f64,
                mean(labels().map(|l| l.auc).filter(|v| v.is_finite())),
                mean(labels().map(|l| average_precision(&l.scored)).filter(|v| v.is_finite())),
            ]);
        }
        for (column, runs) in [("joint", joint), ("separate", separate)] {
            let cell = Cell { row: format!("width {width}"), column: column.into(), runs };
            progress.line(&cell.line());
            cells.push(cell);
        }
    }
    Ok(cells)
}

/// Number of repetitions and length of each run.
#[derive(Clone, Debug)]
pub struct Repeats {
    /// Number of runs per cell.
    pub count: usize,
    /// Seed of the first run; each further run adds 1.
    pub first_seed: u64,
    /// Training steps of each run.
    pub steps: usize,
    /// Number of threads.
    pub workers: usize,
}

impl Repeats {
    fn seeds(&self) -> std::ops::Range<u64> {
        self.first_seed..self.first_seed + self.count as u64
    }

    fn settings(&self, rate: f64, seed: u64) -> Settings {
        Settings::new(self.steps, rate, self.workers, seed)
    }
}

impl Cell {
    fn values(&self, figure: usize) -> Vec<f64> {
        self.runs.iter().map(|run| run[figure]).collect()
    }

    fn line(&self) -> String {
        let [accuracy, auc, precision] = [0, 1, 2].map(|figure| text(&self.values(figure)));
        format!(
            "{:<14} {:<9} {:>3}  {accuracy:>16} {auc:>16} {precision:>16}",
            self.row,
            self.column,
            self.runs.len()
        )
    }
}

fn text(values: &[f64]) -> String {
    let (mean, half) = mean_and_half(values);
    if half.is_finite() { format!("{mean:.4} ±{half:.4}") } else { format!("{mean:.4}") }
}

/// Formats the mean and 95 % interval over the runs of each cell, and of its run-by-run difference
/// from the first cell of its row.
pub fn table(cells: &[Cell]) -> String {
    let mut table = format!(
        "{:<14} {:<9} {:>3}  {:>16} {:>16} {:>16}\n",
        "", "", "n", "accuracy", "area under curve", "mean av. prec."
    );
    for cell in cells {
        let _ = writeln!(table, "{}", cell.line());
        let first = cells.iter().find(|other| other.row == cell.row);
        let Some(first) = first.filter(|first| first.column != cell.column) else { continue };
        let difference = |figure| {
            let pairs = cell.values(figure).into_iter().zip(first.values(figure));
            text(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>())
        };
        let [accuracy, auc, precision] = [0, 1, 2].map(difference);
        let _ = writeln!(
            table,
            "{:<14} {:<13}  {accuracy:>16} {auc:>16} {precision:>16}",
            "",
            format!("less {}", first.column)
        );
    }
    table
}

/// Formats all runs as CSV, one row per run.
pub fn csv(cells: &[Cell]) -> String {
    let mut csv = format!("row,column,run,{}\n", METRIC_NAMES.join(","));
    for cell in cells {
        for (run, [accuracy, auc, precision]) in cell.runs.iter().enumerate() {
            let _ = writeln!(
                csv,
                "{},{},{run},{accuracy:.6},{auc:.6},{precision:.6}",
                cell.row, cell.column
            );
        }
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LabelledImage;
    use wakeling_shared::model::Shape;

    fn images(classes: &[usize]) -> ImageSet {
        let image = |(i, &class): (usize, &usize)| LabelledImage {
            pixels: vec![i as u8],
            answers: (0..3).map(|l| Some(l == class)).collect(),
        };
        ImageSet {
            shape: Shape { height: 1, width: 1, channels: 1 },
            labelling: Labelling::OneOf,
            labels: ["a", "b", "c"].map(String::from).into(),
            all: classes.iter().enumerate().map(image).collect(),
        }
    }

    #[test]
    fn samples_are_balanced_and_differ_by_seed() {
        let all = images(&[vec![0; 50], vec![1; 20], vec![2; 3]].concat());
        let sampled = |seed| -> (Vec<u8>, [usize; 3]) {
            let sampled = sample(&all, 15, seed).expect("enough");
            let count = |class| sampled.all.iter().filter(|p| p.class() == Some(class)).count();
            (sampled.all.iter().map(|p| p.pixels[0]).collect(), [count(0), count(1), count(2)])
        };
        assert_eq!(sampled(1).1, [6, 6, 3]);
        assert_eq!(sampled(1), sampled(1));
        assert_ne!(sampled(1).0, sampled(2).0);
        assert!(sample(&all, 74, 1).is_err());
    }

    #[test]
    fn about_the_share_asked_for_is_hidden() {
        let all = images(&[1; 400]);
        let hidden = hide_labels(&all, 0.5, 3);
        let unknown = hidden.all.iter().flat_map(|p| &p.answers).filter(|a| a.is_none()).count();
        assert!((520..680).contains(&unknown), "{unknown} of 1200");
        let kept = hidden
            .all
            .iter()
            .zip(&all.all)
            .all(|(h, a)| h.answers.iter().zip(&a.answers).all(|(h, a)| h.is_none() || h == a));
        assert!(kept);
    }

    #[test]
    fn differences_are_taken_run_by_run() {
        let cell = |column: &str, values: [f64; 3]| Cell {
            row: "100 pictures".into(),
            column: column.into(),
            runs: values.map(|v| [v, v, v]).into(),
        };
        let cells = [cell("scratch", [0.5, 0.6, 0.7]), cell("all", [0.6, 0.7, 0.8])];
        let table = table(&cells);
        assert!(table.contains("less scratch") && table.contains("0.1000 ±0.0000"), "{table}");
        assert_eq!(csv(&cells).lines().count(), 7);
    }
}
