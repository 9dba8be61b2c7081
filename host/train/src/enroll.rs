//! Enrollment heads, with which a device learns a keyword on its own from five utterances
//! (`wakeling_shared::enroll`).
//!
//! The host prepares statistics of negative speech. They consist of the embeddings' principal
//! components and of a vector autoregression of these over time, which predicts each column from
//! earlier ones. The components are rotated and scaled so that what the prediction misses is white.
//! With both, the device computes a linear discriminant over channels and time.

use rand::{SeedableRng, rngs::StdRng, seq::IteratorRandom};
use wakeling_shared::{
    detector::DetectorParams,
    enroll::{DEVIATION, EnrollError, Enroller, Learn, Likeness, MAX_CHANNELS, Patch, UTTERANCES},
    model::Model,
    pipeline::Pipeline,
};

use crate::embeddings::{Embeddings, embed_streams};
use crate::quantize::{
    Backbone, CardText, EnrollStatistics, Float, KeywordEntry, QuantParams, QuantizedHead,
    QuantizedModel,
};
use crate::{Error, Result};
use wakeling_data::negatives::{Negatives, SpeechClip};

mod matrix;

use matrix::{Matrix, eigen};

/// Number of clips of negative speech for the statistics: about half an hour.
const CLIPS: usize = 1_000;
/// The same for a head without statistics.
const PLAIN_CLIPS: usize = 400;
/// Taps over time and their distance in steps: 0.96 s with steps of 40 ms.
const SHAPE: (usize, usize) = (8, 3);
/// Regularization added to each variance, as a share of the largest one. Directions with little
/// variance in negative speech are noise.
const RIDGE: f64 = 1e-3;
/// Number of channels of a head without statistics.
const PLAIN_CHANNELS: usize = 64;
/// Number of earlier columns from which one is predicted.
const ORDER: usize = 2;
/// Regularization of the prediction, as a share of the mean variance.
const PREDICTION_RIDGE: f64 = 0.05;
/// Standard deviation of a prediction's residuals in units of `i8`. The channels themselves have up
/// to three times as much, and 0.15 % of their values saturate.
const RESIDUAL_DEVIATION: u8 = 16;
/// Constant part of the threshold in standard deviations of the score over negative speech, Q8: 7.25.
/// The tails of the scores are heavier than those of a normal distribution. Chosen with the
/// development keywords (docs/lab/enrolling.md).
const THRESHOLD_Q8: u16 = 1_856;
/// Share of the utterances' median score that is added to it, Q8: 0.2.
const SHARE_Q8: u8 = 51;

/// Form of an enrollment head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Discriminant with statistics of negative speech.
    #[default]
    Statistics,
    /// Sum of the utterances, whitened by channel, without statistics, as before there were any.
    Plain,
}

/// Head that a device fills in, and the statistics that it uses for that.
#[derive(Clone, Debug)]
pub struct EnrollmentHead {
    /// Entry of the keyword that a device will learn.
    pub entry: KeywordEntry,
    /// Statistics of negative speech.
    pub statistics: Option<EnrollStatistics>,
}

impl EnrollmentHead {
    /// Creates the head of a keyword for a model with this backbone.
    ///
    /// # Errors
    /// As [`embed_streams`].
    pub fn new(
        backbone: &Backbone,
        negatives: &Negatives,
        label: &str,
        form: Form,
    ) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(1);
        let clips = if form == Form::Plain { PLAIN_CLIPS } else { CLIPS };
        let speech: Vec<SpeechClip> =
            negatives.speech.iter().sample(&mut rng, clips).into_iter().cloned().collect();
        let mut streams = Negatives { speech, noise: negatives.noise.clone() }.streams(1);
        if form == Form::Statistics {
            // Streams of noise alone have no text. Noise would dilute the statistics of speech, from
            // which a keyword must be told apart (docs/lab/enrolling.md).
            let mut texts = streams.texts.iter();
            streams.streams.retain(|_| texts.next().is_some_and(|text| !text.is_empty()));
        }
        let streams = streams.streams;
        let outputs = embed_streams(backbone, &streams)?;
        let params = backbone.int8.output;
        let (white, statistics, deviation) = match form {
            Form::Plain => {
                let (covariance, mean) = covariance(&outputs, params);
                (whitening(covariance, &mean, PLAIN_CHANNELS), None, DEVIATION as f32)
            }
            Form::Statistics => {
                let (white, statistics) = prediction(&outputs, params);
                (white, Some(statistics), f32::from(RESIDUAL_DEVIATION))
            }
        };
        let entry = KeywordEntry {
            label: label.to_owned(),
            // The threshold is a logit of 0; enrollment sets the bias that goes with it.
            detector: DetectorParams { smoothing_steps: 2, threshold: 0, refractory_steps: 25 },
            points: Vec::new(),
            head: QuantizedHead::enrollment(&white, SHAPE, 1.0 / deviation, &backbone.int8),
        };
        Ok(Self { entry, statistics })
    }

    /// Returns a model with the heads of other keywords and, last, this one.
    ///
    /// # Errors
    /// As [`QuantizedModel::new`].
    pub fn model(
        &self,
        backbone: &Backbone,
        mut others: Vec<KeywordEntry>,
        card: CardText,
    ) -> Result<QuantizedModel> {
        others.push(self.entry.clone());
        let model = QuantizedModel::new(backbone, others, card)?;
        Ok(model.with_statistics(self.statistics.clone()))
    }
}

/// Covariance of the embeddings, and their mean.
fn covariance(outputs: &Embeddings, params: QuantParams) -> (Matrix, Vec<f64>) {
    let n = outputs.channels;
    let mut mean = vec![0f64; n];
    let mut products = Matrix::zeros(n);
    let steps = outputs.steps().max(1) as f64;
    for column in outputs.streams.iter().flat_map(|s| s.chunks_exact(n)) {
        let x: Vec<f64> = column.iter().map(|&q| f64::from(params.value(q))).collect();
        for (i, &xi) in x.iter().enumerate() {
            mean[i] += xi / steps;
            let row = products.row_mut(i);
            row.iter_mut().zip(&x).take(i + 1).for_each(|(sum, xj)| *sum += xi * xj / steps);
        }
    }
    for i in 0..n {
        for j in 0..=i {
            let covariance = products.at(i, j) - mean[i] * mean[j];
            products.set(i, j, covariance);
            products.set(j, i, covariance);
        }
    }
    (products, mean)
}

/// Computes the first `channels` principal components with unit variance, the largest first.
fn whitening(covariance: Matrix, mean: &[f64], channels: usize) -> Float {
    let n = covariance.size();
    let (variances, vectors) = eigen(covariance);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
    let ridge = RIDGE * order.first().map_or(1.0, |&i| variances[i]);
    let row = |&component: &usize| -> Vec<f32> {
        let scale = 1.0 / (variances[component].max(0.0) + ridge).sqrt();
        (0..n).map(|i| (vectors.at(i, component) * scale) as f32).collect()
    };
    let rows: Vec<Vec<f32>> = order.iter().take(channels).map(row).collect();
    centered(rows, mean)
}

/// Returns a layer with these weights, whose outputs have mean 0 over inputs with this mean.
fn centered(rows: Vec<Vec<f32>>, mean: &[f64]) -> Float {
    let bias = |row: &Vec<f32>| -row.iter().zip(mean).map(|(w, m)| w * *m as f32).sum::<f32>();
    let bias = rows.iter().map(bias).collect();
    Float { rows, bias }
}

/// Fits a vector autoregression to the principal components (Lütkepohl, New Introduction to Multiple
/// Time Series Analysis, section 3.3). Returns them in coordinates in which the residuals are white
/// with unit variance, and the predictors.
fn prediction(outputs: &Embeddings, params: QuantParams) -> (Float, EnrollStatistics) {
    let (covariance, mean) = covariance(outputs, params);
    let white = whitening(covariance, &mean, MAX_CHANNELS);
    let k = white.rows.len();
    let columns: Vec<Vec<f32>> = outputs.streams.iter().map(|s| apply(&white, s, params)).collect();
    let mut lags: Vec<Matrix> = (0..=ORDER).map(|lag| lag_covariance(&columns, k, lag)).collect();
    let ridge = PREDICTION_RIDGE * lags[0].trace() / k.max(1) as f64;
    for i in 0..k {
        let variance = lags[0].at(i, i);
        lags[0].set(i, i, variance + ridge);
    }

    // Yule-Walker equations: `predictors · past = ahead`.
    let past = Matrix::of(ORDER * k, |i, j| {
        let (block_i, block_j) = (i / k, j / k);
        let (i, j) = (i % k, j % k);
        if block_j >= block_i {
            lags[block_j - block_i].at(i, j)
        } else {
            lags[block_i - block_j].at(j, i)
        }
    });
    let ahead = |i: usize, j: usize| lags[j / k + 1].at(i, j % k);
    let rows: Vec<Vec<f64>> =
        (0..k).map(|i| (0..ORDER * k).map(|j| ahead(i, j)).collect()).collect();
    // `past` is symmetric, so the rows of the predictors are solutions.
    let rows = past.solve(rows);
    let residual = Matrix::of(k, |i, j| {
        let explained: f64 = (0..ORDER * k).map(|l| rows[i][l] * ahead(j, l)).sum();
        lags[0].at(i, j) - explained
    });
    // Rounding makes the residuals' covariance slightly asymmetric.
    let residual = Matrix::of(k, |i, j| (residual.at(i, j) + residual.at(j, i)) / 2.0);
    let (variances, vectors) = eigen(residual);
    let largest = variances.iter().fold(0f64, |a, &b| a.max(b)).max(f64::MIN_POSITIVE);
    let power = |exponent: f64| {
        let powers: Vec<f64> =
            variances.iter().map(|v| v.max(largest * RIDGE).powf(exponent)).collect();
        Matrix::of(k, |i, j| (0..k).map(|l| vectors.at(i, l) * powers[l] * vectors.at(j, l)).sum())
    };
    let (whiten, color) = (power(-0.5), power(0.5));
    let rotated = |values: &dyn Fn(usize) -> f64, i: usize| -> f64 {
        (0..k).map(|l| whiten.at(i, l) * values(l)).sum()
    };
    let row = |i: usize| -> Vec<f32> {
        let value = |c: usize| rotated(&|l| f64::from(white.rows[l][c]), i) as f32;
        on_grid((0..outputs.channels).map(value).collect())
    };
    let float = centered((0..k).map(row).collect(), &mean);
    let mut predictors = Vec::with_capacity(ORDER * k * k);
    for lag in 0..ORDER {
        let of_lag = Matrix::of(k, |i, j| rows[i][lag * k + j]);
        let turned = whiten.times(&of_lag).times(&color);
        let q7 = |x: f64| (x * 128.0).round().clamp(-127.0, 127.0) as i8 as u8;
        predictors.extend((0..k).flat_map(|i| turned.row(i).iter().map(|&x| q7(x))));
    }
    let statistics = EnrollStatistics {
        deviation: RESIDUAL_DEVIATION,
        threshold_q8: THRESHOLD_Q8,
        share_q8: SHARE_Q8,
        order: ORDER as u8,
        predictors,
    };
    (float, statistics)
}

/// Rounds weights as quantization does, so that their bias fits the quantized weights.
fn on_grid(row: Vec<f32>) -> Vec<f32> {
    let step = row.iter().fold(0f32, |most, w| w.abs().max(most)) / 127.0;
    let step = step.max(f32::MIN_POSITIVE);
    row.into_iter().map(|w| (w / step).round() * step).collect()
}

/// Applies a layer to a stream of embeddings. Returns `(steps, outputs)`.
fn apply(float: &Float, stream: &[i8], params: QuantParams) -> Vec<f32> {
    let inputs = float.rows.first().map_or(1, Vec::len);
    let mut columns = Vec::with_capacity(stream.len() / inputs * float.rows.len());
    for column in stream.chunks_exact(inputs) {
        let x: Vec<f32> = column.iter().map(|&q| params.value(q)).collect();
        let rows = float.rows.iter().zip(&float.bias);
        columns.extend(
            rows.map(|(row, bias)| bias + row.iter().zip(&x).map(|(w, x)| w * x).sum::<f32>()),
        );
    }
    columns
}

/// Covariance between a column and the one `lag` taps earlier, within each stream. The columns have
/// mean 0.
fn lag_covariance(streams: &[Vec<f32>], channels: usize, lag: usize) -> Matrix {
    let mut sum = Matrix::zeros(channels);
    let mut pairs = 0usize;
    for stream in streams {
        let columns = stream.chunks_exact(channels.max(1));
        for (old, new) in columns.clone().zip(columns.skip(lag * SHAPE.1)) {
            pairs += 1;
            for (i, &x) in new.iter().enumerate() {
                let products = sum.row_mut(i).iter_mut().zip(old);
                products.for_each(|(sum, &y)| *sum += f64::from(x) * f64::from(y));
            }
        }
    }
    Matrix::of(channels, |i, j| sum.at(i, j) / pairs.max(1) as f64)
}

/// Result of an enrollment.
#[derive(Clone, Debug)]
pub struct Learned<T> {
    /// Similarity of the utterances, if all were detected.
    pub likeness: Option<Likeness>,
    /// Enrolled result, or the reason why enrollment failed.
    pub outcome: std::result::Result<T, EnrollError>,
}

/// Runs a device's enrollment on the host with the device's code. Each utterance must have quiet
/// around it. A device takes [`UTTERANCES`], and experiments take other numbers `N`.
///
/// # Errors
/// As [`QuantizedModel::new`].
pub fn enroll<const N: usize>(
    backbone: &Backbone,
    empty: &EnrollmentHead,
    utterances: &[Vec<i16>],
) -> Result<Learned<KeywordEntry>> {
    let model = empty.model(backbone, Vec::new(), CardText::default())?;
    let Learned { likeness, outcome } = enroll_bytes::<N>(&model.bytes()?, utterances)?;
    let defect = |what: String| Error::defect(what);
    let entry = |patched: Vec<u8>| -> Result<KeywordEntry> {
        let model = Model::load(&patched).map_err(|e| defect(format!("an enrolled model: {e}")))?;
        let head = QuantizedHead::last_of(&model);
        let head = head.ok_or_else(|| defect("an enrolled model has no head".into()))?;
        Ok(KeywordEntry { head, ..empty.entry.clone() })
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
    enroll_bytes::<UTTERANCES>(file, utterances)
}

fn enroll_bytes<const N: usize>(file: &[u8], utterances: &[Vec<i16>]) -> Result<Learned<Vec<u8>>> {
    let words: Vec<u32> = file
        .chunks_exact(4)
        .map(|bytes| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)))
        .collect();
    let defect = |reason: String| Error::NotForEnrollment { reason };
    let model = Model::load(file).map_err(|e| defect(e.to_string()))?;
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(&model, &mut arena).map_err(|e| defect(format!("{e:?}")))?;
    let mut enroller = Box::new(Enroller::<N>::new());
    enroller.watch(&model, &words);
    enroller.begin().map_err(|e| defect(format!("{e:?}")))?;
    for utterance in utterances {
        pipeline.push_to(utterance, &mut *enroller);
    }
    let likeness = enroller.likeness();
    let mut patch = Patch::new();
    if let Err(error) = enroller.patch(&mut patch) {
        return Ok(Learned { likeness, outcome: Err(error) });
    }
    let mut patches = patch.patches();
    let sealed = patches.seal(words.len(), |i| words.get(i).copied().ok_or(()));
    sealed.map_err(|()| defect("it is cut short".into()))?;
    let mut patched = words.clone();
    patches.overlay(0, &mut patched);
    let patched = patched.into_iter().flat_map(u32::to_le_bytes).collect();
    Ok(Learned { likeness, outcome: Ok(patched) })
}
