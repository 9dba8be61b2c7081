//! A flight recorder: the features, not the sound, of the last detections and near misses, in RAM.
//!
//! A near miss is a word whose smoothed logit came within a margin of its threshold and did not reach
//! it. Features are 40 levels of bands every 10 ms, less the level of the room: enough to train with,
//! too little to hear who said what. A window ends a little after the event, so that the whole word is
//! in it. When all places are taken the oldest goes.
//!
//! In: a step's features, then its decisions. Out: [`Entry`]s.

use heapless::Vec;

use crate::{
    artifact::{MAX_WORDS, Model},
    pipeline::{Observer, Step},
};

/// Steps that are heard after an event before its window is kept.
const TAIL_STEPS: u8 = 6;
/// How near is near: 1 (Q8) on the logit, which is a factor of e in the odds.
pub const DEFAULT_MARGIN: i16 = 256;

/// What was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A word was heard.
    Detection,
    /// A word was almost heard.
    NearMiss,
}

/// An event, without its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// Counts events from 0; a number is never used again.
    pub number: u32,
    /// What it was.
    pub kind: Kind,
    /// Which word of the model.
    pub word: u8,
    /// Its smoothed logit (Q8), the highest of the event.
    pub smoothed: i16,
    /// The threshold that it reached, or did not.
    pub threshold: i16,
    /// Samples heard up to the event.
    pub end_samples: u64,
    /// Features of a step.
    pub width: u16,
    /// Features of the window, a whole number of steps.
    pub features: u16,
}

/// What can be read out.
pub trait Log {
    /// The entries that are held, oldest first.
    fn entry(&self, index: usize) -> Option<Entry>;

    /// The features of an entry by its number, oldest step first.
    fn window(&self, number: u32) -> Option<[&[i8]; 2]>;
}

/// No recorder.
impl Log for () {
    fn entry(&self, _: usize) -> Option<Entry> {
        None
    }

    fn window(&self, _: u32) -> Option<[&[i8]; 2]> {
        None
    }
}

/// A window and what it is of.
#[derive(Clone, Copy, Debug)]
struct Kept<const BYTES: usize> {
    entry: Entry,
    window: Ring<BYTES>,
}

/// The last features.
#[derive(Clone, Copy, Debug)]
struct Ring<const BYTES: usize> {
    features: [i8; BYTES],
    /// Where the next step goes, and how many features there are.
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

    /// Oldest first, in two parts.
    fn parts(&self) -> [&[i8]; 2] {
        let [next, filled] = [self.next, self.filled].map(usize::from);
        // Until it is full, the oldest lies at 0.
        let (new, old) = self.features.split_at_checked(next).unwrap_or_default();
        let old = old.get(..filled.saturating_sub(next)).unwrap_or_default();
        [old, new]
    }
}

/// The last `ENTRIES` events, with windows of up to `BYTES` features each (at most 65,535); it takes
/// about `(ENTRIES + 1) · BYTES` bytes of RAM. 1.5 s are 6,000 bytes.
#[derive(Clone, Debug)]
pub struct Recorder<const ENTRIES: usize, const BYTES: usize> {
    thresholds: Vec<i16, MAX_WORDS>,
    margin: i16,
    history: Ring<BYTES>,
    width: u16,
    /// The event of each number is at that number modulo `ENTRIES`, until it is overwritten.
    kept: [Kept<BYTES>; ENTRIES],
    /// Of the next event.
    number: u32,
    /// An event whose tail is being heard, and steps until it is kept; 0: there is none.
    pending: (Entry, u8),
    /// A word has been near ever since the last event.
    near: bool,
}

impl Entry {
    /// All zeros, so that a recorder that has heard nothing is no bytes in flash.
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
    /// A recorder of no model: it keeps nothing until [`Recorder::watch`].
    pub const fn new() -> Self {
        const { assert!(BYTES <= u16::MAX as usize && ENTRIES > 0) };
        Self {
            thresholds: Vec::new(),
            margin: 0,
            history: Ring::EMPTY,
            width: 0,
            kept: [Kept { entry: Entry::ZERO, window: Ring::EMPTY }; ENTRIES],
            number: 0,
            pending: (Entry::ZERO, 0),
            near: false,
        }
    }

    /// Records the words of this model from now on, those as well that come within `margin` (Q8) of
    /// their thresholds. Events of the model before stay.
    pub fn watch(&mut self, model: &Model<'_>, margin: i16) {
        self.thresholds = model.words.iter().map(|word| word.detector.threshold).collect();
        (self.margin, self.near, self.pending.1) = (margin, false, 0);
        (self.history.next, self.history.filled) = (0, 0);
    }

    /// Written where it stays: a board has no stack to spare for a window.
    fn keep(&mut self, entry: Entry) {
        let Some(kept) = self.kept.get_mut(self.number as usize % ENTRIES) else { return };
        let features = self.history.filled;
        kept.entry = Entry { number: self.number, width: self.width, features, ..entry };
        kept.window.clone_from(&self.history);
        // After four billion events the numbers begin anew.
        self.number = self.number.wrapping_add(1);
    }

    /// The event of a step: the word that fired, else the nearest one.
    fn event(&self, step: &Step<'_>) -> Option<Entry> {
        let words = step.decisions.iter().zip(&self.thresholds).enumerate();
        let near = words.filter_map(|(word, (decision, &threshold))| {
            let over = i32::from(decision.smoothed) - i32::from(threshold);
            let kind = if decision.fired { Kind::Detection } else { Kind::NearMiss };
            // Above the threshold without firing: deaf after a detection.
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
            // A near miss that becomes a detection, or comes nearer.
            (1.., Some(event)) if pending.kind == Kind::NearMiss => {
                if event.kind == Kind::Detection || event.smoothed > pending.smoothed {
                    (*pending, *tail) = (event, TAIL_STEPS);
                }
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
        // Before so many have happened, a number that was not used is one of an empty place.
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
    /// Five steps.
    type Small = Recorder<2, 400>;

    fn recorder() -> Small {
        let mut recorder = Small::new();
        recorder.margin = 256;
        recorder.thresholds = [500, 700].into_iter().collect();
        recorder
    }

    /// Steps whose features are their number, and what two words' smoothed logits are.
    fn hear(recorder: &mut Small, from: usize, smoothed: &[(i16, i16)]) {
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
    fn a_near_miss_is_kept_once_at_its_peak_with_what_follows() {
        let mut recorder = recorder();
        let mut heard = [(-900, -900); 20].to_vec();
        heard[3] = (300, 0);
        heard[4] = (490, 450);
        heard[5] = (250, 0);
        hear(&mut recorder, 0, &heard);
        let entry = recorder.entry(0).expect("an event");
        assert_eq!((entry.kind, entry.word, entry.smoothed), (Kind::NearMiss, 0, 490));
        assert_eq!((entry.end_samples, entry.width, entry.features), (4, 80, 400));
        assert_eq!(recorder.entry(1), None);
        // The event was at step 4, and six steps count from there.
        assert_eq!(window(&recorder, 0), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn what_fires_is_a_detection_and_the_oldest_goes() {
        let mut recorder = recorder();
        for round in 0..3 {
            let mut heard = [(-900, -900); 12].to_vec();
            heard[0] = (0, 600);
            heard[1] = (0, 800);
            // Deaf, and still above: nothing of its own.
            heard[2] = (0, 699);
            hear(&mut recorder, 12 * round, &heard);
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
