//! A base: a pretrained trunk, and everything that fine-tuning needs to know about it.
//!
//! One safetensors file. The metadata entry `base` is a JSON [`BaseInfo`].

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    compose::Row,
    features::{FrontendTables, NormalizationKind},
    nn::{
        INPUT_SCALE,
        params::Params,
        trunk::{Mode, TrunkConfig},
    },
    tokens::Vocabulary,
};

/// What a base says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaseInfo {
    /// Format of this record; this code reads [`BASE_FORMAT`] only.
    pub format: u32,
    /// Name, such as `base-m`.
    pub name: String,
    /// Shape of the trunk.
    pub trunk: TrunkConfig,
    /// How features are normalized.
    pub normalization: NormalizationKind,
    /// Tokens of the CTC head; empty if there is none.
    pub tokens: Vocabulary,
    /// Words of the word head; empty if there is none.
    pub words: Vocabulary,
    /// Lower and upper end of each activation, from calibration, by layer name; see `quantize`.
    pub ranges: Vec<(String, f32, f32)>,
    /// What it was trained on and how, in a sentence.
    pub provenance: String,
    /// SPDX expression for the weights.
    pub licence: String,
}

impl BaseInfo {
    /// Hours of speech that it was trained on: its provenance begins with them.
    pub fn hours(&self) -> Option<f64> {
        let (hours, _) = self.provenance.split_once(" hours ")?;
        hours.trim().parse().ok().filter(|h: &f64| h.is_finite())
    }
}

/// The format that this code writes and reads.
pub const BASE_FORMAT: u32 = 1;
/// Metadata key of the record.
const KEY: &str = "base";

/// A base in memory.
#[derive(Clone, Debug)]
pub struct Base {
    /// Its record.
    pub info: BaseInfo,
    /// Its weights.
    pub params: Params,
    /// Its feature tables.
    pub tables: FrontendTables,
}

impl Base {
    /// Writes the base, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let record = serde_json::to_string(&self.info)
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        self.params.save(path, HashMap::from([(KEY.to_owned(), record)]))
    }

    /// What the float trunk makes of a row, `[1, steps, channels]`; frames that fill no step are left
    /// out.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the weights do not fit the trunk.
    pub fn hear(&self, row: &Row) -> Result<Tensor> {
        let features = row.features(&self.tables.params(self.info.normalization));
        let width = self.info.trunk.inputs();
        let steps = features.len() / width;
        let values = features.into_iter().take(steps * width).map(|f| f32::from(f) * INPUT_SCALE);
        let x = Tensor::from_vec(values.collect::<Vec<f32>>(), (1, steps, width), &Device::Cpu)?;
        self.info.trunk.forward(&self.params, &x, &mut Mode::Evaluate)
    }

    /// Reads a base.
    ///
    /// # Errors
    /// [`Error::Input`] if the file is no base, or one of another format.
    pub fn load(path: &Path) -> Result<Self> {
        let (params, metadata) = Params::load(path)?;
        let remedy = "give a base that `wakeling pretrain` of this version wrote";
        let record = metadata
            .get(KEY)
            .ok_or_else(|| Error::input(path, "this file holds weights, but no base", remedy))?;
        let info: BaseInfo = serde_json::from_str(record)
            .map_err(|e| Error::input(path, format!("its record cannot be read: {e}"), remedy))?;
        if info.format != BASE_FORMAT {
            let problem = format!("format {}, {BASE_FORMAT} expected", info.format);
            return Err(Error::input(path, problem, remedy));
        }
        if !info.trunk.is_sound() {
            let problem = format!("no trunk has this shape: {:?}", info.trunk);
            return Err(Error::input(path, problem, remedy));
        }
        Ok(Self { info, params, tables: FrontendTables::default() })
    }
}
