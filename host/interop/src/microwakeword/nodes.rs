//! Network as a list of nodes over streams of columns, between a graph of TensorFlow Lite and the
//! layers of a model here.
//!
//! A streaming graph computes one step on a few new columns, and keeps older columns in variables. A
//! [`Columns`] names the columns that a tensor holds, whatever variables and slices made it.

use std::ops::Range;

/// Columns of a stream, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Index of the stream's node.
    pub stream: usize,
    /// Number of columns.
    pub count: usize,
    /// Number of newer columns, which are left out.
    pub lag: usize,
    /// Channels of each column.
    pub channels: Range<usize>,
    /// Value of the columns before the first.
    pub initial: Option<i8>,
}

impl Columns {
    /// Number of channels.
    pub fn width(&self) -> usize {
        self.channels.len()
    }

    /// Number of columns up to the newest.
    pub fn reach(&self) -> usize {
        self.count + self.lag
    }
}

/// Scale and zero point of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Value of one step.
    pub scale: f32,
    /// Value that represents 0, from −128 to 127. An `u8` counts as the `i8` that is 128 less.
    pub zero_point: i32,
}

/// Stream of columns, and what computes its newest.
#[derive(Clone, Debug)]
pub struct Node {
    /// Operator or tensor, for messages.
    pub place: String,
    /// Number of new columns in a step.
    pub rate: usize,
    /// Number of channels.
    pub width: usize,
    /// Quantization of the channels.
    pub quantization: Quantization,
    /// What computes it.
    pub op: NodeOp,
}

/// What computes a stream.
#[derive(Clone, Debug)]
pub enum NodeOp {
    /// The features.
    Input,
    /// Every output from every element.
    Dense {
        /// The elements.
        input: Columns,
        /// Weights, biases and scales: outputs by elements, oldest column first.
        affine: Affine,
    },
    /// Every output from the taps of one channel; groups of channels one after another.
    Depthwise {
        /// The groups.
        groups: Vec<Group>,
    },
    /// Sum of two streams.
    Add {
        /// The streams.
        inputs: [Columns; 2],
    },
    /// Function of each element.
    Table {
        /// The elements.
        input: Columns,
        /// Value of each `i8`, from −128 on.
        table: Box<[i8; 256]>,
    },
    /// Channels of several streams one after another.
    Join {
        /// The streams.
        inputs: Vec<Columns>,
    },
}

/// Channels of a depthwise layer with taps of their own.
#[derive(Clone, Debug)]
pub struct Group {
    /// The columns that the taps are among.
    pub input: Columns,
    /// Age of each tap's column, 0 for the newest, oldest first.
    pub ages: Vec<usize>,
    /// Weights, biases and scales: taps by channels, oldest first.
    pub affine: Affine,
}

/// Weights, biases and scales as the device computes with them.
#[derive(Clone, Debug)]
pub struct Affine {
    /// Weights.
    pub weights: Vec<i8>,
    /// Biases with the input's zero point folded in.
    pub biases: Vec<i32>,
    /// Multipliers of `TfliteAffine`.
    pub multipliers: Vec<i32>,
    /// Shifts of `TfliteAffine`.
    pub shifts: Vec<i32>,
}
