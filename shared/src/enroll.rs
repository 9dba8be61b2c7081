//! Enrollment on the device: builds a prototype head on the frozen backbone from five utterances.
//!
//! A model can carry an *enrollment head*, made on the laptop. It has three layers: a pointwise
//! layer that whitens the embeddings over negative data, a depthwise layer over time whose weights
//! are zeros, and a logit that sums it. Enrollment fills in the zeros. The rest of the model stays
//! as it is, so the new file is the old one with other words in three places ([`Patch`]).
//!
//! A model with [`Statistics`] of negative speech gets the linear discriminant between the aligned
//! utterances and negative speech, over channels and time, and a threshold in standard deviations
//! of its score (`enroll/discriminant.rs`). Without them the weights are the sum of the whitened
//! utterances, and the threshold is a share of their score; such heads have many more false accepts
//! (docs/lab/enrolling.md).
//!
//! In: loudness and whitened column of each step, by [`Observer`]. Out: a [`Patch`]. Integers only.

mod discriminant;

use crate::{
    model::{
        ENROLLMENT_CHANNELS, ENROLLMENT_SPAN, ENROLLMENT_TAPS, EnrollmentHead, LANES, Model,
        Patches, Statistics, file_words,
    },
    pipeline::{Observer, Step},
};
use discriminant::{MAX_UTTERANCES, NO_COLUMN, NO_UTTERANCE, discriminant, sums};

/// Number of utterances from which a device makes a head.
pub const UTTERANCES: usize = 5;
/// Largest number of channels of the whitened embeddings.
pub const MAX_CHANNELS: usize = ENROLLMENT_CHANNELS;
/// Largest number of taps of the depthwise layer.
pub const MAX_TAPS: usize = ENROLLMENT_TAPS;
/// Number of columns that are kept: 1.92 s where a step is 40 ms. An utterance ends up to 14 steps
/// ago and is up to 22 long.
const RING: usize = ENROLLMENT_SPAN + 2 * SLACK;
/// Largest shift that aligns an utterance with those before it, in steps, to either side.
const SLACK: usize = 6;
/// Number of steps after the last loud one that still belong to an utterance.
const LAG: usize = 2;
/// Number of quiet steps that end an utterance; enough for lag and slack.
const SILENCE: u8 = (LAG + SLACK) as u8 + 2;
/// Least number of loud steps in an utterance: 0.24 s.
const SHORTEST: u8 = 6;
/// Fractional bits of the loudness and the noise floor.
const LOUDNESS_BITS: u32 = 4;
/// Excess of a step's mean feature over the noise floor above which the step is loud.
const LOUD: i32 = 12 << LOUDNESS_BITS;
/// Rise of the noise floor per step: half a unit of a feature. After a word the running level of
/// the features comes down, so the features of a silence go up, at first by one unit per step where
/// the word raised the level by 24 dB. With a slower noise floor, such a silence would be loud.
const RISE: i32 = 1 << (LOUDNESS_BITS - 1);
/// Distance (Q8) between a logit of nothing and the mean logit of the utterances, each against the
/// others.
const SPAN: i64 = 12 * 256;
/// Least mean of cosines at which five utterances count as one keyword: 0.4. Most sets of five
/// recordings of a word by one person exceed it; of five persons' sets a third does, of sets
/// without a common word one in six (docs/lab/updates.md).
const LEAST_LIKENESS_Q8: i32 = 102;
/// Bias of the logit of an empty head, a quarter of the least that a model may have.
const LOWEST_BIAS: i32 = -(1 << 28);
/// Least score: sixteen units of a channel. Rounding moves each of 64 channels by a third of a unit
/// (root mean square), and all together by 2.3.
const LEAST_SCORE: i64 = 16 * LOGIT_WEIGHT;
/// Position of the threshold (a logit of 0) between nothing and the mean: three quarters of the
/// way. At 140/256 a head has several times as many false accepts, with hardly fewer misses
/// (docs/lab/updates.md).
const THRESHOLD_Q8: i64 = 192;
/// Root mean square of each whitened channel over negative data, in units of `i8`.
pub const DEVIATION: i64 = 24;
/// Least length of an utterance along the direction that all have in common: 0.53 of the mean
/// length of negative data. A head made from weaker utterances fires everywhere.
const LEAST_STRENGTH_Q8: i64 = 136;

/// Reason for which there is no head yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrollError {
    /// The model has no enrollment head.
    NoHead,
    /// Only this many utterances were recorded.
    Utterances(u8),
    /// The utterances have too little in common.
    Unlike,
}

/// The enrollment head of a model, and the positions of its arrays in the file.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    taps: usize,
    dilation: usize,
    channels: usize,
    /// Index of the buffer that holds the whitened column after a step.
    pub column: u8,
    /// Index in the file of the first word of the depthwise weights, of their factors, and of the
    /// logit's factors.
    at: [usize; 3],
}

impl Head {
    /// Finds the enrollment head of a model ([`Model::enrollment_head`]), whose file is `file`.
    pub fn of(model: &Model<'_>, file: &[u32]) -> Option<Self> {
        let EnrollmentHead { head, layer, taps, dilation, channels, column } =
            model.enrollment_head()?;
        let [weights, bias_scales] = place(model, file, layer)?;
        let [_, logit] = place(model, file, model.layers.len() + head)?;
        Some(Self { taps, dilation, channels, column, at: [weights, bias_scales, logit] })
    }
}

/// Returns the positions in the file of a layer's arrays. Indices after the layers mean the heads'
/// logits.
fn place(model: &Model<'_>, file: &[u32], index: usize) -> Option<[usize; 2]> {
    let behind: usize = model.arrays().flatten().map(<[u32]>::len).sum();
    let mut at = file_words(file)?.checked_sub(behind)?;
    for (i, [weights, bias_scales]) in model.arrays().enumerate() {
        if i == index {
            return (!weights.is_empty()).then_some([at, at + weights.len()]);
        }
        at += weights.len() + bias_scales.len();
    }
    None
}

type Column = [i8; MAX_CHANNELS];
/// Aligned columns of an utterance, tap 0 the newest.
type Utterance = [Column; MAX_TAPS];

/// Enrollment commands that a host can send to a device.
pub trait Learn {
    /// Starts to record five utterances.
    ///
    /// # Errors
    /// [`EnrollError::NoHead`] if the model has no enrollment head.
    fn begin(&mut self) -> Result<(), EnrollError>;

    /// Stops recording. Utterances recorded so far are dropped.
    fn cancel(&mut self);

    /// Number of utterances recorded since.
    fn utterance_count(&self) -> u8;

    /// Builds the head from the utterances, in place: a board has no stack to spare for copies.
    ///
    /// # Errors
    /// Any [`EnrollError`], by its cause.
    fn patch(&self, patch: &mut Patch) -> Result<(), EnrollError>;

    /// Builds the patch that empties the head again, so that it detects nothing.
    ///
    /// # Errors
    /// [`EnrollError::NoHead`] if the model has no enrollment head.
    fn forget(&self, patch: &mut Patch) -> Result<(), EnrollError>;
}

/// Implementation for a device without enrollment.
impl Learn for () {
    fn begin(&mut self) -> Result<(), EnrollError> {
        Err(EnrollError::NoHead)
    }

    fn cancel(&mut self) {}

    fn utterance_count(&self) -> u8 {
        0
    }

    fn patch(&self, _: &mut Patch) -> Result<(), EnrollError> {
        Err(EnrollError::NoHead)
    }

    fn forget(&self, _: &mut Patch) -> Result<(), EnrollError> {
        Err(EnrollError::NoHead)
    }
}

/// Records utterances and builds a head from them.
///
/// `'m` is the lifetime of the model's file, whose statistics it uses. `N` is the number of
/// utterances, at most 8; experiments use others than [`UTTERANCES`].
#[derive(Clone, Debug)]
pub struct Enroller<'m, const N: usize = UTTERANCES> {
    head: Option<Head>,
    statistics: Option<Statistics<'m>>,
    /// `true` while utterances are recorded.
    active: bool,
    ring: [Column; RING],
    /// Number of steps processed.
    steps: usize,
    quiet: Option<i32>,
    loudness: i32,
    /// Number of loud steps in the current utterance, and of quiet ones after them.
    loud: u8,
    silent: u8,
    utterances: [Utterance; N],
    utterance_count: u8,
}

impl<const N: usize> Default for Enroller<'_, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'m, const N: usize> Enroller<'m, N> {
    /// Creates an enroller without a model.
    pub const fn new() -> Self {
        const { assert!(N <= MAX_UTTERANCES, "sums of more utterances would overflow") };
        Self {
            head: None,
            statistics: None,
            active: false,
            ring: [NO_COLUMN; RING],
            steps: 0,
            quiet: None,
            loudness: 0,
            loud: 0,
            silent: 0,
            utterances: [NO_UTTERANCE; N],
            utterance_count: 0,
        }
    }

    /// Uses the enrollment head of `model`, whose file is `file`, from now on.
    pub fn watch(&mut self, model: &Model<'m>, file: &[u32]) {
        self.head = Head::of(model, file);
        self.statistics = model.statistics;
        (self.active, self.utterance_count, self.steps, self.quiet) = (false, 0, 0, None);
    }

    /// As [`Enroller::watch`], with the bytes of the file. They must start and end at words, or no
    /// head is found.
    pub fn watch_file(&mut self, model: &Model<'m>, file: &[u8]) {
        self.watch(model, bytemuck::try_cast_slice(file).unwrap_or_default());
    }

    /// Drops the model and its utterances. Call it before the file may change.
    pub fn release(&mut self) {
        (self.head, self.statistics) = (None, None);
        self.cancel();
    }

    /// Returns whether utterances are being recorded.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Returns whether all utterances are recorded.
    pub fn is_complete(&self) -> bool {
        usize::from(self.utterance_count) == N
    }

    /// Similarity of the utterances, once all are recorded.
    pub fn likeness(&self) -> Option<Likeness> {
        let head = self.head.filter(|_| self.is_complete())?;
        Some(Likeness::of(head, &self.utterances))
    }

    /// Returns the column `back` steps before the newest; zeros before the first.
    fn past(&self, back: usize) -> &Column {
        const NONE: &Column = &NO_COLUMN;
        let at = self.steps.checked_sub(back + 1).filter(|_| back < RING);
        at.and_then(|at| self.ring.get(at % RING)).unwrap_or(NONE)
    }

    /// Stores an utterance whose last loud step is `back` steps ago.
    fn take(&mut self, head: Head, back: usize) {
        let end = back.saturating_sub(LAG);
        // The first utterance is placed by its loudness; the others where they fit the earlier ones
        // best.
        let utterance_count = usize::from(self.utterance_count);
        let (first, last) = if utterance_count == 0 {
            (end, end)
        } else {
            (end.saturating_sub(SLACK), end + SLACK)
        };
        let fit = |&end: &usize| -> i64 {
            let taps = 0..head.taps;
            let (mut product, mut power) = (0i64, 1i64);
            for k in taps {
                let column = self.past(end + k * head.dilation);
                for (c, &x) in column.iter().enumerate().take(head.channels) {
                    let others = self.utterances.iter().take(utterance_count);
                    let sum: i64 = others.map(|u| i64::from(u[k][c])).sum();
                    product += sum * i64::from(x);
                    power += i64::from(x) * i64::from(x);
                }
            }
            // Cosine, up to a factor that all positions share.
            (product << 8) / i64::from(power.unsigned_abs().isqrt() as u32).max(1)
        };
        let end = (first..=last).max_by_key(fit).unwrap_or(end);
        let mut taken = NO_UTTERANCE;
        for (k, tap) in taken.iter_mut().enumerate().take(head.taps) {
            *tap = *self.past(end + k * head.dilation);
        }
        if let Some(slot) = self.utterances.get_mut(utterance_count) {
            *slot = taken;
            self.utterance_count += 1;
        }
        self.active = !self.is_complete();
    }
}

impl<const N: usize> Learn for Enroller<'_, N> {
    fn begin(&mut self) -> Result<(), EnrollError> {
        self.head.ok_or(EnrollError::NoHead)?;
        (self.active, self.utterance_count, self.loud, self.silent) = (true, 0, 0, 0);
        Ok(())
    }

    fn cancel(&mut self) {
        (self.active, self.utterance_count) = (false, 0);
    }

    fn utterance_count(&self) -> u8 {
        self.utterance_count
    }

    fn patch(&self, patch: &mut Patch) -> Result<(), EnrollError> {
        let head = self.head.ok_or(EnrollError::NoHead)?;
        if !self.is_complete() {
            return Err(EnrollError::Utterances(self.utterance_count));
        }
        let utterances = &self.utterances;
        let filled = match &self.statistics {
            Some(statistics) => patch.fill_with_statistics(head, statistics, utterances),
            None if Likeness::of(head, utterances).mean_q8 < LEAST_LIKENESS_Q8 => None,
            None => patch.fill_with_sum(head, utterances),
        };
        filled.ok_or(EnrollError::Unlike)
    }

    fn forget(&self, patch: &mut Patch) -> Result<(), EnrollError> {
        patch.clear(self.head.ok_or(EnrollError::NoHead)?);
        Ok(())
    }
}

impl<const N: usize> Observer for Enroller<'_, N> {
    fn features(&mut self, features: &[i8]) {
        let sum: i32 = features.iter().map(|&feature| i32::from(feature)).sum();
        self.loudness = (sum << LOUDNESS_BITS) / (features.len() as i32).max(1);
        // The noise floor falls at once and rises slowly.
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

/// Similarity of the utterances: the cosine between each and the sum of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// Mean of the cosines, Q8.
    pub mean_q8: i32,
    /// Least of the cosines, Q8.
    pub least_q8: i32,
}

impl Likeness {
    fn of(head: Head, utterances: &[Utterance]) -> Self {
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
            // At most 2⁷ · 2¹⁰ · 768 < 2²⁷ in the numerator, and 2²⁴ · 2³⁰ in the denominator.
            let norm = (power * others_power).isqrt().max(1);
            let cosine = ((product << 8) / norm as i64) as i32;
            sum += cosine;
            least = least.min(cosine);
        }
        Self { mean_q8: sum / (utterances.len() as i32).max(1), least_q8: least }
    }
}

/// Largest number of words of the depthwise weights.
const WEIGHT_WORDS: usize = MAX_CHANNELS * MAX_TAPS / 2;
/// Largest number of words of the depthwise factors.
const BIAS_SCALE_WORDS: usize = MAX_CHANNELS * 2;

/// Values that replace the zeros of an enrollment head.
#[derive(Clone, Debug)]
pub struct Patch {
    head: Head,
    weights: [u32; WEIGHT_WORDS],
    bias_scales: [u32; BIAS_SCALE_WORDS],
    logit: [u32; 2 * LANES],
}

impl Default for Patch {
    fn default() -> Self {
        Self::new()
    }
}

impl Patch {
    /// Creates a patch of no head.
    pub const fn new() -> Self {
        Self {
            head: Head { taps: 0, dilation: 0, channels: 0, column: 0, at: [0; 3] },
            weights: [0; WEIGHT_WORDS],
            bias_scales: [0; BIAS_SCALE_WORDS],
            logit: [0; 2 * LANES],
        }
    }

    /// Makes this a patch without weights, whose logit has the lowest possible value.
    fn clear(&mut self, head: Head) {
        self.head = head;
        self.weights.fill(0);
        self.bias_scales.fill(0);
        self.logit = [0; 2 * LANES];
        self.logit[0] = LOWEST_BIAS as u32;
        self.logit[LANES] = i32::MAX as u32;
    }

    /// Makes this a patch whose channels have these weights and this scale, and whose logit is 0 at
    /// the score `threshold` and 12 above at `score`. `None` if the score is not above the rounding
    /// of its channels.
    #[inline(never)]
    fn fill(
        &mut self,
        head: Head,
        weights: impl Fn(usize) -> [i16; MAX_CHANNELS],
        scale: i64,
        (score, threshold): (i64, i64),
    ) -> Option<()> {
        self.clear(head);
        if score < LEAST_SCORE {
            return None;
        }
        for k in 0..head.taps {
            for (c, weight) in weights(k).into_iter().enumerate().take(head.channels) {
                // The layout is `(blocks of 4 channels, taps, 4)`, two values per word.
                let half = (c / LANES * head.taps + k) * LANES + c % LANES;
                if let Some(word) = self.weights.get_mut(half / 2) {
                    *word |= u32::from(weight as u16) << (16 * (half % 2));
                }
            }
        }
        for c in 0..head.channels {
            let at = c / LANES * 2 * LANES + LANES + c % LANES;
            if let Some(word) = self.bias_scales.get_mut(at) {
                *word = scale as u32;
            }
        }
        let multiplier = ((SPAN << 32) / score).min(i64::from(i32::MAX));
        self.logit[0] = -threshold as i32 as u32;
        self.logit[LANES] = multiplier as u32;
        Some(())
    }

    /// Makes this the linear discriminant between the utterances and negative speech. Not inlined,
    /// so that its stack is free again afterwards.
    #[inline(never)]
    fn fill_with_statistics(
        &mut self,
        head: Head,
        statistics: &Statistics<'_>,
        utterances: &[Utterance],
    ) -> Option<()> {
        let found = discriminant(&head, statistics, utterances)?;
        // Response of each channel to the sum of the utterances, below 8 · 2¹⁵ · 2¹⁰.
        let mut responses = [0i32; MAX_CHANNELS];
        for k in 0..head.taps {
            let products = found.weights(k).into_iter().zip(sums(utterances, k));
            for (response, (w, x)) in responses.iter_mut().zip(products) {
                *response += i32::from(w) * i32::from(x);
            }
        }
        let count = (utterances.len() as i32).max(1);
        let responses = responses.iter().take(head.channels).map(|sum| i64::from(sum / count));
        let (largest, all) = responses
            .fold((1, 0), |(largest, all), response| (response.abs().max(largest), all + response));
        let scale = ((127i64 << 32) / (2 * largest)).min(i64::from(i32::MAX));
        let scaled = |sum: i64| ((i128::from(sum) * i128::from(scale)) >> 32) as i64 * LOGIT_WEIGHT;
        let threshold = scaled(found.threshold).min(-i64::from(LOWEST_BIAS));
        self.fill(head, |k| found.weights(k), scale, (scaled(all), threshold))
    }

    /// Makes this the sum of the utterances.
    #[inline(never)]
    fn fill_with_sum(&mut self, head: Head, utterances: &[Utterance]) -> Option<()> {
        let n = utterances.len() as i64;
        let at = |k: usize, c: usize| utterances.iter().map(move |u| i64::from(u[k][c]));
        // Response of a channel to the mean utterance, and of each utterance to the others.
        let (mut largest, mut common, mut all) = (1i64, 0i64, 0u64);
        for c in 0..head.channels {
            let mut power = 0;
            for k in 0..head.taps {
                let sum: i64 = at(k, c).sum();
                power += sum * sum / n;
                all += (sum * sum).unsigned_abs();
                common += at(k, c).map(|x| x * (sum - x)).sum::<i64>();
            }
            largest = largest.max(power);
        }
        // The product is with the sum of all rather than of the four others; it is the mean of
        // five.
        let common = common * n / (n - 1).max(1) / n.max(1);
        // At most 768 products of 2⁷ and 5 · 2⁷, five times: below 2³⁸ and 2³².
        let other = (all * (head.taps * head.channels) as u64).isqrt() as i64 * DEVIATION;
        if common << 8 < other * LEAST_STRENGTH_Q8 {
            return None;
        }
        // Twice the mean of the largest channel is full scale; a multiplier is below 2³¹.
        let scale = ((127i64 << 32) / (2 * largest)).min(i64::from(i32::MAX));
        // The logit sums the channels, each with this weight; see the exporter.
        let score = ((i128::from(common) * i128::from(scale)) >> 32) as i64 * LOGIT_WEIGHT;
        self.fill(head, |k| sums(utterances, k), scale, (score, score * THRESHOLD_Q8 / 256))
    }

    /// Words to write over the file of the model.
    pub fn patches(&self) -> Patches<'_> {
        let Head { taps, channels, at: [weights, bias_scales, logit], .. } = self.head;
        let blocks = channels.div_ceil(LANES);
        let weight_words = self.weights.get(..blocks * taps * LANES / 2).unwrap_or_default();
        let factor_words = self.bias_scales.get(..blocks * 2 * LANES).unwrap_or_default();
        Patches::new([(weights, weight_words), (bias_scales, factor_words), (logit, &self.logit)])
    }
}

/// Weight of each channel in the logit of an enrollment head.
pub const LOGIT_WEIGHT: i64 = 64;
