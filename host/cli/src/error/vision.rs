//! Remedies for the errors of datasets of images, of their networks and models, and of training
//! them.

use wakeling_vision::{Error, dataset::TABLE};

use super::{Advice, Advise};

/// Remedy for a dataset whose entries were skipped, each with a line.
const LINES_ABOVE: &str = "see the lines above";

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Data(error) => error.advice(),
            Self::Device(error) => error.advice(),
            Self::Nn(error) => error.advice(),
            Self::Train(error) => error.advice(),

            Self::NoSplit { .. } => Advice::input("give the folder of that part"),
            Self::FewClasses { .. } => Advice::input(format!(
                "give a folder with one folder of images per class, or with a {TABLE}"
            )),
            Self::ManyLabels { .. } => Advice::input("keep the ones that matter"),
            Self::OnlyPretrained { .. } => Advice::input("fine-tune it on fewer labels"),
            Self::NoUsableImage { .. } | Self::NothingReadable { .. } => Advice::input(LINES_ABOVE),
            Self::OtherLabels { .. } => {
                Advice::input("give images with the labels that the model was trained on")
            }
            Self::NotAnImage { .. } => {
                Advice::input("give a whole PNG, JPEG or BMP file, or remove this one")
            }
            Self::NoLabel => Advice::usage("give images with labels that are 1 or 0"),
            Self::FewImages { .. } => Advice::usage("ask for fewer"),

            Self::NotANetwork { .. } => Advice::input(
                "give a file that `wakeling images pretrain` or `finetune` of this version wrote",
            ),
            Self::OtherNetwork { .. } => {
                Advice::input("give the .safetensors that was written beside the model")
            }
            Self::GrayNetwork { .. } => {
                Advice::usage("leave --channels out, or start from a pretrained network for RGB")
            }
            Self::OtherSize { .. } => Advice::usage("open the images at the size of the network"),
            Self::OtherHeldOut => Advice::usage("read them with `ImageSet::open_like`"),

            Self::NoRange { .. } => Advice::usage("train it again"),
            Self::TooLarge { .. } => Advice::usage("use a smaller tier"),
            Self::NotAModel { .. } => Advice::input(
                "give a model that `wakeling images finetune` wrote, or copy the file again",
            ),
            Self::PixelBytes { .. } => Advice::usage("resize the image to the model's size"),
        }
    }
}
