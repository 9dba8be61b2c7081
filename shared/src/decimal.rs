//! Small replacements for the formatting of `core::fmt`. An implementation per integer type and a
//! 64-bit division take 2 KB of flash; padding and hexadecimal numbers take another 1.3 KB that no
//! output here uses.

use core::fmt::{self, Display, Formatter};

/// Divisor that takes off several digits at once: 10,000 · 2¹⁶ fits 32 bits.
const GROUP: u32 = 10_000;
const GROUP_DIGITS: usize = 4;
/// 2⁶³ has 19 digits. With a sign, rounded up to a whole number of groups.
const LONGEST: usize = 21;

/// Integer that prints as with `{}`; ignores the requested width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(pub i64);

impl Decimal {
    /// Converts an integer; saturates at the largest `i64` where it does not fit.
    pub fn of<T: TryInto<i64>>(count: T) -> Self {
        Self(count.try_into().unwrap_or(i64::MAX))
    }
}

/// Integer that prints as with `{:#x}`; ignores the requested width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hexadecimal(pub u32);

/// Text that prints as with `{}`; ignores the requested width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verbatim<'a>(pub &'a str);

impl Display for Hexadecimal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let &Self(number) = self;
        f.write_str("0x")?;
        let digits = (u32::BITS - number.leading_zeros()).div_ceil(4).max(1);
        (0..digits).rev().try_for_each(|at| {
            let digit = (number >> (4 * at) & 0xF) as u8;
            let letter = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
            fmt::Write::write_char(f, char::from(letter))
        })
    }
}

impl Display for Verbatim<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Display for Decimal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut left = self.0.unsigned_abs();
        let mut text = [b'0'; LONGEST];
        let mut end = LONGEST;
        // Groups and their digits are written from the last to the first.
        while left > 0 && end >= GROUP_DIGITS {
            let mut group = divide(&mut left);
            for digit in text.iter_mut().take(end).rev().take(GROUP_DIGITS) {
                *digit = b'0' + (group % 10) as u8;
                group /= 10;
            }
            end -= GROUP_DIGITS;
        }
        let last = LONGEST - 1;
        let first = text.iter().position(|&digit| digit != b'0').unwrap_or(last);
        let start = if self.0 < 0 { first.saturating_sub(1) } else { first };
        if let (true, Some(sign)) = (self.0 < 0, text.get_mut(start)) {
            *sign = b'-';
        }
        let digits = text.get(start..).unwrap_or_default();
        digits.iter().try_for_each(|&digit| fmt::Write::write_char(f, char::from(digit)))
    }
}

/// Divides `number` by [`GROUP`], 16 bits at a time, and returns the remainder.
fn divide(number: &mut u64) -> u32 {
    let mut remainder = 0;
    let mut quotient = 0;
    for shift in [48, 32, 16, 0] {
        let part = remainder << 16 | (*number >> shift) as u32 & 0xFFFF;
        quotient |= u64::from(part / GROUP) << shift;
        remainder = part % GROUP;
    }
    *number = quotient;
    remainder
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn prints_what_the_standard_library_prints() {
        let mut number = 1i64;
        for _ in 0..400 {
            for n in [number, -number, number.wrapping_add(1), number % 100_000, number % 10] {
                assert_eq!(Decimal(n).to_string(), n.to_string());
            }
            number = number.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ (number >> 7);
        }
        for n in [0, 9, 10, 9_999, 10_000, 100_000_000, i64::MAX, i64::MIN, -1] {
            assert_eq!(Decimal(n).to_string(), n.to_string());
        }
        assert_eq!(Decimal::of(u64::MAX), Decimal(i64::MAX));
        for n in [0, 1, 9, 10, 15, 16, 0x0010_0000, 0x1234_5678, 0x9ABC_DEF0, u32::MAX] {
            assert_eq!(Hexadecimal(n).to_string(), std::format!("{n:#x}"));
        }
        assert_eq!(Verbatim("a ü").to_string(), "a ü");
    }
}
