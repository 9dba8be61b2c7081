//! Metrics over logits: accuracy, area under the ROC curve, average precision, and their intervals.
//!
//! The area is the share of pairs of a positive and a negative image in which the positive has the
//! higher score; ties count one half (Hanley & McNeil 1982). Average precision is
//! `Σ (Rₙ − Rₙ₋₁) · Pₙ` over the distinct scores, from the highest down (Davis & Goadrich 2006: no
//! interpolation).

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Labelling, dataset::ImageSet};
use wakeling_train::evaluate::interval;

/// Number of correct items and total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Number of correct items.
    pub right: usize,
    /// Total number of items.
    pub of: usize,
}

impl Count {
    /// Returns the share of correct items; 0 if there are none.
    pub fn share(&self) -> f64 {
        self.right as f64 / self.of.max(1) as f64
    }

    /// Returns the exact 95 % interval of the share.
    pub fn interval(&self) -> (f64, f64) {
        interval(self.right, self.of)
    }
}

/// Score and true label of each image whose label is known.
pub type Scored = Vec<(f32, bool)>;

/// Metrics of one label.
#[derive(Clone, Debug)]
pub struct LabelMetrics {
    /// Name of the label.
    pub label: String,
    /// Images with the label, out of those where it is known.
    pub positives: Count,
    /// Images classified correctly: by the highest logit, or by the sign of the logit.
    pub accuracy: Count,
    /// Area under the ROC curve; NaN without a positive or without a negative.
    pub auc: f64,
    /// Average precision; NaN without a positive.
    pub average_precision: f64,
    /// Scores of the label.
    pub scored: Scored,
}

/// Metrics of a model.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Images classified correctly; with several labels, correct labels of images.
    pub accuracy: Count,
    /// Mean area under the ROC curve, over the labels that have one.
    pub auc: f64,
    /// Mean average precision, over the labels that have one.
    pub mean_average_precision: f64,
    /// Metrics of each label.
    pub labels: Vec<LabelMetrics>,
}

/// Computes the metrics from logits, one row per image.
///
/// If exactly one label is right, the score of a label is its log-odds after the softmax.
pub fn measure(images: &ImageSet, logits: &[Vec<f32>]) -> Measured {
    let highest = |row: &[f32]| {
        let first = (0, f32::NEG_INFINITY);
        row.iter().enumerate().fold(first, |best, (i, &x)| if x > best.1 { (i, x) } else { best }).0
    };
    let one_of = images.labelling == Labelling::OneOf;
    let label = |(l, name): (usize, &String)| {
        let mut scored = Scored::new();
        let mut accuracy = Count::default();
        for (image, row) in images.all.iter().zip(logits) {
            let Some(truth) = image.answers[l] else { continue };
            let score = if one_of { log_odds(row, l) } else { row[l] };
            let claimed = if one_of { highest(row) == l } else { row[l] > 0.0 };
            accuracy.of += 1;
            accuracy.right += usize::from(claimed == truth);
            scored.push((score, truth));
        }
        let positives =
            Count { right: scored.iter().filter(|(_, truth)| *truth).count(), of: scored.len() };
        LabelMetrics {
            label: name.clone(),
            positives,
            accuracy,
            auc: auc(&scored),
            average_precision: average_precision(&scored),
            scored,
        }
    };
    let labels: Vec<LabelMetrics> = images.labels.iter().enumerate().map(label).collect();
    let accuracy = if one_of {
        let right = images.all.iter().zip(logits);
        let right = right.filter(|(image, row)| image.class() == Some(highest(row)));
        Count { right: right.count(), of: images.all.len() }
    } else {
        let sum = |f: fn(&Count) -> usize| labels.iter().map(|l| f(&l.accuracy)).sum();
        Count { right: sum(|c| c.right), of: sum(|c| c.of) }
    };
    Measured {
        accuracy,
        auc: mean(labels.iter().map(|l| l.auc).filter(|v| v.is_finite())),
        mean_average_precision: mean(
            labels.iter().map(|l| l.average_precision).filter(|v| v.is_finite()),
        ),
        labels,
    }
}

/// Returns `x_l − ln Σ_{k ≠ l} e^{x_k}`.
fn log_odds(row: &[f32], label: usize) -> f32 {
    let others = || row.iter().enumerate().filter(|&(k, _)| k != label).map(|(_, &x)| x);
    let largest = others().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return row[label];
    }
    row[label] - largest - others().map(|x| (x - largest).exp()).sum::<f32>().ln()
}

/// Returns the mean, or NaN without values.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

/// Counts positives and negatives in each group of equal scores, from the highest down.
fn ranked(scored: &[(f32, bool)]) -> Vec<(f64, f64)> {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let groups = sorted.chunk_by(|a, b| a.0 == b.0);
    let count = |group: &[(f32, bool)]| {
        let positives = group.iter().filter(|(_, truth)| *truth).count();
        (positives as f64, (group.len() - positives) as f64)
    };
    groups.map(count).collect()
}

/// Returns the area under the ROC curve.
///
/// ```
/// use wakeling_vision::metrics::auc;
///
/// let scored = [(0.9, true), (0.4, true), (0.5, false), (0.1, false)]; // score and truth
/// assert_eq!(auc(&scored), 0.75); // of four pairs, three are in the right order
/// ```
pub fn auc(scored: &[(f32, bool)]) -> f64 {
    let (mut above, mut area, mut negatives) = (0.0, 0.0, 0.0);
    for (p, n) in ranked(scored) {
        area += n * (above + p / 2.0);
        above += p;
        negatives += n;
    }
    area / (above * negatives)
}

/// Returns the average precision.
pub fn average_precision(scored: &[(f32, bool)]) -> f64 {
    let (mut right, mut all, mut sum) = (0.0, 0.0, 0.0);
    for (p, n) in ranked(scored) {
        right += p;
        all += p + n;
        sum += p * right / all;
    }
    sum / right
}

/// Returns the 95 % bootstrap interval of a figure over the images (Efron 1979, percentiles of 500
/// resamples with replacement, fixed seed).
pub fn bootstrap(scored: &[(f32, bool)], figure: fn(&[(f32, bool)]) -> f64) -> (f64, f64) {
    const SAMPLES: usize = 500;
    let rng = &mut StdRng::seed_from_u64(1);
    let mut resample = || -> Vec<(f32, bool)> {
        (0..scored.len()).map(|_| scored[rng.random_range(0..scored.len())]).collect()
    };
    let mut found: Vec<f64> =
        (0..SAMPLES).map(|_| figure(&resample())).filter(|v| v.is_finite()).collect();
    found.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * found.len() as f64) as usize;
        found.get(place.min(found.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    (at(0.025), at(0.975))
}

/// Returns the mean of a few runs and half of its 95 % interval by Student's t; infinite for a
/// single run.
pub fn mean_and_half(values: &[f64]) -> (f64, f64) {
    // Two-sided 95 % quantiles for 1 … 30 degrees of freedom.
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    let count = values.len() as f64;
    let mean = mean(values.iter().copied());
    let Some(freedom) = values.len().checked_sub(2) else { return (mean, f64::INFINITY) };
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, T.get(freedom).copied().unwrap_or(1.96) * (variance / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LabelledImage;
    use wakeling_shared::model::Shape;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
    }

    #[test]
    fn areas_and_precisions_are_those_counted_by_hand() {
        // Ranks: + − + (+ −): of 6 pairs, 2 + 1 + 0.5·1 … counted one by one.
        let scored = [(0.9, true), (0.8, false), (0.7, true), (0.4, true), (0.4, false)];
        // Pairs: 0.9 beats both (2), 0.7 beats one (1), 0.4 ties with one (0.5): 3.5 of 6.
        close(auc(&scored), 3.5 / 6.0);
        // At 0.9: 1/1, at 0.7: 2/3, at 0.4: 3/5; a third of the recall each.
        close(average_precision(&scored), (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0);
        close(auc(&[(1.0, true), (0.0, false)]), 1.0);
        close(auc(&[(0.5, true), (0.5, false), (0.5, false)]), 0.5);
        assert!(auc(&[(0.5, true)]).is_nan() && average_precision(&[(0.5, false)]).is_nan());
    }

    #[test]
    fn unknown_labels_count_for_nothing() {
        let image =
            |answers: [Option<bool>; 2]| LabelledImage { pixels: vec![], answers: answers.into() };
        let images = ImageSet {
            shape: Shape { height: 1, width: 1, channels: 1 },
            labelling: Labelling::Several,
            labels: vec!["a".into(), "b".into()],
            all: vec![
                image([Some(true), None]),
                image([Some(false), Some(true)]),
                image([None, Some(false)]),
            ],
        };
        let found = measure(&images, &[vec![2.0, -9.0], vec![1.0, -1.0], vec![5.0, -2.0]]);
        assert_eq!(found.accuracy, Count { right: 2, of: 4 });
        close(found.auc, 1.0);
        close(found.mean_average_precision, 1.0);
        assert_eq!(found.labels[1].positives, Count { right: 1, of: 2 });
    }

    #[test]
    fn with_one_label_right_the_highest_logit_decides() {
        let image = |class: usize| LabelledImage {
            pixels: vec![],
            answers: (0..3).map(|l| Some(l == class)).collect(),
        };
        let images = ImageSet {
            shape: Shape { height: 1, width: 1, channels: 1 },
            labelling: Labelling::OneOf,
            labels: ["a", "b", "c"].map(String::from).into(),
            all: vec![image(0), image(1), image(2), image(2)],
        };
        let logits = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 4.0], [1.0, 0.0, 0.5]];
        let found = measure(&images, &logits.map(Vec::from));
        assert_eq!(found.accuracy, Count { right: 3, of: 4 });
        close(f64::from(log_odds(&[1.0, 0.0], 0)), 1.0);
    }

    #[test]
    fn intervals_of_means_are_students() {
        // t = 2.776 for 4 degrees of freedom, deviation √2.5.
        let (mean, half) = mean_and_half(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        close(mean, 3.0);
        close(half, 2.776 * (2.5f64 / 5.0).sqrt());
        assert_eq!(mean_and_half(&[1.0]), (1.0, f64::INFINITY));
    }

    #[test]
    fn the_bootstrap_holds_the_figure() {
        let scored: Scored = (0..200).map(|i| ((i * 37 % 101) as f32, i % 3 == 0)).collect();
        let (low, high) = bootstrap(&scored, auc);
        let found = auc(&scored);
        assert!(low < found && found < high && high - low < 0.25, "{low} {found} {high}");
    }
}
