//! A flight recorder: keeps the features, not the sound, of the last detections and near misses in
//! RAM.
//!
//! A near miss is a keyword whose smoothed logit came within a margin of its threshold without
//! reaching it. Features are the levels of 40 bands every 10 ms, relative to the level of the room.
//! They suffice for training, but not for recognizing a speaker or a sentence. A window ends a
//! little after the event, so that it holds the whole keyword. The newest event replaces the
//! oldest.
//!
//! In: the features of a step, then its decisions. Out: [`Entry`]s.

use heapless::Vec;

use crate::{
    model::{MAX_KEYWORDS, Model},
    pipeline::{Observer, Step},
};

/// Number of steps from an event, its own included, to the end of its window.
const TAIL_STEPS: u8 = 6;
/// Default margin of a near miss: 1 (Q8) on the logit, which is a factor of e in the odds.
pub const DEFAULT_MARGIN: i16 = 256;

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A keyword was detected.
    Detection,
    /// A keyword came close to its threshold.
    NearMiss,
}

/// A recorded event, without its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// Number of the event, counted from 0. Numbers are not reused.
    pub number: u32,
    /// Kind of the event.
    pub kind: Kind,
    /// Index of the keyword in the model.
    pub word: u8,
    /// Highest smoothed logit (Q8) of the keyword during the event.
    pub smoothed: i16,
    /// Threshold (Q8) of the keyword at the time.
    pub threshold: i16,
    /// Number of samples from the start to the event.
    pub end_samples: u64,
    /// Number of features per step.
    pub width: u16,
    /// Number of features in the window, a whole number of steps.
    pub features: u16,
}

/// Read access to recorded events.
pub trait Log {
    /// Returns the entry at `index`, oldest first.
    fn entry(&self, index: usize) -> Option<Entry>;

    /// Returns the features of the entry with this number, oldest step first, in two parts.
    fn window(&self, number: u32) -> Option<[&[i8]; 2]>;
}

/// Log of a device without a recorder; always empty.
impl Log for () {
    fn entry(&self, _: usize) -> Option<Entry> {
        None
    }

    fn window(&self, _: u32) -> Option<[&[i8]; 2]> {
        None
    }
}

/// An event and its window.
#[derive(Clone, Copy, Debug)]
struct StoredEntry<const BYTES: usize> {
    entry: Entry,
    window: Ring<BYTES>,
}

/// Ring buffer of the last features.
#[derive(Clone, Copy, Debug)]
struct Ring<const BYTES: usize> {
    features: [i8; BYTES],
    /// Index at which the next step goes, and number of features in the buffer.
    next: u16,
    filled: u16,
}

impl<const BYTES: usize> Ring<BYTES> {
    const EMPTY: Self = Self { features: [0; BYTES], next: 0, filled: 0 };

    fn push(&mut self, step: &[i8]) {
        let whole = BYTES / step.len().max(1) * step.len();
        let start = usize::from(self.next);
        let Some(slot) = self.features.get_mut(start..start + step.len()) else { return };
        slot.copy_from_slice(step);
        let end = start + step.len();
        self.next = if end < whole { end as u16 } else { 0 };
        self.filled = (usize::from(self.filled) + step.len()).min(whole) as u16;
    }

    /// Returns the features in two parts, oldest first.
    fn parts(&self) -> [&[i8]; 2] {
        let [next, filled] = [self.next, self.filled].map(usize::from);
        // Until the buffer is full, the oldest feature is at 0.
        let (new, old) = self.features.split_at_checked(next).unwrap_or_default();
        let old = old.get(..filled.saturating_sub(next)).unwrap_or_default();
        [old, new]
    }
}

/// Recorder of the last `ENTRIES` events, with windows of up to `BYTES` features each (at most
/// 65,535).
///
/// Takes about `(ENTRIES + 1) · BYTES` bytes of RAM; a window of 1.5 s has 6,000.
///
/// ```
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/loud.rs")); }
/// # let file = support::loud_model();
/// # let model = wakeling_shared::model::Model::load(&file).unwrap();
/// use wakeling_shared::{pipeline::Pipeline, recorder::{DEFAULT_MARGIN, Kind, Log, Recorder}};
///
/// let mut recorder = Recorder::<2, 1_600>::new(); // two events of ten steps of four frames
/// recorder.watch(&model, DEFAULT_MARGIN);
/// let mut arena = vec![0; model.arena_bytes()];
/// let mut pipeline = Pipeline::new(&model, &mut arena).unwrap();
/// pipeline.push_to(&support::sawtooth(16_000), &mut recorder);
/// let event = recorder.entry(0).unwrap();
/// assert_eq!((event.kind, event.word), (Kind::Detection, 0));
/// let [old, new] = recorder.window(event.number).unwrap();
/// assert_eq!(old.len() + new.len(), usize::from(event.features));
/// ```
#[derive(Clone, Debug)]
pub struct Recorder<const ENTRIES: usize, const BYTES: usize> {
    thresholds: Vec<i16, MAX_KEYWORDS>,
    margin: i16,
    history: Ring<BYTES>,
    width: u16,
    /// Event `n` is at index `n % ENTRIES` until another replaces it.
    kept: [StoredEntry<BYTES>; ENTRIES],
    /// Number of the next event.
    number: u32,
    /// An event that waits for the end of its window, and the steps until then; 0 if there is none.
    pending: (Entry, u8),
    /// `true` while a keyword has stayed near its threshold since the last event.
    near: bool,
}

impl Entry {
    /// All zeros, so that an empty recorder needs no bytes in flash.
    const ZERO: Self = Self {
        number: 0,
        kind: Kind::Detection,
        word: 0,
        smoothed: 0,
        threshold: 0,
        end_samples: 0,
        width: 0,
        features: 0,
    };
}

impl<const ENTRIES: usize, const BYTES: usize> Default for Recorder<ENTRIES, BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const ENTRIES: usize, const BYTES: usize> Recorder<ENTRIES, BYTES> {
    /// Creates a recorder without a model; it records nothing until [`Recorder::watch`].
    pub const fn new() -> Self {
        const { assert!(BYTES <= u16::MAX as usize && ENTRIES > 0) };
        Self {
            thresholds: Vec::new(),
            margin: 0,
            history: Ring::EMPTY,
            width: 0,
            kept: [StoredEntry { entry: Entry::ZERO, window: Ring::EMPTY }; ENTRIES],
            number: 0,
            pending: (Entry::ZERO, 0),
            near: false,
        }
    }

    /// Records the keywords of `model` from now on, near misses within `margin` (Q8) of a threshold
    /// included. Earlier events stay.
    pub fn watch(&mut self, model: &Model<'_>, margin: i16) {
        self.thresholds = model.words.iter().map(|word| word.detector.threshold).collect();
        (self.margin, self.near, self.pending.1) = (margin, false, 0);
        (self.history.next, self.history.filled) = (0, 0);
    }

    /// Writes the entry in place, since a board has no stack to spare for a window.
    fn keep(&mut self, entry: Entry) {
        let Some(kept) = self.kept.get_mut(self.number as usize % ENTRIES) else { return };
        let features = self.history.filled;
        kept.entry = Entry { number: self.number, width: self.width, features, ..entry };
        kept.window.clone_from(&self.history);
        // The numbers wrap around after four billion events.
        self.number = self.number.wrapping_add(1);
    }

    /// Returns the event of a step: the keyword that fired, else the one nearest to its threshold.
    fn event(&self, step: &Step<'_>) -> Option<Entry> {
        let words = step.decisions.iter().zip(&self.thresholds).enumerate();
        let near = words.filter_map(|(word, (decision, &threshold))| {
            let over = i32::from(decision.smoothed) - i32::from(threshold);
            let kind = if decision.fired { Kind::Detection } else { Kind::NearMiss };
            // A logit above the threshold without a detection means the refractory period.
            let counts = decision.fired || (-i32::from(self.margin)..0).contains(&over);
            let (smoothed, end_samples) = (decision.smoothed, step.end_samples);
            let word = word as u8;
            let entry = Entry { kind, word, smoothed, threshold, end_samples, ..Entry::ZERO };
            counts.then_some(((decision.fired, over), entry))
        });
        near.max_by_key(|&(rank, _)| rank).map(|(_, entry)| entry)
    }
}

impl<const ENTRIES: usize, const BYTES: usize> Observer for Recorder<ENTRIES, BYTES> {
    fn features(&mut self, features: &[i8]) {
        if self.width != features.len() as u16 {
            (self.history, self.width) = (Ring::EMPTY, features.len() as u16);
        }
        self.history.push(features);
    }

    fn step(&mut self, step: Step<'_>) {
        let event = self.event(&step);
        let (pending, tail) = (&mut self.pending.0, &mut self.pending.1);
        match (*tail, event) {
            (0, Some(event)) if !self.near || event.kind == Kind::Detection => {
                (*pending, *tail) = (event, TAIL_STEPS);
                self.near = true;
            }
            (0, None) => self.near = false,
            // A near miss becomes a detection, or comes nearer to its threshold.
            (1.., Some(event))
                if pending.kind == Kind::NearMiss
                    && (event.kind == Kind::Detection || event.smoothed > pending.smoothed) =>
            {
                (*pending, *tail) = (event, TAIL_STEPS);
            }
            _ => {}
        }
        if *tail > 0 {
            *tail -= 1;
            if *tail == 0 {
                let entry = *pending;
                self.keep(entry);
            }
        }
    }
}

impl<const ENTRIES: usize, const BYTES: usize> Log for Recorder<ENTRIES, BYTES> {
    fn entry(&self, index: usize) -> Option<Entry> {
        let held = (self.number as usize).min(ENTRIES);
        let number = (index < held).then(|| self.number as usize - held + index)?;
        self.kept.get(number % ENTRIES).map(|kept| kept.entry)
    }

    fn window(&self, number: u32) -> Option<[&[i8]; 2]> {
        // Before the ring is full, an unused number would match an empty place.
        let kept = self.kept.get(number as usize % ENTRIES).filter(|_| number < self.number)?;
        (kept.entry.number == number).then(|| kept.window.parts())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::detector::Decision;
    use std::vec::Vec as Std;

    const WIDTH: usize = 80;
    /// Room for windows of five steps.
    type Small = Recorder<2, 400>;

    fn recorder() -> Small {
        let mut recorder = Small::new();
        recorder.margin = 256;
        recorder.thresholds = [500, 700].into_iter().collect();
        recorder
    }

    /// Pushes steps whose features are their number, with the smoothed logits of two keywords.
    fn push_steps(recorder: &mut Small, from: usize, smoothed: &[(i16, i16)]) {
        for (i, &(first, second)) in smoothed.iter().enumerate() {
            recorder.features(&[(from + i) as i8; WIDTH]);
            let decide = |smoothed, threshold| Decision { smoothed, fired: smoothed >= threshold };
            let decisions = [decide(first, 500), decide(second, 700)];
            recorder.step(Step {
                index: 0,
                end_samples: (from + i) as u64,
                logits: &[],
                decisions: &decisions,
                listened: true,
            });
        }
    }

    fn window(recorder: &Small, number: u32) -> Std<i8> {
        let steps = recorder.window(number).expect("it is held").concat();
        steps.chunks(WIDTH).map(|step| step[0]).collect()
    }

    #[test]
    fn stores_a_near_miss_once_at_its_peak_with_what_follows() {
        let mut recorder = recorder();
        let mut scores = [(-900, -900); 20].to_vec();
        scores[3] = (300, 0);
        scores[4] = (490, 450);
        scores[5] = (250, 0);
        push_steps(&mut recorder, 0, &scores);
        let entry = recorder.entry(0).expect("an event");
        assert_eq!((entry.kind, entry.word, entry.smoothed), (Kind::NearMiss, 0, 490));
        assert_eq!((entry.end_samples, entry.width, entry.features), (4, 80, 400));
        assert_eq!(recorder.entry(1), None);
        // The event was at step 4, and the window ends with the sixth step from there.
        assert_eq!(window(&recorder, 0), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn stores_a_detection_and_drops_the_oldest() {
        let mut recorder = recorder();
        for round in 0..3 {
            let mut scores = [(-900, -900); 12].to_vec();
            scores[0] = (0, 600);
            scores[1] = (0, 800);
            // Above the threshold in the refractory period, so no event of its own.
            scores[2] = (0, 699);
            push_steps(&mut recorder, 12 * round, &scores);
        }
        let kept: Std<_> = (0..3).map_while(|i| recorder.entry(i)).collect();
        assert_eq!(kept.iter().map(|e| e.number).collect::<Std<_>>(), [1, 2]);
        assert!(kept.iter().all(|e| e.kind == Kind::Detection && e.word == 1));
        assert!(recorder.window(0).is_none());
        assert_eq!(window(&recorder, 2), [26, 27, 28, 29, 30]);
    }

    #[test]
    fn a_beginning_is_a_short_window() {
        let mut recorder = Recorder::<1, 1_000>::new();
        recorder.margin = 256;
        recorder.thresholds = [500].into_iter().collect();
        for i in 0..7 {
            recorder.features(&[i; WIDTH]);
            let decisions = [Decision { smoothed: if i == 0 { 400 } else { 0 }, fired: false }];
            let (index, end_samples, logits) = (0, 0, &[][..]);
            recorder.step(Step {
                index,
                end_samples,
                logits,
                decisions: &decisions,
                listened: true,
            });
        }
        let parts = recorder.window(0).expect("an event").concat();
        assert_eq!(parts.len(), 6 * WIDTH);
        assert!(recorder.entry(0).is_some_and(|e| usize::from(e.features) == parts.len()));
    }
}
