#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod device;
mod error;
pub mod folder;
pub mod live;
pub mod record;
pub mod ring;
#[cfg(feature = "microphone")]
mod silence;
#[cfg(feature = "microphone")]
mod system;
pub mod take;
pub mod terminal;
pub mod view;

pub use error::{Error, Obstacle, Result};

#[cfg(feature = "microphone")]
pub use system::{DefaultLoudspeaker, microphones, open};
#[cfg(not(feature = "microphone"))]
pub use without::{DefaultLoudspeaker, microphones, open};

#[cfg(not(feature = "microphone"))]
mod without {
    use super::device::{Found, Loudspeaker, Microphone, Wanted};
    use super::{Error, Result};

    fn missing<T>() -> Result<T> {
        Err(Error::WithoutSound)
    }

    /// Lists the microphones of the system.
    ///
    /// # Errors
    /// Always, since this build has no sound.
    pub fn microphones() -> Result<Vec<Found>> {
        missing()
    }

    /// Opens a microphone.
    ///
    /// # Errors
    /// Always, since this build has no sound.
    pub fn open(_: &Wanted) -> Result<Box<dyn Microphone>> {
        missing()
    }

    /// Default loudspeaker of the system.
    pub struct DefaultLoudspeaker;

    impl Loudspeaker for DefaultLoudspeaker {
        fn play(&mut self, _: &[i16]) -> Result<()> {
            missing()
        }
    }
}
