//! Device on which networks are trained: the CPU, or an NVIDIA GPU.
//!
//! The creator of [parameters](super::params::Params) chooses their device, and all computation on
//! them follows. A GPU needs a program built with the feature `cuda`. Such a build needs CUDA's
//! compiler, and the program needs a GPU driver even to start.

use std::{fmt, str::FromStr};

use candle_core::Device;

use crate::{Error, Result};

/// Name of a device: `cpu`, `cuda` or `cuda:NUMBER`.
///
/// ```
/// use wakeling_nn::processor::Processor;
///
/// assert_eq!("cuda:1".parse(), Ok(Processor::Cuda(1)));
/// assert!("gpu".parse::<Processor>().is_err());
/// assert!(Processor::Cpu.open()?.is_cpu());
/// # Ok::<(), wakeling_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// CPU that runs the program.
    Cpu,
    /// GPU of this number, counted from 0 among those visible to the program.
    Cuda(usize),
}

impl FromStr for Processor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        number.map(Self::Cuda).ok_or_else(|| "expected cpu, cuda or cuda:NUMBER".into())
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl Processor {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::WithoutCuda`] in a program built without the feature `cuda`, [`Error::NoGpu`]
    /// if there is none of that number.
    pub fn open(self) -> Result<Device> {
        let Self::Cuda(number) = self else { return Ok(Device::Cpu) };
        if !cfg!(feature = "cuda") {
            return Err(Error::WithoutCuda { processor: self });
        }
        Device::new_cuda(number)
            .map_err(|error| Error::NoGpu { processor: self, reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for processor in [Processor::Cpu, Processor::Cuda(0), Processor::Cuda(11)] {
            assert_eq!(processor.to_string().parse(), Ok(processor));
        }
        assert_eq!("cuda".parse(), Ok(Processor::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "CPU"] {
            assert!(text.parse::<Processor>().is_err(), "{text}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_a_gpu_is_refused() {
        assert!(Processor::Cpu.open().is_ok());
        let error = Processor::Cuda(0).open().unwrap_err();
        assert!(matches!(error, Error::WithoutCuda { .. }), "{error}");
    }
}
