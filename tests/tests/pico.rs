//! The Pico's own program on an emulated RP2040 with its peripherals: PIO, DMA, UART, watchdog, pins,
//! and the flash with its controller and cache. `tests/pico/README.md` describes the emulator, and
//! `docs/lab/pico.md` the results.
//!
//! `WAKELING_PICO_CUTS` sets the number of power cuts at random moments.

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use wakeling_audio as audio;
use wakeling_device::{
    board::Board,
    model_file,
    simulate::{Chunking, Device},
    update::{
        device::{self, DeviceInfo},
        keys::Key,
        package::{Package, pack},
        port,
    },
};
use wakeling_shared::model::Model;
use wakeling_tests::{
    Random, Tier,
    loud::{loud_model, sawtooth},
    model::random_model_with_heads,
    pico::{Pico, Session, lines, pulses},
};

const SAMPLE_RATE: f64 = 16_000.0;
/// Samples that the firmware counts as one loss (`firmware/src/blocks.rs`).
const BLOCK_SAMPLES: f64 = 320.0;

/// Returns the lines that the laptop's simulator prints.
fn simulated(model: &[u8], pcm: &[i16]) -> Vec<String> {
    let model = Model::load(model).expect("the model is valid");
    let lines = Device::Host(Chunking::Whole).lines(&model, pcm, false).expect("the host runs");
    lines.lines().map(str::to_owned).collect()
}

/// Returns the wake word model of the fixtures, tier S with one word, and a recording of the word by a
/// synthetic voice, with silence after it.
fn wake_word(seconds: f64) -> (Vec<u8>, Vec<i16>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let model = fs::read(root.join("tests/fixtures/wire/model.wkl")).expect("a fixture");
    let mut pcm = audio::read(root.join("demo/test/bm_lewis-0.ogg")).expect("a recording");
    pcm.resize((seconds * SAMPLE_RATE) as usize, 0);
    (model, pcm)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Share of the time in which the processor ran, in which the flash was awaited, and instructions a
/// second of audio.
fn load(result: &Value) -> (f64, f64, f64) {
    let load = &result["load"];
    let cycles = number(&load["cycles"]);
    let share = |field: &str| number(&load[field]) / cycles;
    let seconds = cycles / number(&result["hertz"]);
    (1.0 - share("sleeping"), share("missCycles"), number(&load["instructions"]) / seconds)
}

/// A later program must find the model that an earlier one was flashed with.
#[test]
fn flash_layout_is_that_of_devices_in_use() {
    let pico = Board::named("pico").expect("a board");
    assert_eq!((pico.program.start, pico.program.end), (0x1000_0000, 0x1010_0000));
    assert_eq!((pico.model.start, pico.model.end), (0x1010_0000, 0x1020_0000));
    assert_eq!(pico.page_bytes, Some(4096));
}

#[test]
fn uf2_file_boots_and_detects_as_the_laptop_does() {
    const SECONDS: f64 = 2.3;
    let Some(pico) = Pico::available() else { return };
    let (model, pcm) = wake_word(SECONDS);
    let (uf2, sound) = (pico.uf2("word", &model), pico.sound("word.pcm", &pcm));
    let scenario = json!({ "uf2": uf2, "pcm": sound, "seconds": SECONDS, "loadFrom": 0.3 });
    let result = pico.run("listen", &scenario);
    assert_eq!(result["problem"], Value::Null);

    // No line differs and none is missing, so no sample was lost either: that would be `overrun`.
    let expected = simulated(&model, &pcm);
    assert!(expected.iter().any(|line| line.starts_with("detection ")), "a test of nothing");
    let printed = lines(&result);
    assert_eq!(printed[0], "started version=1 slot=0");
    assert_eq!(printed[1..], expected);

    let microphone = &result["microphone"];
    let rate = number(&microphone["rate"]);
    assert!((rate - SAMPLE_RATE).abs() < 0.5, "{rate} samples a second");
    assert_eq!(microphone["slots"], json!([32]), "an INMP441 needs 32 clocks in each slot");

    // The event line has the last sample of the detected phrase.
    let detection = expected.iter().find_map(|line| line.strip_prefix("detection "));
    let end = detection.and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    let end = end.expect("a position") / SAMPLE_RATE;
    for output in ["led", "pin"] {
        let [(on, off)] = pulses(&result, output)[..] else { panic!("{output} is lit once") };
        assert!((end..end + 0.06).contains(&on), "{output} is lit at {on} s, after {end} s");
        assert!((0.45..0.55).contains(&(off - on)), "{output} is lit for {} s", off - on);
    }

    let (busy, awaits, instructions) = load(&result);
    eprintln!(
        "the processor is busy for {:.1} % of the time, {:.1} % of it for the flash; {:.1} M instructions a second",
        100.0 * busy,
        100.0 * awaits / busy,
        instructions / 1e6
    );
    assert!(busy < 0.95, "tier S uses {busy} of the time: too close to the limit");
}

#[test]
fn watchdog_restarts_a_board_whose_microphone_stops() {
    let Some(pico) = Pico::available() else { return };
    let uf2 = pico.uf2("loud", &loud_model());
    let sound = pico.sound("silence.pcm", &[0; 16]);
    let scenario = json!({ "uf2": uf2, "pcm": sound, "seconds": 6.0, "stopClockAt": 0.3 });
    let result = pico.run("listen", &scenario);
    assert_eq!(result["problem"], json!("the watchdog reset the chip"));
    let seconds = number(&result["seconds"]);
    assert!((4.2..4.4).contains(&seconds), "after {seconds} s");
    assert_eq!(result["restarted"][0]["text"], json!("started version=1 slot=0"));
}

/// Two versions of a model that any loud sound triggers, each with its own label.
fn versions() -> [(Vec<u8>, Package); 2] {
    let version = |version: u32, label: &str| {
        let bytes = loud_model();
        let mut model = Model::load(&bytes).expect("a valid model");
        model.words.iter_mut().for_each(|word| word.label = label);
        let model = model_file::encode(&model).expect("it can be written");
        let bytes = pack(Path::new("model"), &model, version, Some(&Key::development()));
        (model, Package::of(bytes.expect("it is a model")).expect("it is a package"))
    };
    [version(1, "loud"), version(2, "noisy")]
}

/// Checks that what `overrun` lines report is what was lost, in whole blocks: while a page is erased
/// the processor stops, and with it the microphone's clock. Later, the check of the signature takes so long that
/// the queue overflows; what it drops was asked for and is reported too, so only the first losses
/// can be compared.
fn check_losses(result: &Value) {
    const ERASURES: usize = 2;
    let lines = result["lines"].as_array().expect("lines");
    // Replies, which are binary, may precede a line.
    let losses = lines.iter().filter_map(|line| {
        let (_, rest) = line["text"].as_str()?.split_once("overrun ")?;
        Some((number(&line["missing"]), rest.split(' ').nth(1)?.parse::<f64>().ok()?))
    });
    let losses: Vec<_> = losses.take(ERASURES).collect();
    assert_eq!(losses.len(), ERASURES, "{lines:?}");
    let mut reported = 0.0;
    for (missing, lost) in losses {
        reported += lost;
        eprintln!("the microphone's clock missed {missing} samples, {reported} were reported");
        assert!((missing - reported).abs() <= BLOCK_SAMPLES, "{missing} samples, not {reported}");
    }
}

/// Sends an update over the emulated UART, by the code of `wakeling device update`.
fn update(port_number: u64, package: &Package) -> [DeviceInfo; 2] {
    let name = format!("tcp://127.0.0.1:{port_number}");
    let port = port::open(&name, 115_200).expect("the emulator listens");
    let mut device = device::Device::new(&name, port).expect("it has a time limit");
    let before = device.info().expect("it answers");
    device.send(package, false, |_| {}).expect("it takes the package");
    let after = device.restart().expect("it restarts");
    [before, after]
}

#[test]
fn update_over_the_uart_survives_power_cuts() {
    const WAKE_SECONDS: f64 = 0.5;
    let Some(pico) = Pico::available() else { return };
    let [(old, _), (new, package)] = versions();
    let pcm = [vec![0; 1_600], sawtooth(3_200), vec![0; 3_200]].concat();
    let (before, operations) = (pico.path("before"), pico.path("operations"));
    let mut session = Session::start(
        &pico,
        "serve",
        &json!({
            "uf2": pico.uf2("old", &old),
            "pcm": pico.sound("silence.pcm", &[0; 16]),
            "before": before,
            "operations": operations,
            // The longest that the data sheet of the W25Q16JV allows; typical are 0.045 s.
            "eraseSeconds": 0.4,
        }),
    );
    let port = session.line()["port"].as_u64().expect("a port");
    let [info, updated] = update(port, &package);
    let result = session.finish();
    assert_eq!(result["problem"], Value::Null);
    assert_eq!(info.running.map(|running| running.version), Some(1), "{info:?}");
    assert_eq!(updated.running.map(|running| running.version), Some(2), "{updated:?}");
    let all = lines(&result);
    assert!(all.iter().any(|line| line.ends_with("started version=2 slot=1")), "{all:?}");
    assert_eq!(result["lostBytes"], json!(0), "the UART lost bytes");
    check_losses(&result);

    let count = result["operations"].as_u64().expect("a number") as usize;
    let cuts = cuts(count);
    let scenario = |cuts: &[Value]| {
        json!({
            "before": before,
            "operations": operations,
            "cuts": cuts,
            "pcm": pico.sound("wake.pcm", &pcm),
            "seconds": WAKE_SECONDS,
        })
    };
    // Two processors wake boards, as many as CI has.
    let halves = cuts.split_at(cuts.len() / 2);
    let sessions = [halves.0, halves.1].map(|half| Session::start(&pico, "wake", &scenario(half)));
    let woken = sessions.map(Session::finish);
    let woken: Vec<_> = woken.iter().flat_map(|half| half.as_array().expect("a list")).collect();
    assert_eq!(woken.len(), cuts.len());
    let expected = [&old, &new].map(|model| simulated(model, &pcm));
    assert!(expected.iter().all(|lines| lines.len() > 1), "a test of nothing");
    let mut counts = [0; 2];
    for (cut, woke) in cuts.iter().zip(&woken) {
        assert_eq!(woke["problem"], Value::Null, "{cut}");
        let printed = lines(woke);
        let version = (1..=2)
            .find(|v| printed.first() == Some(&format!("started version={v} slot={}", v - 1)));
        let version = version.unwrap_or_else(|| panic!("a brick after {cut}: {printed:?}"));
        assert_eq!(printed[1..], expected[version - 1], "{cut}");
        counts[version - 1] += 1;
    }
    let twice = woken.iter().filter(|woke| woke["second"] == json!(true)).count();
    eprintln!(
        "{} cuts in {count} operations, {twice} of them with another cut after it: {counts:?} woke with the old, the new model",
        cuts.len()
    );
    assert!(counts[0] > 0 && counts[1] > 0 && twice > 0, "{counts:?} {twice}");
}

/// Returns a cut before every operation and after the last, and cuts in the middle of random ones.
/// The last operations name the new model; there, power fails again as the board starts.
fn cuts(operations: usize) -> Vec<Value> {
    const NAMING: usize = 3;
    const STARTING: usize = 3;
    let whole = (0..=operations).map(|operation| cut(operation, None, None));
    let named = env::var("WAKELING_PICO_CUTS").ok().map(|n| n.parse().expect("a number"));
    let mut random = Random::new(24);
    let torn: Vec<_> = (0..named.unwrap_or(30))
        .map(|seed| cut(random.below(operations), Some(seed), None))
        .collect();
    let places =
        (operations - NAMING..=operations).flat_map(|at| (0..STARTING).map(move |k| (at, k)));
    let twice = places.map(|(operation, again)| cut(operation, None, Some(again)));
    whole.chain(torn).chain(twice).collect()
}

fn cut(operation: usize, torn: Option<usize>, again: Option<usize>) -> Value {
    json!({ "operation": operation, "torn": torn, "again": again })
}

/// Prints the table of `docs/lab/pico.md`:
/// `cargo test -p wakeling-tests --test pico print_results -- --ignored --nocapture`.
#[test]
#[ignore = "it measures and proves nothing"]
fn print_results() {
    const SECONDS: f64 = 1.5;
    let pico = Pico::available().expect("figures need the emulator");
    let pcm = wakeling_tests::sound::speech_like(1, 2);
    let sound = pico.sound("speech.pcm", &pcm);
    println!("tier words busy_% flash_% M_instructions_per_s overrun_lines");
    for (tier, words) in [(Tier::Alexa, 1), (Tier::S, 1), (Tier::S, 4), (Tier::M, 1)] {
        let uf2 = pico.uf2("random", &random_model_with_heads(1, tier, words));
        let scenario = json!({ "uf2": uf2, "pcm": sound, "seconds": SECONDS, "loadFrom": 0.5 });
        let result = pico.run("listen", &scenario);
        assert_eq!(result["problem"], Value::Null);
        let (busy, awaits, instructions) = load(&result);
        let overruns = lines(&result).iter().filter(|line| line.starts_with("overrun")).count();
        let [busy, awaits] = [busy, awaits].map(|share| 100.0 * share);
        println!("{tier:?} {words} {busy:.1} {awaits:.1} {:.1} {overruns}", instructions / 1e6);
    }
}
