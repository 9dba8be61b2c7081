//! Entry points for files of our own that may have been modified.

use std::{path::PathBuf, sync::LazyLock};

use rand::{SeedableRng, rngs::StdRng};
use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_capture::folder::{ClipMetadata, Folder};
use wakeling_data::{
    dataset::{Example, index::DatasetIndex},
    mixing::MelStream,
    negatives::{Negatives, SpeechClip},
    pack as packs_of,
};
use wakeling_nn::{
    backbone::BackboneConfig,
    head::HeadConfig,
    params::Params,
    pretrained::{PRETRAINED_FORMAT, PretrainedMetadata, PretrainedModel},
};
use wakeling_shared::{detector::DetectorParams, model::OperatingPoint};
use wakeling_train::{
    head_checkpoint::{HeadCheckpoint, HeadMetadata, fingerprint},
    quantize::{Backbone, CardText, QuantizedModel},
};
use wakeling_vision as images;
use wakeling_vision::file::ImageNetwork;

use super::{
    datasets::{in_scratch, put},
    device::refused_or_runs,
};
use crate::{Random, image::seen_network};

/// Builds the smallest possible pretrained model, with random weights.
pub fn small_pretrained() -> PretrainedModel {
    let backbone = BackboneConfig { channels: 8, taps: 5, dilations: vec![1], frames_per_step: 2 };
    let rng = &mut StdRng::seed_from_u64(1);
    let mut params = Params::default();
    backbone.init(&mut params, rng).expect("weights");
    let names = ["stem", "00.depthwise", "00.pointwise", "00.sum"];
    let info = PretrainedMetadata {
        format: PRETRAINED_FORMAT,
        name: "random".into(),
        backbone,
        normalization: NormalizationKind::Log,
        tokens: Default::default(),
        words: Default::default(),
        ranges: names.map(|name| (format!("trunk.{name}"), -4.0, 4.0)).into(),
        provenance: "1 hours of nothing".into(),
        licence: "CC0-1.0".into(),
    };
    PretrainedModel { info, params, tables: FrontendTables::default() }
}

/// Builds a head with random weights for a pretrained model.
pub fn small_head(pretrained: &PretrainedModel) -> HeadCheckpoint {
    let head = HeadConfig { hidden: 8, temporal: vec![(3, 1)] };
    let rng = &mut StdRng::seed_from_u64(2);
    let mut params = Params::default();
    let channels = pretrained.info.backbone.channels;
    head.init(&mut params, vec![1.0; channels], 1, rng).expect("weights");
    let info = HeadMetadata {
        label: "hey".into(),
        pretrained: pretrained.info.name.clone(),
        pretrained_fingerprint: fingerprint(pretrained).expect("weights"),
        ranges: head.layers().into_iter().map(|layer| (layer.name, 0.0, 4.0)).collect(),
        head,
        detector: DetectorParams { smoothing_steps: 4, threshold: 512, refractory_steps: 50 },
        points: vec![OperatingPoint { false_accepts: 1, audio_seconds: 60, threshold: 700 }],
        recordings: 1,
    };
    HeadCheckpoint { info, params }
}

/// Encodes the model file of one keyword; an error if pretrained model and head do not fit.
pub fn model_of(
    pretrained: &PretrainedModel,
    head: &HeadCheckpoint,
) -> wakeling_train::Result<Vec<u8>> {
    let backbone = Backbone::new(pretrained.clone())?;
    let word = head.entry(&backbone)?;
    let card = CardText { name: "hostile".into(), provenance: "tests".into() };
    QuantizedModel::new(&backbone, vec![word], card)?.bytes()
}

/// Returns the bytes that `save` writes.
fn saved<E: std::fmt::Debug>(save: impl FnOnce(&std::path::Path) -> Result<(), E>) -> Vec<u8> {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("file");
    save(&path).expect("it can be written");
    std::fs::read(path).expect("it was written")
}

/// Corrects the leading length of a safetensors file to that of its header, so that changed records
/// are read rather than rejected for their length.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let data = bytes.windows(3).position(|end| end == b"]}}");
    if let Some(length) = data.and_then(|at| (at + 3).checked_sub(8)) {
        bytes[..8].copy_from_slice(&(length as u64).to_le_bytes());
    }
    bytes
}

fn with_file(bytes: &[u8], with: impl Fn(PathBuf)) {
    in_scratch(|folder| {
        with(put(folder, "as-it-is", bytes));
        with(put(folder, "repaired", &repaired(bytes)));
    });
}

/// Pretrained model for [`head`].
static PRETRAINED: LazyLock<PretrainedModel> = LazyLock::new(small_pretrained);

/// Loads a pretrained model. It is rejected, or it can be quantized or gives an error.
pub fn pretrained(bytes: &[u8]) {
    with_file(bytes, |path| {
        let Ok(pretrained) = PretrainedModel::load(&path) else { return };
        if let Ok(backbone) = Backbone::new(pretrained.clone()) {
            let card = CardText { name: "hostile".into(), provenance: String::new() };
            let _ = QuantizedModel::new(&backbone, Vec::new(), card).and_then(|m| m.bytes());
        }
        let _ = pretrained.embed(&MelStream::new(8));
    });
}

/// A small pretrained model.
pub fn pretrained_models() -> Vec<Vec<u8>> {
    vec![saved(|path| small_pretrained().save(path))]
}

/// Loads a head. It is rejected, or it makes a model that is rejected or runs.
pub fn head(bytes: &[u8]) {
    with_file(bytes, |path| {
        let Ok(head) = HeadCheckpoint::load(&path, &PRETRAINED) else { return };
        if let Ok(file) = model_of(&PRETRAINED, &head) {
            refused_or_runs(&file);
        }
    });
}

/// A small head.
pub fn heads() -> Vec<Vec<u8>> {
    vec![saved(|path| small_head(&PRETRAINED).save(path))]
}

/// Loads an image network. It is rejected, or it can be quantized or gives an error.
pub fn image_network(bytes: &[u8]) {
    with_file(bytes, |path| {
        let Ok(network) = ImageNetwork::load(&path) else { return };
        if let Ok(file) = images::quantize::encode(&network) {
            refused_or_runs(&file);
        }
    });
}

/// A small image network.
pub fn image_networks() -> Vec<Vec<u8>> {
    vec![saved(|path| seen_network(1, images::network::Tier::S, 16).save(path))]
}

/// Reads a pack of negative data as it is, and with its checksum repaired.
pub fn pack(bytes: &[u8]) {
    in_scratch(|folder| {
        let _ = packs_of::read(&put(folder, "as-it-is.pack", bytes));
        if let Some((_, body)) = bytes.split_at_checked(10) {
            let mut crc = flate2::Crc::new();
            crc.update(body);
            let mut sealed = bytes.to_vec();
            sealed[6..10].copy_from_slice(&crc.sum().to_le_bytes());
            let _ = packs_of::read(&put(folder, "sealed.pack", &sealed));
        }
    });
}

/// A small pack.
pub fn packs() -> Vec<Vec<u8>> {
    let clip = |seed: u64, frames: usize| {
        let random = &mut Random::new(seed);
        (0..frames).map(|_| std::array::from_fn(|_| random.below(12_000) as i16)).collect()
    };
    let speech = vec![SpeechClip { frames: clip(1, 70), text: "one 一".into() }];
    let negatives = Negatives { speech, noise: vec![clip(2, 9)] };
    vec![packs_of::encode(&negatives).expect("memory")]
}

/// Reads a list of clips beside a checkpoint.
pub fn dataset_index(bytes: &[u8]) {
    in_scratch(|folder| {
        let Ok(index) = DatasetIndex::open(&put(folder, "clips.jsonl", bytes)) else { return };
        let mut clips = 0;
        let read = index.for_each::<Example>(|block| {
            clips += block.len() as u64;
            Ok(())
        });
        assert!(read.is_err() || clips == index.clips());
        for workers in [1, 2, 5] {
            let parts = (0..workers).map(|worker| index.part(worker, workers).clips());
            assert!(parts.sum::<u64>() >= index.clips());
        }
    });
}

/// A list of three clips in two groups.
pub fn dataset_indexes() -> Vec<Vec<u8>> {
    let written = saved(|path| {
        DatasetIndex::write(path, |out| {
            for (group, name) in [("a", "a.wav"), ("a", "b.wav"), ("b", "c.wav")] {
                out.add(group, &Example::unlabelled(name));
            }
            Ok(())
        })
        .map(drop)
    });
    vec![written]
}

/// Opens the manifest of a folder of recordings, as `record` does to continue one. Its entries and
/// its other lines must stay.
pub fn recordings(bytes: &[u8]) {
    in_scratch(|folder| {
        let manifest = put(folder, "manifest.jsonl", bytes);
        let metadata = ClipMetadata { text: "hey".into(), ..ClipMetadata::default() };
        let Ok(mut open) = Folder::open(folder, "take", &metadata) else { return };
        let kept = open.kept().len();
        open.keep(&[1; 160], &metadata).expect("room on the disk");
        assert_eq!(open.kept().len(), kept + 1);
        let text = std::fs::read_to_string(manifest).expect("the manifest");
        let before = String::from_utf8_lossy(bytes);
        assert!(before.lines().all(|line| text.contains(line)), "a line is lost");
    });
}

/// Manifests of `record`.
pub fn recording_manifests() -> Vec<Vec<u8>> {
    let line = "{\"audio_filepath\":\"take-0001.wav\",\"duration\":1.5,\"text\":\"hey\",\"speaker\":\
                \"Ana\",\"style\":\"far\",\"kind\":\"word\"}\n";
    vec![line.into(), format!("{line}# a note\n{line}").into()]
}
