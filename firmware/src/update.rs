//! Model updates while the device runs. [`Updates`] serves a serial line between blocks of sound,
//! and selects the model at every start.
//!
//! A board supplies a flash ([`Mapped`]), a line ([`embedded_io`]) and an [`Authority`]. It calls
//! [`run`], or [`Device::round`] to control restarts itself. `wakeling_shared::update` defines the
//! protocol.

use core::{cell::RefCell, fmt};

use embedded_hal::digital::{ErrorType, OutputPin};
use embedded_io::{Read, ReadReady, Write};
use wakeling_shared::{
    decimal::Decimal,
    enroll::{Enroller, Learn, UTTERANCES},
    model::Model,
    recorder::{DEFAULT_MARGIN, Log, Recorder},
    update::{
        package::{Authority, DEVELOPMENT_KEY, KEY_BYTES},
        self_test,
        session::{self, Action, Session},
        store::{CheckLevel, Mapped, OpenError, SlotImage, Store},
    },
};

use crate::{
    application::{self, Board, Failure, ModelFile, Watched},
    button::{EnrollButton, Request},
    check::Check,
    listener::Options,
    microphone::{Microphone, ReadError},
};

/// Number of bytes taken from the line at once.
const READ_BYTES: usize = 64;

/// Public key that this build pins: the 64 hexadecimal digits of `WAKELING_UPDATE_KEY` at build
/// time, else [`DEVELOPMENT_KEY`].
pub const PINNED_KEY: [u8; KEY_BYTES] = match option_env!("WAKELING_UPDATE_KEY") {
    Some(digits) => key(digits.as_bytes()),
    None => DEVELOPMENT_KEY,
};

/// Parses a key from hexadecimal digits at compile time.
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

/// Slots of this device, and the serial line that updates them. The same line reads the flight
/// recorder and controls enrollment.
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
    /// Opens the slots by reading the journal of a flash. `session` has the name of the board and
    /// the accepted key. A board without a flight recorder or without enrollment passes `()` in its
    /// place.
    ///
    /// # Errors
    /// [`OpenError`] if the flash is too small or fails.
    pub fn open(
        session: Session<A>,
        flash: F,
        line: L,
        tools: &'r RefCell<(R, E)>,
    ) -> Result<Self, OpenError<F::Error>> {
        Ok(Self { store: Store::open(flash)?, session, line, tools, restart: false })
    }

    /// Selects the model to run. A new one must pass its self-test, which uses `arena`. Returns
    /// `None` if there is no model; the device can then only wait for one.
    ///
    /// # Errors
    /// Returns the error of the flash.
    pub fn start(&mut self, arena: &mut [i8]) -> Result<Option<SlotImage>, F::Error> {
        Ok(self.select(arena, Depth::Whole)?.map(|(place, _)| place))
    }

    /// As [`Updates::start`]. With [`Depth::Description`] the checksum of the confirmed model is left
    /// for later. Returns whether it was computed, too.
    fn select(
        &mut self,
        arena: &mut [i8],
        depth: Depth,
    ) -> Result<Option<(SlotImage, bool)>, F::Error> {
        self.restart = false;
        let (confirmed, mut is_checked) = (self.store.state().confirmed, true);
        let place = self.store.start(|flash, place, question| {
            // Any other model is run once after an update, or in place of a damaged one.
            let can_wait = question == CheckLevel::Loads && confirmed == Some(place.slot);
            let depth = if can_wait { depth } else { Depth::Whole };
            is_checked = depth == Depth::Whole;
            good(flash, place, (question, depth), arena)
        })?;
        Ok(place.map(|place| (place, is_checked)))
    }

    /// Store of the slots.
    pub fn store(&self) -> &Store<F> {
        &self.store
    }

    /// Returns whether the host requested a restart.
    pub fn restart(&self) -> bool {
        self.restart
    }

    /// Serves the bytes that have arrived on the line, without waiting. After an error the next
    /// call tries again, and the host repeats its request.
    pub fn serve(&mut self) {
        let Self { store, session, line, tools, restart } = self;
        // Only the observer borrows it otherwise, and not while the line is served.
        let Ok(mut tools) = tools.try_borrow_mut() else { return };
        let (log, learner) = &mut *tools;
        while !*restart && line.read_ready().unwrap_or(false) {
            let mut bytes = [0; READ_BYTES];
            let count = line.read(&mut bytes).unwrap_or(0);
            if count == 0 {
                return;
            }
            for &byte in bytes.get(..count).unwrap_or_default() {
                let action = session.push(byte, (&mut *store, &*log, &mut *learner), |frame| {
                    // If a reply is lost, the host repeats its request.
                    let _ = line.write_all(frame);
                });
                *restart |= action == Some(Action::Restart);
            }
        }
    }
}

/// Flight recorder with `EVENTS` windows of `BYTES` features each, and enroller.
pub type Tools<const EVENTS: usize, const BYTES: usize> =
    RefCell<(Recorder<EVENTS, BYTES>, Enroller<'static>)>;

/// Device with a flight recorder and enrollment.
pub type Device<'t, F, A, L, const EVENTS: usize, const BYTES: usize> =
    Updates<'t, F, A, L, Recorder<EVENTS, BYTES>, Enroller<'static>>;

/// Returns the model of a running package in the flash. Only the other slot is written meanwhile.
pub type Running = fn(&SlotImage) -> &'static [u8];

impl<F, A, L, const EVENTS: usize, const BYTES: usize> Device<'_, F, A, L, EVENTS, BYTES>
where
    F: Mapped,
    A: Authority,
    L: Read + ReadReady + Write,
{
    /// Runs one start: selects the model, reports it in a line, and processes sound until the
    /// microphone ends, or host or button request a restart. Without a model it reports that, and
    /// returns at once. The checksum of a confirmed model is computed beside the sound; if it is
    /// damaged, the selection is repeated without it, before any line. `running` is called for the
    /// running package; its result is not used after this function returns. `pressed` returns
    /// whether the board's button is pressed; a board without one returns `false`.
    ///
    /// # Errors
    /// [`Failure`], by its cause.
    pub fn round<M: Microphone, P: OutputPin>(
        &mut self,
        running: Running,
        arena: &mut [i8],
        mut microphone: M,
        mut pressed: impl FnMut() -> bool,
        (mut indicator, sink, options): (P, &mut impl fmt::Write, Options),
    ) -> Result<(), Failure<M::Error, P::Error>> {
        let mut depth = Depth::Description;
        loop {
            let selected = self.select(arena, depth).map_err(|_| Failure::Flash)?;
            let Some((place, is_checked)) = selected else { break };
            let started = Started { sink, place: &place, is_written: false };
            let outputs = (&mut indicator, &mut pressed, started);
            let ended = self.listen(
                (running, &place, is_checked),
                arena,
                &mut microphone,
                outputs,
                options,
            );
            match ended {
                // Nothing was written. Now every checksum is computed before a model is selected.
                Err(Failure::Model(_)) if !is_checked && depth == Depth::Description => {
                    depth = Depth::Whole;
                }
                ended => {
                    ended?;
                    self.serve();
                    return Ok(());
                }
            }
        }
        // If the sink fails, the error cannot be reported.
        let _ = writeln!(sink, "no model");
        self.serve();
        Ok(())
    }

    /// Runs the model of a package until the microphone ends.
    fn listen<M: Microphone, P: OutputPin>(
        &mut self,
        (running, place, is_checked): (Running, &SlotImage, bool),
        arena: &mut [i8],
        microphone: &mut M,
        (indicator, pressed, mut sink): (P, impl FnMut() -> bool, impl fmt::Write),
        options: Options,
    ) -> Result<(), Failure<M::Error, P::Error>> {
        let (model, tools, check) = (running(place), self.tools, Check::done());
        let signal = RefCell::new(Signal::new(indicator));
        let button = EnrollButton::new(UTTERANCES as u8);
        let panel = Panel { button, pressed, signal: &signal };
        let mut microphone =
            Attended { microphone, updates: self, check: &check, panel, samples: 0 };
        let file = ModelFile { bytes: model, check: &check, is_checked };
        let outputs = (Detections(&signal), &mut sink, options);
        let ended = application::detect(file, arena, &mut microphone, outputs, |loaded| {
            watch(tools, loaded, model);
            tools
        });
        // The slot may be written from now on.
        if let Ok(mut tools) = tools.try_borrow_mut() {
            tools.1.release();
        }
        ended
    }
}

/// Extent to which a model is checked before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// The description alone, on which memory safety depends. The checksum follows.
    Description,
    /// Description and checksum.
    Whole,
}

/// Sink that writes a line with the running version before the first text.
struct Started<'s, W> {
    sink: &'s mut W,
    place: &'s SlotImage,
    is_written: bool,
}

impl<W: fmt::Write> fmt::Write for Started<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.is_written {
            self.is_written = true;
            let SlotImage { slot, header, .. } = self.place;
            let [version, slot] = [header.version, slot.index().into()].map(Decimal::of);
            writeln!(self.sink, "started version={version} slot={slot}")?;
        }
        self.sink.write_str(text)
    }
}

/// Assigns recorder and enroller to this model.
fn watch<const EVENTS: usize, const BYTES: usize>(
    tools: &Tools<EVENTS, BYTES>,
    model: &Model<'static>,
    file: &[u8],
) {
    let Ok(mut tools) = tools.try_borrow_mut() else { return };
    tools.0.watch(model, DEFAULT_MARGIN);
    tools.1.watch_file(model, file);
}

/// Runs the model of a slot until something fails, with a new start at every request of the host.
/// Writes the failure as an `error` line. A board without a model waits for one and feeds its
/// watchdog. `arena` is the memory for the model's state.
pub fn run<M, P, S, W, F, A, L, const EVENTS: usize, const BYTES: usize>(
    device: Result<Device<'_, F, A, L, EVENTS, BYTES>, OpenError<F::Error>>,
    running: Running,
    arena: &mut [i8],
    board: Board<M, P, S, W>,
    mut pressed: impl FnMut() -> bool,
) -> Failure<M::Error, P::Error>
where
    M: Microphone,
    P: OutputPin,
    S: fmt::Write,
    W: FnMut(),
    F: Mapped,
    A: Authority,
    L: Read + ReadReady + Write,
{
    let Board { microphone, mut indicator, mut sink, feed } = board;
    let mut microphone = Watched { microphone, feed };
    let failure = match device {
        Err(_) => Failure::Flash,
        Ok(mut device) => loop {
            let outputs = (&mut indicator, &mut sink, Options::default());
            if let Err(failure) =
                device.round(running, arena, &mut microphone, &mut pressed, outputs)
            {
                break failure;
            }
            while !device.restart() {
                (microphone.feed)();
                device.serve();
            }
        },
    };
    let _ = writeln!(sink, "error {failure}");
    failure
}

/// Returns whether the model of a slot loads and, if `question` requires it, passes its self-test.
/// Not inlined, so that the model's 4.6 KB of stack are free again afterwards.
#[inline(never)]
fn good<F: Mapped>(
    flash: &F,
    place: &SlotImage,
    (question, depth): (CheckLevel, Depth),
    arena: &mut [i8],
) -> bool {
    let mut slot = None;
    let bytes = flash.mapped(place.model_at, place.header.model_bytes);
    let Ok((model, mut check)) = Model::load_deferred(&mut slot, bytes) else { return false };
    if depth == Depth::Whole && check.finish().is_err() {
        return false;
    }
    if model.arena_bytes() > arena.len() {
        return false;
    }
    let test = flash.mapped(place.test_at(), place.header.test_bytes);
    // An enrolled model equals the one that ran, but for one head.
    question == CheckLevel::Loads
        || place.header.enrolled
        || self_test::run(model, test, arena).is_ok()
}

/// Indicator of a board, which enrollment by a button takes over from detections.
struct Signal<P> {
    pin: P,
    /// Level for detections.
    detection: bool,
    /// Level for enrollment, which takes precedence.
    enrollment: Option<bool>,
}

impl<P: OutputPin> Signal<P> {
    fn new(pin: P) -> Self {
        Self { pin, detection: false, enrollment: None }
    }

    fn show(&mut self) -> Result<(), P::Error> {
        self.pin.set_state(self.enrollment.unwrap_or(self.detection).into())
    }
}

/// The indicator as detections see it.
struct Detections<'s, P>(&'s RefCell<Signal<P>>);

impl<P: OutputPin> ErrorType for Detections<'_, P> {
    type Error = P::Error;
}

impl<P: OutputPin> OutputPin for Detections<'_, P> {
    fn set_low(&mut self) -> Result<(), P::Error> {
        // It is borrowed only within functions that do not call each other.
        let Ok(mut signal) = self.0.try_borrow_mut() else { return Ok(()) };
        signal.detection = false;
        signal.show()
    }

    fn set_high(&mut self) -> Result<(), P::Error> {
        let Ok(mut signal) = self.0.try_borrow_mut() else { return Ok(()) };
        signal.detection = true;
        signal.show()
    }
}

/// Button and indicator of a board.
struct Panel<'s, B, P> {
    button: EnrollButton,
    pressed: B,
    signal: &'s RefCell<Signal<P>>,
}

impl<B: FnMut() -> bool, P: OutputPin> Panel<'_, B, P> {
    /// Executes the requests of the button after another `samples` samples.
    fn step<F, A, L, R, E>(&mut self, updates: &mut Updates<'_, F, A, L, R, E>, samples: u32)
    where
        F: Mapped,
        E: Learn,
    {
        let Updates { store, tools, restart, .. } = updates;
        let Ok(mut tools) = tools.try_borrow_mut() else { return };
        let learner = &mut tools.1;
        let request = self.button.step((self.pressed)(), samples, learner.utterance_count());
        if let Some(request) = request {
            self.button.done(match request {
                Request::Begin => learner.begin().is_ok(),
                Request::Cancel => {
                    learner.cancel();
                    true
                }
                Request::Keep => session::keep(store, learner).is_ok(),
                Request::Forget => session::forget(store, learner).is_ok(),
                Request::Restart => {
                    *restart = true;
                    true
                }
            });
        }
        if let Ok(mut signal) = self.signal.try_borrow_mut() {
            let enrollment = self.button.indicator();
            if enrollment != signal.enrollment {
                signal.enrollment = enrollment;
                // The next detection reports an error of the pin.
                let _ = signal.show();
            }
        }
    }
}

/// Microphone that serves line and button before each block, once the model is checked: an answer
/// can depend on the model. It ends when host or button request a restart.
struct Attended<'u, 'r, 's, M, F, A, L, R, E, B, P> {
    microphone: M,
    updates: &'u mut Updates<'r, F, A, L, R, E>,
    check: &'s Check<'static>,
    panel: Panel<'s, B, P>,
    /// Number of samples in the last block.
    samples: u32,
}

impl<M, F, A, L, R, E, B, P> Microphone for Attended<'_, '_, '_, M, F, A, L, R, E, B, P>
where
    M: Microphone,
    F: Mapped,
    A: Authority,
    L: Read + ReadReady + Write,
    R: Log,
    E: Learn,
    B: FnMut() -> bool,
    P: OutputPin,
{
    type Error = M::Error;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<M::Error>> {
        let samples = core::mem::take(&mut self.samples);
        if self.check.is_done() {
            self.updates.serve();
            self.panel.step(self.updates, samples);
        }
        if self.updates.restart() {
            return Err(ReadError::End);
        }
        let read = self.microphone.read(block);
        self.samples = read.as_ref().map_or(0, |&count| count as u32);
        read
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::convert::Infallible;
    use embedded_hal::digital::ErrorType;
    use std::{boxed::Box, string::String, vec};
    use wakeling_shared::update::{package::Anyone, ram::RamFlash};

    struct Silent;

    impl embedded_io::ErrorType for Silent {
        type Error = Infallible;
    }

    impl ReadReady for Silent {
        fn read_ready(&mut self) -> Result<bool, Infallible> {
            Ok(false)
        }
    }

    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> Result<usize, Infallible> {
            Ok(0)
        }
    }

    impl Write for Silent {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl ErrorType for Silent {
        type Error = Infallible;
    }

    impl OutputPin for Silent {
        fn set_low(&mut self) -> Result<(), Infallible> {
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl Microphone for Silent {
        type Error = Infallible;

        fn read(&mut self, _: &mut [i16]) -> Result<usize, ReadError<Infallible>> {
            Err(ReadError::End)
        }
    }

    /// Runs a board on an empty flash of this many pages. Returns the reason for its end; `lines`
    /// holds its output.
    fn run_on(
        pages: usize,
        lines: &mut String,
        feed: impl FnMut(),
    ) -> Failure<Infallible, Infallible> {
        let mut words = vec![u64::MAX; pages * 1_024 / 8];
        let tools: Box<Tools<1, 64>> = Box::new(RefCell::new((Recorder::new(), Enroller::new())));
        let flash = RamFlash::<4, 1_024>::new(&mut words);
        let device = Updates::open(Session::new("test", Anyone), flash, Silent, &tools);
        let board = Board { microphone: Silent, indicator: Silent, sink: lines, feed };
        run(device, |_| &[], &mut [0; 64], board, || false)
    }

    #[test]
    fn flash_without_room_for_slots_is_reported_and_the_watchdog_bites() {
        let mut lines = String::new();
        let failure = run_on(3, &mut lines, || panic!("it was fed"));
        assert_eq!(failure, Failure::Flash);
        assert_eq!(lines, "error the flash failed\n");
    }

    #[test]
    #[should_panic = "it waits"]
    fn a_board_without_a_model_waits_for_one_and_keeps_the_watchdog_quiet() {
        let mut fed = 0;
        run_on(16, &mut String::new(), || {
            fed += 1;
            assert!(fed < 100, "it waits");
        });
    }
}
