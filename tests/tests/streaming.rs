//! The output of the pipeline depends on the samples, not on the chunks.

use wakeling_device::simulate::{Chunking, Device};
use wakeling_shared::{
    engine::Engine,
    gate::GateParams,
    model::{Model, Op},
    pipeline::Pipeline,
};
use wakeling_tests::{
    Random, Tier,
    model::{gated, random_model, random_model_with_heads},
    sound,
};

#[test]
fn any_chunking_equals_the_whole() {
    for (seed, tier, heads) in [(1, Tier::Tiny, 1), (2, Tier::S, 3), (3, Tier::M, 1)] {
        let bytes = random_model_with_heads(seed, tier, heads);
        let model = Model::load(&bytes).expect("the model is valid");
        let pcm = sound::speech_like(seed, 12);
        let whole = Device::Host(Chunking::Whole).lines(&model, &pcm, true).expect("it runs");
        // There is a frame every 160 samples once a window of 480 is full, and a step of whole
        // frames.
        let frames = 1 + (pcm.len() - 480) / 160;
        let steps = frames / usize::from(model.frames_per_step);
        assert_eq!(whole.lines().filter(|l| l.starts_with("step ")).count(), steps);
        let longest = [1, 3, 159, 160, 161, 479, 1_000, 48_000];
        let random =
            longest.map(|longest| Chunking::Random { seed: seed + longest as u64, longest });
        let fixed = [1, 7, 160, 320, 480, 4_096].map(Chunking::Fixed);
        for chunks in random.into_iter().chain(fixed) {
            let cut = Device::Host(chunks).lines(&model, &pcm, true).expect("it runs");
            assert!(cut == whole, "{chunks:?} differs");
        }
    }
}

#[test]
fn prefix_of_the_audio_gives_a_prefix_of_the_lines() {
    let bytes = random_model_with_heads(4, Tier::S, 2);
    let model = Model::load(&bytes).expect("the model is valid");
    let pcm = sound::speech_like(4, 5);
    let whole = Device::Host(Chunking::Whole).lines(&model, &pcm, true).expect("it runs");
    for samples in [0, 639, 640, 641, 12_345, 79_999] {
        let front =
            Device::Host(Chunking::Whole).lines(&model, &pcm[..samples], true).expect("it runs");
        assert!(whole.starts_with(&front), "{samples}");
    }
}

#[test]
fn a_gate_leaves_out_silence_and_nothing_else() {
    let plain = random_model_with_heads(7, Tier::S, 2);
    let file = gated(&plain, GateParams { margin: 240, hold_steps: 5 });
    let model = Model::load(&file).expect("the model is valid");
    let pcm = sound::between_silences(7, 6);
    let whole = Device::Host(Chunking::Whole).lines(&model, &pcm, true).expect("it runs");
    for chunks in [Chunking::Fixed(7), Chunking::Random { seed: 5, longest: 2_000 }] {
        let cut = Device::Host(chunks).lines(&model, &pcm, true).expect("it runs");
        assert!(cut == whole, "{chunks:?} differs");
    }
    let steps = |file: &[u8]| {
        let model = Model::load(file).expect("the model is valid");
        let mut arena = vec![0; model.arena_bytes()];
        let mut pipeline = Pipeline::new(&model, &mut arena).expect("the arena fits");
        let mut steps = Vec::new();
        pipeline.push(&pcm, |step| steps.push((step.listened, step.logits.to_vec())));
        steps
    };
    let (all, some) = (steps(&plain), steps(&file));
    assert_eq!(all.len(), some.len());
    assert!(all.iter().all(|(listened, _)| *listened));
    // Until it closes for the first time, a gate has no effect.
    let first = some.iter().position(|(listened, _)| !listened).expect("there is silence");
    assert_eq!(all[..first], some[..first]);
    let closed = some.iter().filter(|(listened, _)| !listened).count();
    assert!((some.len() / 10..some.len() * 9 / 10).contains(&closed), "{closed} of {}", some.len());
    let silent = some.iter().all(|(listened, logits)| *listened || logits[..] == [-3_072; 2]);
    assert!(silent, "a closed gate says −12");
}

#[test]
fn a_stride_computes_every_other_step_and_forgets_none() {
    let bytes = random_model(5, Tier::S);
    let mut model = Model::load(&bytes).expect("the model is valid");
    // The stem and the first depthwise layer alone.
    model.layers.truncate(2);
    model.backbone_layers = 2;
    model.heads.clear();
    let outputs = |stride: u8| -> Vec<Option<Vec<i8>>> {
        let mut model = model.clone();
        let Op::Depthwise { stride: own, .. } = &mut model.layers[1].op else {
            panic!("the second layer is depthwise");
        };
        *own = stride;
        let mut arena = vec![0; model.arena_bytes()];
        let mut engine = Engine::new(&model, &mut arena).expect("the arena fits");
        let mut random = Random::new(9);
        let mut step = |_| {
            engine.input().iter_mut().for_each(|x| *x = random.bits() as i8);
            engine.backbone().map(<[i8]>::to_vec)
        };
        (0..40).map(&mut step).collect()
    };
    let (every, second) = (outputs(1), outputs(2));
    for (t, (every, second)) in every.iter().zip(&second).enumerate() {
        let expected = if t % 2 == 0 { every.as_ref() } else { None };
        assert_eq!(second.as_ref(), expected, "step {t}");
    }
}
