//! Evaluation of a model on held-out images, and its table.

use std::fmt::{self, Write};

use wakeling_shared::model::{ImageModel, MAX_KEYWORDS};

use super::{
    Labelling, Result,
    dataset::ImageSet,
    file::ImageNetwork,
    metrics::{Measured, auc, average_precision, bootstrap, measure},
    simulate, training,
};

/// Metrics of a model on images, beside those of its float network. The text form is a [`table`] of
/// each.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Metrics of the float network; `None` if it was not given.
    pub float: Option<Measured>,
    /// Metrics of the int8 model, run by the engine of the device; `None` if it was not given.
    pub int8: Option<Measured>,
    /// Type of labels.
    pub labelling: Labelling,
}

impl Evaluation {
    /// Measures a model and its float network, as far as they are given. The images have their size
    /// and their labels, in the same order.
    ///
    /// # Errors
    /// As [`simulate::logits`] and [`training::logits`].
    pub fn of(
        model: Option<&ImageModel<'_>>,
        float_network: Option<&ImageNetwork>,
        images: &ImageSet,
    ) -> Result<Self> {
        let float = |network: &ImageNetwork| -> Result<Measured> {
            let logits = training::logits(&network.info.network, &network.params, images)?;
            Ok(measure(images, &logits))
        };
        let int8 = |model: &ImageModel<'_>| -> Result<Measured> {
            Ok(measure(images, &simulate::logits(model, images)?))
        };
        Ok(Self {
            float: float_network.map(float).transpose()?,
            int8: model.map(int8).transpose()?,
            labelling: images.labelling,
        })
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, measured) in [("float", &self.float), ("int8", &self.int8)] {
            if let Some(measured) = measured {
                f.write_str(&table(title, measured, self.labelling))?;
            }
        }
        Ok(())
    }
}

/// Formats the figures of a model with 95 % intervals: exact ones for shares, and bootstrap ones for
/// areas and precisions. The labels have a row each, unless they are more than a model for a device
/// holds.
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
    if measured.labels.len() > MAX_KEYWORDS {
        return text;
    }
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
