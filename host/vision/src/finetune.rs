//! Fine-tuning: the whole recipe, from a pretrained network and few images to a model file.

use super::{
    Error, Result,
    augment::Augment,
    dataset::ImageSet,
    file::ImageNetwork,
    network::NetworkConfig,
    strategy::Trainable,
    trained_model::TrainedModel,
    training::{self, train_with_progress},
};
use wakeling_core::progress::Progress;
use wakeling_data::text::file_name;

/// Settings of a fine-tuning run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of training steps, from 1.
    pub steps: usize,
    /// Peak learning rate; `None` for [`Trainable::rate`].
    pub rate: Option<f64>,
    /// Images in each half of a training step.
    pub batch: usize,
    /// Augmentation of the images.
    pub augment: Augment,
    /// Number of worker threads, of which training uses up to two; the result does not depend on it.
    pub workers: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: 300,
            rate: None,
            batch: 32,
            augment: Augment::default(),
            workers: wakeling_train::default_workers(),
            seed: 1,
        }
    }
}

impl Settings {
    /// Returns the settings of the training loop.
    fn training(&self, train: Trainable, network: &NetworkConfig) -> training::Settings {
        let rate = self.rate.unwrap_or(train.rate());
        training::Settings {
            batch: self.batch,
            augment: self.augment,
            first_trained: train.first_trained(network),
            ..training::Settings::new(self.steps, rate, self.workers, self.seed)
        }
    }
}

/// Fine-tuning of a pretrained network on images. The fields can be changed before it is run.
///
/// ```no_run
/// use wakeling_core::progress::Bars;
/// use wakeling_vision::{Recipe, dataset::ImageSet, shipped};
///
/// let pretrained = shipped::pretrained_images(shipped::DEFAULT_PRETRAINED_IMAGES)?;
/// let gray = pretrained.shape_with(Some(1))?;
/// let images = ImageSet::open("xrays/train".as_ref(), None, gray)?;
/// let mut recipe = Recipe::new(pretrained, images)?;
/// recipe.settings.seed = 7;
/// let result = recipe.run(&Bars::default())?;
/// result.save("runs/xray".as_ref(), serde_json::json!({}), &Bars::default())?;
/// # Ok::<(), wakeling_vision::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Pretrained network.
    pub pretrained: ImageNetwork,
    images: ImageSet,
    /// Held-out images, on which the result is measured.
    pub held_out: Option<ImageSet>,
    /// Layers to train; `None` for a choice by the number of images, [`Trainable::decide`].
    pub train: Option<Trainable>,
    /// Name of the new network. Its form as a file name is used.
    pub name: String,
    /// Settings of the training.
    pub settings: Settings,
}

impl Recipe {
    /// Creates the recipe with default settings, the name `image` and no held-out images. Gray
    /// images on a network for RGB are allowed.
    ///
    /// # Errors
    /// [`Error::GrayNetwork`] or [`Error::OtherSize`] if the network does not take images of these
    /// channels or this size.
    pub fn new(pretrained: ImageNetwork, images: ImageSet) -> Result<Self> {
        let expected = pretrained.shape_with(Some(images.shape.channels.into()))?;
        if images.shape != expected {
            return Err(Error::OtherSize { found: images.shape, expected });
        }
        Ok(Self {
            pretrained,
            images,
            held_out: None,
            train: None,
            name: "image".into(),
            settings: Settings::default(),
        })
    }

    /// Trains, quantizes, and measures the model on the held-out images. Reports messages and
    /// progress, and stops at the next training step after `progress` is cancelled. Nothing is
    /// written.
    ///
    /// # Errors
    /// [`Error::NoLabel`], [`Error::OtherHeldOut`], or an error for which [`Error::is_cancelled`]
    /// is `true`.
    pub fn run(&self, progress: &dyn Progress) -> Result<TrainedModel> {
        self.check_held_out()?;
        let (trained, messages) = self.decide();
        messages.iter().for_each(|line| progress.line(line));
        progress.check()?;
        let network = self.initial(trained)?;
        let settings = self.settings.training(trained, &network.info.network);
        let held_out = self.held_out.as_ref();
        let network = train_with_progress(network, &self.images, held_out, &settings, progress)?;
        let model = TrainedModel::new(network, &settings)?.finetuned(trained, messages);
        progress.check()?;
        model.evaluated(held_out)
    }

    fn check_held_out(&self) -> Result<()> {
        let is_other = |held_out: &ImageSet| {
            held_out.shape != self.images.shape || held_out.labels != self.images.labels
        };
        if self.held_out.as_ref().is_some_and(is_other) {
            return Err(Error::OtherHeldOut);
        }
        Ok(())
    }

    /// Resolves the layers to train, and returns the reason.
    fn decide(&self) -> (Trainable, Vec<String>) {
        match self.train {
            Some(train) => (train, Vec::new()),
            None => {
                let (train, reason) = Trainable::decide(self.images.rarest());
                (train, vec![reason])
            }
        }
    }

    /// Creates the network before training, with its final metadata.
    fn initial(&self, train: Trainable) -> Result<ImageNetwork> {
        let Self { pretrained, images, settings, .. } = self;
        let channels = images.shape.channels.into();
        let mut network =
            pretrained.transferred(images.labelling, &images.labels, channels, settings.seed)?;
        let mut start = pretrained.info.name.as_str();
        if train == Trainable::Scratch {
            let config = network.info.network;
            network = ImageNetwork::fresh(config, images.labelling, &images.labels, settings.seed)?;
            network.info.licence = "unstated".into();
            start = "random weights";
        }
        network.info.name = file_name(&self.name);
        network.info.provenance = format!(
            "{} pictures of {} labels, {} updates from {start} ({})",
            images.all.len(),
            images.labels.len(),
            settings.steps,
            pretrained.info.provenance
        );
        Ok(network)
    }
}
