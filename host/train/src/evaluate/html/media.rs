//! Compact audio and images for embedding in a page: WAV in µ-law, PNG with a palette, Base64.

use std::io::Write;

use flate2::{Compression, Crc, write::ZlibEncoder};

use wakeling_audio::{SAMPLE_RATE, features::LogMel};

/// Octaves of power between the darkest and the brightest colour: 60 dB.
const RANGE_OCTAVES: f32 = 20.0;
/// Corners of the palette from dark to bright, evenly spaced and interpolated linearly. They run
/// from black over violet and orange to pale yellow, so the palette is readable in grey too.
const PALETTE: [[f32; 3]; 6] = [
    [8.0, 6.0, 20.0],
    [60.0, 20.0, 96.0],
    [140.0, 41.0, 99.0],
    [214.0, 72.0, 66.0],
    [249.0, 142.0, 43.0],
    [252.0, 245.0, 190.0],
];

/// Encodes bytes as a `data:` URL.
pub fn data_url(kind: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("data:{kind};base64,");
    for chunk in bytes.chunks(3) {
        let padded = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = padded.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let is_there = digit <= chunk.len();
            text.push(if is_there { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

/// Encodes a WAV of µ-law samples (ITU-T G.711), half the size of 16-bit samples. The audio is
/// scaled to full range, because missed recordings are often too quiet to check by ear.
pub fn wav(pcm: &[i16]) -> Vec<u8> {
    const MU_LAW: u16 = 7;
    let peak = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0).max(1);
    let gain = f32::from(i16::MAX) / f32::from(peak);
    let size = pcm.len() as u32;
    let mut bytes = Vec::with_capacity(pcm.len() + 58);
    bytes.extend(b"RIFF");
    // Size of the rest: `WAVE`, an 18-byte format, the sample count, the samples, and a pad byte if
    // needed.
    bytes.extend((4 + 26 + 12 + 8 + size + size % 2).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(18u32.to_le_bytes());
    for half in [MU_LAW, 1] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(SAMPLE_RATE.to_le_bytes());
    bytes.extend(SAMPLE_RATE.to_le_bytes());
    for half in [1u16, 8, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(b"fact");
    bytes.extend(4u32.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(size.to_le_bytes());
    bytes.extend(pcm.iter().map(|&s| mu_law((f32::from(s) * gain) as i16)));
    bytes.extend(std::iter::repeat_n(0xFF, pcm.len() % 2));
    bytes
}

/// Encodes one sample: sign, octave of the biased magnitude, and the four bits below its first.
fn mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    const CLIP: i32 = 32_635;
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let octave = (magnitude as u32).ilog2() - 7;
    let mantissa = (magnitude >> (octave + 3)) & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | ((octave as u8) << 4) | mantissa as u8)
}

/// Draws mel frames as an image: time to the right, low bands at the bottom, the loudest 60 dB from
/// dark to bright.
pub fn spectrogram(frames: &LogMel) -> Vec<u8> {
    let loudest = frames.iter().flatten().copied().max().unwrap_or(0);
    let level = |x: i16| {
        let below = (f32::from(loudest) - f32::from(x)) / 256.0;
        (255.0 * (1.0 - below / RANGE_OCTAVES)).clamp(0.0, 255.0) as u8
    };
    let height = frames.first().map_or(1, |f| f.len());
    let mut rows = Vec::with_capacity((frames.len() + 1) * height);
    for band in (0..height).rev() {
        rows.push(0); // no filter
        rows.extend(frames.iter().map(|frame| level(frame[band])));
    }
    png(frames.len().max(1) as u32, height as u32, &rows)
}

/// Encodes a PNG (RFC 2083) of 8-bit indices into [`PALETTE`]; each row begins with its filter
/// number.
fn png(width: u32, height: u32, rows: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], body: &[u8]| {
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(body);
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(name);
        bytes.extend(body);
        bytes.extend(crc.sum().to_be_bytes());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // 8 bits, palette, deflate, no filter method, no interlace.
    chunk(b"IHDR", &[&size[..], &[8, 3, 0, 0, 0]].concat());
    chunk(b"PLTE", &palette());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to a `Vec` cannot fail.
    let _ = zlib.write_all(rows);
    chunk(b"IDAT", &zlib.finish().unwrap_or_default());
    chunk(b"IEND", &[]);
    bytes
}

fn palette() -> Vec<u8> {
    let color = |i: usize| {
        let place = i as f32 / 255.0 * (PALETTE.len() - 1) as f32;
        let below = (place as usize).min(PALETTE.len() - 2);
        let share = place - below as f32;
        let (a, b) = (PALETTE[below], PALETTE[below + 1]);
        std::array::from_fn::<u8, 3, _>(|c| (a[c] + share * (b[c] - a[c])) as u8)
    };
    (0..256).flat_map(color).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // Test vectors of RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(data_url("a/b", bytes.as_bytes()), format!("data:a/b;base64,{text}"));
        }
    }

    #[test]
    fn sound_survives_mu_law() {
        // G.711: silence is 0xFF, full scale 0x80 and 0x00.
        assert_eq!((mu_law(0), mu_law(i16::MAX), mu_law(i16::MIN)), (0xFF, 0x80, 0x00));
        let expand = |code: u8| {
            let code = !code;
            let magnitude = ((i32::from(code & 15) << 3) + 132) << ((code >> 4) & 7);
            let value = magnitude - 132;
            if code & 0x80 == 0 { value } else { -value }
        };
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let error = (expand(mu_law(sample)) - i32::from(sample)).abs();
            assert!(error <= 8 + i32::from(sample).abs() / 28, "{sample}: {error}");
        }
        let bytes = wav(&[0, 100, -50]);
        assert_eq!(bytes.len() % 2, 0);
        let size = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
        assert_eq!(size as usize + 8, bytes.len());
        assert_eq!(bytes[58..61], [0xFF, 0x80, mu_law(-16_383)]);
    }

    #[test]
    fn images_have_one_row_a_band() {
        let mut frames = vec![[0i16; 40]; 7];
        frames[3][0] = 12_000;
        let bytes = spectrogram(&frames);
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82"));
        assert_eq!(bytes[16..24], [0, 0, 0, 7, 0, 0, 0, 40]);
        let data = bytes.windows(4).position(|w| w == b"IDAT").unwrap() + 4;
        let mut rows = Vec::new();
        std::io::copy(&mut flate2::read::ZlibDecoder::new(&bytes[data..]), &mut rows).unwrap();
        assert_eq!(rows.len(), 40 * 8);
        // The lowest band is the last row; only its fourth frame is loud.
        assert_eq!(rows[39 * 8..], [0, 0, 0, 0, 255, 0, 0, 0]);
        assert!(spectrogram(&Vec::new()).len() > 60);
    }
}
