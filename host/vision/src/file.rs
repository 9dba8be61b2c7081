//! File of a float network over images, which pretraining writes and fine-tuning starts from.
//!
//! One safetensors file of float weights. The metadata entry `image` is a JSON [`ImageInfo`].

use std::{collections::HashMap, path::Path};

use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use wakeling_shared::model::{ImageModel, Shape};

use super::{Error, Labelling, Result, dataset::MAX_PRETRAINED_LABELS, network::NetworkConfig};
use wakeling_nn::params::Params;

/// Metadata of a network over images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Format of this record; only [`IMAGE_FORMAT`] is supported.
    pub format: u32,
    /// Name, such as `photos-m`.
    pub name: String,
    /// Name of the network that it was fine-tuned from; empty if there is none.
    #[serde(rename = "base")]
    pub pretrained: String,
    /// Shape of the network.
    pub network: NetworkConfig,
    /// Type of labels.
    pub labelling: Labelling,
    /// Names of the labels, one per logit.
    pub labels: Vec<String>,
    /// Lower and upper end of each activation, from calibration, by layer name.
    pub ranges: Vec<(String, f32, f32)>,
    /// One sentence on the training data and method.
    pub provenance: String,
    /// SPDX expression for the licence of the weights, or free text.
    pub licence: String,
}

/// Version of the format that is written and read.
pub const IMAGE_FORMAT: u32 = 1;
/// Metadata key of the record.
const KEY: &str = "image";

/// Network over images in memory.
#[derive(Clone, Debug)]
pub struct ImageNetwork {
    /// Metadata.
    pub info: ImageInfo,
    /// Weights.
    pub params: Params,
}

impl ImageNetwork {
    /// Creates a network with random weights, not calibrated.
    pub fn fresh(
        network: NetworkConfig,
        labelling: Labelling,
        labels: &[String],
        seed: u64,
    ) -> Result<Self> {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut params = Params::default();
        network.init_backbone(&mut params, rng)?;
        network.init_head(&mut params, labels.len(), rng)?;
        let info = ImageInfo {
            format: IMAGE_FORMAT,
            name: String::new(),
            pretrained: String::new(),
            network,
            labelling,
            labels: labels.to_vec(),
            ranges: Vec::new(),
            provenance: String::new(),
            licence: String::new(),
        };
        Ok(Self { info, params })
    }

    /// Returns the shape of the images that a network fine-tuned from this one takes: the same
    /// height and width, and `channels` channels, 1 for gray or 3 for RGB. `None` keeps the
    /// channels.
    ///
    /// # Errors
    /// [`Error::GrayNetwork`] if a gray network would have to take colour images.
    pub fn shape_with(&self, channels: Option<usize>) -> Result<Shape> {
        let mut network = self.info.network.clone();
        match (network.channels, channels.unwrap_or(network.channels)) {
            (3, 1) => network.channels = 1,
            (before, after) if before != after => {
                return Err(Error::GrayNetwork { name: self.info.name.clone() });
            }
            _ => {}
        }
        Ok(network.shape())
    }

    /// Returns a copy of this network with a new head for other labels. The backbone is kept. For
    /// gray images (`channels` 1) on an RGB backbone, each weight of the stem becomes the sum over
    /// the three channels, which is equivalent to three equal channels.
    ///
    /// # Errors
    /// [`Error::GrayNetwork`] if a gray network would have to take colour images.
    pub fn transferred(
        &self,
        labelling: Labelling,
        labels: &[String],
        channels: usize,
        seed: u64,
    ) -> Result<Self> {
        self.shape_with(Some(channels))?;
        let mut network = self.info.network.clone();
        let mut params = self.params.detached()?;
        if network.channels != channels {
            let weight = params.values("stem.weight")?;
            let outputs = network.stem.channels;
            let sums = weight.chunks_exact(3 * outputs).flat_map(|pixel| {
                (0..outputs).map(|o| pixel.iter().skip(o).step_by(outputs).sum::<f32>())
            });
            let sums: Vec<f32> = sums.collect();
            params.insert("stem.weight", &[sums.len() / outputs, outputs], sums)?;
            network.channels = channels;
        }
        params.remove("head.");
        network.init_head(&mut params, labels.len(), &mut StdRng::seed_from_u64(seed))?;
        let info = ImageInfo {
            pretrained: self.info.name.clone(),
            network,
            labelling,
            labels: labels.to_vec(),
            ranges: Vec::new(),
            ..self.info.clone()
        };
        Ok(Self { info, params })
    }

    /// Writes the network atomically.
    pub fn save(&self, path: &Path) -> Result<()> {
        let record = serde_json::to_string(&self.info)
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        Ok(self.params.save(path, HashMap::from([(KEY.to_owned(), record)]))?)
    }

    /// Reads the float network of a model.
    ///
    /// # Errors
    /// As [`ImageNetwork::load`]; [`Error::OtherNetwork`] if the network has another size or other labels
    /// than the model.
    pub fn load_of(path: &Path, model: &ImageModel<'_>) -> Result<Self> {
        let network = Self::load(path)?;
        let info = &network.info;
        let labels = info.labels.iter().map(String::as_str);
        if info.network.shape() != model.shape || !labels.eq(model.labels.iter().copied()) {
            return Err(Error::OtherNetwork { path: path.into() });
        }
        Ok(network)
    }

    /// Reads a network.
    ///
    /// # Errors
    /// [`Error::Nn`] if the file holds no weights; [`Error::NotANetwork`] if it is no network over
    /// images, or its weights do not match the shape in its record.
    pub fn load(path: &Path) -> Result<Self> {
        let refused = |problem: String| Error::NotANetwork { path: path.into(), problem };
        let (params, metadata) = Params::load(path)?;
        let record = metadata.get(KEY).ok_or_else(|| {
            refused("this file holds weights, but no network over images".to_owned())
        })?;
        let info: ImageInfo = serde_json::from_str(record)
            .map_err(|e| refused(format!("its record cannot be read: {e}")))?;
        if info.format != IMAGE_FORMAT {
            return Err(refused(format!("format {}, {IMAGE_FORMAT} expected", info.format)));
        }
        if let Some(problem) = info.network.problem() {
            return Err(refused(problem));
        }
        if !(1..=MAX_PRETRAINED_LABELS).contains(&info.labels.len()) {
            return Err(refused(format!("{} labels", info.labels.len())));
        }
        let fresh = Self::fresh(info.network.clone(), info.labelling, &info.labels, 0)?.params;
        let shapes = |p: &Params| -> Vec<(String, Vec<usize>, usize)> {
            let running = |name: &str| {
                let mean = name.strip_suffix("gamma").map(|layer| format!("{layer}mean"));
                let variance = name.strip_suffix("gamma").map(|layer| format!("{layer}variance"));
                let count = |name: Option<String>| {
                    name.map_or(0, |name| p.tracked(&name).map_or(0, |v| v.len()))
                };
                count(mean) * 65_536 + count(variance)
            };
            p.vars().map(|(n, v)| (n.clone(), v.dims().to_vec(), running(&n))).collect()
        };
        if shapes(&fresh) != shapes(&params) {
            return Err(refused("its weights are not those of the network it describes".into()));
        }
        Ok(Self { info, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use wakeling_nn::mode::Mode;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_backbone_for_colours_sees_gray_as_three_equal_channels() -> Result<()> {
        let config = NetworkConfig::new(0.5, 16, 3);
        let names = labels(&["a", "b"]);
        let pretrained = ImageNetwork::fresh(config, Labelling::OneOf, &names, 1)?;
        let gray = pretrained.transferred(Labelling::OneOf, &names, 1, 2)?;
        let colour = pretrained.transferred(Labelling::OneOf, &names, 3, 2)?;
        let x: Vec<f32> = (0..256).map(|i| ((i * 97) % 113) as f32 / 60.0 - 1.0).collect();
        let x3: Vec<f32> = x.iter().flat_map(|&v| [v; 3]).collect();
        let run = |network: &ImageNetwork, x: Vec<f32>| -> Result<Vec<f32>> {
            let config = &network.info.network;
            let x = Tensor::from_vec(x, (1, 16, 16, config.channels), &Device::Cpu)?;
            let y = config.forward(&network.params, &x, &mut Mode::Evaluate, 0)?;
            Ok(y.flatten_all()?.to_vec1()?)
        };
        let (found, expected) = (run(&gray, x)?, run(&colour, x3)?);
        assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-4 * (1.0 + e.abs())));
        assert!(gray.transferred(Labelling::OneOf, &names, 3, 1).is_err());
        Ok(())
    }

    #[test]
    fn files_come_back_and_forged_ones_are_refused() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("network.safetensors");
        let names = labels(&["a", "b", "c"]);
        let config = NetworkConfig::new(0.5, 16, 1);
        let network = ImageNetwork::fresh(config, Labelling::Several, &names, 1)?;
        network.save(&path)?;
        let read = ImageNetwork::load(&path)?;
        assert_eq!(read.info.labels, names);
        assert_eq!(read.params.values("head.weight")?, network.params.values("head.weight")?);
        let forge = |change: &dyn Fn(&mut ImageNetwork)| {
            let mut forged = network.clone();
            change(&mut forged);
            forged.save(&path).expect("it can be written");
            let error = ImageNetwork::load(&path).expect_err("it must be refused");
            assert!(matches!(error, Error::NotANetwork { .. }), "{error}");
        };
        forge(&|n| n.info.labels.truncate(2));
        forge(&|n| n.info.labels.clear());
        forge(&|n| n.info.network.height = 5);
        forge(&|n| n.info.network.blocks[1].channels = 24);
        forge(&|n| n.info.format = 7);
        forge(&|n| n.params.remove("stem.mean"));
        forge(&|n| n.params.remove("block.03"));
        std::fs::write(&path, b"text").expect("a file");
        assert!(matches!(ImageNetwork::load(&path), Err(Error::Nn(_))));
        Ok(())
    }
}
