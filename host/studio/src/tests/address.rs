//! Tests of the address of the last start.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use super::*;
use crate::address::Memory;

fn open(place: &Path, port: u16) -> Studio {
    let places = Places {
        recordings: place.join("recordings"),
        runs: place.join("runs"),
        settings: Default::default(),
    };
    let memory = Memory::at(place.join("cache/address.json"));
    Studio::open_again(port, places, explain, &memory).unwrap()
}

#[test]
fn a_page_finds_the_studio_at_its_last_address() {
    let place = tempfile::tempdir().unwrap();
    let first = open(place.path(), 0);
    let url = first.url();
    // While it runs, another one has another address and another token.
    let second = open(place.path(), 0);
    let (page, token) = url.split_once('#').unwrap();
    assert!(!second.url().starts_with(page) && !second.url().ends_with(token));
    let url = second.url();
    drop((first, second));
    assert_eq!(open(place.path(), 0).url(), url);
    // A port that is named is used. Its token is not that of another port.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let named = open(place.path(), free).url();
    assert!(named.contains(&format!(":{free}/")), "{named}");
    assert_ne!(named.split_once('#').unwrap().1, url.split_once('#').unwrap().1);
}

#[test]
fn an_address_that_is_old_damaged_or_open_to_others_is_not_used() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("cache/address.json");
    let token = || open(place.path(), 0).url().split_once('#').unwrap().1.to_owned();
    let mut last = token();
    assert_eq!(token(), last);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let next = token();
        assert_ne!(next, last);
        assert_eq!(mode(&path), 0o600);
        last = next;
        let other = place.path().join("other.json");
        fs::rename(&path, &other).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let next = token();
        assert_ne!(next, last, "a link is not followed");
        last = next;
    }
    let old = SystemTime::now() - Duration::from_secs(3_700);
    fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
    assert_ne!(token(), last);
    for damaged in
        ["", "{", "{\"port\": 70000, \"token\": \"\"}", "{\"port\": 0, \"token\": \"x\"}"]
    {
        let last = token();
        fs::write(&path, damaged).unwrap();
        let next = token();
        assert!(next != last && next.len() == 32, "{damaged}");
    }
}

#[test]
fn each_pair_of_folders_has_an_address_of_its_own() {
    let places = |recordings: &str| Places {
        recordings: recordings.into(),
        runs: "runs".into(),
        settings: Default::default(),
    };
    let path = |recordings: &str| Memory::within(Path::new("cache"), &places(recordings));
    assert_eq!(path("a"), path("a"));
    assert_ne!(path("a"), path("b"));
}
