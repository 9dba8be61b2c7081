//! Sources of the tensors that a [`VarBuilder`](candle_nn::VarBuilder) gives to layers.

use std::sync::{Mutex, PoisonError};
use wakeling_core::random::normal;

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::{Init, VarMap, init::NormalOrUniform, var_builder::SimpleBackend};
use rand::{Rng, RngExt};

/// Source of tensors that exist. [`VarMap`] itself would add the missing ones, and so hide that a
/// file does not fit the network.
pub(super) struct Existing(pub(super) VarMap);

impl SimpleBackend for Existing {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            return Err(candle_core::Error::UnexpectedShape {
                msg: format!("parameter {name:?}"),
                expected: shape,
                got: tensor.shape().clone(),
            });
        }
        Ok(tensor)
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_owned() };
        let vars = self.0.data().lock().unwrap_or_else(PoisonError::into_inner);
        vars.get(name).ok_or_else(missing)?.to_device(device)?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_tensor(name)
    }
}

/// Source of tensors that samples the missing ones from a seeded generator. Candle's own generator
/// for the CPU has no seed.
pub(super) struct Seeded<'a, R> {
    vars: VarMap,
    rng: Mutex<&'a mut R>,
}

impl<'a, R> Seeded<'a, R> {
    /// Creates a source that adds to `vars`.
    pub(super) fn new(vars: VarMap, rng: &'a mut R) -> Self {
        Self { vars, rng: Mutex::new(rng) }
    }
}

/// Samples the values of a new parameter.
fn sample(shape: &Shape, init: Init, rng: &mut impl Rng) -> Vec<f32> {
    match init {
        Init::Const(value) => vec![value as f32; shape.elem_count()],
        Init::Uniform { lo, up } => {
            let mut uniform = || (lo + (up - lo) * rng.random::<f64>()) as f32;
            (0..shape.elem_count()).map(|_| uniform()).collect()
        }
        Init::Randn { mean, stdev } => {
            let mut sampled = || mean as f32 + stdev as f32 * normal(rng);
            (0..shape.elem_count()).map(|_| sampled()).collect()
        }
        Init::Kaiming { dist, fan, non_linearity } => {
            let stdev = non_linearity.gain() / (fan.for_shape(shape).max(1) as f64).sqrt();
            let bound = 3f64.sqrt() * stdev;
            let equivalent = match dist {
                NormalOrUniform::Normal => Init::Randn { mean: 0.0, stdev },
                NormalOrUniform::Uniform => Init::Uniform { lo: -bound, up: bound },
            };
            sample(shape, equivalent, rng)
        }
    }
}

impl<R: Rng + Send> SimpleBackend for Seeded<'_, R> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        if !self.contains_tensor(name) {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            let values = sample(&shape, init, &mut **rng);
            let var = Var::from_vec(values, shape.clone(), device)?;
            let mut vars = self.vars.data().lock().unwrap_or_else(PoisonError::into_inner);
            vars.insert(name.to_owned(), var);
        }
        self.vars.get(shape, name, init, dtype, device)
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        Existing(self.vars.clone()).get_unchecked(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.vars.contains_tensor(name)
    }
}

/// Returns a normal initialization with deviation `√(gain / fan_in)` (He et al. 2015, section 2.2,
/// for `gain = 2`).
pub(super) fn he_normal(gain: f32, fan_in: usize) -> Init {
    let deviation = (gain / fan_in.max(1) as f32).sqrt();
    Init::Randn { mean: 0.0, stdev: deviation.into() }
}
