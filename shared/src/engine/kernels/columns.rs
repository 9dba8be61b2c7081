//! The columns under the taps of a depthwise layer, as where they begin: kernels in assembly take them
//! as they are.

#![allow(unsafe_code, reason = "pointers for assembly kernels")]

use core::{marker::PhantomData, slice};

use heapless::Vec;

use crate::artifact::MAX_TAPS;

/// Columns of equal length; more than a model can have are left out.
#[derive(Debug)]
pub struct Columns<'c> {
    /// Each has `channels` readable bytes behind it, for as long as `'c`.
    starts: Vec<*const i8, MAX_TAPS>,
    channels: usize,
    borrowed: PhantomData<&'c [i8]>,
}

impl<'c> Columns<'c> {
    /// No columns yet, of so many channels.
    #[inline(always)]
    pub fn of(channels: usize) -> Self {
        Self { starts: Vec::new(), channels, borrowed: PhantomData }
    }

    /// Adds the first channels of `x`; nothing, if they are fewer.
    #[inline(always)]
    pub fn push(&mut self, x: &'c [i8]) {
        if x.len() >= self.channels {
            let _ = self.starts.push(x.as_ptr());
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// None yet.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Channels of each.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Where they begin.
    pub fn starts(&self) -> &[*const i8] {
        &self.starts
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = &'c [i8]> + '_ {
        // SAFETY: [`Columns::push`] was given them for `'c`, and saw that they are as long.
        let column = |&start: &*const i8| unsafe { slice::from_raw_parts(start, self.channels) };
        self.starts.iter().map(column)
    }
}
