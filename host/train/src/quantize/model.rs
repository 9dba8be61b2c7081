//! Model in memory: the quantized backbone, the heads of its keywords, and the texts of its card.

use std::path::Path;

use wakeling_shared::{
    detector::DetectorParams,
    frontend::FrontendParams,
    gate::GateParams,
    model::{
        Card, Head, Keyword, MAX_HEADS, MAX_KEYWORDS, MAX_LAYERS, MAX_POINTS, Model,
        OperatingPoint, Statistics,
    },
};

use super::{Backbone, QuantizedHead, QuantizedLayer};
use crate::{Error, Result};
use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_device::model_file;

/// Keyword with its head, ready for a model file.
#[derive(Clone, Debug)]
pub struct KeywordEntry {
    /// Label of a detection.
    pub label: String,
    /// Smoothing, threshold, refractory time.
    pub detector: DetectorParams,
    /// Thresholds by false accepts per hour, strictest first.
    pub points: Vec<OperatingPoint>,
    /// Head with the single logit of this keyword.
    pub head: QuantizedHead,
}

/// Statistics of negative speech that a device uses for enrollment; see
/// [`Statistics`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollStatistics {
    /// Standard deviation of the residuals in units of `i8`.
    pub deviation: u8,
    /// Constant part of a threshold in standard deviations, Q8.
    pub threshold_q8: u16,
    /// Share of the utterances' median score that is added, Q8.
    pub share_q8: u8,
    /// Number of earlier columns in a prediction.
    pub order: u8,
    /// Predictors, `(order, channels, channels)` `i8` in Q7.
    pub predictors: Vec<u8>,
}

impl EnrollStatistics {
    fn view(&self) -> Statistics<'_> {
        Statistics {
            deviation: self.deviation,
            threshold_q8: self.threshold_q8,
            share_q8: self.share_q8,
            order: self.order,
            predictors: &self.predictors,
        }
    }
}

/// Texts of a model's card.
#[derive(Clone, Debug, Default)]
pub struct CardText {
    /// Name of the model.
    pub name: String,
    /// Description of the training data and method.
    pub provenance: String,
}

/// Int8 model that owns its weights, tables and texts.
///
/// Without keywords, the model can only run its backbone, and no device loads it.
#[derive(Clone, Debug)]
pub struct QuantizedModel {
    card: CardText,
    pretrained: String,
    licence: String,
    tables: FrontendTables,
    normalization: NormalizationKind,
    frames_per_step: u8,
    backbone: Vec<QuantizedLayer>,
    words: Vec<KeywordEntry>,
    gate: Option<GateParams>,
    statistics: Option<EnrollStatistics>,
}

impl QuantizedModel {
    /// Puts heads on a backbone.
    ///
    /// # Errors
    /// [`Error::ModelTooLarge`] if there are more layers, heads or keywords than a model can hold.
    pub fn new(backbone: &Backbone, words: Vec<KeywordEntry>, card: CardText) -> Result<Self> {
        let info = &backbone.pretrained.info;
        let model = Self {
            card,
            pretrained: info.name.clone(),
            licence: info.licence.clone(),
            tables: backbone.pretrained.tables.clone(),
            normalization: info.normalization,
            frames_per_step: info.backbone.frames_per_step as u8,
            backbone: backbone.int8.layers.clone(),
            words,
            gate: None,
            statistics: None,
        };
        let layers = model.layers().count();
        let counts = [
            ("layers", layers, MAX_LAYERS),
            ("words", model.words.len(), MAX_HEADS.min(MAX_KEYWORDS)),
        ];
        match counts.into_iter().find(|&(_, count, most)| count > most) {
            Some((what, _, most)) => Err(Error::ModelTooLarge { what, most }),
            None => Ok(model),
        }
    }

    /// Puts a gate before the network, or removes it.
    pub fn with_gate(self, gate: Option<GateParams>) -> Self {
        Self { gate, ..self }
    }

    /// Adds statistics for the last head, which is one for enrollment, or removes them.
    pub fn with_statistics(self, statistics: Option<EnrollStatistics>) -> Self {
        Self { statistics, ..self }
    }

    fn layers(&self) -> impl Iterator<Item = &QuantizedLayer> {
        self.backbone.iter().chain(self.words.iter().flat_map(|word| &word.head.layers))
    }

    /// Returns the parameters of the front end.
    pub fn frontend(&self) -> FrontendParams<'_> {
        self.tables.params(self.normalization)
    }

    /// Returns the model as engine, pipeline and writer take it.
    pub fn view(&self) -> Model<'_> {
        // `collect` would panic beyond the limits, which `new` has checked.
        Model {
            card: Card {
                name: &self.card.name,
                pretrained: &self.pretrained,
                provenance: &self.card.provenance,
                licence: &self.licence,
            },
            frontend: self.frontend(),
            frames_per_step: self.frames_per_step,
            layers: self.layers().map(QuantizedLayer::borrow).collect(),
            backbone_layers: self.backbone.len() as u8,
            heads: self.words.iter().map(|word| word.head.view()).collect(),
            words: self.words.iter().map(KeywordEntry::view).collect(),
            gate: self.gate,
            statistics: self.statistics.as_ref().map(EnrollStatistics::view),
        }
    }

    /// Encodes the model file, unsigned.
    ///
    /// # Errors
    /// As [`model_file::encode`].
    pub fn bytes(&self) -> Result<Vec<u8>> {
        Ok(model_file::encode(&self.view())?)
    }

    /// Writes the model file atomically, after checking that a device would load it.
    ///
    /// # Errors
    /// As [`model_file::write`].
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(model_file::write(path, &self.view())?)
    }

    /// Formats the costs on a device: flash, state, and operations per second.
    ///
    /// # Errors
    /// As [`QuantizedModel::bytes`].
    pub fn costs(&self) -> Result<String> {
        let model = self.view();
        let steps_per_second = wakeling_data::mixing::steps_per_second(self.frames_per_step.into());
        Ok(format!(
            "{} bytes of flash, {} bytes of state, {:.1} million multiply-accumulates a second",
            self.bytes()?.len(),
            model.arena_bytes(),
            model.step_macs() as f64 * steps_per_second / 1e6
        ))
    }
}

impl QuantizedHead {
    fn view(&self) -> Head<'_> {
        Head { layers: self.layers.len() as u8, input: self.input, logits: self.logits.affine() }
    }
}

impl KeywordEntry {
    fn view(&self) -> Keyword<'_> {
        let points = self.points.iter().copied().take(MAX_POINTS).collect();
        Keyword { label: &self.label, detector: self.detector, points }
    }
}
