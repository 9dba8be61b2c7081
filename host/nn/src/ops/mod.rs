//! Operations for training, each with its own gradient.
//!
//! Activations are channels-last, `[B, T, C]` or for images `[B, H, W, C]`, f32 and contiguous, so
//! every operation visits whole rows of channels. The operations are custom because candle 0.11's
//! own are either wrong on the CPU (`conv1d`: the gradient of the kernel) or take several passes
//! over memory where one suffices (batch norm, log-softmax and CTC). Each runs on one thread;
//! batches are split one level up.
//!
//! All operations run on the CPU. Those of the backbone and of linear heads, which pretraining runs
//! on a GPU, also accept tensors on other devices and are composed of candle's operations there.
//! The others reject such tensors.
//!
//! A gradient is computed only for an argument that needs one. Pass plain tensors for network
//! inputs, and `Var`s (or values computed from them) for the rest.

pub mod batch_norm;
pub mod ctc;
pub mod depthwise;
pub mod depthwise2d;
pub mod linear;
pub mod patches;
pub mod residual;
pub mod sigmoid_bce;
pub mod softmax_cross_entropy;
pub mod spatial_mean;
pub mod squared_error;
pub mod stack;
pub mod window;

mod composed;
mod math;
mod stored_gradient;
#[cfg(test)]
pub(super) mod testing;

use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor, bail};

/// Returns the contiguous values of an argument of a custom operation.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor, found strides {:?}", layout.stride())
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Read access to the values of a contiguous tensor on the CPU.
pub(super) struct Reader<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Reader<'a> {
    pub(super) fn new(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub(super) fn values(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => values(storage, self.layout),
            _ => bail!("expected a tensor on the CPU"),
        }
    }
}

/// Returns an error unless `tensor` has the shape `expected`.
fn expect_shape(what: &str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    if tensor.dims() != expected {
        bail!("{what}: expected shape {expected:?}, found {:?}", tensor.dims())
    }
    Ok(())
}

/// Returns the size of the last axis, or an error if it is empty.
fn channels_of(what: &str, tensor: &Tensor) -> Result<usize> {
    match tensor.dims().last() {
        Some(&channels) if channels > 0 => Ok(channels),
        _ => bail!("{what}: expected at least one channel, found {:?}", tensor.dims()),
    }
}
