//! Embeddings: what the quantized backbone computes of streams, with the inference engine of the device.
//!
//! The frozen backbone embeds each stream once. Heads are then trained on these int8 embeddings, at low
//! cost and for any number of keywords.

use crate::{Error, Result};
use rayon::prelude::*;
use wakeling_data::mixing::MelStream;
use wakeling_shared::{engine::Engine, frontend::MEL_CHANNELS, model::Model};

use crate::quantize::{Backbone, CardText, QuantizedModel};

/// Embeddings of several streams, step by step.
#[derive(Clone, Debug, Default)]
pub struct Embeddings {
    /// Channels per step.
    pub channels: usize,
    /// Steps per second of audio.
    pub steps_per_second: f64,
    /// Values of each stream, `(steps, channels)`.
    pub streams: Vec<Vec<i8>>,
}

impl Embeddings {
    /// Returns the total number of steps.
    pub fn steps(&self) -> usize {
        self.streams.iter().map(|s| s.len() / self.channels.max(1)).sum()
    }

    /// Returns the total hours of audio.
    pub fn hours(&self) -> f64 {
        self.steps() as f64 / self.steps_per_second / 3600.0
    }
}

/// Computes the quantized backbone's embeddings of each stream.
///
/// # Errors
/// [`Error::ModelTooLarge`] if the backbone exceeds the limits of a model.
pub fn embed_streams(backbone: &Backbone, streams: &[MelStream]) -> Result<Embeddings> {
    embed_with_progress(backbone, streams, &|_| Ok(()))
}

/// As [`embed_streams`], with a call of `tick` after each stream.
///
/// # Errors
/// As [`embed_streams`], and errors of `tick`.
pub fn embed_with_progress(
    backbone: &Backbone,
    streams: &[MelStream],
    tick: &(dyn Fn(&MelStream) -> Result<()> + Sync),
) -> Result<Embeddings> {
    let owner = without_heads(backbone)?;
    let (model, frontend) = (owner.view(), backbone.frontend());
    let embed = |stream: &MelStream| {
        let outputs = embed(&model, &stream.features(&frontend))?;
        tick(stream).map(|()| outputs)
    };
    collect_embeddings(backbone, streams.par_iter().map(embed))
}

/// Computes the quantized backbone's embeddings of each stream of features.
///
/// # Errors
/// As [`embed_streams`].
pub fn embed_features(backbone: &Backbone, features: &[Vec<i8>]) -> Result<Embeddings> {
    let owner = without_heads(backbone)?;
    let model = owner.view();
    collect_embeddings(backbone, features.par_iter().map(|stream| embed(&model, stream)))
}

fn without_heads(backbone: &Backbone) -> Result<QuantizedModel> {
    QuantizedModel::new(backbone, Vec::new(), CardText::default())
}

fn collect_embeddings(
    backbone: &Backbone,
    streams: impl ParallelIterator<Item = Result<Vec<i8>>>,
) -> Result<Embeddings> {
    Ok(Embeddings {
        channels: backbone.config().channels,
        steps_per_second: backbone.steps_per_second(),
        streams: streams.collect::<Result<_>>()?,
    })
}

/// Runs a model's backbone over features, frame after frame, and returns its embeddings `(steps,
/// channels)`.
pub fn embed(model: &Model<'_>, features: &[i8]) -> Result<Vec<i8>> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(model, &mut arena).map_err(|e| Error::defect(format!("{e:?}")))?;
    let step = usize::from(model.frames_per_step) * MEL_CHANNELS;
    let mut outputs = Vec::with_capacity(features.len() / step * model.backbone_width());
    for input in features.chunks_exact(step) {
        engine.input().copy_from_slice(input);
        outputs.extend_from_slice(engine.backbone().unwrap_or_default());
    }
    Ok(outputs)
}
