//! Queue from the microphone's interrupt to the loop: a few blocks of samples that both sides use
//! in place.
//!
//! The interrupt fills the slot that [`Filler::fill`] lends. Where the chip's driver has its own
//! buffers, it copies one in. The loop reads the oldest slot. If the loop falls behind, whole
//! blocks are lost and counted, and the next read returns their number. The queue itself is
//! embassy-sync's `zerocopy_channel`.

use core::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
};

use embassy_sync::{
    blocking_mutex::raw::RawMutex,
    zerocopy_channel::{Channel, Receiver, Sender},
};

use crate::microphone::{Microphone, ReadError};

/// Length of a block in samples: 20 ms, or two frames.
pub const BLOCK_SAMPLES: usize = 320;
/// Length of the queue in blocks: the loop may be late by 160 ms. Writing a long line to a slow
/// UART takes 10.
pub const QUEUE_BLOCKS: usize = 8;

/// Block of samples from the microphone.
pub type Block = [i16; BLOCK_SAMPLES];
/// Memory for a queue.
pub type Storage = [Block; QUEUE_BLOCKS];

/// Queue of blocks. `M` guards its state: on a chip, a critical section.
pub struct Blocks<'b, M: RawMutex> {
    channel: Channel<'b, M, Block>,
    lost: AtomicU32,
}

impl<'b, M: RawMutex> Blocks<'b, M> {
    /// Creates an empty queue in `storage`.
    pub fn new(storage: &'b mut Storage) -> Self {
        Self { channel: Channel::new(storage), lost: AtomicU32::new(0) }
    }

    /// Splits the queue into the sides of interrupt and loop. The loop side calls `wait` while
    /// there is nothing to read.
    pub fn split<I: FnMut()>(&mut self, wait: I) -> (Filler<'_, M>, QueuedMicrophone<'_, M, I>) {
        let Self { channel, lost } = self;
        let (sender, receiver) = channel.split();
        let read = QueuedMicrophone { receiver, lost, known_lost: 0, position: 0, wait };
        (Filler { sender, lost }, read)
    }
}

/// Interrupt side of the queue.
pub struct Filler<'q, M: RawMutex> {
    sender: Sender<'q, M, Block>,
    lost: &'q AtomicU32,
}

impl<M: RawMutex> Filler<'_, M> {
    /// Fills the next block with `fill`, or counts a lost block if all are full.
    pub fn fill(&mut self, fill: impl FnOnce(&mut Block)) {
        match self.sender.try_send() {
            Some(slot) => {
                fill(slot);
                self.sender.send_done();
            }
            None => self.lose(1),
        }
    }

    /// Counts `blocks` that the chip's own driver lost.
    pub fn lose(&mut self, blocks: u32) {
        // There is no other writer, so this needs no atomic addition, which small chips lack.
        self.lost.store(self.lost.load(Ordering::Relaxed).wrapping_add(blocks), Ordering::Relaxed);
    }
}

/// Loop side of the queue.
pub struct QueuedMicrophone<'q, M: RawMutex, I> {
    receiver: Receiver<'q, M, Block>,
    lost: &'q AtomicU32,
    known_lost: u32,
    /// Number of samples of the oldest block that were read.
    position: usize,
    wait: I,
}

impl<M: RawMutex, I> QueuedMicrophone<'_, M, I> {
    /// Number of blocks lost so far, including those not yet reported.
    pub fn lost_blocks(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl<M: RawMutex, I: FnMut()> Microphone for QueuedMicrophone<'_, M, I> {
    type Error = Infallible;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<Infallible>> {
        let lost = self.lost_blocks();
        let new = lost.wrapping_sub(self.known_lost);
        if new > 0 {
            self.known_lost = lost;
            return Err(ReadError::Overrun { lost_samples: u64::from(new) * BLOCK_SAMPLES as u64 });
        }
        loop {
            if let Some(slot) = self.receiver.try_receive() {
                let rest = slot.get(self.position..).unwrap_or_default();
                let count = rest.len().min(block.len());
                block[..count].copy_from_slice(&rest[..count]);
                self.position += count;
                if self.position >= BLOCK_SAMPLES {
                    self.position = 0;
                    self.receiver.receive_done();
                }
                return Ok(count);
            }
            (self.wait)();
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;
    use std::{boxed::Box, vec, vec::Vec};

    fn queue() -> Blocks<'static, NoopRawMutex> {
        Blocks::new(Box::leak(Box::new([[0; BLOCK_SAMPLES]; QUEUE_BLOCKS])))
    }

    /// Pushes a block in which every sample is `n`.
    fn put(filler: &mut Filler<'_, NoopRawMutex>, n: i16) {
        filler.fill(|block| block.fill(n));
    }

    #[test]
    fn blocks_come_out_in_order_in_reads_of_any_length() {
        for length in [1, 7, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, 1_000] {
            let mut blocks = queue();
            let (mut filler, mut microphone) =
                blocks.split(|| panic!("there is something to read"));
            let mut received = Vec::new();
            for round in 0..5 {
                (0..3).for_each(|n| put(&mut filler, 3 * round + n));
                while received.len() < (3 * round as usize + 3) * BLOCK_SAMPLES {
                    let mut read = vec![-1; length];
                    let count = microphone.read(&mut read).expect("nothing is lost");
                    assert!((1..=length).contains(&count));
                    received.extend_from_slice(&read[..count]);
                }
            }
            let expected: Vec<i16> = (0..15).flat_map(|n| [n; BLOCK_SAMPLES]).collect();
            assert_eq!(received, expected, "reads of {length}");
        }
    }

    #[test]
    fn overflow_is_dropped_and_counted_once() {
        let mut blocks = queue();
        let (mut filler, mut microphone) = blocks.split(|| panic!("there is something to read"));
        (0..QUEUE_BLOCKS as i16 + 3).for_each(|n| put(&mut filler, n));
        filler.lose(2);
        let mut read = [0; BLOCK_SAMPLES];
        let lost_samples = 5 * BLOCK_SAMPLES as u64;
        assert_eq!(microphone.read(&mut read), Err(ReadError::Overrun { lost_samples }));
        for n in 0..QUEUE_BLOCKS as i16 {
            assert_eq!(microphone.read(&mut read), Ok(BLOCK_SAMPLES));
            assert_eq!(read, [n; BLOCK_SAMPLES]);
        }
        put(&mut filler, 99);
        assert_eq!(microphone.read(&mut read), Ok(BLOCK_SAMPLES));
        assert_eq!(read[0], 99);
        assert_eq!(microphone.lost_blocks(), 5);
    }

    #[test]
    fn an_empty_queue_waits() {
        let mut blocks = queue();
        let Blocks { channel, lost } = &mut blocks;
        let (mut sender, receiver) = channel.split();
        let mut waits = 0;
        let wait = || {
            waits += 1;
            if waits == 3 {
                sender.try_send().expect("it is empty").fill(7);
                sender.send_done();
            }
        };
        let mut microphone = QueuedMicrophone { receiver, lost, known_lost: 0, position: 0, wait };
        let mut read = [0; 10];
        assert_eq!(microphone.read(&mut read), Ok(10));
        assert_eq!(read, [7; 10]);
        assert_eq!(waits, 3);
    }
}
