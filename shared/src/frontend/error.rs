//! What [`FrontendParams::validate`](super::FrontendParams::validate) refuses.

use core::fmt;

use crate::decimal::{Decimal, Verbatim};

/// Why feature parameters were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontendError {
    /// A table has the wrong number of bytes.
    TableBytes {
        /// Which table.
        table: &'static str,
        /// The bytes it should have.
        expected: usize,
        /// The bytes it has.
        found: usize,
    },
    /// A mel band starts outside bins 1…256, or before the band under it.
    MelStart {
        /// Position in the table.
        index: usize,
        /// The bin there.
        bin: u16,
    },
    /// A mel weight exceeds 4,096, which stands for 1.
    MelWeight {
        /// Position in the table.
        index: usize,
        /// The weight there.
        weight: u16,
    },
    /// A parameter of the normalization is out of its range.
    Range {
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        found: u64,
        /// The largest value allowed.
        largest: u64,
    },
    /// A scale of zero would make every feature equal.
    ZeroScale,
}

impl fmt::Display for FrontendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = Decimal::of::<u64>;
        match *self {
            Self::TableBytes { table, expected, found } => {
                let [expected, found] = [Decimal::of(expected), Decimal::of(found)];
                let table = Verbatim(table);
                write!(f, "the {table} table has {found} bytes instead of {expected}")
            }
            Self::MelStart { index, bin } => {
                let [index, bin] = [Decimal::of(index), Decimal::of(bin)];
                write!(f, "mel band {index} starts at bin {bin}, out of order or outside 1 to 256")
            }
            Self::MelWeight { index, weight } => {
                let [index, weight] = [Decimal::of(index), Decimal::of(weight)];
                write!(f, "mel weight {index} is {weight}, above 4096")
            }
            Self::Range { parameter, found, largest } => {
                let [found, largest] = [number(found), number(largest)];
                let parameter = Verbatim(parameter);
                write!(f, "{parameter} is {found}, above {largest}")
            }
            Self::ZeroScale => write!(f, "the feature scale is zero"),
        }
    }
}

impl core::error::Error for FrontendError {}
