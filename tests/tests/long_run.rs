//! Tests with hours of continuous sound: nothing drifts, no counter overflows, and detections do
//! not depend on the start.
//!
//! `WAKELING_LONG_HOURS` sets the duration, by default a minute and a half. SECURITY.md lists the
//! runs so far. In a release build 24 hours take some minutes.

use std::env;

use wakeling_shared::{
    frontend::HOP_SAMPLES, frontend::WINDOW_SAMPLES, mic_health::MicMonitor, model::Model,
    pipeline::Pipeline,
};
use wakeling_tests::{
    Tier,
    model::{gated, random_model_with_heads},
    sound,
};

/// Default duration in hours.
const SHORT_HOURS: f64 = 0.025;
/// Length of the repeated scene in seconds, a whole number of steps of every model here.
const SCENE_S: usize = 6;
/// Number of scenes until levels and rings no longer depend on the start.
const WARM_UP: usize = 8;

fn hours() -> f64 {
    env::var("WAKELING_LONG_HOURS").map_or(SHORT_HOURS, |hours| hours.parse().expect("hours"))
}

/// Result of a step, with its position within its scene.
type Steps = (u64, Vec<(i16, i16, bool)>);

/// Processes `scenes` repetitions from sample `start` on, in blocks of 20 ms. Calls `each` with the
/// results of the steps in each scene.
fn listen(
    model: &Model<'_>,
    (scene, start, scenes): (&[i16], usize, usize),
    first: (u64, u64),
    mut each: impl FnMut(usize, Vec<Steps>),
) -> u64 {
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(model, &mut arena).expect("the arena fits");
    pipeline.set_position(first.0, first.1);
    let mut mic_issues = MicMonitor::new();
    let length = scene.len() as u64;
    let step_samples = (usize::from(model.frames_per_step) * HOP_SAMPLES) as u64;
    let origin = first.0.wrapping_mul(HOP_SAMPLES as u64);
    let (mut index, mut found, mut steps) = (0, Vec::new(), 0u64);
    for repetition in 0..scenes {
        let part = if repetition == 0 { &scene[start..] } else { scene };
        for block in part.chunks(320) {
            pipeline.push(block, |step| {
                steps += 1;
                // The position is counted from the first sample rather than from the last step, so
                // it cannot drift.
                let expected = steps * step_samples + (WINDOW_SAMPLES - HOP_SAMPLES) as u64;
                assert_eq!(step.end_samples.wrapping_sub(origin), expected);
                assert_eq!(step.index, first.1.wrapping_add(steps - 1));
                let at = start as u64 + expected;
                if at / length != index as u64 {
                    each(index, std::mem::take(&mut found));
                    index = (at / length) as usize;
                }
                let words = step.logits.iter().zip(step.decisions);
                let words = words.map(|(&l, d)| (l, d.smoothed, d.fired)).collect();
                found.push((at % length, words));
            });
            let mut rest = block;
            while !rest.is_empty() {
                rest = &rest[mic_issues.push(rest).0..];
            }
        }
    }
    steps
}

/// Returns a model that detects something in every scene, and the scene.
fn subject(file: &[u8]) -> (Model<'_>, Vec<i16>) {
    let mut model = Model::load(file).expect("the model is valid");
    let scene = sound::speech_like(3, SCENE_S);
    let mut all: Vec<i16> = Vec::new();
    listen(&model, (&scene, 0, WARM_UP), (0, 0), |_, found| {
        all.extend(found.iter().map(|(_, words)| words[0].1));
    });
    all.sort_unstable();
    for word in &mut model.words {
        // One step in fifty reaches this threshold.
        word.detector.threshold = all[all.len() * 49 / 50];
        word.detector.refractory_steps = 20;
    }
    (model, scene)
}

#[test]
fn hours_of_repeated_sound_give_repeated_steps() {
    let plain = random_model_with_heads(1, Tier::S, 2);
    let gated = gated(&plain, Default::default());
    for file in [&plain, &gated] {
        let (model, scene) = subject(file);
        let scenes = ((hours() * 3_600.0) as usize / SCENE_S).max(WARM_UP + 4);
        let mut known: Option<Vec<Steps>> = None;
        let (mut compared, mut detections) = (0, 0);
        let steps = listen(&model, (&scene, 0, scenes), (0, 0), |index, found| {
            if index < WARM_UP {
                return;
            }
            detections += found.iter().filter(|(_, words)| words.iter().any(|w| w.2)).count();
            let known = known.get_or_insert_with(|| found.clone());
            assert!(found == *known, "scene {index} is not what the scenes before it were");
            compared += 1;
        });
        assert!(compared + 2 > scenes - WARM_UP && detections > compared / 2);
        eprintln!(
            "{:.2} h: {steps} steps, {compared} scenes alike, {detections} detections",
            (scenes * SCENE_S) as f64 / 3_600.0
        );
    }
}

#[test]
fn detections_do_not_depend_on_the_start() {
    let file = random_model_with_heads(1, Tier::S, 2);
    let (model, scene) = subject(&file);
    let step = usize::from(model.frames_per_step) * HOP_SAMPLES;
    let detected = |start: usize| {
        let mut last = Vec::new();
        listen(&model, (&scene, start, WARM_UP + 4), (0, 0), |_, found| last = found);
        last
    };
    let expected = detected(0);
    assert!(expected.iter().any(|(_, words)| words[0].2), "a test of nothing");
    for start in [1, 2, 7, 40, 75, 90].map(|steps| steps * step) {
        assert!(detected(start) == expected, "from sample {start} on other things are heard");
    }
    // Between steps the frames are at other positions; starts with equal frames give equal results.
    for start in [1, 77, 159, 160, 333, 639] {
        assert!(detected(start) == detected(start + 3 * step), "sample {start}");
    }
}

#[test]
fn counters_near_their_ends_run_over_in_silence() {
    let file = random_model_with_heads(1, Tier::Tiny, 2);
    let (model, scene) = subject(&file);
    let detected = |first: (u64, u64)| {
        let mut all = Vec::new();
        listen(&model, (&scene, 0, 3), first, |_, found| all.push(found));
        all
    };
    let expected = detected((0, 0));
    let limits = [u64::from(u32::MAX), u64::MAX / HOP_SAMPLES as u64, u64::MAX];
    for limit in limits {
        // The limit is reached after a hundred of 300 steps.
        let first = (limit - 100 * u64::from(model.frames_per_step), limit - 100);
        assert!(detected(first) == expected, "{limit}");
    }
}
