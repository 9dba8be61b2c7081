//! Names and bytes on disk and on the wire: heads, models, packs and signed packages that an earlier
//! version wrote are read, and the same inputs give the same bytes.
//!
//! `tests/fixtures/wire` holds a head and the model of it, as version 0.1.0 wrote them. What is
//! larger or follows from them is pinned by its SHA-256. Everything here is integer arithmetic or
//! scalar float arithmetic, so it does not depend on the processor; `same_bytes.rs` pins training.

#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use wakeling_data::{pack, remote::hex};
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::head_checkpoint::HeadCheckpoint;

/// Secret key of the signature that is pinned. It protects nothing.
const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

/// SHA-256 of what the fixtures and `demo/` give: an unsigned and a signed package, a model that a
/// device enrolls, a pack of negatives.
const UNSIGNED: &str = "8de3cd698c3b263051d6f785ba89cb11ee403703119c03575858972d46e51af4";
const SIGNED: &str = "772f8abfc269c8f67dde9951563bea39159767fb3f657f74ddf135d87a49db7e";
const ENROLLING: &str = "6dc313f613155583ebb81f519666f2be7ddb1d584f2b029d3493b55f95b24250";
const PACK: &str = "cf3b628555e60a38de7cd2cbfb3d0545f222d8b860e8c84196987afffd7c8ada";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/wire").join(name)
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name)
}

/// Runs the program in the root of the repository, so that paths in its output are the same on every
/// machine.
fn run(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(arguments)
        .current_dir(root())
        .env_remove("WAKELING_MODELS")
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Writes [`KEY`] to a file that only its owner may read, as the program demands.
fn write_secret(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, KEY).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in Unicode")
}

#[test]
fn a_head_written_before_gives_the_same_model() {
    let place = TempDir::new().expect("a folder");
    let model = place.path().join("model.wkl");
    let head = fixture("hey-wakeling.head");
    run(&["quantize", "--head", text(&head), "--base", "base-s", "--out", text(&model)]);
    assert!(fs::read(model).unwrap() == fs::read(fixture("model.wkl")).unwrap());
}

#[test]
fn heads_and_pretrained_models_written_before_are_written_alike() {
    let place = TempDir::new().expect("a folder");
    let again = place.path().join("again");
    let same = |path: &Path| assert!(fs::read(&again).unwrap() == fs::read(path).unwrap());
    let pretrained = PretrainedModel::load(&shipped("base-s.safetensors")).expect("a base");
    pretrained.save(&again).unwrap();
    same(&shipped("base-s.safetensors"));
    let head = fixture("hey-wakeling.head");
    HeadCheckpoint::load(&head, &pretrained).expect("a head").save(&again).unwrap();
    same(&head);
    #[cfg(feature = "vision")]
    {
        for name in ["photos-m.safetensors", "photos-s.safetensors"] {
            let images = shipped(name);
            let network = wakeling_vision::file::ImageNetwork::load(&images).expect("a base");
            network.save(&again).unwrap();
            same(&images);
        }
    }
}

#[test]
fn a_model_written_before_prints_the_same_events() {
    let model = fixture("model.wkl");
    let simulate = |more: &[&str]| {
        run(&[&["simulate", "demo/test", "demo/talk", "--model", text(&model)], more].concat())
            .stdout
    };
    let events = fs::read(fixture("simulate.jsonl")).unwrap();
    assert!(simulate(&["--json"]) == events, "the JSON lines differ");
    let lines = fs::read(fixture("simulate.txt")).unwrap();
    assert!(simulate(&[]) == lines, "the lines differ");
}

#[test]
fn packages_and_an_enrolling_model_have_the_same_bytes() {
    let place = TempDir::new().expect("a folder");
    let (out, key) = (place.path().join("out"), place.path().join("key"));
    write_secret(&key);
    let model = fixture("model.wkl");
    let sign = ["sign", text(&model), "--model-version", "5", "--out", text(&out)];
    let hash = |arguments: &[&str]| {
        run(arguments);
        sha256(&fs::read(&out).unwrap())
    };
    assert_eq!(hash(&[&sign[..], &["--unsigned"]].concat()), UNSIGNED);
    assert_eq!(hash(&[&sign[..], &["--key", text(&key)]].concat()), SIGNED);
    let enroll = ["quantize", "--enroll", "my word", "--base", "base-s", "--out", text(&out)];
    assert_eq!(hash(&enroll), ENROLLING);
}

#[test]
fn packs_have_the_same_bytes_and_are_read() {
    let place = TempDir::new().expect("a folder");
    let out = text(place.path());
    run(&[
        "pack",
        "--speech",
        "demo/train-speech",
        "--out",
        out,
        "--files",
        "1",
        "--megabytes",
        "0.3",
    ]);
    let file = place.path().join("1.pack");
    assert_eq!(sha256(&fs::read(&file).unwrap()), PACK);
    let clips = pack::read(&file).expect("a pack").speech.len();
    assert!(clips > 10, "{clips} clips");
}
