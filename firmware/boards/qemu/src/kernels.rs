//! Test of the processor's kernels against the plain ones, on shapes that fill no block and values
//! at their extremes. Also tests the functions that copy and fill memory. The last line is
//! `kernels cases=N`, or `error …` with the first case that differs.

#![no_std]
#![no_main]

use core::{fmt, ptr::addr_of_mut};

use wakeling_qemu::{conclude, semihosting::Console};
use wakeling_shared::{
    engine::kernels::{self, AddScales, Columns, plain, tflite},
    model::{Affine, BiasScale, LANES, TfliteAffine, TfliteFactors, UNIT},
};

/// Numbers of inputs, outputs and columns of pointwise layers.
const POINTWISE: [[usize; 3]; 20] = [
    [1, 1, 1],
    [3, 5, 2],
    [4, 4, 5],
    [7, 8, 4],
    [8, 4, 9],
    [9, 12, 6],
    [15, 8, 4],
    [16, 8, 7],
    [17, 4, 5],
    [23, 20, 8],
    [27, 8, 6],
    [40, 12, 5],
    [48, 7, 4],
    [64, 16, 5],
    [255, 4, 4],
    [256, 8, 5],
    [257, 4, 4],
    [263, 6, 3],
    [600, 9, 2],
    [1_031, 3, 1],
];
/// Numbers of taps, channels and places of depthwise layers.
const DEPTHWISE: [[usize; 3]; 13] = [
    [1, 1, 1],
    [5, 3, 2],
    [5, 4, 3],
    [9, 8, 4],
    [9, 12, 3],
    [3, 16, 1],
    [10, 20, 2],
    [25, 23, 2],
    [32, 20, 3],
    [18, 28, 2],
    [8, 33, 1],
    [9, 64, 2],
    [4, 263, 1],
];
const LENGTHS: [usize; 8] = [0, 1, 3, 4, 5, 7, 48, 130];
/// Largest number of bytes copied: two rounds of a loop, and every possible rest.
const BYTES: usize = 48;
/// Pairs of weights at their extremes; 0x7FFF is −1 and 128.
const EXTREMES: [u32; 6] =
    [0x7FFF_7FFF, 0x8080_8080, 0x7F7F_7F7F, 0x8000_8000, 0x80FF_80FF, 0x7F80_7F7F];

/// Memory for the random weights, inputs and outputs of a case.
struct Room {
    weights: [u32; 3_072],
    bias_scales: [BiasScale; 66],
    factors: [TfliteFactors; 66],
    wide: [u32; 1_088],
    x: [i8; 2_048],
    o: [i8; 2_048],
    y: Outputs,
}

/// Outputs of the processor's kernels and of the plain ones.
struct Outputs {
    found: [i8; 1_024],
    expected: [i8; 1_024],
}

impl Outputs {
    /// Compares the outputs of both kernels, and the memory after them.
    fn equal(&self, kernel: &'static str, shape: [usize; 3]) -> Result<(), Differs> {
        if self.found == self.expected { Ok(()) } else { Err(Differs(kernel, shape)) }
    }
}

/// Case with different outputs: kernel and shape.
struct Differs(&'static str, [usize; 3]);

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kernel, [a, b, c]) = *self;
        write!(f, "{kernel} {a} {b} {c} is not what the plain kernel makes")
    }
}

/// Number of cases with equal outputs.
struct Cases(usize);

impl fmt::Display for Cases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernels cases={}", self.0)
    }
}

/// Generator xorshift32 (Marsaglia, 2003).
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Fills `bytes`, every tenth of them with an extreme value.
    fn bytes(&mut self, bytes: &mut [i8]) {
        for byte in bytes {
            let random = self.next() >> 8;
            *byte = match random % 20 {
                0 => i8::MIN,
                1 => i8::MAX,
                _ => (random >> 8) as i8,
            };
        }
    }

    fn four(&mut self, range: i32) -> [i32; LANES] {
        core::array::from_fn(|_| self.next() as i32 % range)
    }
}

impl Room {
    /// Fills everything with new values. All weights are `extreme`, if given.
    fn fill(&mut self, random: &mut Random, extreme: Option<u32>) {
        self.weights.iter_mut().for_each(|word| *word = extreme.unwrap_or_else(|| random.next()));
        for [biases, multipliers] in &mut self.bias_scales {
            *biases = random.four(1 << 20);
            *multipliers = random.four(1 << 24).map(i32::abs);
        }
        for [biases, multipliers, shifts] in &mut self.factors {
            *biases = random.four(1 << 20);
            *multipliers = random.four(i32::MAX).map(|m| m | i32::MIN);
            *shifts = random.four(31).map(i32::abs);
            // Half of the outputs with few bits, so that they do not all become the zero point.
            let few = random.four(12).map(i32::abs);
            shifts.iter_mut().zip(few).step_by(2).for_each(|(shift, few)| *shift = few);
        }
        random.bytes(&mut self.x);
        random.bytes(&mut self.o);
        random.bytes(&mut self.y.found);
        self.y.expected = self.y.found;
    }

    fn affine<'a>(
        weights: &'a [u32],
        bias_scales: &'a [BiasScale],
        shape: [usize; 2],
    ) -> Affine<'a> {
        let [inputs, outputs] = shape.map(|width| width as u16);
        Affine { inputs, outputs, zero_point: -11, weights, bias_scales }
    }

    fn pointwise(&mut self, shape: [usize; 3]) -> Result<(), Differs> {
        let [inputs, outputs, columns] = shape;
        let words = outputs.div_ceil(LANES) * inputs.div_ceil(UNIT) * UNIT;
        let Self { weights, bias_scales, wide, x, y, .. } = self;
        let weights = weights.get(..words).unwrap_or_default();
        let bias_scales = bias_scales.get(..outputs.div_ceil(LANES)).unwrap_or_default();
        let affine = Self::affine(weights, bias_scales, [inputs, outputs]);
        let x = x.get(..columns * inputs).unwrap_or_default();
        let expected = y.expected.get_mut(..columns * outputs).unwrap_or_default();
        plain::pointwise(x, &affine, &mut [], expected);
        let words = kernels::wide_words_of_columns(inputs);
        let found = y.found.get_mut(..columns * outputs).unwrap_or_default();
        kernels::pointwise(x, &affine, wide.get_mut(..words).unwrap_or_default(), found);
        y.equal("pointwise", shape)?;
        // Without scratch memory, and one column alone.
        let found = y.found.get_mut(..columns * outputs).unwrap_or_default();
        found.fill(0);
        kernels::pointwise(x, &affine, &mut [], found);
        let column = x.get(..inputs).unwrap_or_default();
        let words = kernels::wide_words(inputs);
        let wide = wide.get_mut(..words).unwrap_or_default();
        kernels::pointwise_column(column, &affine, wide, found);
        y.equal("pointwise_column", shape)
    }

    fn depthwise(&mut self, shape: [usize; 3]) -> Result<(), Differs> {
        /// Distance between the columns of a place; those of different places overlap.
        const GAP: usize = 7;
        let [taps, channels, places] = shape;
        let blocks = channels.div_ceil(LANES);
        let Self { weights, bias_scales, x, y, .. } = self;
        let weights = weights.get(..blocks * taps * LANES / 2).unwrap_or_default();
        let bias_scales = bias_scales.get(..blocks).unwrap_or_default();
        let affine = Self::affine(weights, bias_scales, [channels, channels]);
        let mut offsets = [0; 32];
        // The last tap is not the furthest.
        let far = |tap: usize| (tap + 2) % taps * GAP.min(channels);
        offsets.iter_mut().enumerate().for_each(|(tap, offset)| *offset = far(tap));
        let offsets = offsets.get(..taps).unwrap_or_default();
        for place in 0..places {
            let mut columns = Columns::of(channels);
            for &offset in offsets {
                columns.push(x.get(offset + place * (channels + 1)..).unwrap_or_default());
            }
            let range = place * channels..(place + 1) * channels;
            let expected = y.expected.get_mut(range.clone()).unwrap_or_default();
            plain::depthwise(&columns, &affine, expected);
            let found = y.found.get_mut(range).unwrap_or_default();
            kernels::depthwise(&columns, &affine, found);
        }
        y.equal("depthwise", shape)?;
        let found = y.found.get_mut(..places * channels).unwrap_or_default();
        found.fill(0);
        kernels::depthwise_places(x, offsets, channels + 1, &affine, found);
        y.equal("depthwise_places", shape)
    }

    /// Kernels with the rounding of TensorFlow Lite.
    fn tflite(&mut self, kernel: &'static str, shape: [usize; 3]) -> Result<(), Differs> {
        let [inputs, outputs, _] = shape;
        let blocks = outputs.div_ceil(LANES);
        let Self { weights, factors, wide, x, y, .. } = self;
        let factors = factors.get(..blocks).unwrap_or_default();
        let Outputs { found, expected } = y;
        if kernel == "tflite pointwise" {
            let words = blocks * inputs.div_ceil(UNIT) * UNIT;
            let weights = weights.get(..words).unwrap_or_default();
            let affine = Self::affine(weights, &[], [inputs, outputs]);
            let affine = TfliteAffine { affine, factors };
            let x = x.get(..inputs).unwrap_or_default();
            tflite::pointwise_plain(x, &affine, expected.get_mut(..outputs).unwrap_or_default());
            let wide = wide.get_mut(..kernels::wide_words(inputs)).unwrap_or_default();
            tflite::pointwise(x, &affine, wide, found);
        } else {
            let taps = inputs;
            let weights = weights.get(..blocks * taps * LANES / 2).unwrap_or_default();
            let affine = Self::affine(weights, &[], [outputs, outputs]);
            let affine = TfliteAffine { affine, factors };
            let mut columns = Columns::of(outputs);
            for tap in 0..taps {
                columns.push(x.get((tap + 2) % taps * 7..).unwrap_or_default());
            }
            let expected = expected.get_mut(..outputs).unwrap_or_default();
            tflite::depthwise_plain_from(0, &columns, &affine, expected);
            tflite::depthwise(&columns, &affine, found);
        }
        y.equal(kernel, shape)
    }

    fn add(&mut self, length: usize) -> Result<(), Differs> {
        for scale in [0, 1, 734_003, 1 << 21] {
            let scales =
                AddScales { x_scale: scale, o_scale: 1 << 21, x_zero: -128, o_zero: 127, zero: 5 };
            let Self { x, o, y, .. } = self;
            let (x, o) = (x.get(1..=length), o.get(..length));
            let (x, o) = (x.unwrap_or_default(), o.unwrap_or_default());
            plain::add(x, o, scales, &mut y.expected);
            kernels::add(x, o, scales, &mut y.found);
            y.equal("add", [length, scale as usize, 0])?;
        }
        Ok(())
    }

    fn gather(&mut self, row: usize) -> Result<(), Differs> {
        let Self { x, y, .. } = self;
        let stride = row + 5;
        let rows = 3;
        for (source, target) in x.chunks(stride).zip(y.expected.chunks_exact_mut(row)).take(rows) {
            target.iter_mut().zip(source).for_each(|(target, &x)| *target = x);
        }
        let found = y.found.get_mut(..rows * row).unwrap_or_default();
        kernels::gather_rows(x, stride, row, found);
        y.equal("gather_rows", [row, 0, 0])
    }

    /// Copies, moves and fills `length` bytes, from and to addresses of every alignment. Compilers
    /// leave this to functions that a board may supply (`wakeling-bytes`).
    fn bytes(&mut self, length: usize) -> Result<(), Differs> {
        const BEHIND: usize = 8;
        let value = |i: usize| (i * 37 + 11) as i8;
        for (from, to) in (0..16).map(|case| (case / 4, case % 4)) {
            let Self { x, o, y: Outputs { found, .. }, .. } = self;
            x.iter_mut().enumerate().for_each(|(i, x)| *x = value(i));
            *o = *x;
            found.fill(1);
            let holds = |bytes: &[i8], expected: &dyn Fn(usize) -> i8| {
                bytes.iter().enumerate().all(|(i, &byte)| byte == expected(i))
            };
            let source = x.get(from..from + length).unwrap_or_default();
            if let Some(target) = found.get_mut(to..to + length) {
                target.copy_from_slice(source);
            }
            let inside = |i: usize| (to..to + length).contains(&i);
            let copied = |i: usize| if inside(i) { value(i - to + from) } else { 1 };
            let mut equal = holds(found, &copied);
            if let Some(target) = found.get_mut(to..to + length) {
                target.fill(-3);
            }
            equal &= holds(found, &|i| if inside(i) { -3 } else { 1 });
            // Forwards and backwards within one buffer, with overlap.
            for (from, to) in [(from, to + BEHIND), (from + BEHIND, to)] {
                o.copy_within(from..from + length, to);
                let inside = |i: usize| (to..to + length).contains(&i);
                equal &= holds(o, &|i| value(if inside(i) { i - to + from } else { i }));
                *o = *x;
            }
            if !equal {
                return Err(Differs("copying", [length, from, to]));
            }
        }
        Ok(())
    }
}

fn check(room: &mut Room) -> Result<Cases, Differs> {
    let mut random = Random(0x9E37_79B9);
    let mut cases = 0;
    for weights in [None].into_iter().chain(EXTREMES.map(Some)) {
        for shape in POINTWISE {
            room.fill(&mut random, weights);
            room.pointwise(shape)?;
            room.tflite("tflite pointwise", shape)?;
            cases += 2;
        }
        for shape in DEPTHWISE {
            room.fill(&mut random, weights);
            room.depthwise(shape)?;
            room.tflite("tflite depthwise", shape)?;
            cases += 2;
        }
    }
    for length in 0..=BYTES {
        room.bytes(length)?;
        cases += 1;
    }
    for length in LENGTHS {
        room.fill(&mut random, None);
        room.add(length)?;
        room.gather(length + 1)?;
        cases += 2;
    }
    Ok(Cases(cases))
}

/// Returns whether all cases were equal.
fn run() -> bool {
    static mut ROOM: Room = Room {
        weights: [0; 3_072],
        bias_scales: [[[0; LANES]; 2]; 66],
        factors: [[[0; LANES]; 3]; 66],
        wide: [0; 1_088],
        x: [0; 2_048],
        o: [0; 2_048],
        y: Outputs { found: [0; 1_024], expected: [0; 1_024] },
    };
    // SAFETY: this function runs once, on the only processor, without interrupts, so this is the
    // only reference.
    let room = unsafe { &mut *addr_of_mut!(ROOM) };
    conclude(|_: &mut Console| check(room))
}

wakeling_qemu::machine!(run);
