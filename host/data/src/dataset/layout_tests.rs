//! Tests of each layout on a disk: the clips that are found, and the problems that are reported.

use std::{fs, path::Path};

use super::{
    fetch::{Checksum, Fetch},
    inspect::{Inspection, Lists},
    unpack::unpack,
    *,
};

/// Returns the bytes of a WAV file whose samples depend on `seed`.
fn wav(seed: i16) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wav");
    let samples: Vec<i16> = (0..800).map(|t| (t % 40 - 20) * 50 + seed).collect();
    audio::write_wav(&path, &samples).unwrap();
    fs::read(path).unwrap()
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Returns a tar archive of these files.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written directly, because the builder rejects hostile names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn reasons(dataset: &Dataset) -> String {
    dataset.skipped.iter().map(|s| format!("{s}\n")).collect()
}

#[test]
fn librispeech_has_speakers_words_and_splits() {
    let dir = tempfile::tempdir().unwrap();
    let chapter = dir.path().join("LibriSpeech/dev-clean/84/121123");
    for name in ["84-121123-0000.flac", "84-121123-0001.wav", "84-121123-0009.flac"] {
        put(&chapter.join(name), &wav(1));
    }
    put(&dir.path().join("LibriSpeech/SPEAKERS.TXT"), b";x");
    let lines = "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT\n\n84-121123-0005 NOT THERE\n\
                 84-121123-0000 AGAIN\n../84 X\n";
    put(&chapter.join("84-121123.trans.txt"), lines.as_bytes());
    for place in ["", "LibriSpeech", "LibriSpeech/dev-clean", "LibriSpeech/dev-clean/84/121123"] {
        let path = dir.path().join(place);
        assert_eq!(Format::detect(&path).unwrap(), Format::Librispeech, "{place}");
        let dataset = Dataset::open(&path).unwrap();
        let [first, second, third] = &dataset.examples[..] else { panic!("{dataset:?}") };
        assert_eq!(first.text.as_deref(), Some("GO DO YOU HEAR"));
        assert_eq!((first.speaker.as_deref(), first.split.as_deref()), (Some("84"), Some("dev")));
        assert_eq!(first.kind.as_deref(), Some("speech"));
        assert_eq!(second.path, chapter.join("84-121123-0001.wav"));
        assert_eq!((third.text.as_deref(), third.speaker.as_deref()), (None, Some("84")));
        assert_eq!(first.load().unwrap().len(), 800);
        let skipped: Vec<_> = dataset.skipped.iter().map(|s| s.line).collect();
        assert_eq!(skipped, [Some(4), Some(5), Some(6)], "{}", reasons(&dataset));
    }
}

#[test]
fn common_voice_is_read_by_its_split() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cv/de");
    for name in ["a.mp3", "b.mp3", "c.mp3"] {
        put(&root.join("clips").join(name), &wav(2));
    }
    let header = "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale\n";
    let table = |rows: &str| format!("{header}{rows}").into_bytes();
    put(
        &root.join("train.tsv"),
        &table(
            "s1\ta.mp3\t1\tGuten \"Tag\"\t2\tde\ns2\tb\t2\t\t2\tde\ns3\tgone.mp3\t3\tX\t2\tde\nx\ty\n",
        ),
    );
    put(&root.join("test.tsv"), &table("s4\tc.mp3\t1\tJa\t2\tde\r\n"));
    put(&root.join("validated.tsv"), &table("s1\ta.mp3\t1\tGuten Tag\t2\tde\n"));
    assert_eq!(Format::detect(&root).unwrap(), Format::CommonVoice);
    let dataset = Dataset::open(&root).unwrap();
    let [a, b, c] = &dataset.examples[..] else { panic!("{dataset:?}") };
    assert_eq!((a.text.as_deref(), a.speaker.as_deref()), (Some("Guten \"Tag\""), Some("s1")));
    assert_eq!((a.lang.as_deref(), a.split.as_deref()), (Some("de"), Some("train")));
    // The name format of an old release, and a missing sentence.
    assert_eq!((&b.path, &b.text), (&root.join("clips/b.mp3"), &None));
    assert_eq!((c.lang.as_deref(), c.split.as_deref()), (Some("de"), Some("test")));
    let text = reasons(&dataset);
    for part in ["validated.tsv: not part", "train.tsv:4: ", "gone.mp3", "train.tsv:5: 2 columns"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(dataset.skipped.len(), 3);
    let named = Dataset::open(root.join("validated.tsv")).unwrap();
    assert_eq!((named.examples.len(), named.examples[0].split.as_ref()), (1, None));
    put(&root.join("no.tsv"), b"a\tb\n");
    assert!(Dataset::open(root.join("no.tsv")).unwrap_err().to_string().contains("sentence"));
}

fn shard() -> Vec<u8> {
    let (one, two, three) = (wav(3), wav(4), wav(5));
    let json =
        br#"{"text": "hello there", "speaker": 7, "lang": "en", "duration": 0.05, "snr": 3}"#;
    tar_of(&[
        ("a/000.json", json),
        ("a/000.seg.wav", &one),
        ("001.wav", &two),
        ("001.cls", b" seven\n"),
        ("002.flac", &three),
        ("002.txt", "数字".as_bytes()),
        ("002.jpg", b"picture"),
        ("003.txt", b"no sound"),
        ("004.wav", &one),
        ("004.json", b"[1]"),
        ("005.wma", b"x"),
        ("006.wav", &two),
        ("006.mp3", &two),
    ])
}

#[test]
fn shards_give_the_same_sound_and_every_label() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("s/x-000.tar"), &shard());
    put(&dir.path().join("s/x-001.tar"), &tar_of(&[("k.wav", &wav(6))]));
    let pattern = dir.path().join("s/x-{000..001}.tar");
    for path in [dir.path().join("s"), pattern] {
        assert_eq!(Format::detect(&path).unwrap(), Format::Shards);
        let dataset = Dataset::open(&path).unwrap();
        let [a, b, c, d, e] = &dataset.examples[..] else { panic!("{dataset:?}") };
        assert_eq!((a.text.as_deref(), a.speaker.as_deref()), (Some("hello there"), Some("7")));
        assert_eq!((a.duration_s, a.kind.as_ref()), (Some(0.05), None));
        assert_eq!((b.text.as_deref(), b.kind.as_deref()), (Some("seven"), Some("word")));
        assert_eq!((c.text.as_deref(), c.kind.as_ref()), (Some("数字"), None));
        for (example, seed) in [(a, 3), (b, 4), (c, 5), (d, 4), (e, 6)] {
            let alone = dir.path().join("alone.wav");
            fs::write(&alone, wav(seed)).unwrap();
            assert_eq!(example.load().unwrap(), audio::read(&alone).unwrap());
        }
        let text = reasons(&dataset);
        for part in [
            "003: a sample without audio",
            "004: 004.json: a JSON object",
            "005.wma: .wma is not",
            "006.mp3: a second audio",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(dataset.skipped.len(), 5, "{text}");
    }
}

#[test]
fn a_shard_that_is_cut_gives_what_is_before_the_cut_and_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, path) = (shard(), dir.path().join("x.tar"));
    fs::write(&path, &whole).unwrap();
    let all = Dataset::open(&path).unwrap().examples;
    let names =
        |examples: &[Example]| -> Vec<String> { examples.iter().map(Example::name).collect() };
    let mut fewest = usize::MAX;
    for length in (0..whole.len()).step_by(211) {
        fs::write(&path, &whole[..length]).unwrap();
        let Ok(dataset) = Dataset::open(&path) else { continue };
        // No clip may be listed that does not exist or whose audio is truncated.
        let found = names(&dataset.examples);
        assert!(names(&all).starts_with(&found), "{length}: {found:?}");
        assert!(dataset.examples.iter().all(|e| e.load().is_ok()), "{length}");
        fewest = fewest.min(found.len());
    }
    assert_eq!(fewest, 1);

    // A shard that is truncated or removed after its clips were listed.
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = all.last().unwrap().load().unwrap_err().to_string();
    assert!(error.contains("006.wav in it: the archive ends"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(all[0].load().unwrap_err().is_missing());
    fs::write(&path, vec![7; 2_000]).unwrap();
    assert!(Dataset::open(&path).unwrap_err().to_string().contains("damaged"));
    let missing = Dataset::open(dir.path().join("y-{0..1}.tar")).unwrap_err().to_string();
    assert!(missing.contains("there is no such shard"), "{missing}");
    assert!(Dataset::open(dir.path().join("y-{1..0}.tar")).is_err());
}

#[test]
fn a_layout_can_be_forced_and_odd_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("84/84-1.trans.txt"), b"84-1-0 HI\n");
    put(&dir.path().join("84/84-1-0.wav"), &wav(1));
    let mut texts = Vec::new();
    stream(dir.path(), Some(Format::Folder), &mut |item| {
        if let Item::Clip(example) = item {
            texts.push(example.text);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(texts, [Some("84".to_owned())]);
    put(&dir.path().join("x.tar.gz"), b"x");
    let packed = Dataset::open(dir.path().join("x.tar.gz"));
    assert!(matches!(packed, Err(Error::CompressedDataset { .. })));
    let folder = Dataset::open("https://host/folder/");
    assert!(matches!(folder, Err(Error::NoListOfFiles { .. })));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        out.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

#[test]
fn archives_are_unpacked_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 3] =
        [("c/yes/a.wav", &wav(1)), ("c/./no/b.wav", &wav(2)), ("c/e", b"")];
    let tar = tar_of(&files);
    for (name, bytes) in
        [("a.tar", tar.clone()), ("a.tar.gz", gzip(&tar)), ("a.zip", zip_of(&files))]
    {
        let (archive, target) = (dir.path().join(name), dir.path().join(format!("{name}.d")));
        fs::write(&archive, &bytes).unwrap();
        let unpacked = unpack(&archive, &target).unwrap();
        assert_eq!((unpacked.files, unpacked.skipped.len()), (3, 0), "{name}");
        assert!(fs::read(target.join("c/no/b.wav")).unwrap() == wav(2));
        assert!(unpack(&archive, &target).unwrap_err().to_string().contains("already"));
        // Truncated before its end; a tar ends with at least a kilobyte of zeros.
        for length in [0, 300, bytes.len() / 2, bytes.len() - 12] {
            if name == "a.tar" && length > tar.len() - 1_024 {
                continue;
            }
            let cut = dir.path().join(format!("cut-{name}"));
            fs::write(&cut, &bytes[..length]).unwrap();
            let target = dir.path().join("cut.d");
            assert!(unpack(&cut, &target).is_err(), "{name} {length}");
            assert!(!target.exists() && !dir.path().join("cut.d.unpacking").exists());
        }
    }
}

#[test]
fn hostile_archives_write_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let names = ["../evil", "/tmp/evil-wakeling", "a/../../evil", "a\\..\\evil"];
    for (number, name) in names.into_iter().enumerate() {
        for (kind, bytes) in
            [("tar", tar_of(&[("ok", b"x"), (name, b"x")])), ("zip", zip_of(&[(name, b"x")]))]
        {
            let archive = inner.join(format!("{number}.{kind}"));
            fs::write(&archive, bytes).unwrap();
            let target = inner.join("out");
            let result = unpack(&archive, &target);
            // A library may have sanitized the name, in which case the file is inside the target.
            assert!(result.is_err() || kind == "zip", "{name} in {kind}");
            let _ = fs::remove_dir_all(&target);
            assert!(!dir.path().join("evil").exists() && !inner.join("evil").exists(), "{name}");
            assert!(!Path::new("/tmp/evil-wakeling").exists());
        }
    }
    // A link and a file through it; two files of one name.
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "link", dir.path()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, "link/evil", &b"x"[..]).unwrap();
    let archive = inner.join("link.tar");
    fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    let unpacked = unpack(&archive, &inner.join("out")).unwrap();
    assert_eq!((unpacked.files, unpacked.skipped.len()), (1, 1));
    assert!(!dir.path().join("evil").exists() && inner.join("out/link/evil").is_file());
    fs::write(&archive, tar_of(&[("a", b"x"), ("a", b"y")])).unwrap();
    assert!(unpack(&archive, &inner.join("out2")).unwrap_err().to_string().contains("twice"));
}

#[test]
fn checksums_decide_before_anything_is_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("words.zip");
    fs::write(&archive, zip_of(&[("words/yes/a.wav", &wav(1))])).unwrap();
    let fetch = |checksum| Fetch {
        from: archive.clone(),
        folder: dir.path().join("out"),
        checksum: Some(checksum),
        keep: false,
    };
    let error = fetch(Checksum::Sha256("00".into())).run().unwrap_err().to_string();
    let found = error.split("is ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(found.len(), 64);
    assert!(!dir.path().join("out/words").exists());
    let (folder, unpacked) = fetch(Checksum::Sha256(found.to_uppercase())).run().unwrap();
    assert_eq!(
        (folder, unpacked.map(|u| u.files)),
        (dir.path().join("out/words/words/yes"), Some(1))
    );
    assert!(archive.exists());
    // Digest of "abc", from RFC 1321, A.5.
    fs::write(&archive, b"abc").unwrap();
    Checksum::Md5("900150983cd24fb0d6963f7d28e17f72".into()).compare(&archive).unwrap();
    assert!(Checksum::Md5("900150983cd24fb0d6963f7d28e17f73".into()).compare(&archive).is_err());
}

/// Returns a sum of tones up to a limit, one per 500 Hz.
fn chord(limit_hz: f64) -> Vec<i16> {
    let hz: Vec<f64> = (1..15).map(|i| 500.0 * f64::from(i)).filter(|&f| f < limit_hz).collect();
    let sample = |t: i32| {
        let t = f64::from(t) / 16_000.0;
        hz.iter().map(|f| 900.0 * (std::f64::consts::TAU * f * t).sin()).sum::<f64>() as i16
    };
    (0..16_000).map(sample).collect()
}

#[test]
fn an_inspection_counts_everything() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (name, limit) in [("a_nohash_0", 3_900.0), ("b_nohash_0", 5_400.0), ("c_nohash_0", 8_000.0)]
    {
        fs::create_dir_all(at("yes")).unwrap();
        audio::write_wav(at(&format!("yes/{name}.wav")), &chord(limit)).unwrap();
    }
    fs::create_dir_all(at("no")).unwrap();
    fs::copy(at("yes/a_nohash_0.wav"), at("no/a_nohash_1.wav")).unwrap();
    audio::write_wav(at("no/d_nohash_0.wav"), &[0; 1_600]).unwrap();
    fs::write(at("no/e_nohash_0.wav"), b"RIFF").unwrap();
    fs::write(at("no/f.wma"), b"x").unwrap();
    let (mut clips, mut skipped) = (Vec::new(), Vec::new());
    let mut inspection = Inspection::default();
    {
        let mut lists = Lists { clips: &mut clips, skipped: &mut skipped };
        let dataset = Dataset::open(dir.path()).unwrap();
        inspection.add(&dataset.examples, &mut lists).unwrap();
        dataset.skipped.iter().for_each(|s| inspection.skip(s, &mut lists).unwrap());
    }
    let table = inspection.table();
    let expected = [
        "clips        5",
        "speakers     4",
        "with text    5 clips, 0.00 h, 2 different",
        "words        yes 3, no 2",
        "above 5.5 kHz too              1 clips  20.0 %",
        "nothing above 4 kHz            2 clips  40.0 %",
        "nothing above 5.5 kHz          1 clips",
        "16000 Hz                       5 clips 100.0 %",
        "duplicates   1",
        "silent       1",
        "unreadable   1",
        "skipped      1",
    ];
    for row in expected {
        assert!(table.contains(row), "{row:?} in\n{table}");
    }
    let list = String::from_utf8(skipped).unwrap();
    let expected = [
        "a_nohash_0.wav\tthe same sound as clip 1",
        "d_nohash_0.wav\tsilent",
        "e_nohash_0",
        "wma\t",
    ];
    assert_eq!(list.lines().count(), 4);
    assert!(expected.iter().all(|part| list.contains(part)), "{list}");
    assert_eq!(String::from_utf8(clips).unwrap().lines().count(), 5);
}
