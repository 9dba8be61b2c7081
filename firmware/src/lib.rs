//! The application of every Wakeling board: microphone → pipeline → indicator and event lines.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | conversion, where the chip has none | [`cic`], [`convert`] | bits, slots, voltages | 16 kHz mono `i16` |
//! | queue | [`blocks`] | what an interrupt fills | blocks in the loop |
//! | sound | [`microphone`] | whatever delivers samples | 16 kHz mono `i16` blocks |
//! | loop | [`listener`] | blocks | an indicator that lights, lines that tell |
//! | outputs | [`outputs`] | one indicator, one sink | a lamp and a pin, a UART and a log |
//! | application | [`application`] | a board's flash, microphone, outputs, watchdog | all of the above |
//! | another model, if the feature `update` is on | `update` | a serial line | a slot of the flash, and the application that starts from it |
//!
//! A board is one small crate under `boards/`: it implements [`microphone::Microphone`], hands over an
//! [`embedded_hal::digital::OutputPin`] and a [`core::fmt::Write`], and calls
//! [`application::run`], or `update::run` if it has slots. All that listens lies in `wakeling-shared`, which the laptop runs too.

#![no_std]
#![forbid(unsafe_code)]

pub mod application;
pub mod blocks;
pub mod cic;
pub mod convert;
pub mod listener;
pub mod microphone;
pub mod outputs;
#[cfg(feature = "update")]
pub mod update;
