//! The program's commands, one file each.

pub mod pretrain;
pub mod simulate;
