use rand::{SeedableRng, rngs::StdRng};

use super::{level::*, *};

const RATE: f32 = SAMPLE_RATE as f32;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn white(length: usize) -> Vec<f32> {
    let mut rng = rng(7);
    (0..length).map(|_| 2_000.0 * gaussian(&mut rng)).collect()
}

fn tone(hz: f32, length: usize) -> Vec<f32> {
    (0..length).map(|i| 8_000.0 * (std::f32::consts::TAU * hz * i as f32 / RATE).sin()).collect()
}

/// Energy in a band, by the formula of the discrete Fourier transform over windowed pieces.
fn energy(x: &[f32], band: RangeInclusive<f32>) -> f64 {
    const PIECE: usize = 512;
    let bin = |hz: f32| (hz * PIECE as f32 / RATE).round() as usize;
    let mut sum = 0.0;
    for piece in x.chunks_exact(PIECE) {
        for k in bin(*band.start())..=bin(*band.end()) {
            let (mut re, mut im) = (0.0, 0.0);
            for (i, v) in piece.iter().enumerate() {
                let turn = std::f64::consts::TAU / PIECE as f64;
                let window = 0.5 - 0.5 * (turn * i as f64).cos();
                let (sin, cos) = (turn * ((k * i) % PIECE) as f64).sin_cos();
                re += f64::from(*v) * window * cos;
                im += f64::from(*v) * window * sin;
            }
            sum += re * re + im * im;
        }
    }
    sum
}

fn change_db(before: &[f32], after: &[f32], band: RangeInclusive<f32>) -> f64 {
    10.0 * (energy(after, band.clone()) / energy(before, band)).log10()
}

#[test]
fn none_changes_nothing() {
    let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    assert_eq!(Augment::none().apply(&all, Some(&[1, 2, 3]), &mut rng(1)), all);
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let clip: Vec<i16> = to_i16(&tone(440.0, 16_000));
    let noise = to_i16(&white(5_000));
    let run = |seed| Augment::default().apply(&clip, Some(&noise), &mut rng(seed));
    assert_eq!(run(1), run(1));
    assert!((2..20).any(|seed| run(seed) != run(1)));
}

#[test]
fn nothing_panics_on_odd_input() {
    let always = Augment {
        speed_probability: 1.0,
        room_probability: 1.0,
        eq_probability: 1.0,
        noise_probability: 1.0,
        band_limit_probability: 1.0,
        clip_probability: 1.0,
        ..Augment::default()
    };
    let strange = Augment {
        speed: f32::NAN..=0.0,
        rt60_s: 9e9..=f32::INFINITY,
        shift_ms: -9e9..=9e9,
        snr_db: f32::NAN..=1.0,
        eq_db: 900.0..=-900.0,
        gain_db: f32::NEG_INFINITY..=9e9,
        clip_level: f32::NAN..=-1.0,
        band_limits_hz: vec![],
        ..always.clone()
    };
    for augment in [always, strange] {
        for (seed, clip) in
            [&[][..], &[1], &[i16::MIN; 2], &[0; 1_000], &[9; 4_000]].iter().enumerate()
        {
            for noise in [None, Some(&[][..]), Some(&[0][..]), Some(&[i16::MIN, 5][..])] {
                augment.apply(clip, noise, &mut rng(seed as u64));
            }
        }
    }
}

#[test]
fn gain_is_in_db() {
    let mut x = tone(500.0, 1_600);
    let before = rms(&x);
    gain(&mut x, -6.0);
    assert!((20.0 * (rms(&x) / before).log10() + 6.0).abs() < 1e-3);
}

#[test]
fn noise_is_added_at_the_snr_of_the_active_part() {
    for snr_db in [-5.0, 0.0, 10.0, 30.0] {
        // Half a second of speech between two of silence.
        let mut clean = vec![0.0; 24_000];
        clean[8_000..16_000].copy_from_slice(&tone(300.0, 8_000));
        let mut mixed = clean.clone();
        mix_at_snr(&mut mixed, &white(24_000), snr_db);
        let added: Vec<f32> = mixed.iter().zip(&clean).map(|(m, c)| m - c).collect();
        let found = 20.0 * (rms(&clean[8_000..16_000]) / rms(&added)).log10();
        assert!((found - snr_db).abs() < 0.1, "{found} for {snr_db}");
    }
}

#[test]
fn noise_is_looped_and_silence_is_left_alone() {
    let mut expected = loop_from(&[1, 2, 3], 8, &mut rng(0));
    assert_eq!(expected.len(), 8);
    assert!(expected.windows(2).all(|w| w[1] == w[0] % 3.0 + 1.0));
    mix_at_snr(&mut expected, &[0.0; 8], 0.0);
    assert!(expected.iter().all(|x| x.is_finite()));
}

#[test]
fn clipping_cuts_at_the_level() {
    let mut x = tone(500.0, 1_600);
    clip(&mut x, 0.25);
    let peak = x.iter().fold(0.0f32, |p, v| p.max(v.abs()));
    assert!((peak - 2_000.0).abs() < 1.0, "{peak}");
    assert!(x.iter().filter(|v| v.abs() == peak).count() > 1_000);
}

#[test]
fn shift_moves_and_fills_with_silence() {
    let moved = |by| {
        let mut x = vec![1.0, 2.0, 3.0];
        shift(&mut x, by);
        x
    };
    assert_eq!(moved(1), [0.0, 1.0, 2.0]);
    assert_eq!(moved(-2), [3.0, 0.0, 0.0]);
    assert_eq!(moved(9), [0.0; 3]);
    assert_eq!(moved(isize::MIN), [0.0; 3]);
}

#[test]
fn band_limits_remove_what_is_above_and_keep_what_is_below() {
    let before = white(16_000);
    for hz in [3_400.0, 4_000.0, 5_500.0] {
        let mut after = before.clone();
        filter::low_pass(&mut after, hz);
        let above = change_db(&before, &after, hz * 1.2..=8_000.0);
        let below = change_db(&before, &after, 100.0..=hz * 0.85);
        assert!(above < -20.0 && below.abs() < 0.5, "{hz} Hz: {above} and {below} dB");
    }
    let mut after = before.clone();
    filter::high_pass(&mut after, 300.0);
    let (above, below) =
        (change_db(&before, &after, 500.0..=8_000.0), change_db(&before, &after, 0.0..=120.0));
    assert!(below < -20.0 && above.abs() < 0.5, "{below} and {above} dB");
    let mut same = before.clone();
    filter::low_pass(&mut same, 8_000.0);
    assert_eq!(same, before);
}

#[test]
fn tilt_and_peaks_have_their_height() {
    let before = white(16_000);
    let mut after = before.clone();
    filter::tilt(&mut after, 6.0);
    let bass = change_db(&before, &after, 60.0..=200.0);
    let treble = change_db(&before, &after, 4_000.0..=7_000.0);
    assert!((bass + 3.0).abs() < 0.5 && (treble - 3.0).abs() < 0.5, "{bass} and {treble} dB");

    let mut after = before.clone();
    filter::Biquad::peaking(2_000.0, 1.0, 6.0).run(&mut after);
    let peak = change_db(&before, &after, 1_970.0..=2_030.0);
    let far = change_db(&before, &after, 60.0..=200.0);
    assert!((peak - 6.0).abs() < 0.5 && far.abs() < 0.5, "{peak} and {far} dB");
}

#[test]
fn speed_changes_length_and_pitch() {
    for factor in [0.85f32, 0.97, 1.07, 1.18] {
        let y = speed::speed(&tone(1_000.0, 16_000), factor);
        assert_eq!(y.len(), (16_000.0 / f64::from(factor)).round() as usize);
        let expected = tone(1_000.0 * factor, y.len());
        let worst = (100..y.len() - 100).map(|i| (y[i] - expected[i]).abs()).fold(0.0, f32::max);
        assert!(worst < 8_000.0 * 2e-3, "{factor}: off by {worst}");
    }
    // 7.5 kHz would fold back to 7.15 kHz.
    let y = speed::speed(&tone(7_500.0, 16_000), 1.18);
    assert!(rms(&y[200..y.len() - 200]) < 8_000.0 * 0.01, "{}", rms(&y));
}

#[test]
fn a_room_decays_by_60_db_in_its_time() {
    for rt60_s in [0.1f32, 0.3, 0.6] {
        let response = room::impulse_response(rt60_s, 3.0, &mut rng(5));
        let tail: f32 = response[1..].iter().map(|h| h * h).sum();
        assert!((10.0 * (1.0 / tail).log10() - 3.0).abs() < 0.01);
        // Two windows half the time apart differ by 30 dB.
        let (quarter, window) = (response.len() / 4, response.len() / 8);
        let level_at = |i: usize| rms(&response[i..i + window]);
        let fall = 20.0 * (level_at(quarter) / level_at(3 * quarter)).log10();
        assert!((fall - 30.0).abs() < 3.0, "{rt60_s} s: {fall} dB");
    }
}

#[test]
fn convolution_equals_its_formula() {
    for (n, taps) in [(1, 1), (5, 9), (300, 40), (257, 256)] {
        let x = white(n);
        let h = room::sparse(&mut rng(9), taps);
        let found = room::convolve(&x, &h);
        for i in 0..n {
            let exact: f64 =
                (0..=i.min(taps - 1)).map(|j| f64::from(h[j]) * f64::from(x[i - j])).sum();
            assert!((f64::from(found[i]) - exact).abs() < 0.01, "{i} of {n}");
        }
    }
    let mut x = tone(300.0, 8_000);
    let before = active_rms(&x);
    room::reverberate(&mut x, &room::impulse_response(0.4, 0.0, &mut rng(1)));
    assert!((active_rms(&x) / before - 1.0).abs() < 1e-3);
}

#[test]
fn noise_has_its_color() {
    let slope = |color| {
        let kind = NoiseKind { color, envelope: Envelope::Steady };
        let x: Vec<f32> =
            synthetic_noise(kind, 64_000, &mut rng(3)).iter().map(|&s| f32::from(s)).collect();
        // Energy per Hz of two bands that lie three octaves apart.
        let low = energy(&x, 375.0..=625.0);
        let high = energy(&x, 3_750.0..=4_250.0) * 9.0 / 17.0;
        10.0 * (high / low).log10() / 3.0
    };
    for (color, expected) in [(Color::White, 0.0), (Color::Pink, -3.0), (Color::Brown, -6.0)] {
        let found = slope(color);
        assert!((found - expected).abs() < 0.7, "{color:?}: {found} dB an octave");
    }
    let kind = NoiseKind { color: Color::Hum, envelope: Envelope::Steady };
    let x: Vec<f32> =
        synthetic_noise(kind, 16_000, &mut rng(3)).iter().map(|&s| f32::from(s)).collect();
    assert!(energy(&x, 0.0..=1_000.0) > 100.0 * energy(&x, 1_200.0..=8_000.0));
}

#[test]
fn noise_has_its_level_and_envelope() {
    let spread = |envelope| {
        let kind = NoiseKind { color: Color::White, envelope };
        let x: Vec<f32> =
            synthetic_noise(kind, 64_000, &mut rng(3)).iter().map(|&s| f32::from(s)).collect();
        let mut levels: Vec<f32> = x.chunks(320).map(rms).collect();
        levels.sort_by(f32::total_cmp);
        levels[levels.len() * 9 / 10] / levels[levels.len() / 10]
    };
    assert!(spread(Envelope::Steady) < 1.2);
    assert!(spread(Envelope::Modulated) > 1.5);
    assert!(spread(Envelope::Bursty) > 10.0);
    for kind in NoiseKind::all() {
        for length in [0, 1, 100, 16_000] {
            assert_eq!(synthetic_noise(kind, length, &mut rng(1)).len(), length);
        }
        let x: Vec<f32> =
            synthetic_noise(kind, 16_000, &mut rng(1)).iter().map(|&s| f32::from(s)).collect();
        // Bursts saturate a little.
        assert!((1_500.0..3_100.0).contains(&rms(&x)), "{kind:?}: {}", rms(&x));
    }
    assert_eq!(NoiseKind::all().count(), 12);
}

#[test]
fn babble_holds_every_voice_equally() {
    let (a, b) = (to_i16(&tone(500.0, 3_000)), to_i16(&tone(2_000.0, 5_000)));
    let quiet: Vec<i16> = b.iter().map(|s| s / 10).collect();
    let x: Vec<f32> = babble(&[&a, &quiet, &[], &[0; 9]], 16_000, &mut rng(2))
        .iter()
        .map(|&s| f32::from(s))
        .collect();
    let ratio = energy(&x, 400.0..=600.0) / energy(&x, 1_900.0..=2_100.0);
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
    assert!((rms(&x) - 3_000.0).abs() < 5.0);
    assert_eq!(babble(&[], 3, &mut rng(2)), [0; 3]);
}
