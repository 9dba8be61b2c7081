//! A model's self-test: features, and the logits that the network must make of them, to the bit.
//!
//! Whoever signs an image runs the same engine on the laptop and stores what it said. A device on
//! which the network says anything else does not run that model: a kernel that differs, weights that
//! are not where they should be, or RAM that does not hold them.
//!
//! | offset | size | field |
//! |---:|---:|---|
//! | 0 | 2 | steps |
//! | 2 | 2 | features of a step |
//! | 4 | 2 | words |
//! | 6 | 2 | zero |
//! | 8 | steps · features | `i8` features, step after step |
//! | then | 2 · steps · words | `i16` logits (Q8), step after step |
//!
//! All little-endian.

use crate::{
    artifact::{MAX_WORDS, Model},
    engine::Engine,
};

/// Bytes before the features.
pub const FRONT_BYTES: usize = 8;

/// Why a self-test failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestError {
    /// Its lengths are not the model's.
    Shape,
    /// The arena is too small for the model.
    Arena,
    /// The network said something else at this step.
    Differs {
        /// The step.
        step: u16,
    },
}

/// Runs a model on its self-test.
///
/// # Errors
/// [`TestError`].
#[inline(never)]
pub fn run(model: &Model<'_>, test: &[u8], arena: &mut [i8]) -> Result<(), TestError> {
    let (front, rest) = test.split_first_chunk::<FRONT_BYTES>().ok_or(TestError::Shape)?;
    let half = |at: usize| usize::from(u16::from_le_bytes([front[at], front[at + 1]]));
    let [steps, width, words, zero] = [half(0), half(2), half(4), half(6)];
    let (features, logits) = rest.split_at_checked(steps * width).ok_or(TestError::Shape)?;
    let fits = width == usize::from(model.step_width())
        && words == model.words.len()
        && logits.len() == 2 * steps * words
        && zero == 0
        && steps > 0;
    if !fits {
        return Err(TestError::Shape);
    }
    let mut engine = Engine::new(model, arena).map_err(|_| TestError::Arena)?;
    let mut said = [0; MAX_WORDS];
    let expected = logits.chunks_exact((2 * words).max(1));
    for (step, (features, expected)) in features.chunks_exact(width).zip(expected).enumerate() {
        let input = engine.input().iter_mut();
        input.zip(features).for_each(|(input, &byte)| *input = byte as i8);
        engine.step(&mut said);
        let (expected, _) = expected.as_chunks();
        let same = |(said, &expected): (&i16, &[u8; 2])| *said == i16::from_le_bytes(expected);
        if !said.iter().zip(expected).all(same) {
            return Err(TestError::Differs { step: step as u16 });
        }
    }
    Ok(())
}
