//! Networks over images on an emulated Cortex-M4F: loads the model, reads one image, runs, prints the
//! logits and what it cost. The board is that of `main.rs`, and so is the way in: the image comes as a
//! recording, two bytes a sample.

#![no_std]
#![no_main]

mod ending;
mod memory;
#[allow(dead_code, reason = "no indicator here")]
mod registers;
mod semihosting;

use core::fmt::{self, Write};

use cortex_m_rt::entry;
use wakeling_firmware::microphone::{Microphone, ReadError};
use wakeling_shared::{
    artifact::{ImageModel, LoadError, MAX_WORDS},
    decimal::Decimal,
    engine::{ArenaTooSmall, ImageEngine},
    events::{Logits, Stats},
};

use registers::{Timer, Uart, instructions};
use semihosting::{Recording, RecordingError};

/// Room for an image of 96 × 96 × 3 and a MobileNet of width 0.25 over it.
const ARENA_BYTES: usize = 64 * 1024;
/// Samples that are read at once.
const BLOCK_SAMPLES: usize = 256;
const COMMAND_LINE_BYTES: usize = 512;

/// Why the board gave up.
enum Failure {
    Usage,
    Model(LoadError),
    Arena(ArenaTooSmall),
    Recording(RecordingError),
    /// The image ends after so many bytes.
    Image(usize),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Usage => f.write_str("the command line must be: wakeling IMAGE"),
            Self::Model(error) => write!(f, "no valid model: {error}"),
            Self::Arena(ArenaTooSmall { expected, found }) => {
                let [expected, found] = [Decimal::of(expected), Decimal::of(found)];
                write!(f, "the model needs an arena of {expected} bytes; this board has {found}")
            }
            Self::Recording(error) => error.fmt(f),
            Self::Image(bytes) => write!(f, "the image ends after {} bytes", Decimal::of(bytes)),
        }
    }
}

/// Reads a whole image, two pixels' bytes a sample.
fn read_image(name: &str, pixels: &mut [i8]) -> Result<u64, Failure> {
    let mut recording = Recording::open(name).map_err(Failure::Recording)?;
    let mut block = [0; BLOCK_SAMPLES];
    let mut filled = 0;
    let mut samples = 0;
    while filled < pixels.len() {
        let read = match recording.read(&mut block) {
            Ok(read) => read,
            Err(ReadError::Board(error)) => return Err(Failure::Recording(error)),
            Err(_) => return Err(Failure::Image(filled)),
        };
        samples += read as u64;
        let bytes = block.iter().take(read).flat_map(|sample| sample.to_le_bytes());
        for (pixel, byte) in pixels.iter_mut().skip(filled).zip(bytes) {
            *pixel = byte as i8;
            filled += 1;
        }
    }
    Ok(samples)
}

fn classify(arena: &mut [i8], uart: &mut Uart) -> Result<Stats, Failure> {
    let timer = Timer::new();
    let mut command_line = [0; COMMAND_LINE_BYTES];
    let line = semihosting::command_line(&mut command_line);
    let name = line.split_ascii_whitespace().nth(1).ok_or(Failure::Usage)?;
    let arena_capacity = arena.len();

    let start = timer.ticks();
    let model = ImageModel::load(memory::model_region()).map_err(Failure::Model)?;
    let mut engine = ImageEngine::new(&model, arena).map_err(Failure::Arena)?;
    let setup_ticks = timer.ticks().wrapping_sub(start);

    let samples = read_image(name, engine.input())?;
    let mut logits = [0; MAX_WORDS];
    let start = timer.ticks();
    engine.run(&mut logits);
    let run_ticks = timer.ticks().wrapping_sub(start);
    // The serial port never fails.
    let _ = writeln!(uart, "{}", Logits(logits.get(..model.labels.len()).unwrap_or_default()));
    Ok(Stats {
        setup_instructions: instructions(u64::from(setup_ticks)),
        audio_instructions: instructions(u64::from(run_ticks)),
        samples,
        stack_bytes: memory::peak_stack_bytes() as u64,
        static_bytes: (memory::static_bytes() - arena_capacity) as u64,
        arena_bytes: model.arena_bytes() as u64,
    })
}

#[entry]
fn main() -> ! {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    let mut uart = Uart::new();
    let ended = classify(ARENA, &mut uart);
    // The serial port never fails.
    let _ = match &ended {
        Ok(stats) => writeln!(uart, "{stats}"),
        Err(failure) => writeln!(uart, "error {failure}"),
    };
    ending::leave(&mut uart, ended.is_ok())
}
