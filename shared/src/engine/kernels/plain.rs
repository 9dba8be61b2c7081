//! Products of four rows with a column vector, in plain Rust.

use core::array;

use super::{ROWS, dot};

/// Columns between two looks at the loop's end.
const CHUNK: usize = 4;

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
        // A processor of 64 bits has vectors, and compilers make them of a row at a time.
        if cfg!(target_pointer_width = "64") {
            rows.map(|row| dot(row, x))
        } else {
            dot_interleaved(rows, x)
        }
    }
}

/// The rows share what was loaded of `x`.
fn dot_interleaved(rows: [&[u8]; ROWS], x: &[i8]) -> [i32; ROWS] {
    let [a, b, c, d] = rows.map(<[u8]>::as_chunks::<CHUNK>);
    let (columns, x_tail) = x.as_chunks::<CHUNK>();
    let mut acc = [0; ROWS];
    for ((((x, a), b), c), d) in columns.iter().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
        for (acc, w) in acc.iter_mut().zip([a, b, c, d]) {
            *acc += dot(w, x);
        }
    }
    for (acc, w) in acc.iter_mut().zip([a.1, b.1, c.1, d.1]) {
        *acc += dot(w, x_tail);
    }
    acc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_rows_equal_single_rows() {
        let bytes: [u8; 256] = array::from_fn(|i| (i * i * 29 + i * 3 + 128) as u8);
        let x: [i8; 64] = array::from_fn(|i| (i * i * 41 + 128) as u8 as i8);
        for width in 0..x.len() {
            let (rows, x) = (array::from_fn(|r| &bytes[r * width..][..width]), &x[..width]);
            assert_eq!(dot_interleaved(rows, x), rows.map(|row| dot(row, x)), "{width}");
        }
    }
}
