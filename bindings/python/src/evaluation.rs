//! Misses and false accepts of a model on recordings.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pyo3::{exceptions::PyValueError, prelude::*};
use wakeling_audio::EXTENSIONS;
use wakeling_device::sensitivity::{FalseAccepts, interval};
use wakeling_shared::timebase::SAMPLE_RATE_HZ;

use crate::{
    error::{Error, Result, computed},
    model::{Fired, Model},
    samples::Sound,
};

/// Seconds after the end of a recording in which a detection still counts for it.
const LATE_S: f64 = 1.0;
/// Longest silence around a recording, in seconds.
const LONGEST_S: f64 = 60.0;

/// Misses and false accepts of one keyword.
#[pyclass(frozen, get_all, module = "wakeling")]
pub struct Evaluation {
    /// Label of the keyword.
    keyword: String,
    /// Number of recordings of the keyword.
    positives: usize,
    /// Number of them in which it was not detected.
    misses: usize,
    /// Their positions, counted from 0.
    missed: Vec<usize>,
    /// Share of misses; None without recordings.
    miss_rate: Option<f64>,
    /// Exact 95 % interval of this share.
    miss_interval: (f64, f64),
    /// Number of detections in sound without the keyword.
    false_accepts: usize,
    /// Position of the recording, and second in it, of each of them.
    false_accept_times: Vec<(usize, f64)>,
    /// Hours of this sound.
    hours: f64,
    /// False accepts per hour; None below half an hour of sound.
    false_accepts_per_hour: Option<f64>,
    /// Upper 95 % bound of this rate; None below half an hour of sound.
    at_most_per_hour: Option<f64>,
}

#[pymethods]
impl Evaluation {
    fn __repr__(&self) -> String {
        let Self { keyword, positives, misses, false_accepts: count, hours, .. } = self;
        let accepts = FalseAccepts { count: *count, hours: *hours };
        format!("Evaluation({keyword:?}: {misses} of {positives} missed; false accepts: {accepts})")
    }
}

/// Counts misses in recordings of a keyword, and false accepts in sound without it.
#[pyfunction]
#[pyo3(signature = (model, positives, negatives, *, keyword = None, lead_s = 2.0, tail_s = 1.2))]
pub fn evaluate(
    model: &Bound<'_, Model>,
    positives: &Bound<'_, PyAny>,
    negatives: &Bound<'_, PyAny>,
    keyword: Option<&str>,
    lead_s: f64,
    tail_s: f64,
) -> PyResult<Evaluation> {
    let (py, model) = (model.py(), model.get());
    let word = model.keyword(keyword)?;
    let silence = [samples_of("lead_s", lead_s)?, samples_of("tail_s", tail_s)?];
    let mut missed = Vec::new();
    let count = for_each(positives, |at, sound| {
        if !computed(py, || is_detected(model, word, sound, silence))? {
            missed.push(at);
        }
        Ok(())
    })?;
    let (mut times, mut samples) = (Vec::new(), 0);
    for_each(negatives, |at, sound| {
        let (fired, length) = computed(py, || detections(model, word, [sound]))?;
        samples += length;
        times.extend(fired.into_iter().map(|end| (at, end as f64 / SAMPLE_RATE_HZ as f64)));
        Ok(())
    })?;
    let hours = samples as f64 / SAMPLE_RATE_HZ as f64 / 3_600.0;
    let accepts = FalseAccepts { count: times.len(), hours };
    Ok(Evaluation {
        keyword: model.label(word).into(),
        positives: count,
        misses: missed.len(),
        miss_rate: (count > 0).then(|| missed.len() as f64 / count as f64),
        miss_interval: interval(missed.len(), count),
        missed,
        false_accepts: times.len(),
        false_accept_times: times,
        hours,
        false_accepts_per_hour: accepts.is_rate().then(|| accepts.count as f64 / hours),
        at_most_per_hour: accepts.at_most_per_hour(),
    })
}

/// Returns a duration in samples.
fn samples_of(name: &str, seconds: f64) -> PyResult<usize> {
    if (0.0..=LONGEST_S).contains(&seconds) {
        return Ok((seconds * SAMPLE_RATE_HZ as f64).round() as usize);
    }
    Err(PyValueError::new_err(format!(
        "{name} must be from 0 to {LONGEST_S} seconds, not {seconds}"
    )))
}

/// Returns whether the keyword is detected in a recording, or up to [`LATE_S`] after it.
fn is_detected(model: &Model, word: usize, sound: Sound, [lead, tail]: [usize; 2]) -> Result<bool> {
    let silence = |samples| Sound::Samples(vec![0; samples]);
    let (fired, length) = detections(model, word, [silence(lead), sound, silence(tail)])?;
    let late = (LATE_S * SAMPLE_RATE_HZ as f64) as u64;
    let end = (length - tail as u64).saturating_add(late);
    Ok(fired.into_iter().any(|at| at > lead as u64 && at <= end))
}

/// Returns the positions at which the keyword is detected, and the length of the sound in samples.
fn detections(
    model: &Model,
    word: usize,
    sound: impl IntoIterator<Item = Sound>,
) -> Result<(Vec<u64>, u64)> {
    let mut fired = Vec::new();
    let length = model.state()?.run(sound, |step| Fired::extend(&mut fired, &step))?;
    let ends = fired.into_iter().filter(|fired| fired.keyword == word).map(|f| f.end_samples);
    Ok((ends.collect(), length))
}

/// Calls `each` with the position and the sound of each recording: of an iterable, or of a folder.
/// Returns their number. Between two recordings, Ctrl-C ends it.
fn for_each(
    recordings: &Bound<'_, PyAny>,
    mut each: impl FnMut(usize, Sound) -> PyResult<()>,
) -> PyResult<usize> {
    let mut count = 0;
    let mut next = |sound| {
        recordings.py().check_signals()?;
        each(count, sound)?;
        count += 1;
        Ok::<_, PyErr>(())
    };
    if let Ok(path) = recordings.extract::<PathBuf>() {
        for file in files(&path)? {
            next(Sound::File(file))?;
        }
    } else {
        for item in recordings.try_iter()? {
            next(Sound::of(&item?)?)?;
        }
    }
    Ok(count)
}

/// Returns a file itself, or all recordings in a folder and those below it, sorted by name. Links to
/// folders and hidden files are skipped.
fn files(path: &Path) -> PyResult<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        let failed = |error| Error::Audio(wakeling_audio::Error::io(&folder, "read")(error));
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if is_audio(&path) {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        let message = format!("{}: no recordings in this folder", path.display());
        return Err(PyValueError::new_err(message));
    }
    found.sort();
    Ok(found)
}

fn is_audio(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&&*extension))
}
