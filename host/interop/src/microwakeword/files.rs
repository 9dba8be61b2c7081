//! Files of a keyword for ESPHome.

use super::{
    counts::FalseAccepts,
    esphome,
    export::Network,
    manifest::{Manifest, Micro},
};
use wakeling_device::board::esphome::{ESPHOME_BOARDS, EspHomeBoard};
use wakeling_shared::model::Model;

/// Facts for the manifest and the configuration, besides the model.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Author.
    pub author: &'a str,
    /// Address of a page about the model; may be empty.
    pub website: &'a str,
    /// Languages of the recordings, such as "en".
    pub languages: &'a [String],
    /// Board of the configuration.
    pub board: &'a EspHomeBoard,
}

impl Default for About<'_> {
    fn default() -> Self {
        Self { author: "unknown", website: "", languages: &[], board: &ESPHOME_BOARDS[0] }
    }
}

/// Returns the four files of a keyword, with their names: the network `NAME.tflite`, the page
/// `NAME.md`, the configuration `NAME.yaml` and, last, the manifest `NAME.json` that refers to the
/// network. `counted` are the detections in negatives, for the page.
pub fn files(
    (model, keyword): (&Model<'_>, usize),
    network: &Network,
    name: &str,
    counted: Option<&FalseAccepts>,
    about: &About<'_>,
) -> [(String, Vec<u8>); 4] {
    let word = &model.words[keyword];
    let scale = &network.scale;
    let micro = Micro {
        probability_cutoff: scale.probability_cutoff(),
        sliding_window_size: scale.window().into(),
        tensor_arena_size: network.arena.total(),
        ..Micro::default()
    };
    let manifest = Manifest {
        author: about.author.to_owned(),
        website: about.website.to_owned(),
        trained_languages: about.languages.to_vec(),
        ..Manifest::new(word.label, format!("{name}.tflite"), micro)
    };
    let configuration = esphome::configuration(word.label, &format!("{name}.json"), about.board);
    let page = esphome::page(model, word, network, counted);
    [
        (format!("{name}.tflite"), network.file.clone()),
        (format!("{name}.md"), page.into_bytes()),
        (format!("{name}.yaml"), configuration.into_bytes()),
        (format!("{name}.json"), manifest.to_json().into_bytes()),
    ]
}
