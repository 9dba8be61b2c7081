//! Writes TensorFlow Lite files: the tables of the format that a streaming int8 model needs.
//!
//! Source of the numbers: `tensorflow/lite/schema/schema.fbs`, version 3. A table's fields are
//! numbered from 0 in the order of the schema. The tables are written from the leaves to the root,
//! because FlatBuffers are built backwards.

use std::collections::BTreeMap;

use flatbuffers::{
    FlatBufferBuilder, ForwardsUOffset, Push, TableFinishedWIPOffset, VOffsetT, Vector, WIPOffset,
};

/// Version of the schema.
const SCHEMA_VERSION: u32 = 3;
/// Identifier at byte 4 of a file.
const FILE_IDENTIFIER: &str = "TFL3";
/// Alignment of the data of a buffer, which kernels read in place.
const DATA_ALIGNMENT: usize = 16;
/// Bytes that [`FlatBufferBuilder::finish`] puts in front: offset of the root, identifier.
const PREFIX_BYTES: usize = 8;
/// First operator code that does not fit the byte of older files, which then holds this one.
const CODE_PLACEHOLDER: i32 = 127;
/// Padding `VALID` of a convolution.
const PADDING_VALID: i8 = 1;

type Builder = FlatBufferBuilder<'static>;
type Table = WIPOffset<TableFinishedWIPOffset>;
type TableVector = WIPOffset<Vector<'static, ForwardsUOffset<TableFinishedWIPOffset>>>;

/// Type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// Signed 32-bit integers.
    Int32,
    /// Unsigned bytes.
    UInt8,
    /// Signed bytes.
    Int8,
    /// Handle of a variable.
    Resource,
}

impl ElementType {
    /// Number in the schema's `TensorType`.
    const fn number(self) -> i8 {
        match self {
            Self::Int32 => 2,
            Self::UInt8 => 3,
            Self::Int8 => 9,
            Self::Resource => 13,
        }
    }

    /// Number of bytes of one element in memory; a handle has none of its own.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Int32 => 4,
            Self::UInt8 | Self::Int8 => 1,
            Self::Resource => 0,
        }
    }
}

/// Scales and zero point: `value = scale · (q − zero_point)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// One scale for the tensor, or one per index of `dimension`.
    pub scales: Vec<f32>,
    /// Zero point of all of them.
    pub zero_point: i8,
    /// Dimension that the scales belong to.
    pub dimension: i32,
}

impl Quantization {
    /// Returns one scale and zero point for a whole tensor.
    pub fn whole(scale: f32, zero_point: i8) -> Self {
        Self { scales: vec![scale], zero_point, dimension: 0 }
    }
}

/// Tensor of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name, for people.
    pub name: String,
    /// Extent of each dimension; empty for a handle.
    pub shape: Vec<i32>,
    /// Type of the elements.
    pub element_type: ElementType,
    /// Contents of a constant, little-endian; empty for an activation.
    pub data: Vec<u8>,
    /// Quantization, if the tensor has one.
    pub quantization: Option<Quantization>,
}

impl Tensor {
    /// Number of bytes of the elements.
    pub fn bytes(&self) -> usize {
        let count: usize = self.shape.iter().map(|&extent| extent.max(0) as usize).product();
        count * self.element_type.bytes()
    }
}

/// Operation with its options. Comments give the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Residual sum of two tensors.
    Add,
    /// Writes a variable: handle, value.
    AssignVariable,
    /// Runs a graph at the first inference: none.
    CallOnce {
        /// Index of the graph.
        graph: i32,
    },
    /// Joins tensors along a dimension.
    Concatenation {
        /// The dimension.
        axis: i32,
    },
    /// Convolution without padding, of stride 1: input, weights, biases.
    Conv2d,
    /// Depthwise convolution without padding, of stride 1: input, weights, biases.
    DepthwiseConv2d {
        /// Distance between taps along the second dimension.
        dilation: i32,
    },
    /// Dense layer: input, weights, biases.
    FullyConnected,
    /// Changes type and quantization.
    Quantize,
    /// Reads a variable: handle.
    ReadVariable,
    /// Changes the shape: input, shape.
    Reshape,
    /// Takes a part: input, begin, end, strides. The part starts at 0 in each dimension of
    /// `begin_mask`, and ends at the extent of each dimension of `end_mask`; bit 0 is the first.
    StridedSlice {
        /// Dimensions whose begin is ignored.
        begin_mask: i32,
        /// Dimensions whose end is ignored.
        end_mask: i32,
    },
    /// Returns the handle of a variable: none.
    VarHandle {
        /// Name that all handles of the variable share.
        name: String,
    },
}

impl Operation {
    /// Number in the schema's `BuiltinOperator`, and version of the operator in int8.
    const fn code(&self) -> (i32, i32) {
        match self {
            Self::Add => (0, 2),
            Self::Concatenation { .. } => (2, 2),
            Self::Conv2d => (3, 3),
            Self::DepthwiseConv2d { .. } => (4, 3),
            Self::FullyConnected => (9, 4),
            Self::Reshape => (22, 1),
            Self::StridedSlice { .. } => (45, 2),
            Self::Quantize => (114, 1),
            Self::CallOnce { .. } => (129, 1),
            Self::VarHandle { .. } => (142, 1),
            Self::ReadVariable => (143, 1),
            Self::AssignVariable => (144, 1),
        }
    }

    /// Writes the options; returns their number in the schema's `BuiltinOptions`, and the table.
    fn options(&self, builder: &mut Builder) -> Option<(u8, Table)> {
        let names = match self {
            Self::VarHandle { name } => {
                Some([builder.create_string(""), builder.create_string(name)])
            }
            _ => None,
        };
        let table = builder.start_table();
        let number = match self {
            Self::Add => 11,
            Self::AssignVariable => 113,
            Self::CallOnce { graph } => {
                builder.push_slot(slot(0), *graph, 0);
                103
            }
            Self::Concatenation { axis } => {
                builder.push_slot(slot(0), *axis, 0);
                10
            }
            Self::Conv2d => {
                builder.push_slot(slot(0), PADDING_VALID, 0);
                builder.push_slot(slot(1), 1, 0);
                builder.push_slot(slot(2), 1, 0);
                1
            }
            Self::DepthwiseConv2d { dilation } => {
                builder.push_slot(slot(0), PADDING_VALID, 0);
                builder.push_slot(slot(1), 1, 0);
                builder.push_slot(slot(2), 1, 0);
                builder.push_slot(slot(3), 1, 0);
                builder.push_slot(slot(6), *dilation, 1);
                2
            }
            Self::FullyConnected => 8,
            Self::Quantize => 89,
            Self::ReadVariable => 112,
            Self::Reshape => 17,
            Self::StridedSlice { begin_mask, end_mask } => {
                builder.push_slot(slot(0), *begin_mask, 0);
                builder.push_slot(slot(1), *end_mask, 0);
                32
            }
            Self::VarHandle { .. } => {
                if let Some([container, name]) = names {
                    builder.push_slot_always(slot(0), container);
                    builder.push_slot_always(slot(1), name);
                }
                111
            }
        };
        Some((number, builder.end_table(table)))
    }
}

/// Operator of a graph: an operation on tensors, which are named by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The operation.
    pub operation: Operation,
    /// Tensors that it reads.
    pub inputs: Vec<i32>,
    /// Tensors that it writes.
    pub outputs: Vec<i32>,
}

/// Graph: tensors, and operators in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Name, for people.
    pub name: String,
    /// The tensors.
    pub tensors: Vec<Tensor>,
    /// The operators.
    pub operators: Vec<Operator>,
    /// Indices of the inputs.
    pub inputs: Vec<i32>,
    /// Indices of the outputs.
    pub outputs: Vec<i32>,
}

impl Graph {
    /// Adds a tensor, and returns its index.
    pub fn tensor(&mut self, tensor: Tensor) -> i32 {
        self.tensors.push(tensor);
        self.tensors.len() as i32 - 1
    }

    /// Adds an operator.
    pub fn operator(&mut self, operation: Operation, inputs: &[i32], outputs: &[i32]) {
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        self.operators.push(Operator { operation, inputs, outputs });
    }
}

/// Encodes a TensorFlow Lite file. The first graph is the one that runs.
///
/// Constants with equal contents share a buffer.
///
/// ```
/// use wakeling_interop::tflite::write::{ElementType, Graph, Operation, Quantization, Tensor, encode};
///
/// let mut graph = Graph { name: "main".into(), ..Graph::default() };
/// let mut tensor = |element_type, zero_point| {
///     let quantization = Some(Quantization::whole(1.0 / 255.0, zero_point));
///     let (name, shape) = ("x".into(), vec![1, 1]);
///     graph.tensor(Tensor { name, shape, element_type, data: Vec::new(), quantization })
/// };
/// let (x, y) = (tensor(ElementType::Int8, -128), tensor(ElementType::UInt8, 0));
/// graph.operator(Operation::Quantize, &[x], &[y]);
/// (graph.inputs, graph.outputs) = (vec![x], vec![y]);
/// let file = encode("int8 to uint8", &[graph]);
/// assert_eq!(&file[4..8], b"TFL3");
/// ```
pub fn encode(description: &str, graphs: &[Graph]) -> Vec<u8> {
    let mut file = Writer::default();
    let graphs: Vec<Table> = graphs.iter().map(|graph| file.graph(graph)).collect();
    file.finish(description, &graphs)
}

/// Byte offset of field number `field` in the table of offsets.
const fn slot(field: VOffsetT) -> VOffsetT {
    4 + 2 * field
}

/// Builder of one file, with the constants and operator codes that its graphs share.
struct Writer {
    builder: Builder,
    /// Contents of each buffer, and its number. Number 0 is the empty one.
    buffers: BTreeMap<Vec<u8>, u32>,
    /// Vectors of equal zero points, by zero point and length. Per channel they would be twice as
    /// long as the scales.
    zero_points: BTreeMap<(i8, usize), WIPOffset<Vector<'static, i64>>>,
    /// Codes and versions, in the order of their numbers.
    codes: Vec<(i32, i32)>,
}

impl Default for Writer {
    fn default() -> Self {
        let buffers = BTreeMap::from([(Vec::new(), 0)]);
        Self { builder: Builder::new(), buffers, zero_points: BTreeMap::new(), codes: Vec::new() }
    }
}

impl Writer {
    fn vector<T: Push + Copy>(&mut self, items: &[T]) -> WIPOffset<Vector<'static, T::Output>> {
        self.builder.create_vector(items)
    }

    fn tables(&mut self, tables: &[Table]) -> TableVector {
        self.builder.create_vector(tables)
    }

    fn graph(&mut self, graph: &Graph) -> Table {
        let tensors: Vec<Table> = graph.tensors.iter().map(|t| self.tensor(t)).collect();
        let operators: Vec<Table> = graph.operators.iter().map(|o| self.operator(o)).collect();
        let (tensors, operators) = (self.tables(&tensors), self.tables(&operators));
        let (inputs, outputs) = (self.vector(&graph.inputs), self.vector(&graph.outputs));
        let name = self.builder.create_string(&graph.name);
        let table = self.builder.start_table();
        self.builder.push_slot_always(slot(0), tensors);
        self.builder.push_slot_always(slot(1), inputs);
        self.builder.push_slot_always(slot(2), outputs);
        self.builder.push_slot_always(slot(3), operators);
        self.builder.push_slot_always(slot(4), name);
        self.builder.end_table(table)
    }

    fn tensor(&mut self, tensor: &Tensor) -> Table {
        let next = self.buffers.len() as u32;
        let buffer = *self.buffers.entry(tensor.data.clone()).or_insert(next);
        let name = self.builder.create_string(&tensor.name);
        let shape = self.vector(&tensor.shape);
        let quantization = tensor.quantization.as_ref().map(|q| self.quantization(q));
        let has_rank = tensor.element_type != ElementType::Resource;
        let table = self.builder.start_table();
        self.builder.push_slot_always(slot(0), shape);
        self.builder.push_slot(slot(1), tensor.element_type.number(), 0);
        self.builder.push_slot(slot(2), buffer, 0);
        self.builder.push_slot_always(slot(3), name);
        if let Some(quantization) = quantization {
            self.builder.push_slot_always(slot(4), quantization);
        }
        self.builder.push_slot(slot(8), has_rank, false);
        self.builder.end_table(table)
    }

    fn quantization(&mut self, quantization: &Quantization) -> Table {
        let scales = self.vector(&quantization.scales);
        let key = (quantization.zero_point, quantization.scales.len());
        let zero_points = self.zero_points.get(&key).copied().unwrap_or_else(|| {
            let vector = self.vector(&vec![i64::from(key.0); key.1]);
            self.zero_points.insert(key, vector);
            vector
        });
        let table = self.builder.start_table();
        self.builder.push_slot_always(slot(2), scales);
        self.builder.push_slot_always(slot(3), zero_points);
        self.builder.push_slot(slot(6), quantization.dimension, 0);
        self.builder.end_table(table)
    }

    fn operator(&mut self, operator: &Operator) -> Table {
        let code = operator.operation.code();
        let known = self.codes.iter().position(|&known| known == code);
        let index = known.unwrap_or_else(|| {
            self.codes.push(code);
            self.codes.len() - 1
        });
        let options = operator.operation.options(&mut self.builder);
        let (inputs, outputs) = (self.vector(&operator.inputs), self.vector(&operator.outputs));
        let table = self.builder.start_table();
        self.builder.push_slot(slot(0), index as u32, 0);
        self.builder.push_slot_always(slot(1), inputs);
        self.builder.push_slot_always(slot(2), outputs);
        if let Some((number, options)) = options {
            self.builder.push_slot(slot(3), number, 0);
            self.builder.push_slot_always(slot(4), options);
        }
        self.builder.end_table(table)
    }

    /// Writes bytes whose first is at a multiple of [`DATA_ALIGNMENT`] from the end of the file.
    fn aligned_bytes(&mut self, bytes: &[u8]) -> WIPOffset<Vector<'static, u8>> {
        self.align(bytes.len());
        for &byte in bytes.iter().rev() {
            self.builder.push(byte);
        }
        let offset = self.builder.push(bytes.len() as u32);
        WIPOffset::new(offset.value())
    }

    /// Adds zeros until `bytes` more end at a multiple of [`DATA_ALIGNMENT`] from the end.
    fn align(&mut self, bytes: usize) {
        while !(self.builder.unfinished_data().len() + bytes).is_multiple_of(DATA_ALIGNMENT) {
            self.builder.push(0u8);
        }
    }

    fn finish(mut self, description: &str, graphs: &[Table]) -> Vec<u8> {
        let mut contents: Vec<(Vec<u8>, u32)> =
            std::mem::take(&mut self.buffers).into_iter().collect();
        contents.sort_by_key(|(_, number)| *number);
        let buffers: Vec<Table> = contents.iter().map(|(bytes, _)| self.buffer(bytes)).collect();
        let codes: Vec<Table> =
            std::mem::take(&mut self.codes).into_iter().map(|code| self.code(code)).collect();
        let (codes, graphs) = (self.tables(&codes), self.tables(graphs));
        let description = self.builder.create_string(description);
        let buffers = self.tables(&buffers);
        let table = self.builder.start_table();
        self.builder.push_slot(slot(0), SCHEMA_VERSION, 0);
        self.builder.push_slot_always(slot(1), codes);
        self.builder.push_slot_always(slot(2), graphs);
        self.builder.push_slot_always(slot(3), description);
        self.builder.push_slot_always(slot(4), buffers);
        let root = self.builder.end_table(table);
        // The whole length is then a multiple of the alignment, so that offsets from the end and
        // from the start are aligned alike.
        self.align(PREFIX_BYTES);
        self.builder.finish(root, Some(FILE_IDENTIFIER));
        self.builder.finished_data().to_vec()
    }

    fn buffer(&mut self, bytes: &[u8]) -> Table {
        let data = (!bytes.is_empty()).then(|| self.aligned_bytes(bytes));
        let table = self.builder.start_table();
        if let Some(data) = data {
            self.builder.push_slot_always(slot(0), data);
        }
        self.builder.end_table(table)
    }

    fn code(&mut self, (code, version): (i32, i32)) -> Table {
        let table = self.builder.start_table();
        self.builder.push_slot(slot(0), code.min(CODE_PLACEHOLDER) as i8, 0);
        self.builder.push_slot(slot(2), version, 1);
        self.builder.push_slot(slot(3), code, 0);
        self.builder.end_table(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a file with one constant of every length up to 40.
    fn file(lengths: std::ops::Range<usize>) -> Vec<u8> {
        let tensors = lengths.map(|length| Tensor {
            name: format!("constant {length}"),
            shape: vec![length as i32],
            element_type: ElementType::UInt8,
            data: vec![0xA5; length],
            quantization: None,
        });
        encode("constants", &[Graph { tensors: tensors.collect(), ..Graph::default() }])
    }

    #[test]
    fn constants_are_aligned_and_the_length_is_too() {
        for last in 1..40 {
            let file = file(1..last);
            assert!(file.len().is_multiple_of(DATA_ALIGNMENT), "{last}");
            for length in 1..last {
                let pattern = [&(length as u32).to_le_bytes()[..], &vec![0xA5; length]].concat();
                let at = file.windows(pattern.len()).position(|window| window == pattern);
                let data = at.expect("the constant is in the file") + 4;
                assert!(data.is_multiple_of(DATA_ALIGNMENT), "{length} of {last}: at {data}");
            }
        }
    }

    #[test]
    fn equal_constants_share_a_buffer() {
        let (one, two) = (file(8..9), encode_twice());
        assert!(two.len() < one.len() + 200, "{} {}", one.len(), two.len());
        let count = |file: &[u8]| file.windows(64).filter(|w| w.iter().all(|&b| b == 0x5A)).count();
        assert_eq!(count(&two), 1);
    }

    fn encode_twice() -> Vec<u8> {
        let tensor = || Tensor {
            name: String::new(),
            shape: vec![64],
            element_type: ElementType::Int8,
            data: vec![0x5A; 64],
            quantization: None,
        };
        encode("", &[Graph { tensors: vec![tensor(), tensor()], ..Graph::default() }])
    }
}
