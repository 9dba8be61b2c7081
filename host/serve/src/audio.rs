//! PCM of a client → 16 kHz mono.
//!
//! Shapes: little-endian frames of interleaved channels in, `(samples)` at 16 kHz out. One byte a
//! sample is unsigned, as in WAV and in the `wyoming` package; 2, 3 and 4 bytes are signed. Samples
//! of 16 kHz, 16 bit, one channel pass bit exact.

use serde::Deserialize;
use wakeling_audio::{SAMPLE_RATE, live::Live};

use crate::refusal::Refusal;

/// Number of frames that are converted at once, which bounds the memory of a client.
const FRAMES_AT_ONCE: usize = 4_096;
/// Lowest and highest rate, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;
/// Every rate is a multiple of this, in Hz. The resampler's block has `2 · rate / gcd(rate, 16000)`
/// frames, so a rate that shares no factor with 16 kHz would take megabytes.
const RATE_UNIT: u32 = 25;
/// Maximum number of channels.
const MOST_CHANNELS: u16 = 8;
/// Maximum number of bytes of a sample.
const MOST_WIDTH: u8 = 4;

/// Format of PCM, as in the audio events of the Wyoming protocol.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct AudioFormat {
    /// Sample rate in Hz.
    pub rate: u32,
    /// Bytes of a sample.
    pub width: u8,
    /// Number of channels.
    pub channels: u16,
}

impl AudioFormat {
    /// Format that the models take.
    pub(crate) const NATIVE: Self = Self { rate: SAMPLE_RATE, width: 2, channels: 1 };

    /// Returns the bytes of one sample of every channel.
    fn frame_bytes(self) -> usize {
        usize::from(self.width) * usize::from(self.channels)
    }

    fn check(self) -> Result<(), Refusal> {
        let Self { rate, width, channels } = self;
        let is_known = RATES.contains(&rate)
            && rate.is_multiple_of(RATE_UNIT)
            && (1..=MOST_WIDTH).contains(&width)
            && (1..=MOST_CHANNELS).contains(&channels);
        if is_known {
            return Ok(());
        }
        Err(Refusal::audio(format!(
            "{rate} Hz, {width} bytes a sample, {channels} channels: expected {} to {} Hz in \
             multiples of {RATE_UNIT}, 1 to {MOST_WIDTH} bytes, 1 to {MOST_CHANNELS} channels",
            RATES.start(),
            RATES.end(),
        )))
    }
}

/// Converter of the sound of one client.
pub(crate) struct Converter {
    format: AudioFormat,
    live: Live,
    frames: Vec<f32>,
    pcm: Vec<i16>,
}

impl Converter {
    /// Creates a converter from this format.
    ///
    /// # Errors
    /// A refusal that names the formats that are supported.
    pub(crate) fn new(format: AudioFormat) -> Result<Self, Refusal> {
        format.check()?;
        let live = Live::new(format.rate, format.channels)
            .map_err(|error| Refusal::audio(error.to_string()))?;
        Ok(Self { format, live, frames: Vec::new(), pcm: Vec::new() })
    }

    /// Returns the format of the input.
    pub(crate) fn format(&self) -> AudioFormat {
        self.format
    }

    /// Converts whole frames, and calls `on_block` with each block of 16 kHz mono.
    ///
    /// # Errors
    /// A refusal if the bytes end within a frame; nothing is converted then.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut on_block: impl FnMut(&[i16]),
    ) -> Result<(), Refusal> {
        let frame = self.format.frame_bytes();
        if !bytes.len().is_multiple_of(frame) {
            let text = format!(
                "{} bytes of audio are no whole number of frames of {frame} bytes",
                bytes.len()
            );
            return Err(Refusal::malformed(text));
        }
        for block in bytes.chunks(FRAMES_AT_ONCE * frame) {
            self.frames.clear();
            decode(block, self.format.width, &mut self.frames);
            self.pcm.clear();
            self.live.push(&self.frames, &mut self.pcm);
            if !self.pcm.is_empty() {
                on_block(&self.pcm);
            }
        }
        Ok(())
    }
}

/// Decodes samples to units of an i16 step. `width` was checked.
fn decode(bytes: &[u8], width: u8, out: &mut Vec<f32>) {
    match width {
        1 => out.extend(bytes.iter().map(|&b| 256.0 * (f32::from(b) - 128.0))),
        2 => {
            let pairs = bytes.as_chunks::<2>().0.iter();
            out.extend(pairs.map(|&pair| f32::from(i16::from_le_bytes(pair))));
        }
        3 => {
            let triples = bytes.as_chunks::<3>().0.iter();
            // The sample in the upper bytes, so that its sign is that of the word.
            out.extend(
                triples.map(|&[a, b, c]| i32::from_le_bytes([0, a, b, c]) as f32 / 65_536.0),
            );
        }
        _ => {
            let words = bytes.as_chunks::<4>().0.iter();
            out.extend(words.map(|&word| i32::from_le_bytes(word) as f32 / 65_536.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(format: AudioFormat, bytes: &[u8]) -> Vec<i16> {
        let mut out = Vec::new();
        Converter::new(format).unwrap().push(bytes, |block| out.extend_from_slice(block)).unwrap();
        out
    }

    #[test]
    fn every_width_gives_the_same_samples() {
        let pcm: Vec<i16> = (0..20_000).map(|i| (i * 37 % 65_536) as u16 as i16).collect();
        let native: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(converted(AudioFormat::NATIVE, &native), pcm);
        let wide: Vec<u8> = pcm.iter().flat_map(|&s| (i32::from(s) << 16).to_le_bytes()).collect();
        assert_eq!(converted(AudioFormat { width: 4, ..AudioFormat::NATIVE }, &wide), pcm);
        let three: Vec<u8> = wide.chunks(4).flat_map(|w| w[1..].to_vec()).collect();
        assert_eq!(converted(AudioFormat { width: 3, ..AudioFormat::NATIVE }, &three), pcm);
        let bytes: Vec<u8> = (0..=255).collect();
        let expected: Vec<i16> = (-128..128).map(|s| 256 * s).collect();
        assert_eq!(converted(AudioFormat { width: 1, ..AudioFormat::NATIVE }, &bytes), expected);
        let stereo: Vec<u8> = pcm.iter().flat_map(|s| [s.to_le_bytes(); 2].concat()).collect();
        assert_eq!(converted(AudioFormat { channels: 2, ..AudioFormat::NATIVE }, &stereo), pcm);
    }

    #[test]
    fn other_rates_keep_the_duration() {
        for rate in [8_000, 11_025, 22_050, 44_100, 48_000, 192_000] {
            let bytes = vec![0; 2 * rate as usize];
            let out = converted(AudioFormat { rate, ..AudioFormat::NATIVE }, &bytes);
            assert!((14_500..=16_000).contains(&out.len()), "{rate}: {}", out.len());
        }
    }

    #[test]
    fn rejects_other_formats_and_broken_frames() {
        let native = AudioFormat::NATIVE;
        for format in [
            AudioFormat { rate: 0, ..native },
            AudioFormat { rate: 7_999, ..native },
            AudioFormat { rate: 47_999, ..native },
            AudioFormat { rate: u32::MAX, ..native },
            AudioFormat { width: 0, ..native },
            AudioFormat { width: 5, ..native },
            AudioFormat { channels: 0, ..native },
            AudioFormat { channels: 9, ..native },
        ] {
            let refusal = Converter::new(format).err().expect("a refusal");
            assert_eq!(refusal.code, "unsupported-audio");
            assert!(refusal.text.contains("8000 to 192000 Hz"), "{refusal}");
        }
        let mut converter = Converter::new(native).unwrap();
        assert_eq!(converter.push(&[0; 3], |_| {}).unwrap_err().code, "malformed");
    }
}
