//! Table of a model's figures on held-out images.

use std::fmt::Write;

use super::{
    Labelling,
    metrics::{Measured, auc, average_precision, bootstrap},
};

/// Formats the figures of a model, one row per label, with 95 % intervals: exact ones for shares,
/// and bootstrap ones for areas and precisions.
pub fn table(title: &str, measured: &Measured, labelling: Labelling) -> String {
    let share = |value: f64| format!("{:.1}", 100.0 * value);
    let (low, high) = measured.accuracy.interval();
    let what = match labelling {
        Labelling::OneOf => "images",
        Labelling::Several => "known labels",
    };
    let mut text = format!(
        "{title}: accuracy {}/{} {what}, {} % ({}-{}); mean area under the curve {:.4}; mean average precision {:.4}\n",
        measured.accuracy.right,
        measured.accuracy.of,
        share(measured.accuracy.share()),
        share(low),
        share(high),
        measured.auc,
        measured.mean_average_precision,
    );
    let _ = writeln!(
        text,
        "  {:<20} {:>12} {:>9} {:>24} {:>24}",
        "label", "positives", "accuracy", "area under the curve", "average precision"
    );
    for label in &measured.labels {
        let figure = |value: f64, (low, high): (f64, f64)| {
            if value.is_nan() { "-".into() } else { format!("{value:.4} ({low:.3}-{high:.3})") }
        };
        let _ = writeln!(
            text,
            "  {:<20} {:>12} {:>7} % {:>24} {:>24}",
            label.label,
            format!("{}/{}", label.positives.right, label.positives.of),
            share(label.accuracy.share()),
            figure(label.auc, bootstrap(&label.scored, auc)),
            figure(label.average_precision, bootstrap(&label.scored, average_precision)),
        );
    }
    text
}
