//! Head of a keyword: a few small layers over time on the backbone's embeddings, and one logit.
//!
//! `x [B, T, C]` → pointwise to `hidden` channels, ReLU → for each temporal layer a depthwise
//! convolution, ReLU, a pointwise, ReLU → logit `[B, T]`. There is no batch norm, because twenty
//! recordings give no useful statistics. Instead, inputs are divided by each channel's root mean
//! square over negative speech. Quantization folds this scale into the first weights.

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::{Activation, Module, VarBuilder};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{
    layers::{Depthwise, DepthwiseConfig, Linear, LinearConfig},
    mode::{Observed, Observer},
    params::Params,
};
use crate::Result;

/// Name under which the root mean squares are tracked.
const INPUT_RMS: &str = "head.input_rms";

/// Shape of a head.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::Module;
/// use rand::{SeedableRng, rngs::StdRng};
/// use wakeling_nn::{head::{HeadConfig, HeadNetwork}, params::Params};
///
/// let config = HeadConfig { hidden: 16, temporal: vec![(5, 1), (5, 2)] };
/// assert_eq!(config.history(), 12); // steps before the current one
/// let (channels, words) = (96, 2);
/// let mut params = Params::default();
/// config.init(&mut params, vec![1.0; channels], words, &mut StdRng::seed_from_u64(1))?;
/// let head = HeadNetwork::new(&config, channels, words, &params.builder())?;
/// let embeddings = Tensor::zeros((1, 50, channels), DType::F32, &Device::Cpu)?;
/// assert_eq!(head.forward(&embeddings)?.dims(), [1, 50, words]); // a logit per step and keyword
/// # Ok::<(), wakeling_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadConfig {
    /// Channels of the hidden layers.
    pub hidden: usize,
    /// Taps and dilation of each temporal layer.
    pub temporal: Vec<(usize, usize)>,
}

/// Description of one layer of a head.
#[derive(Clone, Debug)]
pub struct HeadLayer {
    /// Name of the layer and prefix of its parameters.
    pub name: String,
    /// Taps and dilation of a depthwise layer; `None` for a pointwise one.
    pub temporal: Option<(usize, usize)>,
}

impl HeadLayer {
    /// Returns the name of the weights, of shape `[inputs or taps, outputs]`.
    pub fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Returns the name of the biases.
    pub fn bias(&self) -> String {
        format!("{}.bias", self.name)
    }

    /// Returns `true` if the layer convolves over time.
    pub fn is_depthwise(&self) -> bool {
        self.temporal.is_some()
    }

    /// Returns `true` if the layer reads the backbone's embeddings.
    pub fn is_first(&self) -> bool {
        self.name == "head.0"
    }
}

impl HeadConfig {
    /// Returns the layers before the logit, each followed by a ReLU.
    pub fn layers(&self) -> Vec<HeadLayer> {
        let mut kinds = vec![None];
        for &temporal in &self.temporal {
            kinds.extend([Some(temporal), None]);
        }
        let layer = |(i, temporal)| HeadLayer { name: format!("head.{i}"), temporal };
        kinds.into_iter().enumerate().map(layer).collect()
    }

    /// Number of steps before the current one on which a logit depends.
    pub fn history(&self) -> usize {
        self.temporal.iter().map(|(taps, dilation)| (taps - 1) * dilation).sum()
    }

    /// Adds randomly initialized parameters for `words` keywords, on embeddings with these root
    /// mean squares.
    pub fn init(
        &self,
        params: &mut Params,
        rms: Vec<f32>,
        words: usize,
        rng: &mut (impl Rng + Send),
    ) -> Result<()> {
        HeadNetwork::new(self, rms.len(), words, &params.initializer(rng))?;
        params.track(INPUT_RMS, rms)
    }

    /// Combines single-keyword heads of this shape into one head whose logit is the mean of theirs.
    /// Such an ensemble errs less than its members (Hansen & Salamon 1990). Weights between
    /// different members are 0.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) if a member has another shape.
    pub fn side_by_side(&self, ensemble_members: &[Params]) -> Result<(Self, Params)> {
        let count = ensemble_members.len();
        let joint = Self { hidden: self.hidden * count, temporal: self.temporal.clone() };
        let mut params = Params::default();
        for layer in self.layers() {
            let blocks: Vec<Vec<f32>> = ensemble_members
                .iter()
                .map(|m| m.values(&layer.weight()))
                .collect::<Result<_>>()?;
            let rows = blocks.first().map_or(0, |b| b.len() / self.hidden.max(1));
            // The first layer and depthwise layers share their input rows; a pointwise layer is
            // block-diagonal.
            let is_shared = layer.is_first() || layer.is_depthwise();
            let mut weights = Vec::new();
            for block in 0..if is_shared { 1 } else { count } {
                for row in 0..rows {
                    for (member, values) in blocks.iter().enumerate() {
                        let own = values.chunks_exact(self.hidden).nth(row).unwrap_or_default();
                        let counts = is_shared || member == block;
                        weights.extend(own.iter().map(|&w| if counts { w } else { 0.0 }));
                    }
                }
            }
            let inputs = weights.len() / joint.hidden.max(1);
            params.insert(layer.weight(), &[inputs, joint.hidden], weights)?;
            params.insert(
                layer.bias(),
                &[joint.hidden],
                concatenated(ensemble_members, &layer.bias())?,
            )?;
        }
        let share = 1.0 / count.max(1) as f32;
        let mut weights = concatenated(ensemble_members, "head.logits.weight")?;
        weights.iter_mut().for_each(|w| *w *= share);
        params.insert("head.logits.weight", &[joint.hidden, 1], weights)?;
        let bias = concatenated(ensemble_members, "head.logits.bias")?.iter().sum::<f32>() * share;
        params.insert("head.logits.bias", &[1], vec![bias])?;
        if let Some(first) = ensemble_members.first() {
            params.track(INPUT_RMS, first.tracked(INPUT_RMS)?)?;
        }
        Ok((joint, params))
    }

    /// Returns the [`input_gains`] of a head's parameters.
    pub fn input_gains(params: &Params) -> Result<Vec<f32>> {
        Ok(input_gains(&params.tracked(INPUT_RMS)?))
    }

    /// Folds the input gains into the first layer's weights. `rows` holds one row per output, with
    /// one column per input; for a depthwise layer, each row holds the taps of one input.
    pub fn unscale_rows(
        &self,
        params: &Params,
        rows: &mut [Vec<f32>],
        depthwise: bool,
    ) -> Result<()> {
        let gains = Self::input_gains(params)?;
        for (o, row) in rows.iter_mut().enumerate() {
            for (i, w) in row.iter_mut().enumerate() {
                *w *= gains.get(if depthwise { o } else { i }).copied().unwrap_or(1.0);
            }
        }
        Ok(())
    }
}

/// Layers of a head: inputs `x [B, T, C]`, scaled by [`HeadConfig::input_gains`] → logits
/// `[B, T, words]`.
pub struct HeadNetwork {
    hidden: Vec<Hidden>,
    logits: Linear,
    observer: Observer,
}

impl HeadNetwork {
    /// Takes or adds the parameters under `head.`, for `channels` inputs and `words` keywords.
    ///
    /// # Errors
    /// If a parameter does not exist and `vb` adds none, or has another shape.
    pub fn new(
        config: &HeadConfig,
        channels: usize,
        words: usize,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        /// A low prior, because nearly all audio lacks the keyword.
        const LOGIT_BIAS: f64 = -3.0;
        let observer = Observer::default();
        let (mut hidden, mut inputs) = (Vec::new(), channels);
        for layer in config.layers() {
            hidden.push(Hidden::new(&layer, inputs, config.hidden, &observer, vb)?);
            inputs = config.hidden;
        }
        let logits = LinearConfig { inputs, outputs: words, gain: 1.0, bias: Some(LOGIT_BIAS) };
        let logits = Linear::new(logits, &vb.pp("head.logits"))?;
        Ok(Self { hidden, logits, observer })
    }
}

impl Module for HeadNetwork {
    fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        let x = self.hidden.iter().try_fold(x.clone(), |x, layer| layer.forward(&x))?;
        self.logits.forward(&x)
    }
}

impl Observed for HeadNetwork {
    fn observer(&self) -> &Observer {
        &self.observer
    }
}

/// Layer of a head and its ReLU.
struct Hidden {
    layer: Box<dyn Module + Send + Sync>,
    name: String,
    observer: Observer,
}

impl Hidden {
    fn new(
        layer: &HeadLayer,
        inputs: usize,
        outputs: usize,
        observer: &Observer,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        let (name, vb) = (layer.name.clone(), vb.pp(&layer.name));
        let layer: Box<dyn Module + Send + Sync> = match layer.temporal {
            Some((taps, dilation)) => {
                let config = DepthwiseConfig { taps, channels: outputs, dilation, bias: true };
                Box::new(Depthwise::new(config, &vb)?)
            }
            None => {
                let config = LinearConfig { inputs, outputs, gain: 2.0, bias: Some(0.0) };
                Box::new(Linear::new(config, &vb)?)
            }
        };
        Ok(Self { layer, name, observer: observer.clone() })
    }
}

impl Module for Hidden {
    fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        let y = self.layer.forward(x)?.apply(&Activation::Relu)?;
        self.observer.sample(&self.name, &y)?;
        Ok(y)
    }
}

/// Returns the factor of each input channel: the reciprocal of its root mean square.
pub fn input_gains(rms: &[f32]) -> Vec<f32> {
    rms.iter().map(|rms| 1.0 / rms.max(1e-4)).collect()
}

fn concatenated(ensemble_members: &[Params], name: &str) -> Result<Vec<f32>> {
    let parts: Vec<Vec<f32>> =
        ensemble_members.iter().map(|m| m.values(name)).collect::<Result<_>>()?;
    Ok(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_core::random::normal;

    use crate::mode::Mode;
    use candle_core::Device;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn same_seed_gives_the_same_weights() -> Result<()> {
        let config = HeadConfig { hidden: 16, temporal: vec![(5, 1), (5, 2)] };
        let mut params = Params::default();
        config.init(&mut params, vec![1.0; 96], 2, &mut StdRng::seed_from_u64(1))?;
        // Weights that earlier versions sampled from this seed.
        assert_eq!(params.checksum()?, 0x31e8_3331);
        Ok(())
    }

    #[test]
    fn heads_side_by_side_give_the_mean_of_their_logits() {
        let mut rng = StdRng::seed_from_u64(3);
        let config = HeadConfig { hidden: 5, temporal: vec![(3, 1), (3, 2)] };
        let ensemble_members: Vec<Params> = (0..3)
            .map(|_| {
                let mut params = Params::default();
                config.init(&mut params, vec![1.5; 7], 1, &mut rng).unwrap();
                for (name, count) in [("head.0.bias", 5), ("head.logits.bias", 1)] {
                    params.set(name, (0..count).map(|_| normal(&mut rng)).collect()).unwrap();
                }
                params
            })
            .collect();
        let values: Vec<f32> = (0..2 * 11 * 7).map(|_| normal(&mut rng)).collect();
        let x = Tensor::from_vec(values, (2, 11, 7), &Device::Cpu).unwrap();
        let logits = |config: &HeadConfig, params: &Params| -> Vec<f32> {
            let head = HeadNetwork::new(config, 7, 1, &params.builder()).unwrap();
            let y = Mode::Evaluate.run(&head, &x).unwrap();
            y.flatten_all().unwrap().to_vec1().unwrap()
        };
        let (joint, params) = config.side_by_side(&ensemble_members).unwrap();
        assert_eq!(joint.hidden, 15);
        let single: Vec<Vec<f32>> = ensemble_members.iter().map(|m| logits(&config, m)).collect();
        for (t, found) in logits(&joint, &params).into_iter().enumerate() {
            let mean = single.iter().map(|s| s[t]).sum::<f32>() / 3.0;
            assert!((found - mean).abs() < 1e-5, "{found} {mean}");
        }
        let gains = |params| HeadConfig::input_gains(params).unwrap();
        assert_eq!(gains(&params), gains(&ensemble_members[0]));
    }
}
