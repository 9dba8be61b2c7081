//! Sound from Python: arrays of numpy, and files.

use std::path::PathBuf;

use numpy::{PyArray1, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{exceptions::PyTypeError, prelude::*};
use wakeling_audio::{AudioReader, to_i16};

use crate::error::{Result, computed};

/// Value of a full-scale sample in steps of 16 bits.
const FULL_SCALE: f32 = 32_768.0;

/// Recording: samples, or a file that is read block by block.
pub enum Sound {
    Samples(Vec<i16>),
    File(PathBuf),
}

impl Sound {
    /// Takes an array, or the path of a file.
    ///
    /// # Errors
    /// `TypeError` for anything else.
    pub fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(path) = value.extract::<PathBuf>() {
            return Ok(Self::File(path));
        }
        samples(value).map(Self::Samples)
    }

    /// Calls `each` with the blocks of the recording in order.
    pub fn blocks(self, mut each: impl FnMut(&[i16])) -> Result<()> {
        match self {
            Self::Samples(samples) => each(&samples),
            Self::File(path) => {
                for block in AudioReader::open(path)? {
                    each(&block?);
                }
            }
        }
        Ok(())
    }
}

/// Copies samples from an array, so that Python may change it meanwhile. Floating-point samples of
/// −1 to 1 are rounded to 16 bits and saturate.
///
/// # Errors
/// `TypeError` unless it is a one-dimensional array of int16 or float32.
pub fn samples(value: &Bound<'_, PyAny>) -> PyResult<Vec<i16>> {
    if let Ok(array) = value.extract::<PyReadonlyArray1<'_, i16>>() {
        return Ok(array.as_array().to_vec());
    }
    if let Ok(array) = value.extract::<PyReadonlyArray1<'_, f32>>() {
        let steps: Vec<f32> = array.as_array().iter().map(|x| x * FULL_SCALE).collect();
        return Ok(to_i16(&steps));
    }
    let found = match value.cast::<PyUntypedArray>() {
        Ok(array) => format!("an array of {} dimensions of {}", array.ndim(), array.dtype()),
        Err(_) => value.get_type().name()?.to_string(),
    };
    let expected =
        "samples must be a one-dimensional numpy array of int16, or of float32 between -1 and 1";
    Err(PyTypeError::new_err(format!("{expected}, not {found}")))
}

/// Reads a recording of any supported format as 16 kHz mono.
#[pyfunction]
#[pyo3(signature = (path, /))]
pub fn read_audio(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyArray1<i16>>> {
    let mut all = Vec::new();
    computed(py, || Sound::File(path).blocks(|block| all.extend_from_slice(block)))?;
    Ok(PyArray1::from_vec(py, all))
}
