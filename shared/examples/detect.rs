//! Prints the keywords in a recording: `detect MODEL.wkl RECORDING.wav` (16 kHz mono 16-bit WAV).

use std::{env, error::Error, fs};

use wakeling_shared::{model::Model, pipeline::Pipeline, timebase::SAMPLE_RATE_HZ};

fn main() -> Result<(), Box<dyn Error>> {
    let [model, wav] = env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: detect MODEL WAV")?;
    let file = fs::read(model)?;
    let model = Model::load(&file).map_err(|error| error.to_string())?;
    let pcm = hound::WavReader::open(wav)?.into_samples().collect::<Result<Vec<i16>, _>>()?;
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(&model, &mut arena).map_err(|_| "the arena is too small")?;
    pipeline.push(&pcm, |step| {
        for (word, _) in model.words.iter().zip(step.decisions).filter(|(_, d)| d.fired) {
            println!("{:.2} s  {}", step.end_samples as f64 / SAMPLE_RATE_HZ as f64, word.label);
        }
    });
    Ok(())
}
