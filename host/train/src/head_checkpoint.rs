//! Head checkpoint: float weights of a fine-tuned head and the metadata that quantization needs,
//! separate from the pretrained model.
//!
//! One safetensors file whose metadata entry `head` is a JSON [`HeadMetadata`]. Several heads on one
//! pretrained model can be quantized into one model file; see `wakeling quantize`.

use std::{collections::HashMap, path::Path};

use serde::{Deserialize, Serialize};
use wakeling_shared::{detector::DetectorParams, model::OperatingPoint};

use crate::quantize::{Backbone, CardText, KeywordEntry, QuantizedHead, QuantizedModel};
use crate::{Error, Result};
use wakeling_nn::{head::HeadConfig, params::Params, pretrained::PretrainedModel};

/// Metadata of a head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeadMetadata {
    /// Label of a detection.
    pub label: String,
    /// Name of the pretrained model that the head was trained on.
    #[serde(rename = "base")]
    pub pretrained: String,
    /// [`fingerprint`] of that pretrained model.
    #[serde(rename = "base_fingerprint")]
    pub pretrained_fingerprint: u32,
    /// Shape of the head.
    pub head: HeadConfig,
    /// Lower and upper end of each activation, by layer name.
    pub ranges: Vec<(String, f32, f32)>,
    /// Smoothing, threshold, refractory time.
    pub detector: DetectorParams,
    /// Thresholds by false accepts per hour, strictest first.
    pub points: Vec<OperatingPoint>,
    /// Number of recordings that the head was trained on.
    pub recordings: usize,
}

/// Metadata key of the record.
const KEY: &str = "head";

/// Fine-tuned head in memory.
#[derive(Clone, Debug)]
pub struct HeadCheckpoint {
    /// Metadata.
    pub info: HeadMetadata,
    /// Weights.
    pub params: Params,
}

impl HeadCheckpoint {
    /// Writes the head atomically.
    pub fn save(&self, path: &Path) -> Result<()> {
        let record = serde_json::to_string(&self.info)
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        Ok(self.params.save(path, HashMap::from([(KEY.to_owned(), record)]))?)
    }

    /// Reads a head that was trained on `pretrained`.
    ///
    /// # Errors
    /// [`Error::NotAHead`] if the file is no head, [`Error::OtherPretrained`] if it belongs to another pretrained model.
    pub fn load(path: &Path, pretrained: &PretrainedModel) -> Result<Self> {
        let (params, metadata) = Params::load(path)?;
        let refused = |problem: String| Error::NotAHead { path: path.to_owned(), problem };
        let record = metadata
            .get(KEY)
            .ok_or_else(|| refused("this file holds weights, but no head".into()))?;
        let info: HeadMetadata = serde_json::from_str(record)
            .map_err(|e| refused(format!("its record cannot be read: {e}")))?;
        if info.pretrained_fingerprint != fingerprint(pretrained)? {
            return Err(Error::OtherPretrained {
                path: path.to_owned(),
                pretrained: pretrained.info.name.clone(),
                trained_on: info.pretrained,
            });
        }
        Ok(Self { info, params })
    }

    /// Quantizes the head and returns the keyword's entry for a model file.
    ///
    /// # Errors
    /// As [`QuantizedHead::of`].
    pub fn entry(&self, backbone: &Backbone) -> Result<KeywordEntry> {
        Ok(KeywordEntry {
            label: self.info.label.clone(),
            detector: self.info.detector,
            points: self.info.points.clone(),
            head: QuantizedHead::of(
                &self.info.head,
                &self.params,
                &self.info.ranges,
                &backbone.int8,
            )?,
        })
    }
}

impl QuantizedModel {
    /// Quantizes fine-tuned heads, one keyword each. The card lists the keywords and the number of
    /// recordings.
    ///
    /// # Errors
    /// As [`QuantizedModel::new`], and [`Error::NoHeadRange`] if a head lacks a range.
    pub fn of_heads(backbone: &Backbone, heads: &[HeadCheckpoint]) -> Result<Self> {
        let words = heads.iter().map(|head| head.entry(backbone)).collect::<Result<_>>()?;
        let labels: Vec<&str> = heads.iter().map(|head| head.info.label.as_str()).collect();
        let recordings: usize = heads.iter().map(|head| head.info.recordings).sum();
        let pretrained = &backbone.pretrained.info.provenance;
        let provenance = format!("{recordings} recordings; base: {pretrained}");
        Self::new(backbone, words, CardText { name: labels.join(", "), provenance })
    }
}

/// Computes the CRC-32 of a pretrained model's weights, which identifies the model.
pub fn fingerprint(pretrained: &PretrainedModel) -> Result<u32> {
    Ok(pretrained.params.checksum()?)
}
