//! Named parameters, trained or tracked, and the file that holds them.
//!
//! Trained tensors are candle [`Var`]s, so a graph built on them yields gradients. Tracked tensors
//! (the running statistics of batch norm) are plain values. Both are stored in one safetensors
//! file, the tracked ones under the prefix `running.`. Trained tensors are on one device, where
//! everything computed from them stays. Tracked values, and everything read or written, are in host
//! memory.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use candle_core::{Device, Tensor, Var};
use rand::Rng;
use wakeling_core::random::normal;

use wakeling_core::{Error, Result, files};

/// Prefix of tracked values in a file.
const TRACKED: &str = "running.";

/// Named parameters in a fixed (alphabetical) order.
#[derive(Clone, Debug)]
pub struct Params {
    device: Device,
    trained: BTreeMap<String, Var>,
    tracked: BTreeMap<String, Vec<f32>>,
}

impl Default for Params {
    /// Creates an empty set on the CPU.
    fn default() -> Self {
        Self::on(Device::Cpu)
    }
}

impl Params {
    /// Creates an empty set on `device`.
    pub fn on(device: Device) -> Self {
        Self { device, trained: BTreeMap::new(), tracked: BTreeMap::new() }
    }

    /// Returns the device of the trained parameters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Moves the parameters to `device`. Returns `self` unchanged if they are already there.
    pub fn to_device(self, device: &Device) -> Result<Self> {
        if self.device.same_device(device) { Ok(self) } else { self.copied_to(device) }
    }

    /// Returns the tensor of a trained parameter.
    ///
    /// # Errors
    /// [`Error::Usage`] if no parameter has that name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let missing = || {
            Error::usage(
                format!("the network has no parameter {name:?}"),
                "use a base made by this version, or pretrain again",
            )
        };
        Ok(self.trained.get(name).ok_or_else(missing)?.as_tensor())
    }

    /// Returns a tracked value, or an empty slice if it does not exist.
    pub fn tracked(&self, name: &str) -> &[f32] {
        self.tracked.get(name).map_or(&[], Vec::as_slice)
    }

    /// Sets a tracked value.
    pub fn track(&mut self, name: impl Into<String>, value: Vec<f32>) {
        self.tracked.insert(name.into(), value);
    }

    /// Adds or replaces a trained parameter.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<()> {
        let tensor = Tensor::from_vec(values, shape, &self.device)?;
        self.trained.insert(name.into(), Var::from_tensor(&tensor)?);
        Ok(())
    }

    /// Adds a parameter sampled from a normal distribution with deviation `√(gain / fan_in)` (He et
    /// al. 2015, section 2.2, for `gain = 2`).
    pub fn insert_normal(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        fan_in: usize,
        gain: f32,
        rng: &mut impl Rng,
    ) -> Result<()> {
        let deviation = (gain / fan_in.max(1) as f32).sqrt();
        let count = shape.iter().product();
        let values = (0..count).map(|_| deviation * normal(rng)).collect();
        self.insert(name, shape, values)
    }

    /// Iterates over names and variables, in order.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.trained.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Number of trained values.
    pub fn count(&self) -> usize {
        self.trained.values().map(|v| v.elem_count()).sum()
    }

    /// Returns the values of a trained parameter.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.get(name)?.flatten_all()?.to_vec1()?)
    }

    /// Replaces the values of a trained parameter; its shape stays. Unknown names are ignored.
    pub fn set(&self, name: &str, values: Vec<f32>) -> Result<()> {
        if let Some(var) = self.trained.get(name) {
            var.set(&Tensor::from_vec(values, var.shape(), &self.device)?)?;
        }
        Ok(())
    }

    /// Removes every parameter, trained or tracked, whose name begins with `prefix`.
    pub fn remove(&mut self, prefix: &str) {
        self.trained.retain(|name, _| !name.starts_with(prefix));
        self.tracked.retain(|name, _| !name.starts_with(prefix));
    }

    /// Removes one trained parameter.
    pub fn forget(&mut self, name: &str) {
        self.trained.remove(name);
    }

    /// Tracks every tracked value of `other` under `prefix`.
    pub fn track_all(&mut self, other: &Params, prefix: &str) {
        for (name, value) in &other.tracked {
            self.track(format!("{prefix}{name}"), value.clone());
        }
    }

    /// Moves the tracked values under `prefix` into a new set, with the prefix removed.
    pub fn take_tracked(&mut self, prefix: &str) -> Params {
        let mut taken = Params::default();
        self.tracked.retain(|name, value| match name.strip_prefix(prefix) {
            Some(rest) => {
                taken.track(rest, std::mem::take(value));
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
        let mut copy = Self { tracked: self.tracked.clone(), ..Self::on(device.clone()) };
        for (name, var) in self.vars() {
            copy.insert(name, var.dims(), self.values(name)?)?;
        }
        Ok(copy)
    }

    /// Writes a safetensors file with `metadata`, atomically.
    pub fn save(&self, path: &Path, metadata: HashMap<String, String>) -> Result<()> {
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, var) in &self.trained {
            tensors.insert(name.clone(), var.as_tensor().clone());
        }
        for (name, values) in &self.tracked {
            let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
            tensors.insert(format!("{TRACKED}{name}"), tensor);
        }
        let bytes = safetensors::serialize(tensors, Some(metadata))
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        files::write_atomic(path, &bytes)
    }

    /// Reads a file written by [`save`](Self::save), and its metadata.
    ///
    /// # Errors
    /// [`Error::Input`] for any other file.
    pub fn load(path: &Path) -> Result<(Self, HashMap<String, String>)> {
        let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
        let damaged = |e: String| {
            Error::input(
                path,
                format!("not a Wakeling base: {e}"),
                "give a file made by `wakeling pretrain`",
            )
        };
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
            match name.strip_prefix(TRACKED) {
                Some(tracked) => params.track(tracked, values),
                None => params.insert(name.as_str(), view.shape(), values)?,
            }
        }
        Ok((params, metadata))
    }
}
