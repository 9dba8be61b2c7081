//! Digital silence from a microphone, which is muted then.

use super::takes::is_digital_silence;
use crate::audio::SAMPLE_RATE;

/// Length of the silence since the microphone was opened or last gave a sound.
#[derive(Debug, Default)]
pub struct Silence(usize);

impl Silence {
    /// Takes up the next sound. Returns the seconds of digital silence up to its end.
    pub fn push(&mut self, pcm: &[i16]) -> f64 {
        self.0 = if is_digital_silence(pcm) { self.0 + pcm.len() } else { 0 };
        self.0 as f64 / f64::from(SAMPLE_RATE)
    }
}
