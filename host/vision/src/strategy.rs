//! Choice of what a fine-tuning run trains, and from where it starts.

use std::fmt;

use super::network::NetworkConfig;
use wakeling_core::choice::Choice;

/// Number of images of the rarest label below which only the head is trained.
const FEW_IMAGES: usize = 10;

/// Initialization and trained layers of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trainable {
    /// Random weights, all layers trained.
    Scratch,
    /// Pretrained weights, only the head trained.
    Head,
    /// Pretrained weights, the head and the last two blocks trained.
    Last,
    /// Pretrained weights, all layers trained.
    All,
}

wakeling_core::choices!(Trainable {
    Scratch: "scratch", "Random weights, all layers trained";
    Head: "head", "Pretrained weights, only the head trained";
    Last: "last", "Pretrained weights, the head and the last two blocks trained";
    All: "all", "Pretrained weights, all layers trained";
});

impl fmt::Display for Trainable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choice = Self::CHOICES.iter().find(|(value, ..)| value == self);
        f.write_str(choice.map_or("", |(_, name, _)| name))
    }
}

impl Trainable {
    /// Selects the layers to train by the number of images of the rarest label, and returns the
    /// reason as a message: below 10 the head alone, else all layers.
    pub fn decide(rarest: usize) -> (Self, String) {
        if rarest < FEW_IMAGES {
            let reason = format!(
                "training the head alone: the rarest label has {rarest} images; below {FEW_IMAGES} more layers would overfit"
            );
            (Self::Head, reason)
        } else {
            (Self::All, format!("training all layers: the rarest label has {rarest} images"))
        }
    }

    /// Returns the index of the first part that is trained.
    pub fn first_trained(self, network: &NetworkConfig) -> usize {
        match self {
            Self::Scratch | Self::All => 0,
            Self::Head => network.parts() - 1,
            Self::Last => network.parts().saturating_sub(3),
        }
    }

    /// Returns the peak learning rate for this strategy.
    pub fn rate(self) -> f64 {
        match self {
            Self::Scratch => SCRATCH_RATE,
            Self::Head => HEAD_RATE,
            Self::Last | Self::All => TUNING_RATE,
        }
    }
}

/// Peak learning rate for random weights.
pub const SCRATCH_RATE: f64 = 4e-3;
/// Peak learning rate for a head alone.
pub const HEAD_RATE: f64 = 1e-2;
/// Peak learning rate for pretrained layers.
pub const TUNING_RATE: f64 = 2e-3;
