//! Result of a training: a float network and its int8 model, measured, as files.

use std::path::Path;

use serde_json::{Value, json};
use wakeling_shared::model::ImageModel;

use super::{
    Error, Result,
    dataset::ImageSet,
    evaluate::Evaluation,
    file::ImageNetwork,
    metrics::{Measured, measure},
    quantize, simulate,
    strategy::Trainable,
    training::Settings,
};
use wakeling_core::{files, progress::Progress};
pub use wakeling_train::finetune::MODEL_FILE;

/// Result of a [`Recipe`](crate::Recipe) or of a [`Pretraining`](crate::pretrain::Pretraining).
#[derive(Clone, Debug)]
pub struct TrainedModel {
    /// Float network, the checkpoint from which another fine-tuning can start.
    pub network: ImageNetwork,
    /// Model file for the device.
    pub model: Vec<u8>,
    /// Layers that were trained.
    pub trained: Trainable,
    /// Metrics on the held-out images; `None` without such images.
    pub evaluation: Option<Evaluation>,
    /// What was decided and why, a line each.
    pub messages: Vec<String>,
    /// What this crate adds to `settings.json`.
    record: Value,
}

impl TrainedModel {
    /// Quantizes a trained network. All its layers count as trained from random weights.
    ///
    /// # Errors
    /// As [`quantize::encode`].
    pub(crate) fn new(network: ImageNetwork, settings: &Settings) -> Result<Self> {
        let record = json!({
            "settings": settings.record(), "version": env!("CARGO_PKG_VERSION"),
        });
        Ok(Self {
            model: quantize::encode(&network)?,
            network,
            trained: Trainable::Scratch,
            evaluation: None,
            messages: Vec::new(),
            record,
        })
    }

    /// Sets the layers that were fine-tuned, and the reason for their choice.
    pub(crate) fn finetuned(mut self, trained: Trainable, messages: Vec<String>) -> Self {
        self.record["way"] = json!(trained.to_string());
        Self { trained, messages, ..self }
    }

    /// Measures the float network and the model on held-out images, if there are any.
    ///
    /// # Errors
    /// As [`Evaluation::of`].
    pub(crate) fn evaluated(mut self, held_out: Option<&ImageSet>) -> Result<Self> {
        if let Some(images) = held_out {
            let evaluation = Evaluation::of(&self.view()?, Some(&self.network), images)?;
            self.evaluation = Some(evaluation);
        }
        Ok(self)
    }

    /// Returns the model as the device loads it.
    ///
    /// # Errors
    /// [`Error::NotAModel`] if [`TrainedModel::model`] was replaced by bytes of no image model.
    pub fn view(&self) -> Result<ImageModel<'_>> {
        simulate::load(MODEL_FILE.as_ref(), &self.model)
    }

    /// Measures the int8 model on images with its size and labels.
    ///
    /// # Errors
    /// As [`TrainedModel::view`]; [`Error::PixelBytes`] if the images have another size.
    pub fn measure(&self, images: &ImageSet) -> Result<Measured> {
        Ok(measure(images, &simulate::logits(&self.view()?, images)?))
    }

    /// Formats the costs of the model on a device: multiply-accumulates, and bytes of model and
    /// memory.
    ///
    /// # Errors
    /// As [`TrainedModel::view`].
    pub fn costs(&self) -> Result<String> {
        let model = self.view()?;
        let shape = model.shape;
        Ok(format!(
            "{} × {} × {}: {:.2} M multiply-accumulates an image, {} bytes of model, {} bytes of memory (arena)",
            shape.height,
            shape.width,
            shape.channels,
            model.macs() as f64 / 1e6,
            self.model.len(),
            model.arena_bytes()
        ))
    }

    /// Writes `NAME.safetensors`, `settings.json` and `model.wkl` into a folder. The JSON object
    /// `record` describes the data in `settings.json`. Each file is written atomically, the model
    /// last. Reports the costs of the model to `progress` as a line.
    ///
    /// # Errors
    /// [`Error::Core`] if a file cannot be written.
    pub fn save(&self, folder: &Path, mut record: Value, progress: &dyn Progress) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        self.network.save(&folder.join(format!("{}.safetensors", self.network.info.name)))?;
        for (key, value) in self.record.as_object().into_iter().flatten() {
            record[key] = value.clone();
        }
        files::write_atomic(folder.join("settings.json"), format!("{record:#}\n").as_bytes())?;
        files::write_atomic(folder.join(MODEL_FILE), &self.model)?;
        progress.line(&self.costs()?);
        Ok(())
    }
}
