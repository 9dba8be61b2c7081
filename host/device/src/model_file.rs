//! Writer of model files: packs weights in the order in which kernels read them, and writes the
//! description and the arrays behind a header.
//!
//! [`Model::load`] reads the file, with the same code as on the device.
//! `docs/reference/model-file.md` specifies the bytes.

use std::path::Path;

use serde::Serialize;
use wakeling_shared::model::{
    Affine, BiasScale, FLAG_IMAGE, ImageModel, LANES, LoadError, Model, TfliteAffine,
    TfliteFactors, UNIT, write_header,
};

use wakeling_core::files;

use crate::{Error, Result};

/// Weights, biases and scales of a layer, packed as [`Affine`] specifies.
///
/// ```
/// use wakeling_device::model_file::{PackedAffine, Scales};
///
/// let (biases, multipliers) = ([5, 0], [1 << 20, 1 << 21]);
/// let scales = Scales { biases: &biases, multipliers: &multipliers, zero_point: -128 };
/// let packed = PackedAffine::pointwise(&[1, -2, 3, 40, 50, -60], scales); // two rows of three
/// let affine = packed.affine();
/// assert_eq!((affine.inputs, affine.outputs), (3, 2));
/// assert_eq!(affine.pointwise_weight(1, 2), -60);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedAffine {
    inputs: u16,
    outputs: u16,
    zero_point: i8,
    weights: Vec<u32>,
    bias_scales: Vec<BiasScale>,
}

/// Bias and multiplier of each output.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'s> {
    /// Biases, with the input's zero point folded in.
    pub biases: &'s [i32],
    /// Multipliers.
    pub multipliers: &'s [i32],
    /// Zero point of the output.
    pub zero_point: i8,
}

impl PackedAffine {
    /// Packs weights `(outputs, inputs)`, row-major. Two outputs share a 16-bit value,
    /// `256 · odd + even`, which fits for weights in −127 … 127. A weight of −128, which no
    /// quantizer produces, becomes −127.
    ///
    /// # Panics
    /// If the numbers of weights and scales disagree, which is a defect of the caller.
    pub fn pointwise(weights: &[i8], scales: Scales<'_>) -> Self {
        let outputs = scales.biases.len();
        let inputs = weights.len() / outputs.max(1);
        assert_eq!(weights.len(), inputs * outputs, "weights must be (outputs, inputs)");
        let weight = |o: usize, i: usize| -> i32 {
            let inside = o < outputs && i < inputs;
            if inside { i32::from(weights[o * inputs + i].max(-127)) } else { 0 }
        };
        let mut halves = Vec::new();
        for block in (0..outputs).step_by(LANES) {
            for unit in (0..inputs).step_by(UNIT) {
                for even in (block..block + LANES).step_by(2) {
                    let pair = |i| (256 * weight(even + 1, i) + weight(even, i)) as i16;
                    halves.extend((unit..unit + UNIT).map(pair));
                }
            }
        }
        Self::new((inputs, outputs), &halves, scales)
    }

    /// Packs weights `(taps, channels)`, row-major; tap 0 weighs the newest column.
    ///
    /// # Panics
    /// If the numbers of weights and scales disagree, which is a defect of the caller.
    pub fn depthwise(weights: &[i16], scales: Scales<'_>) -> Self {
        let channels = scales.biases.len();
        let taps = weights.len() / channels.max(1);
        assert_eq!(weights.len(), taps * channels, "weights must be (taps, channels)");
        let mut halves = Vec::new();
        for block in (0..channels).step_by(LANES) {
            for tap in weights.chunks(channels) {
                halves.extend((block..block + LANES).map(|c| tap.get(c).copied().unwrap_or(0)));
            }
        }
        Self::new((channels, channels), &halves, scales)
    }

    fn new((inputs, outputs): (usize, usize), halves: &[i16], scales: Scales<'_>) -> Self {
        let Scales { biases, multipliers, zero_point } = scales;
        assert_eq!(biases.len(), multipliers.len(), "an output has a bias and a multiplier");
        let four = |values: &[i32]| std::array::from_fn(|i| values.get(i).copied().unwrap_or(0));
        let both = biases.chunks(LANES).zip(multipliers.chunks(LANES));
        let word = |[low, high]: &[i16; 2]| u32::from(*low as u16) | u32::from(*high as u16) << 16;
        Self {
            inputs: inputs as u16,
            outputs: outputs as u16,
            zero_point,
            weights: halves.as_chunks::<2>().0.iter().map(word).collect(),
            bias_scales: both
                .map(|(biases, multipliers)| [four(biases), four(multipliers)])
                .collect(),
        }
    }

    /// Copies a layer that a model borrows.
    pub fn of(affine: &Affine<'_>) -> Self {
        let Affine { inputs, outputs, zero_point, weights, bias_scales } = *affine;
        Self {
            inputs,
            outputs,
            zero_point,
            weights: weights.to_vec(),
            bias_scales: bias_scales.to_vec(),
        }
    }

    /// Returns a borrowed view for a model.
    pub fn affine(&self) -> Affine<'_> {
        Affine {
            inputs: self.inputs,
            outputs: self.outputs,
            zero_point: self.zero_point,
            weights: &self.weights,
            bias_scales: &self.bias_scales,
        }
    }
}

/// As [`PackedAffine`], for a layer with the rounding of TensorFlow Lite
/// ([`TfliteAffine`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedTflite {
    packed: PackedAffine,
    factors: Vec<TfliteFactors>,
}

/// Bias, multiplier and shift of each output, as [`TfliteFactors`] specifies them.
#[derive(Clone, Copy, Debug)]
pub struct TfliteScales<'s> {
    /// Biases, with the input's zero point folded in.
    pub biases: &'s [i32],
    /// Multipliers.
    pub multipliers: &'s [i32],
    /// Shifts.
    pub shifts: &'s [i32],
    /// Zero point of the output.
    pub zero_point: i8,
}

impl PackedTflite {
    /// Packs weights as [`PackedAffine::pointwise`] does.
    ///
    /// # Panics
    /// As [`PackedAffine::pointwise`].
    pub fn pointwise(weights: &[i8], scales: TfliteScales<'_>) -> Self {
        Self::new(PackedAffine::pointwise(weights, scales.once()), scales)
    }

    /// Packs weights as [`PackedAffine::depthwise`] does.
    ///
    /// # Panics
    /// As [`PackedAffine::depthwise`].
    pub fn depthwise(weights: &[i16], scales: TfliteScales<'_>) -> Self {
        Self::new(PackedAffine::depthwise(weights, scales.once()), scales)
    }

    fn new(mut packed: PackedAffine, TfliteScales { shifts, .. }: TfliteScales<'_>) -> Self {
        // Outputs beyond the last compute with the smallest factor that is valid.
        let four = |values: &[i32]| std::array::from_fn(|i| values.get(i).copied().unwrap_or(0));
        let blocks = packed.bias_scales.drain(..).zip(shifts.chunks(LANES));
        let factors = blocks.map(|([biases, multipliers], shifts)| {
            let multipliers = multipliers.map(|m| if m == 0 { i32::MIN } else { m });
            [biases, multipliers, four(shifts)]
        });
        let factors = factors.collect();
        Self { packed, factors }
    }

    /// Returns a borrowed view for a model.
    pub fn affine(&self) -> TfliteAffine<'_> {
        TfliteAffine { affine: self.packed.affine(), factors: &self.factors }
    }
}

impl<'s> TfliteScales<'s> {
    /// Returns what a layer without shifts has.
    fn once(self) -> Scales<'s> {
        let Self { biases, multipliers, zero_point, .. } = self;
        Scales { biases, multipliers, zero_point }
    }
}

/// Encodes a model file, header and body, unsigned.
///
/// The model is not checked. The caller must check the bytes with [`Model::load`] first, as
/// [`write()`] does.
///
/// # Errors
/// [`Error::ModelUnwritable`] if the description cannot be serialized, which happens only beyond 4 GiB.
pub fn encode(model: &Model<'_>) -> Result<Vec<u8>> {
    encode_parts(model, model.arrays(), 0)
}

/// Encodes a model file for images, as [`encode`] does.
///
/// # Errors
/// As [`encode`].
pub fn encode_image(model: &ImageModel<'_>) -> Result<Vec<u8>> {
    encode_parts(model, model.affines().map(Affine::arrays), FLAG_IMAGE)
}

fn encode_parts<'a>(
    description: &impl Serialize,
    arrays: impl Iterator<Item = [&'a [u32]; 2]>,
    flags: u16,
) -> Result<Vec<u8>> {
    let description = postcard::to_stdvec(description)
        .map_err(|error| Error::ModelUnwritable { reason: error.to_string() })?;
    // Padded to two words, as every array is.
    let mut body: Vec<u32> = description
        .chunks(8)
        .flat_map(|bytes| {
            let byte = |i: usize| u32::from(bytes.get(i).copied().unwrap_or(0));
            [0, 4].map(|at| (0..4).map(|i| byte(at + i) << (8 * i)).sum())
        })
        .collect();
    arrays.flatten().for_each(|words| body.extend(words));
    let mut bytes = write_header(description.len(), &body, flags).to_vec();
    bytes.extend(body.iter().flat_map(|word| word.to_le_bytes()));
    Ok(bytes)
}

/// Writes a model to `path` atomically, after checking that a device would load it.
///
/// ```
/// use wakeling_device::model_file;
/// # use wakeling_tests::model::{Tier, random_model};
/// # let bytes = random_model(1, Tier::Tiny);
/// # let model = wakeling_shared::model::Model::load(&bytes).unwrap();
///
/// // `model` is a `wakeling_shared::model::Model`.
/// let path = std::env::temp_dir().join(format!("wakeling-model-{}.wkl", std::process::id()));
/// model_file::write(&path, &model)?;
/// let bytes = model_file::read(&path)?;
/// assert_eq!(model_file::load(&path, &bytes)?, model);
/// assert!(model_file::load(&path, &bytes[..100]).is_err());
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_device::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidModel`] if no device would load it; [`Error::Core`] if writing fails.
pub fn write(path: impl AsRef<Path>, model: &Model<'_>) -> Result<()> {
    let path = path.as_ref();
    let bytes = encode(model)?;
    load(path, &bytes)?;
    Ok(files::write_atomic(path, &bytes)?)
}

/// Reads the bytes of a model file; [`load`] borrows them.
///
/// # Errors
/// [`Error::Core`] if reading fails.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    std::fs::read(path).map_err(Error::io(path, "read"))
}

/// Loads a model as [`Model::load`] does, with an error that names the file.
///
/// # Errors
/// [`Error::InvalidModel`] if the bytes are no valid model.
pub fn load<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>> {
    Model::load(bytes).map_err(|error| load_error(path, error))
}

/// Returns an error that names the file.
pub(crate) fn load_error(path: &Path, error: LoadError) -> Error {
    Error::InvalidModel { path: path.to_owned(), reason: error }
}
