//! Files as phones, browsers and editors store them; see `fixtures/README.md`.

use super::*;

#[test]
fn a_compressed_file_that_is_cut_off_is_used_up_to_there() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/talk/af_nova.ogg");
    let dir = Folder::new();
    let mut all = vec![demo];
    all.extend(
        [
            "chirp.aac",
            "chirp-aac.mkv",
            "chirp-fragments.mp4",
            "chirp.webm",
            "chirp.mka",
            "chirp.aiff",
            "chirp-ima.wav",
        ]
        .map(fixture),
    );
    for path in all {
        let name = path.display();
        let bytes = fs::read(&path).unwrap();
        let whole = read_recording(&path, None, 0.0, None).unwrap();
        assert_eq!(whole.shortfall, None, "{name}");
        let cut = read_recording(dir.file("cut", &bytes[..bytes.len() * 2 / 3]), None, 0.0, None);
        let cut = cut.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(cut.shortfall.is_some(), "{name}: nothing was noticed");
        let common = cut.samples.len().saturating_sub(3_000);
        assert!(cut.samples.len() < whole.samples.len() && common > 0, "{name}");
        assert!(cut.samples[..common] == whole.samples[..common], "{name}");
        for twentieth in 1..20 {
            let path = dir.file("cut", &bytes[..bytes.len() * twentieth / 20]);
            match read_recording(&path, None, 0.0, None) {
                Ok(cut) => assert!(cut.shortfall.is_some(), "{name}: {twentieth}"),
                Err(error) => assert!(matches!(error, Error::File(_)), "{name}: {error}"),
            }
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fixtures").join(name)
}

/// Chirp of the fixtures at 16 kHz.
fn chirp() -> Vec<f32> {
    let sample = |i: usize| {
        let t = i as f64 / 16_000.0;
        (13_107.2 * (TAU * (300.0 * t + 900.0 * t * t)).sin()) as f32
    };
    (0..11_200).map(sample).collect()
}

/// Correlation with the chirp over the samples that both have, without the ends.
fn likeness(samples: &[i16]) -> f64 {
    let pairs = || {
        let both = chirp().into_iter().zip(samples.iter().copied());
        both.map(|(a, b)| (f64::from(a), f64::from(b))).skip(800).take(9_600)
    };
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let (a, b) = pairs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x * x, b + y * y));
    dot / (a * b).sqrt()
}

#[test]
fn reads_recordings_of_phones_and_browsers_in_time() {
    use FileFormat::*;
    // Number of extra samples that a container without an exact length may give.
    for (name, format, surplus) in [
        ("chirp.m4a", Aac, 0),
        ("chirp.3gp", Aac, 0),
        ("chirp.opus", Opus, 0),
        ("chirp-silk.ogg", Opus, 0),
        ("chirp-surround.opus", Opus, 0),
        ("chirp-opus.mp4", Opus, 16),
        ("chirp.webm", Opus, 320),
        ("chirp-vorbis.webm", Ogg, 1_024),
        ("chirp.mka", Flac, 0),
        ("chirp-alac.m4a", Alac, 0),
        ("chirp.aiff", Aiff, 0),
        ("chirp.caf", Caf, 0),
        ("chirp-ima.wav", Wav, 1_100),
        ("chirp-ms.wav", Wav, 1_100),
    ] {
        let found = read_recording(fixture(name), None, 0.0, None).unwrap();
        assert_eq!((found.format, &found.shortfall), (format, &None), "{name}");
        let length = found.samples.len();
        assert!((11_200..=11_200 + surplus).contains(&length), "{name}: {length} samples");
        let likeness = likeness(&found.samples);
        // At low rates, Opus codes a chirp as if it were a voice; libopus gives the same samples.
        let least = if name.starts_with("chirp-s") { 0.9 } else { 0.985 };
        assert!(likeness > least, "{name}: {likeness}");
    }
}

#[test]
fn encoders_that_state_no_delay_are_read() {
    // These formats do not state the delay before the sound; ffmpeg gives the same samples.
    for (name, format, delay) in [
        ("chirp.aac", FileFormat::Aac, 372),
        ("chirp-fragments.mp4", FileFormat::Aac, 341),
        ("chirp-aac.mkv", FileFormat::Aac, 372),
        ("chirp-mp3.wav", FileFormat::Mp3, 1_105),
    ] {
        let found = read_recording(fixture(name), None, 0.0, None).unwrap();
        assert_eq!((found.format, &found.shortfall), (format, &None), "{name}");
        let likeness = likeness(&found.samples[delay..]);
        assert!(likeness > 0.97, "{name}: {likeness}");
    }
}

#[test]
fn no_cut_or_bit_flip_of_a_compressed_file_panics() {
    let dir = Folder::new();
    for entry in fs::read_dir(fixture("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for _ in 0..40 {
            let mut bytes = bytes.clone();
            for _ in 0..4 {
                let at = random(bytes.len());
                bytes[at] ^= 1 << random(8);
            }
            bytes.truncate(bytes.len() - random(bytes.len() / 2));
            if let Err(error) = read_range(dir.file("flip", &bytes), 0.0, None) {
                assert!(matches!(error, Error::File(_)), "{}: {error}", path.display());
            }
        }
    }
}
