//! Writes the valid seeds of every entry point to `FOLDER/NAME/`, as a start for fuzzing.
//!
//! `cargo run -p wakeling-tests --example fuzz_seeds -- fuzz/corpus`

use std::{env, fs, io, path::Path};

use wakeling_tests::hostile::TARGETS;

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).ok_or_else(|| io::Error::other("name a folder"))?;
    for target in TARGETS {
        let place = Path::new(&folder).join(target.name);
        fs::create_dir_all(&place)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(place.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
