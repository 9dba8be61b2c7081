//! Tests of saved recordings, by processes that are killed and by two at once.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use wakeling_audio as audio;
use wakeling_capture::folder::{ClipMetadata, Folder};
use wakeling_data::dataset::Dataset;
use wakeling_tests::Random;

/// Child process of the tests below: saves recordings until it is killed, and prints each name.
#[test]
fn child_that_records() {
    let Some(folder) = env::var_os("WAKELING_TEST_RECORDS") else { return };
    let value: i16 = env::var("WAKELING_TEST_VALUE").expect("a number").parse().expect("a number");
    let metadata = ClipMetadata { text: "hey".into(), ..ClipMetadata::default() };
    let mut folder = Folder::open(Path::new(&folder), "take", &metadata).expect("a folder");
    for _ in 0..env::var("WAKELING_TEST_COUNT").expect("a number").parse().expect("a number") {
        let path = folder.keep(&vec![value; 4_000], &metadata).expect("it is kept");
        println!("\nkept {}", path.display());
    }
}

fn recorder(folder: &Path, value: i16, count: usize) -> Child {
    Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "recordings::child_that_records", "--nocapture"])
        .env("WAKELING_TEST_RECORDS", folder)
        .env("WAKELING_TEST_VALUE", value.to_string())
        .env("WAKELING_TEST_COUNT", count.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test starts")
}

/// Returns the recordings that a recorder reported as saved.
fn kept(child: &mut Child) -> Vec<PathBuf> {
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let lines = lines.map_while(Result::ok);
    lines.filter_map(|l| l.strip_prefix("kept ").map(PathBuf::from)).collect()
}

#[test]
fn saved_recordings_survive_every_kill() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = place.path().join("takes");
    let mut all: Vec<PathBuf> = Vec::new();
    for kill in 0..10 {
        let mut child = recorder(&folder, 5, 10_000);
        let killer = std::thread::spawn({
            let (id, wait) = (child.id(), 60 + Random::new(kill).below(150) as u64);
            move || {
                std::thread::sleep(Duration::from_millis(wait));
                let done = Command::new("kill").args(["-9", &id.to_string()]).status();
                assert!(done.expect("kill is there").success());
            }
        });
        all.extend(kept(&mut child));
        killer.join().expect("it was killed");
        child.wait().expect("it ends");
        let metadata = ClipMetadata::default();
        let open = Folder::open(&folder, "take", &metadata).expect("a folder");
        let names: Vec<&Path> = open.kept().iter().map(|k| k.path.as_path()).collect();
        for path in &all {
            assert!(names.contains(&path.as_path()), "{} is lost", path.display());
        }
        for path in &names {
            assert_eq!(audio::read(path).expect("a whole recording"), [5; 4_000]);
        }
        // A dataset reads exactly what the manifest lists.
        let dataset = Dataset::open(folder.join("manifest.jsonl")).expect("a manifest");
        assert!(dataset.skipped.is_empty());
        assert_eq!(dataset.examples.len(), names.len());
    }
    assert!(all.len() > 20, "only {} recordings: a test of nothing", all.len());
    eprintln!("10 killed, {} recordings kept", all.len());
}

#[test]
fn two_processes_recording_into_one_folder_lose_nothing() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let mut children = [1, 2].map(|value| recorder(place.path(), value, 40));
    let kept: Vec<Vec<PathBuf>> = children.iter_mut().map(kept).collect();
    children.iter_mut().for_each(|c| assert!(c.wait().expect("it ends").success()));
    for (paths, value) in kept.iter().zip([1, 2]) {
        assert_eq!(paths.len(), 40);
        for path in paths {
            assert_eq!(audio::read(path).expect("a recording"), [value; 4_000], "overwritten");
        }
    }
    let dataset = Dataset::open(place.path().join("manifest.jsonl")).expect("a manifest");
    assert_eq!((dataset.examples.len(), dataset.skipped.len()), (80, 0));
}
