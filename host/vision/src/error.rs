//! Errors of datasets of images, of their networks and models, and of training them.

use std::path::PathBuf;

use wakeling_data::text::quoted;
use wakeling_shared::model::{LoadError, MAX_KEYWORDS, Shape};

/// Error of this crate.
///
/// ```
/// use wakeling_shared::model::Shape;
/// use wakeling_vision::{Error, Labelling, compare::sample, dataset::ImageSet};
///
/// let shape = Shape { height: 16, width: 16, channels: 1 };
/// let none = ImageSet { shape, labelling: Labelling::OneOf, labels: vec![], all: vec![] };
/// let error = sample(&none, 5, 1).unwrap_err();
/// assert!(matches!(error, Error::FewImages { asked: 5, available: 0 }));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of a table of labels.
    #[error(transparent)]
    Data(#[from] wakeling_data::Error),
    /// Error of a model file or a simulated device.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),
    /// Error of a network.
    #[error(transparent)]
    Nn(#[from] wakeling_nn::Error),
    /// Error of the training loop.
    #[error(transparent)]
    Train(#[from] wakeling_train::Error),

    /// Split of a folder of class folders, which has none.
    #[error("{}: a folder of class folders has no split {split:?}", path.display())]
    NoSplit {
        /// The folder.
        path: PathBuf,
        /// Name of the split.
        split: String,
    },
    /// Dataset with fewer than two classes.
    #[error("{}: {count} folders with images, and 2 classes are the minimum", path.display())]
    FewClasses {
        /// The folder.
        path: PathBuf,
        /// Number of folders with images.
        count: usize,
    },
    /// Dataset with more labels than a model, or a network that is pretrained, holds.
    #[error("{}: {count} labels, and {most} are the maximum here", path.display())]
    ManyLabels {
        /// The dataset.
        path: PathBuf,
        /// Number of labels.
        count: usize,
        /// Maximum number of labels.
        most: usize,
    },
    /// Network with more labels than a model for a device holds.
    #[error("the network has {count} labels, and a model for a device holds {MAX_KEYWORDS}")]
    OnlyPretrained {
        /// Number of labels.
        count: usize,
    },
    /// Dataset without an entry that can be used.
    #[error("{}: no usable image in it", path.display())]
    NoUsableImage {
        /// The dataset.
        path: PathBuf,
    },
    /// Dataset of which no image can be read.
    #[error("{}: no image in it can be read", path.display())]
    NothingReadable {
        /// The dataset.
        path: PathBuf,
    },
    /// Dataset with other labels than the model.
    #[error("{}: its labels are {}, the model's {}", path.display(), list(found), list(expected))]
    OtherLabels {
        /// The dataset.
        path: PathBuf,
        /// Labels of the dataset.
        found: Vec<String>,
        /// Labels of the model.
        expected: Vec<String>,
    },
    /// File that is not an image of a supported format, is damaged, or is too large.
    #[error("{}: {problem}", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Images without any known label.
    #[error("no image has a label")]
    NoLabel,
    /// More images asked for than there are.
    #[error("{asked} images requested, {available} available")]
    FewImages {
        /// Number of images asked for.
        asked: usize,
        /// Number of images.
        available: usize,
    },

    /// File that is not a network over images of this version.
    #[error("{}: {problem}", path.display())]
    NotANetwork {
        /// The file.
        path: PathBuf,
        /// What is missing or differs.
        problem: String,
    },
    /// Float network that is not that of the model.
    #[error("{}: a network of another size, or with other labels than the model", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
    },
    /// Pretrained network for gray images, for images with colours.
    #[error("the pretrained network {name:?} has one channel, gray")]
    GrayNetwork {
        /// Name of the network.
        name: String,
    },
    /// Images of another size than the pretrained network takes.
    #[error("images of {}, and the network takes {}", size(found), size(expected))]
    OtherSize {
        /// Size of the images.
        found: Shape,
        /// Size that the network takes.
        expected: Shape,
    },
    /// Held-out images of another size or with other labels than the others.
    #[error("the held-out images have another size or other labels")]
    OtherHeldOut,

    /// Network without the range of a layer.
    #[error("the network has no range for {layer}")]
    NoRange {
        /// Name of the layer.
        layer: String,
    },
    /// Network that is too large for the device.
    #[error("no device would load this network: {problem}")]
    TooLarge {
        /// What there is too much of.
        problem: String,
    },
    /// File that is not a model for images.
    #[error("{}: {reason}", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// Why it is rejected.
        reason: LoadError,
    },
    /// Image of another size than the model takes.
    #[error("the model takes {expected} bytes of pixels")]
    PixelBytes {
        /// Number of bytes that the model takes.
        expected: usize,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Data, Device, Nn, Train);

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Core(error.into())
    }
}

/// Formats names in quotation marks.
fn list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name).to_string()).collect::<Vec<_>>().join(", ")
}

/// Formats the size of an image.
fn size(shape: &Shape) -> String {
    format!("{} × {} × {}", shape.height, shape.width, shape.channels)
}
