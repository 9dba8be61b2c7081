//! Products of four rows with a column vector, for laptops: compilers make vectors of a row at a time,
//! and multiply pairs of `i16` once `x` is widened to them.

use core::array;

use super::{ROWS, dot};

/// Columns that are widened at once; the columns beyond are multiplied as they are.
const COLUMNS: usize = 256;

/// Where [`Columns`] widens `x` to.
pub struct Buffer([i16; COLUMNS]);

impl Buffer {
    pub const fn new() -> Self {
        Self([0; COLUMNS])
    }
}

/// A column vector, ready to be multiplied by rows.
#[derive(Clone, Copy)]
pub struct Columns<'x> {
    /// The front of the vector.
    wide: &'x [i16],
    rest: &'x [i8],
}

impl<'x> Columns<'x> {
    pub fn new(x: &'x [i8], Buffer(buffer): &'x mut Buffer) -> Self {
        let (front, rest) = x.split_at(x.len().min(COLUMNS));
        for (wide, &x) in buffer.iter_mut().zip(front) {
            *wide = i16::from(x);
        }
        Self { wide: buffer.get(..front.len()).unwrap_or_default(), rest }
    }

    /// `Σᵢ w[r,i]·x[i]` of the rows that lie one after another in `block`.
    #[inline(always)]
    pub fn dot_rows(self, block: &[u8]) -> [i32; ROWS] {
        let Self { wide, rest } = self;
        let mut rows = block.chunks_exact((wide.len() + rest.len()).max(1));
        array::from_fn(|_| {
            let row = rows.next().unwrap_or_default();
            let (front, back) = row.split_at_checked(wide.len()).unwrap_or_default();
            dot_wide(front, wide) + if rest.is_empty() { 0 } else { dot(back, rest) }
        })
    }
}

#[inline(always)]
fn dot_wide(w: &[u8], x: &[i16]) -> i32 {
    w.iter().zip(x).map(|(&w, &x)| i32::from(w as i8) * i32::from(x)).sum()
}
