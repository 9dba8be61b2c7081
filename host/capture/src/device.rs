//! Interfaces of a microphone and a loudspeaker for the rest of the program.

use std::time::Duration;

use crate::{Error, Result};

/// Open microphone. Sound is 16 kHz mono, whatever the device gives.
pub trait Microphone {
    /// Returns the name for display.
    fn name(&self) -> &str;

    /// Returns all sound since the last call. Waits up to `patience` for some; empty if none
    /// arrives.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the device is gone, [`Error::NoSamples`] if it gives no sound for seconds.
    fn read(&mut self, patience: Duration) -> Result<Vec<i16>>;

    /// Returns true if sound was lost since the last call because the system was too busy.
    fn has_gaps(&mut self) -> bool;
}

/// Output for sound.
pub trait Loudspeaker {
    /// Plays 16 kHz mono to its end.
    ///
    /// # Errors
    /// [`Error::PlaybackFailed`] if the sound cannot be played.
    fn play(&mut self, pcm: &[i16]) -> Result<()>;
}

/// Requested microphone.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Number in the list, name, or part of the name; the system's default if none.
    pub device: Option<String>,
    /// Rate at which it is opened, in Hz. By default 16,000 if the device offers that, else its own
    /// rate.
    pub rate: Option<u32>,
}

/// Microphone that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name given by the system.
    pub name: String,
    /// Identifier given by the system.
    pub id: String,
    /// True for the system's default.
    pub is_default: bool,
}

/// Selects the microphone that `wanted` names: a number from 1 on, a name, an identifier, or a part
/// of exactly one name.
///
/// ```
/// use wakeling_capture::device::{Found, choose};
///
/// let found = ["Built-in Audio", "USB Microphone"].map(|name| Found { name: name.into(), id: name.into(), is_default: false });
/// assert_eq!(choose(&found, "usb")?.name, "USB Microphone");
/// assert_eq!(choose(&found, "1")?.name, "Built-in Audio");
/// assert!(choose(&found, "headset").is_err());
/// # Ok::<(), wakeling_capture::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoMatch`] if no microphone or several match.
pub fn choose<'a>(found: &'a [Found], wanted: &str) -> Result<&'a Found> {
    let by_number = wanted.parse::<usize>().ok().and_then(|n| found.get(n.checked_sub(1)?));
    let is_named = |f: &&Found| f.name == wanted || f.id == wanted;
    if let Some(found) = found.iter().find(is_named).or(by_number) {
        return Ok(found);
    }
    let wanted_lower = wanted.to_lowercase();
    let mut parts = found.iter().filter(|f| f.name.to_lowercase().contains(&wanted_lower));
    match (parts.next(), parts.next()) {
        (Some(one), None) => Ok(one),
        (one, _) => {
            let names: Vec<String> = found.iter().map(|found| found.name.clone()).collect();
            Err(Error::NoMatch { wanted: wanted.to_owned(), is_ambiguous: one.is_some(), names })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_microphone_is_chosen_by_number_name_or_part() {
        let found =
            |name: &str, id: &str| Found { name: name.into(), id: id.into(), is_default: false };
        let all = [
            found("USB Audio", "hw:1"),
            found("Webcam C270", "hw:2"),
            found("Webcam C920", "hw:3"),
        ];
        for (wanted, id) in [
            ("1", "hw:1"),
            ("hw:3", "hw:3"),
            ("usb", "hw:1"),
            ("Webcam C920", "hw:3"),
            ("c270", "hw:2"),
        ] {
            assert_eq!(choose(&all, wanted).unwrap().id, id, "{wanted}");
        }
        for (wanted, problem) in
            [("webcam", "several"), ("0", "several"), ("4", "no such"), ("piano", "no such")]
        {
            let error = choose(&all, wanted).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
