//! `include/wakeling.h` is what cbindgen writes from the sources. Accept a new one with
//! `WAKELING_BLESS=1 cargo test -p wakeling-c --test header`.

use std::{env, fs, path::Path};

#[test]
fn header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("a configuration");
    let sources = ["status", "types", "instance", "api"];
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        builder = builder.with_src(root.join(format!("src/{source}.rs")));
    }
    let mut written = Vec::new();
    builder.generate().expect("the sources can be read").write(&mut written);
    let written = String::from_utf8(written).expect("text");
    let path = root.join("include/wakeling.h");
    if env::var_os("WAKELING_BLESS").is_some() {
        fs::write(&path, &written).expect("the header can be written");
    }
    let present = fs::read_to_string(&path).unwrap_or_default();
    assert!(present == written, "wakeling.h differs; accept it with WAKELING_BLESS=1");
}

#[test]
fn every_status_of_the_header_has_a_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("a source");
    let header = read("include/wakeling.h");
    let is_value =
        |line: &&str| line.trim().starts_with("WAKELING_STATUS_") && line.contains(" = ");
    let values = header.lines().filter(is_value).count();
    // The list is searched for the text of a number from C.
    let listed = format!("const ALL: [Self; {values}]");
    assert!(values > 20 && read("src/status.rs").contains(&listed), "{values} in the header");
}
