//! Kernels with the vectors of Armv8.1-M (Cortex-M52, M55, M85), in assembly. The intrinsics are
//! not stable, and compilers do not vectorize plain code with this packing.
//!
//! | kernel | at once | instructions |
//! |---|---|---|
//! | [`pointwise`](self::pointwise) | 8 outputs × 8 inputs × 1 column | 14, and 26 for outputs |
//! | | 4 outputs × 8 inputs × 1 column, where those do not fit | 9, and 19 for outputs |
//! | | 2 outputs × 16 inputs × 4 columns | 19, and 34 for outputs |
//! | [`depthwise`] | 8 channels × 1 tap | 6, and 14 for outputs; 9 and 19 for over 9 taps |
//! | [`add`] | 4 elements | 8 |
//!
//! Where the elements do not fill whole vectors, the last pass of a loop is masked (`DLSTP`,
//! `LETP`): its loads beyond the end return 0.

#![allow(unsafe_code, reason = "vector instructions of Armv8.1-M")]

/// Puts four addresses into `$vector`: `$a`, `$b`, and both with `$apart` added, to which they
/// move.
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

use super::{AddScales, Affine, BiasScale, LANES, RUN, UNIT, UNIT_WORDS, plain};
