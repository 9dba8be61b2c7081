//! The engine against its formulas, transcribed over the whole sequence at once.

extern crate std;
use std::{vec, vec::Vec};

use super::kernels::{self, AddScales, History};
use crate::{
    artifact::Affine,
    fixed::{requantize, requantize_logit},
};

/// xorshift64*: inputs that are never constant.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Every tenth value is an extreme.
    fn bytes(&mut self, n: usize) -> Vec<i8> {
        let mut byte = || match self.next() >> 32 {
            r if r % 20 == 0 => i8::MIN,
            r if r % 20 == 1 => i8::MAX,
            r => (r >> 8) as i8,
        };
        (0..n).map(|_| byte()).collect()
    }

    fn words(&mut self, n: usize, range: i32) -> Vec<u8> {
        let mut word = || ((self.next() >> 33) as i32).rem_euclid(range);
        (0..n).flat_map(|_| word().to_le_bytes()).collect()
    }
}

struct Layer {
    weights: Vec<u8>,
    bias: Vec<u8>,
    multipliers: Vec<u8>,
}

impl Layer {
    fn random(random: &mut Random, outputs: usize, weights: usize) -> Self {
        Self {
            weights: random.bytes(weights).iter().map(|&w| w as u8).collect(),
            bias: random.words(outputs, 1 << 20),
            multipliers: random.words(outputs, 1 << 24),
        }
    }

    fn affine(&self, inputs: usize, outputs: usize, zero_point: i8) -> Affine<'_> {
        Affine {
            inputs: inputs as u16,
            outputs: outputs as u16,
            zero_point,
            weights: &self.weights,
            bias: &self.bias,
            multipliers: &self.multipliers,
        }
    }
}

fn word(bytes: &[u8], i: usize) -> i32 {
    i32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap())
}

/// `bias[o] + Σᵢ w[o,i]·x[i]`, transcribed.
fn pointwise_reference(x: &[i8], layer: &Layer, outputs: usize) -> Vec<i32> {
    let inputs = x.len();
    let row = |o: usize| {
        let products = x
            .iter()
            .enumerate()
            .map(|(i, &x)| i32::from(layer.weights[o * inputs + i] as i8) * i32::from(x));
        word(&layer.bias, o) + products.sum::<i32>()
    };
    (0..outputs).map(row).collect()
}

/// Tails of every kernel's blocks, and more columns than any widens at once.
const SHAPES: [(usize, usize); 8] =
    [(1, 1), (3, 5), (4, 4), (80, 64), (128, 128), (129, 17), (263, 6), (600, 9)];

#[test]
fn pointwise_equals_its_formula() {
    let mut random = Random(1);
    for (inputs, outputs) in SHAPES {
        let layer = Layer::random(&mut random, outputs, inputs * outputs);
        let x = random.bytes(inputs);
        // Wider than the layer, as the engine's buffers are.
        let mut found = vec![0; outputs + 8];
        kernels::pointwise(&x, &layer.affine(inputs, outputs, -128), &mut found);
        assert_eq!(found.split_off(outputs), [0; 8]);
        let sums = pointwise_reference(&x, &layer, outputs);
        let expected = |(o, &acc)| requantize(acc, word(&layer.multipliers, o), -128);
        let expected: Vec<i8> = sums.iter().enumerate().map(expected).collect();
        assert_eq!(found, expected, "{inputs} {outputs}");
    }
}

#[test]
fn logits_equal_their_formula() {
    let mut random = Random(3);
    for (inputs, outputs) in SHAPES {
        let layer = Layer::random(&mut random, outputs, inputs * outputs);
        let x = random.bytes(inputs);
        let mut found = vec![0; outputs + 8];
        kernels::logits(&x, &layer.affine(inputs, outputs, 0), &mut found);
        assert_eq!(found.split_off(outputs), [0; 8]);
        let sums = pointwise_reference(&x, &layer, outputs);
        let expected = |(o, &acc)| requantize_logit(acc, word(&layer.multipliers, o));
        let expected: Vec<i16> = sums.iter().enumerate().map(expected).collect();
        assert_eq!(found, expected, "{inputs} {outputs}");
    }
}

#[test]
fn depthwise_over_a_ring_equals_the_convolution_of_the_whole_sequence() {
    let mut random = Random(2);
    for (taps, dilation, width) in [(1, 1, 3), (5, 1, 16), (5, 8, 33), (9, 2, 128), (3, 4, 1)] {
        let layer = Layer::random(&mut random, width, taps * width);
        let affine = layer.affine(width, width, 3);
        let columns: Vec<Vec<i8>> = (0..50).map(|_| random.bytes(width)).collect();
        let zero = -7;
        let length = (taps - 1) * dilation;
        let mut ring = vec![zero; length * width];
        let mut oldest = 0;
        for (t, column) in columns.iter().enumerate() {
            let mut found = vec![0; width];
            let history = History { ring: &ring, oldest, dilation };
            kernels::depthwise(column, history, &affine, &mut found);
            for (c, &found) in found.iter().enumerate() {
                let past = |k: usize| t.checked_sub(k * dilation).map_or(zero, |t| columns[t][c]);
                let sum: i32 = (0..taps)
                    .map(|k| i32::from(layer.weights[k * width + c] as i8) * i32::from(past(k)))
                    .sum();
                let acc = word(&layer.bias, c) + sum;
                assert_eq!(found, requantize(acc, word(&layer.multipliers, c), 3), "{t} {c}");
            }
            if length > 0 {
                ring[oldest * width..(oldest + 1) * width].copy_from_slice(column);
                oldest = (oldest + 1) % length;
            }
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
