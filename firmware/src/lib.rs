//! The application of every Wakeling board: microphone → pipeline → indicator and event lines.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | sound | [`microphone`] | the board's converter | 16 kHz mono `i16` blocks |
//! | application | [`listener`] | blocks | an indicator that lights, lines that tell |
//! | another model, if the feature `update` is on | `update` | a serial line | a slot of the flash |
//!
//! A board is one small crate under `boards/`: it implements [`microphone::Microphone`], hands over an
//! [`embedded_hal::digital::OutputPin`] and a [`core::fmt::Write`], and calls
//! [`listener::Listener::run`]. All that listens lies in `wakeling-shared`, which the laptop runs too.

#![no_std]
#![forbid(unsafe_code)]

pub mod listener;
pub mod microphone;
#[cfg(feature = "update")]
pub mod update;
