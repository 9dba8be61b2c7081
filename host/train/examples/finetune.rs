//! Trains a wake word from a folder of recordings, in a program of one's own:
//!
//! ```sh
//! cargo run --release -p wakeling-train --example finetune -- "hey computer" recordings/ runs/computer
//! ```

use std::{error::Error, path::Path};

use wakeling_core::progress::Bars;
use wakeling_data::takes::{self, Purpose};
use wakeling_train::{
    finetune::{Keyword, Recipe},
    models,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [label, recordings, out] = &arguments[..] else {
        return Err("give a phrase and two folders".into());
    };
    let backbone = models::backbone(models::DEFAULT_PRETRAINED)?;
    let (path, bars) = (Path::new(recordings), Bars::default());
    let takes = takes::open(path, label, &backbone.frontend(), Purpose::Train, &bars)?.takes;
    let mut recipe = Recipe::new(backbone, vec![Keyword::of_takes(label, takes)])?;
    recipe.settings.train.seed = 7;
    let result = recipe.run(&bars)?;
    result.messages.iter().for_each(|message| println!("{message}"));
    result.save(Path::new(out), serde_json::json!({ "recordings": path }), &bars)?;
    Ok(())
}
