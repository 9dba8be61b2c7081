//! Detections in audio without the keyword: by our detector, and by ESPHome's on the exported
//! scores.

use wakeling_shared::{
    detector::{Detector, DetectorParams},
    engine::Engine,
    frontend::{Features, HOP_SAMPLES, SAMPLE_RATE_HZ},
    model::Model,
};

use super::score::{EsphomeDetector, ScoreScale};
use crate::ExportError;

/// Result of this module.
type Result<T, E = ExportError> = std::result::Result<T, E>;

/// Counts of false accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FalseAccepts {
    /// By our detector.
    pub ours: u32,
    /// By ESPHome's, on scores that are computed from our logits.
    pub esphome: u32,
    /// Steps of audio.
    pub steps: u64,
    /// Frames per step.
    pub frames_per_step: u8,
}

impl FalseAccepts {
    /// Hours of audio.
    pub fn hours(&self) -> f64 {
        let samples = self.steps as f64 * f64::from(self.frames_per_step) * HOP_SAMPLES as f64;
        samples / SAMPLE_RATE_HZ as f64 / 3_600.0
    }
}

/// Counts detections of one keyword in recordings, which are taken as one stream.
///
/// # Errors
/// [`ExportError::Invalid`] if the model has no such keyword.
pub fn false_accepts<'f>(
    model: &Model<'_>,
    keyword: usize,
    scale: &ScoreScale,
    clips: impl IntoIterator<Item = &'f [Features]>,
) -> Result<FalseAccepts> {
    let word = model.words.get(keyword).ok_or(ExportError::Invalid("no such keyword"))?;
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(model, &mut arena).map_err(|_| {
        ExportError::Invalid("an arena of the size that was asked for is too small")
    })?;
    let mut ours = Detector::new(DetectorParams { threshold: scale.threshold(), ..word.detector });
    let frames_per_step = model.frames_per_step;
    let mut esphome = EsphomeDetector::new(scale.cutoff(), scale.window(), frames_per_step);
    let mut logits = vec![0; model.words.len()];
    let mut counts = FalseAccepts { frames_per_step, ..FalseAccepts::default() };
    for clip in clips {
        for step in clip.chunks_exact(frames_per_step.into()) {
            engine.input().copy_from_slice(step.as_flattened());
            if !engine.step(&mut logits) {
                continue;
            }
            let logit = logits[keyword];
            counts.ours += u32::from(ours.step(logit).fired);
            counts.esphome += u32::from(esphome.step(scale.score(logit)));
            counts.steps += 1;
        }
    }
    Ok(counts)
}
