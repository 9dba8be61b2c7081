//! Settings of a fine-tuning run, in three groups: shape of the head, training, detector.

use serde::{Deserialize, Serialize};
use wakeling_shared::detector::DetectorParams;

use wakeling_data::mixing::{BackgroundMix, FeatureAugmentation};
use wakeling_nn::head::HeadConfig;

/// Settings of a fine-tuning run.
///
/// As JSON, all groups are one flat object.
///
/// ```
/// use wakeling_train::finetune::{Settings, TrainSettings};
///
/// let train = TrainSettings { steps: 200, seed: 7, ..TrainSettings::default() };
/// let settings = Settings { train, ..Settings::default() };
/// let json = serde_json::to_value(&settings).unwrap();
/// assert_eq!((&json["steps"], &json["members"]), (&200.into(), &3.into()));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Shape of the head.
    #[serde(flatten)]
    pub head: HeadSettings,
    /// Data and training.
    #[serde(flatten)]
    pub train: TrainSettings,
    /// Detector behind the head.
    #[serde(flatten)]
    pub detector: DetectorSettings,
}

/// Shape of a keyword's head: an ensemble of small networks, merged into one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeadSettings {
    /// Number of ensemble members: heads trained with different seeds and merged into one.
    #[serde(rename = "members")]
    pub ensemble_members: usize,
    /// Hidden channels of each member.
    pub hidden: usize,
    /// Number of taps and their spacing in seconds, for each temporal layer of the head.
    pub temporal: Vec<(usize, f64)>,
}

impl Default for HeadSettings {
    fn default() -> Self {
        Self { ensemble_members: 3, hidden: 24, temporal: vec![(9, 0.04), (9, 0.1)] }
    }
}

impl HeadSettings {
    /// Returns the shape of the head for a backbone with this step rate. The head spans 1.1 to 1.3
    /// s: embeddings represent local sounds, and a phrase is a sequence of them.
    pub(super) fn config(&self, steps_per_second: f64) -> HeadConfig {
        let layer = |&(taps, spacing_s): &(usize, f64)| {
            (taps, ((spacing_s * steps_per_second).round() as usize).max(1))
        };
        HeadConfig { hidden: self.hidden, temporal: self.temporal.iter().map(layer).collect() }
    }
}

/// Training data and training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainSettings {
    /// Augmentation of the keyword's recordings.
    #[serde(rename = "distortion")]
    pub augmentation: FeatureAugmentation,
    /// Backgrounds of the streams with the keyword.
    pub background: BackgroundMix,
    /// Backgrounds of the negative streams.
    pub negative_background: BackgroundMix,
    /// Hours of negatives to train on. If there are fewer, clips are mixed several times, each time
    /// with another augmentation.
    pub negative_hours: f64,
    /// Minimum number of streams with the whole phrase, mixed from its recordings.
    #[serde(rename = "positive_rows")]
    pub positive_streams: usize,
    /// Training steps of each ensemble member.
    pub steps: usize,
    /// Training steps of the backbone, if it is fine-tuned.
    #[serde(rename = "trunk_steps")]
    pub backbone_steps: usize,
    /// Learning rate of a pretrained backbone, as a share of the head's.
    #[serde(rename = "trunk_rate_share")]
    pub backbone_rate_share: f64,
    /// Weight of the learning-without-forgetting loss, whose logits are scaled to unit variance.
    #[serde(rename = "keep_weight")]
    pub lwf_weight: f64,
    /// Peak learning rate.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the backbone's channels that are hidden from the head, sampled anew for each
    /// window.
    pub dropout: f32,
    /// Start of the span in which the phrase may be detected, in seconds before its estimated end.
    pub early_s: f64,
    /// End of that span, in seconds after the phrase.
    pub late_s: f64,
    /// Number of worker threads; the result does not depend on it.
    pub workers: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            augmentation: FeatureAugmentation::STRONG,
            background: BackgroundMix::PHRASE_AMONG_TALK,
            negative_background: BackgroundMix::NEGATIVE,
            // Three times the hours that ship; the figures of the README were measured with it.
            negative_hours: 14.0,
            positive_streams: 480,
            steps: 400,
            backbone_steps: 300,
            backbone_rate_share: 0.3,
            lwf_weight: 0.3,
            rate: 3e-3,
            weight_decay: 0.05,
            dropout: 0.2,
            early_s: 0.08,
            late_s: 0.36,
            workers: crate::default_workers(),
            seed: 1,
        }
    }
}

/// Sound behind which a phrase is trained to be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseProfile {
    /// Noise.
    Noise,
    /// Noise, and other talkers.
    #[default]
    Talk,
}

wakeling_core::choices!(NoiseProfile {
    Noise: "noise", "Noise below the speech";
    Talk: "talk", "Noise, and in one stream of four other talkers";
});

impl NoiseProfile {
    /// Returns the backgrounds of the phrase.
    pub fn background(self) -> BackgroundMix {
        match self {
            Self::Noise => BackgroundMix::PHRASE,
            Self::Talk => BackgroundMix::PHRASE_AMONG_TALK,
        }
    }
}

/// Detector behind a head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetectorSettings {
    /// Length of the detector's moving average, in seconds.
    pub smoothing_s: f64,
    /// Refractory period in seconds: the time after a detection without another one.
    pub refractory_s: f64,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self { smoothing_s: 0.1, refractory_s: 1.0 }
    }
}

impl DetectorSettings {
    /// Returns the parameters of the device's detector, in steps of this rate.
    pub(super) fn params(&self, threshold: i16, steps_per_second: f64) -> DetectorParams {
        DetectorParams {
            smoothing_steps: (self.smoothing_s * steps_per_second).round().max(1.0) as u8,
            threshold,
            refractory_steps: (self.refractory_s * steps_per_second) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_is_the_default_background() {
        let settings = TrainSettings::default();
        assert_eq!(NoiseProfile::default().background(), settings.background);
        let (talk, noise) = (&settings.background, NoiseProfile::Noise.background());
        assert_eq!((talk.chance, talk.snr_db), (noise.chance, noise.snr_db));
        assert_eq!((talk.babble_chance, noise.babble_chance), (0.25, 0.0));
        assert_eq!(talk.babble_snr_db, Some((5.0, 25.0)));
    }

    /// Comparisons and experiments compare this object with the one that an earlier run wrote.
    #[test]
    fn settings_are_one_flat_object_with_the_keys_of_earlier_versions() {
        let json = serde_json::to_value(Settings::default()).unwrap();
        let mut keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = "background distortion dropout early_s hidden keep_weight late_s members \
            negative_background negative_hours positive_rows rate refractory_s seed smoothing_s steps \
            temporal trunk_rate_share trunk_steps weight_decay workers";
        let mut expected: Vec<&str> = expected.split_whitespace().collect();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        let again: Settings = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), json);
    }
}
