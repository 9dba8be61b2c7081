//! Manifest of a microWakeWord model: the JSON file that ESPHome's `micro_wake_word` component
//! loads.

use serde::{Deserialize, Serialize};

/// Oldest ESPHome that reads version 2.
const MINIMUM_ESPHOME_VERSION: &str = "2024.7.0";

/// Manifest, version 2.
///
/// ```
/// use wakeling_interop::microwakeword::manifest::Manifest;
///
/// let text = r#"{"type": "micro", "wake_word": "Alexa", "model": "alexa.tflite", "version": 2,
///     "micro": {"probability_cutoff": 0.9, "sliding_window_size": 5, "feature_step_size": 10}}"#;
/// let manifest = Manifest::parse(text.as_bytes())?;
/// assert_eq!(manifest.wake_word, "Alexa");
/// assert_eq!(manifest.micro.sliding_window_size, 5);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Kind of model; `micro`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The keyword.
    pub wake_word: String,
    /// Author of the model.
    #[serde(default)]
    pub author: String,
    /// Page of the author.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub website: String,
    /// File name of the network, beside the manifest.
    #[serde(default)]
    pub model: String,
    /// Languages of the recordings, such as "en".
    #[serde(default)]
    pub trained_languages: Vec<String>,
    /// Version of the manifest.
    pub version: u32,
    /// Settings of detection.
    pub micro: Micro,
}

/// Settings of detection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Micro {
    /// Mean probability above which the keyword is detected, 0 … 1.
    pub probability_cutoff: f64,
    /// Number of probabilities in the mean.
    pub sliding_window_size: u32,
    /// Milliseconds between frames of features.
    #[serde(default = "ten")]
    pub feature_step_size: u32,
    /// Bytes of memory that the network needs.
    #[serde(default)]
    pub tensor_arena_size: usize,
    /// Oldest ESPHome that runs it.
    #[serde(default)]
    pub minimum_esphome_version: String,
}

/// Interval of the frames of this project, in milliseconds.
fn ten() -> u32 {
    10
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is missing or not supported.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if manifest.kind != "micro" {
            return Err(format!("type {:?}; \"micro\" is supported", manifest.kind));
        }
        if manifest.version != 2 {
            return Err(format!("version {}; version 2 is supported", manifest.version));
        }
        manifest.micro.check()?;
        Ok(manifest)
    }

    /// Describes the network in the file `model`, in the same folder.
    pub fn new(wake_word: impl Into<String>, model: impl Into<String>, micro: Micro) -> Self {
        Self {
            kind: "micro".into(),
            wake_word: wake_word.into(),
            author: String::new(),
            website: String::new(),
            model: model.into(),
            trained_languages: Vec::new(),
            version: 2,
            micro,
        }
    }

    /// Formats the manifest as JSON, with a line feed at the end.
    pub fn to_json(&self) -> String {
        // Texts and finite numbers always have a form in JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Micro {
    /// Checks the ranges.
    fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.probability_cutoff) {
            return Err(format!(
                "probability_cutoff {}; it is from 0 to 1",
                self.probability_cutoff
            ));
        }
        if self.feature_step_size != ten() {
            let step = self.feature_step_size;
            return Err(format!("feature_step_size {step} ms; frames of 10 ms are supported"));
        }
        Ok(())
    }
}

impl Default for Micro {
    /// Settings without a manifest: those of most models of the collection.
    fn default() -> Self {
        Self {
            probability_cutoff: 0.97,
            sliding_window_size: 5,
            feature_step_size: ten(),
            tensor_arena_size: 0,
            minimum_esphome_version: MINIMUM_ESPHOME_VERSION.into(),
        }
    }
}
