//! Tests of `wakeling corpus`, with an S3 server on the loopback interface.

use std::{
    path::Path,
    process::{Command, Output},
};

use wakeling_audio as audio;
use wakeling_tests::server::{Content, Server};

/// Builds a shard with one recording of a keyword, in the format of a WebDataset writer.
fn shard(place: &Path, pitch: i16) -> Vec<u8> {
    let path = place.join("x.wav");
    let samples: Vec<i16> = (0..4_000).map(|t| (t % pitch) * 100).collect();
    audio::write_wav(&path, &samples).expect("a recording");
    let wav = std::fs::read(&path).expect("a recording");
    let mut tar = Vec::new();
    for (name, bytes) in [("0.wav", wav.as_slice()), ("0.cls", b"yes")] {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(header);
        tar.extend(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend([0; 1_024]);
    tar
}

fn wakeling(server: &Server, cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(arguments)
        .env("WAKELING_CACHE", cache)
        .env("AWS_ENDPOINT_URL", &server.address)
        .env("AWS_ACCESS_KEY_ID", "raven")
        .env("AWS_SECRET_ACCESS_KEY", "nevermore")
        .env("no_proxy", "127.0.0.1")
        .output()
        .expect("the program runs")
}

fn bucket(place: &Path) -> Content {
    let shards = (1..=5).map(|i| (format!("/b/words/{i}.tar"), shard(place, 40 + i)));
    let other = ("/b/other/6.tar".to_owned(), shard(place, 60));
    Content {
        files: shards.chain([other, ("/b/words/notes.txt".to_owned(), vec![1])]).collect(),
        etag: "\"e\"".into(),
        access_key: "raven".into(),
        breaks: vec![600],
        page: 2,
        ..Content::default()
    }
}

#[test]
fn shards_in_a_bucket_are_listed_fetched_and_cached() {
    let place = tempfile::tempdir().expect("a folder");
    let server = Server::start(bucket(place.path()));
    let cache = place.path().join("cache");
    let inspect = || wakeling(&server, &cache, &["corpus", "inspect", "s3://b/words/"]);
    let output = inspect();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        table.contains("clips        5\n") && table.contains("words        yes 5\n"),
        "{table}"
    );
    // Three pages of the list and five shards, one of them in two parts.
    let asked = server.with(|c| std::mem::take(&mut c.asked));
    assert_eq!(asked.len(), 3 + 6, "{asked:#?}");
    assert_eq!(asked.iter().filter(|line| line.ends_with("bytes=600-")).count(), 1);
    // The second time only the list is requested.
    assert!(inspect().status.success());
    assert_eq!(server.with(|c| c.asked.len()), 3);
}

#[test]
fn missing_shard_is_reported_and_wrong_key_is_an_error() {
    let place = tempfile::tempdir().expect("a folder");
    let server = Server::start(bucket(place.path()));
    let cache = place.path().join("cache");
    let out = place.path().join("lists");
    let lists = out.to_string_lossy();
    let arguments = ["corpus", "inspect", "s3://b/words/{4..6}.tar", "--out", &*lists];
    let output = wakeling(&server, &cache, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("skipped      1\n"));
    let list = std::fs::read_to_string(out.join("skipped.tsv")).expect("a list");
    assert!(list.contains("s3://b/words/6.tar\tthere is no such shard"), "{list}");
    server.with(|c| c.access_key = "crow".into());
    let refused = wakeling(&server, &cache, &["corpus", "inspect", "s3://b/words/"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("permissions"));
}

#[test]
fn an_archive_is_fetched_once_and_a_broken_one_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let server = Server::start(bucket(place.path()));
    server.with(|c| c.access_key.clear());
    let out = place.path().join("out");
    let (url, folder) = (format!("{}/b/words/1.tar", server.address), out.to_string_lossy());
    let fetch = || wakeling(&server, place.path(), &["corpus", "fetch", &url, "--out", &*folder]);
    for _ in 0..2 {
        let output = fetch();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{folder}/1"));
    }
    assert_eq!(server.with(|c| c.asked.len()), 2);
    assert!(out.join("1/0.wav").is_file() && !out.join("1.tar").exists());
    let wrong = wakeling(
        &server,
        place.path(),
        &["corpus", "fetch", &url.replace("1.tar", "2.tar"), "--out", &*folder, "--md5", "00"],
    );
    assert_eq!(wrong.status.code(), Some(3));
    assert!(!out.join("2").exists());
}
