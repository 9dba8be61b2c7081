//! Named parameters of a network, and the file that holds them.
//!
//! [`Params`] is a [`VarMap`] with an order, buffers and a file format. Layers take their tensors
//! through a [`VarBuilder`]: [`Params::builder`] for those that exist, [`Params::initializer`] for
//! new ones.
//!
//! A buffer (the running statistics of batch norm, for instance) is a variable that no gradient
//! reaches. Its name begins with `running.`, in memory as in the file. Parameters are on one
//! device, where everything computed from them stays. Buffers, and everything read or written, are
//! in host memory.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    sync::{MutexGuard, PoisonError},
};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use rand::Rng;

use super::builder::{Existing, Seeded};
use wakeling_core::files;

use crate::{Error, Result};

/// Prefix of buffers, without the dot.
pub(super) const BUFFERS: &str = "running";

/// Returns the full name of a buffer.
fn buffer(name: &str) -> String {
    format!("{BUFFERS}.{name}")
}

/// Returns the name of a buffer without its prefix; `None` if it is a parameter.
fn buffer_name(name: &str) -> Option<&str> {
    name.strip_prefix(BUFFERS)?.strip_prefix('.')
}

/// Named parameters, iterated in alphabetical order.
///
/// A clone has a map of its own, but shares the variables. [`detached`](Self::detached) copies
/// them.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::Module;
/// use rand::{SeedableRng, rngs::StdRng};
/// use wakeling_nn::{
///     layers::{Linear, LinearConfig},
///     params::Params,
/// };
///
/// let params = Params::default();
/// let config = LinearConfig { inputs: 3, outputs: 2, gain: 1.0, bias: Some(0.0) };
/// let mut rng = StdRng::seed_from_u64(1);
/// let layer = Linear::new(config, &params.initializer(&mut rng).pp("ctc"))?;
/// let names: Vec<String> = params.vars().map(|(name, _)| name).collect();
/// assert_eq!(names, ["ctc.bias", "ctc.weight"]);
///
/// // Another layer over the same parameters.
/// let same = Linear::new(config, &params.builder().pp("ctc"))?;
/// let x = Tensor::ones((1, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&x)?.to_vec2::<f32>()?, same.forward(&x)?.to_vec2::<f32>()?);
/// # Ok::<(), wakeling_nn::Error>(())
/// ```
pub struct Params {
    device: Device,
    vars: VarMap,
}

impl Default for Params {
    /// Creates an empty set on the CPU.
    fn default() -> Self {
        Self::on(Device::Cpu)
    }
}

impl Clone for Params {
    fn clone(&self) -> Self {
        let clone = Self::on(self.device.clone());
        clone.lock().extend(self.lock().iter().map(|(name, var)| (name.clone(), var.clone())));
        clone
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: BTreeMap<_, _> =
            self.lock().iter().map(|(name, var)| (name.clone(), var.dims().to_vec())).collect();
        f.debug_struct("Params").field("device", &self.device).field("shapes", &shapes).finish()
    }
}

impl Params {
    /// Creates an empty set on `device`.
    pub fn on(device: Device) -> Self {
        Self { device, vars: VarMap::new() }
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Moves the parameters to `device`. Returns `self` unchanged if they are already there.
    pub fn to_device(self, device: &Device) -> Result<Self> {
        if self.device.same_device(device) { Ok(self) } else { self.copied_to(device) }
    }

    /// Returns the source of tensors for layers over these parameters.
    ///
    /// Unlike that of [`VarBuilder::from_varmap`], it rejects names that do not exist.
    pub fn builder(&self) -> VarBuilder<'static> {
        let backend = Box::new(Existing(self.vars.clone()));
        VarBuilder::from_backend(backend, DType::F32, self.device.clone())
    }

    /// Returns a source of tensors that adds those that do not exist. They are sampled from `rng`
    /// in the order in which layers take them, so a seed determines a network.
    pub fn initializer<'a>(&self, rng: &'a mut (impl Rng + Send)) -> VarBuilder<'a> {
        let backend = Box::new(Seeded::new(self.vars.clone(), rng));
        VarBuilder::from_backend(backend, DType::F32, self.device.clone())
    }

    /// Returns the tensor of a parameter.
    ///
    /// # Errors
    /// [`Error::Core`] if no parameter has that name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        Ok(self.builder().get_unchecked(name)?)
    }

    /// Returns the values of a buffer; none if it does not exist.
    pub fn tracked(&self, name: &str) -> Result<Vec<f32>> {
        match self.lock().get(&buffer(name)) {
            Some(var) => Ok(var.to_vec1()?),
            None => Ok(Vec::new()),
        }
    }

    /// Adds or replaces a buffer.
    pub fn track(&mut self, name: &str, values: Vec<f32>) -> Result<()> {
        let length = values.len();
        let var = Var::from_vec(values, length, &Device::Cpu)?;
        self.lock().insert(buffer(name), var);
        Ok(())
    }

    /// Adds or replaces a parameter.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<()> {
        let var = Var::from_vec(values, shape, &self.device)?;
        self.lock().insert(name.into(), var);
        Ok(())
    }

    /// Iterates over names and variables of the parameters, in alphabetical order.
    pub fn vars(&self) -> impl Iterator<Item = (String, Var)> {
        self.sorted().into_iter().filter(|(name, _)| buffer_name(name).is_none())
    }

    /// Number of trained values.
    pub fn count(&self) -> usize {
        self.vars().map(|(_, var)| var.elem_count()).sum()
    }

    /// Returns the values of a parameter.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.get(name)?.flatten_all()?.to_vec1()?)
    }

    /// Computes the CRC-32 of the values of all parameters, as little-endian `f32` in the order of
    /// names.
    pub fn checksum(&self) -> Result<u32> {
        let mut crc = flate2::Crc::new();
        for (_, var) in self.vars() {
            let values: Vec<f32> = var.flatten_all()?.to_vec1()?;
            crc.update(&values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
        }
        Ok(crc.sum())
    }

    /// Replaces the values of a parameter; its shape stays. Unknown names are ignored.
    pub fn set(&self, name: &str, values: Vec<f32>) -> Result<()> {
        if let Some(var) = self.lock().get(name) {
            set(var, values)?;
        }
        Ok(())
    }

    /// Removes every parameter and every buffer whose name begins with `prefix`.
    pub fn remove(&mut self, prefix: &str) {
        self.lock().retain(|name, _| !buffer_name(name).unwrap_or(name).starts_with(prefix));
    }

    /// Removes one parameter.
    pub fn forget(&mut self, name: &str) {
        self.lock().remove(name);
    }

    /// Adds every buffer of `other` under `prefix`.
    pub fn track_all(&mut self, other: &Params, prefix: &str) -> Result<()> {
        for (name, var) in other.buffers() {
            self.track(&format!("{prefix}{name}"), var.to_vec1()?)?;
        }
        Ok(())
    }

    /// Moves the buffers under `prefix` into a new set, with the prefix removed.
    pub fn take_tracked(&mut self, prefix: &str) -> Params {
        let taken = Params::default();
        let whole = buffer(prefix);
        self.lock().retain(|name, var| match name.strip_prefix(&whole) {
            Some(rest) => {
                taken.lock().insert(buffer(rest), var.clone());
                false
            }
            None => true,
        });
        taken
    }

    /// Returns an independent copy.
    pub fn detached(&self) -> Result<Self> {
        self.copied_to(&self.device)
    }

    fn copied_to(&self, device: &Device) -> Result<Self> {
        let mut copy = Self::on(device.clone());
        for (name, var) in self.vars() {
            copy.insert(name, var.dims(), var.flatten_all()?.to_vec1()?)?;
        }
        copy.track_all(self, "")?;
        Ok(copy)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Var>> {
        self.vars.data().lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sorted(&self) -> BTreeMap<String, Var> {
        self.lock().iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    /// Iterates over the buffers, named without their prefix.
    fn buffers(&self) -> impl Iterator<Item = (String, Var)> {
        let named = |(name, var): (String, Var)| Some((buffer_name(&name)?.to_owned(), var));
        self.sorted().into_iter().filter_map(named)
    }

    /// Changes the values of a buffer in place, if it exists.
    pub(super) fn update_tracked(&self, name: &str, update: impl FnOnce(&mut [f32])) -> Result<()> {
        if let Some(var) = self.lock().get(&buffer(name)) {
            let mut values: Vec<f32> = var.to_vec1()?;
            update(&mut values);
            set(var, values)?;
        }
        Ok(())
    }

    /// Writes a safetensors file with `metadata`, atomically.
    pub fn save(&self, path: &Path, metadata: HashMap<String, String>) -> Result<()> {
        let tensors = self.sorted().into_iter().map(|(name, var)| (name, var.into_inner()));
        let bytes = safetensors::serialize(tensors, Some(metadata))
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        Ok(files::write_atomic(path, &bytes)?)
    }

    /// Reads a file written by [`save`](Self::save), and its metadata.
    ///
    /// # Errors
    /// [`Error::NoWeights`] for any other file.
    pub fn load(path: &Path) -> Result<(Self, HashMap<String, String>)> {
        let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
        let damaged = |reason: String| Error::NoWeights { path: path.to_owned(), reason };
        let (_, header) =
            safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let file =
            safetensors::SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let mut params = Self::default();
        for (name, view) in file.tensors() {
            if view.dtype() != safetensors::Dtype::F32 {
                return Err(damaged(format!("{name} is {:?}, F32 expected", view.dtype())));
            }
            let values: Vec<f32> =
                view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            match buffer_name(&name) {
                Some(name) => params.track(name, values)?,
                None => params.insert(name.as_str(), view.shape(), values)?,
            }
        }
        Ok((params, metadata))
    }
}

/// Replaces the values of a variable.
pub(super) fn set(var: &Var, values: Vec<f32>) -> candle_core::Result<()> {
    var.set(&Tensor::from_vec(values, var.shape(), var.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::he_normal;
    use candle_nn::Module;
    use rand::{SeedableRng, rngs::StdRng};

    fn seeded(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    /// Parameter `a.weight` and buffer `a.mean`.
    fn given() -> Params {
        let mut params = Params::default();
        params.insert("a.weight", &[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        params.track("a.mean", vec![0.5, -0.5]).unwrap();
        params
    }

    fn names(params: &Params) -> Vec<String> {
        params.vars().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_builder_rejects_what_does_not_exist_and_adds_nothing() {
        let params = given();
        let vb = params.builder().pp("a");
        assert_eq!(vb.get((2, 3), "weight").unwrap().dims(), [2, 3]);
        assert!(vb.get((3, 2), "weight").is_err());
        assert!(vb.get(3, "bias").is_err() && vb.get_unchecked("bias").is_err());
        assert_eq!(names(&params), ["a.weight"]);
        let error = params.get("b.weight").unwrap_err();
        assert!(error.to_string().contains("no parameter \"b.weight\""), "{error}");
    }

    #[test]
    fn an_initializer_keeps_what_exists_and_samples_the_rest_from_the_seed() {
        let weights = |seed| {
            let params = given();
            let mut rng = seeded(seed);
            let vb = params.initializer(&mut rng).pp("a");
            assert_eq!(
                vb.get_with_hints((2, 3), "weight", he_normal(1.0, 2)).unwrap().dims(),
                [2, 3]
            );
            assert!(vb.get(3, "weight").is_err());
            vb.get_with_hints((4, 5), "other", he_normal(1.0, 4)).unwrap();
            assert_eq!(params.values("a.weight").unwrap()[5], 6.0);
            params.values("a.other").unwrap()
        };
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
    }

    #[test]
    fn layers_of_candle_can_be_initialized() {
        let params = Params::default();
        let layer = candle_nn::linear(400, 30, params.initializer(&mut seeded(3)).pp("l")).unwrap();
        let deviation = |name: &str| {
            let values = params.values(name).unwrap();
            let squares: f32 = values.iter().map(|v| v * v).sum();
            (squares / values.len() as f32).sqrt()
        };
        // Normal with deviation √(2 / 400), and uniform on ±1/√400.
        assert!((deviation("l.weight") - 0.0707).abs() < 0.003);
        assert!((deviation("l.bias") - 0.0289).abs() < 0.01);
        let x = Tensor::zeros((1, 400), DType::F32, &Device::Cpu).unwrap();
        let y: Vec<f32> = layer.forward(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(y, params.values("l.bias").unwrap());
    }

    #[test]
    fn a_clone_has_its_own_map_and_a_copy_its_own_values() {
        let params = given();
        let (mut clone, copy) = (params.clone(), params.detached().unwrap());
        clone.remove("a.mean");
        assert_eq!(
            (params.tracked("a.mean").unwrap().len(), clone.tracked("a.mean").unwrap().len()),
            (2, 0)
        );
        clone.set("a.weight", vec![9.0; 6]).unwrap();
        params.update_tracked("a.mean", |values| values.fill(7.0)).unwrap();
        assert_eq!(params.values("a.weight").unwrap(), [9.0; 6]);
        assert_eq!(copy.values("a.weight").unwrap()[0], 1.0);
        assert_eq!(copy.tracked("a.mean").unwrap(), [0.5, -0.5]);
    }

    #[test]
    fn buffers_are_no_parameters_and_move_by_prefix() {
        let mut params = given();
        let state = params.clone();
        params.track_all(&state, "state.").unwrap();
        assert_eq!((names(&params), params.count()), (vec!["a.weight".to_owned()], 6));
        let taken = params.take_tracked("state.");
        assert_eq!(taken.tracked("a.mean").unwrap(), [0.5, -0.5]);
        assert!(params.tracked("state.a.mean").unwrap().is_empty());
        assert_eq!(params.tracked("a.mean").unwrap(), [0.5, -0.5]);
    }

    #[test]
    fn files_hold_the_names_of_the_map() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("params.safetensors");
        let record = HashMap::from([("key".to_owned(), "value".to_owned())]);
        given().save(&path, record.clone()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut shapes: Vec<_> =
            file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
        shapes.sort();
        assert_eq!(shapes, [("a.weight".into(), vec![2, 3]), ("running.a.mean".into(), vec![2])]);
        let (read, metadata) = Params::load(&path).unwrap();
        assert_eq!(metadata, record);
        assert_eq!(read.values("a.weight").unwrap(), given().values("a.weight").unwrap());
        assert_eq!(read.tracked("a.mean").unwrap(), [0.5, -0.5]);
    }
}
