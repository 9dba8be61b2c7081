//! Model region of a board with two slots, with the content that the board itself would write. A
//! journal names the first slot, and that slot holds the package. The second slot's bytes are left
//! as they are, since the journal marks it as empty.

use std::path::Path;

use wakeling_shared::update::{
    journal::PAGES,
    message::{CHUNK_BYTES, Refusal},
    package::{Anyone, HEADER_BYTES},
    ram::RamFlash,
    store::Store,
};

use super::Source;
use crate::{
    board::Board,
    update::package::{Package, pack},
};

use crate::{Error, Result};

/// Version of an unsigned model. It is the lowest that a store accepts, so that any other may
/// follow.
const UNSIGNED_VERSION: u32 = 1;

/// Reads the file to flash: a signed package of `wakeling sign`, or a model file, which gets a
/// self-test and no signature. Anyone who can flash a board can give it any model, so no key is
/// required.
///
/// # Errors
/// [`Error::InvalidModel`] if it is neither.
pub fn package(source: Source<'_>) -> Result<Package> {
    if let Some(package) = Package::of(source.bytes.to_vec()) {
        return Ok(package);
    }
    let package = pack(source.path, source.bytes, UNSIGNED_VERSION, None)?;
    let defect = || Error::defect("a model that was packed is no image");
    Package::of(package).ok_or_else(defect)
}

/// Returns the region's bytes up to the end of the package, for a board that erases flash in pages
/// of `page_bytes`.
///
/// # Errors
/// [`Error::NotForSlot`] if the package does not fit a slot.
pub fn region(board: &Board, page_bytes: u32, path: &Path, package: &Package) -> Result<Vec<u8>> {
    let mut words = vec![u64::MAX; board.model.len() / size_of::<u64>()];
    let laid = match page_bytes {
        0x1000 => lay::<0x1000>(&mut words, package),
        0x2_0000 => lay::<0x2_0000>(&mut words, package),
        _ => return Err(Error::defect("a board with other pages")),
    };
    laid.map_err(|refusal| Error::NotForSlot {
        path: path.to_owned(),
        board: board.name,
        refusal,
    })?;
    let end = PAGES * page_bytes as usize + package.bytes.len();
    let bytes = words.into_iter().flat_map(u64::to_le_bytes);
    Ok(bytes.take(end).collect())
}

/// Runs an update of an empty flash, from its beginning to the start that confirms it. The word
/// length does not change the bytes written.
fn lay<const PAGE: usize>(words: &mut [u64], package: &Package) -> Result<(), Refusal> {
    const WORD: usize = 4;
    let mut store = Store::open(RamFlash::<WORD, PAGE>::new(words)).map_err(|_| Refusal::Flash)?;
    store.begin(package.bytes.get(..HEADER_BYTES).unwrap_or_default(), &Anyone)?;
    let offsets = (0..).step_by(CHUNK_BYTES);
    for (offset, bytes) in offsets.zip(package.body().chunks(CHUNK_BYTES)) {
        store.data(offset, bytes)?;
    }
    store.finish(false, &Anyone)?;
    store.start(|_, _, _| true).map_err(|_| Refusal::Flash)?;
    Ok(())
}
