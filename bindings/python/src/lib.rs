#![doc = include_str!("../README.md")]

mod error;
mod evaluation;
mod model;
mod samples;

use pyo3::prelude::*;

/// The compiled part of the package `wakeling`.
#[pymodule]
fn _wakeling(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("SAMPLE_RATE", wakeling_audio::SAMPLE_RATE)?;
    module.add("ModelError", py.get_type::<error::ModelError>())?;
    module.add("AudioError", py.get_type::<error::AudioError>())?;
    module.add_class::<model::Model>()?;
    module.add_class::<model::Detection>()?;
    module.add_class::<evaluation::Evaluation>()?;
    module.add_function(wrap_pyfunction!(evaluation::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(samples::read_audio, module)?)
}
