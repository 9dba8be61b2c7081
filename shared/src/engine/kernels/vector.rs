//! Kernels for laptops and browsers: eight products at once, or sixteen on an x86-64 with AVX2,
//! which is detected at run time.

pub use super::plain::add;
use super::{Affine, Columns, LANES, Pairs, RUN, UNIT, Unit, plain, requantize, taps, units};

#[cfg(not(any(target_arch = "x86_64", target_arch = "wasm32")))]
use portable::{Halves, Sums};
#[cfg(target_arch = "wasm32")]
use simd128::{Halves, Sums};
#[cfg(target_arch = "x86_64")]
use sse2::{Halves, Sums};

/// Number of depthwise blocks that are computed at once.
const JOINED: usize = 4;

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    for (x, y) in super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    match widen(x, wide) {
        Some(x) => column(x, affine, y),
        None => plain::pointwise_column(x, affine, wide, y),
    }
}

/// Computes one column of outputs.
fn column(x: &[Pairs], affine: &Affine<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::column(x, affine, y) {
        return;
    }
    column_by(add_run, x, affine, y);
}

/// Computes [`column`] with a function that adds the products of at most [`RUN`] units.
#[inline(always)]
fn column_by(
    add_run: impl Fn(&[Unit], &[Pairs], &mut [i32; LANES]),
    x: &[Pairs],
    affine: &Affine<'_>,
    y: &mut [i8],
) {
    let zero = i32::from(affine.zero_point);
    let blocks = units(affine).chunks_exact(affine.units().max(1));
    for ((block, [biases, multipliers]), y) in
        blocks.zip(affine.bias_scales).zip(y.chunks_mut(LANES))
    {
        let mut acc = *biases;
        for (block, x) in block.chunks(RUN).zip(x.chunks(RUN)) {
            add_run(block, x, &mut acc);
        }
        for ((y, acc), &multiplier) in y.iter_mut().zip(acc).zip(multipliers) {
            *y = requantize(acc, multiplier, zero);
        }
    }
}

/// Widens `x` to units of `i16`, padded with zeros; `None` if `wide` is too short.
fn widen<'w>(x: &[i8], wide: &'w mut [u32]) -> Option<&'w [Pairs]> {
    let (words, _) = wide.get_mut(..super::wide_words(x.len()))?.as_chunks_mut::<{ UNIT / 2 }>();
    let units: &mut [Pairs] = bytemuck::cast_slice_mut(words);
    let (front, tail) = x.as_chunks::<UNIT>();
    for (unit, x) in units.iter_mut().zip(front) {
        *unit = x.map(i16::from);
    }
    if let (Some(unit), false) = (units.last_mut(), tail.is_empty()) {
        *unit = core::array::from_fn(|i| tail.get(i).map_or(0, |&x| i16::from(x)));
    }
    Some(units)
}

/// Adds the products of at most [`RUN`] units to `acc`.
#[inline(always)]
fn add_run(block: &[Unit], x: &[Pairs], acc: &mut [i32; LANES]) {
    let mut both = [Sums::default(); LANES / 2];
    let mut even = [Sums::default(); LANES / 2];
    for (unit, x) in block.iter().zip(x) {
        let x = Halves::of(x);
        for ((pairs, both), even) in unit.iter().zip(&mut both).zip(&mut even) {
            let pairs = Halves::of(pairs);
            both.add_products(pairs, x);
            even.add_products(pairs.low_bytes(), x);
        }
    }
    add_sums(both.map(Sums::total), even.map(Sums::total), acc);
}

/// Adds the sums of a run, `256 · Σ odd·x + Σ even·x` and `Σ even·x`, of each pair of outputs.
#[inline(always)]
fn add_sums(both: [i32; LANES / 2], even: [i32; LANES / 2], acc: &mut [i32; LANES]) {
    for ((acc, both), even) in acc.as_chunks_mut::<2>().0.iter_mut().zip(both).zip(even) {
        acc[0] += even;
        acc[1] += (both - even) >> 8;
    }
}

/// SSE2, which every x86-64 has. Compilers do not generate `PMADDWD` for this code.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions")]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_madd_epi16, _mm_setzero_si128, _mm_slli_epi16, _mm_srai_epi16,
    };

    use super::Pairs;

    /// Vector of eight `i16`.
    #[derive(Clone, Copy)]
    pub struct Halves(__m128i);

    impl Halves {
        #[inline(always)]
        pub fn of(halves: &Pairs) -> Self {
            Self(bytemuck::cast(*halves))
        }

        /// Returns the low byte of each element, sign-extended.
        #[inline(always)]
        pub fn low_bytes(self) -> Self {
            // SAFETY: every x86-64 has SSE2.
            Self(unsafe { _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(self.0)) })
        }
    }

    /// Vector of four sums of products.
    #[derive(Clone, Copy)]
    pub struct Sums(__m128i);

    impl Default for Sums {
        #[inline(always)]
        fn default() -> Self {
            // SAFETY: every x86-64 has SSE2.
            Self(unsafe { _mm_setzero_si128() })
        }
    }

    impl Sums {
        #[inline(always)]
        pub fn add_products(&mut self, w: Halves, x: Halves) {
            // SAFETY: every x86-64 has SSE2.
            self.0 = unsafe { _mm_add_epi32(self.0, _mm_madd_epi16(w.0, x.0)) };
        }

        #[inline(always)]
        pub fn total(self) -> i32 {
            bytemuck::cast::<__m128i, [i32; 4]>(self.0).iter().sum()
        }
    }
}

/// Vectors of WebAssembly, in a module that is compiled with them. Compilers do not generate the
/// dot product for this code.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "vector instructions")]
mod simd128 {
    use core::arch::wasm32::{
        i16x8_shl, i16x8_shr, i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane, i32x4_splat, v128,
        v128_load,
    };

    use super::Pairs;

    /// Vector of eight `i16`.
    #[derive(Clone, Copy)]
    pub struct Halves(v128);

    impl Halves {
        #[inline(always)]
        pub fn of(halves: &Pairs) -> Self {
            // SAFETY: eight `i16` are the 16 bytes of a vector, which needs no alignment.
            Self(unsafe { v128_load(halves.as_ptr().cast()) })
        }

        /// Returns the low byte of each element, sign-extended.
        #[inline(always)]
        pub fn low_bytes(self) -> Self {
            Self(i16x8_shr(i16x8_shl(self.0, 8), 8))
        }
    }

    /// Vector of four sums of products.
    #[derive(Clone, Copy)]
    pub struct Sums(v128);

    impl Default for Sums {
        #[inline(always)]
        fn default() -> Self {
            Self(i32x4_splat(0))
        }
    }

    impl Sums {
        #[inline(always)]
        pub fn add_products(&mut self, w: Halves, x: Halves) {
            self.0 = i32x4_add(self.0, i32x4_dot_i16x8(w.0, x.0));
        }

        #[inline(always)]
        pub fn total(self) -> i32 {
            let [a, b, c, d] = [
                i32x4_extract_lane::<0>(self.0),
                i32x4_extract_lane::<1>(self.0),
                i32x4_extract_lane::<2>(self.0),
                i32x4_extract_lane::<3>(self.0),
            ];
            a + b + c + d
        }
    }
}

/// Kernels for other 64-bit processors.
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "wasm32"))))]
mod portable {
    use super::{Pairs, UNIT};

    /// Vector of eight `i16`.
    #[derive(Clone, Copy)]
    pub struct Halves(Pairs);

    impl Halves {
        #[inline(always)]
        pub fn of(halves: &Pairs) -> Self {
            Self(*halves)
        }

        /// Returns the low byte of each element, sign-extended.
        #[inline(always)]
        pub fn low_bytes(self) -> Self {
            Self(self.0.map(|half| i16::from(half as i8)))
        }
    }

    /// Eight sums of products.
    #[derive(Clone, Copy, Default)]
    pub struct Sums([i32; UNIT]);

    impl Sums {
        #[inline(always)]
        pub fn add_products(&mut self, w: Halves, x: Halves) {
            for ((sum, w), x) in self.0.iter_mut().zip(w.0).zip(x.0) {
                *sum += i32::from(w) * i32::from(x);
            }
        }

        #[inline(always)]
        pub fn total(self) -> i32 {
            self.0.iter().sum()
        }
    }
}

/// AVX2, in functions compiled for it: twice the width, and products of `i32`. Its public functions
/// compute nothing and return `false` on a processor without it.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions")]
mod avx2 {
    use core::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_broadcastsi128_si256, _mm256_madd_epi16,
        _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srai_epi16,
    };

    use super::{Affine, Columns, LANES, Pairs, Unit};

    extern crate std;
    use std::is_x86_feature_detected;

    pub fn column(x: &[Pairs], affine: &Affine<'_>, y: &mut [i8]) -> bool {
        #[target_feature(enable = "avx2")]
        fn with(x: &[Pairs], affine: &Affine<'_>, y: &mut [i8]) {
            super::column_by(|block, x, acc| add_run(block, x, acc), x, affine, y);
        }
        let is_there = is_x86_feature_detected!("avx2");
        if is_there {
            // SAFETY: the processor was just found to have AVX2.
            unsafe { with(x, affine, y) }
        }
        is_there
    }

    pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) -> bool {
        #[target_feature(enable = "avx2")]
        fn with(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
            super::depthwise_of(columns, affine, y);
        }
        let is_there = is_x86_feature_detected!("avx2");
        if is_there {
            // SAFETY: the processor was just found to have AVX2.
            unsafe { with(columns, affine, y) }
        }
        is_there
    }

    /// As the function of the same name above, with two pairs of outputs at once.
    #[target_feature(enable = "avx2")]
    fn add_run(block: &[Unit], x: &[Pairs], acc: &mut [i32; LANES]) {
        let mut both = [_mm256_setzero_si256(); LANES / 4];
        let mut even = both;
        for (unit, &x) in block.iter().zip(x) {
            let x = _mm256_broadcastsi128_si256(bytemuck::cast(x));
            let halves: [__m256i; LANES / 4] = bytemuck::cast(*unit);
            for ((pairs, both), even) in halves.into_iter().zip(&mut both).zip(&mut even) {
                let low_bytes = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(pairs));
                *both = _mm256_add_epi32(*both, _mm256_madd_epi16(pairs, x));
                *even = _mm256_add_epi32(*even, _mm256_madd_epi16(low_bytes, x));
            }
        }
        let totals = |sums: [__m256i; LANES / 4]| {
            let sums: [[i32; 4]; LANES / 2] = bytemuck::cast(sums);
            sums.map(|sums| sums.iter().sum())
        };
        super::add_sums(totals(both), totals(even), acc);
    }
}

pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::depthwise(columns, affine, y) {
        return;
    }
    depthwise_of(columns, affine, y);
}

#[inline(always)]
fn depthwise_of(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let channels = usize::from(affine.outputs);
    let groups = taps(affine).chunks_exact((columns.len() * JOINED).max(1));
    let (bias_scales, _) = affine.bias_scales.as_chunks::<JOINED>();
    let whole = y.get_mut(..channels).unwrap_or_default().as_chunks_mut::<{ JOINED * LANES }>().0;
    for (group, ((weights, bias_scales), y)) in groups.zip(bias_scales).zip(&mut *whole).enumerate()
    {
        let mut acc: [[i32; LANES]; JOINED] = bias_scales.map(|[biases, _]| biases);
        for (k, column) in columns.iter().enumerate() {
            let x = column.get(group * JOINED * LANES..).and_then(<[i8]>::first_chunk);
            let x: &[i8; JOINED * LANES] = x.unwrap_or(&[0; JOINED * LANES]);
            for (block, (acc, x)) in acc.iter_mut().zip(x.as_chunks::<LANES>().0).enumerate() {
                let weights = weights.get(block * columns.len() + k).unwrap_or(&[0; LANES]);
                for ((acc, &w), &x) in acc.iter_mut().zip(weights).zip(x) {
                    *acc += i32::from(w) * i32::from(x);
                }
            }
        }
        for ((y, acc), [_, multipliers]) in
            y.as_chunks_mut::<LANES>().0.iter_mut().zip(acc).zip(bias_scales)
        {
            *y = core::array::from_fn(|i| requantize(acc[i], multipliers[i], zero));
        }
    }
    plain::depthwise_from(whole.len() * JOINED, columns, affine, y);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_vectors_agree() {
        let halves = |seed: i32| -> Pairs {
            core::array::from_fn(|i| ((i as i32 + seed) * 7_919 * (seed | 1)) as i16)
        };
        for seed in 0..500 {
            let (w, x) = (halves(seed), halves(-seed).map(|x| i16::from(x as i8)));
            let mut found = sse2::Sums::default();
            let mut expected = portable::Sums::default();
            found.add_products(sse2::Halves::of(&w), sse2::Halves::of(&x));
            found.add_products(sse2::Halves::of(&w).low_bytes(), sse2::Halves::of(&x));
            expected.add_products(portable::Halves::of(&w), portable::Halves::of(&x));
            expected.add_products(portable::Halves::of(&w).low_bytes(), portable::Halves::of(&x));
            assert_eq!(found.total(), expected.total(), "{w:?} {x:?}");
        }
    }
}
