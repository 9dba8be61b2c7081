//! Wakeling on an emulated processor, to test on a laptop what a chip will compute.
//!
//! QEMU runs this very program. The host puts a model into the flash region that the memory map
//! reserves for it, and names a recording on the semihosting command line:
//! `wakeling RECORDING [scores] [block=SAMPLES]`. The program prints event lines, and statistics
//! last.

#![no_std]
#![no_main]

use core::{convert::Infallible, fmt, ptr::addr_of_mut, str::SplitAsciiWhitespace};

use wakeling_firmware::{
    check::Check,
    listener::{ListenError, Listener, Options},
    microphone::{Microphone, ReadError},
};
use wakeling_qemu::{
    ARENA_BYTES, conclude,
    counter::{Counter, Moment, Ticks},
    memory,
    semihosting::{self, Console, Dark, Recording, RecordingError},
};
use wakeling_shared::{
    decimal::{Decimal, Hexadecimal},
    engine::ArenaTooSmall,
    events::Stats,
    model::{LoadError, Model},
    pipeline::Pipeline,
};

/// Longest block of samples.
const MAX_BLOCK_SAMPLES: usize = 512;
/// Default block of samples: 20 ms, or two frames.
const DEFAULT_BLOCK_SAMPLES: usize = 320;

/// Reason for which the board stopped.
enum Failure {
    Usage,
    Model(LoadError),
    Arena(ArenaTooSmall),
    Recording(RecordingError),
    Listen(ListenError<RecordingError, Infallible>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => write!(
                f,
                "the command line must be: wakeling RECORDING [scores] \
                 [block=1..{}]",
                Decimal::of(MAX_BLOCK_SAMPLES)
            ),
            Self::Model(error) => {
                let (address, _) = memory::model_region_bounds();
                write!(f, "no valid model at {}: {error}", Hexadecimal(address as u32))
            }
            &Self::Arena(ArenaTooSmall { expected, found }) => {
                let [expected, found] = [Decimal::of(expected), Decimal::of(found)];
                write!(f, "the model needs an arena of {expected} bytes; this board has {found}")
            }
            Self::Recording(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
        }
    }
}

impl From<RecordingError> for Failure {
    fn from(error: RecordingError) -> Self {
        Self::Recording(error)
    }
}

/// Parsed command line.
struct Request {
    recording: Recording,
    options: Options,
    block_samples: usize,
}

impl Request {
    /// Parses `wakeling RECORDING [scores] [block=SAMPLES]`.
    fn parse(recording: Recording, words: SplitAsciiWhitespace<'_>) -> Option<Self> {
        let mut request =
            Self { recording, options: Options::default(), block_samples: DEFAULT_BLOCK_SAMPLES };
        for word in words {
            match word.split_once('=') {
                None if word == "scores" => request.options.scores = true,
                Some(("block", samples)) => request.block_samples = samples.parse().ok()?,
                _ => return None,
            }
        }
        (1..=MAX_BLOCK_SAMPLES).contains(&request.block_samples).then_some(request)
    }
}

/// Microphone that counts the instructions between its reads.
struct Metered<'c, M> {
    microphone: M,
    counter: &'c Counter,
    since: Option<Moment>,
    ticks: Ticks,
}

impl<M: Microphone> Microphone for Metered<'_, M> {
    type Error = M::Error;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<M::Error>> {
        if let Some(since) = self.since {
            self.ticks += self.counter.since(since);
        }
        let read = self.microphone.read(block);
        self.since = Some(self.counter.now());
        read
    }
}

fn detect(
    arena: &mut [i8],
    block: &mut [i16; MAX_BLOCK_SAMPLES],
    console: &mut Console,
) -> Result<Stats, Failure> {
    let counter = Counter::new();
    let request = semihosting::request(Failure::Usage, Request::parse)?;
    let arena_capacity = arena.len();

    let start = counter.now();
    let (mut model, mut pipeline, check) = (None, None, Check::done());
    let loaded = Model::load_deferred(&mut model, memory::model_region());
    let (model, pending) = loaded.map_err(Failure::Model)?;
    check.begin(pending);
    // A damaged model may ask for any arena.
    let damaged = |failure| check.error().map_or(failure, Failure::Model);
    let pipeline = Pipeline::new_into(&mut pipeline, model, arena)
        .map_err(|error| damaged(Failure::Arena(error)))?;
    let model_and_check = (model, &check);
    let mut listener =
        Listener::new(model_and_check, pipeline, (Dark, &mut *console), request.options);
    let setup = counter.since(start);

    let (microphone, ticks) = (request.recording, Ticks::default());
    let mut microphone = Metered { microphone, counter: &counter, since: None, ticks };
    let block = block.get_mut(..request.block_samples).ok_or(Failure::Usage)?;
    let ended = listener.run(&mut microphone, block);
    let samples = ended.map_err(|error| damaged(Failure::Listen(error)))?;
    Ok(Stats {
        setup_instructions: setup.instructions(),
        audio_instructions: microphone.ticks.instructions(),
        samples,
        stack_bytes: memory::peak_stack_bytes() as u64,
        static_bytes: (memory::static_bytes() - arena_capacity) as u64,
        arena_bytes: model.arena_bytes() as u64,
    })
}

/// Returns whether the recording was processed to its end.
fn run() -> bool {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    static mut BLOCK: [i16; MAX_BLOCK_SAMPLES] = [0; MAX_BLOCK_SAMPLES];
    // SAFETY: this function runs once, on the only processor, without interrupts, so these are the
    // only references.
    let (arena, block) = unsafe { (&mut *addr_of_mut!(ARENA), &mut *addr_of_mut!(BLOCK)) };
    conclude(|console| detect(arena, block, console))
}

wakeling_qemu::machine!(run);
