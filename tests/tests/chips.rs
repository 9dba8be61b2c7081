//! Programs of the boards on doubles of their chips (`tests/chips`): the very bytes that `wakeling
//! flash` writes, between peripherals that are described register by register.
//!
//! Runs if `$WAKELING_PYTHON` (or `python3`) has unicorn and numpy and the board's program is built;
//! prints SKIP otherwise. `docs/lab/chips.md` has what each double covers.

use wakeling_device::simulate::{Chunking, Device};
use wakeling_shared::{model::Model, timebase::SAMPLE_RATE_HZ};
use wakeling_tests::{
    Tier,
    chips::{Double, Outcome, Run},
    model::random_model,
    sound,
};

#[path = "../../firmware/src/cic.rs"]
mod cic;

/// Length of the sound in seconds, and of the silence behind it.
const SOUND: usize = 2;

/// Returns sound at half of full scale, since a PDM microphone clips above, with silence behind it.
fn speech(seed: u64) -> Vec<i16> {
    let mut pcm: Vec<i16> = sound::speech_like(seed, SOUND).iter().map(|sample| sample / 2).collect();
    pcm.extend(vec![0; SAMPLE_RATE_HZ / 2]);
    pcm
}

/// Returns the lines of the laptop's simulator.
fn simulated(model: &[u8], pcm: &[i16]) -> String {
    let model = Model::load(model).expect("the model is valid");
    Device::Host(Chunking::Whole).lines(&model, pcm, false).expect("the host runs")
}

/// Checks the lines of a board against the simulator on the samples that it received. The last
/// blocks may not be processed when the power goes; nothing may happen in them.
fn assert_lines(outcome: &Outcome, model: &[u8], samples: &[i16]) {
    const LAST_BLOCKS: usize = 6 * 320;
    let expected = simulated(model, samples);
    assert_eq!(expected, simulated(model, &samples[..samples.len() - LAST_BLOCKS]), "choose another sound");
    assert!(expected.matches("detection").count() >= 2, "a test of nothing: {expected}");
    assert_eq!(outcome.text(), format!("started version=1 slot=0\n{expected}"));
}

#[test]
fn stm32f4_discovery_detects_like_the_simulator() {
    let Some(double) = Double::new("stm32f4-discovery", (0x0800_0000, 1 << 20)) else { return };
    let model = random_model(1, Tier::S);
    let pcm = speech(3);
    let outcome = double.run(Run {
        flash: &double.flashed(&model),
        pcm: &pcm,
        seconds: pcm.len() as f64 / SAMPLE_RATE_HZ as f64,
        requests: &[],
        options: &[],
    });
    eprintln!("{}", outcome.report);
    let mut samples = vec![0; outcome.words.len() / cic::WORDS_PER_SAMPLE];
    cic::Cic::default().fill(&outcome.words, &mut samples);
    assert_lines(&outcome, &model, &samples);
}
