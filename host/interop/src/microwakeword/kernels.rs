//! Weights, biases and scales of a layer of TensorFlow Lite, as a device computes with them.

use super::nodes::{Affine, Columns, Quantization};
use crate::{
    ImportError,
    error::unsupported,
    tflite::{arithmetic::Factor, read::Tensor},
};

/// Magnitude below which a bias must be.
const BIAS_LIMIT: i64 = 1 << 30;
/// Largest number of elements of a layer's input.
const MAX_INPUTS: usize = 1 << 15;
/// Largest number of weights of a layer.
const MAX_WEIGHTS: usize = 1 << 24;

/// Geometry of a convolution over time: each pair is time, then the axis of size 1.
#[derive(Clone, Copy, Debug)]
pub struct OverTime {
    /// 0 `SAME`, 1 `VALID`.
    pub padding: Option<i8>,
    /// Strides.
    pub strides: [Option<i32>; 2],
    /// Dilations.
    pub dilations: [Option<i32>; 2],
}

impl OverTime {
    /// Returns the age of each tap's column, the oldest first.
    ///
    /// # Errors
    /// If the convolution has padding, or gives several columns a step.
    pub fn ages(
        self,
        place: &str,
        taps: usize,
        input: &Columns,
    ) -> Result<Vec<usize>, ImportError> {
        let positive = |value: Option<i32>, absent: i32| {
            usize::try_from(value.unwrap_or(absent)).ok().filter(|&value| value > 0)
        };
        let (Some(stride), Some(dilation)) =
            (positive(self.strides[0], 0), positive(self.dilations[0], 1))
        else {
            return unsupported(place, "a stride or dilation that is not positive");
        };
        if input.reach() > MAX_INPUTS {
            return unsupported(place, format!("a window of {} columns", input.reach()));
        }
        let span = taps.checked_sub(1).and_then(|gaps| gaps.checked_mul(dilation));
        let Some(span) = span.filter(|&span| span < input.count) else {
            return unsupported(place, format!("{taps} taps over {} columns", input.count));
        };
        let starts = input.count - span;
        if self.padding.unwrap_or(0) == 0 && (span > 0 || stride != 1) {
            return unsupported(place, "padding SAME over time; VALID is supported");
        }
        if starts.div_ceil(stride) != 1 {
            let columns = starts.div_ceil(stride);
            return unsupported(place, format!("{columns} columns a step; one is supported"));
        }
        Ok((0..taps).map(|tap| input.reach() - 1 - tap * dilation).collect())
    }
}

/// Scales from which those of a layer follow.
#[derive(Clone, Copy, Debug)]
pub struct Scales {
    /// Of the input.
    pub input: Quantization,
    /// Of the output.
    pub output: Quantization,
    /// Whether the layer is `FULLY_CONNECTED`, whose reference multiplies the scales as `f32`.
    pub is_dense: bool,
}

impl Scales {
    /// Returns the factor of an output whose weights have this scale.
    fn factor(&self, weight: f32, is_per_tensor: bool) -> Option<Factor> {
        let (input, output) = (self.input.scale, f64::from(self.output.scale));
        Factor::of(if self.is_dense && is_per_tensor {
            f64::from(input * weight) / output
        } else {
            f64::from(input) * f64::from(weight) / output
        })
    }
}

/// Converts a layer with weights `(outputs, inputs)`.
///
/// # Errors
/// If the numbers are no `i8` weights and `i32` biases of this shape, or out of range.
pub fn affine(
    place: &str,
    filter: &Tensor<'_>,
    bias: Option<&Tensor<'_>>,
    scales: &Scales,
    (outputs, inputs): (usize, usize),
) -> Result<Affine, ImportError> {
    let weights = weights(place, filter, (outputs, inputs))?;
    let row = |o: usize| weights[o * inputs..(o + 1) * inputs].iter().map(|&w| i64::from(w)).sum();
    let sums = (0..outputs).map(row).collect::<Vec<i64>>();
    let (mut affine, dead) = finish(place, filter, bias, scales, (weights, &sums))?;
    for o in dead {
        affine.weights[o * inputs..(o + 1) * inputs].fill(0);
    }
    Ok(affine)
}

/// Converts a depthwise layer with weights `(taps, channels)`.
///
/// # Errors
/// As [`affine`].
pub fn depthwise(
    place: &str,
    filter: &Tensor<'_>,
    bias: Option<&Tensor<'_>>,
    scales: &Scales,
    (taps, channels): (usize, usize),
) -> Result<Affine, ImportError> {
    let weights = weights(place, filter, (channels, taps))?;
    let sum = |c: usize| weights.iter().skip(c).step_by(channels).map(|&w| i64::from(w)).sum();
    let sums = (0..channels).map(sum).collect::<Vec<i64>>();
    let (mut affine, dead) = finish(place, filter, bias, scales, (weights, &sums))?;
    for c in dead {
        affine.weights.iter_mut().skip(c).step_by(channels).for_each(|weight| *weight = 0);
    }
    Ok(affine)
}

/// Returns the weights of a filter.
fn weights(
    place: &str,
    filter: &Tensor<'_>,
    (outputs, inputs): (usize, usize),
) -> Result<Vec<i8>, ImportError> {
    if outputs == 0 || inputs == 0 || inputs > MAX_INPUTS || outputs > MAX_INPUTS {
        return unsupported(place, format!("a filter of {outputs} by {inputs}"));
    }
    let Some(weights) = filter.i8_values() else {
        return unsupported(place, "weights that are no constant of int8");
    };
    if filter.zero_points.iter().any(|&zero| zero != 0) {
        return unsupported(place, "weights with a zero point");
    }
    if weights.contains(&i8::MIN) {
        return unsupported(place, "a weight of -128");
    }
    Ok(weights)
}

/// Adds biases and scales to weights, whose sums per output are `sums`. Also returns the outputs
/// whose factor is 0: they are always the zero point, which the device represents by weights of 0.
fn finish(
    place: &str,
    filter: &Tensor<'_>,
    bias: Option<&Tensor<'_>>,
    scales: &Scales,
    (weights, sums): (Vec<i8>, &[i64]),
) -> Result<(Affine, Vec<usize>), ImportError> {
    let biases = match bias {
        None => vec![0; sums.len()],
        Some(bias) => bias.i32_values().unwrap_or_default(),
    };
    let is_per_tensor = filter.scales.len() == 1;
    if biases.len() != sums.len() || !(is_per_tensor || filter.scales.len() == sums.len()) {
        return unsupported(place, "biases or scales that are not one for each output");
    }
    let mut affine =
        Affine { weights, biases: Vec::new(), multipliers: Vec::new(), shifts: Vec::new() };
    let mut dead = Vec::new();
    for ((o, bias), sum) in biases.into_iter().enumerate().zip(sums) {
        let weight = filter.scales[if is_per_tensor { 0 } else { o }];
        let Some(factor) = scales.factor(weight, is_per_tensor) else {
            return unsupported(place, format!("output {o} has weights of scale {weight}"));
        };
        let bias = i64::from(bias) - i64::from(scales.input.zero_point) * sum;
        if !(-BIAS_LIMIT..BIAS_LIMIT).contains(&bias) {
            return unsupported(place, format!("output {o} has a bias of {bias}"));
        }
        let (bias, multiplier, shift) = match factor {
            Factor { multiplier: 0, .. } => {
                dead.push(o);
                (0, i32::MIN, 0)
            }
            Factor { multiplier, shift: ..=-1 } => {
                (bias as i32, doubled(multiplier), -1 - factor.shift)
            }
            Factor { .. } => {
                return unsupported(place, format!("output {o} has a scale of ½ or more"));
            }
        };
        affine.biases.push(bias);
        affine.multipliers.push(multiplier);
        affine.shifts.push(shift);
    }
    Ok((affine, dead))
}

/// Returns TensorFlow Lite's multiplier as the device has it: doubled, less 2³².
pub fn doubled(multiplier: i32) -> i32 {
    (2 * i64::from(multiplier) - (1 << 32)) as i32
}

/// Checks that a layer with every weight is of a size that a device has.
///
/// # Errors
/// If it is larger. Shapes of tensors without data cost a file nothing.
pub fn check_size(place: &str, outputs: usize, inputs: usize) -> Result<(), ImportError> {
    let weights = outputs.checked_mul(inputs).filter(|&weights| weights <= MAX_WEIGHTS);
    if weights.is_none() || inputs > MAX_INPUTS {
        return unsupported(place, format!("a layer of {outputs} outputs from {inputs} inputs"));
    }
    Ok(())
}

/// Makes a window without gaps of the columns at `ages`, with weights of 0 in the gaps.
///
/// # Errors
/// As [`check_size`].
pub fn spread(
    place: &str,
    input: Columns,
    ages: &[usize],
    affine: Affine,
) -> Result<(Columns, Affine), ImportError> {
    let (Some(&oldest), Some(&newest)) = (ages.first(), ages.last()) else {
        return Ok((input, affine));
    };
    let (width, count) = (input.width(), oldest - newest + 1);
    let outputs = affine.biases.len();
    check_size(place, outputs, count.saturating_mul(width))?;
    let mut weights = vec![0; outputs * count * width];
    let taps = affine.weights.chunks_exact(ages.len() * width);
    for (row, taps) in weights.chunks_exact_mut(count * width).zip(taps) {
        for (age, tap) in ages.iter().zip(taps.chunks_exact(width)) {
            row[(oldest - age) * width..][..width].copy_from_slice(tap);
        }
    }
    Ok((Columns { count, lag: newest, ..input }, Affine { weights, ..affine }))
}

/// Returns the function of a fused activation as a table; `None` if saturation is all of it.
///
/// # Errors
/// If the function is no clamp.
pub fn activation(
    place: &str,
    activation: i8,
    quantization: Quantization,
) -> Result<Option<[i8; 256]>, ImportError> {
    let Quantization { scale, zero_point } = quantization;
    let at = |value: f32| zero_point.saturating_add((value / scale).round() as i32);
    let (low, high) = match activation {
        0 => return Ok(None),
        1 => (at(0.0), 127),
        2 => (at(-1.0), at(1.0)),
        3 => (at(0.0), at(6.0)),
        other => return unsupported(place, format!("activation function {other}")),
    };
    let (low, high) = (low.max(-128), high.min(127));
    if (low, high) == (-128, 127) {
        return Ok(None);
    }
    Ok(Some(std::array::from_fn(|i| (i as i32 - 128).max(low).min(high) as i8)))
}
