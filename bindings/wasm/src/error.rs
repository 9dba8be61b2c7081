//! Numbers of the reasons for which a model is rejected.

use wakeling_shared::model::LoadError;

/// Number for a model whose arena does not fit into the memory of the page.
pub const NO_MEMORY: u32 = 1;
/// Number for a call of `load` without a file, or with a model loaded already.
pub const NO_FILE: u32 = 2;

/// Returns the number of a [`LoadError`], from 3 on. The package has a name for each.
pub const fn code(error: &LoadError) -> u32 {
    match error {
        LoadError::Truncated { .. } => 3,
        LoadError::Magic => 4,
        LoadError::Version { .. } => 5,
        LoadError::Flags { .. } => 6,
        LoadError::Kind { .. } => 7,
        LoadError::Alignment { .. } => 8,
        LoadError::Lengths => 9,
        LoadError::Checksum { .. } => 10,
        LoadError::Body => 11,
        LoadError::Trailing { .. } => 12,
        LoadError::Arrays { .. } => 13,
        LoadError::Shape(_) => 14,
    }
}
