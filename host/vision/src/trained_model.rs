//! Result of a training: a float network and its int8 model, measured, as files.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wakeling_shared::model::{ImageModel, MAX_KEYWORDS};

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
    /// Model file for the device; `None` for a pretrained network of more labels than a model
    /// holds, which is only a start for fine-tuning.
    pub model: Option<Vec<u8>>,
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
    /// Quantizes a trained network, if its labels fit a model. All its layers count as trained from
    /// random weights.
    ///
    /// # Errors
    /// As [`quantize::encode`].
    pub(crate) fn new(network: ImageNetwork, settings: &Settings) -> Result<Self> {
        let record = json!({
            "settings": settings.record(), "version": env!("CARGO_PKG_VERSION"),
        });
        let fits = network.info.labels.len() <= MAX_KEYWORDS;
        Ok(Self {
            model: fits.then(|| quantize::encode(&network)).transpose()?,
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
            let evaluation = {
                let model = self.model.as_ref().map(|_| self.view()).transpose()?;
                Evaluation::of(model.as_ref(), Some(&self.network), images)?
            };
            self.evaluation = Some(evaluation);
        }
        Ok(self)
    }

    /// Returns the model as the device loads it.
    ///
    /// # Errors
    /// [`Error::OnlyPretrained`] if there is no model; [`Error::NotAModel`] if
    /// [`TrainedModel::model`] was replaced by bytes of no image model.
    pub fn view(&self) -> Result<ImageModel<'_>> {
        simulate::load(MODEL_FILE.as_ref(), self.bytes()?)
    }

    fn bytes(&self) -> Result<&[u8]> {
        let count = self.network.info.labels.len();
        self.model.as_deref().ok_or(Error::OnlyPretrained { count })
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
            self.bytes()?.len(),
            model.arena_bytes()
        ))
    }

    /// Writes `NAME.safetensors`, `settings.json` and, if there is a model, `model.wkl` into a
    /// folder. The JSON object `record` describes the data in `settings.json`. Each file is written
    /// atomically, the model last. Reports the costs of the model to `progress` as a line. Returns
    /// the path of what was written last: of the model, else of the network.
    ///
    /// # Errors
    /// [`Error::Core`] if a file cannot be written.
    pub fn save(
        &self,
        folder: &Path,
        mut record: Value,
        progress: &dyn Progress,
    ) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        let network = folder.join(format!("{}.safetensors", self.network.info.name));
        self.network.save(&network)?;
        for (key, value) in self.record.as_object().into_iter().flatten() {
            record[key] = value.clone();
        }
        files::write_atomic(folder.join("settings.json"), format!("{record:#}\n").as_bytes())?;
        let Some(model) = &self.model else { return Ok(network) };
        let path = folder.join(MODEL_FILE);
        files::write_atomic(&path, model)?;
        progress.line(&self.costs()?);
        Ok(path)
    }
}
