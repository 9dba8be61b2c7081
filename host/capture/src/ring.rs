//! Buffer of the last seconds of sound, which can be saved after the event.

use std::collections::VecDeque;

/// Newest samples, up to a fixed number.
///
/// ```
/// use wakeling_capture::ring::Ring;
///
/// let mut ring = Ring::new(3);
/// ring.push(&[1, 2]);
/// ring.push(&[3, 4]);
/// assert_eq!(ring.to_vec(), [2, 3, 4]); // the newest
/// ```
#[derive(Clone, Debug)]
pub struct Ring {
    samples: VecDeque<i16>,
    capacity: usize,
}

impl Ring {
    /// Creates an empty buffer for `capacity` samples.
    pub fn new(capacity: usize) -> Self {
        Self { samples: VecDeque::with_capacity(capacity), capacity }
    }

    /// Appends samples and drops the oldest beyond the capacity.
    pub fn push(&mut self, pcm: &[i16]) {
        let newest = &pcm[pcm.len().saturating_sub(self.capacity)..];
        let excess = (self.samples.len() + newest.len()).saturating_sub(self.capacity);
        self.samples.drain(..excess);
        self.samples.extend(newest);
    }

    /// Removes all samples.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Returns the samples, oldest first.
    pub fn to_vec(&self) -> Vec<i16> {
        self.samples.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_however_they_come() {
        let all: Vec<i16> = (0..1_000).collect();
        for length in [1, 7, 100, 399, 1_000] {
            let mut ring = Ring::new(300);
            for (i, block) in all.chunks(length).enumerate() {
                ring.push(block);
                let pushed = ((i + 1) * length).min(1_000);
                assert_eq!(ring.to_vec(), all[pushed.saturating_sub(300)..pushed], "{length}");
            }
        }
        let mut none = Ring::new(0);
        none.push(&all);
        assert!(none.to_vec().is_empty());
    }
}
