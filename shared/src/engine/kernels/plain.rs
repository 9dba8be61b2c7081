//! Products of four rows with a column vector, for processors of 32 bits without more to offer.

use core::array;

use super::{ROWS, dot};

/// Columns between two looks at the loop's end.
const CHUNK: usize = 16;

/// What [`Columns`] keeps beside `x`: nothing.
pub struct Buffer;

impl Buffer {
    pub const fn new() -> Self {
        Self
    }
}

/// A column vector, ready to be multiplied by rows.
#[derive(Clone, Copy)]
pub struct Columns<'x>(&'x [i8]);

impl<'x> Columns<'x> {
    pub fn new(x: &'x [i8], _: &'x mut Buffer) -> Self {
        Self(x)
    }

    /// `Σᵢ w[r,i]·x[i]` of the rows that lie one after another in `block`.
    #[inline(always)]
    pub fn dot_rows(self, block: &[u8]) -> [i32; ROWS] {
        let Self(x) = self;
        let mut rest = block.chunks_exact(x.len().max(1));
        let rows: [&[u8]; ROWS] = array::from_fn(|_| rest.next().unwrap_or_default());
        let [a, b, c, d] = rows;
        let ([a, b], [c, d]) = (dot_two(a, b, x), dot_two(c, d, x));
        [a, b, c, d]
    }
}

/// Two rows share what was loaded of `x`; with more, the registers of a Cortex-M do not last.
#[inline(never)]
fn dot_two(a: &[u8], b: &[u8], x: &[i8]) -> [i32; 2] {
    let [(a, a_tail), (b, b_tail)] = [a, b].map(<[u8]>::as_chunks::<CHUNK>);
    let (columns, x_tail) = x.as_chunks::<CHUNK>();
    let mut acc = [0; 2];
    for ((x, a), b) in columns.iter().zip(a).zip(b) {
        for ((&x, &a), &b) in x.iter().zip(a).zip(b) {
            acc[0] += i32::from(a as i8) * i32::from(x);
            acc[1] += i32::from(b as i8) * i32::from(x);
        }
    }
    [acc[0] + dot(a_tail, x_tail), acc[1] + dot(b_tail, x_tail)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_rows_equal_single_rows() {
        let bytes: [u8; 256] = array::from_fn(|i| (i * i * 29 + i * 3 + 128) as u8);
        let x: [i8; 64] = array::from_fn(|i| (i * i * 41 + 128) as u8 as i8);
        for width in 1..=x.len() {
            let (block, x) = (&bytes[..ROWS * width], &x[..width]);
            let expected = array::from_fn(|r| dot(&block[r * width..][..width], x));
            assert_eq!(Columns::new(x, &mut Buffer::new()).dot_rows(block), expected, "{width}");
        }
    }
}
