//! Base-2 logarithms of integers, by leading zeros, a table of 33 entries and interpolation.

/// Number of bits that index the segments of an octave in the table.
const SEGMENT_BITS: u32 = 5;
const SEGMENTS: usize = 1 << SEGMENT_BITS;
/// Number of fractional bits of the table.
pub(super) const LOG_BITS: u32 = 16;

/// `round(2¹⁶ · log₂(1 + i/32))`.
static LOG2: [u32; SEGMENTS + 1] = log2_table();

const fn log2_table() -> [u32; SEGMENTS + 1] {
    const FRACTION_BITS: u32 = 24;
    let mut table = [0; SEGMENTS + 1];
    let mut i = 0;
    while i < SEGMENTS {
        // Squaring a number in [1, 2) yields its logarithm bit by bit: each square at or above 2 is
        // a one.
        let mut x = ((SEGMENTS + i) as u128) << (62 - SEGMENT_BITS);
        let mut log = 0u32;
        let mut bit = 0;
        while bit < FRACTION_BITS {
            x = (x * x) >> 62;
            log <<= 1;
            if x >> 63 != 0 {
                x >>= 1;
                log |= 1;
            }
            bit += 1;
        }
        table[i] = (log + (1 << (FRACTION_BITS - LOG_BITS - 1))) >> (FRACTION_BITS - LOG_BITS);
        i += 1;
    }
    table[SEGMENTS] = 1 << LOG_BITS;
    table
}

/// Returns `log₂(x)` in Q16; 0 for 0. Monotone; the error is below 1/5,000 octave.
pub(super) fn log2_q16(x: u64) -> u32 {
    let (high, low) = ((x >> 32) as u32, x as u32);
    // The leading one and the 31 bits below it. Words, since most devices have no wider shifts.
    let (octave, leading) = if high != 0 {
        let zeros = high.leading_zeros();
        (63 - zeros, high << zeros | (low >> 1) >> (31 - zeros))
    } else if low != 0 {
        (31 - low.leading_zeros(), low << low.leading_zeros())
    } else {
        return 0;
    };
    let segment = (leading >> (31 - SEGMENT_BITS)) as usize % SEGMENTS;
    let position = (leading >> (15 - SEGMENT_BITS)) & 0xFFFF;
    let (a, b) = (LOG2[segment], LOG2[segment + 1]);
    (octave << LOG_BITS) + a + (((b - a) * position) >> 16)
}

/// Returns `log₂(x)` in Q8, rounded to nearest; 0 for 0. The result is between 0 and 16,384.
///
/// Monotone; the absolute error is below 0.6/256 octave.
pub fn log2_q8(x: u64) -> i32 {
    ((log2_q16(x) + (1 << (LOG_BITS - 9))) >> (LOG_BITS - 8)) as i32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn the_table_is_the_logarithm() {
        for (i, &found) in LOG2.iter().enumerate() {
            let exact = (1.0 + i as f64 / SEGMENTS as f64).log2() * 65_536.0;
            assert!((f64::from(found) - exact).abs() <= 0.51, "{i}: {found} {exact}");
        }
    }

    #[test]
    fn the_logarithm_is_close_and_monotone() {
        let (mut worst, mut worst_fine, mut last) = (0f64, 0f64, 0);
        let mut check = |x: u64, last: i32| {
            let exact = (x as f64).log2();
            let found = log2_q8(x);
            worst = worst.max((f64::from(found) - 256.0 * exact).abs());
            worst_fine = worst_fine.max((f64::from(log2_q16(x)) / 65_536.0 - exact).abs());
            assert!(found >= last, "{x}");
            found
        };
        for x in 1..200_000 {
            last = check(x, last);
        }
        let mut x = 200_000u64;
        while x < u64::MAX / 2 {
            last = check(x, last);
            x += x / 997;
        }
        check(u64::MAX, last);
        std::println!("log2_q8 error {worst}/256 octave, log2_q16 error {worst_fine} octave");
        assert!(worst < 0.6, "{worst}");
        assert!(worst_fine < 1.0 / 5_000.0, "{worst_fine}");
        assert_eq!((log2_q8(0), log2_q8(1), log2_q8(2), log2_q8(u64::MAX)), (0, 0, 256, 16_384));
    }
}
