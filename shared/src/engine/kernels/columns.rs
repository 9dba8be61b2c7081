//! The columns at the taps of a depthwise layer, stored as start pointers for the assembly kernels.

#![allow(unsafe_code, reason = "pointers for assembly kernels")]

use core::{marker::PhantomData, slice};

use heapless::Vec;

use crate::model::MAX_TAPS;

/// Columns of equal length; holds at most as many as a model can have taps.
#[derive(Debug)]
pub struct Columns<'c> {
    /// Pointers, each to `channels` bytes that are readable for `'c`.
    starts: Vec<*const i8, MAX_TAPS>,
    channels: usize,
    borrowed: PhantomData<&'c [i8]>,
}

impl<'c> Columns<'c> {
    /// Creates an empty list for columns of `channels` channels.
    #[inline(always)]
    pub fn of(channels: usize) -> Self {
        Self { starts: Vec::new(), channels, borrowed: PhantomData }
    }

    /// Adds the first channels of `x`; ignores a slice that is shorter.
    #[inline(always)]
    pub fn push(&mut self, x: &'c [i8]) {
        if x.len() >= self.channels {
            let _ = self.starts.push(x.as_ptr());
        }
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Number of channels in each column.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Start pointers of the columns.
    pub fn starts(&self) -> &[*const i8] {
        &self.starts
    }

    /// Iterates over the columns.
    pub fn iter(&self) -> impl Iterator<Item = &'c [i8]> + '_ {
        // SAFETY: [`Columns::push`] borrowed each column for `'c` and checked its length.
        let column = |&start: &*const i8| unsafe { slice::from_raw_parts(start, self.channels) };
        self.starts.iter().map(column)
    }
}
