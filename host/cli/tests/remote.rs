//! Tests of downloads from a server on the loopback interface: broken connections, changed files,
//! refusals, full disks.

use std::{fs, io, path::Path};

use wakeling_data::remote::download;
use wakeling_tests::server::{Content, Server};

fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn server(file: &[u8], breaks: &[usize]) -> Server {
    Server::start(Content {
        files: [("/a.tar".to_owned(), file.to_vec())].into(),
        etag: "\"one\"".into(),
        breaks: breaks.to_vec(),
        ..Content::default()
    })
}

fn fetch(server: &Server, target: &Path) -> wakeling_data::Result<()> {
    download(&format!("{}/a.tar", server.address), target, &mut |_, _| {})
}

/// Kind of a system error, by which the program chooses the remedy.
fn kind(error: &wakeling_data::Error) -> Option<io::ErrorKind> {
    match error {
        wakeling_data::Error::Core(wakeling_core::Error::Io { source, .. }) => Some(source.kind()),
        _ => None,
    }
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let place = tempfile::tempdir().unwrap();
    let (file, target) = (bytes(300_000), place.path().join("a.tar"));
    let server = server(&file, &[100_000, 0, 70_000]);
    fetch(&server, &target).unwrap();
    assert!(fs::read(&target).unwrap() == file);
    let asked = server.with(|c| c.asked.clone());
    let expected = ["", " bytes=100000-", " bytes=100000-", " bytes=170000-"];
    assert_eq!(asked, expected.map(|range| format!("/a.tar{range}")));
    // No other file remains in the folder.
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_changed_meanwhile_is_begun_anew() {
    let place = tempfile::tempdir().unwrap();
    let (old, new) = (bytes(200_000), vec![7; 150_000]);
    let target = place.path().join("a.tar");
    // The files look as if the download was killed after 64 kB.
    fs::write(place.path().join("a.tar.part"), &old[..65_536]).unwrap();
    fs::write(place.path().join("a.tar.part.tag"), "\"zero\"").unwrap();
    let server = server(&new, &[]);
    fetch(&server, &target).unwrap();
    assert!(fs::read(&target).unwrap() == new);
    assert_eq!(server.with(|c| c.asked.clone()), ["/a.tar bytes=65536-"]);
}

#[test]
fn restarts_unresumable_downloads_and_keeps_complete_ones() {
    let place = tempfile::tempdir().unwrap();
    let (file, target) = (bytes(100_000), place.path().join("a.tar"));
    let server = server(&file, &[40_000]);
    server.with(|c| c.etag.clear());
    fetch(&server, &target).unwrap();
    assert!(fs::read(&target).unwrap() == file);
    assert_eq!(server.with(|c| c.asked.clone()), ["/a.tar", "/a.tar"]);

    // All bytes were there at the kill, and only the rename was missing.
    server.with(|c| c.etag = "\"one\"".into());
    fs::rename(&target, place.path().join("a.tar.part")).unwrap();
    fs::write(place.path().join("a.tar.part.tag"), "\"one\"").unwrap();
    fetch(&server, &target).unwrap();
    assert!(fs::read(&target).unwrap() == file);
}

#[test]
fn distinguishes_refusals() {
    let place = tempfile::tempdir().unwrap();
    let (file, target) = (bytes(1_000), place.path().join("a.tar"));
    // Requests to a busy server are repeated.
    let server = server(&file, &[]);
    server.with(|c| c.refusals = vec![503, 429]);
    fetch(&server, &target).unwrap();
    assert!(fs::read(&target).unwrap() == file);
    use io::ErrorKind::{ConnectionAborted, InvalidData, NotFound, PermissionDenied};
    for (status, expected) in [(404, NotFound), (403, PermissionDenied), (400, InvalidData)] {
        server.with(|c| {
            c.asked.clear();
            c.refusals = vec![status];
        });
        let other = place.path().join("b.tar");
        let error = fetch(&server, &other).unwrap_err();
        let message = error.to_string();
        let names = [format!("status {status}"), "/a.tar".into()];
        assert!(names.iter().all(|name| message.contains(name)), "{message}");
        assert_eq!((kind(&error), error.is_missing()), (Some(expected), status == 404));
        assert_eq!(server.with(|c| c.asked.len()), 1);
        assert!(!other.exists());
    }
    let refused = download("http://127.0.0.1:9/x.tar", &target.with_extension("x"), &mut |_, _| {});
    assert_eq!(kind(&refused.unwrap_err()), Some(ConnectionAborted));
}
