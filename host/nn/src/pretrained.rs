//! Pretrained model: a backbone, and everything that fine-tuning needs.
//!
//! One safetensors file. The metadata entry `base` is a JSON [`PretrainedMetadata`].

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    INPUT_SCALE,
    backbone::{BackboneConfig, BackboneNetwork},
    mode::Mode,
    params::Params,
};
use wakeling_audio::features::{FrontendTables, NormalizationKind};

use crate::{Error, Result};
use wakeling_data::{mixing::MelStream, tokens::Vocabulary};

/// Metadata of a pretrained model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PretrainedMetadata {
    /// Format of this record; only [`PRETRAINED_FORMAT`] is supported.
    pub format: u32,
    /// Name, such as `base-m`.
    pub name: String,
    /// Shape of the backbone.
    #[serde(rename = "trunk")]
    pub backbone: BackboneConfig,
    /// Normalization of the features.
    pub normalization: NormalizationKind,
    /// Tokens of the CTC head; empty if there is no such head.
    pub tokens: Vocabulary,
    /// Words of the word head; empty if there is no such head.
    pub words: Vocabulary,
    /// Lower and upper end of each activation, from calibration, by layer name; see `quantize`.
    pub ranges: Vec<(String, f32, f32)>,
    /// One sentence on the training data and method.
    pub provenance: String,
    /// SPDX expression for the licence of the weights.
    pub licence: String,
}

impl PretrainedMetadata {
    /// Hours of training speech, parsed from the start of the provenance; `None` if it has no such
    /// number.
    pub fn hours(&self) -> Option<f64> {
        let (hours, _) = self.provenance.split_once(" hours ")?;
        hours.trim().parse().ok().filter(|h: &f64| h.is_finite())
    }
}

/// Version of the format that is written and read.
pub const PRETRAINED_FORMAT: u32 = 1;
/// Metadata key of the record.
const KEY: &str = "base";

/// Pretrained model in memory.
#[derive(Clone, Debug)]
pub struct PretrainedModel {
    /// Metadata.
    pub info: PretrainedMetadata,
    /// Weights.
    pub params: Params,
    /// Feature tables.
    pub tables: FrontendTables,
}

impl PretrainedModel {
    /// Writes the model atomically.
    pub fn save(&self, path: &Path) -> Result<()> {
        let record = serde_json::to_string(&self.info)
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        self.params.save(path, HashMap::from([(KEY.to_owned(), record)]))
    }

    /// Computes the float backbone's embeddings of a row, `[1, steps, channels]`. Frames that do
    /// not fill a step are dropped.
    ///
    /// # Errors
    /// [`Error::Core`] if the weights do not fit the backbone.
    pub fn embed(&self, stream: &MelStream) -> Result<Tensor> {
        let features = stream.features(&self.tables.params(self.info.normalization));
        let width = self.info.backbone.inputs();
        let steps = features.len() / width;
        let values = features.into_iter().take(steps * width).map(|f| f32::from(f) * INPUT_SCALE);
        let x = Tensor::from_vec(values.collect::<Vec<f32>>(), (1, steps, width), &Device::Cpu)?;
        Mode::Evaluate.run(&self.network()?, &x)
    }

    /// Returns the layers of the float backbone.
    ///
    /// # Errors
    /// [`Error::Core`] if the weights do not fit the backbone.
    pub fn network(&self) -> Result<BackboneNetwork> {
        Ok(BackboneNetwork::new(&self.info.backbone, &self.params.builder())?)
    }

    /// Reads a pretrained model.
    ///
    /// # Errors
    /// [`Error::NotPretrained`] or [`Error::NoWeights`] if the file is no pretrained model, or has another format.
    pub fn load(path: &Path) -> Result<Self> {
        let (params, metadata) = Params::load(path)?;
        let refused = |problem: String| Error::NotPretrained { path: path.to_owned(), problem };
        let record = metadata
            .get(KEY)
            .ok_or_else(|| refused("this file holds weights, but no pretrained model".into()))?;
        let info: PretrainedMetadata = serde_json::from_str(record)
            .map_err(|e| refused(format!("its record cannot be read: {e}")))?;
        if info.format != PRETRAINED_FORMAT {
            let problem = format!("format {}, {PRETRAINED_FORMAT} expected", info.format);
            return Err(refused(problem));
        }
        if !info.backbone.is_sound() {
            let problem = format!("no backbone has this shape: {:?}", info.backbone);
            return Err(refused(problem));
        }
        Ok(Self { info, params, tables: FrontendTables::default() })
    }
}
