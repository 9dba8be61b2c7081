//! Programs of the boards on doubles of their chips (`tests/chips`): the very bytes that `wakeling
//! flash` writes, between peripherals that are described register by register.
//!
//! Runs if `$WAKELING_PYTHON` (or `python3`) has unicorn and numpy and the board's program is built;
//! prints SKIP otherwise. `docs/lab/chips.md` has what each double covers. `WAKELING_CHIP_CUTS` sets
//! the number of power cuts.

use std::{collections::BTreeSet, env, fs, path::Path};

use wakeling_device::{
    board::BOARDS,
    simulate::{Chunking, Device},
    update::{
        keys::Key,
        package::{Package, pack},
    },
};
use wakeling_shared::{model::Model, timebase::SAMPLE_RATE_HZ};
use wakeling_tests::{
    Random, Tier,
    chips::{self, BoardReport, Double, FlashOperation, PowerOn},
    model::random_model,
    requests, sound,
};

#[path = "../../firmware/src/cic.rs"]
mod cic;
#[path = "../../firmware/src/convert.rs"]
mod convert;

/// Length of the sound in seconds.
const SOUND: usize = 2;

/// A board, and what its program makes of the words that DMA delivers.
struct Case {
    name: &'static str,
    /// First address and size of the flash.
    flash: (u32, usize),
    samples: fn(&[u16]) -> Vec<i16>,
    /// Frequency of the microphone's clock, or of the converter's readings.
    microphone_hertz: f64,
    /// Gain from the sound to the samples, and how far from it the level may be.
    gain: (f64, f64),
    /// Least correlation of sound and samples.
    alike: f64,
}

/// The level falls with the frequency, by the CIC filter.
const STM32F4_DISCOVERY: Case = Case {
    name: "stm32f4-discovery",
    flash: (0x0800_0000, 1 << 20),
    samples: |words| {
        let mut samples = vec![0; words.len() / cic::WORDS_PER_SAMPLE];
        cic::Cic::default().fill(words, &mut samples);
        samples
    },
    microphone_hertz: 1_024_000.0,
    gain: (1.0, 0.1),
    alike: 0.95,
};

/// The chip has the filter; the double delivers its samples at the gain that the program sets.
const NANO33: Case = Case {
    name: "nano33",
    flash: (0, 1 << 20),
    samples: |words| words.iter().map(|word| word.cast_signed()).collect(),
    microphone_hertz: 16_000.0,
    gain: (1.0, 0.01),
    alike: 0.999,
};

/// Full scale of the sound is 51.5 mV, a quarter of the converter's range; the program amplifies
/// its readings by 12 dB and more.
const MICROBIT: Case = Case {
    name: "microbit-v2",
    flash: (0, 1 << 19),
    samples: |words| {
        let mut analog = convert::Analog::new(4);
        words.iter().map(|word| analog.sample(word.cast_signed())).collect()
    },
    microphone_hertz: 16_000.0,
    gain: (2.0, 0.05),
    alike: 0.99,
};

/// The upper 16 of the microphone's 24 bits are the sound at the gain of the program's conversion.
const PICO2: Case = Case {
    name: "pico2",
    flash: (0x1000_0000, 1 << 22),
    samples: |words| {
        let slots = words.as_chunks().0.iter();
        slots
            .map(|&[low, high]| convert::from_i2s(u32::from(high) << 16 | u32::from(low)))
            .collect()
    },
    microphone_hertz: 16_000.0,
    gain: (1.0, 0.01),
    alike: 0.999,
};

/// Returns sound at half of full scale, since microphones clip above, with silence behind it.
fn speech(seed: u64) -> Vec<i16> {
    let mut pcm: Vec<i16> = sound::speech_like(seed, SOUND).iter().map(|s| s / 2).collect();
    pcm.extend(vec![0; SAMPLE_RATE_HZ / 2]);
    pcm
}

fn seconds(pcm: &[i16]) -> f64 {
    pcm.len() as f64 / SAMPLE_RATE_HZ as f64
}

/// Returns the lines of the laptop's simulator.
fn simulated(model: &[u8], pcm: &[i16]) -> String {
    let model = Model::load(model).expect("the model is valid");
    Device::Host(Chunking::Whole).lines(&model, pcm, false).expect("the host runs")
}

/// Checks the lines of a board against the simulator on the samples that it received. The last
/// blocks may not be processed when the power goes; nothing may happen in them. Returns the lines.
fn assert_lines(outcome: &BoardReport, start: &str, model: &[u8], samples: &[i16]) -> String {
    const LAST_BLOCKS: usize = 8 * 320;
    let expected = simulated(model, samples);
    let before = simulated(model, &samples[..samples.len() - LAST_BLOCKS]);
    assert_eq!(expected, before, "choose another sound");
    assert!(expected.contains("detection"), "a test of nothing: {expected}");
    assert_eq!(outcome.text(), format!("{start}\n{expected}"));
    expected
}

/// Checks pitch, level and length of what the board received: a wrong clock or gain changes them.
fn assert_sound(case: &Case, outcome: &BoardReport, pcm: &[i16], samples: &[i16]) {
    let hertz = outcome.number("microphone_hertz");
    assert!((hertz / case.microphone_hertz - 1.0).abs() < 1e-3, "{hertz} Hz");
    let missing = pcm.len().abs_diff(samples.len());
    assert!(missing < 2 * 640, "{} samples of {}", samples.len(), pcm.len());
    let energy = |x: &[i16]| x.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
    let pcm = &pcm[..samples.len().min(pcm.len()) - 16];
    let (mut best, mut level) = (0.0, 0.0);
    for lag in 0..8 {
        let samples = &samples[lag..lag + pcm.len()];
        let product: f64 =
            pcm.iter().zip(samples).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let alike = product / (energy(pcm) * energy(samples)).sqrt();
        if alike > best {
            (best, level) = (alike, (energy(samples) / energy(pcm)).sqrt());
        }
    }
    eprintln!("{}: correlation {best:.4}, level {level:.4}", case.name);
    assert!(best > case.alike, "correlation {best}");
    assert!((level / case.gain.0 - 1.0).abs() < case.gain.1, "level {level}");
}

/// Checks that LED and pin are on for half a second after each detection.
fn assert_indicator(outcome: &BoardReport, lines: &str, led_on: bool) {
    /// Longest time from the end of a step to the pin: two blocks of 20 ms wait for DMA, and the
    /// network runs.
    const LATENCY: f64 = 0.1;
    let detections =
        lines.lines().filter_map(|line| line.strip_prefix("detection ")?.split(" ").next());
    let detections: Vec<f64> = detections
        .map(|samples| samples.parse::<f64>().expect("a number") / SAMPLE_RATE_HZ as f64)
        .collect();
    for (name, on) in [("led", led_on), ("pin", true)] {
        let edges = outcome.edges(name);
        let rises: Vec<f64> = edges.iter().filter(|edge| edge.1 == on).map(|edge| edge.0).collect();
        // The LED's port starts at the level at which it is off.
        for at in &detections {
            let rise = rises.iter().find(|time| (0.0..LATENCY).contains(&(*time - at)));
            let rise =
                rise.unwrap_or_else(|| panic!("{name}: {edges:?}, detections {detections:?}"));
            let fall = edges.iter().find(|edge| edge.0 > *rise).map(|edge| edge.0 - rise);
            let later = detections.iter().any(|other| other > at && other - at < 0.5);
            let expected = 0.45..0.55;
            assert!(later || fall.is_none_or(|time| expected.contains(&time)), "{name}: {edges:?}");
        }
        assert!(rises.len() <= detections.len(), "{name}: {edges:?}, detections {detections:?}");
    }
}

fn detects_like_the_simulator(case: &Case, led_on: bool) {
    let Some(double) = Double::new(case.name, case.flash) else { return };
    let model = random_model(1, Tier::S);
    let pcm = speech(3);
    let flash = double.flashed(&model);
    let run =
        PowerOn { flash: &flash, pcm: &pcm, seconds: seconds(&pcm), requests: &[], options: &[] };
    let outcome = double.run(run);
    eprintln!("{}", outcome.report);
    let samples = (case.samples)(&outcome.words);
    assert_sound(case, &outcome, &pcm, &samples);
    let lines = assert_lines(&outcome, "started version=1 slot=0", &model, &samples);
    assert_indicator(&outcome, &lines, led_on);
    assert_eq!(outcome.report["overrun bytes"], 0);
    assert_ne!(outcome.report["crystal"], false, "an oscillator that jitters too much");
    assert_eq!(outcome.flash, flash, "the program wrote to the flash");
}

#[test]
fn stm32f4_discovery_detects_like_the_simulator() {
    detects_like_the_simulator(&STM32F4_DISCOVERY, true);
}

#[test]
fn nano33_detects_like_the_simulator() {
    detects_like_the_simulator(&NANO33, false);
}

#[test]
fn pico2_detects_like_the_simulator() {
    detects_like_the_simulator(&PICO2, true);
}

#[test]
fn microbit_detects_like_the_simulator() {
    detects_like_the_simulator(&MICROBIT, true);
}

/// A board with a model, and a package for it.
struct Update {
    double: Double,
    flash: Vec<u8>,
    new: Vec<u8>,
    requests: Vec<u8>,
}

impl Update {
    fn of(case: &Case) -> Option<Self> {
        let double = Double::new(case.name, case.flash)?;
        let [old, new] = [1, 2].map(|seed| random_model(seed, Tier::Tiny));
        let package = pack(Path::new("model"), &new, 2, Some(&Key::development()));
        let package = Package::of(package.expect("a model")).expect("a package");
        let flash = double.flashed(&old);
        Some(Self { double, flash, new, requests: requests::update(&package) })
    }

    /// Sends the package, and checks that the board then runs it.
    fn send(&self, seconds: f64, options: &[&str]) -> BoardReport {
        let (flash, requests) = (&self.flash[..], &self.requests[..]);
        let outcome = self.double.run(PowerOn { flash, pcm: &[0; 16], seconds, requests, options });
        assert!(outcome.text().contains("started version=2 slot=1\n"), "{}", outcome.report);
        assert_eq!(outcome.report["overrun bytes"], 0);
        assert!(outcome.report["ended"].is_null(), "{}", outcome.report["ended"]);
        outcome
    }
}

/// Updates a board over its UART while it listens, then cuts the power at operations of its flash.
fn updates_over_its_uart(case: &Case, longest: f64) {
    let Some(update) = Update::of(case) else { return };
    let outcome = update.send(longest, &[]);
    let double = &update.double;

    let pcm = speech(3);
    let run = PowerOn {
        flash: &outcome.flash,
        pcm: &pcm,
        seconds: seconds(&pcm),
        requests: &[],
        options: &[],
    };
    let woke = double.run(run);
    let samples = (case.samples)(&woke.words);
    assert_lines(&woke, "started version=2 slot=1", &update.new, &samples);

    let operations = outcome.flash_operations();
    let mut versions = BTreeSet::new();
    for cut in cuts(&operations) {
        let mut torn = update.flash.clone();
        operations[..cut].iter().for_each(|operation| operation.apply(&mut torn));
        operations[cut].tear(&mut torn);
        let run =
            PowerOn { flash: &torn, pcm: &[0; 16], seconds: 0.3, requests: &[], options: &[] };
        let woke = double.run(run);
        let [one, two] = ["started version=1 slot=0\n", "started version=2 slot=1\n"]
            .map(|start| woke.text().starts_with(start));
        assert!(one || two, "a brick at operation {cut}: {}", woke.report);
        versions.insert(if one { 1 } else { 2 });
    }
    assert_eq!(versions, BTreeSet::from([1, 2]), "cuts before and after the switch");
}

/// Returns operations at which the power is cut: some erases, some writes, and the last ones, which
/// are those of the journal.
fn cuts(operations: &[FlashOperation]) -> BTreeSet<usize> {
    let count = env::var("WAKELING_CHIP_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let random = &mut Random::new(7);
    let erases = (0..operations.len()).filter(|&n| operations[n].is_erase());
    let last = operations.len().saturating_sub(2)..operations.len();
    let written = (0..count).map(|_| random.below(operations.len())).collect::<Vec<_>>();
    erases.take(3).chain(last).chain(written).collect()
}

#[test]
fn stm32f4_discovery_updates_over_its_uart() {
    updates_over_its_uart(&STM32F4_DISCOVERY, 6.0);
}

#[test]
fn nano33_updates_over_its_uart() {
    updates_over_its_uart(&NANO33, 4.5);
}

#[test]
fn pico2_updates_over_its_uart() {
    updates_over_its_uart(&PICO2, 4.5);
}

#[test]
fn microbit_updates_over_its_uart() {
    updates_over_its_uart(&MICROBIT, 4.5);
}

/// The watchdog's clock has 17 to 47 kHz, 32 as a rule, and a sector takes up to 2 s to erase
/// (DS8626): the fastest watchdog must not bite in the slowest erase.
#[test]
fn stm32f4_discovery_updates_with_the_slowest_flash_and_the_fastest_watchdog() {
    let Some(update) = Update::of(&STM32F4_DISCOVERY) else { return };
    update.send(10.0, &["--slow-flash", "--lsi", "47000"]);
}

/// Returns the pins that a board's program takes, in the document's writing.
fn pins_in_program(board: &str) -> BTreeSet<String> {
    let folder = if board == "pico2" { "pico" } else { board };
    let path = format!("../firmware/boards/{folder}/src/main.rs");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let program = fs::read_to_string(path).expect("the board's program");
    let code = program.lines().filter(|line| !line.trim_start().starts_with("//"));
    let words = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let pins = words.filter_map(|word| {
        let nordic = word.starts_with("P0_") || word.starts_with("P1_");
        let pin = if nordic { word.replace('_', ".") } else { word.replace("PIN_", "GP") };
        chips::is_pin(&pin).then_some(pin)
    });
    pins.collect()
}

#[test]
fn pins_in_the_document_are_those_of_the_programs() {
    for board in BOARDS.iter() {
        let cell = chips::cells(board.name);
        let cells = [chips::wires_cell(board.name), cell("LED"), cell("pin"), cell("UART")];
        let cells = cells.map(|cell| chips::pins(&cell));
        // The LED that the ESP32-C3's board has, and the program does not use.
        let unused = if board.name == "esp32-c3" { "GPIO8" } else { "" };
        let named = [cells.concat(), chips::button(board.name)].concat();
        let document: BTreeSet<String> =
            named.into_iter().map(|(_, pin)| pin).filter(|pin| pin != unused).collect();
        assert_eq!(document, pins_in_program(board.name), "{}", board.name);
        assert!(document.len() >= 6, "{}: {document:?}", board.name);
    }
}
