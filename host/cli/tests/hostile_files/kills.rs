//! Tests of killed commands: the files they leave are complete, and the same command then finishes
//! the work.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use wakeling_tests::{
    Random,
    forms::{FORMS, form},
    image::seen_network,
    shipped::few_models,
};

use crate::{TestDir, WRITERS, files, stderr};

/// Number of times each command is killed.
const KILLS: u64 = 12;
/// Number of times a training is killed, which takes longer.
const TRAINING_KILLS: u64 = 3;
/// Height and width of the images.
const SIDE: usize = 16;

#[test]
fn a_command_that_is_killed_leaves_whole_files_or_none() {
    let place = TestDir::new();
    let out = place.path("out");
    for (name, arguments) in WRITERS {
        let fresh = || {
            let _ = fs::remove_dir_all(&out);
            fs::create_dir(&out).expect("a folder");
        };
        fresh();
        let begun = Instant::now();
        let output = place.run(arguments);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let took = begun.elapsed();
        let whole = files(&out);
        assert!(!whole.is_empty(), "{name} writes nothing");
        let mut cut = 0;
        for kill in 0..KILLS {
            fresh();
            let random = &mut Random::new(kill);
            let mut child = place.command(arguments).spawn().expect("the program starts");
            // Most of the time passes before anything is written.
            std::thread::sleep(
                took.mul_f64(0.3 + 0.8 * f64::from(random.below(1_000) as u32) / 1e3),
            );
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            let left = files(&out);
            for (path, bytes) in &left {
                assert!(
                    whole.get(path) == Some(bytes),
                    "{name}: {} is no whole file",
                    path.display()
                );
            }
            cut += u64::from(left.len() < whole.len());
        }
        // The same command then does all of the work, whatever the killed one left.
        let output = place.run(arguments);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert!(files(&out) == whole, "{name} does not end as it would have");
        eprintln!("{name}: {KILLS} killed, {cut} of them before the end");
    }
}

/// Creates a folder in which keywords and images can be trained in seconds.
fn training_place() -> TestDir {
    let place = TestDir::new();
    few_models(place.0.path(), "base-s");
    fs::rename(place.path("models/negatives"), place.path("negatives")).expect("ours");
    let pretrained = seen_network(1, wakeling_vision::network::Tier::S, SIDE);
    pretrained.save(&place.path("forms.safetensors")).expect("a base for pictures");
    let (random, side) = (&mut Random::new(1), SIDE as u32);
    for (number, class) in FORMS.iter().enumerate() {
        let folder = place.path(&format!("pictures/{class}"));
        fs::create_dir_all(&folder).expect("a folder");
        for i in 0..8 {
            let (path, pixels) = (folder.join(format!("{i}.png")), form(random, number, SIDE));
            image::save_buffer(path, &pixels, side, side, image::ExtendedColorType::L8)
                .expect("an image");
        }
    }
    place
}

/// Checkpoint of a training. Its metadata has a random order, so two files with the same content
/// differ. Equal results of the runs show that it was complete.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// Options common to all trainings here.
const INTO_OUT: [&str; 4] = ["--workers", "1", "--out", "out"];

/// Kills `child` after a random part of `took`, at least the share `first` of it.
fn kill_within(mut child: Child, took: Duration, first: f64, random: &mut Random) {
    let share = first + (1.05 - first) * f64::from(random.below(1_000) as u32) / 1e3;
    std::thread::sleep(took.mul_f64(share));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// Kills a training that starts from the beginning each time, over the output of another seed.
fn kill_over_the_one_before(training: &str) {
    let place = training_place();
    let out = place.path("out");
    let name = training.split(" --").next().unwrap_or_default();
    let fixed: Vec<&str> = training.split(' ').collect();
    let arguments = |seed| [&fixed[..], &INTO_OUT, &["--seed", seed]].concat();
    let run = |seed| {
        let begun = Instant::now();
        let output = place.run(&arguments(seed));
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        (files(&out), begun.elapsed())
    };
    let (before, _) = run("1");
    let (whole, took) = run("2");
    assert!(before != whole && before.keys().eq(whole.keys()), "{name}: a test of nothing");
    let mut cut = 0;
    for kill in 0..TRAINING_KILLS {
        before.iter().for_each(|(path, bytes)| fs::write(path, bytes).expect("ours"));
        let child = place.command(&arguments("2")).spawn().expect("the program starts");
        kill_within(child, took, 0.4, &mut Random::new(kill));
        let left = files(&out);
        assert!(left.keys().eq(before.keys()), "{name}: {:?}", left.keys());
        for (path, bytes) in &left {
            let is_whole = *bytes == before[path] || *bytes == whole[path];
            assert!(is_whole, "{name}: {} is no whole file", path.display());
        }
        cut += u64::from(left != whole);
    }
    eprintln!("{name}: {TRAINING_KILLS} killed, {cut} of them before the end");
}

#[test]
fn a_training_that_is_killed_leaves_the_one_before() {
    kill_over_the_one_before(
        "finetune --word hey=speech/yes --base base.safetensors --negative-hours 0.3 --steps 30",
    );
}

#[test]
fn a_training_on_images_that_is_killed_leaves_the_one_before() {
    kill_over_the_one_before(
        "images finetune --train pictures --base forms.safetensors --steps 20",
    );
}

/// Kills a command that resumes where it was interrupted, then lets it finish. Each file that a
/// kill leaves must be as in `whole`, and in the end all must be. Names in `grows` are files that
/// change all the time; only their final content counts.
fn kill_and_go_on(
    (place, name): (&TestDir, &str),
    arguments: &[&str],
    (whole, took): (&BTreeMap<PathBuf, Vec<u8>>, Duration),
    grows: &[&str],
) {
    let out = place.path("out");
    let mut cut = 0;
    for kill in 0..TRAINING_KILLS {
        let _ = fs::remove_dir_all(&out);
        let child = place.command(arguments).spawn().expect("the program starts");
        kill_within(child, took, 0.1, &mut Random::new(kill));
        let left = files(&out);
        for (path, bytes) in &left {
            let grows = path.file_name().is_some_and(|n| grows.iter().any(|&grows| n == grows));
            assert!(
                grows || whole.get(path) == Some(bytes),
                "{name}: {} is no whole file",
                path.display()
            );
        }
        cut += u64::from(left != *whole);
        let output = place.run(arguments);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let ended = files(&out);
        assert!(ended.keys().eq(whole.keys()), "{name}: {:?}", ended.keys());
        for (path, bytes) in ended.iter().filter(|(path, _)| !path.ends_with(CHECKPOINT)) {
            assert!(*bytes == whole[path], "{name}: {} ends otherwise", path.display());
        }
    }
    eprintln!("{name}: {TRAINING_KILLS} killed, {cut} of them before the end");
}

#[test]
fn a_pretraining_on_images_that_is_killed_goes_on() {
    let place = training_place();
    let fixed = "images pretrain --train pictures --tier s --side 16 --channels gray --steps 450 \
                 --batch 2";
    let fixed: Vec<&str> = fixed.split(' ').collect();
    let arguments = [&fixed[..], &INTO_OUT].concat();
    let begun = Instant::now();
    let output = place.run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let (whole, took) = (files(&place.path("out")), begun.elapsed());
    let grows = [CHECKPOINT, "train.csv", "train.svg"];
    kill_and_go_on((&place, "images pretrain"), &arguments, (&whole, took), &grows);
}
