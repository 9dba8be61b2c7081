//! Tests of the loop with a simulated microphone and pin, and a model that detects loudness.

extern crate std;

use core::convert::Infallible;
use std::{string::String, vec, vec::Vec};

use embedded_hal::digital::{ErrorType, OutputPin};
use wakeling_shared::{
    detector::DetectorParams,
    frontend::{FrontendParams, Normalization, Quantizer},
    model::{Affine, BiasScale, Card, Head, Keyword, Layer, Op},
};

use super::*;

/// Tables with the whole spectrum in one segment, and the whole segment in the band above it.
struct Tables {
    starts: Vec<u8>,
    weights: Vec<u8>,
    input_weights: Vec<u32>,
}

impl Tables {
    fn new() -> Self {
        let starts = [1u16].into_iter().chain([256; 41]);
        // Ten units of eight words; the first half word is the weight of output 0 for input 0.
        let mut input_weights = vec![0; 80];
        input_weights[0] = 1;
        Self {
            starts: starts.flat_map(u16::to_le_bytes).collect(),
            weights: vec![0; 2 * 255],
            input_weights,
        }
    }

    /// Builds a model whose logit rises with the power of band 0.
    fn model(&self) -> Model<'_> {
        static HALF: [BiasScale; 1] = [[[0; 4], [i32::MAX, 0, 0, 0]]];
        static HUNDRED: [u32; 8] = [100, 0, 0, 0, 0, 0, 0, 0];
        let entry = Affine {
            inputs: 80,
            outputs: 1,
            zero_point: 0,
            weights: &self.input_weights,
            bias_scales: &HALF,
        };
        let logits = Affine { inputs: 1, weights: &HUNDRED, ..entry };
        let quantizer = Quantizer { offset_q8: 31 * 256, scale_q16: 8 * 256 };
        let detector =
            DetectorParams { smoothing_steps: 1, threshold: 1_000, refractory_steps: 1_000 };
        let word = Keyword { label: "loud", detector, points: Default::default() };
        Model {
            card: Card { name: "loudness", ..Card::default() },
            frontend: FrontendParams {
                mel_starts: &self.starts,
                mel_weights: &self.weights,
                normalization: Normalization::Log { floor: 1 << 16, level: None, quantizer },
            },
            frames_per_step: 2,
            layers: [Layer { input: 0, output: 1, op: Op::Pointwise { affine: entry } }]
                .into_iter()
                .collect(),
            backbone_layers: 1,
            heads: [Head { layers: 0, input: 1, logits }].into_iter().collect(),
            words: [word].into_iter().collect(),
            gate: None,
            statistics: None,
        }
    }
}

/// Plays a recording, with one overrun at a given position.
struct Scorer<'p> {
    pcm: &'p [i16],
    position: usize,
    overrun_at: Option<usize>,
}

impl Microphone for Scorer<'_> {
    type Error = &'static str;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<&'static str>> {
        if self.overrun_at.take_if(|at| *at <= self.position).is_some() {
            return Err(ReadError::Overrun { lost_samples: 320 });
        }
        let count = block.len().min(self.pcm.len() - self.position);
        if count == 0 {
            return Err(ReadError::End);
        }
        block[..count].copy_from_slice(&self.pcm[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

/// Pin that records every level.
#[derive(Default)]
struct Pin(Vec<bool>);

impl ErrorType for Pin {
    type Error = Infallible;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.push(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.push(true);
        Ok(())
    }
}

/// One second of silence, half a second of a loud square wave, two seconds of silence.
fn recording() -> Vec<i16> {
    let loud = (0..8_000).map(|n| if n / 16 % 2 == 0 { 16_000 } else { -16_000 });
    [0; 16_000].into_iter().chain(loud).chain([0; 32_000]).collect()
}

fn detect(block_samples: usize, overrun_at: Option<usize>, scores: bool) -> (Vec<bool>, String) {
    let tables = Tables::new();
    let model = tables.model();
    let (mut arena, check) = (vec![0; model.arena_bytes()], Check::done());
    let options = Options { scores, ..Options::default() };
    let outputs = (Pin::default(), String::new());
    let mut pipeline = Pipeline::new(&model, &mut arena).unwrap();
    let mut listener = Listener::new((&model, &check), &mut pipeline, outputs, options);
    let pcm = recording();
    let mut player = Scorer { pcm: &pcm, position: 0, overrun_at };
    let samples = listener.run(&mut player, &mut vec![0; block_samples]).unwrap();
    assert_eq!(samples, pcm.len() as u64);
    let (pin, lines) = listener.release();
    (pin.0, lines)
}

#[test]
fn detection_lights_the_indicator_and_is_printed_once() {
    for block_samples in [1, 77, 320, 60_000] {
        let (levels, lines) = detect(block_samples, None, false);
        assert_eq!(levels, [false, true, false], "{block_samples}");
        let lines: Vec<&str> = lines.lines().collect();
        // There are 7 bytes for alignment, 2 per widened input, and four buffers of 80.
        assert_eq!(lines[0], "model 487 2 loud loudness");
        let [_, detection] = lines[..] else { panic!("{lines:?}") };
        let position = detection.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        assert!((16_000..16_960).contains(&position), "{detection}");
        assert!(detection.ends_with(" loud"), "{detection}");
    }
}

#[test]
fn the_lines_do_not_depend_on_the_blocks() {
    let whole = detect(60_000, None, true).1;
    assert_eq!(whole.lines().filter(|l| l.starts_with("step ")).count(), 1 + (56_000 - 640) / 320);
    for block_samples in [1, 7, 160, 1_000] {
        assert!(detect(block_samples, None, true).1 == whole, "{block_samples}");
    }
}

#[test]
fn prints_an_overrun_and_goes_on() {
    let (levels, lines) = detect(320, Some(6_400), false);
    assert_eq!(lines.lines().nth(1), Some("overrun 6400 320"));
    assert_eq!(levels, [false, true, false]);
}

#[test]
fn prints_a_microphone_issue_once_in_order_and_goes_on() {
    let (_, whole) = detect(60_000, None, true);
    let lines: Vec<&str> = whole.lines().collect();
    let mic_issues: Vec<usize> =
        (0..lines.len()).filter(|&at| lines[at].starts_with("fault ")).collect();
    // The silence from 2 s on is stuck for two seconds, but its period is not complete.
    assert_eq!(mic_issues.len(), 0, "{mic_issues:?}");
    let tables = Tables::new();
    let model = tables.model();
    let pcm: Vec<i16> = [vec![0; 32_000], recording(), vec![0; 64_000]].concat();
    let lines_of = |block: usize| {
        let (mut arena, check) = (vec![0; model.arena_bytes()], Check::done());
        let mut pipeline = Pipeline::new(&model, &mut arena).unwrap();
        let options = Options { scores: true, ..Options::default() };
        let outputs = (Pin::default(), String::new());
        let mut listener = Listener::new((&model, &check), &mut pipeline, outputs, options);
        let mut player = Scorer { pcm: &pcm, position: 0, overrun_at: None };
        listener.run(&mut player, &mut vec![0; block]).unwrap();
        listener.release().1
    };
    let lines = lines_of(320);
    let mic_issues: Vec<&str> = lines.lines().filter(|l| l.starts_with("fault ")).collect();
    assert_eq!(mic_issues, ["fault 32000 stuck", "fault 64000 none", "fault 96000 stuck"]);
    assert!(lines.lines().any(|l| l.starts_with("detection ")), "{lines}");
    // Their positions among the steps do not depend on the blocks either.
    for block in [7, 160, 1_000, 500_000] {
        assert!(lines_of(block) == lines, "{block}");
    }
}

#[test]
fn a_broken_microphone_ends_the_loop() {
    struct Broken;
    impl Microphone for Broken {
        type Error = &'static str;
        fn read(&mut self, _: &mut [i16]) -> Result<usize, ReadError<&'static str>> {
            Err(ReadError::Board("no clock"))
        }
    }
    let tables = Tables::new();
    let model = tables.model();
    let (mut arena, check) = (vec![0; model.arena_bytes()], Check::done());
    let outputs = (Pin::default(), String::new());
    let mut pipeline = Pipeline::new(&model, &mut arena).unwrap();
    let mut listener = Listener::new((&model, &check), &mut pipeline, outputs, Options::default());
    let error = listener.run(&mut Broken, &mut [0; 8]).unwrap_err();
    assert_eq!(std::format!("{error}"), "the microphone failed: no clock");
}
