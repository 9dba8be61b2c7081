//! Counts the instructions of each stage on an emulated processor, and prints its results for
//! comparison on the laptop.
//!
//! The command line is `meter RECORDING [frames]`; the model is in the region that the application
//! uses. With `frames`, each frame's powers and features are a line. [`Costs`] is the last line.

#![no_std]
#![no_main]

use core::{fmt, fmt::Write, ptr::addr_of_mut};

use wakeling_firmware::{check::Check, microphone::Microphone};
use wakeling_qemu::{
    ARENA_BYTES, conclude,
    counter::{Counter, Ticks},
    memory,
    semihosting::{Console, Recording, RecordingError, command_line},
};
use wakeling_shared::{
    engine::{ArenaTooSmall, Engine},
    frontend::{Features, HOP_SAMPLES, MEL_CHANNELS, MelPowers, Normalizer, PowerFrontend},
    model::{LoadError, MAX_KEYWORDS, Model},
};

const COMMAND_LINE_BYTES: usize = 512;

/// Reason for which nothing was measured.
enum Failure {
    Usage,
    Model(LoadError),
    Arena(ArenaTooSmall),
    Recording(RecordingError),
    Console,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => f.write_str("the command line must be: meter RECORDING [frames]"),
            Self::Model(error) => write!(f, "no valid model: {error}"),
            Self::Arena(ArenaTooSmall { expected, found }) => {
                write!(f, "the model needs an arena of {expected} bytes; this board has {found}")
            }
            Self::Recording(error) => error.fmt(f),
            Self::Console => f.write_str("the lines cannot be written"),
        }
    }
}

/// Instructions of each stage, summed over frames or steps, and of the whole check of the model.
#[derive(Default)]
struct Costs {
    frames: u64,
    powers: Ticks,
    normalization: Ticks,
    steps: u64,
    network: Ticks,
    check: Ticks,
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, powers, normalization, steps, network, check } = self;
        write!(
            f,
            "meter frames={frames} powers={} normalization={} steps={steps} network={} check={}",
            powers.instructions(),
            normalization.instructions(),
            network.instructions(),
            check.instructions()
        )
    }
}

/// Line of a frame: powers, then features, in hexadecimal.
struct Frame<'f>(&'f MelPowers, &'f Features);

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(powers, features) = self;
        f.write_str("frame")?;
        powers.iter().try_for_each(|power| write!(f, " {power:x}"))?;
        f.write_char(' ')?;
        features.iter().try_for_each(|feature| write!(f, "{feature:02x}"))
    }
}

fn measure(arena: &mut [i8], console: &mut Console) -> Result<Costs, Failure> {
    let counter = Counter::new();
    let mut line = [0; COMMAND_LINE_BYTES];
    let mut words = command_line(&mut line).split_ascii_whitespace().skip(1);
    let name = words.next().ok_or(Failure::Usage)?;
    let show = words.next().is_some_and(|word| word == "frames");

    let (mut model, check) = (None, Check::done());
    let loaded = Model::load_deferred(&mut model, memory::model_region());
    let (model, pending) = loaded.map_err(Failure::Model)?;
    check.begin(pending);
    let mut engine = Engine::new(model, arena).map_err(Failure::Arena)?;
    let mut front = PowerFrontend::new(&model.frontend);
    let mut normalizer = Normalizer::new(model.frontend.normalization);
    let mut recording = Recording::open(name).map_err(Failure::Recording)?;
    let (mut block, mut logits) = ([0; HOP_SAMPLES], [0; MAX_KEYWORDS]);
    let (mut costs, mut at) = (Costs::default(), 0);
    // In the parts in which the application does it.
    let mut is_checked = false;
    while !is_checked {
        let start = counter.now();
        is_checked = check.advance();
        costs.check += counter.since(start);
    }
    if let Some(error) = check.error() {
        return Err(Failure::Model(error));
    }
    while let Ok(count) = recording.read(&mut block) {
        let mut rest = block.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            let start = counter.now();
            let (consumed, ready) = front.push(rest);
            costs.powers += counter.since(start);
            rest = rest.get(consumed..).unwrap_or_default();
            if !ready {
                continue;
            }
            let start = counter.now();
            let features = normalizer.process(front.powers());
            costs.normalization += counter.since(start);
            costs.frames += 1;
            if show {
                writeln!(console, "{}", Frame(front.powers(), &features))
                    .map_err(|_| Failure::Console)?;
            }
            let Some(input) = engine.input().get_mut(at..at + MEL_CHANNELS) else { continue };
            input.copy_from_slice(&features);
            at += MEL_CHANNELS;
            if at == usize::from(model.step_width()) {
                at = 0;
                let start = counter.now();
                engine.step(&mut logits);
                costs.network += counter.since(start);
                costs.steps += 1;
            }
        }
    }
    Ok(costs)
}

/// Returns whether the measurement succeeded.
fn run() -> bool {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    // SAFETY: this function runs once, on the only processor, without interrupts, so this is the
    // only reference.
    let arena = unsafe { &mut *addr_of_mut!(ARENA) };
    conclude(|console| measure(arena, console))
}

wakeling_qemu::machine!(run);
