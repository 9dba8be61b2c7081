//! Inference of image models with the device's code: the same engine on the host, or the firmware
//! in QEMU.

use std::path::Path;

use rayon::prelude::*;
use wakeling_shared::{engine::ImageEngine, events::Logits, model::ImageModel};

use super::{Error, Result, dataset::ImageSet, pixels::quantized};
use wakeling_device::emulator::{Emulator, IMAGE, Machine};

/// Loads a model as [`ImageModel::load`] does, with an error that names the file.
///
/// # Errors
/// [`Error::NotAModel`] if the file is no valid image model.
pub fn load<'a>(path: &Path, bytes: &'a [u8]) -> Result<ImageModel<'a>> {
    ImageModel::load(bytes).map_err(|reason| Error::NotAModel { path: path.into(), reason })
}

/// Computes the logits (Q8) of an image, given as `(height, width, channels)` bytes of the model's
/// size.
///
/// # Errors
/// [`Error::PixelBytes`] if the image has another size.
pub fn run(model: &ImageModel<'_>, pixels: &[u8]) -> Result<Vec<i16>> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = ImageEngine::new(model, &mut arena)
        .map_err(|error| Error::defect(format!("the model does not run: {error:?}")))?;
    let input = engine.input();
    if input.len() != pixels.len() {
        return Err(Error::PixelBytes { expected: model.shape.bytes() });
    }
    input.iter_mut().zip(pixels).for_each(|(x, &p)| *x = quantized(p));
    let mut logits = vec![0; model.labels.len()];
    engine.run(&mut logits);
    Ok(logits)
}

/// Computes the logits of an image, as [`run`] does, and returns them with their labels, the highest
/// first.
///
/// # Errors
/// As [`run`].
pub fn ranked<'a>(model: &ImageModel<'a>, pixels: &[u8]) -> Result<Vec<(f64, &'a str)>> {
    let logits = run(model, pixels)?.into_iter().map(|logit| f64::from(logit) / 256.0);
    let mut ranked: Vec<(f64, &str)> = logits.zip(model.labels.iter().copied()).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(ranked)
}

/// Computes the logits of every image, as floats.
///
/// # Errors
/// As [`run`].
pub fn logits(model: &ImageModel<'_>, images: &ImageSet) -> Result<Vec<Vec<f32>>> {
    let one = |logits: Vec<i16>| logits.iter().map(|&logit| f32::from(logit) / 256.0).collect();
    images.all.par_iter().map(|p| run(model, &p.pixels).map(one)).collect()
}

/// Returns the line that the device prints for an image.
///
/// # Errors
/// As [`run`].
pub fn line(model: &ImageModel<'_>, pixels: &[u8]) -> Result<String> {
    Ok(Logits(&run(model, pixels)?).to_string())
}

/// Runs an image on the emulated device and returns its output: the logits and their cost.
///
/// # Errors
/// As [`Emulator::run`].
pub fn emulated_lines(machine: Machine, file: &[u8], pixels: &[u8]) -> Result<String> {
    let emulator = Emulator::built(machine, IMAGE).map_err(wakeling_device::Error::from)?;
    Ok(emulator.run(file, &samples(pixels), false)?)
}

/// Packs pixels into the samples that the emulated board reads: two pixels per sample.
pub fn samples(pixels: &[u8]) -> Vec<i16> {
    let byte = |p: Option<&u8>| p.map_or(0, |&p| quantized(p) as u8);
    let pair = |pair: &[u8]| i16::from_le_bytes([byte(pair.first()), byte(pair.get(1))]);
    pixels.chunks(2).map(pair).collect()
}
