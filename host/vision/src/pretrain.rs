//! Pretraining: a network on many images of one task, from random weights.

use super::{
    Result,
    dataset::ImageSet,
    file::ImageNetwork,
    network::NetworkConfig,
    strategy::SCRATCH_RATE,
    trained_model::TrainedModel,
    training::{Settings, train},
};
use wakeling_data::text::file_name;

/// Number of training steps, unless other settings are given.
const STEPS: usize = 4_000;

/// Creates settings for pretraining, with a validation every 500 training steps. `rate` is the peak
/// learning rate.
pub fn settings(steps: usize, rate: f64, workers: usize, seed: u64) -> Settings {
    let mut settings = Settings::new(steps, rate, workers, seed);
    settings.run.validate_every = 500;
    settings.run.schedule.average_decay = 0.998;
    settings
}

/// Pretraining of a network on images. The fields can be changed before it is run.
///
/// ```no_run
/// use wakeling_vision::{
///     dataset::ImageSet, network::{NetworkConfig, Tier}, pretrain::Pretraining,
/// };
///
/// let config = NetworkConfig::new(Tier::M.width(), 32, 3);
/// let images = ImageSet::open("objects/train".as_ref(), None, config.shape())?;
/// let mut pretraining = Pretraining::new(config, images);
/// pretraining.settings.run.folder = Some("runs/objects".into());
/// let network = pretraining.run()?.network;
/// # Ok::<(), wakeling_vision::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pretraining {
    /// Shape of the network.
    pub network: NetworkConfig,
    images: ImageSet,
    /// Held-out images with the same size and labels, measured during and after training.
    pub held_out: Option<ImageSet>,
    /// Name of the network. Its form as a file name is used.
    pub name: String,
    /// Licence of the images, for the model's card.
    pub licence: String,
    /// Settings of the training. With `run.folder`, an interrupted run continues from its
    /// checkpoint there.
    pub settings: Settings,
}

impl Pretraining {
    /// Creates a pretraining with 4,000 training steps, seed 1, and no folder.
    pub fn new(network: NetworkConfig, images: ImageSet) -> Self {
        Self {
            network,
            images,
            held_out: None,
            name: "base".into(),
            licence: "unstated".into(),
            settings: settings(STEPS, SCRATCH_RATE, wakeling_train::default_workers(), 1),
        }
    }

    /// Trains, quantizes, and measures the model on the held-out images. Draws a bar on stderr, and
    /// writes a checkpoint and a log into the folder of the settings, if there is one.
    ///
    /// # Errors
    /// As [`train`] and [`quantize::encode`](crate::quantize::encode).
    pub fn run(&self) -> Result<TrainedModel> {
        let Self { images, settings, .. } = self;
        let config = self.network.clone();
        let seed = settings.run.seed;
        let mut network = ImageNetwork::fresh(config, images.labelling, &images.labels, seed)?;
        network.info.name = file_name(&self.name);
        network.info.provenance = format!(
            "pretrained on {} pictures of {} labels, {} updates of {} pictures",
            images.all.len(),
            images.labels.len(),
            settings.run.schedule.steps,
            settings.run.shards * settings.batch
        );
        network.info.licence = self.licence.clone();
        let held_out = self.held_out.as_ref();
        let network = train(network, images, held_out, settings)?;
        TrainedModel::new(network, settings)?.evaluated(held_out)
    }
}
