//! Follows a streaming graph of TensorFlow Lite from its input to its output. Operators that compute are in
//! [`layers`].

mod layers;

use std::collections::BTreeMap;

use super::nodes::{Columns, Group, Node, NodeOp, Quantization};
use crate::{
    ImportError,
    error::unsupported,
    tflite::read::{File, Graph, OpKind, Operator, Options, Tensor, element},
};

/// Number of channels of the features.
const FEATURES: usize = wakeling_shared::frontend::MEL_CHANNELS;
/// Axis of time, in tensors `(1, time, 1, channels)` and `(1, time, channels)`.
const TIME: usize = 1;

/// Content of a tensor.
#[derive(Clone, Debug)]
enum Value {
    /// Columns of a stream.
    Columns(Columns),
    /// Variable.
    Handle(usize),
    /// Contents of a variable from the step before.
    State(usize),
}

/// Variable that keeps columns from step to step.
#[derive(Debug)]
struct Variable {
    /// Name.
    name: String,
    /// Value of all its elements at first.
    initial: Option<i8>,
    /// Columns that it must hold after a step.
    expected: Option<Columns>,
    /// Whether it was assigned.
    assigned: bool,
}

/// Network that a graph describes.
#[derive(Debug)]
pub struct Network {
    /// The streams in the order of computation; the first is the input.
    pub nodes: Vec<Node>,
    /// Index of the output.
    pub output: usize,
    /// Quantization of the output as the file states it.
    pub output_quantization: Quantization,
}

/// Follows the first graph of a file.
///
/// # Errors
/// [`ImportError::Unsupported`], with the operator that has no counterpart.
pub fn network(file: &File<'_>) -> Result<Network, ImportError> {
    let Some(graph) = file.graphs.first() else {
        return unsupported("file", "there is no graph");
    };
    let mut follower = Follower {
        file,
        graph,
        values: vec![None; graph.tensors.len()],
        variables: Vec::new(),
        names: BTreeMap::new(),
        nodes: Vec::new(),
    };
    follower.input()?;
    for (index, operator) in graph.operators.iter().enumerate() {
        follower.operator(&format!("operator {index}, {}", operator.kind), operator)?;
    }
    follower.output()
}

struct Follower<'f, 'a> {
    file: &'f File<'a>,
    graph: &'f Graph<'a>,
    values: Vec<Option<Value>>,
    variables: Vec<Variable>,
    names: BTreeMap<(String, String), usize>,
    nodes: Vec<Node>,
}

impl<'f, 'a> Follower<'f, 'a> {
    fn input(&mut self) -> Result<(), ImportError> {
        let &[index] = &self.graph.inputs[..] else {
            return unsupported("input", format!("{} of them", self.graph.inputs.len()));
        };
        let tensor = &self.graph.tensors[index];
        let &[1, rate @ 1..=16, FEATURES] = &tensor.shape[..] else {
            let shape = &tensor.shape;
            return unsupported("input", format!("shape {shape:?}; (1, 1 to 16, 40) is supported"));
        };
        let quantization = quantization("input", tensor)?;
        let (place, op) = ("input".into(), NodeOp::Input);
        self.nodes.push(Node { place, rate, width: FEATURES, quantization, op });
        self.values[index] = Some(Value::Columns(newest(0, rate, FEATURES)));
        Ok(())
    }

    fn output(self) -> Result<Network, ImportError> {
        let &[index] = &self.graph.outputs[..] else {
            return unsupported("output", format!("{} of them", self.graph.outputs.len()));
        };
        for variable in &self.variables {
            if variable.expected.is_some() && !variable.assigned {
                return unsupported(&variable.name, "a variable that is read, but not written");
            }
        }
        let columns = self.columns("output", index)?.clone();
        let node = &self.nodes[columns.stream];
        if (columns.count, columns.lag, node.width, columns.width()) != (1, 0, 1, 1) {
            let shape = &self.graph.tensors[index].shape;
            return unsupported("output", format!("shape {shape:?}; one probability is supported"));
        }
        let output_quantization = quantization("output", &self.graph.tensors[index])?;
        Ok(Network { output: columns.stream, nodes: self.nodes, output_quantization })
    }

    /// Returns the columns that a tensor holds.
    fn columns(&self, place: &str, index: usize) -> Result<&Columns, ImportError> {
        match self.values.get(index) {
            Some(Some(Value::Columns(columns))) => Ok(columns),
            Some(Some(Value::State(variable))) => {
                let name = &self.variables[*variable].name;
                unsupported(place, format!("variable {name:?} is not before new columns"))
            }
            _ => {
                let name = self.graph.tensors.get(index).map_or("", |tensor| tensor.name);
                unsupported(place, format!("its input {name:?} is not computed from the features"))
            }
        }
    }

    /// Returns the index of an operator's input.
    fn input_of(
        &self,
        place: &str,
        operator: &Operator<'a>,
        at: usize,
    ) -> Result<usize, ImportError> {
        match operator.inputs.get(at) {
            Some(&Some(index)) => Ok(index),
            _ => unsupported(place, format!("it has no input {at}")),
        }
    }

    /// Returns an operator's input as a tensor.
    fn tensor_of(
        &self,
        place: &str,
        operator: &Operator<'a>,
        at: usize,
    ) -> Result<&'f Tensor<'a>, ImportError> {
        Ok(&self.graph.tensors[self.input_of(place, operator, at)?])
    }

    /// Returns the only output of an operator.
    fn output_of(&self, place: &str, operator: &Operator<'a>) -> Result<usize, ImportError> {
        match operator.outputs[..] {
            [index] => Ok(index),
            _ => unsupported(place, format!("it has {} outputs", operator.outputs.len())),
        }
    }

    /// Adds a stream with one column a step, which a tensor holds.
    fn add(&mut self, place: &str, output: usize, op: NodeOp) -> Result<(), ImportError> {
        let tensor = &self.graph.tensors[output];
        let width = tensor.shape.last().copied().unwrap_or(1);
        if tensor.elements() != Some(width) || width == 0 || width > usize::from(u16::MAX) {
            let shape = &tensor.shape;
            return unsupported(place, format!("output {shape:?}; one column a step is supported"));
        }
        let quantization = quantization(place, tensor)?;
        self.push(Node { place: place.into(), rate: 1, width, quantization, op }, output);
        Ok(())
    }

    fn push(&mut self, node: Node, output: usize) {
        let columns = newest(self.nodes.len(), node.rate, node.width);
        self.nodes.push(node);
        self.values[output] = Some(Value::Columns(columns));
    }

    fn operator(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        match operator.kind {
            OpKind::CALL_ONCE => self.call_once(place, operator),
            OpKind::VAR_HANDLE => self.var_handle(place, operator),
            OpKind::READ_VARIABLE => self.read_variable(place, operator),
            OpKind::ASSIGN_VARIABLE => self.assign_variable(place, operator),
            OpKind::RESHAPE | OpKind::SQUEEZE | OpKind::EXPAND_DIMS => {
                self.reshape(place, operator)
            }
            OpKind::CONCATENATION => self.concatenation(place, operator),
            OpKind::STRIDED_SLICE => self.strided_slice(place, operator),
            OpKind::SPLIT_V | OpKind::SPLIT => self.split(place, operator),
            OpKind::CONV_2D => self.convolution(place, operator),
            OpKind::DEPTHWISE_CONV_2D => self.depthwise(place, operator),
            OpKind::FULLY_CONNECTED => self.dense(place, operator),
            OpKind::ADD => self.sum(place, operator),
            OpKind::LOGISTIC => self.logistic(place, operator),
            OpKind::QUANTIZE => self.quantize(place, operator),
            kind => unsupported(place, format!("{kind} is not supported")),
        }
    }

    /// Finds the variable of a handle, by its names.
    fn variable(&mut self, operator: &Operator<'a>) -> usize {
        let (container, name) = match operator.options {
            Options::VarHandle(options) => {
                let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                (text(options.container()), text(options.shared_name()))
            }
            _ => Default::default(),
        };
        let next = self.variables.len();
        let found = *self.names.entry((container, name.clone())).or_insert(next);
        if found == next {
            self.variables.push(Variable { name, initial: None, expected: None, assigned: false });
        }
        found
    }

    /// Takes the initial values of variables from a graph that runs once.
    fn call_once(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let Options::CallOnce(options) = operator.options else {
            return unsupported(place, "it names no graph");
        };
        let index = options.graph().unwrap_or(0);
        let graph = usize::try_from(index).ok().and_then(|index| self.file.graphs.get(index));
        let Some(graph) = graph else {
            return unsupported(place, format!("there is no graph {index}"));
        };
        let mut handles = BTreeMap::new();
        for operator in &graph.operators {
            match (operator.kind, &operator.inputs[..], &operator.outputs[..]) {
                (OpKind::VAR_HANDLE, _, &[output]) => {
                    handles.insert(output, self.variable(operator));
                }
                (OpKind::ASSIGN_VARIABLE, &[Some(handle), Some(value)], _) => {
                    let values = graph.tensors[value].i8_values().unwrap_or_default();
                    let (Some(&variable), Some((&first, rest))) =
                        (handles.get(&handle), values.split_first())
                    else {
                        return unsupported(place, "a variable starts with no constant of int8");
                    };
                    if rest.iter().any(|&value| value != first) {
                        return unsupported(place, "a variable starts with different values");
                    }
                    self.variables[variable].initial = Some(first);
                }
                (kind, ..) => return unsupported(place, format!("{kind} in its graph")),
            }
        }
        Ok(())
    }

    fn var_handle(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let output = self.output_of(place, operator)?;
        let variable = self.variable(operator);
        self.values[output] = Some(Value::Handle(variable));
        Ok(())
    }

    /// Returns the variable of an operator's first input.
    fn handle(&self, place: &str, operator: &Operator<'a>) -> Result<usize, ImportError> {
        match self.values[self.input_of(place, operator, 0)?] {
            Some(Value::Handle(variable)) => Ok(variable),
            _ => unsupported(place, "its input is no variable"),
        }
    }

    fn read_variable(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let output = self.output_of(place, operator)?;
        let variable = self.handle(place, operator)?;
        if self.variables[variable].assigned {
            return unsupported(place, "a variable is read after it was written");
        }
        self.values[output] = Some(Value::State(variable));
        Ok(())
    }

    fn assign_variable(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let variable = self.handle(place, operator)?;
        let value = self.columns(place, self.input_of(place, operator, 1)?)?.clone();
        let variable = &mut self.variables[variable];
        if variable.assigned || variable.expected.as_ref() != Some(&value) {
            return unsupported(
                place,
                format!("variable {:?} does not keep the newest columns", variable.name),
            );
        }
        variable.assigned = true;
        Ok(())
    }

    fn reshape(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let output = self.output_of(place, operator)?;
        let input = self.input_of(place, operator, 0)?;
        let columns = self.columns(place, input)?.clone();
        if self.graph.tensors[output].elements() != Some(columns.count * columns.width()) {
            return unsupported(place, "the numbers of elements differ");
        }
        self.values[output] = Some(Value::Columns(columns));
        Ok(())
    }

    fn concatenation(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let Options::Concatenation(options) = operator.options else {
            return unsupported(place, "it has no axis");
        };
        if options.activation().unwrap_or(0) != 0 {
            return unsupported(place, "an activation function after it");
        }
        let output = self.output_of(place, operator)?;
        let rank = self.graph.tensors[output].shape.len();
        let axis = options.axis().unwrap_or(0);
        let from_end = if axis < 0 { rank as i64 } else { 0 };
        let axis = usize::try_from(i64::from(axis) + from_end).unwrap_or(usize::MAX);
        let inputs = (0..operator.inputs.len()).map(|at| self.input_of(place, operator, at));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        if axis + 1 == rank && rank > 1 {
            self.join_channels(place, &inputs, output)
        } else if axis == TIME {
            let joined = self.join_time(place, &inputs)?;
            self.check_shape(place, output, &joined)?;
            self.values[output] = Some(Value::Columns(joined));
            Ok(())
        } else {
            unsupported(place, format!("axis {axis} of {rank}"))
        }
    }

    /// Joins a variable and the new columns after it, or neighbouring columns.
    fn join_time(&mut self, place: &str, inputs: &[usize]) -> Result<Columns, ImportError> {
        let Some((&last, front)) = inputs.split_last() else {
            return unsupported(place, "it has no inputs");
        };
        let mut joined = self.columns(place, last)?.clone();
        for &index in front.iter().rev() {
            if let Some(Value::State(variable)) = self.values[index] {
                joined = self.with_state(place, variable, index, joined)?;
                continue;
            }
            let older = self.columns(place, index)?;
            let follows = older.stream == joined.stream
                && older.channels == joined.channels
                && older.lag == joined.reach();
            if !follows {
                return unsupported(place, "columns that do not follow each other");
            }
            joined.count += older.count;
            joined.initial = joined.initial.or(older.initial);
        }
        Ok(joined)
    }

    /// Puts the columns that a variable kept before the new columns.
    fn with_state(
        &mut self,
        place: &str,
        variable: usize,
        tensor: usize,
        new: Columns,
    ) -> Result<Columns, ImportError> {
        let node = &self.nodes[new.stream];
        let is_new = new.count == node.rate && new.lag == 0 && new.width() == node.width;
        let elements = self.graph.tensors[tensor].elements().unwrap_or(0);
        let variable = &mut self.variables[variable];
        if !is_new || elements == 0 || !elements.is_multiple_of(node.width) {
            let name = &variable.name;
            return unsupported(place, format!("variable {name:?} is not before new columns"));
        }
        let Some(initial) = variable.initial else {
            let name = &variable.name;
            return unsupported(place, format!("variable {name:?} has no initial value"));
        };
        let kept = Columns { count: elements / node.width, initial: Some(initial), ..new };
        if variable.expected.as_ref().is_some_and(|expected| *expected != kept) {
            let name = &variable.name;
            return unsupported(place, format!("variable {name:?} is used for two streams"));
        }
        let count = kept.count + node.rate;
        variable.expected = Some(kept.clone());
        Ok(Columns { count, ..kept })
    }

    /// Joins channels: groups of one depthwise layer, or several streams.
    fn join_channels(
        &mut self,
        place: &str,
        inputs: &[usize],
        output: usize,
    ) -> Result<(), ImportError> {
        let inputs = inputs.iter().map(|&index| self.columns(place, index).cloned());
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        if let [only] = &inputs[..] {
            self.values[output] = Some(Value::Columns(only.clone()));
            return Ok(());
        }
        let zero_point = quantization(place, &self.graph.tensors[output])?.zero_point;
        let groups = inputs.iter().map(|input| {
            let node = &self.nodes[input.stream];
            let whole = (input.count, input.lag, input.width()) == (1, 0, node.width);
            match &node.op {
                NodeOp::Depthwise { groups }
                    if whole && node.quantization.zero_point == zero_point =>
                {
                    Some(groups.clone())
                }
                _ => None,
            }
        });
        let groups = groups.collect::<Option<Vec<_>>>().map(|groups| groups.concat());
        let op = match groups {
            Some(groups) if one_source(&groups) => NodeOp::Depthwise { groups },
            _ => NodeOp::Join { inputs },
        };
        self.add(place, output, op)
    }

    fn strided_slice(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let Options::Slice(options) = operator.options else {
            return unsupported(place, "it has no masks");
        };
        let others = [options.ellipsis_mask(), options.new_axis_mask(), options.shrink_axis_mask()];
        if others.iter().any(|mask| mask.unwrap_or(0) != 0) || options.offset() == Some(true) {
            return unsupported(place, "axes that are added or dropped");
        }
        let output = self.output_of(place, operator)?;
        let input = self.input_of(place, operator, 0)?;
        let shape = &self.graph.tensors[input].shape;
        let mut bounds = Vec::new();
        for at in 1..=3 {
            let values = self.tensor_of(place, operator, at)?.i32_values().unwrap_or_default();
            if values.len() != shape.len() {
                return unsupported(place, "its bounds are no constants for every axis");
            }
            bounds.push(values);
        }
        let mut columns = self.columns(place, input)?.clone();
        for (axis, &size) in shape.iter().enumerate() {
            let masked = |mask: Option<i32>| mask.unwrap_or(0) >> axis.min(31) & 1 == 1;
            let at = |value: i32| {
                let from_start = i64::from(value) + if value < 0 { size as i64 } else { 0 };
                from_start.clamp(0, size as i64) as usize
            };
            let start = if masked(options.begin_mask()) { 0 } else { at(bounds[0][axis]) };
            let end = if masked(options.end_mask()) { size } else { at(bounds[1][axis]) };
            if bounds[2][axis] != 1 || start >= end {
                return unsupported(place, "a stride, or nothing left");
            }
            if (start, end) == (0, size) {
                continue;
            }
            if axis == TIME && shape.len() > 2 && size == columns.count {
                columns.lag += size - end;
                columns.count = end - start;
            } else if axis + 1 == shape.len() && size == columns.width() {
                columns.channels = columns.channels.start + start..columns.channels.start + end;
            } else {
                return unsupported(place, format!("a part of axis {axis}"));
            }
        }
        self.check_shape(place, output, &columns)?;
        self.values[output] = Some(Value::Columns(columns));
        Ok(())
    }

    fn split(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let is_split_v = operator.kind == OpKind::SPLIT_V;
        let (input, axis) = if is_split_v { (0, 2) } else { (1, 0) };
        let input = self.input_of(place, operator, input)?;
        let axis = self.tensor_of(place, operator, axis)?.i32_values().unwrap_or_default();
        let shape = &self.graph.tensors[input].shape;
        let columns = self.columns(place, input)?.clone();
        let last = shape.len() as i32 - 1;
        if axis[..] != [-1] && axis[..] != [last] {
            return unsupported(place, format!("axis {axis:?}; that of the channels is supported"));
        }
        if shape.last() != Some(&columns.width()) {
            return unsupported(place, "its last axis is not that of the channels");
        }
        let mut start = columns.channels.start;
        for &output in &operator.outputs {
            let width = self.graph.tensors[output].shape.last().copied().unwrap_or(0);
            let end = start + width;
            if width == 0 || end > columns.channels.end {
                return unsupported(place, "its parts are not the channels");
            }
            let part = Columns { channels: start..end, ..columns.clone() };
            self.check_shape(place, output, &part)?;
            self.values[output] = Some(Value::Columns(part));
            start = end;
        }
        if start != columns.channels.end {
            return unsupported(place, "its parts are not the channels");
        }
        Ok(())
    }

    /// Checks that a tensor has as many elements as columns hold.
    fn check_shape(
        &self,
        place: &str,
        tensor: usize,
        columns: &Columns,
    ) -> Result<(), ImportError> {
        let shape = &self.graph.tensors[tensor].shape;
        if self.graph.tensors[tensor].elements() == Some(columns.count * columns.width()) {
            return Ok(());
        }
        let (count, width) = (columns.count, columns.width());
        unsupported(place, format!("output {shape:?}, which is not {count} columns of {width}"))
    }
}

/// Returns the new columns of a step.
fn newest(stream: usize, rate: usize, width: usize) -> Columns {
    Columns { stream, count: rate, lag: 0, channels: 0..width, initial: None }
}

/// Returns whether all groups read the same stream with the same start, and no channel twice.
fn one_source(groups: &[Group]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let Some(first) = groups.first().map(|group| &group.input) else { return false };
    groups.iter().all(|group| {
        let input = &group.input;
        (input.stream, input.initial) == (first.stream, first.initial)
            && input.channels.clone().all(|channel| seen.insert(channel))
    })
}

/// Returns the scale and zero point of a tensor of `i8` or `u8`.
fn quantization(place: &str, tensor: &Tensor<'_>) -> Result<Quantization, ImportError> {
    let offset = match tensor.element {
        element::INT8 => 0,
        element::UINT8 => 128,
        _ => return unsupported(place, format!("tensor {:?} is not int8", tensor.name)),
    };
    let (&[scale], &[zero_point]) = (&tensor.scales[..], &tensor.zero_points[..]) else {
        return unsupported(place, format!("tensor {:?} has no scale", tensor.name));
    };
    let zero_point = zero_point.saturating_sub(offset);
    if !(scale.is_finite() && scale > 0.0 && (-128..=127).contains(&zero_point)) {
        return unsupported(place, format!("tensor {:?} has scale {scale}", tensor.name));
    }
    Ok(Quantization { scale, zero_point: zero_point as i32 })
}
