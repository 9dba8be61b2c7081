//! Image networks on an emulated processor: loads the model, reads one image, runs, prints the
//! logits and the cost. As in `main.rs`, the input is a recording; here it holds the image, two
//! bytes per sample.

#![no_std]
#![no_main]

use core::{fmt, fmt::Write, ptr::addr_of_mut};

use wakeling_firmware::microphone::{Microphone, ReadError};
use wakeling_qemu::{
    ARENA_BYTES, conclude,
    counter::Counter,
    memory,
    semihosting::{Console, Recording, RecordingError, command_line},
};
use wakeling_shared::{
    decimal::Decimal,
    engine::{ArenaTooSmall, ImageEngine},
    events::{Logits, Stats},
    model::{ImageModel, LoadError, MAX_KEYWORDS},
};

/// Number of samples read at once.
const BLOCK_SAMPLES: usize = 256;
const COMMAND_LINE_BYTES: usize = 512;

/// Reason for which the board stopped.
enum Failure {
    Usage,
    Model(LoadError),
    Arena(ArenaTooSmall),
    Recording(RecordingError),
    /// The image ends after this many bytes.
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

/// Reads a whole image, two bytes of pixels per sample. Returns the number of samples.
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

fn classify(arena: &mut [i8], console: &mut Console) -> Result<Stats, Failure> {
    let counter = Counter::new();
    let mut line = [0; COMMAND_LINE_BYTES];
    let name = command_line(&mut line).split_ascii_whitespace().nth(1).ok_or(Failure::Usage)?;
    let arena_capacity = arena.len();

    let start = counter.now();
    let model = ImageModel::load(memory::model_region()).map_err(Failure::Model)?;
    let mut engine = ImageEngine::new(&model, arena).map_err(Failure::Arena)?;
    let setup = counter.since(start);

    let samples = read_image(name, engine.input())?;
    let mut logits = [0; MAX_KEYWORDS];
    let start = counter.now();
    engine.run(&mut logits);
    let cost = counter.since(start);
    // If the console fails, the error cannot be reported.
    let _ = writeln!(console, "{}", Logits(logits.get(..model.labels.len()).unwrap_or_default()));
    Ok(Stats {
        setup_instructions: setup.instructions(),
        audio_instructions: cost.instructions(),
        samples,
        stack_bytes: memory::peak_stack_bytes() as u64,
        static_bytes: (memory::static_bytes() - arena_capacity) as u64,
        arena_bytes: model.arena_bytes() as u64,
    })
}

/// Returns whether the image was classified.
fn run() -> bool {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    // SAFETY: this function runs once, on the only processor, without interrupts, so this is the
    // only reference.
    let arena = unsafe { &mut *addr_of_mut!(ARENA) };
    conclude(|console| classify(arena, console))
}

wakeling_qemu::machine!(run);
