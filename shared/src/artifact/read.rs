//! Decodes the description field by field into a model that already lies where it will stay, and
//! tells its layers where their arrays lie.
//!
//! A derived `Deserialize` would build the lists first and the model from them afterwards, and a
//! device would need stack for both; and it takes 5 KB more of flash than this, which asks postcard
//! for one number, text or array of bytes at a time.

use heapless::Vec;
use postcard::{Deserializer, de_flavors::Slice};
use serde::Deserialize;

use super::header::LoadError;
use super::model::{Affine, Card, Factors, Head, Layer, Model, Op, OperatingPoint, Word};
use crate::{
    detector::DetectorParams,
    frontend::{FrontendParams, Level, LevelStatistic, Normalization, Quantizer},
};

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

/// The description ends too early, or holds what no field can.
pub(super) struct Malformed;

type Read<T> = Result<T, Malformed>;

/// Reads field after field.
struct Reader<'a>(Deserializer<'a, Slice<'a>>);

/// Fills an empty `model`; returns the bytes left over.
pub(super) fn description<'a>(bytes: &'a [u8], model: &mut Model<'a>) -> Read<&'a [u8]> {
    // The order is that of the fields, in which the derived `Serialize` writes them.
    let Model { card, frontend, frames_per_step, layers, trunk_layers, heads, words } = model;
    let mut reader = Reader(Deserializer::from_bytes(bytes));
    let Card { name, base, provenance, licence } = card;
    for text in [name, base, provenance, licence] {
        *text = reader.text()?;
    }
    *frontend = reader.frontend()?;
    *frames_per_step = reader.u8()?;
    reader.list(layers, Reader::layer)?;
    *trunk_layers = reader.u8()?;
    reader.list(heads, Reader::head)?;
    reader.list(words, Reader::word)?;
    reader.0.finalize().map_err(|_| Malformed)
}

impl<'a> Reader<'a> {
    fn field<T: Deserialize<'a>>(&mut self) -> Read<T> {
        T::deserialize(&mut self.0).map_err(|_| Malformed)
    }

    #[inline(never)]
    fn u8(&mut self) -> Read<u8> {
        self.field()
    }

    fn i8(&mut self) -> Read<i8> {
        self.u8().map(|byte| byte as i8)
    }

    #[inline(never)]
    fn u16(&mut self) -> Read<u16> {
        self.field()
    }

    #[inline(never)]
    fn i16(&mut self) -> Read<i16> {
        self.field()
    }

    /// Counts and variants are `u32` as well.
    #[inline(never)]
    fn u32(&mut self) -> Read<u32> {
        self.field()
    }

    #[inline(never)]
    fn i32(&mut self) -> Read<i32> {
        self.field()
    }

    #[inline(never)]
    fn u64(&mut self) -> Read<u64> {
        self.field()
    }

    #[inline(never)]
    fn bytes(&mut self) -> Read<&'a [u8]> {
        self.field()
    }

    fn text(&mut self) -> Read<&'a str> {
        self.bytes().and_then(|bytes| core::str::from_utf8(bytes).map_err(|_| Malformed))
    }

    /// A list, filled where it lies.
    fn list<T, const N: usize>(
        &mut self,
        list: &mut Vec<T, N>,
        item: impl Fn(&mut Self) -> Read<T>,
    ) -> Read<()> {
        for _ in 0..self.u32()? {
            list.push(item(self)?).map_err(|_| Malformed)?;
        }
        Ok(())
    }

    fn frontend(&mut self) -> Read<FrontendParams<'a>> {
        Ok(FrontendParams {
            mel_starts: self.bytes()?,
            mel_weights: self.bytes()?,
            normalization: self.normalization()?,
        })
    }

    fn normalization(&mut self) -> Read<Normalization<'a>> {
        Ok(match self.u32()? {
            0 => Normalization::Log {
                floor: self.u64()?,
                level: match self.u8()? {
                    0 => None,
                    1 => Some(self.level()?),
                    _ => return Err(Malformed),
                },
                quantizer: self.quantizer()?,
            },
            1 => Normalization::LogPcen {
                floor: self.u64()?,
                strength_q8: self.u16()?,
                smoothing_shift: self.u8()?,
                quantizer: self.quantizer()?,
            },
            2 => Normalization::Pcan {
                even_smoothing: self.u16()?,
                odd_smoothing: self.u16()?,
                min_signal_remaining: self.u16()?,
                gain_table: self.bytes()?,
            },
            _ => return Err(Malformed),
        })
    }

    fn level(&mut self) -> Read<Level> {
        let statistic = match self.u32()? {
            0 => LevelStatistic::Mean,
            1 => LevelStatistic::Max,
            _ => return Err(Malformed),
        };
        Ok(Level {
            statistic,
            initial_q8: self.i16()?,
            attack_shift: self.u8()?,
            decay_shift: self.u8()?,
        })
    }

    fn quantizer(&mut self) -> Read<Quantizer> {
        Ok(Quantizer { offset_q8: self.i16()?, scale_q16: self.u16()? })
    }

    fn layer(&mut self) -> Read<Layer<'a>> {
        Ok(Layer { input: self.u8()?, output: self.u8()?, op: self.op()? })
    }

    fn op(&mut self) -> Read<Op<'a>> {
        Ok(match self.u32()? {
            0 => Op::Depthwise {
                taps: self.u8()?,
                dilation: self.u8()?,
                stride: self.u8()?,
                input_zero: self.i8()?,
                affine: self.affine()?,
            },
            1 => Op::Pointwise { affine: self.affine()? },
            2 => Op::Add {
                other: self.u8()?,
                x_scale: self.i32()?,
                o_scale: self.i32()?,
                x_zero: self.i8()?,
                o_zero: self.i8()?,
                zero: self.i8()?,
            },
            _ => return Err(Malformed),
        })
    }

    #[inline(never)]
    fn affine(&mut self) -> Read<Affine<'a>> {
        Ok(Affine {
            inputs: self.u16()?,
            outputs: self.u16()?,
            zero_point: self.i8()?,
            weights: &[],
            factors: &[],
        })
    }

    fn head(&mut self) -> Read<Head<'a>> {
        Ok(Head { layers: self.u8()?, input: self.u8()?, logits: self.affine()? })
    }

    fn word(&mut self) -> Read<Word<'a>> {
        let label = self.text()?;
        let detector = DetectorParams {
            smoothing_steps: self.u8()?,
            threshold: self.i16()?,
            refractory_steps: self.u16()?,
        };
        let mut points = Vec::new();
        self.list(&mut points, Self::point)?;
        Ok(Word { label, detector, points })
    }

    fn point(&mut self) -> Read<OperatingPoint> {
        Ok(OperatingPoint {
            false_accepts: self.u32()?,
            audio_seconds: self.u32()?,
            threshold: self.i16()?,
        })
    }
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
