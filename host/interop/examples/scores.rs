//! Runs a converted model on features: reads a TensorFlow Lite file and a file of `i8` features, 40
//! a frame, and writes one `u8` probability a step to the output.

use std::{env, fs, io::Write};

use wakeling_interop::microwakeword::import::{Imported, LOGIT_OF_ZERO, LOGIT_STEP, Settings};
use wakeling_shared::{engine::Engine, model::Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, features, out] = &arguments[..] else {
        return Err("usage: scores MODEL.tflite FEATURES OUT".into());
    };
    let imported = Imported::of(&fs::read(model)?, &Settings::default())?;
    let model = Model::load(imported.bytes())?;
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(&model, &mut arena).map_err(|_| "the arena is too small")?;
    let mut out = std::io::BufWriter::new(fs::File::create(out)?);
    for step in fs::read(features)?.chunks_exact(usize::from(model.step_width())) {
        engine.input().iter_mut().zip(step).for_each(|(x, &byte)| *x = byte as i8);
        let mut logit = [0];
        engine.step(&mut logit);
        out.write_all(&[((logit[0] - LOGIT_OF_ZERO) / LOGIT_STEP) as u8])?;
    }
    Ok(out.flush()?)
}
