//! Kinds and levels of the backgrounds of training streams.
//!
//! Devices are used in rooms with running water or conversation. A network that was trained in
//! quiet misses its phrase there, most often when speech is mixed with speech. Streams with and
//! without the phrase get the same backgrounds; otherwise the network could distinguish them by the
//! background.

use serde::{Deserialize, Serialize};

/// Kinds and levels of backgrounds; every chance is a probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackgroundMix {
    /// Probability that a stream has a background.
    pub chance: f64,
    /// Range of the signal-to-noise ratio in dB: [`loudness`](super::loudness) of the speech relative to that of the
    /// background.
    pub snr_db: (f32, f32),
    /// Probability of babble: instead of noise, or beside it if [`Self::babble_snr_db`] is set.
    pub babble_chance: f64,
    /// Range of the signal-to-noise ratio of babble that is independent of the noise, in dB. `None`:
    /// a background is either noise or babble, at the ratio of the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub babble_snr_db: Option<(f32, f32)>,
    /// Maximum number of talkers in babble; the minimum is one.
    pub most_talkers: usize,
}

impl BackgroundMix {
    /// Backgrounds of phrases without other talkers: noise below the speech.
    pub const PHRASE: Self = Self { chance: 0.8, snr_db: (0.0, 35.0), ..Self::NONE };
    /// Default backgrounds of phrases: noise as in [`Self::PHRASE`], and in one stream of four babble
    /// 5 to 25 dB below the speech (docs/lab/noise.md). It needs heads of 24 channels.
    pub const PHRASE_AMONG_TALK: Self = Self {
        babble_chance: 0.25,
        babble_snr_db: Some((5.0, 25.0)),
        most_talkers: 6,
        ..Self::PHRASE
    };
    /// Default backgrounds of negatives: noise below the speech, no babble.
    pub const NEGATIVE: Self = Self { chance: 0.75, snr_db: (0.0, 40.0), ..Self::NONE };
    /// No background.
    pub const NONE: Self = Self {
        chance: 0.0,
        snr_db: (0.0, 0.0),
        babble_chance: 0.0,
        babble_snr_db: None,
        most_talkers: 0,
    };
    /// Noise and babble, some of it louder than the speech. Not the default: it misses more in quiet
    /// and in noise (docs/lab/noise.md).
    pub const NOISY: Self = Self {
        chance: 0.8,
        snr_db: (-5.0, 25.0),
        babble_chance: 0.35,
        babble_snr_db: None,
        most_talkers: 6,
    };
}
