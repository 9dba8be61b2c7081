//! Memory that TensorFlow Lite Micro needs for an exported network.
//!
//! A device has one arena for a network: activations at its start, and everything that stays at its
//! end. The sizes of structures are those of a 64-bit processor, where they can be measured
//! (`tests/export.rs`); on a 32-bit one they are about half. ESP-NN's kernels for the ESP32-S3 need
//! memory beside the activations; its sizes are from `esp_nn_get_conv_scratch_size_esp32s3` and
//! `esp_nn_get_depthwise_conv_scratch_size_esp32s3`.

use std::collections::BTreeMap;

use crate::tflite::write::{Graph, Operation, Operator, Tensor};

/// Alignment of an activation and of a variable.
const ALIGNMENT: usize = 16;
/// Bytes per tensor: `TfLiteEvalTensor`.
const TENSOR_BYTES: usize = 24;
/// Bytes per operator: `NodeAndRegistration`, and the data of its kernel.
const OPERATOR_BYTES: usize = 128;
/// Bytes per output of a convolution: multiplier and shift.
const CHANNEL_BYTES: usize = 8;
/// Bytes of the interpreter, whatever the network.
const FIXED_BYTES: usize = 1_024;
/// Bytes that the memory planner may lose between activations.
const PLANNER_BYTES: usize = 512;
/// Bytes for alignment that ESP-NN adds to each of its buffers, at most.
const ESP_NN_BYTES: usize = 64;

/// Parts of the memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaBytes {
    /// Activations that are needed at the same time.
    pub activations: usize,
    /// What ESP-NN's kernels need beside them.
    pub kernels: usize,
    /// Contents of the variables.
    pub variables: usize,
    /// Structures of the interpreter: tensors, operators, multipliers.
    pub structures: usize,
}

impl ArenaBytes {
    /// Returns the sizes for the graph that runs and the one that initializes the variables.
    pub fn of(graphs: &[Graph; 2]) -> Self {
        let [main, init] = graphs;
        let live = live_bytes(main);
        let activations = live.iter().copied().max().unwrap_or(0) + PLANNER_BYTES;
        let with_kernels = live
            .iter()
            .zip(&main.operators)
            .map(|(live, operator)| live + kernel_bytes(main, operator));
        let with_kernels = with_kernels.max().unwrap_or(0) + PLANNER_BYTES;
        let operators = main.operators.iter().chain(&init.operators);
        let tensors = main.tensors.len() + init.tensors.len();
        let structures = FIXED_BYTES
            + TENSOR_BYTES * tensors
            + OPERATOR_BYTES * operators.count()
            + CHANNEL_BYTES * main.operators.iter().map(|o| channels(main, o)).sum::<usize>();
        let initial = init.tensors.iter().map(|tensor| aligned(tensor.bytes()));
        Self {
            activations,
            kernels: with_kernels.saturating_sub(activations),
            variables: initial.sum(),
            structures,
        }
    }

    /// Size of the arena for a manifest.
    pub fn total(&self) -> usize {
        aligned(self.activations + self.kernels + self.variables + self.structures)
    }

    /// Size of the arena where kernels need no memory of their own.
    pub fn without_kernels(&self) -> usize {
        self.total() - self.kernels
    }
}

fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Returns the number of bytes of activations that each operator finds or leaves.
fn live_bytes(graph: &Graph) -> Vec<usize> {
    // First and last operator that touches each activation.
    let mut spans: BTreeMap<i32, (usize, usize)> = BTreeMap::new();
    let count = graph.operators.len();
    for (at, operator) in graph.operators.iter().enumerate() {
        for &tensor in operator.inputs.iter().chain(&operator.outputs) {
            spans.entry(tensor).or_insert((at, at)).1 = at;
        }
    }
    let is_activation = |tensor: &Tensor| tensor.data.is_empty();
    // The device writes the features before the first operator, and reads the score after the last.
    graph.inputs.iter().for_each(|input| spans.entry(*input).or_insert((0, 0)).0 = 0);
    graph.outputs.iter().for_each(|output| spans.entry(*output).or_insert((0, 0)).1 = count);
    let spans = spans.iter().filter_map(|(&index, &span)| {
        let tensor = graph.tensors.get(usize::try_from(index).ok()?)?;
        is_activation(tensor).then(|| (span, aligned(tensor.bytes())))
    });
    let spans: Vec<((usize, usize), usize)> = spans.collect();
    let live = |at: usize| {
        let now = spans.iter().filter(|((first, last), _)| (*first..=*last).contains(&at));
        now.map(|(_, bytes)| bytes).sum()
    };
    (0..count).map(live).collect()
}

/// Shape of the `index`-th input of an operator, as `[batch, height, width, channels]`.
fn shape(graph: &Graph, operator: &Operator, index: usize) -> [usize; 4] {
    let tensor =
        operator.inputs.get(index).and_then(|&i| graph.tensors.get(usize::try_from(i).ok()?));
    let shape = tensor.map_or(&[][..], |tensor| &tensor.shape);
    std::array::from_fn(|i| shape.get(i).map_or(0, |&extent| extent.max(0) as usize))
}

/// Number of outputs of a convolution; 0 for other operators.
fn channels(graph: &Graph, operator: &Operator) -> usize {
    let [outputs, .., channels] = shape(graph, operator, 1);
    match operator.operation {
        Operation::Conv2d => outputs,
        Operation::DepthwiseConv2d { .. } => channels,
        _ => 0,
    }
}

/// Number of bytes that ESP-NN's kernel needs, on the ESP32-S3.
fn kernel_bytes(graph: &Graph, operator: &Operator) -> usize {
    let [_, columns, _, inputs] = shape(graph, operator, 0);
    let [outputs, taps, ..] = shape(graph, operator, 1);
    match operator.operation {
        // The weights, and a column whose channels are not a multiple of eight.
        Operation::Conv2d => inputs.next_multiple_of(8) * (outputs + 1) + ESP_NN_BYTES,
        // Weights and columns as 16-bit numbers; with other channels, parameters as well.
        Operation::DepthwiseConv2d { .. } => {
            let channels = inputs.next_multiple_of(8);
            2 * (taps + columns) * channels
                + 13 * (channels - inputs).min(1) * channels
                + ESP_NN_BYTES
        }
        _ => 0,
    }
}
