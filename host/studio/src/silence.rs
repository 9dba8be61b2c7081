//! Digital silence from a microphone, which indicates that it is muted.

use super::takes::is_digital_silence;
use wakeling_audio::SAMPLE_RATE;

/// Length of the silence, in samples, since the microphone was opened or last delivered sound.
#[derive(Debug, Default)]
pub struct Silence(usize);

impl Silence {
    /// Adds the next samples. Returns the seconds of digital silence up to their end.
    pub fn push(&mut self, pcm: &[i16]) -> f64 {
        self.0 = if is_digital_silence(pcm) { self.0 + pcm.len() } else { 0 };
        self.0 as f64 / f64::from(SAMPLE_RATE)
    }
}
