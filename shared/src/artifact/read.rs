//! Decodes the description field by field into a model that already lies where it will stay, and
//! tells its layers where their arrays lie.
//!
//! A derived `Deserialize` would build the lists first and the model from them afterwards, and a
//! device would need stack for both.

use core::fmt;

use heapless::Vec;
use postcard::Deserializer;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};

use super::header::LoadError;
use super::model::{Affine, Card, Factors, Model};
use crate::frontend::{FrontendParams, Normalization};

impl Model<'_> {
    /// A model of nothing, which no check accepts.
    pub(super) const fn empty() -> Self {
        Self {
            card: Card { name: "", base: "", provenance: "", licence: "" },
            frontend: FrontendParams {
                mel_starts: &[],
                mel_weights: &[],
                normalization: Normalization::Pcan {
                    even_smoothing: 0,
                    odd_smoothing: 0,
                    min_signal_remaining: 0,
                    gain_table: &[],
                },
            },
            frames_per_step: 0,
            layers: Vec::new(),
            trunk_layers: 0,
            heads: Vec::new(),
            words: Vec::new(),
        }
    }
}

/// Fills an empty `model`; returns the bytes left over.
pub(super) fn description<'a>(
    bytes: &'a [u8],
    model: &mut Model<'a>,
) -> postcard::Result<&'a [u8]> {
    // The order is that of the fields, in which the derived `Serialize` writes them.
    let Model { card, frontend, frames_per_step, layers, trunk_layers, heads, words } = model;
    let mut bytes = Deserializer::from_bytes(bytes);
    *card = Deserialize::deserialize(&mut bytes)?;
    *frontend = Deserialize::deserialize(&mut bytes)?;
    *frames_per_step = Deserialize::deserialize(&mut bytes)?;
    List(layers).deserialize(&mut bytes)?;
    *trunk_layers = Deserialize::deserialize(&mut bytes)?;
    List(heads).deserialize(&mut bytes)?;
    List(words).deserialize(&mut bytes)?;
    bytes.finalize()
}

/// Tells every layer and head where its arrays lie: weights, then factors, one after another in the
/// order of [`Model::affines`].
pub(super) fn arrays<'a>(arrays: &'a [u32], model: &mut Model<'a>) -> Result<(), LoadError> {
    let mut rest = arrays;
    let mut expected = 0;
    let mut attach = |affine: &mut Affine<'a>, words: usize| {
        affine.weights = take(&mut rest, words);
        let factors = affine.blocks() * FACTOR_WORDS;
        affine.factors =
            bytemuck::cast_slice(take(&mut rest, factors).as_chunks::<FACTOR_WORDS>().0);
        expected += words + factors;
    };
    for layer in &mut model.layers {
        let words = layer.op.weight_words();
        if let Some(affine) = layer.op.affine_mut() {
            attach(affine, words);
        }
    }
    for head in &mut model.heads {
        let words = head.logits.pointwise_words();
        attach(&mut head.logits, words);
    }
    let found = arrays.len();
    if expected == found { Ok(()) } else { Err(LoadError::Arrays { expected, found }) }
}

/// Words of [`Factors`].
const FACTOR_WORDS: usize = size_of::<Factors>() / size_of::<u32>();

/// The first `count` words, or none of them if there are fewer.
fn take<'a>(words: &mut &'a [u32], count: usize) -> &'a [u32] {
    let Some((front, rest)) = words.split_at_checked(count) else { return &[] };
    *words = rest;
    front
}

/// A list that is filled where it lies.
struct List<'v, T, const N: usize>(&'v mut Vec<T, N>);

impl<'de, T: Deserialize<'de>, const N: usize> DeserializeSeed<'de> for List<'_, T, N> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<'_, T, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {N} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            self.0.push(item).map_err(|_| A::Error::invalid_length(N + 1, &self))?;
        }
        Ok(())
    }
}
