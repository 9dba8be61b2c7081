//! Two slots for signed packages, and the journal with the active one.
//!
//! The flash holds two pages of journal, slot A and slot B, in this order; each slot has as many
//! whole pages as fit. The slot with the confirmed model is never written. The steps of an update
//! are:
//!
//! 1. *begin* records that the other slot is empty;
//! 2. *data* erases its pages as they are reached, and writes model and self-test;
//! 3. *finish* reads them back, checks CRC-32 and signature, writes the header, and records a
//!    candidate;
//! 4. the next start records a try, runs the self-test, and records that the candidate is confirmed
//!    or has failed.
//!
//! A power cut between or within these steps leaves the previous record of the journal, and the
//! slot that it names intact.

use embedded_storage::nor_flash::NorFlash;

use super::{
    crc32,
    journal::{Journal, PAGES, Slot, State},
    message::{CHUNK_BYTES, Candidate, Refusal},
    package::{Anyone, Authority, HEADER_BYTES, Header},
};
use crate::model::{Patches, file_words};

/// Number of starts at which a candidate may hang.
const MAX_TRIES: u8 = 3;
/// Number of bytes read at once.
const READ_BYTES: usize = HEADER_BYTES;

/// A flash that is mapped into memory, so that a model can be read in place.
pub trait Mapped: NorFlash {
    /// Returns `length` bytes from `offset`; fewer or none beyond the end.
    fn mapped(&self, offset: u32, length: u32) -> &[u8];
}

/// Reason for which a store cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError<E> {
    /// The flash has no room for a journal and two slots of one page each.
    TooSmall,
    /// The flash reported an error.
    Flash(E),
}

/// A package in the flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotImage {
    /// Slot of the package.
    pub slot: Slot,
    /// Header of the package.
    pub header: Header,
    /// Offset of the model in the flash.
    pub model_at: u32,
}

impl SlotImage {
    /// Offset of the self-test in the flash.
    pub fn test_at(&self) -> u32 {
        self.model_at.saturating_add(self.header.model_bytes)
    }
}

/// Check of a package at a start, besides that of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckLevel {
    /// Check that the model loads. It has run before.
    Loads,
    /// Check that the model loads and passes its self-test.
    PassesItsTest,
}

/// A package being received.
struct Receiving {
    header: Header,
    received: u32,
    /// Pages below this offset of the slot are erased.
    erased: u32,
}

/// The slots of a flash.
pub struct Store<F> {
    flash: F,
    journal: Journal,
    state: State,
    slot_bytes: u32,
    running: Option<SlotImage>,
    receiving: Option<Receiving>,
}

impl<F: NorFlash> Store<F> {
    /// Opens the store by reading its journal. Nothing is written.
    ///
    /// # Errors
    /// [`OpenError`] if the flash is too small or fails.
    pub fn open(mut flash: F) -> Result<Self, OpenError<F::Error>> {
        const {
            assert!(HEADER_BYTES.is_multiple_of(F::WRITE_SIZE), "a header is whole words");
            assert!(CHUNK_BYTES.is_multiple_of(F::WRITE_SIZE), "a chunk is whole words");
            assert!(READ_BYTES.is_multiple_of(F::READ_SIZE), "what is read is whole words");
            assert!(F::ERASE_SIZE.is_multiple_of(READ_BYTES), "a page is read in whole parts");
        }
        let pages = flash.capacity() / F::ERASE_SIZE;
        let slot_pages = pages.saturating_sub(PAGES) / 2;
        let slot_bytes = u32::try_from(slot_pages * F::ERASE_SIZE).unwrap_or(0);
        if slot_bytes == 0 {
            return Err(OpenError::TooSmall);
        }
        let (journal, state) = Journal::open(&mut flash, 0).map_err(OpenError::Flash)?;
        Ok(Self { flash, journal, state, slot_bytes, running: None, receiving: None })
    }

    /// Size of a slot for header, model and self-test, in bytes.
    pub fn slot_bytes(&self) -> u32 {
        self.slot_bytes
    }

    /// State in the journal.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The package that runs since [`Store::start`].
    pub fn running(&self) -> Option<&SlotImage> {
        self.running.as_ref()
    }

    /// Reference to the flash.
    pub fn flash(&self) -> &F {
        &self.flash
    }

    /// Returns the flash.
    pub fn release(self) -> F {
        self.flash
    }

    /// Least version that is accepted.
    pub fn next_version(&self) -> u32 {
        self.state.floor.saturating_add(1)
    }

    fn slot_start(&self, slot: Slot) -> u32 {
        PAGES as u32 * F::ERASE_SIZE as u32 + u32::from(slot.index()) * self.slot_bytes
    }

    fn note(&mut self, state: State) -> Result<(), F::Error> {
        // The journal takes precedence, so the state changes only after it.
        self.journal.append(&mut self.flash, &state)?;
        self.state = state;
        Ok(())
    }

    /// Returns the package in a slot, if its header is intact and it fits.
    fn place(&mut self, slot: Slot) -> Result<Option<SlotImage>, F::Error> {
        let start = self.slot_start(slot);
        let mut bytes = [0; HEADER_BYTES];
        self.flash.read(start, &mut bytes)?;
        let model_at = start + HEADER_BYTES as u32;
        let header = Header::decode(&bytes).ok().filter(|header| self.fits(header));
        Ok(header.map(|header| SlotImage { slot, header, model_at }))
    }

    fn fits(&self, header: &Header) -> bool {
        header.body_bytes() <= self.slot_bytes - HEADER_BYTES as u32
    }

    /// Selects the model to run. Call it at every start of the device; `good` performs the check
    /// ([`CheckLevel`]) of a package.
    ///
    /// A candidate is tried first. If it fails, or hung at three starts, the confirmed model runs.
    /// If that does not load, the previous one runs, if it is still there. Returns `None` if there
    /// is no model; updates are still accepted.
    ///
    /// # Errors
    /// Returns the error of the flash.
    pub fn start(
        &mut self,
        mut good: impl FnMut(&F, &SlotImage, CheckLevel) -> bool,
    ) -> Result<Option<SlotImage>, F::Error> {
        self.receiving = None;
        let mut running = self.try_candidate(&mut good)?;
        if running.is_none()
            && let Some(slot) = self.state.confirmed
        {
            running = self.place(slot)?;
            running.take_if(|place| !good(&self.flash, place, CheckLevel::Loads));
        }
        if running.is_none() && self.state.old_is_whole {
            running = self.place(self.state.spare())?;
            running.take_if(|place| !good(&self.flash, place, CheckLevel::Loads));
            if let Some(place) = &running {
                let confirmed = Some(place.slot);
                self.note(State { confirmed, old_is_whole: false, ..self.state })?;
            }
        }
        self.running.clone_from(&running);
        Ok(running)
    }

    fn try_candidate(
        &mut self,
        good: &mut impl FnMut(&F, &SlotImage, CheckLevel) -> bool,
    ) -> Result<Option<SlotImage>, F::Error> {
        let Some(candidate) = self.state.candidate else { return Ok(None) };
        let place = self.place(self.state.spare())?;
        let tries = self.state.tries.saturating_add(1);
        if let Some(place) = place
            && candidate == Candidate::Pending
            && tries <= MAX_TRIES
        {
            self.note(State { tries, ..self.state })?;
            if good(&self.flash, &place, CheckLevel::PassesItsTest) {
                if self.state.wants_trial {
                    self.note(State { candidate: Some(Candidate::Trial), ..self.state })?;
                } else {
                    self.confirm_slot(&place)?;
                }
                return Ok(Some(place));
            }
        }
        // The candidate failed, or was on trial and not confirmed.
        let failed = self.place(self.state.spare())?.map(|place| place.header.version);
        let old = State { candidate: None, tries: 0, wants_trial: false, ..self.state };
        self.note(State { failed: failed.or(old.failed), ..old })?;
        Ok(None)
    }

    fn confirm_slot(&mut self, place: &SlotImage) -> Result<(), F::Error> {
        self.note(State {
            confirmed: Some(place.slot),
            candidate: None,
            tries: 0,
            wants_trial: false,
            old_is_whole: self.state.confirmed.is_some(),
            floor: self.state.floor.max(place.header.version),
            failed: None,
        })
    }

    /// Confirms the model on trial.
    ///
    /// # Errors
    /// [`Refusal::NothingToConfirm`] without one; [`Refusal::Flash`].
    pub fn confirm(&mut self) -> Result<(), Refusal> {
        let trial = self.state.candidate == Some(Candidate::Trial);
        let place = self.running.clone().filter(|_| trial).ok_or(Refusal::NothingToConfirm)?;
        self.confirm_slot(&place).map_err(|_| Refusal::Flash)
    }

    /// Prepares to receive a package with this header. An earlier transfer is dropped.
    ///
    /// # Errors
    /// [`Refusal`] by its cause; nothing is then written.
    pub fn begin(&mut self, header: &[u8], authority: &impl Authority) -> Result<(), Refusal> {
        let header = Header::decode(header)?;
        if header.enrolled {
            return Err(Refusal::Header);
        }
        authority.begin(&header)?;
        self.begin_with(header)
    }

    fn begin_with(&mut self, header: Header) -> Result<(), Refusal> {
        self.receiving = None;
        if self.state.candidate == Some(Candidate::Trial) {
            return Err(Refusal::OnTrial);
        }
        // A model made on the device has the version of the model that it was made from.
        if !header.enrolled && header.version < self.next_version() {
            return Err(Refusal::Version { least: self.next_version() });
        }
        if !self.fits(&header) {
            return Err(Refusal::Large { slot_bytes: self.slot_bytes });
        }
        if self.state.candidate.is_some() || self.state.old_is_whole {
            let old = State { candidate: None, tries: 0, wants_trial: false, ..self.state };
            self.note(State { old_is_whole: false, ..old }).map_err(|_| Refusal::Flash)?;
        }
        self.receiving = Some(Receiving { header, received: 0, erased: 0 });
        Ok(())
    }

    /// Writes the next bytes of model and self-test: [`CHUNK_BYTES`], or all that are left. Returns
    /// the number received so far. Bytes that are repeated are accepted without being written
    /// again.
    ///
    /// # Errors
    /// [`Refusal::NotReceiving`] without [`Store::begin`], [`Refusal::Offset`] for other bytes than
    /// the next ones, [`Refusal::Flash`].
    pub fn data(&mut self, offset: u32, bytes: &[u8]) -> Result<u32, Refusal> {
        let start = self.slot_start(self.state.spare());
        let receiving = self.receiving.as_mut().ok_or(Refusal::NotReceiving)?;
        let left = receiving.header.body_bytes() - receiving.received;
        let count = bytes.len() as u32;
        // A reply was lost, and the host repeats the request.
        if offset.checked_add(count) == Some(receiving.received) && count > 0 {
            return Ok(receiving.received);
        }
        let next = bytes.len() == CHUNK_BYTES || count == left;
        if offset != receiving.received || !next || count > left || count == 0 {
            return Err(Refusal::Offset { expected: receiving.received });
        }
        let at = HEADER_BYTES as u32 + offset;
        while receiving.erased < at + count {
            let page = start + receiving.erased;
            let erased = self.flash.erase(page, page + F::ERASE_SIZE as u32);
            erased.map_err(|_| Refusal::Flash)?;
            receiving.erased += F::ERASE_SIZE as u32;
        }
        // The last chunk is padded to a whole word.
        let mut chunk = [0xFF; CHUNK_BYTES];
        chunk.iter_mut().zip(bytes).for_each(|(slot, &byte)| *slot = byte);
        let whole = bytes.len().next_multiple_of(F::WRITE_SIZE).min(CHUNK_BYTES);
        let written = self.flash.write(start + at, chunk.get(..whole).unwrap_or_default());
        written.map_err(|_| Refusal::Flash)?;
        receiving.received += count;
        Ok(receiving.received)
    }

    /// Checks the received package, and makes it the candidate of the next start. Returns the
    /// number of bytes received.
    ///
    /// # Errors
    /// [`Refusal`] by its cause. The package is then dropped, unless part of it is missing.
    pub fn finish(&mut self, trial: bool, authority: &impl Authority) -> Result<u32, Refusal> {
        let slot = self.state.spare();
        let receiving = self.receiving.as_ref().ok_or(Refusal::NotReceiving)?;
        if receiving.received < receiving.header.body_bytes() {
            return Err(Refusal::Offset { expected: receiving.received });
        }
        let received = receiving.received;
        let header = self.receiving.take().map(|receiving| receiving.header);
        let header = header.ok_or(Refusal::NotReceiving)?;
        self.check_body(&header, slot, authority)?;
        let start = self.slot_start(slot);
        self.flash.write(start, &header.encode()).map_err(|_| Refusal::Flash)?;
        let state = State { candidate: Some(Candidate::Pending), ..self.state };
        let noted = self.note(State { tries: 0, wants_trial: trial, ..state });
        noted.map_err(|_| Refusal::Flash)?;
        Ok(received)
    }

    /// Writes the running model, with other words in a few places, to the other slot, as the
    /// candidate of the next start. The new package has no self-test and no signature.
    ///
    /// # Errors
    /// [`Refusal`] by its cause.
    pub fn install(&mut self, mut patches: Patches<'_>) -> Result<(), Refusal> {
        let place = self.running.clone().ok_or(Refusal::NothingToLearn)?;
        let words = place.header.model_bytes as usize / size_of::<u32>();
        let flash = &mut self.flash;
        let mut part = |first: usize| part_of(flash, &place, first);
        let file = file_words(&part(0)?).filter(|&file| file <= words).ok_or(Refusal::Header)?;
        let mut held = [0; PART];
        patches.seal(file, |i| {
            if i % PART == 0 {
                held = part(i)?;
            }
            Ok::<_, Refusal>(held.get(i % PART).copied().unwrap_or(0))
        })?;
        let patches = patches;
        let patched = |flash: &mut F, first: usize| -> Result<[u8; READ_BYTES], Refusal> {
            let mut words = part_of(flash, &place, first)?;
            patches.overlay(first, &mut words);
            Ok(bytemuck::cast(words.map(u32::to_le_bytes)))
        };
        let mut sum = crc32();
        for first in (0..words).step_by(PART) {
            let count = READ_BYTES.min((words - first) * size_of::<u32>());
            sum.update(patched(&mut self.flash, first)?.get(..count).unwrap_or_default());
        }
        let header = Header {
            version: place.header.version,
            model_bytes: place.header.model_bytes,
            test_bytes: 0,
            body_crc: sum.finalize(),
            signature: None,
            enrolled: true,
        };
        self.begin_with(header)?;
        for first in (0..words).step_by(2 * PART) {
            let mut chunk = [0; CHUNK_BYTES];
            for (i, half) in chunk.as_chunks_mut::<READ_BYTES>().0.iter_mut().enumerate() {
                let first = first + i * PART;
                if first < words {
                    *half = patched(&mut self.flash, first)?;
                }
            }
            let count = CHUNK_BYTES.min((words - first) * size_of::<u32>());
            let offset = (first * size_of::<u32>()) as u32;
            self.data(offset, chunk.get(..count).unwrap_or_default())?;
        }
        self.finish(false, &Anyone).map(drop)
    }

    /// Reads a body back, and checks its CRC-32 and signature.
    fn check_body(
        &mut self,
        header: &Header,
        slot: Slot,
        authority: &impl Authority,
    ) -> Result<(), Refusal> {
        let mut check = authority.begin(header)?;
        let mut sum = crc32();
        let mut at = self.slot_start(slot) + HEADER_BYTES as u32;
        let mut left = header.body_bytes();
        while left > 0 {
            let mut bytes = [0; READ_BYTES];
            self.flash.read(at, &mut bytes).map_err(|_| Refusal::Flash)?;
            let count = left.min(READ_BYTES as u32);
            let bytes = bytes.get(..count as usize).unwrap_or_default();
            sum.update(bytes);
            authority.absorb(&mut check, bytes);
            at += count;
            left -= count;
        }
        if sum.finalize() != header.body_crc {
            return Err(Refusal::Checksum);
        }
        authority.finish(check)
    }
}

/// Number of words read at once.
const PART: usize = READ_BYTES / size_of::<u32>();

/// Returns words of a package's model from word `first` on; a slot ends with a whole part.
fn part_of<F: NorFlash>(
    flash: &mut F,
    place: &SlotImage,
    first: usize,
) -> Result<[u32; PART], Refusal> {
    let mut bytes = [0; READ_BYTES];
    let at = place.model_at + (first * size_of::<u32>()) as u32;
    flash.read(at, &mut bytes).map_err(|_| Refusal::Flash)?;
    let (words, _) = bytes.as_chunks();
    Ok(core::array::from_fn(|i| words.get(i).map_or(0, |&word| u32::from_le_bytes(word))))
}
