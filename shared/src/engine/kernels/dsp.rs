//! Products of four rows with a column vector, with the DSP instructions of Cortex-M4, M7 and M33.
//!
//! `SXTB16` widens bytes 0 and 2 of a word to two `i16`, or bytes 1 and 3 after a rotation; `SMLAD`
//! adds two products of `i16` to an accumulator: five instructions for four products, load included.
//! `x` is widened once for all rows. The intrinsics of `core::arch` for this are not stable, and
//! `asm!` is. One word of each of the four rows is one piece of it, since registers are scarce: the
//! twelve that `asm!` may have are just enough, and compilers that saw single instructions spilled
//! (1.75 instructions a product instead of 1.36).

#![allow(unsafe_code)]

use core::arch::asm;

use super::{ROWS, dot};

/// Bytes of a word.
const CHUNK: usize = 4;
/// Words that are widened at once; the columns beyond are multiplied one by one.
const WORDS: usize = 64;
/// Words between two looks at the loop's end.
const UNROLLED: usize = 4;

/// Bytes 0 and 2 of a word of `x`, then 1 and 3, as pairs of `i16`.
type Pairs = [u32; 2];

/// Where [`Columns`] widens `x` to: 512 bytes.
pub struct Buffer([Pairs; WORDS]);

impl Buffer {
    pub const fn new() -> Self {
        Self([[0; 2]; WORDS])
    }
}

/// A column vector, ready to be multiplied by rows.
#[derive(Clone, Copy)]
pub struct Columns<'x> {
    x: &'x [i8],
    /// The front of `x`, widened.
    wide: &'x [Pairs],
}

impl<'x> Columns<'x> {
    pub fn new(x: &'x [i8], Buffer(buffer): &'x mut Buffer) -> Self {
        let words = x.as_chunks::<CHUNK>().0;
        for (pairs, &word) in buffer.iter_mut().zip(words) {
            *pairs = widen(u32::from_le_bytes(word.map(|x| x as u8)));
        }
        Self { x, wide: buffer.get(..words.len()).unwrap_or(buffer) }
    }

    /// `Σᵢ w[r,i]·x[i]` of the rows that lie one after another in `block`.
    #[inline(always)]
    pub fn dot_rows(self, block: &[u8]) -> [i32; ROWS] {
        let Self { x, wide } = self;
        let mut acc = dot_wide(wide, block, x.len());
        let rest = x.get(CHUNK * wide.len()..).unwrap_or_default();
        if !rest.is_empty() {
            for (acc, row) in acc.iter_mut().zip(block.chunks_exact(x.len())) {
                *acc += dot(row.get(CHUNK * wide.len()..).unwrap_or_default(), rest);
            }
        }
        acc
    }
}

/// Widens a word's bytes 0 and 2, then 1 and 3.
#[inline(always)]
fn widen(word: u32) -> Pairs {
    let (even, odd);
    // SAFETY: both instructions only read and write the registers named, and exist where build.rs
    // chose this file.
    unsafe {
        asm!(
            "sxtb16 {even}, {word}",
            "sxtb16 {odd}, {word}, ror #8",
            even = out(reg) even,
            odd = lateout(reg) odd,
            word = in(reg) word,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [even, odd]
}

/// One word of each row, from the last row to the first, times one of `x`; then both pointers go on.
/// A row is loaded one instruction before it is used, so that the load does not stall.
macro_rules! word {
    () => {
        concat!(
            "ldr {w}, [{row}, {three}]\n",
            "ldrd {even}, {odd}, [{x}], #8\n",
            "sxtb16 {v}, {w}\n",
            "smlad {d}, {v}, {even}, {d}\n",
            "sxtb16 {w}, {w}, ror #8\n",
            "ldr {v}, [{row}, {width}, lsl #1]\n",
            "smlad {d}, {w}, {odd}, {d}\n",
            "sxtb16 {w}, {v}\n",
            "smlad {c}, {w}, {even}, {c}\n",
            "sxtb16 {v}, {v}, ror #8\n",
            "ldr {w}, [{row}, {width}]\n",
            "smlad {c}, {v}, {odd}, {c}\n",
            "sxtb16 {v}, {w}\n",
            "smlad {b}, {v}, {even}, {b}\n",
            "sxtb16 {w}, {w}, ror #8\n",
            "ldr {v}, [{row}], #4\n",
            "smlad {b}, {w}, {odd}, {b}\n",
            "sxtb16 {w}, {v}\n",
            "smlad {a}, {w}, {even}, {a}\n",
            "sxtb16 {v}, {v}, ror #8\n",
            "smlad {a}, {v}, {odd}, {a}",
        )
    };
}

/// The first `CHUNK · x.len()` columns of four rows of `width`, times `x`; zeros if the rows are
/// shorter, which the loader excludes.
#[inline(never)]
fn dot_wide(x: &[Pairs], block: &[u8], width: usize) -> [i32; ROWS] {
    let [mut a, mut b, mut c, mut d] = [0i32; ROWS];
    if width / CHUNK < x.len() || block.len() / ROWS < width {
        return [a, b, c, d];
    }
    let mut x_at = x.as_ptr();
    let mut row = block.as_ptr();
    macro_rules! multiply {
        ($($word:expr),*) => {
            // SAFETY: each word reads 8 bytes at `x_at` and 4 bytes at `row + k·width`, k = 0…3, and
            // moves `x_at` by 8 and `row` by 4 bytes. The loops below come to `x.len()` words in all:
            // the reads of `x` end with `x`, and those of `block` within `3·width + 4·x.len()`, which
            // the check above bounds by `4·width` and that by `block.len()`. `LDRD` wants `x` aligned
            // to 4, which u32 is; `LDR` takes any address. Nothing is written to memory. `SMLAD` may
            // set the Q flag, which no option claims to be kept.
            unsafe {
                asm!(
                    $($word),*,
                    a = inout(reg) a,
                    b = inout(reg) b,
                    c = inout(reg) c,
                    d = inout(reg) d,
                    x = inout(reg) x_at,
                    row = inout(reg) row,
                    width = in(reg) width,
                    three = in(reg) 3 * width,
                    even = out(reg) _,
                    odd = out(reg) _,
                    v = out(reg) _,
                    w = out(reg) _,
                    options(pure, readonly, nostack)
                );
            }
        };
    }
    for _ in 0..x.len() / UNROLLED {
        multiply!(word!(), word!(), word!(), word!());
    }
    for _ in 0..x.len() % UNROLLED {
        multiply!(word!());
    }
    [a, b, c, d]
}
