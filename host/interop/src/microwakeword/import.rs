//! Converts a microWakeWord model to a model of this project.
//!
//! The converted network gives the same `u8` at every step as TensorFlow Lite Micro does. The logit
//! of a step is linear in it: `logit = 24·p − 3060`, so that the mean of the window, which the
//! [detector](wakeling_shared::detector) compares, is that of the probabilities.

use std::path::{Path, PathBuf};

use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_core::files;
use wakeling_device::model_file::{self, PackedAffine, Scales};
use wakeling_shared::{
    detector::{DetectorParams, MAX_SMOOTHING},
    frontend::HOP_SAMPLES,
    model::{Card, Head, Keyword, Model},
    timebase::SAMPLE_RATE_HZ,
};

use super::{
    graph,
    lower::{self, Lowered},
    manifest::{Manifest, Micro},
};
use crate::{Error, ImportError, Result, tflite::read};

/// Logit (Q8) per unit of probability.
pub const LOGIT_STEP: i16 = 24;
/// Logit (Q8) of probability 0.
pub const LOGIT_OF_ZERO: i16 = -3_060;
/// Largest probability.
const LARGEST: u32 = 255;
/// Steps of 10 ms after a detection without another one, as in ESPHome
/// (`MIN_SLICES_BEFORE_DETECTION`).
const REFRACTORY_FRAMES: usize = 100;

/// Runtime whose rule decides about a detection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// ESPHome: the sum of the window is more than `⌊255·cutoff⌋` times its length.
    #[default]
    Esphome,
    /// The Python package `pymicro-wakeword`: the mean of `scale·p` is more than the cutoff.
    Python,
}

/// Settings of an import.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Name of the keyword.
    pub wake_word: String,
    /// Author and page, for the card.
    pub author: String,
    /// Settings of detection.
    pub micro: Micro,
    /// Rule of detection.
    pub runtime: Runtime,
}

impl Settings {
    /// Takes the settings from a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        let Manifest { author, website, .. } = manifest;
        let author = match (author.is_empty(), website.is_empty()) {
            (false, false) => format!("{author}, {website}"),
            _ => format!("{author}{website}"),
        };
        let (wake_word, micro) = (manifest.wake_word.clone(), manifest.micro.clone());
        Self { wake_word, author, micro, runtime: Runtime::default() }
    }
}

/// Converted model.
///
/// ```no_run
/// use wakeling_interop::microwakeword::import::{Imported, Runtime};
///
/// let imported = Imported::open("alexa.tflite".as_ref(), None, Runtime::default())?;
/// imported.write("alexa.wkl".as_ref())?;
/// # Ok::<(), wakeling_interop::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Imported {
    /// The manifest that was used; without one, the settings are usual ones.
    pub manifest: Option<PathBuf>,
    /// Settings in use.
    pub settings: Settings,
    /// Number of layers.
    pub layers: usize,
    /// Number of multiply-accumulates of a step.
    pub macs: usize,
    /// Number of bytes of memory that a device needs for the network.
    pub arena: usize,
    /// Length of a step in milliseconds.
    pub step_ms: usize,
    /// Model file.
    bytes: Vec<u8>,
}

impl Imported {
    /// Converts a file, with the manifest at `manifest`, or the one beside the file: same name,
    /// ending `.json`.
    ///
    /// # Errors
    /// [`Error::Import`] and [`Error::Manifest`], and [`Error::Core`] if a file cannot be read.
    pub fn open(path: &Path, manifest: Option<&Path>, runtime: Runtime) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
        let beside = path.with_extension("json");
        let manifest = manifest.or_else(|| beside.is_file().then_some(&beside));
        let settings = match manifest {
            Some(manifest) => {
                let text = std::fs::read(manifest).map_err(Error::io(manifest, "read"))?;
                let problem = |problem| Error::Manifest { path: manifest.to_owned(), problem };
                Settings::of(&Manifest::parse(&text).map_err(problem)?)
            }
            None => {
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().replace('_', " "));
                Settings { wake_word: stem.unwrap_or_default(), ..Settings::default() }
            }
        };
        let settings = Settings { runtime, ..settings };
        let imported = Self::of(&bytes, &settings);
        let mut imported =
            imported.map_err(|reason| Error::Import { path: path.to_owned(), reason })?;
        imported.manifest = manifest.map(Path::to_owned);
        Ok(imported)
    }

    /// Converts the bytes of a file.
    ///
    /// # Errors
    /// [`ImportError`]; any bytes lead to an error or to a model that loads.
    pub fn of(bytes: &[u8], settings: &Settings) -> Result<Self, ImportError> {
        let file = read::read(bytes)?;
        let network = graph::network(&file)?;
        let lowered = lower::lower(&network)?;
        let frames = network.nodes.first().map_or(1, |input| input.rate);
        let detector = detector(settings, &network, frames)?;
        let bytes = encode(settings, &lowered, detector, frames)?;
        let (layers, macs, arena) = {
            let model = Model::load(&bytes).map_err(|e| ImportError::Invalid(e.to_string()))?;
            (model.layers.len(), model.step_macs(), model.arena_bytes())
        };
        let step_ms = frames * HOP_SAMPLES * 1_000 / SAMPLE_RATE_HZ;
        let settings = settings.clone();
        Ok(Self { manifest: None, settings, layers, macs, arena, step_ms, bytes })
    }

    /// Bytes of the model file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the model file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Core`] if writing fails.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(files::write_atomic(path, &self.bytes)?)
    }
}

/// Builds the model file.
fn encode(
    settings: &Settings,
    lowered: &Lowered,
    detector: DetectorParams,
    frames: usize,
) -> Result<Vec<u8>, ImportError> {
    let tables = FrontendTables::default();
    let too_many = || ImportError::Invalid("too many layers".into());
    // Four times the step of a logit, of which the multiplier leaves a quarter.
    let mut weights = vec![0; lowered.output.width];
    if let Some(weight) = lowered.output.positions.first().and_then(|&at| weights.get_mut(at)) {
        *weight = 4 * LOGIT_STEP as i8;
    }
    // The output is the probability less 128.
    let bias = 4 * (128 * i32::from(LOGIT_STEP) + i32::from(LOGIT_OF_ZERO));
    let scales = Scales { biases: &[bias], multipliers: &[1 << 30], zero_point: 0 };
    let logits = PackedAffine::pointwise(&weights, scales);
    let head = Head { layers: 0, input: lowered.output.buffer, logits: logits.affine() };
    let word = Keyword { label: &settings.wake_word, detector, points: Default::default() };
    let mut model = Model {
        card: Card {
            name: &settings.wake_word,
            pretrained: "",
            provenance: &format!("microWakeWord model by {}", author(settings)),
            licence: "",
        },
        frontend: tables.params(NormalizationKind::Pcan),
        frames_per_step: frames as u8,
        layers: Default::default(),
        backbone_layers: lowered.layers.len() as u8,
        heads: [head].into_iter().collect(),
        words: [word].into_iter().collect(),
        gate: None,
        statistics: None,
    };
    for layer in &lowered.layers {
        model.layers.push(layer.layer()).map_err(|_| too_many())?;
    }
    model_file::encode(&model).map_err(|error| ImportError::Invalid(error.to_string()))
}

fn author(settings: &Settings) -> &str {
    if settings.author.is_empty() { "an unknown author" } else { &settings.author }
}

/// Returns the detector that decides as the runtime does.
fn detector(
    settings: &Settings,
    network: &graph::Network,
    frames: usize,
) -> Result<DetectorParams, ImportError> {
    let Micro { probability_cutoff, sliding_window_size: window, .. } = settings.micro;
    if window == 0 || window as usize > MAX_SMOOTHING {
        return Err(ImportError::Detection(format!(
            "a sliding_window_size of {window}; from 1 to {MAX_SMOOTHING} is supported"
        )));
    }
    let quantization = network.output_quantization;
    let is_detected = |sum: u32| match settings.runtime {
        Runtime::Esphome => sum > (255.0 * probability_cutoff) as u32 * window,
        Runtime::Python => {
            let zero = i64::from(quantization.zero_point + 128) * i64::from(window);
            let steps = (i64::from(sum) - zero) as f64 / f64::from(window);
            steps * f64::from(quantization.scale) > probability_cutoff
        }
    };
    // The least sum that is detected, or one that no sum reaches.
    let least = (0..=LARGEST * window).find(|&sum| is_detected(sum));
    let least = least.unwrap_or(LARGEST * window + 1);
    // The detector rounds the mean of `24·p − 3060` down, so a mean of at least this is a sum of at
    // least that; the window is at most 24 steps.
    let threshold = (LOGIT_STEP as u32 * least).div_ceil(window) as i32 + i32::from(LOGIT_OF_ZERO);
    Ok(DetectorParams {
        smoothing_steps: window as u8,
        threshold: threshold as i16,
        refractory_steps: REFRACTORY_FRAMES.div_ceil(frames.max(1)) as u16,
    })
}
