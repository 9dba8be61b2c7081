//! Errors of [`FrontendParams::validate`](super::FrontendParams::validate).

use core::fmt;

use crate::decimal::{Decimal, Verbatim};

/// Reason for which feature parameters are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontendError {
    /// A table has the wrong number of bytes.
    TableBytes {
        /// Name of the table.
        table: &'static str,
        /// Number of bytes expected.
        expected: usize,
        /// Number of bytes found.
        found: usize,
    },
    /// A mel band starts outside bins 1…256, or before the band below it.
    MelStart {
        /// Index in the table.
        index: usize,
        /// Bin at this index.
        bin: u16,
    },
    /// A mel weight exceeds 4,096, which represents 1.
    MelWeight {
        /// Index in the table.
        index: usize,
        /// Weight at this index.
        weight: u16,
    },
    /// A parameter of the normalization is out of its range.
    Range {
        /// Name of the parameter.
        parameter: &'static str,
        /// Value of the parameter.
        found: u64,
        /// Largest value allowed.
        largest: u64,
    },
    /// The scale of the quantizer is zero, which would make every feature equal.
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
