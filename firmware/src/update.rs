//! Another model for this device, while it listens: [`Updates`] serves a serial line between blocks of
//! sound, and decides at every start which model runs.
//!
//! A board hands over a flash ([`Mapped`]), a line ([`embedded_io`]) and an [`Authority`]; it wraps its
//! microphone in [`Attended`] and starts again when that asks for it. The rules lie in
//! `wakeling_shared::update`.

use core::cell::RefCell;

use embedded_io::{Read, ReadReady, Write};
use wakeling_shared::{
    artifact::Model,
    enroll::Learn,
    recorder::Log,
    update::{
        image::{Authority, DEVELOPMENT_KEY, KEY_BYTES},
        self_test,
        session::{Session, Wish},
        store::{Mapped, OpenError, Place, Question, Store},
    },
};

use crate::microphone::{Microphone, ReadError};

/// Bytes that are taken from the line at once.
const READ_BYTES: usize = 64;

/// The key that this build pins: what `WAKELING_UPDATE_KEY` named in 64 hexadecimal digits when it was
/// built, else [`DEVELOPMENT_KEY`].
pub const PINNED_KEY: [u8; KEY_BYTES] = match option_env!("WAKELING_UPDATE_KEY") {
    Some(digits) => key(digits.as_bytes()),
    None => DEVELOPMENT_KEY,
};

/// A key from hexadecimal digits, at compile time.
const fn key(digits: &[u8]) -> [u8; KEY_BYTES] {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => panic!("WAKELING_UPDATE_KEY must be 64 hexadecimal digits"),
        }
    }
    assert!(digits.len() == 2 * KEY_BYTES, "WAKELING_UPDATE_KEY must be 64 hexadecimal digits");
    let mut key = [0; KEY_BYTES];
    let mut i = 0;
    while i < KEY_BYTES {
        key[i] = digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]);
        i += 1;
    }
    key
}

/// The slots of this device and the line by which they are written; by the same line a flight
/// recorder is read, and words are enrolled.
pub struct Updates<'r, F, A, L, R = (), E = ()> {
    store: Store<F>,
    session: Session<A>,
    line: L,
    tools: &'r RefCell<(R, E)>,
    restart: bool,
}

impl<'r, F, A, L, R, E> Updates<'r, F, A, L, R, E>
where
    F: Mapped,
    A: Authority,
    L: Read + ReadReady + Write,
    R: Log,
    E: Learn,
{
    /// Reads the journal of a flash. `session` names the board and whose models it takes; a board
    /// without a flight recorder, or one on which nothing is enrolled, gives a `()` for it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        session: Session<A>,
        flash: F,
        line: L,
        tools: &'r RefCell<(R, E)>,
    ) -> Result<Self, OpenError<F::Error>> {
        Ok(Self { store: Store::open(flash)?, session, line, tools, restart: false })
    }

    /// Decides which model runs; a new one is tried on its self-test, for which it needs `arena`.
    /// `None`: there is none, and the device can only wait for one.
    ///
    /// # Errors
    /// The flash's own.
    pub fn start(&mut self, arena: &mut [i8]) -> Result<Option<Place>, F::Error> {
        self.restart = false;
        self.store.start(|flash, place, question| good(flash, place, question, arena))
    }

    /// The slots.
    pub fn store(&self) -> &Store<F> {
        &self.store
    }

    /// Whether the host asked for a restart.
    pub fn restart(&self) -> bool {
        self.restart
    }

    /// Serves what has come over the line, and waits for nothing. A line that fails is served again
    /// at the next call: the host asks again.
    pub fn serve(&mut self) {
        let Self { store, session, line, tools, restart } = self;
        // Only who listens holds it otherwise, and does not while the line is served.
        let Ok(mut tools) = tools.try_borrow_mut() else { return };
        let (log, learner) = &mut *tools;
        while !*restart && line.read_ready().unwrap_or(false) {
            let mut bytes = [0; READ_BYTES];
            let count = line.read(&mut bytes).unwrap_or(0);
            if count == 0 {
                return;
            }
            for &byte in bytes.get(..count).unwrap_or_default() {
                let wish = session.push(byte, (&mut *store, &*log, &mut *learner), |frame| {
                    // A reply that does not get out is asked for again.
                    let _ = line.write_all(frame);
                });
                *restart |= wish == Some(Wish::Restart);
            }
        }
    }
}

/// Whether the model of a slot can be run, and says what it should. Not inlined: the model is 4.6 KB
/// of stack, free again afterwards.
#[inline(never)]
fn good<F: Mapped>(flash: &F, place: &Place, question: Question, arena: &mut [i8]) -> bool {
    let mut slot = None;
    let bytes = flash.mapped(place.model_at, place.header.model_bytes);
    let Ok(model) = Model::load_into(&mut slot, bytes) else { return false };
    if model.arena_bytes() > arena.len() {
        return false;
    }
    let test = flash.mapped(place.test_at(), place.header.test_bytes);
    // What was enrolled here is the model that ran, but for one head.
    question == Question::Loads
        || place.header.enrolled
        || self_test::run(model, test, arena).is_ok()
}

/// A microphone; before each block the line is served. It ends when the host wants a restart.
pub struct Attended<'u, 'r, M, F, A, L, R, E> {
    microphone: M,
    updates: &'u mut Updates<'r, F, A, L, R, E>,
}

impl<'u, 'r, M, F, A, L, R, E> Attended<'u, 'r, M, F, A, L, R, E> {
    /// Both.
    pub fn new(microphone: M, updates: &'u mut Updates<'r, F, A, L, R, E>) -> Self {
        Self { microphone, updates }
    }
}

impl<M, F, A, L, R, E> Microphone for Attended<'_, '_, M, F, A, L, R, E>
where
    M: Microphone,
    F: Mapped,
    A: Authority,
    L: Read + ReadReady + Write,
    R: Log,
    E: Learn,
{
    type Error = M::Error;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<M::Error>> {
        self.updates.serve();
        if self.updates.restart() { Err(ReadError::End) } else { self.microphone.read(block) }
    }
}
