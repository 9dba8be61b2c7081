//! Networks over whole images: pictures → augmented batches → training → int8 → evaluation.
//!
//! The training loop, the optimizer, the quantizer's arithmetic, the model file and the engine are
//! those of sound; what differs is here, in the order in which a picture meets it.

pub mod corpus;
pub mod picture;

pub mod augment;
pub mod network;
pub mod training;

pub mod file;
pub mod quantize;

pub mod evaluate;
pub mod metrics;
pub mod simulate;

pub mod compare;

pub mod advise;

use serde::{Deserialize, Serialize};

/// How the labels of a picture go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labelling {
    /// Exactly one label is right: softmax.
    OneOf,
    /// Each label is right or not, or it is unknown: one logistic loss a label that is there.
    Several,
}

/// What a picture's labels say, in the order of the labels; `None` where nobody knows.
pub type Answers = Vec<Option<bool>>;
