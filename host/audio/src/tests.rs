use std::{f64::consts::TAU, fs, path::PathBuf};

use super::*;

mod formats;

/// Sine that fits each rate, at half of full scale.
fn tone(hz: f32, rate: u32, frames: usize) -> Vec<f32> {
    // f64, since the phase of an f32 is off by 0.004 after a second of 9 kHz.
    let step = TAU * f64::from(hz) / f64::from(rate);
    (0..frames).map(|i| (0.5 * (step * i as f64).sin()) as f32).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// WAV header written by hand, so that each field can be wrong.
struct Header {
    tag: u16,
    channels: u16,
    rate: u32,
    bits: u16,
    data_bytes: Option<u32>,
    before_data: Vec<u8>,
}

impl Default for Header {
    fn default() -> Self {
        let before_data = Vec::new();
        Self { tag: 1, channels: 1, rate: 16_000, bits: 16, data_bytes: None, before_data }
    }
}

impl Header {
    fn with(&self, data: &[u8]) -> Vec<u8> {
        let frame = self.channels.wrapping_mul(self.bits / 8);
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        bytes.extend(self.tag.to_le_bytes());
        bytes.extend(self.channels.to_le_bytes());
        bytes.extend(self.rate.to_le_bytes());
        bytes.extend(self.rate.wrapping_mul(frame.into()).to_le_bytes());
        bytes.extend(frame.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        bytes.extend(&self.before_data);
        bytes.extend(b"data");
        bytes.extend(self.data_bytes.unwrap_or(data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    }
}

fn le(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// Resamples a clip that arrives in one block.
fn to_16k(samples: &[f32], rate: u32) -> Vec<f32> {
    let (path, mut out) = (Path::new("x"), Vec::new());
    let mut stream = resample::Stream::new(path, rate).unwrap();
    stream.push(path, samples, &mut out).unwrap();
    stream.finish(path, &mut out).unwrap();
    out
}

fn shortfall(path: &Path) -> Option<String> {
    read_recording(path, None, 0.0, None).unwrap().shortfall
}

fn message(path: &PathBuf) -> String {
    let error = read(path).expect_err("an error is expected");
    let message = error.to_string();
    assert!(message.contains(&*path.to_string_lossy()), "does not name the file: {message}");
    message
}

#[test]
fn sixteen_khz_mono_is_bit_exact_in_both_directions() {
    let dir = Folder::new();
    let path = dir.0.path().join("a.wav");
    let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    write_wav(&path, &all).unwrap();
    assert_eq!(read(&path).unwrap(), all);
    assert_eq!(hound::WavReader::open(&path).unwrap().spec().sample_rate, SAMPLE_RATE);
}

#[test]
fn every_bit_depth_has_the_same_scale() {
    let dir = Folder::new();
    let expected = [0i16, 256, -256, 32_512, -32_768];
    let check = |bits: u16, tag: u16, data: Vec<u8>| {
        let header = Header { bits, tag, ..Header::default() };
        assert_eq!(read(dir.file("a.wav", &header.with(&data))).unwrap(), expected, "{bits} bits");
    };
    check(8, 1, expected.iter().map(|s| (s / 256 + 128) as u8).collect());
    check(16, 1, le(&expected));
    check(
        24,
        1,
        expected.iter().flat_map(|&s| (i32::from(s) << 16).to_le_bytes()[1..].to_vec()).collect(),
    );
    check(32, 1, expected.iter().flat_map(|&s| (i32::from(s) << 16).to_le_bytes()).collect());
    check(32, 3, expected.iter().flat_map(|&s| (f32::from(s) / 32_768.0).to_le_bytes()).collect());
}

#[test]
fn rounds_and_saturates() {
    assert_eq!(
        to_i16(&[0.5, -0.5, 1.49, 4e9, -4e9, 32_767.4]),
        [1, -1, 1, 32_767, -32_768, 32_767]
    );
}

#[test]
fn channels_are_averaged() {
    let dir = Folder::new();
    let header = Header { channels: 3, ..Header::default() };
    let path = dir.file("a.wav", &header.with(&le(&[3, 6, 9, -30, 0, 0])));
    assert_eq!(read(path).unwrap(), [6, -10]);
}

#[test]
fn the_extensible_form_is_read() {
    let dir = Folder::new();
    let path = dir.0.path().join("a.wav");
    // hound writes WAVE_FORMAT_EXTENSIBLE for more than 16 bits.
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 16_000,
        bits_per_sample: 24,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for sample in [256, 512, -25_600, -25_600] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_eq!(fs::read(&path).unwrap()[20..22], [0xfe, 0xff]);
    assert_eq!(read(path).unwrap(), [2, -100]); // 1.5 rounds away from zero
}

#[test]
fn odd_chunks_and_unfinished_lengths_are_survived() {
    let dir = Folder::new();
    let odd = Header { before_data: b"LIST\x03\0\0\0abc\0".to_vec(), ..Header::default() };
    assert_eq!(read(dir.file("odd.wav", &odd.with(&le(&[1, 2])))).unwrap(), [1, 2]);
    let streamed = Header { data_bytes: Some(u32::MAX), ..Header::default() };
    assert_eq!(read(dir.file("pipe.wav", &streamed.with(&le(&[1, 2])))).unwrap(), [1, 2]);
    let unfinished = Header { data_bytes: Some(0), ..Header::default() };
    assert!(message(&dir.file("cut.wav", &unfinished.with(&[1; 100]))).contains("interrupted"));
}

#[test]
fn hostile_files_are_refused_by_name() {
    let dir = Folder::new();
    let sound = le(&[1; 100]);
    let with = |header: Header| header.with(&sound);
    let default = Header::default;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty.wav", vec![], "empty"),
        ("text.wav", b"This is a letter, not a sound.\n".to_vec(), "not audio"),
        ("one.wav", vec![0xff], "not audio"),
        ("riff.wav", b"RIFF\x10\0\0\0WAVE".to_vec(), "truncated"),
        (
            "stub.wav",
            Header { data_bytes: Some(400), ..default() }.with(&[1]),
            "truncated: 0 of 200",
        ),
        ("none.wav", default().with(&[]), "no samples"),
        ("zero.wav", with(Header { channels: 0, ..default() }), "0 channels"),
        ("slow.wav", with(Header { rate: 0, ..default() }), "0 Hz"),
        ("fast.wav", with(Header { rate: u32::MAX, ..default() }), "4294967295 Hz"),
        ("odd.wav", with(Header { bits: 12, ..default() }), "12 bits in 1 bytes"),
        ("gsm.wav", with(Header { tag: 0x31, bits: 8, ..default() }), "not supported: GSM"),
        ("half.wav", with(Header { tag: 3, ..default() }), "16 bits in 2 bytes"),
        ("wide.wav", Header { bits: 64, ..default() }.with(&[0; 80]), "64 bits in 8 bytes"),
        (
            "nan.wav",
            Header { tag: 3, bits: 32, ..default() }.with(&f32::NAN.to_le_bytes()),
            "not a number",
        ),
        ("apple.m4a", b"\0\0\0\x10ftypM4A \0\0\0\0".to_vec(), "index"),
        ("opus.ogg", b"OggS______________________________OpusHead".to_vec(), "cannot be"),
        ("phone.amr", b"#!AMR\n__________________________________".to_vec(), "AMR is not"),
        ("a.wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9".to_vec(), "WMA"),
        ("junk.flac", [&b"fLaC"[..], &[0xa5; 4_000]].concat(), "cannot be decoded"),
        ("junk.ogg", [&b"OggS"[..], &[0xa5; 4_000]].concat(), "cannot be decoded"),
        ("junk.mp3", [&b"\xff\xfb"[..], &[0xa5; 4_000]].concat(), "cannot be decoded"),
    ];
    for (name, bytes, expected) in cases {
        let path = dir.file(name, &bytes);
        let found = message(&path);
        assert!(found.contains(expected), "{name}: {found}");
    }
    assert!(message(&dir.0.path().to_path_buf()).contains("folder"));
    assert!(matches!(read(dir.0.path().join("missing.wav")), Err(e) if e.is_missing()));
}

#[test]
fn no_truncation_or_bit_flip_panics() {
    let dir = Folder::new();
    let flac = flac(&[5; 64], 16_000);
    let wav =
        Header { before_data: b"LIST\x03\0\0\0abc\0".to_vec(), channels: 2, ..Header::default() }
            .with(&le(&[1; 64]));
    for bytes in [wav, flac] {
        for end in 0..bytes.len() {
            let path = dir.file("cut", &bytes[..end]);
            let cut = read_recording(&path, None, 0.0, None);
            let is_known = cut.is_err() || cut.is_ok_and(|r| r.shortfall.is_some());
            assert!(is_known, "{end} of {} bytes were taken for a whole file", bytes.len());
        }
        for bit in 0..60 * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = read(dir.file("flip", &flipped));
        }
    }
}

#[test]
fn resampling_keeps_length_time_and_level() {
    for rate in [8_000u32, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 15_999] {
        let frames = rate as usize * 7 / 10 + 13;
        let hz = 700.0;
        let out = to_16k(&tone(hz, rate, frames), rate);
        let expected = (frames as f64 * 16_000.0 / f64::from(rate)).round() as usize;
        assert_eq!(out.len(), expected, "{rate} Hz");
        let reference = tone(hz, SAMPLE_RATE, out.len());
        // The ends ring, since the tone starts and stops there.
        let middle = 3_000..out.len() - 3_000;
        let worst = middle.map(|i| (out[i] - reference[i]).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{rate} Hz is off by {worst}");
    }
}

#[test]
fn resampling_does_not_alias() {
    // Aliasing would fold 9 kHz to 7 kHz.
    let out = to_16k(&tone(9_000.0, 48_000, 48_000), 48_000);
    let rms = (out[3_000..13_000].iter().map(|x| x * x).sum::<f32>() / 10_000.0).sqrt();
    let attenuation_db = 20.0 * (0.5f32.sqrt() * 0.5 / rms).log10();
    assert!(attenuation_db > 80.0, "{attenuation_db} dB");
}

#[test]
fn a_part_is_the_same_part_of_the_whole() {
    let dir = Folder::new();
    let samples: Vec<i16> = (0..16_000).collect();
    let path = dir.0.path().join("a.wav");
    write_wav(&path, &samples).unwrap();
    assert_eq!(read_range(&path, 0.25, Some(0.5)).unwrap(), samples[4_000..12_000]);
    assert_eq!(read_range(&path, 0.75, None).unwrap(), samples[12_000..]);
    assert_eq!(read_range(&path, 0.75, Some(9e99)).unwrap(), samples[12_000..]);
    let flac = dir.file("a.flac", &flac(&samples[..4_000], 16_000));
    assert_eq!(read_range(&flac, 0.125, Some(0.0625)).unwrap(), samples[2_000..3_000]);
    for (offset, duration) in [
        (1.0, None),
        (9e99, None),
        (-1.0, None),
        (f64::NAN, None),
        (0.0, Some(0.0)),
        (0.0, Some(-1.0)),
    ] {
        assert!(read_range(&path, offset, duration).is_err(), "{offset} {duration:?}");
    }
}

#[test]
fn the_content_decides_and_not_the_name() {
    let dir = Folder::new();
    let samples: Vec<i16> = (0..3_000).map(|i| (i * 37 % 2_001 - 1_000) as i16).collect();
    let path = dir.file("named.wav", &flac(&samples, 16_000));
    assert_eq!(read(&path).unwrap(), samples);
    let path = dir.file("half.flac", &flac(&samples, 8_000));
    assert_eq!(read(&path).unwrap().len(), 6_000);
}

#[cfg(unix)]
#[test]
fn a_device_is_refused() {
    assert!(message(&PathBuf::from("/dev/zero")).contains("device"));
}

/// FLAC file of one verbatim mono frame (RFC 9639, sections 8 and 9).
fn flac(samples: &[i16], rate: u32) -> Vec<u8> {
    let frames = samples.len() as u16;
    let mut bytes = b"fLaC\x80\0\0\x22".to_vec();
    bytes.extend(frames.max(16).to_be_bytes()); // smallest and largest block
    bytes.extend(frames.max(16).to_be_bytes());
    bytes.extend([0; 6]); // frame sizes unknown
    // 20 bits rate, 3 bits channels − 1, 5 bits depth − 1, 36 bits frames
    let packed = u64::from(rate) << 44 | 15 << 36 | u64::from(frames);
    bytes.extend(packed.to_be_bytes());
    bytes.extend([0; 16]); // no MD5
    let rate_code = if rate == 16_000 { 5 } else { 4 };
    let mut frame = vec![0xff, 0xf8, 0x70 | rate_code, 0x08, 0];
    frame.extend((frames - 1).to_be_bytes());
    frame.push(crc(&frame, 8, 0x07) as u8);
    frame.push(0x02); // verbatim
    frame.extend(samples.iter().flat_map(|s| s.to_be_bytes()));
    frame.extend((crc(&frame, 16, 0x8005) as u16).to_be_bytes());
    bytes.extend(frame);
    bytes
}

fn crc(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    let (top, mask) = (1 << (width - 1), (1 << width) - 1);
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << (width - 8), |c, _| {
            (if c & top == 0 { c << 1 } else { c << 1 ^ polynomial }) & mask
        })
    })
}

#[test]
fn a_file_that_is_cut_off_is_used_up_to_there() {
    let dir = Folder::new();
    let sound = le(&[1, 2, 3, 4]);
    let cases = [
        (
            "short.wav",
            Header { data_bytes: Some(12), ..Header::default() }.with(&sound),
            4,
            "4 of 6",
        ),
        ("odd.wav", Header::default().with(&sound[..7]), 3, "1 of 2 bytes"),
        (
            "stereo.wav",
            Header { channels: 2, data_bytes: Some(8), ..Header::default() }.with(&sound[..6]),
            1,
            "1 of 2 samples",
        ),
    ];
    for (name, bytes, samples, expected) in cases {
        let path = dir.file(name, &bytes);
        let cut = shortfall(&path).unwrap();
        assert!(cut.contains(expected), "{name}: {cut}");
        assert_eq!(read(&path).unwrap().len(), samples, "{name}");
    }
    // A part before the cut is complete.
    let path =
        dir.file("a.wav", &Header { data_bytes: Some(40), ..Header::default() }.with(&sound));
    let part = read_recording(path, None, 0.0, Some(2.0 / 16_000.0)).unwrap();
    assert_eq!((part.samples, part.shortfall), (vec![1, 2], None));
}

#[test]
fn a_container_wider_than_its_samples_is_read() {
    let dir = Folder::new();
    let expected: Vec<i16> = (0..400).map(|i| ((i * 331) % 20_001 - 10_000) as i16).collect();
    let value = |sample: i16, bits: u32| (i32::from(sample) << 16) >> (32 - bits);
    let extensible = |container: u16, valid: u16, data: &[u8]| {
        let header = Header { tag: 0xfffe, bits: container, ..Header::default() };
        let mut bytes = header.with(&[]);
        bytes.truncate(36);
        bytes[16] = 40;
        bytes.extend(22u16.to_le_bytes());
        bytes.extend(valid.to_le_bytes());
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71data");
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    };
    for (container, valid) in [(32u16, 24u16), (32, 20), (24, 20), (16, 12)] {
        let bytes = usize::from(container / 8);
        // With fewer bits than 16, the sound itself is coarser.
        let coarse =
            |s: &i16| s >> (16 - u32::from(valid.min(16))) << (16 - u32::from(valid.min(16)));
        let expected: Vec<i16> = expected.iter().map(coarse).collect();
        let spread = u32::from(container - valid);
        for top in [true, false] {
            let data: Vec<u8> = expected
                .iter()
                .flat_map(|&s| {
                    // Full precision, so that a reader that takes the wrong end is far off.
                    let sample = value(s, valid.into()) | i32::from(valid > 16);
                    let sample = if top { sample << spread } else { sample };
                    sample.to_le_bytes()[..bytes].to_vec()
                })
                .collect();
            let named = format!("{valid} in {container}, at the top: {top}");
            let path = dir.file("a.wav", &extensible(container, valid, &data));
            assert_eq!(read(&path).unwrap(), expected, "{named}");
            // The same without the extensible form.
            let plain = Header { bits: container, ..Header::default() };
            let mut plain = plain.with(&data);
            plain[34] = valid as u8;
            assert_eq!(read(dir.file("b.wav", &plain)).unwrap(), expected, "{named}, plain");
        }
    }
}

#[test]
fn telephone_and_double_precision_samples_are_read() {
    let dir = Folder::new();
    let read_as = |tag, bits, data: &[u8]| {
        read(dir.file("a.wav", &Header { tag, bits, ..Header::default() }.with(data))).unwrap()
    };
    // The smallest and the largest value of either sign in ITU-T G.711.
    assert_eq!(read_as(6, 8, &[0xd5, 0x55, 0xaa, 0x2a]), [8, -8, 32_256, -32_256]);
    assert_eq!(read_as(7, 8, &[0xff, 0x7f, 0x80, 0x00]), [0, 0, 32_124, -32_124]);
    let doubles: Vec<u8> = [0.5f64, -0.25, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(read_as(3, 64, &doubles), [16_384, -8_192, 0]);
}

#[test]
fn other_headers_of_uncompressed_sound_are_read() {
    let dir = Folder::new();
    let samples = [1i16, -2, 300, -32_768];
    let wav = Header::default().with(&le(&samples));
    // RF64 and BW64 have the lengths in a chunk of their own.
    for magic in [b"RF64", b"BW64"] {
        let mut bytes = [&magic[..], &[0xff; 4], b"WAVEds64\x1c\0\0\0"].concat();
        bytes.extend(100u64.to_le_bytes());
        bytes.extend(8u64.to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend(&wav[12..40]);
        bytes.extend([0xff; 4]);
        bytes.extend(le(&samples));
        bytes.extend(b"LIST\x04\0\0\0abcd");
        assert_eq!(read(dir.file("a.wav", &bytes)).unwrap(), samples);
    }
    let chunk = |name: &[u8; 4], body: &[u8]| {
        let guid = b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a";
        let size = (24 + body.len() as u64).to_le_bytes();
        let padding = vec![0; body.len().next_multiple_of(8) - body.len()];
        [&name[..], guid, &size, body, &padding].concat()
    };
    let mut w64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0".to_vec();
    w64.extend([0; 8]);
    w64.extend(b"wave\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a");
    w64.extend(chunk(b"junk", b"abc"));
    w64.extend(chunk(b"fmt ", &wav[20..36]));
    w64.extend(chunk(b"data", &le(&samples)));
    assert_eq!(read(dir.file("a.w64", &w64)).unwrap(), samples);
    let mut au = b".snd".to_vec();
    [28u32, u32::MAX, 3, 16_000, 1, 0].iter().for_each(|field| au.extend(field.to_be_bytes()));
    au.extend(samples.iter().flat_map(|s| s.to_be_bytes()));
    let found = read_recording(dir.file("a.au", &au), None, 0.0, None).unwrap();
    assert_eq!((&found.samples[..], found.format), (&samples[..], FileFormat::Au));
    let mut rifx = b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10\0\x01\0\x01".to_vec();
    rifx.extend(16_000u32.to_be_bytes());
    rifx.extend(32_000u32.to_be_bytes());
    rifx.extend(b"\0\x02\0\x10data\0\0\0\x08");
    rifx.extend(samples.iter().flat_map(|s| s.to_be_bytes()));
    assert_eq!(read(dir.file("a.wav", &rifx)).unwrap(), samples);
}

#[test]
fn blocks_joined_are_the_whole() {
    for rate in [8_000u32, 16_000, 22_050, 44_100, 48_000, 96_000] {
        for frames in [1usize, 700, 40_000, 123_457] {
            let sound: Vec<f32> = tone(440.0, rate, frames).iter().map(|x| x * 9e3).collect();
            let whole = match rate {
                SAMPLE_RATE => sound.clone(),
                _ => resample::whole(&sound, rate, SAMPLE_RATE).unwrap(),
            };
            let (path, mut out) = (Path::new("x"), Vec::new());
            let mut stream = resample::Stream::new(path, rate).unwrap();
            let (mut rest, mut length) = (&sound[..], 1);
            while !rest.is_empty() {
                let (block, others) = rest.split_at(length.min(rest.len()));
                stream.push(path, block, &mut out).unwrap();
                (rest, length) = (others, length * 7 % 9_973 + 1);
            }
            stream.finish(path, &mut out).unwrap();
            let wanted = (frames as f64 * 16_000.0 / f64::from(rate)).round() as usize;
            assert_eq!(out.len(), wanted, "{frames} frames at {rate} Hz");
            assert!(out == whole[..wanted], "{frames} frames at {rate} Hz");
        }
    }
}
