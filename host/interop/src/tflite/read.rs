//! Reads a TensorFlow Lite file into graphs of operators on tensors.
//!
//! Every index and length is checked here, so that a conversion can rely on them.

use flatbuffers::{Follow, Vector};

use super::table::{self, Buffer, Model, SubGraph};

pub use super::table::Options;

/// Largest file that is read, in bytes. A network for a microcontroller is far smaller.
pub const MAX_BYTES: usize = 1 << 24;

/// Error of the structure of a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// File without the identifier of the format.
    #[error("not a TensorFlow Lite model (no TFL3 at byte 4)")]
    Identifier,
    /// File that is larger than any that is supported.
    #[error("{bytes} bytes; a streaming model has at most {MAX_BYTES}")]
    TooLarge {
        /// Length of the file.
        bytes: usize,
    },
    /// Offset or length that is out of bounds.
    #[error("damaged: {}", first_line(.0))]
    Offsets(flatbuffers::InvalidFlatbuffer),
    /// Index of something that the file lacks.
    #[error("damaged: {0}")]
    Index(String),
}

/// Returns the first line of an error, without the places that led there.
fn first_line(error: &flatbuffers::InvalidFlatbuffer) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Kind of an operator: its number in the schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OpKind(pub i32);

/// Declares kinds of operators with their names.
macro_rules! op_kinds {
    ($($name:ident = $number:literal,)*) => {
        #[allow(missing_docs, reason = "names of the schema")]
        impl OpKind {
            $(pub const $name: Self = Self($number);)*
        }

        impl std::fmt::Display for OpKind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(number) => write!(f, "operator {number}"),
                }
            }
        }
    };
}

op_kinds! {
    ADD = 0,
    AVERAGE_POOL_2D = 1,
    CONCATENATION = 2,
    CONV_2D = 3,
    DEPTHWISE_CONV_2D = 4,
    DEQUANTIZE = 6,
    FULLY_CONNECTED = 9,
    LOGISTIC = 14,
    LSTM = 16,
    MAX_POOL_2D = 17,
    MUL = 18,
    RELU = 19,
    RELU6 = 21,
    RESHAPE = 22,
    SOFTMAX = 25,
    SVDF = 27,
    TANH = 28,
    CUSTOM = 32,
    PAD = 34,
    GATHER = 36,
    TRANSPOSE = 39,
    MEAN = 40,
    SUB = 41,
    SQUEEZE = 43,
    UNIDIRECTIONAL_SEQUENCE_LSTM = 44,
    STRIDED_SLICE = 45,
    SPLIT = 49,
    PACK = 83,
    UNPACK = 88,
    LEAKY_RELU = 98,
    SPLIT_V = 102,
    QUANTIZE = 114,
    HARD_SWISH = 117,
    WHILE = 119,
    BATCH_MATMUL = 126,
    EXPAND_DIMS = 70,
    CALL_ONCE = 129,
    VAR_HANDLE = 142,
    READ_VARIABLE = 143,
    ASSIGN_VARIABLE = 144,
}

/// Types of elements: their numbers in the schema.
pub mod element {
    /// `i32`.
    pub const INT32: i8 = 2;
    /// `u8`.
    pub const UINT8: i8 = 3;
    /// `i8`.
    pub const INT8: i8 = 9;
    /// Handle of a variable.
    pub const RESOURCE: i8 = 13;
}

/// File with its graphs.
#[derive(Debug)]
pub struct File<'a> {
    /// The graphs; the first is the network.
    pub graphs: Vec<Graph<'a>>,
}

/// Graph of operators on tensors.
#[derive(Debug)]
pub struct Graph<'a> {
    /// The tensors.
    pub tensors: Vec<Tensor<'a>>,
    /// Indices of the inputs.
    pub inputs: Vec<usize>,
    /// Indices of the outputs.
    pub outputs: Vec<usize>,
    /// The operators in the order of execution.
    pub operators: Vec<Operator<'a>>,
}

/// Tensor.
#[derive(Debug)]
pub struct Tensor<'a> {
    /// Name.
    pub name: &'a str,
    /// Size of each axis, none negative.
    pub shape: Vec<usize>,
    /// Type of the elements, one of [`element`].
    pub element: i8,
    /// Data of a constant, little-endian; empty for others.
    pub data: &'a [u8],
    /// Scale of the tensor, or of each channel.
    pub scales: Vec<f32>,
    /// Zero point of the tensor, or of each channel.
    pub zero_points: Vec<i64>,
    /// Axis of the channels.
    pub axis: i32,
}

/// Operator.
pub struct Operator<'a> {
    /// Kind.
    pub kind: OpKind,
    /// Indices of the tensors that it reads; `None` for one that is left out.
    pub inputs: Vec<Option<usize>>,
    /// Indices of the tensors that it writes.
    pub outputs: Vec<usize>,
    /// Options.
    pub options: Options<'a>,
}

impl std::fmt::Debug for OpKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Debug for Operator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} -> {:?}", self.kind, self.inputs, self.outputs)
    }
}

/// Reads a file.
///
/// # Errors
/// [`ReadError`], for a file that is none or damaged.
pub fn read(bytes: &[u8]) -> Result<File<'_>, ReadError> {
    if bytes.len() > MAX_BYTES {
        return Err(ReadError::TooLarge { bytes: bytes.len() });
    }
    let model = table::root(bytes).ok_or(ReadError::Identifier)?.map_err(ReadError::Offsets)?;
    let kinds: Vec<OpKind> = items(model.operator_codes())
        .map(|code| {
            // Newer files have the kind twice, the old place with at most 127.
            let old = code.deprecated_builtin_code().unwrap_or(0).into();
            OpKind(code.builtin_code().unwrap_or(0).max(old))
        })
        .collect();
    let buffers: Vec<_> = items(model.buffers()).collect();
    let graphs = items(model.subgraphs()).map(|graph| self::graph(&graph, &kinds, &buffers));
    let graphs = graphs.collect::<Result<Vec<_>, _>>()?;
    if graphs.is_empty() {
        return Err(ReadError::Index("there is no graph".into()));
    }
    let _: Option<u32> = Model::version(&model);
    Ok(File { graphs })
}

/// Iterates over a vector that may be absent.
fn items<'a, T: Follow<'a> + 'a>(vector: Option<Vector<'a, T>>) -> impl Iterator<Item = T::Inner> {
    vector.into_iter().flatten()
}

fn graph<'a>(
    graph: &SubGraph<'a>,
    kinds: &[OpKind],
    buffers: &[Buffer<'a>],
) -> Result<Graph<'a>, ReadError> {
    let tensors = items(graph.tensors()).map(|t| tensor(&t, buffers));
    let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    let index = |index: i32| {
        let found = usize::try_from(index).ok().filter(|&index| index < tensors.len());
        found.ok_or_else(|| ReadError::Index(format!("there is no tensor {index}")))
    };
    let operators = items(graph.operators()).map(|operator| {
        let opcode = operator.opcode().unwrap_or(0);
        let kind = usize::try_from(opcode).ok().and_then(|opcode| kinds.get(opcode));
        let kind =
            *kind.ok_or_else(|| ReadError::Index(format!("there is no operator code {opcode}")))?;
        let input = |at: i32| if at == -1 { Ok(None) } else { index(at).map(Some) };
        Ok(Operator {
            kind,
            inputs: items(operator.inputs()).map(input).collect::<Result<_, _>>()?,
            outputs: items(operator.outputs()).map(index).collect::<Result<_, _>>()?,
            options: operator.options(),
        })
    });
    Ok(Graph {
        operators: operators.collect::<Result<_, ReadError>>()?,
        inputs: items(graph.inputs()).map(index).collect::<Result<_, _>>()?,
        outputs: items(graph.outputs()).map(index).collect::<Result<_, _>>()?,
        tensors,
    })
}

fn tensor<'a>(tensor: &table::Tensor<'a>, buffers: &[Buffer<'a>]) -> Result<Tensor<'a>, ReadError> {
    let name = tensor.name().unwrap_or_default();
    let buffer = tensor.buffer().unwrap_or(0);
    let found = usize::try_from(buffer).ok().and_then(|buffer| buffers.get(buffer));
    let found = found.ok_or_else(|| {
        ReadError::Index(format!("tensor {name:?} is in buffer {buffer}, which does not exist"))
    })?;
    let shape = items(tensor.shape()).map(|size| {
        let negative = |_| ReadError::Index(format!("tensor {name:?} has an axis of size {size}"));
        usize::try_from(size).map_err(negative)
    });
    let quantization = tensor.quantization();
    Ok(Tensor {
        name,
        shape: shape.collect::<Result<_, _>>()?,
        element: tensor.element().unwrap_or(0),
        data: found.data().map(|data| data.bytes()).unwrap_or_default(),
        scales: quantization.and_then(|q| q.scale()).into_iter().flatten().collect(),
        zero_points: quantization.and_then(|q| q.zero_point()).into_iter().flatten().collect(),
        axis: quantization.and_then(|q| q.axis()).unwrap_or(0),
    })
}

impl Tensor<'_> {
    /// Returns the `i32` elements of a constant, as many as the shape has; `None` otherwise.
    pub fn i32_values(&self) -> Option<Vec<i32>> {
        let (words, rest) = self.data.as_chunks::<4>();
        let sound = self.element == element::INT32
            && rest.is_empty()
            && Some(words.len()) == self.elements();
        sound.then(|| words.iter().map(|&word| i32::from_le_bytes(word)).collect())
    }

    /// Returns the `i8` elements of a constant, as many as the shape has; `None` otherwise.
    pub fn i8_values(&self) -> Option<Vec<i8>> {
        let sound = self.element == element::INT8 && Some(self.data.len()) == self.elements();
        sound.then(|| self.data.iter().map(|&byte| byte as i8).collect())
    }

    /// Number of elements; `None` if it is larger than any file.
    pub fn elements(&self) -> Option<usize> {
        let product =
            self.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        product.filter(|&elements| elements <= MAX_BYTES)
    }
}
