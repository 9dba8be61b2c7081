//! Laptop and chip agree: the lines of the host's simulator and of the firmware on emulated
//! processors are equal byte for byte.
//!
//! Without QEMU or firmware the tests are skipped with a message ([`device::if_there`]).

use wakeling_audio::features::mel_powers;
use wakeling_device::{
    emulator::{APPLICATION, Emulator, EmulatorError, KERNELS, METER, Machine},
    simulate::{Chunking, Device, Simulation},
};
use wakeling_shared::{frontend::Normalizer, gate::GateParams, model::Model};
use wakeling_tests::{
    Random, Tier, device,
    model::{gated, random_model, random_model_with_heads},
    sound,
};

/// Returns the application on a Cortex-M4F.
fn emulator() -> Option<Emulator> {
    device::emulator(Machine::CORTEX_M4, APPLICATION)
}

/// Runs both, compares every line but the statistics, and returns the statistics with the events.
fn compare(bytes: &[u8], pcm: &[i16], chunks: Chunking, emulator: Emulator) -> Option<Simulation> {
    let model = Model::load(bytes).expect("the model is valid");
    let host = Device::Host(chunks).lines(&model, pcm, true).expect("the host runs");
    let chip = Device::Emulator(emulator).lines(&model, pcm, true).expect("the chip runs");
    let (chip_lines, stats) = chip.trim_end().rsplit_once('\n')?;
    let differs = host.lines().zip(chip_lines.lines()).position(|(h, c)| h != c);
    if let Some(at) = differs {
        let line = |text: &str| text.lines().nth(at).unwrap_or_default().to_owned();
        panic!("line {at} differs\n  host: {}\n  chip: {}", line(&host), line(chip_lines));
    }
    assert_eq!(host.trim_end(), chip_lines);
    eprintln!("{} lines are equal; {stats}", chip_lines.lines().count());
    let simulation = Simulation::parse(&chip).expect("the lines are events");
    let alive: std::collections::HashSet<i16> =
        simulation.steps.iter().flat_map(|s| s.words.iter().map(|w| w.logit)).collect();
    assert!(alive.len() > 100, "only {} different logits: a test of nothing", alive.len());
    Some(simulation)
}

#[test]
fn a_minute_is_equal_to_the_byte() {
    let Some(emulator) = emulator() else { return };
    let pcm = sound::speech_like(1, 61);
    let chunks = Chunking::Random { seed: 7, longest: 2_000 };
    let simulation = compare(&random_model(1, Tier::M), &pcm, chunks, emulator);
    let stats = simulation.and_then(|s| s.stats).expect("the chip counts");
    assert_eq!(stats.samples, pcm.len() as u64);
    // A recording of 61 s has 1,524 steps of 40 ms; a 64 MHz processor must keep up with a margin.
    let per_second = stats.audio_instructions / 61;
    assert!(per_second < 64_000_000, "{per_second} instructions a second of audio");
}

#[test]
fn several_words_in_odd_blocks_are_equal_to_the_byte() {
    let Some(emulator) = emulator() else { return };
    let emulator = emulator.with_block(77).expect("77 samples fit");
    let pcm = sound::speech_like(2, 20);
    let bytes = random_model_with_heads(2, Tier::S, 4);
    compare(&bytes, &pcm, Chunking::Random { seed: 8, longest: 999 }, emulator);
}

#[test]
fn a_width_that_fits_no_block_is_equal_to_the_byte() {
    let Some(emulator) = emulator() else { return };
    let pcm = sound::speech_like(6, 10);
    compare(&random_model_with_heads(6, Tier::Odd, 2), &pcm, Chunking::Whole, emulator);
}

#[test]
fn every_processor_prints_the_same_as_the_laptop() {
    let pcm = sound::speech_like(9, 5);
    for machine in Machine::ALL {
        let Some(emulator) = device::emulator(machine, APPLICATION) else { continue };
        eprintln!("{}:", machine.name);
        let chunks = Chunking::Random { seed: 3, longest: 700 };
        compare(&random_model_with_heads(3, Tier::S, 2), &pcm, chunks, emulator.clone());
        compare(&random_model_with_heads(7, Tier::Odd, 1), &pcm, Chunking::Whole, emulator);
    }
}

#[test]
fn a_gate_opens_on_the_chip_when_it_does_on_the_laptop() {
    let pcm = sound::between_silences(4, 4);
    let bytes = gated(&random_model_with_heads(5, Tier::S, 2), GateParams::default());
    let tiny = gated(&random_model(6, Tier::Tiny), GateParams { margin: 16, hold_steps: 9 });
    for machine in [Machine::CORTEX_M0, Machine::CORTEX_M4, Machine::CORTEX_M55, Machine::RV32IMC] {
        let Some(emulator) = device::emulator(machine, APPLICATION) else { continue };
        let chunks = Chunking::Random { seed: 6, longest: 700 };
        compare(&bytes, &pcm, chunks, emulator.clone());
        compare(&tiny, &pcm, Chunking::Whole, emulator);
    }
}

#[test]
fn every_kernel_is_the_plain_one() {
    for machine in Machine::ALL {
        let Some(emulator) = device::emulator(machine, KERNELS) else { continue };
        // Every machine has room for a model, but this program reads none.
        let lines = emulator.measure(&[0], &[], &[]).expect("no case differs");
        let cases = lines.trim_end().strip_prefix("kernels cases=").and_then(|n| n.parse().ok());
        assert!(cases.is_some_and(|cases: u32| cases > 200), "{}: {lines}", machine.name);
    }
}

/// Returns difficult input for a front end: full scale, the least signal above silence, and steps
/// between them.
fn extremes() -> Vec<i16> {
    let mut random = Random::new(11);
    let mut pcm = sound::speech_like(8, 1);
    let full = |up: bool| if up { i16::MAX } else { i16::MIN };
    pcm.extend((0..2_000).map(|_| full(random.below(2) == 0)));
    for period in [2, 3, 4, 8, 16, 32, 480] {
        pcm.extend((0..1_000).map(|i| full(i % period < period / 2)));
    }
    for constant in [i16::MIN, i16::MAX, 0, 1, -1] {
        pcm.extend([constant; 800]);
    }
    pcm.extend((0..1_600).map(|_| random.below(3) as i16 - 1));
    pcm
}

#[test]
fn every_processor_computes_the_same_powers_and_features() {
    let pcm = extremes();
    for machine in Machine::ALL {
        let Some(emulator) = device::emulator(machine, METER) else { continue };
        // Four seeds give four normalizations.
        for seed in 0..4 {
            let bytes = random_model(seed, Tier::Tiny);
            let model = Model::load(&bytes).expect("the model is valid");
            let lines = emulator.measure(&bytes, &pcm, &["frames".into()]).expect("it runs");
            let mut normalizer = Normalizer::new(model.frontend.normalization);
            let powers = mel_powers(&pcm, &model.frontend);
            let mut found = lines.lines().filter_map(|line| line.strip_prefix("frame"));
            for (hop, powers) in powers.iter().enumerate() {
                let features = normalizer.process(powers);
                let mut expected: String =
                    powers.iter().map(|power| format!(" {power:x}")).collect();
                expected.push(' ');
                expected.extend(features.iter().map(|feature| format!("{feature:02x}")));
                assert_eq!(found.next(), Some(&*expected), "{} {seed}: {hop}", machine.name);
            }
            assert_eq!(found.next(), None);
        }
    }
}

#[test]
fn recorded_speech_is_equal_to_the_byte() {
    let Some(emulator) = emulator() else { return };
    let Some(pcm) = sound::recorded(60) else {
        return eprintln!("skipped: no recordings in ~/.cache/wakeling-data");
    };
    let emulator = emulator.with_block(512).expect("512 samples fit");
    compare(&random_model(3, Tier::S), &pcm, Chunking::Fixed(160), emulator);
}

#[test]
fn a_damaged_model_is_refused_in_words() {
    let Some(emulator) = emulator() else { return };
    let good = random_model(4, Tier::Tiny);
    let mut damaged = good.clone();
    damaged[200] ^= 1;
    let cases = [(&[0u8; 64][..], "not a Wakeling model"), (&damaged, "damaged: checksum")];
    for (bytes, expected) in cases {
        let message = emulator.run(bytes, &[], false).expect_err("no valid model").to_string();
        assert!(message.contains("no valid model at 0x100000"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

/// Returns the lines that the firmware wrote before the one with its error.
fn lines_before(error: wakeling_device::Error) -> String {
    match error {
        wakeling_device::Error::Emulator(EmulatorError::Device { lines, .. }) => lines,
        error => panic!("{error}"),
    }
}

#[test]
fn a_damaged_byte_anywhere_leads_to_the_error_alone() {
    let good = random_model_with_heads(1, Tier::S, 2);
    let pcm = sound::speech_like(1, 2);
    let loaded = Model::load(&good).expect("the model is valid");
    let host = Device::Host(Chunking::Whole).lines(&loaded, &pcm, false).expect("the host runs");
    for machine in [Machine::CORTEX_M0, Machine::CORTEX_M4, Machine::RV32IMC] {
        let Some(emulator) = device::emulator(machine, APPLICATION) else { continue };
        let chip = emulator.run(&good, &pcm, false).expect("it runs");
        assert!(chip.starts_with(&host), "{}: {chip}", machine.name);
        // Magic, description, weights at both ends and between.
        for at in [0, 40, 2_000, good.len() / 2, good.len() - 1] {
            let mut damaged = good.clone();
            damaged[at] ^= 0x40;
            let reason = Model::load(&damaged).expect_err("it is damaged").to_string();
            for scores in [false, true] {
                let error = emulator.run(&damaged, &pcm, scores).expect_err("it is damaged");
                assert!(error.to_string().contains(&reason), "{} {at}: {error}", machine.name);
                assert_eq!(lines_before(error), "", "{} {at}", machine.name);
            }
        }
    }
}

#[test]
fn empty_and_short_audio_runs_to_its_end() {
    let Some(emulator) = emulator() else { return };
    let bytes = random_model(5, Tier::Tiny);
    for samples in [0, 1, 479, 480, 639, 640] {
        let lines = emulator.run(&bytes, &vec![0; samples], true).expect("it runs");
        let simulation = Simulation::parse(&lines).expect("the lines are events");
        assert_eq!(simulation.steps.len(), usize::from(samples >= 640), "{samples}");
    }
}

/// Prints the figures of the documents:
/// `cargo test -p wakeling-tests --test emulator print_results -- --ignored --nocapture`.
#[test]
#[ignore = "it measures and proves nothing"]
fn print_results() {
    const SECONDS: usize = 20;
    let emulator = emulator().expect("figures need the emulator");
    let pcm = sound::speech_like(1, SECONDS);
    println!("tier words normalization model_bytes setup_M M_per_s stack static arena");
    for (tier, heads) in [(Tier::S, 1), (Tier::S, 4), (Tier::M, 1), (Tier::M, 4)] {
        // Four seeds give four normalizations.
        for seed in 0..4 {
            let bytes = random_model_with_heads(seed, tier, heads);
            let lines = emulator.run(&bytes, &pcm, false).expect("it runs");
            let stats = Simulation::parse(&lines).expect("events").stats.expect("the chip counts");
            println!(
                "{tier:?} {heads} {seed} {} {:.2} {:.2} {} {} {}",
                bytes.len(),
                stats.setup_instructions as f64 / 1e6,
                stats.audio_instructions as f64 / SECONDS as f64 / 1e6,
                stats.stack_bytes,
                stats.static_bytes,
                stats.arena_bytes
            );
        }
    }
}
