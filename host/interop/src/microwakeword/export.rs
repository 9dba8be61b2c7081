//! Converts a keyword of a model to a streaming TensorFlow Lite network.
//!
//! The network has the shape of microWakeWord's own: features `int8 [1, frames, 40]` in, one score
//! `uint8 [1, 1]` out, one inference per step. Each temporal layer keeps its past in a variable,
//! which a second graph fills with the layer's zero point before the first step. Every operation is
//! one that ESPHome's `micro_wake_word` component registers.
//!
//! Our kernels round once, TensorFlow Lite Micro's twice. Its results therefore differ by one in a
//! few activations of a thousand; `docs/guide/microwakeword.md` has what that does to scores.

use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_shared::{
    frontend::{FrontendParams, MEL_CHANNELS, Normalization},
    model::{Affine, Keyword, Model, Op},
};

use super::{
    INPUT_SCALE, INPUT_ZERO,
    arena::ArenaBytes,
    score::ScoreScale,
    trace::{Node, Trace, Value, imported},
};
use crate::{
    ExportError,
    tflite::write::{ElementType, Graph, Operation, Quantization, Tensor, encode},
};

/// Result of this module.
type Result<T, E = ExportError> = std::result::Result<T, E>;

/// Largest number of variables that ESPHome's component reserves memory for.
const MAX_VARIABLES: usize = 20;
/// Our multipliers are in Q32.
const MULTIPLIER_ONE: f64 = 4_294_967_296.0;
/// Effective scale that TensorFlow Lite turns into a multiplier of 0: it is below 2⁻³².
const NO_SCALE: f64 = 1e-12;
/// Scale of the score, so that a score of 255 is 1.
const SCORE_SCALE: f32 = 1.0 / 255.0;
/// Largest distance of a feature or an activation from its zero point.
const LARGEST_DISTANCE: i64 = 255;

/// Keyword as a network of microWakeWord's kind.
#[derive(Clone, Debug)]
pub struct Network {
    /// The TensorFlow Lite file.
    pub file: Vec<u8>,
    /// Map from logits to scores, with the cutoff.
    pub scale: ScoreScale,
    /// Number of bytes that TensorFlow Lite Micro needs for it.
    pub arena: ArenaBytes,
    /// Number of frames per inference.
    pub frames_per_step: u8,
}

/// Converts the keyword with this index, for its threshold.
///
/// # Errors
/// [`ExportError::NotPcan`] if the features are not those of microWakeWord; [`ExportError::Layer`] if a
/// layer has no counterpart; [`ExportError::TooManyVariables`] if there are more temporal layers than
/// ESPHome has variables.
pub fn network(model: &Model<'_>, keyword: usize) -> Result<Network> {
    check_features(&model.frontend)?;
    let word = model.words.get(keyword).ok_or(ExportError::Invalid("no such keyword"))?;
    let scale = ScoreScale::of(word);
    let trace = Trace::of(model, keyword)?;
    let mut writer = GraphWriter::new(&trace, model.frames_per_step);
    trace.nodes.iter().try_for_each(|node| writer.layer(node))?;
    writer.score(&trace, &scale)?;
    if writer.variables > MAX_VARIABLES {
        return Err(ExportError::TooManyVariables { found: writer.variables, most: MAX_VARIABLES });
    }
    let graphs = writer.finish();
    let arena = ArenaBytes::of(&graphs);
    let file = encode(&description(model, word), &graphs);
    Ok(Network { file, scale, arena, frames_per_step: model.frames_per_step })
}

/// Checks that the features are those of ESPHome and microWakeWord.
fn check_features(frontend: &FrontendParams<'_>) -> Result<()> {
    let found = match frontend.normalization {
        Normalization::Log { level: Some(_), .. } => "log",
        Normalization::Log { level: None, .. } => "log-plain",
        Normalization::LogPcen { .. } => "log-pcen",
        Normalization::Pcan { .. } => "PCAN with other numbers",
    };
    let expected = FrontendTables::default();
    if *frontend == expected.params(NormalizationKind::Pcan) {
        Ok(())
    } else {
        Err(ExportError::NotPcan { found })
    }
}

/// Returns the description in the file: keyword, name and licence.
fn description(model: &Model<'_>, word: &Keyword<'_>) -> String {
    let card = &model.card;
    format!("{}; {}; Wakeling; licence {}", word.label, card.name, card.licence)
}

/// Builds the two graphs: the one that runs, and the one that initializes the variables.
struct GraphWriter {
    main: Graph,
    init: Graph,
    values: Vec<Value>,
    /// Tensor of each value.
    tensors: Vec<i32>,
    variables: usize,
}

impl GraphWriter {
    fn new(trace: &Trace<'_, '_>, frames_per_step: u8) -> Self {
        let mut writer = Self {
            main: Graph { name: "main".into(), ..Graph::default() },
            init: Graph { name: "init".into(), ..Graph::default() },
            values: trace.values.clone(),
            tensors: vec![0; trace.values.len()],
            variables: 0,
        };
        let features = writer.values[0];
        let shape = vec![1, frames_per_step.into(), MEL_CHANNELS as i32];
        let quantization = Some(Quantization::whole(INPUT_SCALE, INPUT_ZERO));
        let input = writer.activation("features", shape, quantization);
        writer.main.inputs = vec![input];
        writer.main.operator(Operation::CallOnce { graph: 1 }, &[], &[]);
        let column = vec![1, 1, 1, features.width as i32];
        let shape = writer.numbers("column", &column);
        let output = writer.value_columns("step", &features, 1);
        writer.main.operator(Operation::Reshape, &[input, shape], &[output]);
        writer.tensors[0] = output;
        writer
    }

    fn finish(self) -> [Graph; 2] {
        [self.main, self.init]
    }

    fn activation(
        &mut self,
        name: &str,
        shape: Vec<i32>,
        quantization: Option<Quantization>,
    ) -> i32 {
        let (name, data) = (name.to_owned(), Vec::new());
        self.main.tensor(Tensor {
            name,
            shape,
            element_type: ElementType::Int8,
            data,
            quantization,
        })
    }

    /// Adds an activation of several columns of a value, `[1, columns, 1, channels]`.
    fn value_columns(&mut self, name: &str, value: &Value, columns: usize) -> i32 {
        let shape = vec![1, columns as i32, 1, value.width as i32];
        self.activation(name, shape, Some(Quantization::whole(value.scale, value.zero)))
    }

    /// Adds a constant vector of integers.
    fn numbers(&mut self, name: &str, numbers: &[i32]) -> i32 {
        self.main.tensor(Tensor {
            name: name.to_owned(),
            shape: vec![numbers.len() as i32],
            element_type: ElementType::Int32,
            data: numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
            quantization: None,
        })
    }

    /// Adds a tensor for the result of a node.
    fn output(&mut self, node: &Node<'_, '_>) -> i32 {
        let value = self.values[node.output];
        let tensor = self.value_columns(&format!("layer {:02}", node.layer), &value, 1);
        self.tensors[node.output] = tensor;
        tensor
    }

    fn layer(&mut self, node: &Node<'_, '_>) -> Result<()> {
        let (x, y) = (self.values[node.input], self.values[node.output]);
        let input = self.tensors[node.input];
        match node.op {
            Op::Pointwise { affine } => {
                let float = Converted::pointwise(node.layer, affine, &x, &y)?;
                let weights = self.weights(node.layer, &float);
                let output = self.output(node);
                self.main.operator(Operation::Conv2d, &[input, weights[0], weights[1]], &[output]);
            }
            Op::Depthwise { taps, dilation, stride, input_zero, affine } => {
                if *stride != 1 {
                    let reason = "it runs at every second step or less";
                    return Err(ExportError::Layer { layer: node.layer, problem: reason });
                }
                let (taps, dilation) = (usize::from(*taps), usize::from(*dilation));
                let float = Converted::depthwise(node.layer, affine, taps, &x, &y)?;
                let weights = self.weights(node.layer, &float);
                let past = (taps - 1) * dilation;
                let columns = self.columns(node, past, *input_zero);
                let output = self.output(node);
                let operation = Operation::DepthwiseConv2d { dilation: dilation as i32 };
                self.main.operator(operation, &[columns, weights[0], weights[1]], &[output]);
            }
            Op::Add { .. } => {
                let other = node.other.ok_or(ExportError::Invalid("a sum of one value"))?;
                let other = self.tensors[other];
                let output = self.output(node);
                self.main.operator(Operation::Add, &[input, other], &[output]);
            }
            Op::Window { .. }
            | Op::Table { .. }
            | Op::Join { .. }
            | Op::DepthwiseTflite { .. }
            | Op::PointwiseTflite { .. }
            | Op::AddTflite { .. } => return Err(imported(node.layer)),
        }
        Ok(())
    }

    /// Returns the last `past` columns of a node's input and the newest, from a variable that is
    /// then updated.
    fn columns(&mut self, node: &Node<'_, '_>, past: usize, input_zero: i8) -> i32 {
        let newest = self.tensors[node.input];
        if past == 0 {
            return newest;
        }
        let value = self.values[node.input];
        let name = format!("layer {:02}/past", node.layer);
        let variable = self.variable(&name, &value, past, input_zero);
        let read = self.value_columns(&format!("{name}/read"), &value, past);
        self.main.operator(Operation::ReadVariable, &[variable], &[read]);
        let all = self.value_columns(&format!("{name}/and now"), &value, past + 1);
        self.main.operator(Operation::Concatenation { axis: 1 }, &[read, newest], &[all]);
        let begin = self.numbers("begin", &[0, 1, 0, 0]);
        let end = self.numbers("end", &[0, 0, 0, 0]);
        let strides = self.numbers("strides", &[1, 1, 1, 1]);
        let kept = self.value_columns(&format!("{name}/kept"), &value, past);
        // All but the first of the second dimension.
        let operation = Operation::StridedSlice { begin_mask: 0b1101, end_mask: 0b1111 };
        self.main.operator(operation, &[all, begin, end, strides], &[kept]);
        self.main.operator(Operation::AssignVariable, &[variable, kept], &[]);
        all
    }

    /// Adds a variable of `columns` columns, which start at `zero`. Returns its handle.
    fn variable(&mut self, name: &str, value: &Value, columns: usize, zero: i8) -> i32 {
        self.variables += 1;
        let handle = |graph: &mut Graph| {
            let handle = graph.tensor(Tensor {
                name: name.to_owned(),
                shape: Vec::new(),
                element_type: ElementType::Resource,
                data: Vec::new(),
                quantization: None,
            });
            graph.operator(Operation::VarHandle { name: name.to_owned() }, &[], &[handle]);
            handle
        };
        let initialized = handle(&mut self.init);
        let initial = self.init.tensor(Tensor {
            name: format!("{name}/initial"),
            shape: vec![1, columns as i32, 1, value.width as i32],
            element_type: ElementType::Int8,
            data: vec![zero as u8; columns * value.width],
            quantization: Some(Quantization::whole(value.scale, value.zero)),
        });
        self.init.operator(Operation::AssignVariable, &[initialized, initial], &[]);
        handle(&mut self.main)
    }

    /// Adds weights and biases.
    fn weights(&mut self, layer: usize, float: &Converted) -> [i32; 2] {
        let quantization = |scales: &[f32], dimension| {
            Some(Quantization { scales: scales.to_vec(), zero_point: 0, dimension })
        };
        let weights = self.main.tensor(Tensor {
            name: format!("layer {layer:02}/weights"),
            shape: float.shape.clone(),
            element_type: ElementType::Int8,
            data: float.weights.iter().map(|&w| w as u8).collect(),
            quantization: quantization(&float.scales, float.dimension),
        });
        let biases = self.main.tensor(Tensor {
            name: format!("layer {layer:02}/biases"),
            shape: vec![float.biases.len() as i32],
            element_type: ElementType::Int32,
            data: float.biases.iter().flat_map(|bias| bias.to_le_bytes()).collect(),
            quantization: quantization(&float.bias_scales, 0),
        });
        [weights, biases]
    }

    /// Adds the score of the keyword.
    fn score(&mut self, trace: &Trace<'_, '_>, scale: &ScoreScale) -> Result<()> {
        let layer = trace.nodes.iter().map(|node| node.layer + 1).max().unwrap_or(0);
        let x = self.values[trace.logits_input];
        let float = Converted::score(layer, trace, &x, scale)?;
        let weights = self.weights(layer, &float);
        let shape = vec![1, x.width as i32];
        let numbers = self.numbers("row", &shape);
        let row = self.activation("row", shape, Some(Quantization::whole(x.scale, x.zero)));
        let input = self.tensors[trace.logits_input];
        self.main.operator(Operation::Reshape, &[input, numbers], &[row]);
        let quantization = |zero| Some(Quantization::whole(SCORE_SCALE, zero));
        let signed = self.activation("score/int8", vec![1, 1], quantization(i8::MIN));
        let inputs = [row, weights[0], weights[1]];
        self.main.operator(Operation::FullyConnected, &inputs, &[signed]);
        let score = self.main.tensor(Tensor {
            name: "score".into(),
            shape: vec![1, 1],
            element_type: ElementType::UInt8,
            data: Vec::new(),
            quantization: quantization(0),
        });
        self.main.operator(Operation::Quantize, &[signed], &[score]);
        self.main.outputs = vec![score];
        Ok(())
    }
}

/// Weights of a layer as TensorFlow Lite has them.
struct Converted {
    /// Shape of the weights.
    shape: Vec<i32>,
    /// Dimension of the outputs.
    dimension: i32,
    weights: Vec<i8>,
    scales: Vec<f32>,
    biases: Vec<i32>,
    bias_scales: Vec<f32>,
}

/// One output: its weights, bias, and the factor from its sum to a step of the output.
struct Row {
    weights: Vec<i32>,
    bias: i64,
    factor: f64,
}

impl Row {
    /// Returns output `o` of a layer, whose weights are given.
    fn of(affine: &Affine<'_>, o: usize, weights: Vec<i32>) -> Self {
        let lanes = wakeling_shared::model::LANES;
        let [biases, multipliers] = affine.bias_scales[o / lanes];
        let factor = f64::from(multipliers[o % lanes]) / MULTIPLIER_ONE;
        Self { weights, bias: biases[o % lanes].into(), factor }
    }
}

impl Converted {
    fn pointwise(layer: usize, affine: &Affine<'_>, x: &Value, y: &Value) -> Result<Self> {
        let (inputs, outputs) = (usize::from(affine.inputs), usize::from(affine.outputs));
        let rows = (0..outputs).map(|o| {
            let weights = (0..inputs).map(|i| affine.pointwise_weight(o, i)).collect();
            Row::of(affine, o, weights)
        });
        let shape = vec![outputs as i32, 1, 1, inputs as i32];
        Self::rows(layer, (shape, 0), rows.collect(), x, y.scale)
    }

    fn depthwise(
        layer: usize,
        affine: &Affine<'_>,
        taps: usize,
        x: &Value,
        y: &Value,
    ) -> Result<Self> {
        let channels = usize::from(affine.outputs);
        let rows = (0..channels).map(|c| {
            // Our tap 0 is the newest column, TensorFlow Lite's is the oldest.
            let weights = (0..taps).rev().map(|k| affine.depthwise_weight(taps, k, c)).collect();
            Row::of(affine, c, weights)
        });
        let shape = vec![1, taps as i32, 1, channels as i32];
        let mut converted = Self::rows(layer, (shape, 3), rows.collect(), x, y.scale)?;
        let by_channel = std::mem::take(&mut converted.weights);
        let tap = |k: usize| by_channel.iter().skip(k).step_by(taps).copied();
        converted.weights = (0..taps).flat_map(tap).collect();
        Ok(converted)
    }

    /// Converts the logit of the keyword to its score.
    fn score(layer: usize, trace: &Trace<'_, '_>, x: &Value, scale: &ScoreScale) -> Result<Self> {
        let affine = trace.logits;
        let inputs = usize::from(affine.inputs);
        let weights = (0..inputs).map(|i| affine.pointwise_weight(trace.logit, i)).collect();
        let mut row = Row::of(affine, trace.logit, weights);
        row.factor /= super::score::LOGIT_UNITS;
        let offset = (scale.zero_logit() / row.factor).round();
        if !offset.is_finite() || offset.abs() > f64::from(i32::MAX) {
            let reason = "its logit hardly depends on its input";
            return Err(ExportError::Layer { layer, problem: reason });
        }
        row.bias += offset as i64;
        Self::rows(layer, (vec![1, inputs as i32], 0), vec![row], x, SCORE_SCALE)
    }

    fn rows(
        layer: usize,
        (shape, dimension): (Vec<i32>, i32),
        rows: Vec<Row>,
        x: &Value,
        output_scale: f32,
    ) -> Result<Self> {
        let refused = |reason| ExportError::Layer { layer, problem: reason };
        let (mut weights, mut scales) = (Vec::new(), Vec::new());
        let (mut biases, mut bias_scales) = (Vec::new(), Vec::new());
        let input_scale = f64::from(x.scale);
        for row in rows {
            let sum: i64 = row.weights.iter().map(|&w| i64::from(w)).sum();
            let magnitude: i64 = row.weights.iter().map(|&w| i64::from(w.abs())).sum();
            // Ours folds the zero point of the input into the bias; here it is subtracted first.
            let bias = row.bias + i64::from(x.zero) * sum;
            if bias.abs() + LARGEST_DISTANCE * magnitude > i64::from(i32::MAX) {
                return Err(refused("its sums can exceed 32 bits"));
            }
            for w in row.weights {
                weights.push(i8::try_from(w).map_err(|_| refused("a weight exceeds 8 bits"))?);
            }
            let effective = row.factor.max(NO_SCALE);
            let scale = (effective * f64::from(output_scale) / input_scale) as f32;
            scales.push(scale);
            biases.push(bias as i32);
            bias_scales.push((input_scale * f64::from(scale)) as f32);
        }
        Ok(Self { shape, dimension, weights, scales, biases, bias_scales })
    }
}
