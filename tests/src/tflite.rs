//! Streaming TensorFlow Lite models with random weights, in the shapes of microWakeWord and others.
//!
//! They are inputs of a conversion, and are written from the schema without the code that reads
//! them.

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, WIPOffset};
use wakeling_shared::frontend::MEL_CHANNELS;

use crate::Random;

/// Numbers of the schema.
const INT32: i8 = 2;
const UINT8: i8 = 3;
const INT8: i8 = 9;
const RESOURCE: i8 = 13;
const ADD: i32 = 0;
const CONCATENATION: i32 = 2;
const CONV_2D: i32 = 3;
const DEPTHWISE_CONV_2D: i32 = 4;
const FULLY_CONNECTED: i32 = 9;
const LOGISTIC: i32 = 14;
const RESHAPE: i32 = 22;
const STRIDED_SLICE: i32 = 45;
const SPLIT_V: i32 = 102;
const QUANTIZE: i32 = 114;
const CALL_ONCE: i32 = 129;
const VAR_HANDLE: i32 = 142;
const READ_VARIABLE: i32 = 143;
const ASSIGN_VARIABLE: i32 = 144;
/// Padding `VALID`.
const VALID: i8 = 1;

/// Function after a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// None.
    None = 0,
    /// `max(0, x)`.
    Relu = 1,
    /// `min(6, max(0, x))`.
    Relu6 = 3,
}

/// Value of a field of options.
#[derive(Clone, Debug)]
enum Field {
    Byte(i8),
    Word(i32),
    Text(String),
}

/// Options: their number in the schema, and fields by slot.
type Options = (u8, Vec<(u16, Field)>);

#[derive(Clone, Debug)]
struct Operator {
    kind: i32,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
    options: Option<Options>,
}

#[derive(Clone, Debug)]
struct TensorSpec {
    name: String,
    shape: Vec<i32>,
    element: i8,
    buffer: u32,
    scales: Vec<f32>,
    zero_points: Vec<i64>,
    axis: i32,
}

#[derive(Clone, Debug)]
struct Variable {
    name: String,
    tensor: TensorSpec,
}

/// Tensor of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor(i32);

/// Graph under construction. Weights are random.
#[derive(Clone, Debug)]
pub struct Graph {
    random: Random,
    tensors: Vec<TensorSpec>,
    buffers: Vec<Vec<u8>>,
    operators: Vec<Operator>,
    variables: Vec<Variable>,
    input: i32,
}

impl Graph {
    /// Creates a graph whose input is `frames` frames of features.
    pub fn new(seed: u64, frames: i32) -> (Self, Tensor) {
        let mut graph = Self {
            random: Random::new(seed),
            tensors: Vec::new(),
            buffers: vec![Vec::new()],
            operators: Vec::new(),
            variables: Vec::new(),
            input: 0,
        };
        let features = MEL_CHANNELS as i32;
        let quantization = (0.101_960_79, -128);
        let input = graph.activation("features", &[1, frames, features], quantization);
        graph.input = input.0;
        let options = Some((103, vec![(0, Field::Word(1))]));
        graph.operator(CALL_ONCE, &[], &[], options);
        let shape = graph.constant(&[1, frames, 1, features]);
        let columns = graph.activation("columns", &[1, frames, 1, features], quantization);
        graph.operator(RESHAPE, &[input, shape], &[columns], None);
        (graph, columns)
    }

    fn push(&mut self, spec: TensorSpec) -> Tensor {
        self.tensors.push(spec);
        Tensor(self.tensors.len() as i32 - 1)
    }

    fn activation(&mut self, name: &str, shape: &[i32], (scale, zero): (f32, i64)) -> Tensor {
        let (name, shape) = (format!("{name}{}", self.tensors.len()), shape.to_vec());
        let (scales, zero_points) = (vec![scale], vec![zero]);
        self.push(TensorSpec {
            name,
            shape,
            element: INT8,
            buffer: 0,
            scales,
            zero_points,
            axis: 0,
        })
    }

    /// Adds a constant list of numbers.
    fn constant(&mut self, values: &[i32]) -> Tensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.weights_of(INT32, &[values.len() as i32], data, (vec![], 0))
    }

    fn weights_of(
        &mut self,
        element: i8,
        shape: &[i32],
        data: Vec<u8>,
        (scales, axis): (Vec<f32>, i32),
    ) -> Tensor {
        self.buffers.push(data);
        let zero_points = vec![0; scales.len()];
        self.push(TensorSpec {
            name: format!("constant{}", self.tensors.len()),
            shape: shape.to_vec(),
            element,
            buffer: self.buffers.len() as u32 - 1,
            scales,
            zero_points,
            axis,
        })
    }

    fn operator(
        &mut self,
        kind: i32,
        inputs: &[Tensor],
        outputs: &[Tensor],
        options: Option<Options>,
    ) {
        let [inputs, outputs] =
            [inputs, outputs].map(|tensors| tensors.iter().map(|tensor| tensor.0).collect());
        self.operators.push(Operator { kind, inputs, outputs, options });
    }

    fn spec(&self, tensor: Tensor) -> &TensorSpec {
        &self.tensors[tensor.0 as usize]
    }

    fn quantization(&self, tensor: Tensor) -> (f32, i64) {
        let spec = self.spec(tensor);
        (spec.scales[0], spec.zero_points[0])
    }

    /// Number of columns and of channels of a tensor.
    fn columns_of(&self, tensor: Tensor) -> [i32; 2] {
        let shape = &self.spec(tensor).shape;
        [shape[1], shape[shape.len() - 1]]
    }

    /// Keeps `older` columns in a variable, and returns them with the new ones.
    pub fn ring(&mut self, x: Tensor, older: i32) -> Tensor {
        let ([new, width], quantization) = (self.columns_of(x), self.quantization(x));
        let handle = self.push(TensorSpec {
            name: format!("handle{}", self.tensors.len()),
            shape: Vec::new(),
            element: RESOURCE,
            buffer: 0,
            scales: Vec::new(),
            zero_points: Vec::new(),
            axis: 0,
        });
        let name = format!("stream_{}/states", self.variables.len());
        let options = vec![(0, Field::Text(String::new())), (1, Field::Text(name.clone()))];
        self.operator(VAR_HANDLE, &[], &[handle], Some((111, options)));
        let state = self.activation("state", &[1, older, 1, width], quantization);
        self.operator(READ_VARIABLE, &[handle], &[state], None);
        let tensor = self.spec(state).clone();
        self.variables.push(Variable { name, tensor });
        let window = self.activation("window", &[1, older + new, 1, width], quantization);
        let options = Some((10, vec![(0, Field::Word(1))]));
        self.operator(CONCATENATION, &[state, x], &[window], options);
        let kept = self.newest(window, older);
        self.operator(ASSIGN_VARIABLE, &[handle, kept], &[], None);
        window
    }

    /// Returns the newest `count` columns.
    pub fn newest(&mut self, x: Tensor, count: i32) -> Tensor {
        let [_, width] = self.columns_of(x);
        let begin = self.constant(&[0, -count, 0, 0]);
        let end = self.constant(&[0, 0, 0, width]);
        let strides = self.constant(&[1; 4]);
        let quantization = self.quantization(x);
        let slice = self.activation("newest", &[1, count, 1, width], quantization);
        let options = Some((32, vec![(0, Field::Word(13)), (1, Field::Word(15))]));
        self.operator(STRIDED_SLICE, &[x, begin, end, strides], &[slice], options);
        slice
    }

    /// Quantization of a layer's output, which fills about the range of an `i8`.
    fn output_quantization(
        &mut self,
        scale: f32,
        fan_in: i32,
        activation: Activation,
        usual: bool,
    ) -> (f32, i64) {
        // Inputs after a ReLU are mostly 0, so sums are smaller than those of random numbers.
        let scale = scale * 5_300.0 * (fan_in as f32).sqrt() / 150.0;
        let random = self.random.below(41) as i64 - 20;
        let zero = match activation {
            Activation::None => random,
            // Saturation is all of the function, as in every model of microWakeWord.
            _ if usual => -128,
            _ => random - 90,
        };
        (scale, zero)
    }

    /// Random weights, their scale per output, and biases.
    fn layer(
        &mut self,
        shape: &[i32],
        outputs: i32,
        axis: i32,
        input_scale: f32,
    ) -> (Tensor, Tensor, f32) {
        let count = shape.iter().product::<i32>();
        let data = (0..count).map(|_| (self.random.below(255) as i32 - 127) as u8).collect();
        let scale = 0.003 + self.random.below(100) as f32 * 1e-5;
        let scales: Vec<f32> =
            (0..outputs).map(|_| scale * (0.5 + self.random.below(100) as f32 / 100.0)).collect();
        let weights = self.weights_of(INT8, shape, data, (scales.clone(), axis));
        let biases: Vec<i32> =
            (0..outputs).map(|_| self.random.below(8_000) as i32 - 4_000).collect();
        let data = biases.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let bias_scales = scales.iter().map(|scale| scale * input_scale).collect();
        let bias = self.weights_of(INT32, &[outputs], data, (bias_scales, 0));
        (weights, bias, scale)
    }

    /// Convolution over all columns of `x`, with `stride`.
    pub fn convolution(
        &mut self,
        x: Tensor,
        outputs: i32,
        (stride, activation, usual): (i32, Activation, bool),
    ) -> Tensor {
        let ([taps, width], (input_scale, _)) = (self.columns_of(x), self.quantization(x));
        let (weights, bias, scale) =
            self.layer(&[outputs, taps, 1, width], outputs, 0, input_scale);
        let quantization =
            self.output_quantization(scale * input_scale, taps * width, activation, usual);
        let y = self.activation("convolution", &[1, 1, 1, outputs], quantization);
        let options = vec![
            (0, Field::Byte(VALID)),
            (1, Field::Word(1)),
            (2, Field::Word(stride)),
            (3, Field::Byte(activation as i8)),
            (4, Field::Word(1)),
            (5, Field::Word(1)),
        ];
        self.operator(CONV_2D, &[x, weights, bias], &[y], Some((1, options)));
        y
    }

    /// Depthwise convolution over all columns of `x`, `dilation` apart.
    pub fn depthwise(&mut self, x: Tensor, dilation: i32) -> Tensor {
        let ([columns, width], (input_scale, _)) = (self.columns_of(x), self.quantization(x));
        let taps = (columns - 1) / dilation + 1;
        let (weights, bias, scale) = self.layer(&[1, taps, 1, width], width, 3, input_scale);
        let quantization =
            self.output_quantization(scale * input_scale, taps, Activation::None, true);
        let y = self.activation("depthwise", &[1, 1, 1, width], quantization);
        let options = vec![
            (0, Field::Byte(VALID)),
            (1, Field::Word(1)),
            (2, Field::Word(1)),
            (3, Field::Word(1)),
            (5, Field::Word(1)),
            (6, Field::Word(dilation)),
        ];
        self.operator(DEPTHWISE_CONV_2D, &[x, weights, bias], &[y], Some((2, options)));
        y
    }

    /// Depthwise layers of different length on groups of channels, whose outputs have one scale.
    pub fn mixed(&mut self, x: Tensor, taps: &[i32]) -> Tensor {
        let ([columns, width], quantization) = (self.columns_of(x), self.quantization(x));
        let part = width / taps.len() as i32;
        let mut widths = vec![part; taps.len()];
        widths[0] += width - part * taps.len() as i32;
        let sizes = self.constant(&widths);
        let axis = self.constant(&[-1]);
        let parts: Vec<Tensor> = widths
            .iter()
            .map(|&width| self.activation("part", &[1, columns, 1, width], quantization))
            .collect();
        let options = Some((79, vec![(0, Field::Word(taps.len() as i32))]));
        self.operator(SPLIT_V, &[x, sizes, axis], &parts, options);
        let mut outputs = Vec::new();
        for (part, &taps) in parts.into_iter().zip(taps) {
            let newest = self.newest(part, taps);
            outputs.push(self.depthwise(newest, 1));
        }
        let shared = self.quantization(outputs[0]);
        for output in &outputs {
            let spec = &mut self.tensors[output.0 as usize];
            (spec.scales[0], spec.zero_points[0]) = shared;
        }
        self.join(&outputs)
    }

    /// Joins the channels of tensors, which get the quantization of the first.
    pub fn join(&mut self, parts: &[Tensor]) -> Tensor {
        let quantization = self.quantization(parts[0]);
        let width = parts.iter().map(|&part| self.columns_of(part)[1]).sum();
        for part in parts {
            let spec = &mut self.tensors[part.0 as usize];
            (spec.scales[0], spec.zero_points[0]) = quantization;
        }
        let joined = self.activation("joined", &[1, 1, 1, width], quantization);
        let options = Some((10, vec![(0, Field::Word(-1))]));
        self.operator(CONCATENATION, parts, &[joined], options);
        joined
    }

    /// Sum of two tensors.
    pub fn add(&mut self, x: Tensor, o: Tensor) -> Tensor {
        let width = self.columns_of(x)[1];
        let [x_scale, o_scale] = [x, o].map(|tensor| self.quantization(tensor).0);
        let zero = self.random.below(41) as i64 - 20;
        let quantization = (1.3 * x_scale.max(o_scale), zero);
        let y = self.activation("sum", &[1, 1, 1, width], quantization);
        self.operator(ADD, &[x, o], &[y], Some((11, vec![(0, Field::Byte(0))])));
        y
    }

    /// Dense layer with one output over all of `x`.
    pub fn dense(&mut self, x: Tensor) -> Tensor {
        let [columns, width] = self.columns_of(x);
        let inputs = columns * width;
        let (input_scale, zero) = self.quantization(x);
        let shape = self.constant(&[-1, inputs]);
        let flat = self.activation("flat", &[1, inputs], (input_scale, zero));
        self.operator(RESHAPE, &[x, shape], &[flat], None);
        let (weights, bias, _) = self.layer(&[1, inputs], 1, 0, input_scale);
        let scale = self.spec(weights).scales[0];
        let quantization =
            self.output_quantization(scale * input_scale, inputs, Activation::None, true);
        // The logistic function saturates beyond 8, and the network should do so now and then.
        let y =
            self.activation("logit", &[1, 1], (quantization.0.clamp(0.04, 0.06), quantization.1));
        let target = self.quantization(y).0;
        let factor = target / quantization.0;
        self.tensors[weights.0 as usize].scales[0] *= factor;
        self.tensors[bias.0 as usize].scales[0] *= factor;
        let options = vec![(0, Field::Byte(0)), (1, Field::Byte(0))];
        self.operator(FULLY_CONNECTED, &[flat, weights, bias], &[y], Some((8, options)));
        y
    }

    /// Probability of a logit, and the file.
    pub fn finish(mut self, logit: Tensor) -> Vec<u8> {
        let probability = self.activation("probability", &[1, 1], (1.0 / 256.0, -128));
        self.operator(LOGISTIC, &[logit], &[probability], None);
        let output = self.activation("output", &[1, 1], (1.0 / 256.0, 0));
        self.tensors[output.0 as usize].element = UINT8;
        self.operator(QUANTIZE, &[probability], &[output], None);
        self.write(output)
    }

    /// Builds the graph that gives the variables their first values, the zero points.
    fn starts(&mut self) -> (Vec<TensorSpec>, Vec<Operator>) {
        let (mut tensors, mut operators) = (Vec::new(), Vec::new());
        for Variable { name, tensor } in self.variables.clone() {
            let zero = tensor.zero_points[0] as i8 as u8;
            self.buffers.push(vec![zero; tensor.shape.iter().product::<i32>() as usize]);
            let handle = tensors.len() as i32;
            tensors.push(TensorSpec {
                name: format!("start {name}"),
                shape: Vec::new(),
                element: RESOURCE,
                buffer: 0,
                scales: Vec::new(),
                zero_points: Vec::new(),
                axis: 0,
            });
            tensors.push(TensorSpec { buffer: self.buffers.len() as u32 - 1, ..tensor });
            let options = vec![(0, Field::Text(String::new())), (1, Field::Text(name))];
            operators.push(Operator {
                kind: VAR_HANDLE,
                inputs: Vec::new(),
                outputs: vec![handle],
                options: Some((111, options)),
            });
            operators.push(Operator {
                kind: ASSIGN_VARIABLE,
                inputs: vec![handle, handle + 1],
                outputs: Vec::new(),
                options: None,
            });
        }
        (tensors, operators)
    }

    fn write(mut self, output: Tensor) -> Vec<u8> {
        let (start_tensors, start_operators) = self.starts();
        let mut kinds: Vec<i32> =
            self.operators.iter().chain(&start_operators).map(|operator| operator.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut fbb = FlatBufferBuilder::new();
        let buffers: Vec<_> = self.buffers.iter().map(|data| buffer(&mut fbb, data)).collect();
        let ends = [vec![self.input], vec![output.0]];
        let main = subgraph(&mut fbb, (&self.tensors, &self.operators), &kinds, &ends);
        let none = [vec![], vec![]];
        let start = subgraph(&mut fbb, (&start_tensors, &start_operators), &kinds, &none);
        let codes: Vec<_> = kinds.iter().map(|&kind| code(&mut fbb, kind)).collect();
        let codes = fbb.create_vector(&codes);
        let subgraphs = fbb.create_vector(&[main, start]);
        let buffers = fbb.create_vector(&buffers);
        let table = fbb.start_table();
        fbb.push_slot::<u32>(slot(0), 3, 0);
        fbb.push_slot_always(slot(1), codes);
        fbb.push_slot_always(slot(2), subgraphs);
        fbb.push_slot_always(slot(4), buffers);
        let root = fbb.end_table(table);
        fbb.finish(root, Some("TFL3"));
        fbb.finished_data().to_vec()
    }
}

type Table = WIPOffset<TableFinishedWIPOffset>;

const fn slot(number: u16) -> u16 {
    4 + 2 * number
}

fn buffer(fbb: &mut FlatBufferBuilder<'_>, data: &[u8]) -> Table {
    let vector = (!data.is_empty()).then(|| fbb.create_vector(data));
    let table = fbb.start_table();
    if let Some(vector) = vector {
        fbb.push_slot_always(slot(0), vector);
    }
    fbb.end_table(table)
}

fn code(fbb: &mut FlatBufferBuilder<'_>, kind: i32) -> Table {
    let table = fbb.start_table();
    fbb.push_slot::<i8>(slot(0), kind.min(127) as i8, 0);
    fbb.push_slot::<i32>(slot(2), 1, 0);
    fbb.push_slot::<i32>(slot(3), kind, 0);
    fbb.end_table(table)
}

fn subgraph(
    fbb: &mut FlatBufferBuilder<'_>,
    (tensors, operators): (&[TensorSpec], &[Operator]),
    kinds: &[i32],
    [inputs, outputs]: &[Vec<i32>; 2],
) -> Table {
    let tensors: Vec<_> = tensors.iter().map(|spec| tensor(fbb, spec)).collect();
    let operators: Vec<_> = operators.iter().map(|spec| operator(fbb, spec, kinds)).collect();
    let tensors = fbb.create_vector(&tensors);
    let operators = fbb.create_vector(&operators);
    let (inputs, outputs) = (fbb.create_vector(inputs), fbb.create_vector(outputs));
    let name = fbb.create_string("graph");
    let table = fbb.start_table();
    fbb.push_slot_always(slot(0), tensors);
    fbb.push_slot_always(slot(1), inputs);
    fbb.push_slot_always(slot(2), outputs);
    fbb.push_slot_always(slot(3), operators);
    fbb.push_slot_always(slot(4), name);
    fbb.end_table(table)
}

fn tensor(fbb: &mut FlatBufferBuilder<'_>, spec: &TensorSpec) -> Table {
    let quantization = (!spec.scales.is_empty()).then(|| {
        let scales = fbb.create_vector(&spec.scales);
        let zero_points = fbb.create_vector(&spec.zero_points);
        let table = fbb.start_table();
        fbb.push_slot_always(slot(2), scales);
        fbb.push_slot_always(slot(3), zero_points);
        fbb.push_slot::<i32>(slot(6), spec.axis, 0);
        fbb.end_table(table)
    });
    let shape = fbb.create_vector(&spec.shape);
    let name = fbb.create_string(&spec.name);
    let table = fbb.start_table();
    fbb.push_slot_always(slot(0), shape);
    fbb.push_slot::<i8>(slot(1), spec.element, 0);
    fbb.push_slot::<u32>(slot(2), spec.buffer, 0);
    fbb.push_slot_always(slot(3), name);
    if let Some(quantization) = quantization {
        fbb.push_slot_always(slot(4), quantization);
    }
    fbb.end_table(table)
}

fn operator(fbb: &mut FlatBufferBuilder<'_>, spec: &Operator, kinds: &[i32]) -> Table {
    let options = spec.options.as_ref().map(|(number, fields)| {
        let texts: Vec<_> = fields
            .iter()
            .map(|(_, field)| match field {
                Field::Text(text) => Some(fbb.create_string(text)),
                _ => None,
            })
            .collect();
        let table = fbb.start_table();
        for ((number, field), text) in fields.iter().zip(texts) {
            match (field, text) {
                (_, Some(text)) => fbb.push_slot_always(slot(*number), text),
                (Field::Byte(value), _) => fbb.push_slot_always(slot(*number), *value),
                (Field::Word(value), _) => fbb.push_slot_always(slot(*number), *value),
                (Field::Text(_), None) => unreachable!("its text was written"),
            }
        }
        (*number, fbb.end_table(table))
    });
    let (inputs, outputs) = (fbb.create_vector(&spec.inputs), fbb.create_vector(&spec.outputs));
    let opcode = kinds.iter().position(|&kind| kind == spec.kind).expect("every kind is there");
    let table = fbb.start_table();
    fbb.push_slot::<u32>(slot(0), opcode as u32, 0);
    fbb.push_slot_always(slot(1), inputs);
    fbb.push_slot_always(slot(2), outputs);
    if let Some((number, options)) = options {
        fbb.push_slot_always::<u8>(slot(3), number);
        fbb.push_slot_always(slot(4), options);
    }
    fbb.end_table(table)
}

/// A model in the shape of microWakeWord's `alexa`.
pub fn alexa(seed: u64) -> Vec<u8> {
    let relu = (1, Activation::Relu, true);
    let (mut graph, features) = Graph::new(seed, 3);
    let window = graph.ring(features, 2);
    let mut x = graph.convolution(window, 32, (3, Activation::Relu, true));
    for older in [4, 8, 12, 20] {
        let window = graph.ring(x, older);
        let over_time = graph.depthwise(window, 1);
        x = graph.convolution(over_time, 64, relu);
    }
    let window = graph.ring(x, 4);
    let logit = graph.dense(window);
    graph.finish(logit)
}

/// A model in another shape: groups of channels with different taps, residual sums, dilation,
/// branches, and functions that saturation is not all of.
pub fn other(seed: u64) -> Vec<u8> {
    let frames = 1 + (seed % 3) as i32;
    let (mut graph, features) = Graph::new(seed, frames);
    let window = graph.ring(features, 4 - frames);
    let stem = graph.convolution(window, 26, (frames, Activation::Relu6, false));
    let window = graph.ring(stem, 10);
    let mixed = graph.mixed(window, &[3, 7, 11]);
    let mixed = graph.convolution(mixed, 26, (1, Activation::Relu, false));
    let sum = graph.add(mixed, stem);
    let window = graph.ring(sum, 8);
    let dilated = graph.depthwise(window, 4);
    let left = graph.convolution(dilated, 9, (1, Activation::Relu, true));
    let window = graph.ring(dilated, 2);
    let right = graph.convolution(window, 12, (1, Activation::None, true));
    let joined = graph.join(&[left, right, left]);
    let window = graph.ring(joined, 3);
    let logit = graph.dense(window);
    graph.finish(logit)
}
