//! Fine-tunes the shipped network on a folder of class folders, in a program of one's own:
//!
//! ```sh
//! cargo run --release -p wakeling-vision --example finetune_images -- xrays/train xrays/test runs/xray
//! ```

use std::{error::Error, path::Path};

use wakeling_core::progress::Bars;
use wakeling_vision::{Recipe, dataset::ImageSet, shipped};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, out] = &arguments[..] else {
        return Err("give three folders".into());
    };
    let pretrained = shipped::pretrained_images(shipped::DEFAULT_PRETRAINED_IMAGES)?;
    let images = ImageSet::open(Path::new(train), None, pretrained.shape_with(None)?)?;
    let held_out = images.open_like(Path::new(test), None)?;
    let mut recipe = Recipe::new(pretrained, images)?;
    recipe.held_out = Some(held_out);
    recipe.settings.seed = 7;
    let bars = Bars::default();
    let result = recipe.run(&bars)?;
    result.messages.iter().for_each(|message| println!("{message}"));
    result.evaluation.iter().for_each(|evaluation| print!("{evaluation}"));
    result.save(Path::new(out), serde_json::json!({ "train": train }), &bars)?;
    Ok(())
}
