//! Tests of the front end against `f64`, and at its extremes.

extern crate std;

use std::{vec, vec::Vec};

use super::fft::{COMPLEX_POINTS, POWER_FRACTION_BITS, power};
use super::window::SAMPLE_FRACTION_BITS;
use super::*;

/// Mel table of 125 to 7,500 Hz, and its Q12 shares in `f64`.
struct Table {
    starts: Vec<u8>,
    weights: Vec<u8>,
    /// Segment and share for the lower band, for each bin from 1 on.
    shares: Vec<(usize, f64)>,
}

impl Table {
    fn new() -> Self {
        let mel = |bin: u16| 1127.0 * (f64::from(bin) * 31.25 / 700.0).ln_1p();
        let (low, high) = (mel(4), mel(240));
        let spacing = (high - low) / 41.0;
        let (mut starts, mut weights, mut shares) = (vec![5u16], Vec::new(), vec![(0, 1.0); 4]);
        let mut bin = 5;
        for segment in 0..41 {
            let upper = low + spacing * (segment + 1) as f64;
            while mel(bin) <= upper {
                let weight = (4_096.0 * (upper - mel(bin)) / spacing).round();
                shares.push((segment, weight / 4_096.0));
                weights.push(weight as u16);
                bin += 1;
            }
            starts.push(bin);
        }
        let bytes = |words: Vec<u16>| words.into_iter().flat_map(u16::to_le_bytes).collect();
        Self { starts: bytes(starts), weights: bytes(weights), shares }
    }

    fn params(&self) -> FrontendParams<'_> {
        FrontendParams {
            mel_starts: &self.starts,
            mel_weights: &self.weights,
            normalization: Normalization::Log {
                floor: 1 << 16,
                level: None,
                quantizer: Quantizer { offset_q8: 31 * 256, scale_q16: 8 * 256 },
            },
        }
    }

    /// Returns `64 · Σ w·|X|²` of one window, all in `f64`.
    fn reference(&self, samples: &[i16]) -> Vec<f64> {
        let windowed: Vec<f64> = samples
            .iter()
            .enumerate()
            .map(|(i, &s)| f64::from(s) * (0.5 - 0.5 * (TAU * (i as f64 + 0.5) / 480.0).cos()))
            .collect();
        let mut bands = vec![0.0; 42];
        for (bin, &(segment, share)) in self.shares.iter().enumerate().skip(4) {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, x) in windowed.iter().enumerate() {
                let angle = TAU * (((bin + 1) * n) % 512) as f64 / 512.0;
                re += x * angle.cos();
                im -= x * angle.sin();
            }
            bands[segment] += 64.0 * share * (re * re + im * im);
            bands[segment + 1] += 64.0 * (1.0 - share) * (re * re + im * im);
        }
        bands[1..41].to_vec()
    }
}

const TAU: f64 = core::f64::consts::TAU;

/// Generator xorshift64*, so that the inputs are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    fn noise(&mut self, samples: usize, amplitude: f64) -> Vec<i16> {
        (0..samples)
            .map(|_| (amplitude * (f64::from(self.next()) / 2_147_483_648.0 - 1.0)) as i16)
            .collect()
    }
}

fn tone(samples: usize, hz: f64, amplitude: f64) -> Vec<i16> {
    (0..samples).map(|i| (amplitude * (TAU * hz * i as f64 / 16_000.0).sin()) as i16).collect()
}

fn square(samples: usize, period: usize) -> Vec<i16> {
    (0..samples)
        .map(|i| if (i / (period / 2)).is_multiple_of(2) { i16::MAX } else { i16::MIN })
        .collect()
}

fn inputs(samples: usize) -> Vec<(&'static str, Vec<i16>)> {
    let mut random = Random(9);
    let mut impulse = vec![0; samples];
    impulse[239] = i16::MIN;
    vec![
        ("noise", random.noise(samples, 32_767.0)),
        ("quiet noise", random.noise(samples, 30.0)),
        ("square", square(samples, 32)),
        ("slow square", square(samples, 480)),
        ("nyquist", square(samples, 2)),
        ("impulse", impulse),
        ("tone", tone(samples, 440.0, 32_767.0)),
        ("quiet tone", tone(samples, 3_000.0, 100.0)),
        ("lowest", vec![i16::MIN; samples]),
        ("silence", vec![0; samples]),
    ]
}

fn all_powers(
    pcm: &[i16],
    params: &FrontendParams<'_>,
    chunk: impl FnMut() -> usize,
) -> Vec<MelPowers> {
    let (mut frontend, mut chunk, mut frames) = (PowerFrontend::new(params), chunk, Vec::new());
    let mut rest = pcm;
    while !rest.is_empty() {
        let (mut now, later) = rest.split_at(chunk().min(rest.len()));
        rest = later;
        while !now.is_empty() {
            let (consumed, ready) = frontend.push(now);
            now = &now[consumed..];
            if ready {
                frames.push(*frontend.powers());
            }
        }
    }
    frames
}

/// Largest distance of a bin's value from that of the `f64` transform of the same samples, in units
/// of the 16-bit sample.
const BIN_ERROR: f64 = 0.35;

#[test]
fn the_transform_is_within_a_third_of_a_sample_unit() {
    let mut worst = (0f64, 0f64);
    for (name, samples) in inputs(WINDOW_SAMPLES) {
        let mut window = Window::new();
        assert_eq!(window.push(&samples), (WINDOW_SAMPLES, true));
        let mut spectrum = Spectrum::new();
        let unit = f64::from(1 << SAMPLE_FRACTION_BITS);
        let hann = |i: usize| 0.5 - 0.5 * (TAU * (i as f64 + 0.5) / 480.0).cos();
        let mut real = [0.0; FFT_SIZE];
        for (i, (real, &sample)) in real.iter_mut().zip(&samples).enumerate() {
            *real = f64::from(sample) * hann(i);
        }
        spectrum.transform(window.samples());
        let exact = |stride: usize, offset: usize, bin: usize, points: usize| {
            let terms = real.iter().skip(offset).step_by(stride).enumerate();
            terms.fold([0.0, 0.0], |[re, im], (n, x)| {
                let angle = TAU * ((n * bin) % points) as f64 / points as f64;
                [re + x * angle.cos(), im - x * angle.sin()]
            })
        };
        for (k, &[re, im]) in spectrum.bins.iter().enumerate() {
            let (a, b) = (exact(2, 0, k, COMPLEX_POINTS), exact(2, 1, k, COMPLEX_POINTS));
            let error =
                (f64::from(re) / unit - (a[0] - b[1])).hypot(f64::from(im) / unit - (a[1] + b[0]));
            let near_zero = k.min(COMPLEX_POINTS - k) < 4;
            if !near_zero {
                worst.0 = worst.0.max(error);
            }
            // Samples are windowed and rounded down: half a unit of Q7 each, which bin 0 sums up.
            let allowed = if near_zero { 2.0 } else { BIN_ERROR };
            assert!(error < allowed, "{name} {k}: {error}");
        }
        spectrum.powers();
        let power_unit = f64::from(1 << POWER_FRACTION_BITS);
        for k in 4..COMPLEX_POINTS {
            let [re, im] = exact(1, 0, k, FFT_SIZE);
            let found = (power(spectrum.bins[k]) as f64 / power_unit).sqrt();
            let error = (found - re.hypot(im)).abs();
            worst.1 = worst.1.max(error);
            assert!(error < BIN_ERROR, "{name} {k}: {error}");
        }
    }
    std::println!("complex bins within {:.4}, real magnitudes within {:.4}", worst.0, worst.1);
}

/// The root of a mel power is within 10⁻⁵ of the `f64` reference, plus the effect of an error of
/// `0.25 + 5·10⁻⁷ · Σ|x|` in each bin's value. That covers the arithmetic and the 16 bits of the
/// window. (The rounding of samples to 16 bits alone gives a bin an error of 3.9.)
#[test]
fn mel_powers_are_those_of_the_f64_reference() {
    let table = Table::new();
    let mut worst = (0f64, 0f64);
    for (name, samples) in inputs(WINDOW_SAMPLES) {
        let found = all_powers(&samples, &table.params(), || WINDOW_SAMPLES);
        let loudness: f64 = samples.iter().map(|&s| f64::from(s).abs()).sum();
        for (channel, (&p, exact)) in found[0].iter().zip(table.reference(&samples)).enumerate() {
            let in_band =
                |&&(segment, _): &&(usize, f64)| segment == channel || segment == channel + 1;
            let bins = table.shares.iter().filter(in_band).count() as f64;
            let (found, root) = ((p as f64).sqrt(), exact.sqrt());
            let unit = (64.0 * bins).sqrt() * (0.25 + 5e-7 * loudness);
            let error = (found - root).abs();
            if root > 1e4 * unit {
                worst.0 = worst.0.max(error / root);
            }
            worst.1 = worst.1.max((error - 1e-5 * root) / unit);
            assert!(error < 1e-5 * root + unit, "{name} {channel}: {p} {exact}");
        }
    }
    std::println!("relative {:.2e}; {:.3} of the allowed error", worst.0, worst.1);
}

#[test]
fn any_chunking_gives_the_same_frames() {
    let table = Table::new();
    let pcm = Random(4).noise(7_777, 20_000.0);
    let whole = all_powers(&pcm, &table.params(), || 7_777);
    assert_eq!(whole.len(), 1 + (7_777 - 480) / 160);
    for seed in 1..30 {
        let mut random = Random(seed);
        let longest = [2, 20, 200, 2_000][seed as usize % 4];
        let chunked = all_powers(&pcm, &table.params(), || 1 + random.next() as usize % longest);
        assert!(chunked == whole, "seed {seed}");
    }
    // The frame at hop h depends only on its own window.
    for (hop, frame) in whole.iter().enumerate() {
        let window = &pcm[hop * HOP_SAMPLES..][..WINDOW_SAMPLES];
        assert_eq!(all_powers(window, &table.params(), || 480), [*frame]);
    }
}

fn normalizations(gain_table: &[u8]) -> Vec<Normalization<'_>> {
    let quantizer = Quantizer { offset_q8: 7_000, scale_q16: u16::MAX };
    let level = |statistic, attack_shift, decay_shift| {
        Some(Level { statistic, initial_q8: i16::MIN, attack_shift, decay_shift })
    };
    let log = |floor, level| Normalization::Log { floor, level, quantizer };
    let pcen = |strength_q8, smoothing_shift| Normalization::LogPcen {
        floor: 1 << 52,
        strength_q8,
        smoothing_shift,
        quantizer,
    };
    let pcan = |share| Normalization::Pcan {
        even_smoothing: share,
        odd_smoothing: 16_384 - share,
        min_signal_remaining: share,
        gain_table,
    };
    vec![
        log(0, None),
        log(1 << 52, level(LevelStatistic::Mean, 0, 15)),
        log(0, level(LevelStatistic::Max, 15, 0)),
        pcen(0, 15),
        pcen(256, 0),
        pcen(256, 6),
        pcan(0),
        pcan(409),
        pcan(16_384),
    ]
}

#[test]
fn extremes_do_not_overflow() {
    let table = Table::new();
    let gains: [Vec<u8>; 3] = [
        [0x00, 0x80].repeat(125),
        [0xFF, 0x7F].repeat(125),
        [0xFF, 0x7F, 0x00, 0x80].repeat(63)[..250].to_vec(),
    ];
    for normalization in gains.iter().flat_map(|gain| normalizations(gain)) {
        let params = FrontendParams { normalization, ..table.params() };
        assert_eq!(params.validate(), Ok(()));
        for (_, pcm) in inputs(4_000) {
            let mut frontend = Frontend::new(&params);
            let (mut rest, mut features) = (&pcm[..], [0; MEL_CHANNELS]);
            while !rest.is_empty() {
                rest = &rest[frontend.push(rest, &mut features).0..];
            }
        }
        let mut normalizer = Normalizer::new(normalization);
        for power in [u64::MAX, 0, u64::MAX, 1, 1 << 52, 0] {
            normalizer.process(&[power; MEL_CHANNELS]);
        }
    }
}

#[test]
fn the_level_takes_loudness_out() {
    let level = Level {
        statistic: LevelStatistic::Mean,
        initial_q8: 20 * 256,
        attack_shift: 4,
        decay_shift: 5,
    };
    let quantizer = Quantizer { offset_q8: 0, scale_q16: 8 * 256 };
    let params = Normalization::Log { floor: 0, level: Some(level), quantizer };
    let settle = |shift: u32| {
        let mut normalizer = Normalizer::new(params);
        let powers: MelPowers =
            core::array::from_fn(|c| (1 << shift) + ((c as u64) << (shift - 2)));
        let first = normalizer.process(&powers);
        let last = (0..400).map(|_| normalizer.process(&powers)).last();
        normalizer.reset();
        assert_eq!(normalizer.process(&powers), first);
        last
    };
    // Rounding of the level and of the logarithm may move a feature by one step, but does not here.
    assert_eq!(settle(20), settle(30));
    assert_eq!(settle(20), settle(44));
}

/// Regression test: four seconds of a square wave raised the level by some twenty octaves, and it
/// came down over many seconds.
#[test]
fn full_scale_leaves_the_level_of_the_room() {
    let table = Table::new();
    let level = Level {
        statistic: LevelStatistic::Mean,
        initial_q8: 26 * 256,
        attack_shift: 6,
        decay_shift: 8,
    };
    let quantizer = Quantizer { offset_q8: 256, scale_q16: 8 * 256 };
    let normalization = Normalization::Log { floor: 1 << 16, level: Some(level), quantizer };
    let params = FrontendParams { normalization, ..table.params() };
    let mut random = Random(7);
    let room = random.noise(5 * 16_000, 300.0);
    let square = |n: usize| (0..n).map(|n| [i16::MIN, i16::MAX][n / 20 % 2]).collect::<Vec<i16>>();
    // Features of the last second, with the samples of `disturbance` inserted into the room noise.
    let after = |disturbance: &[i16]| -> Vec<Features> {
        let (before, behind) = room.split_at(4 * 16_000);
        let pcm = [before, disturbance, behind].concat();
        let (mut frontend, mut features) = (Frontend::new(&params), [0; MEL_CHANNELS]);
        let (mut rest, mut all) = (&pcm[..], Vec::new());
        while !rest.is_empty() {
            let (count, ready) = frontend.push(rest, &mut features);
            rest = &rest[count..];
            if ready {
                all.push(features);
            }
        }
        // Drops the windows that hold both.
        all.split_off(all.len() - 95)
    };
    let quiet = after(&[]);
    for disturbance in [square(16_000), square(64_000), vec![i16::MIN; 64_000]] {
        let found = after(&disturbance);
        let apart = quiet.iter().flatten().zip(found.iter().flatten());
        let worst = apart.map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).max();
        // The windows that hold both still move the level by an octave and a half, which has eight
        // steps each.
        assert!(worst <= Some(12), "{worst:?}");
    }
    // Loud sound without a disturbance still raises the level.
    let found = after(&Random(8).noise(64_000, 12_000.0));
    let apart = quiet.iter().flatten().zip(found.iter().flatten());
    assert!(apart.map(|(a, b)| i32::from(*a) - i32::from(*b)).max() > Some(40));
}

#[test]
fn pcen_is_its_formula() {
    let quantizer = Quantizer { offset_q8: 0, scale_q16: 8 * 256 };
    let params =
        Normalization::LogPcen { floor: 1_000, strength_q8: 128, smoothing_shift: 3, quantizer };
    let mut normalizer = Normalizer::new(params);
    let (mut random, mut smoothed) = (Random(3), None);
    for _ in 0..200 {
        let power = 1u64 << (random.next() % 50);
        let p = power as f64;
        let m = smoothed.map_or(p, |m: f64| m + (p - m) / 8.0);
        smoothed = Some(m);
        let exact = 8.0 * ((p + 1_000.0).log2() - 0.5 * (m + 1_000.0).log2());
        let found = normalizer.process(&[power; MEL_CHANNELS]);
        assert!((f64::from(found[7]) - exact.min(127.0)).abs() < 0.55, "{} {exact}", found[7]);
    }
}

#[test]
fn validation_refuses_what_does_not_fit() {
    let table = Table::new();
    let good = table.params();
    assert_eq!(good.validate(), Ok(()));
    let short = FrontendParams { mel_weights: &table.weights[2..], ..good };
    assert!(matches!(short.validate(), Err(FrontendError::TableBytes { table: "mel weight", .. })));
    let short = FrontendParams { mel_starts: &[], ..good };
    assert!(matches!(short.validate(), Err(FrontendError::TableBytes { table: "mel start", .. })));
    for (index, bin) in [(0, 0u16), (3, 1), (41, 257), (20, u16::MAX)] {
        let mut starts = table.starts.clone();
        starts[2 * index..2 * index + 2].copy_from_slice(&bin.to_le_bytes());
        let bad = FrontendParams { mel_starts: &starts, ..good };
        assert_eq!(bad.validate(), Err(FrontendError::MelStart { index, bin }));
    }
    let mut weights = table.weights.clone();
    weights[10..12].copy_from_slice(&4_097u16.to_le_bytes());
    let bad = FrontendParams { mel_weights: &weights, ..good };
    assert_eq!(bad.validate(), Err(FrontendError::MelWeight { index: 5, weight: 4_097 }));
    let gain_table = [0; 249];
    for normalization in normalizations(&gain_table) {
        if matches!(normalization, Normalization::Pcan { .. }) {
            let bad = FrontendParams { normalization, ..good };
            assert!(matches!(bad.validate(), Err(FrontendError::TableBytes { table: "gain", .. })));
        }
    }
    let quantizer = Quantizer { offset_q8: 0, scale_q16: 0 };
    let normalization = Normalization::Log { floor: 0, level: None, quantizer };
    assert_eq!(normalization.validate(), Err(FrontendError::ZeroScale));
    let normalization = Normalization::Log { floor: u64::MAX, level: None, quantizer };
    assert!(matches!(
        normalization.validate(),
        Err(FrontendError::Range { parameter: "floor", .. })
    ));
}

#[test]
fn parameters_travel_through_postcard() {
    let table = Table::new();
    let gain = [7; 250];
    for normalization in normalizations(&gain) {
        let params = FrontendParams { normalization, ..table.params() };
        let bytes = postcard::to_allocvec(&params).unwrap();
        assert_eq!(postcard::from_bytes::<FrontendParams<'_>>(&bytes), Ok(params));
    }
}
