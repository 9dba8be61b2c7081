//! A model file with other words in a few places. An enrolled device writes it.

use super::{HEADER_BYTES, checksum::Checksum};

const WORD: usize = size_of::<u32>();
const HEADER_WORDS: usize = HEADER_BYTES / WORD;
/// The checksum is the last two words of the header.
const CHECKED_WORDS: usize = HEADER_WORDS - 2;
const PLACES: usize = 3;

/// Returns the length in words, header and body, of the model file at the start of `file`.
pub fn file_words(file: &[u32]) -> Option<usize> {
    let body = usize::try_from(*file.get(2)?).ok()?;
    HEADER_WORDS.checked_add(body / WORD)
}

/// Runs of words that replace those of a file, each from its own position on.
#[derive(Clone, Copy, Debug)]
pub struct Patches<'p> {
    places: [(usize, &'p [u32]); PLACES],
    checksum: u64,
}

impl<'p> Patches<'p> {
    /// Creates patches from positions in the file and the words from there on. Call
    /// [`Patches::seal`] next, for the checksum.
    pub fn new(places: [(usize, &'p [u32]); PLACES]) -> Self {
        Self { places, checksum: 0 }
    }

    /// Writes the patches and the new checksum over `words`, which are those of the file from
    /// `first` on.
    pub fn overlay(&self, first: usize, words: &mut [u32]) {
        let sum = [self.checksum as u32, (self.checksum >> 32) as u32];
        for (at, run) in self.places.into_iter().chain([(CHECKED_WORDS, &sum[..])]) {
            for (i, word) in words.iter_mut().enumerate() {
                if let Some(&new) = (first + i).checked_sub(at).and_then(|i| run.get(i)) {
                    *word = new;
                }
            }
        }
    }

    /// Computes the checksum of the patched file. Calls `read` once for every word, in order.
    ///
    /// # Errors
    /// Returns the first error of `read`.
    pub fn seal<E>(
        &mut self,
        words: usize,
        mut read: impl FnMut(usize) -> Result<u32, E>,
    ) -> Result<(), E> {
        let mut sum = Checksum::START;
        for i in 0..words {
            let mut word = [read(i)?];
            if !(CHECKED_WORDS..HEADER_WORDS).contains(&i) {
                self.overlay(i, &mut word);
                sum = sum.words(&word);
            }
        }
        self.checksum = sum.value();
        Ok(())
    }
}
