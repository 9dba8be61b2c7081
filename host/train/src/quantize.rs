//! Quantization of float weights to an int8 model: batch norm is folded, each output channel has
//! its own scale, and activation ranges come from calibration.
//!
//! Conventions: an activation is `x = scale · (q − zero_point)`. The output of a ReLU has the range
//! `[0, upper]` with zero point −128, so saturation acts as the ReLU. Weights are symmetric, so the
//! input's zero point folds into the bias (Jacob et al. 2018, section 2.3).

mod model;

pub use model::{CardText, EnrollStatistics, KeywordEntry, QuantizedModel};

use wakeling_shared::enroll::LOGIT_WEIGHT;
use wakeling_shared::fixed::LOGIT_FRACTION_BITS;
use wakeling_shared::frontend::FrontendParams;
use wakeling_shared::model::{Layer, Model, Op};

use crate::{Error, Result};
use wakeling_device::model_file::{PackedAffine, Scales};
use wakeling_nn::{
    INPUT_SCALE,
    backbone::{BackboneConfig, folded_norm},
    head::HeadConfig,
    mode::Samples,
    params::Params,
    pretrained::PretrainedModel,
};

/// Quantization parameters of an activation.
///
/// ```
/// use wakeling_train::quantize::QuantParams;
///
/// let relu = QuantParams::of(0.0, 5.1); // range of a ReLU's output
/// assert_eq!(relu.zero_point, -128); // saturation acts as the ReLU
/// assert!((relu.value(127) - 5.1).abs() < 1e-6 && relu.value(-128) == 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantParams {
    /// Value of one step.
    pub scale: f32,
    /// Value of `q` that represents 0.
    pub zero_point: i8,
}

impl QuantParams {
    /// Quantization parameters of the features.
    pub const INPUT: Self = Self { scale: INPUT_SCALE, zero_point: 0 };

    /// Returns the parameters for values in `[lower, upper]`; the range is widened to contain 0.
    pub fn of(lower: f32, upper: f32) -> Self {
        let (lower, upper) = (lower.min(0.0), upper.max(lower.min(0.0) + 1e-3).max(1e-3));
        let scale = (upper - lower) / 255.0;
        let zero_point = (-128.0 - lower / scale).round().clamp(-128.0, 127.0) as i8;
        Self { scale, zero_point }
    }

    /// Returns the value that `q` represents.
    pub fn value(&self, q: i8) -> f32 {
        self.scale * (f32::from(q) - f32::from(self.zero_point))
    }
}

/// Share of a layer's values that calibration lets saturate at each end.
const SATURATED_SHARE: f64 = 1e-4;

/// Computes the range of each activation from its samples, by layer name.
pub fn ranges(samples: &Samples) -> Vec<(String, f32, f32)> {
    let range = |(name, values): (&String, &Vec<f32>)| {
        let mut values = values.clone();
        values.sort_by(f32::total_cmp);
        let cut = (values.len() as f64 * SATURATED_SHARE) as usize;
        let lower = values.get(cut).copied().unwrap_or(0.0);
        let upper = values.iter().rev().nth(cut).copied().unwrap_or(0.0);
        (name.clone(), lower, upper)
    };
    samples.iter().map(range).collect()
}

/// Layer that owns its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantizedLayer {
    input: u8,
    output: u8,
    op: QuantizedOp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum QuantizedOp {
    Depthwise { taps: u8, dilation: u8, input_zero: i8, affine: PackedAffine },
    Pointwise { affine: PackedAffine },
    Add { other: u8, x_scale: i32, o_scale: i32, x_zero: i8, o_zero: i8, zero: i8 },
}

impl QuantizedLayer {
    fn borrow(&self) -> Layer<'_> {
        let op = match &self.op {
            QuantizedOp::Depthwise { taps, dilation, input_zero, affine } => Op::Depthwise {
                taps: *taps,
                dilation: *dilation,
                stride: 1,
                input_zero: *input_zero,
                affine: affine.affine(),
            },
            QuantizedOp::Pointwise { affine } => Op::Pointwise { affine: affine.affine() },
            &QuantizedOp::Add { other, x_scale, o_scale, x_zero, o_zero, zero } => {
                Op::Add { other, x_scale, o_scale, x_zero, o_zero, zero }
            }
        };
        Layer { input: self.input, output: self.output, op }
    }
}

/// Float weights of an affine layer: `y[o] = bias[o] + Σ w[o][i] · x`, one row per output.
pub struct Float {
    /// Weights of each output.
    pub rows: Vec<Vec<f32>>,
    /// Bias of each output.
    pub bias: Vec<f32>,
}

/// Layout of the weights before they are packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Layout `(outputs, inputs)`.
    Rows,
    /// Layout `(taps, channels)`: the transpose of one row of taps per channel.
    Taps,
}

/// Quantizes one layer. `output_scale` is the value of one step of its output.
pub fn quantize_affine(
    float: &Float,
    order: Order,
    input: QuantParams,
    output_scale: f32,
    zero_point: i8,
) -> PackedAffine {
    /// Limit of the biases, 2²⁹: half of the loader's limit.
    const LARGEST_BIAS: f64 = (1u32 << 29) as f64;
    let outputs = float.rows.len();
    let fan_in = float.rows.first().map_or(0, Vec::len);
    let input_scale = f64::from(input.scale);
    let mut weights = vec![0i8; outputs * fan_in];
    let (mut biases, mut multipliers) = (Vec::new(), Vec::new());
    for (o, (row, &bias)) in float.rows.iter().zip(&float.bias).enumerate() {
        let largest = row.iter().fold(0f32, |m, w| m.max(w.abs()));
        let scale = (f64::from(largest) / 127.0)
            .max(f64::from(bias.abs()) / input_scale / LARGEST_BIAS)
            .max(1e-9);
        let mut sum = 0i64;
        for (i, &w) in row.iter().enumerate() {
            let q = (f64::from(w) / scale).round().clamp(-127.0, 127.0) as i8;
            sum += i64::from(q);
            let at = match order {
                Order::Rows => o * fan_in + i,
                Order::Taps => i * outputs + o,
            };
            weights[at] = q;
        }
        let bias = (f64::from(bias) / (input_scale * scale)).round() as i64
            - i64::from(input.zero_point) * sum;
        biases.push(bias as i32);
        // Below 2³¹ by the choice of `output_scale`; see `widened`.
        let multiplier = (input_scale * scale / f64::from(output_scale) * 4_294_967_296.0).round();
        multipliers.push(multiplier.min(f64::from(i32::MAX)) as i32);
    }
    let scales = Scales { biases: &biases, multipliers: &multipliers, zero_point };
    match order {
        Order::Rows => PackedAffine::pointwise(&weights, scales),
        Order::Taps => {
            let weights: Vec<i16> = weights.into_iter().map(i16::from).collect();
            PackedAffine::depthwise(&weights, scales)
        }
    }
}

/// Returns the parameters for `[lower, upper]`, widened if a multiplier would otherwise reach 2³¹:
/// the step must be more than twice the largest `s_x · s_w`.
pub fn widened(lower: f32, upper: f32, float: &Float, input: QuantParams) -> QuantParams {
    let largest = float.rows.iter().flatten().fold(0f32, |m, w| m.max(w.abs()));
    let least_step = 2.01 * input.scale * largest / 127.0;
    let code = QuantParams::of(lower, upper);
    if code.scale >= least_step {
        code
    } else {
        QuantParams::of(lower, lower.min(0.0) + 255.0 * least_step)
    }
}

/// Pretrained model and its backbone in int8, on which heads are trained and run.
#[derive(Clone, Debug)]
pub struct Backbone {
    /// Float weights and metadata.
    pub pretrained: PretrainedModel,
    /// The same backbone as the device computes it.
    pub int8: QuantizedBackbone,
}

impl Backbone {
    /// Quantizes the backbone of a pretrained model with its calibrated ranges.
    ///
    /// # Errors
    /// [`Error::NoBackboneRange`] if the pretrained model was never calibrated.
    pub fn new(pretrained: PretrainedModel) -> Result<Self> {
        let int8 = QuantizedBackbone::of(&pretrained)?;
        Ok(Self { pretrained, int8 })
    }

    /// Returns the parameters of the front end that the backbone was trained with.
    pub fn frontend(&self) -> FrontendParams<'_> {
        self.pretrained.tables.params(self.pretrained.info.normalization)
    }

    /// Returns the shape of the backbone.
    pub fn config(&self) -> &BackboneConfig {
        &self.pretrained.info.backbone
    }

    /// Returns the number of inference steps per second of audio.
    pub fn steps_per_second(&self) -> f64 {
        self.config().steps_per_second()
    }
}

/// Layers of a backbone in int8.
#[derive(Clone, Debug)]
pub struct QuantizedBackbone {
    layers: Vec<QuantizedLayer>,
    /// Quantization parameters of its embeddings.
    pub output: QuantParams,
}

impl QuantizedBackbone {
    fn of(pretrained: &PretrainedModel) -> Result<Self> {
        let params = &pretrained.params;
        let range = |name: &str| {
            let found = pretrained.info.ranges.iter().find(|(n, _, _)| n == name);
            found
                .map(|(_, lower, upper)| (*lower, *upper))
                .ok_or_else(|| Error::NoBackboneRange { layer: name.to_owned() })
        };
        let stem = folded_rows(params, "trunk.stem.weight", "trunk.stem")?;
        let (_, upper) = range("trunk.stem")?;
        let mut x = widened(0.0, upper, &stem, QuantParams::INPUT);
        let affine = quantize_affine(&stem, Order::Rows, QuantParams::INPUT, x.scale, x.zero_point);
        let pointwise = |input, output, affine| QuantizedLayer {
            input,
            output,
            op: QuantizedOp::Pointwise { affine },
        };
        let mut layers = vec![pointwise(0, 1, affine)];
        let (mut at, mut free) = (1, 2);
        for (block, &dilation) in pretrained.info.backbone.dilations.iter().enumerate() {
            let name = |part: &str| format!("trunk.{block:02}.{part}");
            let taps = folded_rows(params, &name("depthwise.weight"), &name("depthwise"))?;
            let (_, upper) = range(&name("depthwise"))?;
            let y = widened(0.0, upper, &taps, x);
            layers.push(QuantizedLayer {
                input: at,
                output: free,
                op: QuantizedOp::Depthwise {
                    taps: pretrained.info.backbone.taps as u8,
                    dilation: dilation as u8,
                    input_zero: x.zero_point,
                    affine: quantize_affine(&taps, Order::Taps, x, y.scale, y.zero_point),
                },
            });
            let mix = folded_rows(params, &name("pointwise.weight"), &name("pointwise"))?;
            let (lower, upper) = range(&name("pointwise"))?;
            let z = widened(lower, upper, &mix, y);
            layers.push(pointwise(
                free,
                3,
                quantize_affine(&mix, Order::Rows, y, z.scale, z.zero_point),
            ));
            let (_, upper) = range(&name("sum"))?;
            let sum = sum_params(x, z, upper);
            layers.push(QuantizedLayer { input: at, output: free, op: add(x, z, sum, 3) });
            x = sum;
            std::mem::swap(&mut at, &mut free);
        }
        Ok(Self { layers, output: x })
    }

    fn buffer(&self) -> u8 {
        self.layers.last().map_or(0, |l| l.output)
    }
}

/// Returns the parameters of a sum of two activations whose largest value is `upper`. Each addend's
/// step is at most twice the step of the sum.
pub fn sum_params(x: QuantParams, o: QuantParams, upper: f32) -> QuantParams {
    QuantParams::of(0.0, upper.max(255.0 * x.scale.max(o.scale) / 2.0))
}

/// Returns the step of an addend in steps of the sum: `round(2²⁰ · s / s_sum)`.
pub fn sum_scale(addend: QuantParams, sum: QuantParams) -> i32 {
    let ratio = f64::from(addend.scale) / f64::from(sum.scale) * f64::from(1 << 20);
    ratio.round().min(f64::from(1 << 21)) as i32
}

fn add(x: QuantParams, o: QuantParams, sum: QuantParams, other: u8) -> QuantizedOp {
    QuantizedOp::Add {
        other,
        x_scale: sum_scale(x, sum),
        o_scale: sum_scale(o, sum),
        x_zero: x.zero_point,
        o_zero: o.zero_point,
        zero: sum.zero_point,
    }
}

/// Returns a weight `[inputs or taps, outputs]` with batch norm folded in, one row per output.
pub fn folded_rows(params: &Params, weight: &str, norm: &str) -> Result<Float> {
    let (scale, shift) = folded_norm(params, norm)?;
    let mut float = rows(params, weight, shift)?;
    for (row, s) in float.rows.iter_mut().zip(&scale) {
        row.iter_mut().for_each(|w| *w *= s);
    }
    Ok(float)
}

/// Returns a weight `[inputs, outputs]` as one row per output.
///
/// # Errors
/// If the weight does not exist, or has another number of outputs than `bias`.
pub fn rows(params: &Params, weight: &str, bias: Vec<f32>) -> Result<Float> {
    let (inputs, outputs) = (params.get(weight)?.dims2()?.0, bias.len());
    let columns: Vec<Vec<f32>> = params.builder().get((inputs, outputs), weight)?.to_vec2()?;
    let rows = (0..outputs).map(|o| columns.iter().map(|c| c[o]).collect()).collect();
    Ok(Float { rows, bias })
}

/// Head in int8.
#[derive(Clone, Debug)]
pub struct QuantizedHead {
    layers: Vec<QuantizedLayer>,
    input: u8,
    logits: PackedAffine,
}

impl QuantizedHead {
    /// Quantizes a head that was trained on the embeddings of `backbone`, with `ranges` of its
    /// activations.
    ///
    /// # Errors
    /// [`Error::NoHeadRange`] if a range is missing.
    pub fn of(
        config: &HeadConfig,
        params: &Params,
        ranges: &[(String, f32, f32)],
        backbone: &QuantizedBackbone,
    ) -> Result<Self> {
        let upper = |name: &str| {
            let found = ranges.iter().find(|(n, _, _)| n == name).map(|(_, _, upper)| *upper);
            found.ok_or_else(|| Error::NoHeadRange { layer: name.to_owned() })
        };
        let mut layers = Vec::new();
        let mut at = backbone.buffer();
        let mut x = backbone.output;
        for layer in config.layers() {
            // Never the backbone's buffer, which other heads still read, and never the input
            // buffer.
            let output = (0..4).find(|b| *b != at && *b != backbone.buffer()).unwrap_or(0);
            let bias = params.values(&layer.bias())?;
            let mut float = rows(params, &layer.weight(), bias)?;
            if layer.is_first() {
                config.unscale_rows(params, &mut float.rows, layer.is_depthwise())?;
            }
            let y = widened(0.0, upper(&layer.name)?, &float, x);
            let order = if layer.is_depthwise() { Order::Taps } else { Order::Rows };
            let affine = quantize_affine(&float, order, x, y.scale, y.zero_point);
            let op = match layer.temporal {
                Some((taps, dilation)) => QuantizedOp::Depthwise {
                    taps: taps as u8,
                    dilation: dilation as u8,
                    input_zero: x.zero_point,
                    affine,
                },
                None => QuantizedOp::Pointwise { affine },
            };
            layers.push(QuantizedLayer { input: at, output, op });
            (at, x) = (output, y);
        }
        let float = rows(params, "head.logits.weight", params.values("head.logits.bias")?)?;
        let step = 1.0 / (1u32 << LOGIT_FRACTION_BITS) as f32;
        let logits = quantize_affine(&float, Order::Rows, x, step, 0);
        Ok(Self { layers, input: at, logits })
    }
}

impl QuantizedHead {
    /// Creates an untrained enrollment head (`wakeling_shared::enroll`). It whitens its input; its
    /// taps over time are zero, and its logit has the lowest possible value.
    pub fn enrollment(
        white: &Float,
        (taps, dilation): (usize, usize),
        step: f32,
        backbone: &QuantizedBackbone,
    ) -> Self {
        let channels = white.rows.len();
        let zeros = vec![0; channels];
        let scales = Scales { biases: &zeros, multipliers: &zeros, zero_point: 0 };
        let over_time = PackedAffine::depthwise(&vec![0; taps * channels], scales);
        let lowest = Scales { biases: &[-(1 << 28)], multipliers: &[i32::MAX], zero_point: 0 };
        let logits = PackedAffine::pointwise(&vec![LOGIT_WEIGHT as i8; channels], lowest);
        let mut buffers = (0..4).filter(|&b| b != backbone.buffer());
        let (column, output) = (buffers.next().unwrap_or(0), buffers.next().unwrap_or(0));
        let affine = quantize_affine(white, Order::Rows, backbone.output, step, 0);
        let op = QuantizedOp::Pointwise { affine };
        let whitening = QuantizedLayer { input: backbone.buffer(), output: column, op };
        let [taps, dilation] = [taps, dilation].map(|n| n as u8);
        let op = QuantizedOp::Depthwise { taps, dilation, input_zero: 0, affine: over_time };
        let over_time = QuantizedLayer { input: column, output, op };
        Self { layers: vec![whitening, over_time], input: output, logits }
    }

    /// Copies a model's last head, such as one that a device enrolled. Returns `None` if it has
    /// layers other than plain pointwise and depthwise ones.
    pub fn last_of(model: &Model<'_>) -> Option<Self> {
        let head = model.heads.last()?;
        let first = model.layers.len().checked_sub(head.layers.into())?;
        let layers = model.layers.iter().skip(first).map(|layer| {
            let op = match &layer.op {
                Op::Pointwise { affine } => {
                    QuantizedOp::Pointwise { affine: PackedAffine::of(affine) }
                }
                Op::Depthwise { taps, dilation, stride: 1, input_zero, affine } => {
                    let (taps, dilation, input_zero) = (*taps, *dilation, *input_zero);
                    let affine = PackedAffine::of(affine);
                    QuantizedOp::Depthwise { taps, dilation, input_zero, affine }
                }
                _ => return None,
            };
            Some(QuantizedLayer { input: layer.input, output: layer.output, op })
        });
        let logits = PackedAffine::of(&head.logits);
        Some(Self { layers: layers.collect::<Option<_>>()?, input: head.input, logits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_biases_that_disagree_are_rejected() -> Result<()> {
        let mut params = Params::default();
        params.insert("w", &[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
        assert_eq!(rows(&params, "w", vec![0.0; 3])?.rows[2], [3.0, 6.0]);
        for outputs in [0, 2, 4] {
            assert!(rows(&params, "w", vec![0.0; outputs]).is_err(), "{outputs}");
        }
        Ok(())
    }
}
