//! The microphone, and what people record with it.
//!
//! microphone → 16 kHz mono → level, ring, take → folder with a manifest. What decides (levels,
//! where a phrase begins and ends, what stands against a take, which take is next) is pure and knows
//! no device; [`device`] is the narrow door to one, and `system` opens it with cpal where the
//! program was built with the feature `audio`.

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

    /// The microphones of the system.
    ///
    /// # Errors
    /// Always: there is no sound in this build.
    pub fn microphones() -> Result<Vec<Found>> {
        missing()
    }

    /// Opens a microphone.
    ///
    /// # Errors
    /// Always: there is no sound in this build.
    pub fn open(_: &Wanted) -> Result<Box<dyn Microphone>> {
        missing()
    }

    /// The system's default loudspeaker.
    pub struct DefaultLoudspeaker;

    impl Loudspeaker for DefaultLoudspeaker {
        fn play(&mut self, _: &[i16]) -> Result<()> {
            missing()
        }
    }
}
