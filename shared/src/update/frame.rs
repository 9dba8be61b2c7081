//! Frames for a line that loses bytes and also carries text.
//!
//! A frame is `A5, tag, length (u16), payload, CRC-32` of tag, length and payload; all
//! little-endian. A reply has the tag of its request, so that a late reply is recognized. A reader
//! that finds no frame where one should start moves on by one byte, and thus skips event lines and
//! damage.

use super::{crc32_of, word};

/// First byte of every frame; ASCII text does not contain it.
pub const START: u8 = 0xA5;
/// Largest payload in bytes.
pub const MAX_PAYLOAD: usize = 272;
/// Number of bytes of start, tag and length.
const FRONT_BYTES: usize = 4;
const CRC_BYTES: usize = 4;
/// Longest frame in bytes.
pub const MAX_FRAME: usize = FRONT_BYTES + MAX_PAYLOAD + CRC_BYTES;

/// A frame whose CRC-32 is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// Tag that the requester chooses and the reply repeats.
    pub tag: u8,
    /// The message.
    pub payload: &'b [u8],
}

/// Writes a frame to the front of `out` and returns it. Returns `None` if the payload is longer
/// than [`MAX_PAYLOAD`] or `out` is shorter than the frame.
pub fn write<'b>(tag: u8, payload: &[u8], out: &'b mut [u8]) -> Option<&'b [u8]> {
    let length = u16::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD)?;
    let end = FRONT_BYTES + payload.len();
    let frame = out.get_mut(..end + CRC_BYTES)?;
    let [low, high] = length.to_le_bytes();
    frame.first_chunk_mut::<FRONT_BYTES>()?.copy_from_slice(&[START, tag, low, high]);
    frame.get_mut(FRONT_BYTES..end)?.copy_from_slice(payload);
    let sum = crc32_of(frame.get(1..end)?);
    frame.get_mut(end..)?.copy_from_slice(&sum.to_le_bytes());
    Some(frame)
}

/// Finds frames in a stream of bytes.
///
/// ```
/// use wakeling_shared::update::frame::{Deframer, MAX_FRAME, write};
///
/// let mut buffer = [0; MAX_FRAME];
/// let frame = write(7, b"ping", &mut buffer).unwrap();
/// let mut deframer = Deframer::default();
/// let mut found = Vec::new();
/// for &byte in b"step 1 480 -3:5\n".iter().chain(frame) { // an event line is skipped
///     deframer.push(byte);
///     while let Some(frame) = deframer.frame() {
///         found.push((frame.tag, frame.payload.to_vec()));
///     }
/// }
/// assert_eq!(found, [(7, b"ping".to_vec())]);
/// ```
#[derive(Clone, Debug)]
pub struct Deframer {
    bytes: [u8; MAX_FRAME],
    filled: usize,
    /// Number of bytes at the front that belong to the frame returned last.
    taken: usize,
}

impl Default for Deframer {
    fn default() -> Self {
        Self { bytes: [0; MAX_FRAME], filled: 0, taken: 0 }
    }
}

impl Deframer {
    /// Adds the next byte of the stream. Call [`Deframer::frame`] next, until it returns `None`.
    pub fn push(&mut self, byte: u8) {
        self.drop_taken();
        if self.filled == MAX_FRAME {
            self.drop_front(1);
        }
        if let Some(slot) = self.bytes.get_mut(self.filled) {
            *slot = byte;
            self.filled += 1;
        }
    }

    /// Returns the next complete frame.
    pub fn frame(&mut self) -> Option<Frame<'_>> {
        self.drop_taken();
        let length = loop {
            match self.complete() {
                Found::Nothing => return None,
                Found::Garbage => self.drop_front(1),
                Found::Frame(length) => break length,
            }
        };
        self.taken = length;
        let tag = *self.bytes.get(1)?;
        Some(Frame { tag, payload: self.bytes.get(FRONT_BYTES..length - CRC_BYTES)? })
    }

    /// Classifies the bytes at the front.
    fn complete(&self) -> Found {
        let held = self.bytes.get(..self.filled).unwrap_or_default();
        match held.first() {
            None => return Found::Nothing,
            Some(&START) => {}
            Some(_) => return Found::Garbage,
        }
        let Some(&[_, _, low, high]) = held.first_chunk::<FRONT_BYTES>() else {
            return Found::Nothing;
        };
        let payload = usize::from(u16::from_le_bytes([low, high]));
        if payload > MAX_PAYLOAD {
            return Found::Garbage;
        }
        let end = FRONT_BYTES + payload;
        if held.len() < end + CRC_BYTES {
            return Found::Nothing;
        }
        let sum = crc32_of(held.get(1..end).unwrap_or_default());
        if word(held, end) == sum { Found::Frame(end + CRC_BYTES) } else { Found::Garbage }
    }

    fn drop_taken(&mut self) {
        let taken = core::mem::take(&mut self.taken);
        self.drop_front(taken);
    }

    fn drop_front(&mut self, count: usize) {
        let count = count.min(self.filled);
        if count > 0 {
            self.bytes.copy_within(count..self.filled, 0);
            self.filled -= count;
        }
    }
}

/// Content at the front of a stream.
enum Found {
    /// Nothing, or the start of a possible frame.
    Nothing,
    /// A byte that starts no frame.
    Garbage,
    /// A frame of this length in bytes.
    Frame(usize),
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    fn framed(tag: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = [0; MAX_FRAME];
        write(tag, payload, &mut out).expect("it fits").to_vec()
    }

    fn found(stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut deframer = Deframer::default();
        let mut all = Vec::new();
        for &byte in stream {
            deframer.push(byte);
            while let Some(frame) = deframer.frame() {
                all.push((frame.tag, frame.payload.to_vec()));
            }
        }
        all
    }

    #[test]
    fn frames_are_found_between_lines_and_damage() {
        let longest = vec![START; MAX_PAYLOAD];
        let mut stream = b"model 0 hey\n".to_vec();
        stream.extend(framed(1, b""));
        stream.extend(framed(2, &longest));
        let mut damaged = framed(3, b"damaged");
        damaged[6] ^= 4;
        stream.extend(damaged);
        stream.extend(b"detection \xC3\xA9\n");
        stream.extend(framed(4, b"last"));
        // A start whose length exceeds the bytes that follow, until enough have arrived.
        stream.extend([START, 9, 16, 0]);
        stream.extend(framed(5, b"hidden"));
        stream.extend(framed(6, b""));
        let expected = [
            (1, vec![]),
            (2, longest),
            (4, b"last".to_vec()),
            (5, b"hidden".to_vec()),
            (6, vec![]),
        ];
        assert_eq!(found(&stream), expected);
    }

    #[test]
    fn a_flipped_bit_is_no_frame() {
        let frame = framed(7, b"one flipped bit");
        for bit in 0..8 * frame.len() {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(found(&damaged).is_empty(), "bit {bit}");
        }
    }

    #[test]
    fn rejects_overlong_lines() {
        let mut out = [0; MAX_FRAME];
        assert_eq!(write(0, &[0; MAX_PAYLOAD + 1], &mut out), None);
        assert_eq!(write(0, &[0; 5], &mut out[..12]), None);
    }
}
