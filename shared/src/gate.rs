//! Energy gate in front of the network: it is closed in silence, and the network then does not run.
//!
//! The gate measures the loudness of a step: the mean of its features, plus the running level that
//! the front end subtracts from them, where it has one. Features alone would not do. A keyword
//! raises the running level and so lowers the features of the noise after it. The estimated noise
//! floor would follow them down, and the noise would count as loud once the level falls again.
//!
//! The noise floor follows the loudness down fast and up slowly. The gate opens as soon as a step
//! exceeds the floor by a margin, and closes after a hold time without such a step. While closed,
//! it keeps the last 160 ms of features. The network runs on them first when the gate opens, so
//! that the quiet start of a keyword is not lost. For the network, a silence lasts only as long as
//! the gate stays open in it; its ring buffers keep their contents meanwhile.
//!
//! In: a step's features. Out: whether the network runs, and on which steps. Integers only, so
//! laptop and chip open at the same step.

use serde::{Deserialize, Serialize};

use crate::{frontend::MEL_CHANNELS, timebase::MAX_FRAMES_PER_STEP};

/// Number of features that a closed gate keeps: as many as the longest step has.
const STORED: usize = MAX_FRAMES_PER_STEP as usize * MEL_CHANNELS;
/// Fractional bits of means and levels.
const LEVEL_BITS: u32 = 8;
/// The noise floor falls by 1/16 of the gap per step, and rises by 1/256.
const FALL_SHIFT: u32 = 4;
const RISE_SHIFT: u32 = 8;

/// Conditions for opening and closing the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateParams {
    /// Excess of a step's loudness over the noise floor that opens the gate, in eighths of a
    /// feature's unit.
    pub margin: u8,
    /// Number of steps without such an excess for which the gate stays open.
    pub hold_steps: u8,
}

impl Default for GateParams {
    /// Twelve units of a feature, and 30 steps, which are 1.2 s where a step is 40 ms. Larger
    /// margins close more often and lose keywords in noise; see docs/lab/engine-speed.md.
    fn default() -> Self {
        Self { margin: 96, hold_steps: 30 }
    }
}

/// Energy gate; open at first.
///
/// ```
/// use wakeling_shared::gate::{Gate, GateParams, Passage};
///
/// let mut gate = Gate::new(GateParams { margin: 24, hold_steps: 3 });
/// // Four steps of silence close the gate, and a loud one opens it again.
/// let silence = [gate.step(&[-20; 80], 0); 4].map(|_| gate.step(&[-20; 80], 0));
/// assert_eq!(silence[3], Passage::Closed);
/// assert_eq!(gate.step(&[10; 80], 0), Passage::Opening(2)); // runs on the two that it kept first
/// assert_eq!(gate.kept(0, 80), [-20; 80]);
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    params: GateParams,
    /// Estimated noise floor, from the first step on.
    quiet: Option<i32>,
    /// Number of steps until the gate closes; 0 when closed.
    hold: u8,
    /// Features of the last steps; the oldest is at `next` once they fill the buffer.
    kept: [i8; STORED],
    next: u16,
    count: u16,
}

/// Decision of the gate for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The network runs on this step.
    Open,
    /// The network runs on this many kept steps, then on this one.
    Opening(u16),
    /// The network does not run; the features were kept.
    Closed,
}

impl Gate {
    /// Creates a gate that is open for one hold time.
    #[inline(always)]
    pub fn new(params: GateParams) -> Self {
        let hold = params.hold_steps.saturating_add(1);
        Self { params, quiet: None, hold, kept: [0; STORED], next: 0, count: 0 }
    }

    /// Processes the features of a step, at most 640, and decides whether the network runs. `level`
    /// is the level that the front end subtracted: its mean over the step, in units of a feature,
    /// Q8, at most 2²⁴ in magnitude.
    pub fn step(&mut self, features: &[i8], level: i32) -> Passage {
        let sum: i32 = features.iter().map(|&feature| i32::from(feature)).sum();
        let loudness = (sum << LEVEL_BITS) / (features.len() as i32).max(1) + level;
        let quiet = self.quiet.unwrap_or(loudness);
        let loud = loudness - quiet > i32::from(self.params.margin) << (LEVEL_BITS - 3);
        let shift = if loudness < quiet { FALL_SHIFT } else { RISE_SHIFT };
        self.quiet = Some(quiet + ((loudness - quiet) >> shift));
        let was_open = self.hold > 0;
        self.hold = if loud {
            self.params.hold_steps.saturating_add(1)
        } else {
            self.hold.saturating_sub(1)
        };
        match (was_open, self.hold > 0) {
            (_, false) => {
                self.keep(features);
                Passage::Closed
            }
            (false, true) => Passage::Opening(self.count),
            (true, true) => Passage::Open,
        }
    }

    fn keep(&mut self, features: &[i8]) {
        let slots = (STORED / features.len().max(1)) as u16;
        let start = usize::from(self.next) * features.len();
        if let Some(slot) = self.kept.get_mut(start..start + features.len()) {
            slot.copy_from_slice(features);
        }
        self.next = if self.next + 1 < slots { self.next + 1 } else { 0 };
        self.count = (self.count + 1).min(slots);
    }

    /// Returns the features of the `age`-th kept step, oldest first. Each step has `features` of
    /// them.
    pub fn kept(&self, age: u16, features: usize) -> &[i8] {
        let slots = (STORED / features.max(1)).max(1);
        // Until the buffer is full, the oldest step is at 0.
        let first = if usize::from(self.count) == slots { usize::from(self.next) } else { 0 };
        let start = (first + usize::from(age)) % slots * features;
        self.kept.get(start..start + features).unwrap_or_default()
    }

    /// Discards the kept features.
    pub fn forget(&mut self) {
        (self.next, self.count) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    /// Two frames per step.
    const WIDTH: usize = 80;

    fn gate() -> Gate {
        Gate::new(GateParams { margin: 24, hold_steps: 3 })
    }

    fn passages(gate: &mut Gate, levels: &[i8]) -> Vec<Passage> {
        levels.iter().map(|&level| gate.step(&[level; WIDTH], 0)).collect()
    }

    #[test]
    fn closes_in_silence_and_reopens_with_stored_steps() {
        let mut gate = gate();
        let mut found = passages(&mut gate, &[-20; 6]);
        assert_eq!(found.split_off(3), [Passage::Closed; 3]);
        assert_eq!(found, [Passage::Open; 3]);
        assert_eq!(gate.step(&[-17; WIDTH], 0), Passage::Closed, "no more than the margin");
        assert_eq!(gate.step(&[-16; WIDTH], 0), Passage::Opening(4));
        let kept: Vec<i8> = (0..4).map(|age| gate.kept(age, WIDTH)[0]).collect();
        assert_eq!(kept, [-20, -20, -20, -17]);
        gate.forget();
        assert_eq!(passages(&mut gate, &[-20; 4])[2..], [Passage::Open, Passage::Closed]);
    }

    #[test]
    fn keeps_the_last_160_ms() {
        let mut gate = gate();
        let levels: Vec<i8> = (0..23).map(|i| -(20 + i)).collect();
        passages(&mut gate, &levels);
        assert_eq!(gate.step(&[100; WIDTH], 0), Passage::Opening(8));
        let kept: Vec<i8> = (0..8).map(|age| gate.kept(age, WIDTH)[WIDTH - 1]).collect();
        assert_eq!(kept, (15..23).map(|i| -(20 + i)).collect::<Vec<i8>>());
    }

    #[test]
    fn a_noise_that_stays_becomes_the_quiet() {
        let mut gate = gate();
        passages(&mut gate, &[-60; 10]);
        let mut found = passages(&mut gate, &vec![-20; 2_000]);
        assert_eq!(found[0], Passage::Opening(7));
        assert_eq!(found.pop(), Some(Passage::Closed));
        // The gate closes again at once in the quiet.
        passages(&mut gate, &[-60; 60]);
        assert_ne!(gate.step(&[-50; WIDTH], 0), Passage::Closed);
    }

    #[test]
    fn a_level_that_moves_is_neither_quiet_nor_loud() {
        let mut gate = gate();
        passages(&mut gate, &[-20; 10]);
        for raised in (0..40).chain((0..40).rev()) {
            let passage = gate.step(&[-20 - raised; WIDTH], i32::from(raised) << LEVEL_BITS);
            assert_eq!(passage, Passage::Closed, "{raised}");
        }
    }

    #[test]
    fn extremes_and_empty_input_do_not_overflow() {
        let mut gate = Gate::new(GateParams { margin: u8::MAX, hold_steps: u8::MAX });
        for level in [i8::MIN, i8::MAX, i8::MIN] {
            gate.step(&[level; STORED], i32::from(level) << 17);
        }
        assert_eq!(gate.step(&[], 0), Passage::Open);
        assert!(gate.kept(3, 0).is_empty());
    }
}
