//! A fine-tuned head in a file: float weights and what quantization needs, apart from the base.
//!
//! One safetensors file whose metadata entry `head` is a JSON [`TunedInfo`]. Several of them on one
//! base make one model; see `wakeling quantize`.

use std::{collections::HashMap, path::Path};

use serde::{Deserialize, Serialize};
use wakeling_shared::{artifact::OperatingPoint, detector::DetectorParams};

use crate::{
    Error, Result,
    base::Base,
    nn::{head::HeadConfig, params::Params},
    quantize::{QuantizedHead, QuantizedTrunk, WordEntry},
};

/// What a head says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunedInfo {
    /// What a detection is called.
    pub label: String,
    /// Name of the base it was trained on.
    pub base: String,
    /// [`fingerprint`] of that base.
    pub base_fingerprint: u32,
    /// Shape of the head.
    pub head: HeadConfig,
    /// Lower and upper end of each activation.
    pub ranges: Vec<(String, f32, f32)>,
    /// Smoothing, threshold, refractory time.
    pub detector: DetectorParams,
    /// Thresholds by false accepts per hour, strictest first.
    pub points: Vec<OperatingPoint>,
    /// How many recordings it was trained on.
    pub recordings: usize,
}

/// Metadata key of the record.
const KEY: &str = "head";

/// A fine-tuned head.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// Its record.
    pub info: TunedInfo,
    /// Its weights.
    pub params: Params,
}

impl Tuned {
    /// Writes the head, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let record = serde_json::to_string(&self.info)
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        self.params.save(path, HashMap::from([(KEY.to_owned(), record)]))
    }

    /// Reads a head that was trained on `base`.
    ///
    /// # Errors
    /// [`Error::Input`] if the file is no head, or one of another base.
    pub fn load(path: &Path, base: &Base) -> Result<Self> {
        let (params, metadata) = Params::load(path)?;
        let remedy = "give a .head file that `wakeling finetune` wrote";
        let record = metadata
            .get(KEY)
            .ok_or_else(|| Error::input(path, "this file holds weights, but no head", remedy))?;
        let info: TunedInfo = serde_json::from_str(record)
            .map_err(|e| Error::input(path, format!("its record cannot be read: {e}"), remedy))?;
        if info.base_fingerprint != fingerprint(base)? {
            return Err(Error::input(
                path,
                format!("trained on another base than this {:?} ({:?})", base.info.name, info.base),
                "give --base the base it was trained on, or fine-tune again",
            ));
        }
        Ok(Self { info, params })
    }

    /// The word as it goes into a model.
    pub fn entry(&self, trunk: &QuantizedTrunk) -> Result<WordEntry> {
        Ok(WordEntry {
            label: self.info.label.clone(),
            detector: self.info.detector,
            points: self.info.points.clone(),
            head: QuantizedHead::of(&self.info.head, &self.params, &self.info.ranges, trunk)?,
        })
    }
}

/// CRC-32 of a base's weights, which tells bases apart.
pub fn fingerprint(base: &Base) -> Result<u32> {
    let mut crc = flate2::Crc::new();
    for (name, _) in base.params.vars() {
        let bytes = base.params.values(name)?.into_iter().flat_map(f32::to_le_bytes);
        crc.update(&bytes.collect::<Vec<u8>>());
    }
    Ok(crc.sum())
}
