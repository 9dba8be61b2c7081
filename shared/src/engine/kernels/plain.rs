//! Products of four rows with a column vector, in plain Rust.

use core::array;

use super::{ROWS, dot};

/// Columns between two looks at the loop's end.
const CHUNK: usize = 4;

/// What [`Columns`] keeps beside `x`: nothing.
#[derive(Default)]
pub struct Buffer;

/// A column vector, ready to be multiplied by rows.
#[derive(Clone, Copy)]
pub struct Columns<'x>(&'x [i8]);

impl<'x> Columns<'x> {
    pub fn new(x: &'x [i8], _: &'x mut Buffer) -> Self {
        Self(x)
    }

    /// `Σᵢ w[r,i]·x[i]` of the rows that lie one after another in `block`. A processor of 32 bits shares what it loads of `x` among the
    /// rows; a larger one has vectors, and a row at a time is what compilers turn into them.
    #[inline(always)]
    pub fn dot_rows(self, block: &[u8]) -> [i32; ROWS] {
        let Self(x) = self;
        let mut rest = block.chunks_exact(x.len().max(1));
        let rows: [&[u8]; ROWS] = array::from_fn(|_| rest.next().unwrap_or_default());
        if cfg!(target_pointer_width = "64") {
            return rows.map(|row| dot(row, x));
        }
        let [a, b, c, d] = rows.map(<[u8]>::as_chunks::<CHUNK>);
        let (columns, x_tail) = x.as_chunks::<CHUNK>();
        let mut acc = [0; ROWS];
        let chunks = columns.iter().zip(a.0).zip(b.0).zip(c.0).zip(d.0);
        for ((((x, a), b), c), d) in chunks {
            for (acc, w) in acc.iter_mut().zip([a, b, c, d]) {
                *acc += dot(w, x);
            }
        }
        for (acc, w) in acc.iter_mut().zip([a.1, b.1, c.1, d.1]) {
            *acc += dot(w, x_tail);
        }
        acc
    }
}
