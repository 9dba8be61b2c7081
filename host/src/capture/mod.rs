//! Microphones, and recordings made with them.
//!
//! microphone → 16 kHz mono → level, ring, take → folder with a manifest. Levels, phrase
//! boundaries, verdicts on takes and the order of takes are computed without a device. [`device`]
//! is the narrow interface to one, and `system` implements it with cpal if the program was built
//! with the feature `audio`.

pub(crate) mod activity;
pub mod device;
pub mod folder;
pub mod level;
pub mod record;
pub mod ring;
#[cfg(feature = "audio")]
mod silence;
#[cfg(feature = "audio")]
mod system;
pub mod take;

#[cfg(feature = "audio")]
pub use system::{DefaultLoudspeaker, microphones, open};
#[cfg(not(feature = "audio"))]
pub use without::{DefaultLoudspeaker, microphones, open};

#[cfg(not(feature = "audio"))]
mod without {
    use super::device::{Found, Loudspeaker, Microphone, Wanted};
    use crate::{Error, Result};

    fn missing<T>() -> Result<T> {
        Err(Error::device(
            "microphone",
            "this program was built without sound",
            "build it with the feature `audio`, which is on by default: ./x build",
        ))
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
