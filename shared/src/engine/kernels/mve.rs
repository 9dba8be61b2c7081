//! The kernels with the vectors of Armv8.1-M (Cortex-M52, M55, M85), in assembly: their intrinsics are
//! not stable, and compilers do not find them in plain code of this packing.
//!
//! | kernel | at once | instructions |
//! |---|---|---|
//! | [`pointwise`](self::pointwise) | 8 outputs × 8 inputs × 1 column | 14, and 26 for the outputs |
//! | | 4 outputs × 8 inputs × 1 column, where those do not fit | 9, and 19 for the outputs |
//! | | 2 outputs × 16 inputs × 4 columns | 19, and 34 for the outputs |
//! | [`depthwise`] | 8 channels × 1 tap | 6, and 14 for the outputs; 9 and 19 if taps are more than 9 |
//! | [`add`] | 4 elements | 8 |
//!
//! Loops whose number of elements fits no vector end in one that is masked (`DLSTP`, `LETP`): what it
//! loads beyond the end is 0.

#![allow(unsafe_code, reason = "vector instructions of Armv8.1-M")]

/// Puts four addresses into `$vector`: `$a` and `$b`, and both with `$apart` added, to which they are moved.
#[rustfmt::skip]
macro_rules! four_addresses {
    ($vector:literal, $a:literal, $b:literal, $apart:literal) => {
        concat!(
            "vmov ", $vector, "[2], ", $vector, "[0], ", $a, ", ", $b, "\n",
            "add.w ", $a, ", ", $a, ", ", $apart, "\n",
            "add.w ", $b, ", ", $b, ", ", $apart, "\n",
            "vmov ", $vector, "[3], ", $vector, "[1], ", $a, ", ", $b, "\n",
        )
    };
}

mod add;
mod depthwise;
mod eight;
mod gather;
mod pointwise;
mod quads;

pub use add::add;
pub use depthwise::{depthwise, depthwise_places};
pub use gather::gather_rows;
pub use pointwise::{pointwise, pointwise_column};
pub use quads::wide_words;

use super::{AddScales, Affine, Factors, LANES, RUN, UNIT, UNIT_WORDS, plain};
