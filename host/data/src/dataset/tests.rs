use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use super::*;

fn clip(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    audio::write_wav(path, &[7, -7, 9, 5]).unwrap();
}

fn relative(root: &Path, dataset: &Dataset) -> Vec<String> {
    dataset
        .examples
        .iter()
        .map(|e| e.path.strip_prefix(root).unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn word_folders_are_words() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in [
        "yes/0a7c2a8d_nohash_0.wav",
        "yes/0a7c2a8d_nohash_1.WAV",
        "no/9d32f10a_nohash_0.wav",
        "_background_noise_/fan.wav",
        "_unknown_/ffff0000_nohash_0.wav",
        "yes/.hidden.wav",
        ".cache/x.wav",
    ] {
        clip(&root.join(name));
    }
    fs::write(root.join("README.md"), "text").unwrap();
    fs::write(root.join("yes/phone.wma"), "x").unwrap();
    fs::write(root.join("testing_list.txt"), "no/9d32f10a_nohash_0.wav\n").unwrap();
    let dataset = Dataset::open(root).unwrap();
    assert_eq!(
        relative(root, &dataset),
        [
            "_background_noise_/fan.wav",
            "_unknown_/ffff0000_nohash_0.wav",
            "no/9d32f10a_nohash_0.wav",
            "yes/0a7c2a8d_nohash_0.wav",
            "yes/0a7c2a8d_nohash_1.WAV"
        ]
    );
    let [noise, unknown, no, yes, _] = &dataset.examples[..] else { panic!() };
    assert_eq!((noise.text.as_deref(), noise.kind.as_deref()), (None, Some("noise")));
    assert_eq!((unknown.text.as_deref(), unknown.kind.as_deref()), (None, Some("word")));
    assert_eq!((no.text.as_deref(), no.split.as_deref()), (Some("no"), Some("test")));
    assert_eq!((yes.text.as_deref(), yes.split.as_deref()), (Some("yes"), Some("train")));
    assert_eq!(yes.speaker.as_deref(), Some("0a7c2a8d"));
    assert!(!yes.is_speaker_guessed, "Speech Commands names its speakers so");
    assert_eq!(dataset.skipped.len(), 1);
    assert!(dataset.skipped[0].reason.contains("wma"));
    assert_eq!(yes.load().unwrap(), [7, -7, 9, 5]);
}

#[test]
fn flat_folders_have_no_text_and_guess_speakers_only_from_shared_prefixes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["anna_1.wav", "anna_2.wav", "ben-1.wav", "ben-2.wav", "solo_1.wav", "x.wav"] {
        clip(&dir.path().join(name));
    }
    let dataset = Dataset::open(dir.path()).unwrap();
    let speakers: Vec<_> = dataset.examples.iter().map(|e| e.speaker.as_deref()).collect();
    let (anna, ben) = (Some("anna"), Some("ben"));
    assert_eq!(speakers, [anna, anna, ben, ben, None, None]);
    let guessed: Vec<_> = dataset.examples.iter().map(|e| e.is_speaker_guessed).collect();
    assert_eq!(guessed, [true, true, true, true, false, false]);
    assert!(dataset.examples.iter().all(|e| e.text.is_none()));

    let dir = tempfile::tempdir().unwrap();
    for name in ["hey/hey_1.wav", "hey/hey_2.wav", "you/take_1.wav", "you/take_2.wav"] {
        clip(&dir.path().join(name));
    }
    let dataset = Dataset::open(dir.path()).unwrap();
    assert!(dataset.examples.iter().all(|e| e.speaker.is_none()));
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_end() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    clip(&root.join("yes/a.wav"));
    symlink(root, root.join("again")).unwrap();
    symlink(root.join("yes"), root.join("zzz")).unwrap();
    symlink(root.join("self"), root.join("self")).unwrap();
    symlink(root, root.join("yes/up")).unwrap();
    symlink(root.join("nowhere"), root.join("yes/b.wav")).unwrap();
    let dataset = Dataset::open(root).unwrap();
    assert_eq!(relative(root, &dataset), ["yes/a.wav"]);
    assert_eq!(dataset.skipped.len(), 5, "{:?}", dataset.skipped);
}

#[test]
fn names_what_is_no_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    fs::write(dir.path().join("none.jsonl"), "\n \n").unwrap();
    fs::write(dir.path().join("bad.jsonl"), "[1]\nnonsense\n").unwrap();
    for name in ["empty", "missing", "notes.txt", "none.jsonl", "bad.jsonl"] {
        let error = Dataset::open(dir.path().join(name)).unwrap_err();
        assert!(!matches!(error, Error::Core(_)), "{error}");
        let message = error.to_string();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_single_file_is_a_dataset_of_one() {
    let dir = tempfile::tempdir().unwrap();
    clip(&dir.path().join("one.wav"));
    assert_eq!(Dataset::open(dir.path().join("one.wav")).unwrap().examples.len(), 1);
}

#[test]
fn manifests_keep_their_good_lines() {
    let dir = tempfile::tempdir().unwrap();
    clip(&dir.path().join("audio/a.wav"));
    let absolute = dir.path().join("audio/a.wav");
    let manifest = dir.path().join("m.jsonl");
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    let lines = [
        r#"{"audio_filepath": "audio/a.wav", "duration": 0.00025, "text": "数字", "speaker": 12, "extra": []}"#.to_owned(),
        serde_json::json!({"audio_filepath": absolute, "text": "", "speaker": "set_?", "lang": "-"}).to_string(),
        String::new(),
        "{broken".to_owned(),
        r#"{"text": "no file"}"#.to_owned(),
        r#"{"audio_filepath": "audio/missing.wav"}"#.to_owned(),
        r#"{"audio_filepath": "audio/a.wav", "duration": -1}"#.to_owned(),
        r#"{"audio_filepath": "audio/a.wav", "text": ["x"]}"#.to_owned(),
        r#"{"audio_filepath": "audio", "text": "x"}"#.to_owned(),
        format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)),
    ];
    bytes.extend_from_slice(lines.join("\r\n").as_bytes());
    bytes.extend_from_slice(b"\n{\"text\": \"\xff\"}");
    fs::write(&manifest, bytes).unwrap();
    let dataset = Dataset::open(&manifest).unwrap();
    let [first, second] = &dataset.examples[..] else { panic!("{:?}", dataset.examples) };
    assert_eq!((first.text.as_deref(), first.speaker.as_deref()), (Some("数字"), Some("12")));
    assert_eq!(first.load().unwrap(), [7, -7, 9, 5]);
    assert_eq!((&second.text, &second.speaker, &second.lang), (&None, &None, &None));
    let skipped: Vec<_> = dataset.skipped.iter().filter_map(|s| s.line).collect();
    assert_eq!(skipped, [4, 5, 6, 7, 8, 9, 10, 11]);
    assert!(dataset.skipped.iter().all(|s| s.path == manifest && !s.reason.is_empty()));
}

fn crowd() -> Vec<Example> {
    let mut examples = Vec::new();
    for i in 0..600 {
        let mut example = Example::unlabelled(PathBuf::from(format!("{}.wav", i / 2)));
        example.offset_s = f64::from(i % 2);
        example.speaker = (i < 400).then(|| format!("speaker {}", (i * i) % 37));
        examples.push(example);
    }
    examples
}

#[test]
fn splits_share_no_speaker_and_no_file() {
    let examples = crowd();
    let parts = split_by_speaker(&examples, &[0.8, 0.1, 0.1], 1).unwrap();
    let keys = |part: &[Example]| -> HashSet<String> {
        let key = |e: &Example| e.speaker.clone().unwrap_or(e.path.display().to_string());
        part.iter().map(key).collect()
    };
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), examples.len());
    for (i, part) in parts.iter().enumerate() {
        for other in &parts[..i] {
            assert!(keys(part).is_disjoint(&keys(other)));
        }
    }
    assert!((450..=510).contains(&parts[0].len()), "{}", parts[0].len());
    assert_eq!(parts, split_by_speaker(&examples, &[0.8, 0.1, 0.1], 1).unwrap());
    assert_ne!(parts, split_by_speaker(&examples, &[0.8, 0.1, 0.1], 2).unwrap());
}

#[test]
fn small_part_is_never_empty_and_invalid_parts_are_rejected() {
    let examples: Vec<_> = crowd().into_iter().filter(|e| e.speaker.is_some()).collect();
    let parts = split_by_speaker(&examples, &[0.999, 0.0005, 0.0005], 3).unwrap();
    assert!(parts.iter().all(|p| !p.is_empty()));
    for bad in [&[][..], &[0.9, 0.2], &[1.0, 0.0], &[f64::NAN], &[-0.5, 1.0]] {
        assert!(split_by_speaker(&examples, bad, 0).is_err(), "{bad:?}");
    }
    assert!(split_by_speaker(&examples[..1], &[0.5, 0.5], 0).is_err());
}
