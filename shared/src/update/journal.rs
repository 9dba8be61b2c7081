//! The active slot: a journal of records on two erasable pages.
//!
//! Every record carries the whole state, so the newest intact record is sufficient. A record that a
//! power cut interrupted has a wrong CRC-32 and is skipped. Its place is not reused before the page
//! is erased. When a page is full, the other one is erased and continues. The full page is not
//! touched until the next record is on the other one.
//!
//! | offset | size | field of a record |
//! |---:|---:|---|
//! | 0 | 4 | magic `WKJ1` |
//! | 4 | 4 | sequence: one more than that of the record before |
//! | 8 | 4 | highest version ever confirmed |
//! | 12 | 1 | confirmed slot, or `FF` |
//! | 13 | 1 | candidate in the other slot: 0 none, 1 pending, 2 on trial |
//! | 14 | 1 | number of starts at which it was tried |
//! | 15 | 1 | flags |
//! | 16 | 4 | version of the last candidate that failed |
//! | 20 | 8 | zeros |
//! | 28 | 4 | CRC-32 of bytes 0 … 27 |
//!
//! Flag bit 0: the other slot holds the previous model. Bit 1: the candidate runs on trial. Bit 2:
//! the last candidate failed.

use embedded_storage::nor_flash::NorFlash;

use super::{crc32_of, message::Candidate, put, word};

/// Size of a record in bytes.
pub const RECORD_BYTES: usize = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"WKJ1");
const CRC_AT: usize = RECORD_BYTES - 4;
const NO_SLOT: u8 = 0xFF;
const OLD_IS_WHOLE: u8 = 1;
const WANTS_TRIAL: u8 = 2;
const FAILED: u8 = 4;
/// Number of pages in a journal.
pub const PAGES: usize = 2;

/// One of the two slots for a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first slot.
    A,
    /// The second slot.
    B,
}

impl Slot {
    /// Returns the other slot.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Index of the slot, 0 or 1.
    pub const fn index(self) -> u8 {
        self as u8
    }
}

/// State of the two slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Slot whose model was confirmed last.
    pub confirmed: Option<Slot>,
    /// State of the package in the other slot ([`State::spare`]), if it is to run.
    pub candidate: Option<Candidate>,
    /// Number of starts at which the candidate was tried.
    pub tries: u8,
    /// `true` if a person must confirm the candidate.
    pub wants_trial: bool,
    /// `true` if there is no candidate and the other slot holds the previous model, intact.
    pub old_is_whole: bool,
    /// Highest version ever confirmed.
    pub floor: u32,
    /// Version of the last candidate that failed.
    pub failed: Option<u32>,
}

impl State {
    /// Slot that is written next.
    pub fn spare(&self) -> Slot {
        self.confirmed.map_or(Slot::A, Slot::other)
    }

    fn encode(&self, sequence: u32) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, sequence);
        put(&mut bytes, 8, self.floor);
        bytes[12] = self.confirmed.map_or(NO_SLOT, Slot::index);
        bytes[13] = match self.candidate {
            None => 0,
            Some(Candidate::Pending) => 1,
            Some(Candidate::Trial) => 2,
        };
        bytes[14] = self.tries;
        let flag = |on, bit| if on { bit } else { 0 };
        bytes[15] = flag(self.old_is_whole, OLD_IS_WHOLE)
            | flag(self.wants_trial, WANTS_TRIAL)
            | flag(self.failed.is_some(), FAILED);
        put(&mut bytes, 16, self.failed.unwrap_or(0));
        let sum = crc32_of(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, sum);
        bytes
    }

    /// Decodes an intact record into its sequence and state.
    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<(u32, Self)> {
        if word(bytes, 0) != MAGIC || word(bytes, CRC_AT) != crc32_of(&bytes[..CRC_AT]) {
            return None;
        }
        let confirmed = match bytes[12] {
            0 => Some(Slot::A),
            1 => Some(Slot::B),
            _ => None,
        };
        let candidate = match bytes[13] {
            1 => Some(Candidate::Pending),
            2 => Some(Candidate::Trial),
            _ => None,
        };
        let state = Self {
            confirmed,
            candidate,
            tries: bytes[14],
            wants_trial: bytes[15] & WANTS_TRIAL != 0,
            old_is_whole: bytes[15] & OLD_IS_WHOLE != 0,
            floor: word(bytes, 8),
            failed: (bytes[15] & FAILED != 0).then(|| word(bytes, 16)),
        };
        Some((word(bytes, 4), state))
    }
}

/// Position in a journal.
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    /// Offset of the two pages in the flash.
    start: u32,
    /// Sequence of the newest record.
    sequence: u32,
    /// Page of the newest record, 0 or 1.
    page: u8,
    /// Offset of the next record in that page.
    next: u32,
}

impl Journal {
    /// Finds the newest record of the journal at `start`. Without one, the state is that of a
    /// device that never had a model.
    ///
    /// # Errors
    /// Returns the error of the flash.
    pub fn open<F: NorFlash>(flash: &mut F, start: u32) -> Result<(Self, State), F::Error> {
        const {
            assert!(RECORD_BYTES.is_multiple_of(F::WRITE_SIZE), "records are whole words");
            assert!(RECORD_BYTES.is_multiple_of(F::READ_SIZE), "records are whole words");
            assert!(F::ERASE_SIZE >= 2 * RECORD_BYTES, "a page holds several records");
        }
        let page_bytes = F::ERASE_SIZE as u32;
        // An empty journal starts by erasing page 0.
        let mut journal = Self { start, sequence: 0, page: 1, next: page_bytes };
        let mut newest = None;
        for page in 0..PAGES as u8 {
            // Offset after the last place that is not erased.
            let mut free = 0;
            let mut best = None;
            for offset in (0..page_bytes).step_by(RECORD_BYTES) {
                let mut bytes = [0; RECORD_BYTES];
                flash.read(journal.address::<F>(page, offset), &mut bytes)?;
                if bytes.iter().any(|&byte| byte != 0xFF) {
                    free = offset + RECORD_BYTES as u32;
                }
                let newer =
                    |&(sequence, _): &(u32, State)| best.is_none_or(|(best, _)| sequence > best);
                best = State::decode(&bytes).filter(newer).or(best);
            }
            let newer =
                |&(sequence, _): &(u32, State)| newest.is_none_or(|(newest, _)| sequence > newest);
            if let Some((sequence, state)) = best.filter(newer) {
                newest = Some((sequence, state));
                journal = Self { sequence, page, next: free, ..journal };
            }
        }
        Ok((journal, newest.map(|(_, state)| state).unwrap_or_default()))
    }

    fn address<F: NorFlash>(&self, page: u8, offset: u32) -> u32 {
        self.start + u32::from(page) * F::ERASE_SIZE as u32 + offset
    }

    /// Writes a state, which takes effect once its last word is in the flash.
    ///
    /// # Errors
    /// Returns the error of the flash; the previous state then remains in effect.
    pub fn append<F: NorFlash>(&mut self, flash: &mut F, state: &State) -> Result<(), F::Error> {
        let page_bytes = F::ERASE_SIZE as u32;
        if self.next + RECORD_BYTES as u32 > page_bytes {
            let other = 1 - self.page.min(1);
            let from = self.address::<F>(other, 0);
            flash.erase(from, from + page_bytes)?;
            (self.page, self.next) = (other, 0);
        }
        let at = self.address::<F>(self.page, self.next);
        // The place is used, whether or not the write succeeds.
        self.next += RECORD_BYTES as u32;
        self.sequence = self.sequence.wrapping_add(1);
        flash.write(at, &state.encode(self.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::ram::RamFlash;

    type Flash<'b> = RamFlash<'b, 4, 128>;

    fn numbered(floor: u32) -> State {
        State { confirmed: Some(Slot::B), floor, failed: Some(floor), ..State::default() }
    }

    #[test]
    fn the_newest_record_counts_over_many_pages() {
        let mut words = [0; 32];
        let mut flash = Flash::new(&mut words);
        let (mut journal, state) = Journal::open(&mut flash, 0).expect("it reads");
        assert_eq!(state, State::default());
        for floor in 1..100 {
            journal.append(&mut flash, &numbered(floor)).expect("it writes");
            let (found, state) = Journal::open(&mut flash, 0).expect("it reads");
            assert_eq!(state, numbered(floor));
            assert_eq!((found.page, found.next), (journal.page, journal.next));
            journal = found;
        }
    }

    #[test]
    fn a_record_of_a_flipped_bit_is_none() {
        let bytes = numbered(5).encode(9);
        assert_eq!(State::decode(&bytes), Some((9, numbered(5))));
        for bit in 0..8 * RECORD_BYTES {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&damaged), None, "bit {bit}");
        }
    }
}
