//! Tables of a TensorFlow Lite file, as far as a conversion needs them.
//!
//! Slots and types are those of `tensorflow/compiler/mlir/lite/schema/schema.fbs`. A file is
//! verified once; afterwards its offsets are within it.

#![allow(unsafe_code, reason = "the flatbuffers crate reads verified offsets without a check")]

use flatbuffers::{
    Follow, ForwardsUOffset, InvalidFlatbuffer, Table, Vector, Verifiable, Verifier,
    VerifierOptions,
};

/// Bytes before the root, of which the last four identify the format.
const IDENTIFIER: std::ops::Range<usize> = 4..8;

/// Offset of a slot in the vtable.
const fn offset(slot: u16) -> u16 {
    4 + 2 * slot
}

/// Declares tables: a name, and for each field its type and slot.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $slot:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>(Table<'a>);

        impl<'a> Follow<'a> for $name<'a> {
            type Inner = Self;

            // SAFETY: the caller promises that a verified table starts at `at`.
            unsafe fn follow(bytes: &'a [u8], at: usize) -> Self {
                // SAFETY: as above.
                Self(unsafe { Table::new(bytes, at) })
            }
        }

        impl<'a> $name<'a> {
            $(
                $(#[$field_doc])*
                pub fn $field(&self) -> Option<<$type as Follow<'a>>::Inner> {
                    // SAFETY: a value exists only in a verified file, and the verifier checked this
                    // field as this type.
                    unsafe { self.0.get::<$type>(offset($slot), None) }
                }
            )*

            /// Checks the fields of the table at `at`.
            fn verify(verifier: &mut Verifier<'_, '_>, at: usize) -> Result<(), InvalidFlatbuffer> {
                let table = verifier.visit_table(at)?;
                $(let table = table.visit_field::<$type>(stringify!($field), offset($slot), false)?;)*
                table.finish();
                Ok(())
            }
        }
    )*};
}

/// Tables whose fields are all that there is to check.
macro_rules! plain_tables {
    ($($name:ident)*) => {$(
        impl Verifiable for $name<'_> {
            fn run_verifier(
                verifier: &mut Verifier<'_, '_>,
                at: usize,
            ) -> Result<(), InvalidFlatbuffer> {
                Self::verify(verifier, at)
            }
        }
    )*};
}

type Offsets<'a, T> = ForwardsUOffset<Vector<'a, ForwardsUOffset<T>>>;
type Values<'a, T> = ForwardsUOffset<Vector<'a, T>>;

tables! {
    /// Whole file.
    Model {
        /// Version of the schema.
        version: u32 = 0,
        /// Kinds of operators.
        operator_codes: Offsets<'a, OperatorCode<'a>> = 1,
        /// Graphs; the first is the network.
        subgraphs: Offsets<'a, SubGraph<'a>> = 2,
        /// Data of the tensors.
        buffers: Offsets<'a, Buffer<'a>> = 4,
    }
    /// Kind of operator.
    OperatorCode {
        /// Kind, where it is below 127.
        deprecated_builtin_code: i8 = 0,
        /// Kind.
        builtin_code: i32 = 3,
    }
    /// Graph.
    SubGraph {
        /// Tensors.
        tensors: Offsets<'a, Tensor<'a>> = 0,
        /// Tensors that are inputs.
        inputs: Values<'a, i32> = 1,
        /// Tensors that are outputs.
        outputs: Values<'a, i32> = 2,
        /// Operators in the order of execution.
        operators: Offsets<'a, Operator<'a>> = 3,
    }
    /// Tensor.
    Tensor {
        /// Size of each axis.
        shape: Values<'a, i32> = 0,
        /// Type of the elements.
        element: i8 = 1,
        /// Index of the buffer with the data.
        buffer: u32 = 2,
        /// Name.
        name: ForwardsUOffset<&'a str> = 3,
        /// Quantization.
        quantization: ForwardsUOffset<Quantization<'a>> = 4,
    }
    /// Quantization of a tensor.
    Quantization {
        /// Scale of the tensor, or of each channel.
        scale: Values<'a, f32> = 2,
        /// Zero point of the tensor, or of each channel.
        zero_point: Values<'a, i64> = 3,
        /// Axis of the channels.
        axis: i32 = 6,
    }
    /// Operator.
    Operator {
        /// Index of the kind.
        opcode: u32 = 0,
        /// Tensors that it reads; −1 for one that is left out.
        inputs: Values<'a, i32> = 1,
        /// Tensors that it writes.
        outputs: Values<'a, i32> = 2,
        /// Type of the options.
        options_type: u8 = 3,
    }
    /// Data of a tensor.
    Buffer {
        /// The data.
        data: Values<'a, u8> = 0,
    }
    /// Options of a convolution.
    Conv2dOptions {
        /// 0 `SAME`, 1 `VALID`.
        padding: i8 = 0,
        /// Stride along the width.
        stride_w: i32 = 1,
        /// Stride along the height.
        stride_h: i32 = 2,
        /// Function after the convolution.
        activation: i8 = 3,
        /// Dilation along the width.
        dilation_w: i32 = 4,
        /// Dilation along the height.
        dilation_h: i32 = 5,
    }
    /// Options of a depthwise convolution.
    DepthwiseOptions {
        /// 0 `SAME`, 1 `VALID`.
        padding: i8 = 0,
        /// Stride along the width.
        stride_w: i32 = 1,
        /// Stride along the height.
        stride_h: i32 = 2,
        /// Number of outputs per channel.
        depth_multiplier: i32 = 3,
        /// Function after the convolution.
        activation: i8 = 4,
        /// Dilation along the width.
        dilation_w: i32 = 5,
        /// Dilation along the height.
        dilation_h: i32 = 6,
    }
    /// Options of a dense layer.
    FullyConnectedOptions {
        /// Function after the layer.
        activation: i8 = 0,
        /// Layout of the weights; 0 is the usual one.
        weights_format: i8 = 1,
    }
    /// Options of a concatenation.
    ConcatenationOptions {
        /// Axis.
        axis: i32 = 0,
        /// Function after it.
        activation: i8 = 1,
    }
    /// Options of a sum.
    AddOptions {
        /// Function after it.
        activation: i8 = 0,
    }
    /// Options of a slice.
    SliceOptions {
        /// Axes whose start is ignored.
        begin_mask: i32 = 0,
        /// Axes whose end is ignored.
        end_mask: i32 = 1,
        /// Axes of an ellipsis.
        ellipsis_mask: i32 = 2,
        /// Axes that are added.
        new_axis_mask: i32 = 3,
        /// Axes that are dropped.
        shrink_axis_mask: i32 = 4,
        /// Whether ends count from the starts.
        offset: bool = 5,
    }
    /// Options of a variable.
    VarHandleOptions {
        /// Name of the group.
        container: ForwardsUOffset<&'a str> = 0,
        /// Name of the variable.
        shared_name: ForwardsUOffset<&'a str> = 1,
    }
    /// Options of a graph that runs once.
    CallOnceOptions {
        /// Index of the graph.
        graph: i32 = 0,
    }
}

plain_tables! {
    Model OperatorCode SubGraph Tensor Quantization Buffer Conv2dOptions DepthwiseOptions
    FullyConnectedOptions ConcatenationOptions AddOptions SliceOptions VarHandleOptions
    CallOnceOptions
}

/// Slots of the options of an operator.
const OPTIONS_TYPE: u16 = 3;
const OPTIONS: u16 = 4;

/// Options of an operator.
#[derive(Clone, Copy, Debug)]
pub enum Options<'a> {
    /// None, or of an operator that a conversion does not need them of.
    None,
    /// Of a convolution.
    Conv2d(Conv2dOptions<'a>),
    /// Of a depthwise convolution.
    Depthwise(DepthwiseOptions<'a>),
    /// Of a dense layer.
    FullyConnected(FullyConnectedOptions<'a>),
    /// Of a concatenation.
    Concatenation(ConcatenationOptions<'a>),
    /// Of a sum.
    Add(AddOptions<'a>),
    /// Of a slice.
    Slice(SliceOptions<'a>),
    /// Of a graph that runs once.
    CallOnce(CallOnceOptions<'a>),
    /// Of a variable.
    VarHandle(VarHandleOptions<'a>),
}

/// Declares the types of options with their numbers in the schema.
macro_rules! options {
    ($($number:literal => $variant:ident($table:ident),)*) => {
        impl Verifiable for Operator<'_> {
            fn run_verifier(
                verifier: &mut Verifier<'_, '_>,
                at: usize,
            ) -> Result<(), InvalidFlatbuffer> {
                Self::verify(verifier, at)?;
                let table = verifier.visit_table(at)?;
                let table = table.visit_union::<u8, _>(
                    "options_type",
                    offset(OPTIONS_TYPE),
                    "options",
                    offset(OPTIONS),
                    false,
                    |number, verifier, at| match number {
                        $($number => verifier
                            .verify_union_variant::<ForwardsUOffset<$table<'_>>>(stringify!($table), at),)*
                        _ => Ok(()),
                    },
                )?;
                table.finish();
                Ok(())
            }
        }

        impl<'a> Operator<'a> {
            /// Options of the operator.
            pub fn options(&self) -> Options<'a> {
                match self.options_type() {
                    $(Some($number) => {
                        // SAFETY: the verifier checked the options as the table of this number.
                        let table = unsafe {
                            self.0.get::<ForwardsUOffset<$table<'a>>>(offset(OPTIONS), None)
                        };
                        table.map_or(Options::None, Options::$variant)
                    })*
                    _ => Options::None,
                }
            }
        }
    };
}

options! {
    1 => Conv2d(Conv2dOptions),
    2 => Depthwise(DepthwiseOptions),
    8 => FullyConnected(FullyConnectedOptions),
    10 => Concatenation(ConcatenationOptions),
    11 => Add(AddOptions),
    32 => Slice(SliceOptions),
    103 => CallOnce(CallOnceOptions),
    111 => VarHandle(VarHandleOptions),
}

/// Verifies a file, and returns its root. Returns `None` if the bytes are no TensorFlow Lite file.
///
/// # Errors
/// The first offset or length that is out of bounds.
pub fn root(bytes: &[u8]) -> Option<Result<Model<'_>, InvalidFlatbuffer>> {
    if bytes.get(IDENTIFIER) != Some(&b"TFL3"[..]) {
        return None;
    }
    // A table may be named many times, so what is read can be larger than the file.
    let limits = VerifierOptions {
        max_tables: 100_000,
        max_apparent_size: 1 << 26,
        ..VerifierOptions::default()
    };
    Some(flatbuffers::root_with_opts::<Model<'_>>(&limits, bytes))
}
