//! Proof that nothing panics on the chip. `wakeling-qemu-no-panic` links only if no panic can be
//! reached from loading a model to processing sound with it, so a successful build is the proof.
//! These tests check that the proven program is the whole device, and that the application contains
//! no panic either. They also measure the depth of the stack on the longest paths.

use std::fs;

use wakeling_device::{
    emulator::{APPLICATION, Emulator, Machine, NO_PANIC},
    simulate::{Chunking, Device},
};
use wakeling_shared::{gate::GateParams, model::Model};
use wakeling_tests::{
    Tier,
    device::emulator,
    model::{gated, random_model_with_heads},
    sound,
};

/// Stack that a board must keep free, in bytes.
const STACK_BYTES: usize = 17 * 1024;

/// Returns a program on the Cortex-M4F.
fn built(program: &str) -> Option<Emulator> {
    emulator(Machine::CORTEX_M4, program)
}

/// Returns whether a program contains a function of `core::panicking`, or of another module that
/// only panics.
fn can_panic(program: &Emulator) -> bool {
    let elf = fs::read(program.firmware()).expect("the program can be read");
    let holds = |name: &[u8]| elf.windows(name.len()).any(|window| window == name);
    assert!(holds(b"wakeling_shared"), "the program keeps its names, or this test sees nothing");
    holds(b"9panicking") || holds(b"unwrap_failed") || holds(b"expect_failed")
}

#[test]
fn no_panic_can_be_reached() {
    let (Some(proof), Some(application)) = (built(NO_PANIC), built(APPLICATION)) else { return };
    assert!(!can_panic(&proof));
    assert!(!can_panic(&application), "the application can panic where the proof does not look");
}

#[test]
fn proof_covers_the_whole_device_and_bounds_its_stack() {
    let Some(proof) = built(NO_PANIC) else { return };
    // The cases are gates that open and close, every normalization, and the largest number of
    // heads.
    let gate = GateParams { margin: 240, hold_steps: 5 };
    let pcm = sound::between_silences(7, 6);
    for seed in 0..4 {
        let file = gated(&random_model_with_heads(seed, Tier::S, 4), gate);
        let mut model = Model::load(&file).expect("the model is valid");
        // Every keyword is detected as often as possible.
        model.words.iter_mut().for_each(|word| word.detector.threshold = i16::MIN);
        let file = wakeling_device::model_file::encode(&model).expect("it can be written");
        let host = Device::Host(Chunking::Whole).lines(&model, &pcm, true).expect("it runs");
        assert!(host.contains("detection "), "a test of nothing");
        let chip = proof.measure(&file, &pcm, &[]).expect("it runs");
        let (lines, stack) = chip.trim_end().rsplit_once('\n').expect("several lines");
        assert!(lines == host.trim_end(), "seed {seed}: laptop and chip differ");
        let stack: usize =
            stack.strip_prefix("stack ").and_then(|s| s.parse().ok()).expect("bytes");
        eprintln!("seed {seed}: {stack} bytes of stack");
        assert!(stack <= STACK_BYTES, "{stack} bytes of stack");
    }
    // Bytes in flash that are no model are rejected.
    let refused = proof.measure(b"no model", &pcm, &[]);
    assert!(refused.is_err());
}
