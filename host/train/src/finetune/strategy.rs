//! Choice of what a fine-tuning run trains, and from where it starts.

use std::{
    fmt,
    ops::{Range, RangeInclusive},
    str::FromStr,
};

use crate::{Error, Result};
use wakeling_nn::backbone::BackboneConfig;

/// Number of recordings per keyword from which on `auto` fine-tunes the whole backbone.
pub const ENOUGH_TO_TUNE: usize = 50;

/// Layers that fine-tuning trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trainable {
    /// New heads only.
    Head,
    /// Heads and this many of the backbone's last blocks.
    Last(usize),
    /// All layers.
    All,
    /// Choice by the number of recordings.
    Auto,
}

impl FromStr for Trainable {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text, text.strip_prefix("last:").map(str::parse)) {
            ("head", _) => Ok(Self::Head),
            ("all", _) => Ok(Self::All),
            ("auto", _) => Ok(Self::Auto),
            (_, Some(Ok(blocks))) if blocks > 0 => Ok(Self::Last(blocks)),
            _ => Err("expected head, last:K with K from 1, all, or auto".into()),
        }
    }
}

impl fmt::Display for Trainable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("head"),
            Self::Last(blocks) => write!(f, "last:{blocks}"),
            Self::All => f.write_str("all"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl Trainable {
    /// Resolves [`Trainable::Auto`] by the number of different recordings of the rarest keyword, and returns the
    /// reason as a message. Other values are returned as they are.
    pub fn decide(self, recordings: usize) -> (Self, Option<String>) {
        match self {
            Self::Auto if recordings < ENOUGH_TO_TUNE => {
                let why = format!(
                    "training the head alone: {recordings} recordings are too few to fine-tune the backbone, which helps from {ENOUGH_TO_TUNE} on"
                );
                (Self::Head, Some(why))
            }
            Self::Auto => {
                let why = format!(
                    "training the head and the backbone, which takes some minutes: {recordings} recordings are enough"
                );
                (Self::All, Some(why))
            }
            chosen => (chosen, None),
        }
    }

    /// Returns the backbone's blocks to train; `None` means all blocks and the stem.
    pub(super) fn blocks(self, backbone: &BackboneConfig) -> Result<Option<Range<usize>>> {
        let count = backbone.dilations.len();
        match self {
            Self::Head | Self::Auto => Ok(Some(count..count)),
            Self::All => Ok(None),
            Self::Last(blocks) if blocks <= count => Ok(Some(count - blocks..count)),
            Self::Last(blocks) => Err(Error::FewBlocks { count, asked: blocks }),
        }
    }
}

/// Initialization of the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Pretrained weights; the learning-without-forgetting loss is added.
    Pretrained,
    /// Random weights with this percentage of the pretrained model's channels, to measure the
    /// benefit of pretraining.
    Scratch(u16),
}

/// Initialization and trained layers of a network for one or several keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Initialization of the backbone.
    pub init: Init,
    /// Layers that are trained.
    pub train: Trainable,
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "scratch" => Ok(Self { init: Init::Scratch(100), train: Trainable::All }),
            text => match (text.strip_prefix("scratch:").map(str::parse), text.parse()) {
                (Some(Ok(percent)), _) if WIDTHS.contains(&percent) => {
                    Ok(Self { init: Init::Scratch(percent), train: Trainable::All })
                }
                (None, Ok(train)) if train != Trainable::Auto => {
                    Ok(Self { init: Init::Pretrained, train })
                }
                _ => {
                    Err("expected scratch, scratch:PERCENT with 5 to 400, head, last:K or all"
                        .into())
                }
            },
        }
    }
}

/// Allowed widths of a network from scratch, in percent of the pretrained model's.
const WIDTHS: RangeInclusive<u16> = 5..=400;

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.init {
            Init::Scratch(100) => f.write_str("scratch"),
            Init::Scratch(percent) => write!(f, "scratch:{percent}"),
            Init::Pretrained => self.train.fmt(f),
        }
    }
}
