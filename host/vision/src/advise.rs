//! Estimate of whether a pretrained image network helps a task, before anything is trained.
//!
//! Each image is represented by the embedding before the head: once from the pretrained network,
//! and once from an untrained one. It is then classified by the nearest class mean over all *other*
//! images (leave one out). If the pretrained embeddings classify better, a head has something to
//! build on.

use candle_core::{DType, Device, Tensor};

use super::{Labelling, Result, dataset::ImageSet, file::ImageNetwork, training::logits};

/// Result of the estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Number of images.
    pub images: usize,
    /// Share of images classified correctly from the pretrained embeddings, mean over classes and
    /// labels.
    pub by_pretrained: f64,
    /// The same share with an untrained network.
    pub by_random: f64,
    /// The same share by guessing.
    pub by_guess: f64,
}

impl Advice {
    /// Measures the three shares, with a pretrained network on images of its size. `seed` is that of
    /// the untrained network.
    ///
    /// # Errors
    /// As [`ImageNetwork::transferred`];
    /// [`Error::Nn`](crate::Error::Nn) if the images have another size.
    pub fn of(pretrained: &ImageNetwork, images: &ImageSet, seed: u64) -> Result<Self> {
        let channels = images.shape.channels.into();
        let pretrained =
            &pretrained.transferred(images.labelling, &images.labels, channels, seed)?;
        let config = pretrained.info.network.clone();
        let random = ImageNetwork::fresh(config, images.labelling, &images.labels, seed)?;
        let label_queries = label_queries(images);
        let accuracy = |network: &ImageNetwork| -> Result<f64> {
            let described = described(network, images)?;
            let right = label_queries.iter().map(|q| leave_one_out(&described, q));
            Ok(right.sum::<f64>() / label_queries.len().max(1) as f64)
        };
        let classes: usize = label_queries.iter().map(|q| q.classes).sum();
        Ok(Self {
            images: images.all.len(),
            by_pretrained: accuracy(pretrained)?,
            by_random: accuracy(&random)?,
            by_guess: label_queries.len() as f64 / classes.max(1) as f64,
        })
    }

    /// Returns `true` if the pretrained network beats the untrained one, and beats guessing by more
    /// than chance explains (two standard deviations).
    pub fn carries(&self) -> bool {
        // Upper bound of the standard deviation of a share over this number of images.
        let noise = 0.5 / (self.images.max(1) as f64).sqrt();
        self.by_pretrained > self.by_guess + 2.0 * noise && self.by_pretrained > self.by_random
    }
}

/// Classification problem over the images.
struct LabelQuery {
    classes: usize,
    /// Class of each image; `None` if the label is unknown.
    answers: Vec<Option<usize>>,
}

impl LabelQuery {
    fn counts(&self) -> Vec<usize> {
        let count = |class| self.answers.iter().filter(|a| **a == Some(class)).count();
        (0..self.classes).map(count).collect()
    }
}

fn label_queries(images: &ImageSet) -> Vec<LabelQuery> {
    match images.labelling {
        Labelling::OneOf => vec![LabelQuery {
            classes: images.labels.len(),
            answers: images.all.iter().map(|p| p.class()).collect(),
        }],
        Labelling::Several => (0..images.labels.len())
            .map(|label| LabelQuery {
                classes: 2,
                answers: images
                    .all
                    .iter()
                    .map(|p| p.answers.get(label).copied().flatten().map(usize::from))
                    .collect(),
            })
            .collect(),
    }
}

/// Returns the embedding of each image, every component scaled to unit variance over the images.
fn described(network: &ImageNetwork, images: &ImageSet) -> Result<Vec<Vec<f32>>> {
    let config = &network.info.network;
    let width = config.outputs();
    let mut params = network.params.detached()?;
    // With the identity as head weights, the logits equal the embedding.
    let identity = Tensor::eye(width, DType::F32, &Device::Cpu)?.flatten_all()?.to_vec1()?;
    params.insert("head.weight", &[width, width], identity)?;
    params.insert("head.bias", &[width], vec![0.0; width])?;
    let mut described = logits(config, &params, images)?;
    let count = described.len().max(1) as f32;
    for c in 0..width {
        let mean = described.iter().map(|d| d[c]).sum::<f32>() / count;
        let variance = described.iter().map(|d| (d[c] - mean).powi(2)).sum::<f32>() / count;
        let scale = 1.0 / (variance.sqrt() + 1e-6);
        described.iter_mut().for_each(|d| d[c] *= scale);
    }
    Ok(described)
}

/// Returns the share of images classified correctly by the nearest mean of the others, mean over
/// classes.
fn leave_one_out(described: &[Vec<f32>], query: &LabelQuery) -> f64 {
    let width = described.first().map_or(0, Vec::len);
    let counts = query.counts();
    let mut sums = vec![vec![0f32; width]; query.classes];
    let known = || described.iter().zip(&query.answers).filter_map(|(d, a)| Some((d, (*a)?)));
    for (d, answer) in known() {
        sums[answer].iter_mut().zip(d).for_each(|(s, d)| *s += d);
    }
    let mut right = vec![0usize; query.classes];
    for (d, answer) in known() {
        let distance = |class: usize| -> f32 {
            let own = usize::from(class == answer);
            let others = counts[class] - own;
            if others == 0 {
                return f32::INFINITY;
            }
            let mean = |c: usize| (sums[class][c] - own as f32 * d[c]) / others as f32;
            d.iter().enumerate().map(|(c, x)| (x - mean(c)).powi(2)).sum()
        };
        let distances: Vec<f32> = (0..query.classes).map(distance).collect();
        let nearest = (0..query.classes).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        right[answer] += usize::from(nearest == Some(answer));
    }
    let shares = right.iter().zip(&counts).filter(|(_, n)| **n > 0);
    let classes = counts.iter().filter(|n| **n > 0).count().max(1);
    shares.map(|(r, n)| *r as f64 / *n as f64).sum::<f64>() / classes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separable_classes_score_well_and_no_image_votes_for_itself() {
        let query =
            LabelQuery { classes: 2, answers: vec![Some(0), Some(0), Some(1), Some(1), None] };
        let apart = [[0.0], [0.1], [5.0], [5.1], [9.0]].map(Vec::from);
        assert_eq!(leave_one_out(&apart, &query), 1.0);
        let mixed = [[0.0], [5.0], [0.1], [5.1], [9.0]].map(Vec::from);
        assert_eq!(leave_one_out(&mixed, &query), 0.0);
        // A class with a single image has no others, so that image cannot be classified.
        let single = LabelQuery { classes: 2, answers: vec![Some(0), Some(1), Some(1)] };
        let described = [[0.0], [5.0], [5.1]].map(Vec::from);
        assert_eq!(leave_one_out(&described, &single), 0.5);
    }
}
