//! Device side of an update line: receives bytes, serves requests, sends replies.

use embedded_storage::nor_flash::NorFlash;

use super::{
    frame::{self, Deframer, MAX_FRAME, MAX_PAYLOAD},
    message::{self, CHUNK_BYTES, Info, PROTOCOL, Refusal, Reply, Request, Running},
    package::Authority,
    store::Store,
};
use crate::{
    enroll::{Learn, Patch},
    recorder::Log,
};

/// Action that the device must take besides replying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Restart once the reply is sent.
    Restart,
}

/// Session of a device with a host over one line.
pub struct Session<A> {
    board: &'static str,
    authority: A,
    deframer: Deframer,
}

impl<A: Authority> Session<A> {
    /// Creates a session for a board of this name, which accepts models of `authority`.
    pub fn new(board: &'static str, authority: A) -> Self {
        Self { board, authority, deframer: Deframer::default() }
    }

    /// Processes a byte. Serves every request that it completes, and passes each framed reply to
    /// `send`. A device without a flight recorder passes `()` as the log, and one without
    /// enrollment `()` as the learner.
    pub fn push<F: NorFlash>(
        &mut self,
        byte: u8,
        (store, log, learner): (&mut Store<F>, &impl Log, &mut impl Learn),
        mut send: impl FnMut(&[u8]),
    ) -> Option<Action> {
        self.deframer.push(byte);
        let mut action = None;
        while let Some(request) = self.deframer.frame() {
            let tag = request.tag;
            let mut chunk = [0; CHUNK_BYTES];
            let reply = match message::decode(request.payload) {
                Some(Request::Info) => Ok(Reply::Info(info(self.board, &self.authority, store))),
                Some(Request::Begin(header)) => {
                    done(store.begin(header, &self.authority).map(|()| 0))
                }
                Some(Request::Data { offset, bytes }) => done(store.data(offset, bytes)),
                Some(Request::Finish { trial }) => done(store.finish(trial, &self.authority)),
                Some(Request::Confirm) => done(store.confirm().map(|()| 0)),
                Some(Request::Restart) => {
                    action = Some(Action::Restart);
                    done(Ok(0))
                }
                Some(Request::Event(index)) => Ok(Reply::Event(log.entry(index.into()))),
                Some(Request::Features { number, offset }) => {
                    features(log, (number, offset), &mut chunk).ok_or(Refusal::NoEvent)
                }
                Some(Request::Enroll) => done(learner.begin().map(|()| 0).map_err(Refusal::from)),
                Some(Request::Enrolled) => done(Ok(learner.utterance_count().into())),
                Some(Request::Keep) => done(keep(store, learner).map(|()| 0)),
                None => Err(Refusal::Request),
            };
            let reply = reply.unwrap_or_else(Reply::Refused);
            let (mut payload, mut out) = ([0; MAX_PAYLOAD], [0; MAX_FRAME]);
            let payload = message::encode(&reply, &mut payload);
            if let Some(frame) = payload.and_then(|payload| frame::write(tag, payload, &mut out)) {
                send(frame);
            }
        }
        action
    }
}

/// Installs the enrolled head as the candidate of the next start. Not inlined, so that its 2 KB of
/// stack are free again afterwards.
///
/// # Errors
/// [`Refusal`] by its cause.
#[inline(never)]
pub fn keep<F: NorFlash>(store: &mut Store<F>, learner: &impl Learn) -> Result<(), Refusal> {
    let mut patch = Patch::new();
    learner.patch(&mut patch)?;
    store.install(patch.patches())
}

/// Installs an empty head as the candidate of the next start.
///
/// # Errors
/// [`Refusal`] by its cause.
#[inline(never)]
pub fn forget<F: NorFlash>(store: &mut Store<F>, learner: &impl Learn) -> Result<(), Refusal> {
    let mut patch = Patch::new();
    learner.forget(&mut patch)?;
    store.install(patch.patches())
}

/// Returns a part of the features of an event.
fn features<'c>(
    log: &impl Log,
    (number, offset): (u32, u16),
    chunk: &'c mut [u8; CHUNK_BYTES],
) -> Option<Reply<'c>> {
    let [old, new] = log.window(number)?;
    let from = usize::from(offset);
    let left = (old.len() + new.len()).checked_sub(from).filter(|&left| left > 0)?;
    let rest = old.iter().chain(new).skip(from);
    chunk.iter_mut().zip(rest).for_each(|(slot, &feature)| *slot = feature as u8);
    chunk.get(..left.min(CHUNK_BYTES)).map(Reply::Features)
}

fn done<'a>(result: Result<u32, Refusal>) -> Result<Reply<'a>, Refusal> {
    result.map(|received| Reply::Done { received })
}

fn info<'b, F: NorFlash>(board: &'b str, authority: &impl Authority, store: &Store<F>) -> Info<'b> {
    let state = store.state();
    let running = store.running().map(|place| Running {
        version: place.header.version,
        slot: place.slot.index(),
        enrolled: place.header.enrolled,
    });
    Info {
        protocol: PROTOCOL,
        board,
        running,
        next_version: store.next_version(),
        candidate: state.candidate,
        slot_bytes: store.slot_bytes(),
        key: authority.key(),
        rolled_back: state.failed,
    }
}
