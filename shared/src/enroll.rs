//! Learning a word on the device: five utterances make a prototype head on the frozen trunk.
//!
//! A model can carry an *enrollment head*: a pointwise layer that whitens the trunk's output over
//! other speech (made on the laptop), a depthwise layer over time whose weights are zeros, and a logit
//! that adds it up. Enrolling fills the zeros: the weights become the sum of what the whitened trunk
//! said in five utterances, aligned. In whitened coordinates the product with a mean is the linear
//! discriminant between it and everything else (Fisher 1936, Hastie et al., The Elements of Statistical
//! Learning, 4.3). Nothing else of the model changes, so what is written is the old file with other
//! words in three places ([`Patch`]).
//!
//! In: loudness and whitened column of each step, by [`Observer`]. Out: a [`Patch`]. Integers only.

use crate::{
    artifact::{Affine, LANES, Model, Op, Patches, file_words},
    pipeline::{Observer, Step},
};

/// Utterances that make a head.
pub const UTTERANCES: usize = 5;
/// Most channels of the whitened trunk.
pub const MAX_CHANNELS: usize = 64;
/// Most taps of the depthwise layer.
pub const MAX_TAPS: usize = 12;
/// Columns that are kept: 2.56 s where a step is 40 ms.
const RING: usize = 64;
/// How far an utterance is moved to lie on those before it, in steps, to either side.
const SLACK: usize = 6;
/// Steps behind the last loud one that still belong to an utterance.
const LAG: usize = 2;
/// Quiet steps after which an utterance is over; enough for lag and slack.
const SILENCE: u8 = (LAG + SLACK) as u8 + 2;
/// Loud steps that are an utterance: 0.24 s.
const SHORTEST: u8 = 6;
/// Fractional bits of loudness and quiet.
const LOUDNESS_BITS: u32 = 4;
/// By how much a step's mean feature exceeds the quiet to be loud.
const LOUD: i32 = 12 << LOUDNESS_BITS;
/// By how much the quiet rises at a step: half a step of a feature. After a word the features' running
/// level comes down, so the features of a silence go up: where the word raised it by 24 dB, by a step of
/// a feature at first. If the quiet rose more slowly, such a silence would be loud.
const RISE: i32 = 1 << (LOUDNESS_BITS - 1);
/// Logits (Q8) between nothing and the mean of the utterances, each against the others.
const SPAN: i64 = 12 * 256;
/// The least mean of cosines at which five utterances are one word: 0.4. Of one person's recordings of a
/// word most fives lie above it, of five people's a third; of fives that are no word one in six
/// (docs/lab/updates.md).
const LEAST_LIKENESS_Q8: i32 = 102;
/// Sixteen steps of a channel: each of 64 channels is rounded by a third of one (root mean square), all
/// together by 2.3.
const LEAST_SCORE: i64 = 16 * LOGIT_WEIGHT;
/// Where between the two the threshold lies, which is a logit of 0: three quarters of the way. At 140/256 a
/// head fires several times as often without the word, and misses hardly less (docs/lab/updates.md).
const THRESHOLD_Q8: i64 = 192;
/// Root mean square of each whitened channel over other speech, in steps of `i8`.
pub const DEVIATION: i64 = 24;
/// The least length of an utterance along what all have in common, against the length that other speech has
/// on average: 0.53. A head of what is fainter fires everywhere.
const LEAST_STRENGTH_Q8: i64 = 136;

/// Why there is no head yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrollError {
    /// The model has no enrollment head.
    NoHead,
    /// So many utterances were heard.
    Utterances(u8),
    /// The utterances have too little in common.
    Unlike,
}

/// An enrollment head of a model, and where its arrays lie in the file.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    taps: usize,
    dilation: usize,
    channels: usize,
    /// The buffer that holds the whitened column after a step.
    pub column: u8,
    /// First word in the file of the depthwise weights, of its factors, and of the logit's factors.
    at: [usize; 3],
}

impl Head {
    /// The enrollment head of a model: the last head that is a pointwise and a depthwise layer
    /// without a ReLU, and one logit.
    pub fn of(model: &Model<'_>, file: &[u32]) -> Option<Self> {
        let mut first = usize::from(model.trunk_layers);
        let mut found = None;
        for (i, head) in model.heads.iter().enumerate() {
            let count = usize::from(head.layers);
            let mut own = model.layers.iter().skip(first).take(count);
            if let (2, Some(white), Some(over_time)) = (count, own.next(), own.next())
                && let Op::Pointwise { affine: white_affine } = &white.op
                && let Op::Depthwise { taps, dilation, stride: 1, input_zero: 0, affine } =
                    &over_time.op
                && (white_affine.zero_point, affine.zero_point, head.logits.outputs) == (0, 0, 1)
                && usize::from(affine.outputs) <= MAX_CHANNELS
                && usize::from(*taps) <= MAX_TAPS
                && usize::from(*taps) * usize::from(*dilation) + 2 * SLACK < RING
            {
                found = Some((i, first + 1, *taps, *dilation, affine, white.output));
            }
            first += count;
        }
        let (head, layer, taps, dilation, affine, column) = found?;
        let [weights, factors] = place(model, file, layer)?;
        let [_, logit] = place(model, file, model.layers.len() + head)?;
        Some(Self {
            taps: taps.into(),
            dilation: dilation.into(),
            channels: affine.outputs.into(),
            column,
            at: [weights, factors, logit],
        })
    }
}

/// Where the arrays of a layer lie in the file, or those of a head's logits, which follow the layers.
fn place(model: &Model<'_>, file: &[u32], index: usize) -> Option<[usize; 2]> {
    let words = |affine: &Affine<'_>| {
        [affine.weights.len(), size_of_val(affine.factors) / size_of::<u32>()]
    };
    let behind: usize = model.affines().flat_map(words).sum();
    let mut at = file_words(file)?.checked_sub(behind)?;
    let layers = model.layers.iter().map(|layer| layer.op.affine());
    let all = layers.chain(model.heads.iter().map(|head| Some(&head.logits)));
    for (i, affine) in all.enumerate() {
        let [weights, factors] = affine.map_or([0, 0], words);
        if i == index {
            return affine.map(|_| [at, at + weights]);
        }
        at += weights + factors;
    }
    None
}

type Column = [i8; MAX_CHANNELS];

/// What a host can ask of a device that learns.
pub trait Learn {
    /// Begins to listen for five utterances.
    ///
    /// # Errors
    /// [`EnrollError::NoHead`].
    fn begin(&mut self) -> Result<(), EnrollError>;

    /// Utterances heard since.
    fn heard(&self) -> u8;

    /// The head that they make.
    ///
    /// # Errors
    /// [`EnrollError`].
    fn patch(&self) -> Result<Patch, EnrollError>;
}

/// Learns nothing.
impl Learn for () {
    fn begin(&mut self) -> Result<(), EnrollError> {
        Err(EnrollError::NoHead)
    }

    fn heard(&self) -> u8 {
        0
    }

    fn patch(&self) -> Result<Patch, EnrollError> {
        Err(EnrollError::NoHead)
    }
}

/// Listens for utterances.
#[derive(Clone, Debug)]
pub struct Enroller {
    head: Option<Head>,
    /// Wants utterances.
    active: bool,
    ring: [Column; RING],
    /// Steps heard.
    steps: usize,
    quiet: Option<i32>,
    loudness: i32,
    /// Loud steps of the utterance under way, and quiet ones since.
    loud: u8,
    silent: u8,
    utterances: [[Column; MAX_TAPS]; UTTERANCES],
    heard: u8,
}

impl Default for Enroller {
    fn default() -> Self {
        Self::new()
    }
}

impl Enroller {
    /// Of no model.
    pub const fn new() -> Self {
        Self {
            head: None,
            active: false,
            ring: [[0; MAX_CHANNELS]; RING],
            steps: 0,
            quiet: None,
            loudness: 0,
            loud: 0,
            silent: 0,
            utterances: [[[0; MAX_CHANNELS]; MAX_TAPS]; UTTERANCES],
            heard: 0,
        }
    }

    /// Belongs to the model in `file` from now on.
    pub fn watch(&mut self, model: &Model<'_>, file: &[u32]) {
        self.head = Head::of(model, file);
        (self.active, self.heard, self.steps, self.quiet) = (false, 0, 0, None);
    }

    /// The same of the file's bytes, which must begin and end at words; else nothing can be learned.
    pub fn watch_file(&mut self, model: &Model<'_>, file: &[u8]) {
        self.watch(model, bytemuck::try_cast_slice(file).unwrap_or_default());
    }

    /// All are there.
    pub fn is_complete(&self) -> bool {
        usize::from(self.heard) == UTTERANCES
    }

    /// How alike the utterances are, once all are there.
    pub fn likeness(&self) -> Option<Likeness> {
        let head = self.head.filter(|_| self.is_complete())?;
        Some(Likeness::of(head, &self.utterances))
    }

    /// The column so many steps before the newest; zeros before the first.
    fn past(&self, back: usize) -> &Column {
        const NONE: &Column = &[0; MAX_CHANNELS];
        let at = self.steps.checked_sub(back + 1).filter(|_| back < RING);
        at.and_then(|at| self.ring.get(at % RING)).unwrap_or(NONE)
    }

    /// An utterance has ended: its last loud step is `back` steps ago.
    fn take(&mut self, head: Head, back: usize) {
        let end = back.saturating_sub(LAG);
        // The first lies where it is loud; the others where they fit the ones before best.
        let heard = usize::from(self.heard);
        let (first, last) =
            if heard == 0 { (end, end) } else { (end.saturating_sub(SLACK), end + SLACK) };
        let fit = |&end: &usize| -> i64 {
            let taps = 0..head.taps;
            let (mut product, mut power) = (0i64, 1i64);
            for k in taps {
                let column = self.past(end + k * head.dilation);
                for (c, &x) in column.iter().enumerate().take(head.channels) {
                    let others = self.utterances.iter().take(heard);
                    let sum: i64 = others.map(|u| i64::from(u[k][c])).sum();
                    product += sum * i64::from(x);
                    power += i64::from(x) * i64::from(x);
                }
            }
            // The cosine, but for what all have in common.
            (product << 8) / i64::from(power.unsigned_abs().isqrt() as u32).max(1)
        };
        let end = (first..=last).max_by_key(fit).unwrap_or(end);
        let mut taken = [[0; MAX_CHANNELS]; MAX_TAPS];
        for (k, tap) in taken.iter_mut().enumerate().take(head.taps) {
            *tap = *self.past(end + k * head.dilation);
        }
        if let Some(slot) = self.utterances.get_mut(heard) {
            *slot = taken;
            self.heard += 1;
        }
        self.active = !self.is_complete();
    }
}

impl Learn for Enroller {
    fn begin(&mut self) -> Result<(), EnrollError> {
        self.head.ok_or(EnrollError::NoHead)?;
        (self.active, self.heard, self.loud, self.silent) = (true, 0, 0, 0);
        Ok(())
    }

    fn heard(&self) -> u8 {
        self.heard
    }

    fn patch(&self) -> Result<Patch, EnrollError> {
        let head = self.head.ok_or(EnrollError::NoHead)?;
        if !self.is_complete() {
            return Err(EnrollError::Utterances(self.heard));
        }
        if Likeness::of(head, &self.utterances).mean_q8 < LEAST_LIKENESS_Q8 {
            return Err(EnrollError::Unlike);
        }
        Patch::of(head, &self.utterances).ok_or(EnrollError::Unlike)
    }
}

impl Observer for Enroller {
    fn features(&mut self, features: &[i8]) {
        let sum: i32 = features.iter().map(|&feature| i32::from(feature)).sum();
        self.loudness = (sum << LOUDNESS_BITS) / (features.len() as i32).max(1);
        // Down at once, up slowly: the quiet of the place.
        let quiet = self.quiet.unwrap_or(self.loudness).min(self.loudness);
        self.quiet = Some(quiet + RISE);
    }

    fn column_buffer(&self) -> Option<u8> {
        self.head.map(|head| head.column)
    }

    fn column(&mut self, column: &[i8]) {
        if let Some(slot) = self.ring.get_mut(self.steps % RING) {
            slot.iter_mut().zip(column).for_each(|(slot, &x)| *slot = x);
        }
        self.steps += 1;
    }

    fn step(&mut self, _: Step<'_>) {
        let (Some(head), true) = (self.head, self.active) else { return };
        let is_loud = self.loudness - self.quiet.unwrap_or(0) > LOUD;
        if is_loud {
            self.loud = self.loud.saturating_add(1);
            self.silent = 0;
        } else {
            self.silent = self.silent.saturating_add(1);
            if self.silent >= SILENCE {
                if self.loud >= SHORTEST {
                    self.take(head, usize::from(self.silent));
                }
                (self.loud, self.silent) = (0, 0);
            }
        }
    }
}

/// How much utterances have in common: the cosine between each and the sum of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// The mean of the cosines, Q8.
    pub mean_q8: i32,
    /// The least of them, Q8.
    pub least_q8: i32,
}

impl Likeness {
    fn of(head: Head, utterances: &[[Column; MAX_TAPS]; UTTERANCES]) -> Self {
        let (mut sum, mut least) = (0, i32::MAX);
        for own in utterances {
            let (mut product, mut power, mut others_power) = (0i64, 0u64, 0u64);
            for k in 0..head.taps {
                for c in 0..head.channels {
                    let x = i64::from(own[k][c]);
                    let all: i64 = utterances.iter().map(|u| i64::from(u[k][c])).sum();
                    product += x * (all - x);
                    power += (x * x).unsigned_abs();
                    others_power += ((all - x) * (all - x)).unsigned_abs();
                }
            }
            // At most 2⁷ · 2⁹ · 768 < 2²⁶ above, and 2²⁴ · 2²⁸ below.
            let norm = (power * others_power).isqrt().max(1);
            let cosine = ((product << 8) / norm as i64) as i32;
            sum += cosine;
            least = least.min(cosine);
        }
        Self { mean_q8: sum / UTTERANCES as i32, least_q8: least }
    }
}

/// Words of the depthwise weights, most.
const WEIGHT_WORDS: usize = MAX_CHANNELS * MAX_TAPS / 2;
/// Words of the depthwise factors, most.
const FACTOR_WORDS: usize = MAX_CHANNELS * 2;

/// What replaces the zeros of an enrollment head.
#[derive(Clone, Debug)]
pub struct Patch {
    head: Head,
    weights: [u32; WEIGHT_WORDS],
    factors: [u32; FACTOR_WORDS],
    logit: [u32; 2 * LANES],
}

impl Patch {
    fn of(head: Head, utterances: &[[Column; MAX_TAPS]; UTTERANCES]) -> Option<Self> {
        const N: i64 = UTTERANCES as i64;
        let at = |k: usize, c: usize| utterances.iter().map(move |u| i64::from(u[k][c]));
        // What a channel says to the mean utterance, and what each says to the others.
        let (mut largest, mut common, mut all) = (1i64, 0i64, 0u64);
        for c in 0..head.channels {
            let mut power = 0;
            for k in 0..head.taps {
                let sum: i64 = at(k, c).sum();
                power += sum * sum / N;
                all += (sum * sum).unsigned_abs();
                common += at(k, c).map(|x| x * (sum - x)).sum::<i64>();
            }
            largest = largest.max(power);
        }
        // A product with the sum of all, not of the four others; the mean of five.
        let common = common * N / (N - 1) / N;
        // At most 768 products of 2⁷ and 5 · 2⁷, five times: below 2³⁸ and 2³².
        let other = (all * (head.taps * head.channels) as u64).isqrt() as i64 * DEVIATION;
        if common << 8 < other * LEAST_STRENGTH_Q8 {
            return None;
        }
        // Of the largest channel, twice the mean is full scale; a multiplier is below 2³¹.
        let scale = ((127i64 << 32) / (2 * largest)).min(i64::from(i32::MAX));
        // The logit adds the channels with this weight each; see the exporter.
        let score = ((i128::from(common) * i128::from(scale)) >> 32) as i64 * LOGIT_WEIGHT;
        // Sums of channels that are rounded must still say something.
        if score < LEAST_SCORE {
            return None;
        }
        let multiplier = ((SPAN << 32) / score).min(i64::from(i32::MAX));
        let bias = -score * THRESHOLD_Q8 / 256;
        let mut patch = Self {
            head,
            weights: [0; WEIGHT_WORDS],
            factors: [0; FACTOR_WORDS],
            logit: [0; 2 * LANES],
        };
        for k in 0..head.taps {
            for c in 0..head.channels {
                let sum = at(k, c).sum::<i64>() as i16 as u16;
                // `(blocks of 4 channels, taps, 4)`, two a word.
                let half = (c / LANES * head.taps + k) * LANES + c % LANES;
                if let Some(word) = patch.weights.get_mut(half / 2) {
                    *word |= u32::from(sum) << (16 * (half % 2));
                }
            }
        }
        for c in 0..head.channels {
            let at = c / LANES * 2 * LANES + LANES + c % LANES;
            if let Some(word) = patch.factors.get_mut(at) {
                *word = scale as u32;
            }
        }
        patch.logit[0] = bias as i32 as u32;
        patch.logit[LANES] = multiplier as u32;
        Some(patch)
    }

    /// What to put over the file of the model.
    pub fn patches(&self) -> Patches<'_> {
        let Head { taps, channels, at: [weights, factors, logit], .. } = self.head;
        let blocks = channels.div_ceil(LANES);
        let weight_words = self.weights.get(..blocks * taps * LANES / 2).unwrap_or_default();
        let factor_words = self.factors.get(..blocks * 2 * LANES).unwrap_or_default();
        Patches::new([(weights, weight_words), (factors, factor_words), (logit, &self.logit)])
    }
}

/// The weight of each channel in an enrollment head's logit.
pub const LOGIT_WEIGHT: i64 = 64;
