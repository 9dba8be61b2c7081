//! Enrollment heads, with which a device learns a keyword on its own from five utterances
//! (`wakeling_shared::enroll`).
//!
//! The host prepares a whitening of the backbone's embeddings. It consists of their principal
//! components over negative speech, scaled to unit variance. In these coordinates, a matched filter
//! is the linear discriminant.

use rand::{SeedableRng, rngs::StdRng, seq::IteratorRandom};
use wakeling_shared::{
    detector::DetectorParams,
    enroll::{DEVIATION, EnrollError, Enroller, Learn, Likeness, MAX_CHANNELS},
    model::Model,
    pipeline::Pipeline,
};

use crate::embeddings::{Embeddings, embed_streams};
use crate::quantize::{
    Backbone, CardText, Float, KeywordEntry, QuantParams, QuantizedHead, QuantizedModel,
};
use crate::{Error, Result};
use wakeling_data::negatives::{Negatives, SpeechClip};

/// Number of clips of negative speech for the whitening: about a quarter of an hour.
const CLIPS: usize = 400;
/// Taps over time and their distance in steps: 0.96 s with steps of 40 ms.
const SHAPE: (usize, usize) = (8, 3);
/// Regularization added to each variance, as a share of the largest one. Directions with little
/// variance in negative speech are noise.
const RIDGE: f64 = 1e-3;

/// Creates the entry of a keyword that a device will learn, for a model with this backbone.
///
/// # Errors
/// As [`embed_streams`].
pub fn empty_entry(
    backbone: &Backbone,
    negatives: &Negatives,
    label: &str,
) -> Result<KeywordEntry> {
    let mut rng = StdRng::seed_from_u64(1);
    let speech: Vec<SpeechClip> =
        negatives.speech.iter().sample(&mut rng, CLIPS).into_iter().cloned().collect();
    let streams = Negatives { speech, noise: negatives.noise.clone() }.streams(1).streams;
    let outputs = embed_streams(backbone, &streams)?;
    let white = whitening(&outputs, backbone.int8.output);
    // Five standard deviations fit an `i8`.
    let step = 1.0 / DEVIATION as f32;
    Ok(KeywordEntry {
        label: label.to_owned(),
        // The threshold is a logit of 0; enrollment sets the bias that goes with it.
        detector: DetectorParams { smoothing_steps: 2, threshold: 0, refractory_steps: 25 },
        points: Vec::new(),
        head: QuantizedHead::enrollment(&white, SHAPE, step, &backbone.int8),
    })
}

/// Computes the principal components with unit variance, the largest first.
fn whitening(outputs: &Embeddings, params: QuantParams) -> Float {
    let n = outputs.channels;
    let mut mean = vec![0f64; n];
    let mut products = vec![0f64; n * n];
    let steps = outputs.steps().max(1) as f64;
    for column in outputs.streams.iter().flat_map(|s| s.chunks_exact(n)) {
        let x: Vec<f64> = column.iter().map(|&q| f64::from(params.value(q))).collect();
        for i in 0..n {
            mean[i] += x[i] / steps;
            for j in 0..=i {
                products[i * n + j] += x[i] * x[j] / steps;
            }
        }
    }
    for i in 0..n {
        for j in 0..=i {
            let covariance = products[i * n + j] - mean[i] * mean[j];
            (products[i * n + j], products[j * n + i]) = (covariance, covariance);
        }
    }
    let (variances, vectors) = eigen(products, n);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
    let ridge = RIDGE * order.first().map_or(1.0, |&i| variances[i]);
    let row = |&component: &usize| -> Vec<f32> {
        let scale = 1.0 / (variances[component].max(0.0) + ridge).sqrt();
        (0..n).map(|i| (vectors[i * n + component] * scale) as f32).collect()
    };
    let rows: Vec<Vec<f32>> = order.iter().take(MAX_CHANNELS).map(row).collect();
    let bias = |row: &Vec<f32>| -row.iter().zip(&mean).map(|(w, m)| w * *m as f32).sum::<f32>();
    let bias = rows.iter().map(bias).collect();
    Float { rows, bias }
}

/// Returns the eigenvalues and eigenvectors (in columns) of a symmetric matrix, by Jacobi rotations
/// (Golub and Van Loan, Matrix Computations, 8.5).
fn eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    const SWEEPS: usize = 12;
    let mut vectors = vec![0f64; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    for _ in 0..SWEEPS {
        for p in 0..n {
            for q in p + 1..n {
                let off = a[p * n + q];
                if off.abs() < 1e-14 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (vectors[k * n + p], vectors[k * n + q]);
                    (vectors[k * n + p], vectors[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), vectors)
}

/// Result of an enrollment.
#[derive(Clone, Debug)]
pub struct Learned<T> {
    /// Similarity of the utterances, if five were detected.
    pub likeness: Option<Likeness>,
    /// Enrolled result, or the reason why enrollment failed.
    pub outcome: std::result::Result<T, EnrollError>,
}

/// Runs a device's enrollment on the host with the device's code. Each utterance must have quiet
/// around it.
///
/// # Errors
/// As [`QuantizedModel::new`].
pub fn enroll(
    backbone: &Backbone,
    empty: &KeywordEntry,
    utterances: &[Vec<i16>],
) -> Result<Learned<KeywordEntry>> {
    let model = QuantizedModel::new(backbone, vec![empty.clone()], CardText::default())?;
    let Learned { likeness, outcome } = enroll_file(&model.bytes()?, utterances)?;
    let defect = |what: String| Error::defect(what);
    let entry = |patched: Vec<u8>| -> Result<KeywordEntry> {
        let model = Model::load(&patched).map_err(|e| defect(format!("an enrolled model: {e}")))?;
        let head = QuantizedHead::last_of(&model);
        let head = head.ok_or_else(|| defect("an enrolled model has no head".into()))?;
        Ok(KeywordEntry { head, ..empty.clone() })
    };
    let outcome = match outcome {
        Ok(patched) => Ok(entry(patched)?),
        Err(error) => Err(error),
    };
    Ok(Learned { likeness, outcome })
}

/// Enrolls as [`enroll`] does, from model file to model file.
///
/// # Errors
/// [`Error::NotForEnrollment`] if `file` is not a model for enrollment.
pub fn enroll_file(file: &[u8], utterances: &[Vec<i16>]) -> Result<Learned<Vec<u8>>> {
    let words: Vec<u32> = file
        .chunks_exact(4)
        .map(|bytes| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)))
        .collect();
    let defect = |reason: String| Error::NotForEnrollment { reason };
    let model = Model::load(file).map_err(|e| defect(e.to_string()))?;
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(&model, &mut arena).map_err(|e| defect(format!("{e:?}")))?;
    let mut enroller = Box::new(Enroller::new());
    enroller.watch(&model, &words);
    enroller.begin().map_err(|e| defect(format!("{e:?}")))?;
    for utterance in utterances {
        pipeline.push_to(utterance, &mut *enroller);
    }
    let likeness = enroller.likeness();
    let patch = match enroller.patch() {
        Ok(patch) => patch,
        Err(error) => return Ok(Learned { likeness, outcome: Err(error) }),
    };
    let mut patches = patch.patches();
    let sealed = patches.seal(words.len(), |i| words.get(i).copied().ok_or(()));
    sealed.map_err(|()| defect("it is cut short".into()))?;
    let mut patched = words.clone();
    patches.overlay(0, &mut patched);
    let patched = patched.into_iter().flat_map(u32::to_le_bytes).collect();
    Ok(Learned { likeness, outcome: Ok(patched) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_are_those_of_the_matrix() {
        let a = vec![4.0, 1.0, 0.5, 1.0, 3.0, 0.25, 0.5, 0.25, 1.0];
        let (values, vectors) = eigen(a.clone(), 3);
        for k in 0..3 {
            for i in 0..3 {
                let product: f64 = (0..3).map(|j| a[i * 3 + j] * vectors[j * 3 + k]).sum();
                assert!((product - values[k] * vectors[i * 3 + k]).abs() < 1e-9);
            }
        }
        assert!((values.iter().sum::<f64>() - 8.0).abs() < 1e-9);
    }
}
