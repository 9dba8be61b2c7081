//! The weights that ship load, quantize, and have a card that names their sources and licence.

use std::{fs, path::Path};

use wakeling_nn::backbone::{BackboneConfig, Tier};
use wakeling_train::models;

#[test]
fn every_pretrained_model_loads_and_has_a_card() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let card = fs::read_to_string(folder.join("README.md")).expect("the cards");
    let mut speech = 0;
    for entry in fs::read_dir(&folder).expect("the models") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "safetensors") {
            continue;
        }
        let name = path.file_stem().and_then(|n| n.to_str()).expect("a name").to_owned();
        assert!(card.contains(&format!("`{name}.safetensors`")), "{name} has no card");
        assert!(fs::metadata(&path).expect("a size").len() < 2_000_000, "{name} is too large");
        if name.starts_with("photos") {
            continue; // of the crate for images
        }
        let backbone = models::backbone(&name).expect(&name);
        let info = &backbone.pretrained.info;
        let tier = if name.starts_with("base-s") { Tier::S } else { Tier::M };
        assert_eq!((&info.name, &info.backbone), (&name, &BackboneConfig::of(tier)));
        assert_eq!(info.licence, "CC-BY-SA-4.0");
        assert!(info.provenance.contains("hours of"), "{}", info.provenance);
        speech += 1;
    }
    assert!(speech >= 3, "{speech}");
}
