#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod error;

pub mod dataset;
pub mod pixels;

pub mod augment;
pub mod network;
pub mod training;

pub mod file;
pub mod quantize;

pub mod evaluate;
pub mod metrics;
pub mod simulate;

pub mod finetune;
pub mod pretrain;
pub mod strategy;
pub mod trained_model;

pub mod compare;
pub mod plan;
pub mod shipped;

pub mod advise;

pub use error::{Error, Result};
pub use finetune::Recipe;
use serde::{Deserialize, Serialize};

/// Relation between the labels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labelling {
    /// Exactly one label is right: softmax.
    OneOf,
    /// Each label is right, wrong or unknown: one logistic loss per known label.
    Several,
}

/// Value of each label of an image, in the order of the labels; `None` if unknown.
pub type Answers = Vec<Option<bool>>;
