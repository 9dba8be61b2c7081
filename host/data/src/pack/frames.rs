//! Codec for the frames of a pack: one coded frame per two frames of 10 ms, in steps of 3 dB, each
//! number predicted from its neighbours.
//!
//! A number is coded as its difference to the same band in the previous coded frame: a zero flag,
//! the sign, and the size in unary. The probabilities depend on three differences that the decoder
//! already has: the band below against its previous value, this band's previous value against the
//! one before, and the band above against this one in the previous frame.

use rand::{Rng, RngExt};
use wakeling_shared::frontend::MEL_CHANNELS;

use super::range::{Chance, Decoder, Encoder};
use wakeling_audio::features::LogMel;

/// Frames per coded frame.
pub const FRAMES: usize = 2;
/// Quantization step in the Q8 octaves of [`LogMel`]: one octave, or 3 dB.
pub const STEP: i16 = 256;
/// Largest size that is written in unary; larger ones are written with eight bits.
const UNARY: usize = 12;
/// Number of contexts of each kind.
const CONTEXTS: usize = 7 * 5 * 5;

type Coded = [u8; MEL_CHANNELS];

/// Probabilities of all coded bits.
struct Chances {
    is_zero: Vec<Chance>,
    sign: Vec<Chance>,
    /// Indexed by sign, context of the band below, and size so far.
    more: Vec<Chance>,
    rest: [Chance; 256],
}

impl Chances {
    fn new() -> Self {
        Self {
            is_zero: vec![Chance::default(); CONTEXTS],
            sign: vec![Chance::default(); CONTEXTS],
            more: vec![Chance::default(); 2 * 7 * UNARY],
            rest: [Chance::default(); 256],
        }
    }
}

/// Context of a number before it is coded.
struct Context {
    before: u8,
    all: usize,
    below: usize,
}

impl Context {
    fn of(frame: &Coded, last: &Coded, earlier: &Coded, band: usize) -> Self {
        let less = |a: u8, b: u8, most: i32| {
            ((i32::from(a) - i32::from(b)).clamp(-most, most) + most) as usize
        };
        let below = if band > 0 { less(frame[band - 1], last[band - 1], 3) } else { 3 };
        let past = less(last[band], earlier[band], 2);
        let above = if band + 1 < MEL_CHANNELS { less(last[band + 1], last[band], 2) } else { 2 };
        Self { before: last[band], all: (below * 5 + past) * 5 + above, below }
    }
}

/// Bit coder. One procedure serves writing and reading.
trait Bits {
    /// Writes `bit` and returns it, or ignores it and returns the next bit.
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool;
}

impl Bits for Encoder {
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool {
        Encoder::bit(self, chance, bit);
        bit
    }
}

impl Bits for Decoder<'_> {
    fn bit(&mut self, chance: &mut Chance, _: bool) -> bool {
        Decoder::bit(self, chance)
    }
}

/// Writes `value` and returns it, or ignores it and returns the next number.
fn number(bits: &mut impl Bits, chances: &mut Chances, context: &Context, value: u8) -> u8 {
    let difference = value.wrapping_sub(context.before) as i8;
    if bits.bit(&mut chances.is_zero[context.all], difference == 0) {
        return context.before;
    }
    let negative = bits.bit(&mut chances.sign[context.all], difference < 0);
    let target = usize::from(difference.unsigned_abs());
    let first = (usize::from(negative) * 7 + context.below) * UNARY;
    let mut size = 1;
    while size <= UNARY && bits.bit(&mut chances.more[first + size - 1], target > size) {
        size += 1;
    }
    if size > UNARY {
        let mut node = 1;
        for shift in (0..8).rev() {
            let bit = bits.bit(&mut chances.rest[node], target >> shift & 1 == 1);
            node = (node << 1 | usize::from(bit)) & 255;
            size = if shift == 7 { 0 } else { size } << 1 | usize::from(bit);
        }
    }
    let size = size as u8;
    context.before.wrapping_add(if negative { size.wrapping_neg() } else { size })
}

/// Encodes clips, one after another, into one stream of bytes.
pub fn encode<'a>(clips: impl Iterator<Item = &'a LogMel>) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut chances = Chances::new();
    for clip in clips {
        let (mut last, mut earlier): (Coded, Coded) = ([0; MEL_CHANNELS], [0; MEL_CHANNELS]);
        for pair in clip.chunks(FRAMES) {
            let coded = coarse(pair);
            let mut frame = [0; MEL_CHANNELS];
            for band in 0..MEL_CHANNELS {
                let context = Context::of(&frame, &last, &earlier, band);
                frame[band] = number(&mut encoder, &mut chances, &context, coded[band]);
            }
            (earlier, last) = (last, frame);
        }
    }
    encoder.finish()
}

/// Returns the mean of the logarithms, in steps.
fn coarse(frames: &[[i16; MEL_CHANNELS]]) -> Coded {
    let count = frames.len().max(1) as i32;
    std::array::from_fn(|c| {
        let sum: i32 = frames.iter().map(|f| i32::from(f[c])).sum();
        let step = i32::from(STEP) * count;
        (sum + step / 2).div_euclid(step).clamp(0, 255) as u8
    })
}

/// Decoder of clips.
pub struct Clips<'a> {
    decoder: Decoder<'a>,
    chances: Chances,
}

impl<'a> Clips<'a> {
    /// Creates a decoder for the output of [`encode`].
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { decoder: Decoder::new(bytes), chances: Chances::new() }
    }

    /// Decodes the next clip of `frames` frames; `None` if the bytes end before it does. The
    /// logarithms are interpolated between coded frames and get a uniform dither of one step, so
    /// steady sounds are not constant.
    pub fn next(&mut self, frames: usize, rng: &mut impl Rng) -> Option<LogMel> {
        let (mut last, mut earlier): (Coded, Coded) = ([0; MEL_CHANNELS], [0; MEL_CHANNELS]);
        // Memory grows with decoded frames, so a forged length cannot exhaust it.
        let mut coded: Vec<Coded> = Vec::new();
        for _ in 0..frames.div_ceil(FRAMES) {
            let mut frame = [0; MEL_CHANNELS];
            for band in 0..MEL_CHANNELS {
                let context = Context::of(&frame, &last, &earlier, band);
                frame[band] = number(&mut self.decoder, &mut self.chances, &context, 0);
            }
            if self.decoder.is_past_end() {
                return None;
            }
            coded.push(frame);
            (earlier, last) = (last, frame);
        }
        Some((0..frames).map(|t| interpolated(&coded, t, rng)).collect())
    }
}

/// Returns frame `t` of 10 ms: three parts of its own coded frame and one of the nearest other one.
fn interpolated(coded: &[Coded], t: usize, rng: &mut impl Rng) -> [i16; MEL_CHANNELS] {
    let own = t / FRAMES;
    let near = if t.is_multiple_of(FRAMES) { own.saturating_sub(1) } else { own + 1 };
    let at = |k: usize| coded.get(k.min(coded.len().saturating_sub(1)));
    let (Some(a), Some(b)) = (at(own), at(near)) else { return [0; MEL_CHANNELS] };
    std::array::from_fn(|c| {
        let mixed = (3 * i32::from(a[c]) + i32::from(b[c])) * i32::from(STEP) / 4;
        let dither = rng.random_range(-STEP / 2..STEP / 2);
        // No real power reaches the upper limit, but a forged file may.
        (mixed + i32::from(dither)).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn clip(seed: u64, frames: usize) -> LogMel {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut level = 4_000i16;
        let frame = |_| {
            level = (level + rng.random_range(-300..300)).clamp(0, 14_000);
            std::array::from_fn(|c| level + 20 * c as i16 + rng.random_range(0..500))
        };
        (0..frames).map(frame).collect()
    }

    #[test]
    fn slow_sounds_come_back_to_within_a_step() {
        let slow: LogMel =
            (0..101).map(|t| std::array::from_fn(|c| 3_000 + 13 * t + 90 * c as i16)).collect();
        let clips = [slow, clip(1, 7), LogMel::new()];
        let bytes = encode(clips.iter());
        let mut reader = Clips::new(&bytes);
        let mut rng = StdRng::seed_from_u64(0);
        for (a, b) in clips[0].iter().zip(reader.next(101, &mut rng).unwrap()) {
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= STEP + STEP / 4, "{a} {b}");
            }
        }
        assert_eq!(reader.next(7, &mut rng).unwrap().len(), 7);
        assert_eq!(reader.next(0, &mut rng), Some(LogMel::new()));
        assert_eq!(reader.next(2_000_000, &mut rng), None);
    }

    #[test]
    fn every_number_comes_back() {
        // Jumps of any size, including more than the largest unary size.
        let mut rng = StdRng::seed_from_u64(3);
        let clip: LogMel = (0..400)
            .map(|_| {
                [[0i16; 40], std::array::from_fn(|_| rng.random_range(0..=255i16) % 120 * STEP)]
            })
            .flat_map(|[_, f]| [f, f])
            .collect();
        let bytes = encode(std::iter::once(&clip));
        let mut reader = Clips::new(&bytes);
        let (mut last, mut earlier): (Coded, Coded) = ([0; MEL_CHANNELS], [0; MEL_CHANNELS]);
        for pair in clip.chunks(FRAMES) {
            let expected = coarse(pair);
            let mut frame = [0; MEL_CHANNELS];
            for band in 0..MEL_CHANNELS {
                let context = Context::of(&frame, &last, &earlier, band);
                frame[band] = number(&mut reader.decoder, &mut reader.chances, &context, 0);
            }
            assert_eq!(frame, expected);
            (earlier, last) = (last, frame);
        }
    }
}
