//! The application of every Wakeling board: microphone → pipeline → indicator and event lines.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | conversion, if needed | [`cic`], [`convert`] | bits, slots, voltages | 16 kHz `i16` |
//! | queue | [`blocks`] | blocks that an interrupt fills | blocks in the loop |
//! | sound | [`microphone`] | any source of samples | 16 kHz mono `i16` blocks |
//! | model | [`check`] | its bytes in flash | whether they are those that were written |
//! | loop | [`listener`] | blocks | indicator and event lines |
//! | outputs | [`outputs`] | one indicator, one sink | an LED and a pin, a UART and a log |
//! | application | [`application`] | flash, microphone, outputs, watchdog | all of the above |
//! | enrollment by a button | [`button`] | level of a button | requests, and the level of the indicator |
//! | updates, a feature | `update` | a serial line | a slot, and the application |
//!
//! A board is one small crate under `boards/`. It implements [`microphone::Microphone`], supplies
//! an [`embedded_hal::digital::OutputPin`] and a [`core::fmt::Write`], and calls
//! [`application::run`], or `update::run` if it has slots. The detection itself is in
//! `wakeling-shared`, which the laptop runs too.

#![no_std]
#![forbid(unsafe_code)]

pub mod application;
pub mod blocks;
pub mod button;
pub mod check;
pub mod cic;
pub mod convert;
pub mod listener;
pub mod microphone;
pub mod outputs;
#[cfg(feature = "update")]
pub mod update;
