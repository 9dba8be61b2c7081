//! Decodes the description field by field into a model in its final place, and assigns the layers
//! their arrays.
//!
//! A derived `Deserialize` would build the lists first and the model from them, with stack for
//! both. It also takes 5 KB more flash than this code, which requests one number, text or byte
//! array at a time from postcard.

use heapless::Vec;
use postcard::{Deserializer, de_flavors::Slice};
use serde::Deserialize;

use super::header::LoadError;
use super::types::{
    Affine, BiasScale, Card, Head, Keyword, Layer, Model, Op, OperatingPoint, Statistics,
    TfliteAdd, TfliteAffine, TfliteFactors, TfliteScale,
};
use crate::{
    detector::DetectorParams,
    frontend::{FrontendParams, Level, LevelStatistic, Normalization, Quantizer},
    gate::GateParams,
};

impl Model<'_> {
    /// Returns an empty model, which no check accepts.
    pub(super) const fn empty() -> Self {
        Self {
            card: Card { name: "", pretrained: "", provenance: "", licence: "" },
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
            backbone_layers: 0,
            heads: Vec::new(),
            words: Vec::new(),
            gate: None,
            statistics: None,
        }
    }
}

/// The description ends too early, or a value does not fit its field.
pub(super) struct Malformed;

pub(super) type Read<T> = Result<T, Malformed>;

impl From<Malformed> for LoadError {
    fn from(Malformed: Malformed) -> Self {
        Self::Body
    }
}

/// Reads one field after another.
pub(super) struct Reader<'a>(Deserializer<'a, Slice<'a>>);

/// Decodes the description into an empty `model`.
pub(super) fn description<'a>(bytes: &'a [u8], model: &mut Model<'a>) -> Result<(), LoadError> {
    let mut reader = Reader::new(bytes);
    reader.model(model)?;
    // Gate and statistics are optional, and a file ends after the last one that it has.
    let mut rest = reader.rest()?;
    rest = match rest {
        [1, gate @ ..] => {
            let mut reader = Reader::new(gate);
            model.gate = Some(GateParams { margin: reader.u8()?, hold_steps: reader.u8()? });
            reader.rest()?
        }
        [0, statistics @ ..] if !statistics.is_empty() => statistics,
        rest => rest,
    };
    match rest {
        [] => Ok(()),
        [1, statistics @ ..] => {
            let mut reader = Reader::new(statistics);
            model.statistics = Some(reader.statistics()?);
            reader.finish()
        }
        rest => Err(LoadError::Trailing { bytes: rest.len() }),
    }
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Deserializer::from_bytes(bytes))
    }

    /// Returns the remaining bytes.
    fn rest(self) -> Result<&'a [u8], LoadError> {
        self.0.finalize().map_err(|_| LoadError::Body)
    }

    /// Checks that no bytes remain.
    pub fn finish(self) -> Result<(), LoadError> {
        match self.rest()? {
            [] => Ok(()),
            rest => Err(LoadError::Trailing { bytes: rest.len() }),
        }
    }

    fn model(&mut self, model: &mut Model<'a>) -> Read<()> {
        // The order is that in which the derived `Serialize` writes the fields.
        let Model {
            card,
            frontend,
            frames_per_step,
            layers,
            backbone_layers,
            heads,
            words,
            gate: _,
            statistics: _,
        } = model;
        *card = self.card()?;
        *frontend = self.frontend()?;
        *frames_per_step = self.u8()?;
        self.list(layers, Self::layer)?;
        *backbone_layers = self.u8()?;
        self.list(heads, Self::head)?;
        self.list(words, Self::word)
    }

    pub fn card(&mut self) -> Read<Card<'a>> {
        Ok(Card {
            name: self.text()?,
            pretrained: self.text()?,
            provenance: self.text()?,
            licence: self.text()?,
        })
    }

    fn field<T: Deserialize<'a>>(&mut self) -> Read<T> {
        T::deserialize(&mut self.0).map_err(|_| Malformed)
    }

    #[inline(never)]
    pub fn u8(&mut self) -> Read<u8> {
        self.field()
    }

    pub fn i8(&mut self) -> Read<i8> {
        self.u8().map(|byte| byte as i8)
    }

    #[inline(never)]
    pub fn u16(&mut self) -> Read<u16> {
        self.field()
    }

    #[inline(never)]
    pub fn i16(&mut self) -> Read<i16> {
        self.field()
    }

    /// Also reads counts and enum variants, which are `u32` as well.
    #[inline(never)]
    pub fn u32(&mut self) -> Read<u32> {
        self.field()
    }

    #[inline(never)]
    pub fn i32(&mut self) -> Read<i32> {
        self.field()
    }

    #[inline(never)]
    pub fn u64(&mut self) -> Read<u64> {
        self.field()
    }

    #[inline(never)]
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        self.field()
    }

    pub fn text(&mut self) -> Read<&'a str> {
        self.bytes().and_then(|bytes| core::str::from_utf8(bytes).map_err(|_| Malformed))
    }

    /// Reads a list into its final place.
    pub fn list<T, const N: usize>(
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
            3 => Op::Window { history: self.u16()?, outputs: self.u16()?, input_zero: self.i8()? },
            4 => Op::Table { table: self.bytes()? },
            5 => Op::Join { other: self.u8()?, outputs: self.u16()? },
            6 => Op::DepthwiseTflite {
                taps: self.u8()?,
                dilation: self.u8()?,
                input_zero: self.i8()?,
                affine: self.tflite_affine()?,
            },
            7 => Op::PointwiseTflite { affine: self.tflite_affine()? },
            8 => Op::AddTflite {
                other: self.u8()?,
                scales: TfliteAdd {
                    x_scale: self.tflite_scale()?,
                    o_scale: self.tflite_scale()?,
                    y_scale: self.tflite_scale()?,
                    x_zero: self.i8()?,
                    o_zero: self.i8()?,
                    zero: self.i8()?,
                },
            },
            _ => return Err(Malformed),
        })
    }

    fn tflite_affine(&mut self) -> Read<TfliteAffine<'a>> {
        Ok(TfliteAffine { affine: self.affine()?, factors: &[] })
    }

    fn tflite_scale(&mut self) -> Read<TfliteScale> {
        Ok(TfliteScale { multiplier: self.i32()?, shift: self.u8()? })
    }

    #[inline(never)]
    pub fn affine(&mut self) -> Read<Affine<'a>> {
        Ok(Affine {
            inputs: self.u16()?,
            outputs: self.u16()?,
            zero_point: self.i8()?,
            weights: &[],
            bias_scales: &[],
        })
    }

    fn head(&mut self) -> Read<Head<'a>> {
        Ok(Head { layers: self.u8()?, input: self.u8()?, logits: self.affine()? })
    }

    fn word(&mut self) -> Read<Keyword<'a>> {
        let label = self.text()?;
        let detector = DetectorParams {
            smoothing_steps: self.u8()?,
            threshold: self.i16()?,
            refractory_steps: self.u16()?,
        };
        let mut points = Vec::new();
        self.list(&mut points, Self::point)?;
        Ok(Keyword { label, detector, points })
    }

    fn statistics(&mut self) -> Read<Statistics<'a>> {
        Ok(Statistics {
            deviation: self.u8()?,
            threshold_q8: self.u16()?,
            share_q8: self.u8()?,
            order: self.u8()?,
            predictors: self.bytes()?,
        })
    }

    fn point(&mut self) -> Read<OperatingPoint> {
        Ok(OperatingPoint {
            false_accepts: self.u32()?,
            audio_seconds: self.u32()?,
            threshold: self.i16()?,
        })
    }
}

/// Assigns every layer and head its arrays, in the order of [`Model::arrays`].
pub(super) fn arrays<'a>(arrays: &'a [u32], model: &mut Model<'a>) -> Result<(), LoadError> {
    let mut arrays = Arrays::new(arrays);
    for layer in &mut model.layers {
        match &mut layer.op {
            Op::Depthwise { taps, affine, .. } => {
                let words = affine.depthwise_words(usize::from(*taps));
                arrays.attach(affine, words);
            }
            Op::Pointwise { affine } => arrays.attach_pointwise(affine),
            Op::DepthwiseTflite { taps, affine, .. } => {
                let words = affine.affine.depthwise_words(usize::from(*taps));
                arrays.attach_tflite(affine, words);
            }
            Op::PointwiseTflite { affine } => {
                arrays.attach_tflite(affine, affine.affine.pointwise_words());
            }
            Op::Add { .. }
            | Op::Window { .. }
            | Op::Table { .. }
            | Op::Join { .. }
            | Op::AddTflite { .. } => {}
        }
    }
    model.heads.iter_mut().for_each(|head| arrays.attach_pointwise(&mut head.logits));
    arrays.finish()
}

/// The arrays after a description: weights, then factors, layer by layer.
pub(super) struct Arrays<'a> {
    rest: &'a [u32],
    expected: usize,
    found: usize,
}

impl<'a> Arrays<'a> {
    pub fn new(words: &'a [u32]) -> Self {
        Self { rest: words, expected: 0, found: words.len() }
    }

    /// Assigns the next arrays to a pointwise layer.
    pub fn attach_pointwise(&mut self, affine: &mut Affine<'a>) {
        self.attach(affine, affine.pointwise_words());
    }

    /// Assigns the next arrays to a layer with `words` words of weights.
    pub fn attach(&mut self, affine: &mut Affine<'a>, words: usize) {
        let bias_scales = affine.blocks() * BIAS_SCALE_WORDS;
        affine.weights = take(&mut self.rest, words);
        let words_of_bias_scales =
            take(&mut self.rest, bias_scales).as_chunks::<BIAS_SCALE_WORDS>().0;
        affine.bias_scales = bytemuck::cast_slice(words_of_bias_scales);
        self.expected = self.expected.saturating_add(words + bias_scales);
    }

    /// Assigns the next arrays to a layer of TensorFlow Lite with `words` words of weights.
    fn attach_tflite(&mut self, affine: &mut TfliteAffine<'a>, words: usize) {
        let factors = affine.affine.blocks() * TFLITE_WORDS;
        affine.affine.weights = take(&mut self.rest, words);
        let words_of_factors = take(&mut self.rest, factors).as_chunks::<TFLITE_WORDS>().0;
        affine.factors = bytemuck::cast_slice(words_of_factors);
        self.expected = self.expected.saturating_add(words + factors);
    }

    /// Checks that no words are missing or left.
    pub fn finish(self) -> Result<(), LoadError> {
        let Self { expected, found, .. } = self;
        if expected == found { Ok(()) } else { Err(LoadError::Arrays { expected, found }) }
    }
}

/// Number of words in one [`BiasScale`].
const BIAS_SCALE_WORDS: usize = size_of::<BiasScale>() / size_of::<u32>();

/// Number of words in one [`TfliteFactors`].
const TFLITE_WORDS: usize = size_of::<TfliteFactors>() / size_of::<u32>();

/// Takes the first `count` words off `words`; none if there are fewer.
fn take<'a>(words: &mut &'a [u32], count: usize) -> &'a [u32] {
    let Some((front, rest)) = words.split_at_checked(count) else { return &[] };
    *words = rest;
    front
}
