//! Self-test of a model: features, and the exact logits that the network must compute from them.
//!
//! The signer of a package runs the same engine on the laptop and stores its logits. A device whose
//! network returns other logits does not run that model. The cause may be a kernel that differs,
//! weights in the wrong place, or defective RAM.
//!
//! | offset | size | field |
//! |---:|---:|---|
//! | 0 | 2 | steps |
//! | 2 | 2 | features per step |
//! | 4 | 2 | keywords |
//! | 6 | 2 | zero |
//! | 8 | steps · features | `i8` features, step by step |
//! | then | 2 · steps · keywords | `i16` logits (Q8), step by step |
//!
//! All fields are little-endian.

use crate::{
    engine::Engine,
    model::{MAX_KEYWORDS, Model},
};

/// Number of bytes before the features.
pub const FRONT_BYTES: usize = 8;

/// Reason for which a self-test failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestError {
    /// Its lengths differ from those of the model.
    Shape,
    /// The arena is too small for the model.
    Arena,
    /// The network computed another logit at this step.
    Differs {
        /// Number of the step.
        step: u16,
    },
}

/// Runs a model on its self-test.
///
/// # Errors
/// [`TestError`], by its cause.
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
    let mut output = [0; MAX_KEYWORDS];
    let expected = logits.chunks_exact((2 * words).max(1));
    for (step, (features, expected)) in features.chunks_exact(width).zip(expected).enumerate() {
        let input = engine.input().iter_mut();
        input.zip(features).for_each(|(input, &byte)| *input = byte as i8);
        engine.step(&mut output);
        let (expected, _) = expected.as_chunks();
        let same = |(output, &expected): (&i16, &[u8; 2])| *output == i16::from_le_bytes(expected);
        if !output.iter().zip(expected).all(same) {
            return Err(TestError::Differs { step: step as u16 });
        }
    }
    Ok(())
}
