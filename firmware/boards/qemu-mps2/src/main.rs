//! Wakeling on an emulated Cortex-M4F, to prove on a laptop what a chip will say.
//!
//! QEMU's `mps2-an386` runs this very program; the host puts a model into the flash region at
//! `0x0010_0000` and names a recording on the semihosting command line:
//! `wakeling RECORDING [scores] [block=SAMPLES]`. Event lines leave by UART 0, statistics last.

#![no_std]
#![no_main]

mod ending;
mod memory;
mod registers;
mod semihosting;

use core::{convert::Infallible, fmt, fmt::Write};

use cortex_m_rt::entry;
use wakeling_firmware::{
    listener::{ListenError, Listener, Options},
    microphone::{Microphone, ReadError},
};
use wakeling_shared::{
    artifact::{LoadError, Model},
    decimal::Decimal,
    engine::ArenaTooSmall,
    events::Stats,
    pipeline::Pipeline,
};

use registers::{Dark, Timer, Uart, instructions};
use semihosting::{Recording, RecordingError};

/// Room for the largest tier with several heads.
const ARENA_BYTES: usize = 64 * 1024;
/// Longest block of samples.
const MAX_BLOCK_SAMPLES: usize = 1_024;
/// 20 ms: one step of two frames.
const DEFAULT_BLOCK_SAMPLES: usize = 320;
const COMMAND_LINE_BYTES: usize = 512;

/// Why the board gave up.
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
                let region = memory::model_region();
                write!(f, "no valid model at {:p}: {error}", region.as_ptr())
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

/// What the host asked for.
struct Request<'c> {
    recording: &'c str,
    options: Options,
    block_samples: usize,
}

impl<'c> Request<'c> {
    /// Reads `wakeling RECORDING [scores] [block=SAMPLES]`.
    fn parse(line: &'c str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let recording = words.next()?;
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

/// A microphone that counts the instructions spent between its reads.
struct Metered<'t, M> {
    microphone: M,
    timer: &'t Timer,
    since: Option<u32>,
    ticks: u64,
}

impl<M: Microphone> Microphone for Metered<'_, M> {
    type Error = M::Error;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<M::Error>> {
        if let Some(since) = self.since {
            self.ticks += u64::from(self.timer.ticks().wrapping_sub(since));
        }
        let read = self.microphone.read(block);
        self.since = Some(self.timer.ticks());
        read
    }
}

fn listen(
    arena: &mut [i8],
    block: &mut [i16; MAX_BLOCK_SAMPLES],
    uart: &mut Uart,
) -> Result<Stats, Failure> {
    let timer = Timer::new();
    let mut command_line = [0; COMMAND_LINE_BYTES];
    let request =
        Request::parse(semihosting::command_line(&mut command_line)).ok_or(Failure::Usage)?;
    let arena_capacity = arena.len();

    let start = timer.ticks();
    let (mut model, mut pipeline) = (None, None);
    let model = Model::load_into(&mut model, memory::model_region()).map_err(Failure::Model)?;
    let pipeline = Pipeline::new_into(&mut pipeline, model, arena).map_err(Failure::Arena)?;
    let mut listener = Listener::new(model, pipeline, (Dark, &mut *uart), request.options);
    let setup_ticks = timer.ticks().wrapping_sub(start);

    let recording = Recording::open(request.recording).map_err(Failure::Recording)?;
    let mut microphone = Metered { microphone: recording, timer: &timer, since: None, ticks: 0 };
    let block = block.get_mut(..request.block_samples).ok_or(Failure::Usage)?;
    let samples = listener.run(&mut microphone, block).map_err(Failure::Listen)?;
    Ok(Stats {
        setup_instructions: instructions(u64::from(setup_ticks)),
        audio_instructions: instructions(microphone.ticks),
        samples,
        stack_bytes: memory::peak_stack_bytes() as u64,
        static_bytes: (memory::static_bytes() - arena_capacity) as u64,
        arena_bytes: model.arena_bytes() as u64,
    })
}

#[entry]
fn main() -> ! {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    static mut BLOCK: [i16; MAX_BLOCK_SAMPLES] = [0; MAX_BLOCK_SAMPLES];
    let mut uart = Uart::new();
    let ended = listen(ARENA, BLOCK, &mut uart);
    // The serial port never fails.
    let _ = match &ended {
        Ok(stats) => writeln!(uart, "{stats}"),
        Err(failure) => writeln!(uart, "error {failure}"),
    };
    ending::leave(&mut uart, ended.is_ok())
}
