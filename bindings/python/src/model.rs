//! Model with the state of one stream.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyByteArray, PyBytes},
};
use wakeling_core::choice::Choice;
use wakeling_device::{
    owned::OwnedPipeline,
    sensitivity::{DetectionLevel, Preset},
    simulate,
};
use wakeling_shared::{
    pipeline::{Pipeline, Step},
    timebase::{FRAMES_PER_SECOND, SAMPLE_RATE_HZ},
};

use crate::{
    error::{Error, Result, computed},
    samples::{self, Sound},
};

/// Keyword that was detected.
#[pyclass(frozen, get_all, module = "wakeling")]
pub struct Detection {
    /// Label of the keyword.
    label: String,
    /// Samples from the start of the stream to the decision.
    end_samples: u64,
    /// The same in seconds.
    time: f64,
    /// Smoothed score, 0 to 1.
    score: f64,
    /// Score on a scale of 0 to 100 with the threshold at 50.
    level: f64,
}

#[pymethods]
impl Detection {
    fn __repr__(&self) -> String {
        let Self { label, time, score, level, .. } = self;
        format!("Detection(label={label:?}, time={time:.2}, score={score:.4}, level={level:.1})")
    }
}

/// Moment at which a keyword was detected.
pub struct Fired {
    pub keyword: usize,
    pub end_samples: u64,
    smoothed: i16,
}

impl Fired {
    /// Adds the keywords that were detected at a step.
    pub fn extend(all: &mut Vec<Self>, step: &Step<'_>) {
        let fired = step.decisions.iter().enumerate().filter(|(_, decision)| decision.fired);
        all.extend(fired.map(|(keyword, decision)| Self {
            keyword,
            end_samples: step.end_samples,
            smoothed: decision.smoothed,
        }));
    }
}

/// State of a model: its stream and its thresholds.
pub struct State {
    pipeline: OwnedPipeline,
    /// Thresholds in force, Q8.
    pub thresholds: Vec<i16>,
    sensitivity: Option<Preset>,
}

impl State {
    /// Runs a recording from the initial state, apart from the stream.
    ///
    /// # Errors
    /// Those of reading the recording.
    pub fn run(
        &self,
        parts: impl IntoIterator<Item = Sound>,
        mut on_step: impl FnMut(Step<'_>),
    ) -> Result<u64> {
        let model = self.pipeline.model();
        let mut arena = vec![0; model.arena_bytes()];
        let mut pipeline = Pipeline::new(model, &mut arena)
            .map_err(|error| Error::Defect(format!("the model does not run: {error:?}")))?;
        for (keyword, &threshold) in self.thresholds.iter().enumerate() {
            pipeline.set_threshold(keyword, threshold);
        }
        let mut count = 0;
        for part in parts {
            part.blocks(|block| {
                count += block.len() as u64;
                pipeline.push(block, &mut on_step);
            })?;
        }
        Ok(count)
    }

    fn apply(&mut self) {
        for (keyword, &threshold) in self.thresholds.iter().enumerate() {
            self.pipeline.set_threshold(keyword, threshold);
        }
    }
}

/// Model file with the state of one stream. Methods of several threads take turns.
#[pyclass(frozen, module = "wakeling")]
pub struct Model {
    state: Mutex<State>,
    /// Labels of the keywords.
    #[pyo3(get)]
    keywords: Vec<String>,
    /// Name of the model.
    #[pyo3(get)]
    name: String,
    /// Name of the pretrained model that it was fine-tuned from.
    #[pyo3(get)]
    pretrained: String,
    /// Origin of the model and of its data.
    #[pyo3(get)]
    provenance: String,
    /// Licence of the model.
    #[pyo3(get)]
    licence: String,
    /// Rows of `scores` per second of sound.
    #[pyo3(get)]
    steps_per_second: f64,
}

impl Model {
    /// Locks the state, once no other thread uses it. Call it only in [`computed`], or a thread could
    /// wait for the interpreter that this one holds.
    ///
    /// # Errors
    /// [`Error::Defect`] if another thread panicked with it.
    pub fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| Error::Defect("an earlier call failed".into()))
    }

    /// Returns the index of a keyword; of the first without a label.
    ///
    /// # Errors
    /// `ValueError` if there is no such keyword.
    pub fn keyword(&self, label: Option<&str>) -> PyResult<usize> {
        let Some(label) = label else { return Ok(0) };
        let found = self.keywords.iter().position(|keyword| keyword == label);
        found.ok_or_else(|| {
            let known = self.keywords.join(", ");
            PyValueError::new_err(format!("no keyword {label:?}; there are: {known}"))
        })
    }

    pub fn label(&self, keyword: usize) -> &str {
        self.keywords.get(keyword).map_or("", |label| label)
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (source, /, *, sensitivity = "normal"))]
    fn new(source: &Bound<'_, PyAny>, sensitivity: &str) -> PyResult<Self> {
        let bytes = if let Ok(bytes) = source.cast::<PyBytes>() {
            Some(bytes.as_bytes().to_vec())
        } else {
            source.cast::<PyByteArray>().ok().map(|bytes| bytes.to_vec())
        };
        let pipeline = match bytes {
            Some(bytes) => OwnedPipeline::new(bytes).map_err(Error::Load)?,
            None => {
                let path: PathBuf = source.extract().map_err(|_| {
                    PyTypeError::new_err("a model is given as the path or the bytes of its file")
                })?;
                OwnedPipeline::open(&path).map_err(Error::Device)?
            }
        };
        let model = pipeline.model();
        let (keywords, card) = (model.words.iter().map(|w| w.label.into()).collect(), &model.card);
        let model = Self {
            keywords,
            name: card.name.into(),
            pretrained: card.pretrained.into(),
            provenance: card.provenance.into(),
            licence: card.licence.into(),
            steps_per_second: FRAMES_PER_SECOND as f64 / f64::from(model.frames_per_step),
            state: Mutex::new(State { pipeline, thresholds: Vec::new(), sensitivity: None }),
        };
        model.set_sensitivity(source.py(), sensitivity)?;
        Ok(model)
    }

    /// "strict", "normal" or "eager"; "chosen" after `set_threshold`.
    #[getter]
    fn sensitivity(&self, py: Python<'_>) -> PyResult<&'static str> {
        let preset = computed(py, || Ok(self.state()?.sensitivity))?;
        Ok(preset.map_or("chosen", Preset::name))
    }

    #[setter]
    fn set_sensitivity(&self, py: Python<'_>, sensitivity: &str) -> PyResult<()> {
        let preset = Preset::named(sensitivity).ok_or_else(|| {
            let message =
                format!("sensitivity must be strict, normal or eager, not {sensitivity:?}");
            PyValueError::new_err(message)
        })?;
        computed(py, || {
            let mut state = self.state()?;
            let words = state.pipeline.model().words.iter();
            let thresholds = words.map(|w| preset.threshold(&w.points, w.detector.threshold));
            state.thresholds = thresholds.collect();
            state.sensitivity = Some(preset);
            state.apply();
            Ok(())
        })?;
        Ok(())
    }

    /// Score of each keyword from which on it is detected.
    #[getter]
    fn thresholds(&self, py: Python<'_>) -> PyResult<Vec<f64>> {
        let thresholds = computed(py, || Ok(self.state()?.thresholds.clone()))?;
        Ok(thresholds.into_iter().map(simulate::score).collect())
    }

    /// Sets the score, above 0 and below 1, from which on a keyword (the first) is detected.
    #[pyo3(signature = (score, /, keyword = None))]
    fn set_threshold(&self, py: Python<'_>, score: f64, keyword: Option<&str>) -> PyResult<()> {
        let keyword = self.keyword(keyword)?;
        let threshold = simulate::logit_q8(score).map_err(|_| {
            PyValueError::new_err(format!("a threshold is above 0 and below 1, not {score}"))
        })?;
        computed(py, || {
            let mut state = self.state()?;
            if let Some(place) = state.thresholds.get_mut(keyword) {
                *place = threshold;
            }
            state.sensitivity = None;
            state.apply();
            Ok(())
        })?;
        Ok(())
    }

    /// Processes samples of the stream, and returns the detections in them.
    #[pyo3(signature = (samples, /))]
    fn push(&self, samples: &Bound<'_, PyAny>) -> PyResult<Vec<Detection>> {
        let pcm = samples::samples(samples)?;
        let (fired, thresholds) = computed(samples.py(), || {
            let mut state = self.state()?;
            let mut fired = Vec::new();
            state.pipeline.push(&pcm, |step| Fired::extend(&mut fired, &step));
            Ok((fired, state.thresholds.clone()))
        })?;
        let detection = |fired: Fired| Detection {
            label: self.label(fired.keyword).into(),
            end_samples: fired.end_samples,
            time: fired.end_samples as f64 / SAMPLE_RATE_HZ as f64,
            score: simulate::score(fired.smoothed),
            level: thresholds
                .get(fired.keyword)
                .map_or(0.0, |&threshold| DetectionLevel::of(fired.smoothed, threshold).value()),
        };
        Ok(fired.into_iter().map(detection).collect())
    }

    /// Starts a new stream, in the initial state. Thresholds stay.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        computed(py, || {
            let mut state = self.state()?;
            let file = state.pipeline.file().to_vec();
            state.pipeline = OwnedPipeline::new(file).map_err(Error::Load)?;
            state.apply();
            Ok(())
        })?;
        Ok(())
    }

    /// Returns the smoothed scores of a recording, from the initial state: (steps, keywords).
    #[pyo3(signature = (samples, /))]
    fn scores<'py>(&self, samples: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let sound = Sound::of(samples)?;
        let all = computed(samples.py(), || {
            let mut all = Vec::new();
            self.state()?.run([sound], |step| {
                all.extend(step.decisions.iter().map(|d| simulate::score(d.smoothed)));
            })?;
            Ok(all)
        })?;
        let keywords = self.keywords.len().max(1);
        let shape = [all.len() / keywords, keywords];
        PyArray1::from_vec(samples.py(), all).reshape(shape)
    }

    fn __repr__(&self) -> String {
        format!("Model(name={:?}, keywords={:?})", self.name, self.keywords)
    }
}
