//! The device flow of Wakeling, run unchanged by trainer, simulator and firmware:
//! audio → features → network → smoothing → detection.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | model file | [`artifact`] | bytes in flash | a checked [`artifact::Model`] that borrows them |
//! | features | [`frontend`] | 16 kHz mono `i16` | 40 mel features `i8` every 10 ms |
//! | gate, if the model has one | [`gate`] | features of one step | whether the network runs |
//! | network | [`engine`] | features of one step | one logit a word, `i16` in Q8 |
//! | decision | [`detector`] | logits | detections |
//! | all of it | [`pipeline`] | PCM blocks of any length | steps and detections |
//! | health | [`fault`] | PCM | what is wrong with the microphone, told when it changes |
//! | report | [`events`] | steps and detections | the lines that a device prints |
//! | flight recorder, if a device wants one | [`recorder`] | features and decisions | windows around the last events |
//! | learning a word on the device | [`enroll`] | five utterances | weights of a prototype head |
//! | another model, if the feature `update` is on | `update` | bytes of a serial line | a slot in flash |
//!
//! Integer arithmetic only, no allocation, no clock, no I/O: the same samples give the same bytes on
//! every processor. Nothing panics after [`artifact::Model::load`] has accepted a file.

#![no_std]
#![deny(unsafe_code)]

/// Allows the instructions where the architecture has them as an option: compilers do not tell the
/// assembler of whole functions what `target-cpu` said.
#[cfg(wakeling_dsp_is_optional)]
#[allow(unused_macros)]
macro_rules! allow_dsp {
    () => {
        ".cpu cortex-m33"
    };
}
#[cfg(not(wakeling_dsp_is_optional))]
#[allow(unused_macros)]
macro_rules! allow_dsp {
    () => {
        ""
    };
}

pub mod artifact;
pub mod decimal;
pub mod detector;
pub mod engine;
pub mod enroll;
pub mod events;
pub mod fault;
pub mod fixed;
pub mod frontend;
pub mod gate;
pub mod pipeline;
pub mod recorder;
#[cfg(feature = "update")]
pub mod update;
