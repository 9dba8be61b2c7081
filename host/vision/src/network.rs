//! Network over images: depthwise-separable blocks (MobileNet, Howard et al. 2017), with a residual
//! sum where a block keeps the shape of its input (He et al. 2016).
//!
//! `x [B, H, W, I]` → stem (3 × 3 convolution, batch norm, ReLU) → blocks of
//! `ReLU(x + BN(pointwise(ReLU(BN(depthwise(x))))))` → mean of all pixels → logits `[B, L]`. Blocks
//! that halve the image or change the number of channels omit the sum.

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::{Module, ModuleT, VarBuilder};
use rand::Rng;
use serde::{Deserialize, Serialize};
use wakeling_shared::model::Shape;

use wakeling_nn::{
    Result,
    layers::{BatchNorm, Convolution, Depthwise2d, Linear, LinearConfig},
    mode::{Mode, Observed, Observer},
    ops::{residual::add_relu, spatial_mean::spatial_mean, window::Window},
    params::Params,
};

/// Rows and columns of every window except the pointwise one.
const KERNEL: usize = 3;
/// Largest side that the stem keeps; it halves larger images.
const LARGEST_FULL_SIDE: usize = 40;
/// Supported sides of an image, in pixels.
pub const SIDES: std::ops::RangeInclusive<usize> = 16..=256;
/// Maximum number of blocks in a model.
const MAX_BLOCKS: usize = 20;
/// Maximum number of channels of a layer.
const MAX_CHANNELS: usize = 1_024;

/// Standard sizes of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// 8 to 64 channels: Cortex-M0+, M33.
    S,
    /// 16 to 128 channels: Cortex-M4F, M33.
    M,
    /// 24 to 192 channels: Cortex-M7, M55.
    L,
}

wakeling_core::choices!(Tier {
    S: "s", "8 to 64 channels: Cortex-M0+, M33";
    M: "m", "16 to 128 channels: Cortex-M4F, M33";
    L: "l", "24 to 192 channels: Cortex-M7, M55";
});

impl Tier {
    /// Returns the number of channels as a multiple of those of [`Tier::M`].
    pub fn width(self) -> f64 {
        match self {
            Self::S => 0.5,
            Self::M => 1.0,
            Self::L => 1.5,
        }
    }
}

/// Channels and stride of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockConfig {
    /// Output channels.
    pub channels: usize,
    /// Distance from one window to the next, in pixels.
    pub stride: usize,
}

/// Shape of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Height of the image, in pixels.
    pub height: usize,
    /// Width of the image, in pixels.
    pub width: usize,
    /// Colour channels: 1 for gray, 3 for RGB.
    pub channels: usize,
    /// First convolution.
    pub stem: BlockConfig,
    /// Depthwise-separable blocks.
    pub blocks: Vec<BlockConfig>,
}

impl NetworkConfig {
    /// Creates the shape of a network for images of `side` × `side`, `width` times as wide as
    /// [`Tier::M`]. Channels are rounded to multiples of 8.
    pub fn new(width: f64, side: usize, channels: usize) -> Self {
        let scaled =
            |channels: usize| (width * channels as f64 / 8.0).round().max(1.0) as usize * 8;
        let config = |(channels, stride)| BlockConfig { channels: scaled(channels), stride };
        let stem = config((16, if side > LARGEST_FULL_SIDE { 2 } else { 1 }));
        let blocks = [(32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (128, 2), (128, 1)];
        Self {
            height: side,
            width: side,
            channels,
            stem,
            blocks: blocks.into_iter().map(config).collect(),
        }
    }

    /// Describes why a shape from a file is invalid; `None` if it is valid.
    pub fn problem(&self) -> Option<String> {
        let stages = || self.blocks.iter().chain([&self.stem]);
        if !SIDES.contains(&self.height) || !SIDES.contains(&self.width) {
            Some(format!("images of {} × {}", self.height, self.width))
        } else if ![1, 3].contains(&self.channels) {
            Some(format!("{} channels", self.channels))
        } else if self.blocks.len() > MAX_BLOCKS {
            Some(format!("{} blocks", self.blocks.len()))
        } else if stages().any(|s| !(1..=MAX_CHANNELS).contains(&s.channels)) {
            Some("a layer without channels, or a very wide one".into())
        } else if stages().any(|s| !(1..=2).contains(&s.stride)) {
            Some("a stride that is not 1 or 2".into())
        } else {
            None
        }
    }

    /// Returns the shape of the image, as the engine's type.
    pub fn shape(&self) -> Shape {
        let [height, width, channels] =
            [self.height, self.width, self.channels].map(|size| size as u16);
        Shape { height, width, channels }
    }

    /// Number of parts that can be trained or frozen, from the input on: the stem, each block, the
    /// head.
    pub fn parts(&self) -> usize {
        self.blocks.len() + 2
    }

    /// Number of channels before the head.
    pub fn outputs(&self) -> usize {
        self.blocks.last().map_or(self.stem.channels, |block| block.channels)
    }

    /// Adds randomly initialized parameters for everything except the head.
    pub fn init_backbone(&self, params: &mut Params, rng: &mut (impl Rng + Send)) -> Result<()> {
        ConvBackbone::new(self, 0, &Observer::default(), &params.initializer(rng))?;
        Ok(())
    }

    /// Adds a randomly initialized head for `labels` labels.
    pub fn init_head(
        &self,
        params: &mut Params,
        labels: usize,
        rng: &mut (impl Rng + Send),
    ) -> Result<()> {
        let inputs = self.outputs();
        let config = LinearConfig { inputs, outputs: labels, gain: 0.1, bias: Some(0.0) };
        Linear::new(config, &params.initializer(rng).pp(HEAD))?;
        Ok(())
    }

    /// Returns the windows of the stem and of each block's depthwise layer.
    pub fn windows(&self) -> TensorResult<Vec<Window>> {
        let mut image = [self.height, self.width];
        let mut windows = Vec::new();
        for config in [&self.stem].into_iter().chain(&self.blocks) {
            let window = Window::same(image, KERNEL, config.stride)?;
            image = window.output;
            windows.push(window);
        }
        Ok(windows)
    }

    /// Number of input channels of block `block`.
    fn inputs(&self, block: usize) -> usize {
        match block.checked_sub(1) {
            Some(before) => self.blocks[before].channels,
            None => self.stem.channels,
        }
    }

    /// Returns `true` if block `block` adds its input to its output.
    pub fn is_residual(&self, block: usize) -> bool {
        let BlockConfig { channels, stride } = self.blocks[block];
        stride == 1 && channels == self.inputs(block)
    }

    /// Computes the logits `[B, L]` of images `[B, H, W, I]`. Parts before `first_trained` are
    /// frozen: they use their running statistics and get no gradient.
    pub fn forward(
        &self,
        params: &Params,
        x: &Tensor,
        mode: &mut Mode,
        first_trained: usize,
    ) -> Result<Tensor> {
        mode.run(&ConvNetwork::new(self, first_trained, &params.builder())?, x)
    }
}

/// Name of the mean over all pixels, among the ranges of activations.
pub const MEAN: &str = "mean";

/// Returns the parameter name of a part of a block.
pub fn block_part(block: usize, part: &str) -> String {
    format!("block.{block:02}.{part}")
}

/// Prefix of the head's parameters.
const HEAD: &str = "head";

/// Layers of a network: images `[B, H, W, I]` → logits `[B, L]`.
#[derive(Debug)]
pub struct ConvNetwork {
    backbone: ConvBackbone,
    head: Linear,
    observer: Observer,
}

impl ConvNetwork {
    /// Takes existing parameters. Parts before `first_trained` are frozen.
    ///
    /// # Errors
    /// If a parameter does not exist, or has another shape.
    pub fn new(
        config: &NetworkConfig,
        first_trained: usize,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        let observer = Observer::default();
        let backbone = ConvBackbone::new(config, first_trained, &observer, vb)?;
        Ok(Self { backbone, head: Linear::existing(&vb.pp(HEAD))?, observer })
    }
}

impl ModuleT for ConvNetwork {
    fn forward_t(&self, x: &Tensor, train: bool) -> TensorResult<Tensor> {
        self.head.forward(&self.backbone.forward_t(x, train)?)
    }
}

impl Observed for ConvNetwork {
    fn observer(&self) -> &Observer {
        &self.observer
    }
}

/// Layers before the head: images `[B, H, W, I]` → mean of all pixels `[B, C]`.
#[derive(Debug)]
struct ConvBackbone {
    stem: Convolution,
    norm: BatchNorm,
    /// `true` if the stem is frozen.
    frozen: bool,
    blocks: Vec<Block>,
    observer: Observer,
}

impl ConvBackbone {
    fn new(
        config: &NetworkConfig,
        first_trained: usize,
        observer: &Observer,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        let windows = config.windows()?;
        let (frozen, channels) = (first_trained > 0, config.stem.channels);
        let stem = Convolution::new(windows[0], config.channels, channels, &vb.pp("stem"))?;
        let stem = if frozen { stem.frozen() } else { stem };
        let norm = BatchNorm::new(channels, true, observer, &vb.pp("stem"))?;
        let blocks = windows[1..].iter().enumerate().map(|(number, &window)| {
            let frozen = first_trained > number + 1;
            Block::new(config, number, window, frozen, observer, vb)
        });
        let blocks = blocks.collect::<TensorResult<_>>()?;
        Ok(Self { stem, norm, frozen, blocks, observer: observer.clone() })
    }
}

impl ModuleT for ConvBackbone {
    fn forward_t(&self, x: &Tensor, train: bool) -> TensorResult<Tensor> {
        let x = self.norm.forward_t(&self.stem.forward(x)?, train && !self.frozen)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward_t(&x, train))?;
        let mean = spatial_mean(&x)?;
        self.observer.sample(MEAN, &mean)?;
        Ok(mean)
    }
}

/// Depthwise-separable block, with a residual sum if it keeps the shape of its input.
#[derive(Debug)]
struct Block {
    depthwise: Depthwise2d,
    first: BatchNorm,
    pointwise: Linear,
    second: BatchNorm,
    /// Name under which the residual sum is sampled; `None` if there is no sum.
    sum: Option<String>,
    frozen: bool,
    observer: Observer,
}

impl Block {
    fn new(
        config: &NetworkConfig,
        number: usize,
        window: Window,
        frozen: bool,
        observer: &Observer,
        vb: &VarBuilder,
    ) -> TensorResult<Self> {
        let [depthwise, pointwise] =
            ["depthwise", "pointwise"].map(|part| vb.pp(block_part(number, part)));
        let (inputs, outputs) = (config.inputs(number), config.blocks[number].channels);
        let first = BatchNorm::new(inputs, true, observer, &depthwise)?;
        let second = BatchNorm::new(outputs, !config.is_residual(number), observer, &pointwise)?;
        let depthwise = Depthwise2d::new(window, inputs, &depthwise)?;
        let linear = LinearConfig { inputs, outputs, gain: 2.0, bias: None };
        let pointwise = Linear::new(linear, &pointwise)?;
        Ok(Self {
            depthwise: if frozen { depthwise.frozen() } else { depthwise },
            first,
            pointwise: if frozen { pointwise.frozen() } else { pointwise },
            second,
            sum: config.is_residual(number).then(|| block_part(number, "sum")),
            frozen,
            observer: observer.clone(),
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> TensorResult<Tensor> {
        let train = train && !self.frozen;
        let y = self.first.forward_t(&self.depthwise.forward(x)?, train)?;
        let y = self.second.forward_t(&self.pointwise.forward(&y)?, train)?;
        let Some(sum) = &self.sum else { return Ok(y) };
        let y = add_relu(x, &y)?;
        self.observer.sample(sum, &y)?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::{SeedableRng, rngs::StdRng};

    fn network(config: &NetworkConfig) -> (Params, Tensor) {
        let rng = &mut StdRng::seed_from_u64(1);
        let mut params = Params::default();
        config.init_backbone(&mut params, rng).unwrap();
        config.init_head(&mut params, 3, rng).unwrap();
        let count = 2 * config.shape().bytes();
        let x: Vec<f32> = (0..count).map(|_| wakeling_core::random::normal(rng)).collect();
        let shape = (2, config.height, config.width, config.channels);
        (params, Tensor::from_vec(x, shape, &Device::Cpu).unwrap())
    }

    #[test]
    fn same_seed_gives_the_same_weights() -> Result<()> {
        let (config, mut params) = (NetworkConfig::new(1.0, 32, 3), Params::default());
        let rng = &mut StdRng::seed_from_u64(1);
        config.init_backbone(&mut params, rng)?;
        config.init_head(&mut params, 10, rng)?;
        // Weights that earlier versions sampled from this seed.
        assert_eq!(params.checksum()?, 0xb179_09e8);
        Ok(())
    }

    #[test]
    fn frozen_parts_get_no_gradient_and_keep_their_statistics() {
        let config = NetworkConfig::new(0.5, 16, 1);
        let (params, x) = network(&config);
        for first_trained in [0, 4, config.parts() - 1] {
            let mut mode = Mode::train();
            let y = config.forward(&params, &x, &mut mode, first_trained).unwrap();
            assert_eq!(y.dims(), [2, 3]);
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            for (name, var) in params.vars() {
                let part = match name.split('.').next() {
                    Some("stem") => 0,
                    Some("head") => config.parts() - 1,
                    _ => name[6..8].parse::<usize>().unwrap() + 1,
                };
                let has = gradients.get(var.as_tensor()).is_some();
                assert_eq!(has, part >= first_trained, "{name} from {first_trained}");
            }
            let Mode::Train(moments) = mode else { panic!("training") };
            let trained = (config.blocks.len() + 1).saturating_sub(first_trained);
            let stem = usize::from(first_trained == 0);
            assert_eq!(moments.len(), stem + 2 * (trained - stem));
        }
    }

    #[test]
    fn shapes_from_files_are_looked_at() {
        let good = NetworkConfig::new(1.0, 96, 3);
        assert_eq!(good.problem(), None);
        let bad = |change: fn(&mut NetworkConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.problem().is_some()
        };
        assert!(bad(|c| c.height = 0) && bad(|c| c.width = 1 << 40) && bad(|c| c.channels = 2));
        assert!(bad(|c| c.blocks[2].stride = 0) && bad(|c| c.stem.channels = 0));
        assert!(bad(|c| c.blocks = vec![c.stem; 21]));
    }
}
