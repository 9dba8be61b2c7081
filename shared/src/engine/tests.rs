//! Tests of the engine against its formulas, transcribed over the whole sequence at once.

extern crate std;
use std::{vec, vec::Vec};

use super::kernels::{self, AddScales};
use crate::{
    fixed::{requantize, requantize_logit},
    model::{Affine, BiasScale, LANES, UNIT},
};

/// Generator xorshift64*; makes inputs that are never constant.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns random bytes, of which every tenth is an extreme value.
    fn bytes(&mut self, n: usize) -> Vec<i8> {
        let mut byte = || match self.next() >> 32 {
            r if r % 20 == 0 => i8::MIN,
            r if r % 20 == 1 => i8::MAX,
            r => (r >> 8) as i8,
        };
        (0..n).map(|_| byte()).collect()
    }

    /// Returns words of such bytes.
    fn words(&mut self, n: usize) -> Vec<u32> {
        let bytes = self.bytes(4 * n);
        bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(b.map(|b| b as u8))).collect()
    }

    /// Returns values of either sign, below `range` in magnitude.
    fn four(&mut self, range: i32) -> [i32; 4] {
        core::array::from_fn(|_| (self.next() >> 32) as i32 % range)
    }
}

struct Layer {
    weights: Vec<u32>,
    bias_scales: Vec<BiasScale>,
}

impl Layer {
    /// Creates a random layer; elements beyond the outputs are random as well.
    fn random(random: &mut Random, outputs: usize, words: usize) -> Self {
        let bias_scales =
            |random: &mut Random| [random.four(1 << 20), random.four(1 << 24).map(i32::abs)];
        Self {
            weights: random.words(words),
            bias_scales: (0..outputs.div_ceil(LANES)).map(|_| bias_scales(random)).collect(),
        }
    }

    fn pointwise(random: &mut Random, inputs: usize, outputs: usize) -> Self {
        let words = outputs.div_ceil(LANES) * inputs.div_ceil(UNIT) * UNIT;
        Self::random(random, outputs, words)
    }

    fn affine(&self, inputs: usize, outputs: usize, zero_point: i8) -> Affine<'_> {
        Affine {
            inputs: inputs as u16,
            outputs: outputs as u16,
            zero_point,
            weights: &self.weights,
            bias_scales: &self.bias_scales,
        }
    }

    fn bias(&self, o: usize) -> i32 {
        self.bias_scales[o / LANES][0][o % LANES]
    }

    fn multiplier(&self, o: usize) -> i32 {
        self.bias_scales[o / LANES][1][o % LANES]
    }
}

/// Transcription of `bias[o] + Σᵢ w[o,i]·x[i]`.
fn pointwise_reference(x: &[i8], layer: &Layer, outputs: usize) -> Vec<i32> {
    let affine = layer.affine(x.len(), outputs, 0);
    let row = |o: usize| {
        let products =
            x.iter().enumerate().map(|(i, &x)| affine.pointwise_weight(o, i) * i32::from(x));
        layer.bias(o) + products.sum::<i32>()
    };
    (0..outputs).map(row).collect()
}

/// Shapes with tails in every kernel's blocks, and with more inputs than one run.
const SHAPES: [(usize, usize); 11] = [
    (1, 1),
    (3, 5),
    (4, 4),
    (40, 7),
    (80, 64),
    (128, 128),
    (129, 17),
    (256, 8),
    (263, 6),
    (600, 9),
    (1_031, 3),
];

#[test]
fn pointwise_equals_its_formula() {
    let mut random = Random(1);
    for (inputs, outputs) in SHAPES {
        let layer = Layer::pointwise(&mut random, inputs, outputs);
        let affine = layer.affine(inputs, outputs, -128);
        let x = random.bytes(inputs);
        // Wider than the layer, like the engine's buffers.
        let mut found = vec![0; outputs + 8];
        kernels::pointwise(&x, &affine, &mut vec![0; kernels::wide_words(inputs)], &mut found);
        assert_eq!(found.split_off(outputs), [0; 8]);
        let sums = pointwise_reference(&x, &layer, outputs);
        let expected = |(o, &acc)| requantize(acc, layer.multiplier(o), -128);
        let expected: Vec<i8> = sums.iter().enumerate().map(expected).collect();
        assert_eq!(found, expected, "{inputs} {outputs}");
        // Two equal columns at once.
        let twice = [x.clone(), x.clone()].concat();
        let mut both = vec![0; 2 * outputs + 3];
        let mut wide = vec![0; kernels::wide_words(inputs)];
        kernels::pointwise(&twice, &affine, &mut wide, &mut both);
        assert_eq!(both, [&expected[..], &expected, &[0; 3]].concat());
        let mut scalar = vec![0; 2 * outputs + 3];
        kernels::scalar::pointwise(&twice, &affine, &mut [], &mut scalar);
        assert_eq!(scalar, both, "{inputs} {outputs}, scalar");
        // Without room to widen, the plain kernel runs.
        kernels::pointwise(&x, &affine, &mut [], &mut found);
        assert_eq!(found, expected, "{inputs} {outputs}, plain");
    }
}

#[test]
fn the_widest_sums_are_exact() {
    // Every weight and input is at its extreme; 0x7FFF is −1 and 128.
    for word in [0x7FFF_7FFF, 0x8080_8080, 0x7F7F_7F7F, 0x8000_8000, 0x80FF_80FF] {
        for value in [i8::MIN, i8::MAX] {
            let (inputs, outputs) = (2_048, 4);
            let weights = vec![word; inputs * outputs / 4];
            let layer = Layer { weights, bias_scales: vec![[[1 << 29; 4], [1 << 8; 4]]] };
            let affine = layer.affine(inputs, outputs, 0);
            let x = vec![value; inputs];
            let mut found = [0; 4];
            kernels::pointwise(&x, &affine, &mut vec![0; kernels::wide_words(inputs)], &mut found);
            let expected = pointwise_reference(&x, &layer, outputs);
            let expected: Vec<i8> =
                expected.iter().map(|&acc| requantize(acc, 1 << 8, 0)).collect();
            assert_eq!(found[..], expected, "{word:x} {value}");
            kernels::scalar::pointwise(&x, &affine, &mut [], &mut found);
            assert_eq!(found[..], expected, "{word:x} {value}, scalar");
        }
    }
}

#[test]
fn logits_equal_their_formula() {
    let mut random = Random(3);
    for (inputs, outputs) in SHAPES {
        let layer = Layer::pointwise(&mut random, inputs, outputs);
        let x = random.bytes(inputs);
        let mut found = vec![0; outputs + 8];
        kernels::logits(&x, &layer.affine(inputs, outputs, 0), &mut found);
        assert_eq!(found.split_off(outputs), [0; 8]);
        let sums = pointwise_reference(&x, &layer, outputs);
        let expected = |(o, &acc)| requantize_logit(acc, layer.multiplier(o));
        let expected: Vec<i16> = sums.iter().enumerate().map(expected).collect();
        assert_eq!(found, expected, "{inputs} {outputs}");
    }
}

#[test]
fn depthwise_over_a_ring_equals_the_convolution_of_the_whole_sequence() {
    let mut random = Random(2);
    let shapes =
        [(1, 1, 3), (5, 1, 16), (5, 8, 33), (9, 2, 128), (10, 1, 40), (32, 1, 23), (3, 4, 1)];
    for (taps, dilation, width) in shapes {
        let layer = Layer::random(&mut random, width, width.div_ceil(LANES) * taps * LANES / 2);
        let affine = layer.affine(width, width, 3);
        let sequence: Vec<Vec<i8>> = (0..50).map(|_| random.bytes(width)).collect();
        let zero = -7;
        let mut ring = vec![zero; (taps - 1) * usize::from(dilation) * width];
        let mut oldest = 0;
        for (t, column) in sequence.iter().enumerate() {
            let mut found = vec![0; width + 8];
            let mut columns = kernels::Columns::of(width);
            super::past(column, &ring, (oldest, dilation), &mut columns);
            kernels::depthwise(&columns, &affine, &mut found);
            assert_eq!(found.split_off(width), [0; 8]);
            let mut scalar = vec![0; width];
            kernels::scalar::depthwise(&columns, &affine, &mut scalar);
            assert_eq!(scalar, found, "scalar");
            for (c, &found) in found.iter().enumerate() {
                let past = |k: usize| {
                    t.checked_sub(k * usize::from(dilation)).map_or(zero, |t| sequence[t][c])
                };
                let sum: i32 = (0..taps)
                    .map(|k| affine.depthwise_weight(taps, k, c) * i32::from(past(k)))
                    .sum();
                let acc = layer.bias(c) + sum;
                assert_eq!(found, requantize(acc, layer.multiplier(c), 3), "{t} {c}");
            }
            super::remember(column, &mut ring, &mut oldest);
        }
    }
}

#[test]
fn add_rounds_half_up_and_saturates() {
    let scales = AddScales { x_scale: 1 << 19, o_scale: 1 << 20, x_zero: -128, o_zero: 0, zero: 1 };
    let mut y = [0; 4];
    kernels::add(&[-127, -128, 127, -128], &[0, -3, 127, -128], scales, &mut y);
    // 0.5 rounds to 1; −3; 127.5 + 127 saturates; −128 + 1.
    assert_eq!(y, [2, -2, 127, -127]);
}

#[test]
fn add_equals_its_formula() {
    let mut random = Random(4);
    for length in [0, 1, 3, 4, 7, 128] {
        for scale in [0, 1, 734_003, 1 << 21] {
            let (x, o) = (random.bytes(length), random.bytes(length));
            let [x_zero, o_zero, zero] = [-128, 127, 5];
            let scales = AddScales { x_scale: scale, o_scale: 1 << 21, x_zero, o_zero, zero };
            let mut found = vec![0; length];
            kernels::add(&x, &o, scales, &mut found);
            for ((found, x), o) in found.into_iter().zip(x).zip(o) {
                let x = i64::from(x) - i64::from(x_zero);
                let o = i64::from(o) - i64::from(o_zero);
                let sum = x * i64::from(scale) + o * (1 << 21) + (1 << 19);
                assert_eq!(i64::from(found), (i64::from(zero) + (sum >> 20)).clamp(-128, 127));
            }
        }
    }
}
