//! Tests of images from files to a model, with the built program: training that must succeed, and
//! realistic bad input, which must be rejected with a reason.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use wakeling_shared::model::ImageModel;
use wakeling_tests::{
    Random,
    forms::{FORMS, form},
};

const SIDE: usize = 16;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .arg("images")
        .args(arguments)
        .current_dir(folder)
        .env("WAKELING_MODELS", folder.join("models"))
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeed(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = run(folder, arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}\n{out}{err}");
    (out, err)
}

/// Runs the program, and expects this exit code and these words in its message.
fn fail(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(folder, arguments);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{err}");
    for word in words {
        assert!(err.contains(word), "{arguments:?}: no {word:?} in\n{err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

fn save(path: PathBuf, pixels: &[u8]) {
    let side = SIDE as u32;
    image::save_buffer(path, pixels, side, side, image::ExtendedColorType::L8).expect("an image");
}

/// Writes class folders with `count` images each.
fn class_folders(folder: &Path, name: &str, count: usize, seed: u64) {
    let random = &mut Random::new(seed);
    for (number, class) in FORMS.iter().enumerate() {
        let class = folder.join(name).join(class);
        fs::create_dir_all(&class).expect("a folder");
        for i in 0..count {
            save(class.join(format!("{i:03}.png")), &form(random, number, SIDE));
        }
    }
}

/// Returns the number that follows `before` in a text.
fn number(text: &str, before: &str) -> f64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|_| panic!("no number behind {before:?} in {text}"))
}

#[test]
fn learns_shapes_then_another_task_from_few_images() {
    let place = TempDir::new().expect("a folder");
    let folder = place.path();
    class_folders(folder, "train", 60, 1);
    class_folders(folder, "test", 30, 2);
    // A text file among the images is ignored, and a broken image is logged.
    fs::write(folder.join("train/disc/notes.txt"), "discs").expect("a file");
    fs::write(folder.join("train/disc/broken.png"), "no picture").expect("a file");
    let settings = ["--tier", "s", "--side", "16", "--channels", "gray", "--steps", "500"];
    let (out, err) = succeed(
        folder,
        &[
            &["pretrain", "--train", "train", "--dev", "test", "--name", "forms", "--out", "base"]
                [..],
            &["--workers", "1"],
            &settings,
        ]
        .concat(),
    );
    assert!(err.contains("notes.txt: no image by its name"), "{err}");
    assert!(err.contains("broken.png") && err.contains("remedy"), "{err}");
    let model = out.trim();

    let (out, _) = succeed(
        folder,
        &["evaluate", "--model", model, "--test", "test", "--float", "base/forms.safetensors"],
    );
    let (float, int8) = out.split_once("int8").expect("both");
    for line in [float, int8] {
        let share = number(line, "images, ");
        assert!(share >= 95.0, "{out}");
    }

    // Two of the forms as labels of one image, from a table; a third of the labels is unknown.
    let random = &mut Random::new(5);
    let mut table = "file,stripes,round,split\n".to_owned();
    for i in 0..60 {
        let class = i % FORMS.len();
        save(folder.join(format!("{i}.png")), &form(random, class, SIDE));
        let cell =
            |known: bool, truth: bool| if known { u8::from(truth).to_string() } else { "?".into() };
        let stripes = cell(i % 4 != 1, class == 2);
        let round = cell(i % 5 != 2, class == 1);
        let split = if i < 40 { "train" } else { "test" };
        table += &format!("{i}.png,{stripes},{round},{split}\n");
    }
    fs::write(folder.join("labels.csv"), table).expect("a table");
    let (out, err) = succeed(
        folder,
        &[
            "finetune",
            "--train",
            "labels.csv",
            "--split",
            "train",
            "--base",
            "base/forms.safetensors",
            "--out",
            "tuned",
            "--steps",
            "60",
            "--workers",
            "1",
            "--dev",
            "labels.csv",
            "--dev-split",
            "test",
        ],
    );
    assert!(err.contains("int8") && err.contains("training"), "{err}");
    let bytes = fs::read(folder.join(out.trim())).expect("a model");
    let model = ImageModel::load(&bytes).expect("a device loads it");
    assert_eq!(model.labels.as_slice(), ["stripes", "round"]);
    assert_eq!(model.card.pretrained, "forms");
    let (out, _) = succeed(
        folder,
        &["evaluate", "--model", "tuned/model.wkl", "--test", "labels.csv", "--split", "test"],
    );
    assert!(number(&out, "mean area under the curve ") >= 0.95, "{out}");

    let (out, _) = succeed(folder, &["simulate", "2.png", "--model", "tuned/model.wkl", "--lines"]);
    assert!(out.starts_with("logits ") && out.split(' ').count() == 3, "{out}");

    fail(
        folder,
        &["evaluate", "--model", "tuned/model.wkl", "--test", "test"],
        3,
        &["test", "its labels are", "remedy"],
    );
}

/// A base may know more labels than a model for a device holds: it is written without a model, and
/// fine-tuned on fewer labels.
#[test]
fn a_network_of_many_labels_is_only_pretrained() {
    let place = TempDir::new().expect("a folder");
    let folder = place.path();
    let random = &mut Random::new(1);
    for class in 0..17 {
        let class = folder.join(format!("many/class-{class:02}"));
        fs::create_dir_all(&class).expect("a folder");
        for i in 0..2 {
            save(class.join(format!("{i}.png")), &form(random, i, SIDE));
        }
    }
    class_folders(folder, "few", 4, 2);
    let many = ["--train", "many", "--out", "base", "--steps", "2", "--workers", "1"];
    let size = ["--side", "16", "--channels", "gray", "--tier", "s", "--name", "many"];
    let pretrain = [&["pretrain", "--dev", "many"], &many[..], &size[..]].concat();
    let (out, err) = succeed(folder, &pretrain);
    assert_eq!(Path::new(out.trim()), Path::new("base").join("many.safetensors"));
    assert!(err.contains("float: accuracy ") && !err.contains("int8"), "{err}");
    assert!(err.contains("/34 images"), "{err}");
    assert!(!folder.join("base/model.wkl").exists());

    let finetune =
        ["finetune", "--base", "base/many.safetensors", "--steps", "2", "--out", "tuned"];
    fail(folder, &[&finetune[..], &["--train", "many"]].concat(), 3, &["17 labels, and 16"]);
    let (out, _) = succeed(folder, &[&finetune[..], &["--train", "few"]].concat());
    let bytes = fs::read(folder.join(out.trim())).expect("a model");
    let model = ImageModel::load(&bytes).expect("a device loads it");
    assert_eq!((model.card.pretrained, model.labels.len()), ("many", FORMS.len()));
}

#[test]
fn shipped_model_learns_gray_shapes_from_few_images() {
    let place = TempDir::new().expect("a folder");
    let folder = place.path();
    class_folders(folder, "train", 12, 1);
    class_folders(folder, "test", 20, 2);
    let arguments = ["finetune", "--train", "train", "--channels", "gray", "--out", "tuned"];
    let (out, err) = succeed(folder, &[&arguments[..], &["--steps", "60"]].concat());
    assert!(err.contains("training all layers: the rarest label has 12 images"), "{err}");
    let bytes = fs::read(folder.join(out.trim())).expect("a model");
    let model = ImageModel::load(&bytes).expect("a device loads it");
    assert_eq!((model.card.pretrained, model.shape.channels), ("photos-m", 1));
    assert_eq!(model.card.licence, "CC BY 4.0");
    let (out, _) = succeed(folder, &["evaluate", "--model", "tuned/model.wkl", "--test", "test"]);
    assert!(number(&out, "images, ") >= 80.0, "{out}");
}

#[test]
fn rejects_invalid_input_with_a_reason() {
    let place = TempDir::new().expect("a folder");
    let folder = place.path();
    class_folders(folder, "train", 2, 1);
    for name in ["hollow", "single/only", "damaged/a", "damaged/b"] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    save(folder.join("single/only/a.png"), &[0; SIDE * SIDE]);
    let whole = fs::read(folder.join("single/only/a.png")).expect("an image");
    fs::write(folder.join("damaged/a/cut.png"), &whole[..whole.len() / 2]).expect("a file");
    fs::write(folder.join("damaged/b/empty.jpg"), "").expect("a file");
    // Claims a size of 2³¹ − 1 pixels each way.
    let mut vast = b"BM".to_vec();
    vast.extend([0; 12]);
    vast.extend([40, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f, 1, 0, 24, 0]);
    vast.extend([0; 24]);
    fs::write(folder.join("damaged/b/vast.bmp"), vast).expect("a file");
    fs::write(folder.join("text.wkl"), "no model").expect("a file");
    for (name, table) in [
        ("empty.csv", ""),
        ("twice.csv", "file,a,a\nx.png,1,0\n"),
        ("unnamed.csv", "file,\nx.png,1\n"),
        ("none.csv", "file\nx.png\n"),
        ("cells.csv", "file,a\nx.png,2\ny.png,1,0\n\"z.png,1\n"),
        ("gone.csv", "file,a\nnot-there.png,1\n"),
    ] {
        fs::write(folder.join(name), table).expect("a table");
    }
    fs::write(folder.join("binary.csv"), [0xff, 0xfe, 0, 1]).expect("a file");

    let train = |path: &'static str| ["pretrain", "--train", path, "--out", "out", "--steps", "1"];
    for (path, code, words) in [
        ("missing", 4, &["missing", "check the name"][..]),
        ("hollow", 3, &["hollow", "2 classes"]),
        ("single", 3, &["single", "1 folders with images"]),
        ("damaged", 3, &["cut.png", "empty.jpg", "vast.bmp", "no image in it can be read"]),
        ("empty.csv", 3, &["empty.csv", "names no label"]),
        ("twice.csv", 3, &["two columns are called \"a\""]),
        ("unnamed.csv", 3, &["without a name"]),
        ("none.csv", 3, &["names no label"]),
        (
            "cells.csv",
            3,
            &["line 2: \"2\" where 1, 0 or ?", "line 3: 3 columns", "line 4: a quote"],
        ),
        ("gone.csv", 3, &["not-there.png", "no image in it can be read"]),
        ("binary.csv", 3, &["UTF-8"]),
    ] {
        fail(folder, &train(path), code, words);
    }
    let pretrained = ["finetune", "--train", "train", "--out", "out"];
    fail(
        folder,
        &[&pretrained[..], &["--base", "nothing"]].concat(),
        2,
        &["no pretrained model \"nothing\""],
    );
    fail(folder, &[&pretrained[..], &["--base", "text.wkl"]].concat(), 3, &["text.wkl"]);
    fail(folder, &[&train("train")[..], &["--side", "7"]].concat(), 2, &["--side", "16 to 256"]);
    fail(folder, &[&train("train")[..], &["--split", "dev"]].concat(), 3, &["no split \"dev\""]);
    fail(folder, &["evaluate", "--model", "text.wkl", "--test", "train"], 3, &["text.wkl"]);
    fail(folder, &["simulate", "x.png", "--model", "missing.wkl"], 4, &["missing.wkl"]);
    fail(
        folder,
        &["compare", "--tasks", "--train", "train", "--test", "train", "--side", "16"],
        3,
        &["one task only"],
    );
    assert!(!folder.join("out/model.wkl").exists());
}
