//! Backbone in training as one operation: stem and blocks, forward and backward.
//!
//! `h₀ = relu(BN(x · W))`, then for each block
//! `hᵢ₊₁ = relu(hᵢ + BN(pointwise(relu(BN(depthwise(hᵢ))))))`, with the batch's statistics in every
//! norm. Each part and its gradient is that of [`linear`](super::linear),
//! [`depthwise`](super::depthwise), [`batch_norm`](super::batch_norm) and
//! [`residual`](super::residual), whose code it calls.
//!
//! It is one operation because candle adds every gradient of every operation to fresh zeros, and
//! each operation fills a fresh tensor with zeros before it writes the values. These unnecessary
//! passes over memory take a sixth of a training step. Here the buffers of intermediate activations
//! are reused, and the gradient goes from layer to layer directly.
//!
//! Shapes: `x [B, T, I]`, `y [B, T, C]`, both of `N = B·T` columns.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{
    Reader,
    batch_norm::{Moments, Normalize, Passed, scale_rows},
    channels_of, composed,
    depthwise::{Depthwise, Direction, convolve, tap_gradient},
    linear::{Matrix, Onto, product},
    values,
};
use wakeling_core::simd;

/// Configuration that the shapes of the parameters do not determine.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Dilation of each block, at least 1.
    pub dilations: Vec<usize>,
    /// Constant added to a variance before its square root is taken.
    pub epsilon: f64,
}

/// Number of parameters of a block: taps `[K, C]`, γ, β, weights `[C, C]`, γ, β.
pub(super) const BLOCK_PARAMETERS: usize = 6;
/// Number of parameters of the stem: weights `[I, C]`, γ, β.
pub(super) const STEM_PARAMETERS: usize = 3;

/// Runs the backbone. Returns its output and the moments of every norm, in order.
///
/// `parameters` holds those of the stem (weights `[I, C]`, γ `[C]`, β `[C]`), then those of each
/// block (taps `[K, C]`, γ, β, weights `[C, C]`, γ, β). `x [B, T, I]` is an input of the network
/// and gets no gradient.
///
/// # Errors
/// If shapes disagree, there is no column, or the tensors are not f32 on one device.
pub fn stack(x: &Tensor, parameters: &[&Tensor], stack: &Stack) -> Result<(Tensor, Vec<Moments>)> {
    let sizes = Sizes::of(x, parameters, stack)?;
    if !x.device().is_cpu() {
        return composed::stack(x, parameters, stack);
    }
    let flat = parameters.iter().map(|p| p.flatten_all()).collect::<Result<Vec<_>>>()?;
    let packed = Tensor::cat(&flat, 0)?;
    let saved = Arc::new(Mutex::new(Saved::default()));
    let op = Op { stack: stack.clone(), sizes, saved: saved.clone() };
    let y = x.contiguous()?.apply_op2(&packed, op)?;
    let moments = std::mem::take(&mut lock(&saved).moments);
    Ok((y, moments))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sizes of one call.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    steps: usize,
    columns: usize,
    inputs: usize,
    channels: usize,
    taps: usize,
}

impl Sizes {
    fn of(x: &Tensor, parameters: &[&Tensor], stack: &Stack) -> Result<Self> {
        let (rows, steps, inputs) = x.dims3()?;
        let expected = STEM_PARAMETERS + BLOCK_PARAMETERS * stack.dilations.len();
        let (Some(stem), true) = (parameters.first(), parameters.len() == expected) else {
            bail!("stack: expected {expected} parameters, found {}", parameters.len())
        };
        let channels = channels_of("stack stem", stem)?;
        let taps = match parameters.get(STEM_PARAMETERS) {
            Some(taps) => taps.dims2()?.0,
            None => 0,
        };
        let block = [
            vec![taps, channels],
            vec![channels],
            vec![channels],
            vec![channels, channels],
            vec![channels],
            vec![channels],
        ];
        let stem = [vec![inputs, channels], vec![channels], vec![channels]];
        let shapes = stem.iter().chain(stack.dilations.iter().flat_map(|_| &block));
        for (parameter, shape) in parameters.iter().zip(shapes) {
            super::expect_shape("stack parameter", parameter, shape)?;
        }
        let columns = rows * steps;
        if columns == 0 || inputs == 0 || stack.dilations.contains(&0) {
            bail!("stack: expected columns, inputs and dilations >= 1, found {:?}", x.dims())
        }
        if !stack.dilations.is_empty() && taps == 0 {
            bail!("stack: expected at least one tap")
        }
        Ok(Self { steps, columns, inputs, channels, taps })
    }

    fn depthwise(self, dilation: usize) -> Depthwise {
        Depthwise { steps: self.steps, channels: self.channels, dilation }
    }

    /// Number of values of an activation.
    fn activation(self) -> usize {
        self.columns * self.channels
    }
}

/// Packed parameters of the stem, or slots for their gradients.
struct StemOf<S> {
    weight: S,
    gamma: S,
    beta: S,
}

/// Packed parameters of a block, or slots for their gradients.
struct BlockOf<S> {
    taps: S,
    gamma1: S,
    beta1: S,
    weight: S,
    gamma2: S,
    beta2: S,
}

/// Splits packed parameters; `take` returns the next part of the given length.
fn unpack<S>(
    sizes: Sizes,
    blocks: usize,
    mut take: impl FnMut(usize) -> S,
) -> (StemOf<S>, Vec<BlockOf<S>>) {
    let Sizes { inputs, channels: c, taps, .. } = sizes;
    let stem = StemOf { weight: take(inputs * c), gamma: take(c), beta: take(c) };
    let block = |_| BlockOf {
        taps: take(taps * c),
        gamma1: take(c),
        beta1: take(c),
        weight: take(c * c),
        gamma2: take(c),
        beta2: take(c),
    };
    (stem, (0..blocks).map(block).collect())
}

/// Returns a function that cuts consecutive slices off a shared slice.
fn cutter<'a>(mut rest: &'a [f32]) -> impl FnMut(usize) -> &'a [f32] {
    move |count| {
        let (cut, after) = rest.split_at(count);
        rest = after;
        cut
    }
}

/// Returns a function that cuts consecutive slices off a mutable slice.
fn cutter_mut<'a>(mut rest: &'a mut [f32]) -> impl FnMut(usize) -> &'a mut [f32] {
    move |count| {
        let (cut, after) = std::mem::take(&mut rest).split_at_mut(count);
        rest = after;
        cut
    }
}

/// Pool of unused activation buffers. Each keeps the largest length it ever had and is freed with
/// the process.
static BUFFERS: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
/// Maximum number of buffers in the pool: enough for two workers of tier L.
const BUFFERS_MAX: usize = 128;

/// Buffer for an activation; its initial content is arbitrary.
#[derive(Default)]
struct Buffer(Vec<f32>);

impl Buffer {
    fn new(length: usize) -> Self {
        let mut buffer = lock(&BUFFERS).pop().unwrap_or_default();
        buffer.resize(length, 0.0);
        Self(buffer)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffers = lock(&BUFFERS);
        if buffers.len() < BUFFERS_MAX && self.0.capacity() > 0 {
            buffers.push(std::mem::take(&mut self.0));
        }
    }
}

/// State of a norm for the backward pass.
struct Norm {
    normalize: Normalize,
    /// Input of the norm.
    x: Buffer,
}

/// State of a block for the backward pass, besides its input and its output.
struct SavedBlock {
    first: Norm,
    /// Activation between depthwise and pointwise.
    middle: Buffer,
    second: Norm,
}

/// State that the forward pass saves.
#[derive(Default)]
struct Saved {
    moments: Vec<Moments>,
    stem: Option<Norm>,
    blocks: Vec<SavedBlock>,
    /// Input of each block; candle holds the output of the last one.
    inputs: Vec<Buffer>,
}

struct Op {
    stack: Stack,
    sizes: Sizes,
    saved: Arc<Mutex<Saved>>,
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        "stack"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        packed: &CpuStorage,
        packed_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, packed) = (values(x, x_layout)?, values(packed, packed_layout)?);
        let (sizes, dilations) = (self.sizes, &self.stack.dilations);
        let (stem, blocks) = unpack(sizes, dilations.len(), cutter(packed));
        let mut saved = Saved::default();
        let mut h = Buffer::new(sizes.activation());
        let mut linear = Buffer::new(sizes.activation());
        let weight = Matrix::new(stem.weight, sizes.channels);
        product(Matrix::new(x, sizes.inputs), weight, &mut linear.0, Onto::Nothing);
        let norm = self.normalize(linear, &mut saved.moments);
        let (scale, shift) = norm.normalize.coefficients(stem.gamma, stem.beta);
        scale_rows(&norm.x.0, &scale, &shift, 0.0, &mut h.0);
        saved.stem = Some(norm);
        for (block, &dilation) in blocks.iter().zip(dilations) {
            let (next, block) = self.block(&h.0, block, dilation, &mut saved.moments);
            saved.inputs.push(std::mem::replace(&mut h, next));
            saved.blocks.push(block);
        }
        let (rows, channels) = (sizes.columns / sizes.steps, sizes.channels);
        *lock(&self.saved) = saved;
        let y = CpuStorage::F32(std::mem::take(&mut h.0));
        Ok((y, Shape::from((rows, sizes.steps, channels))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut saved = std::mem::take(&mut *lock(&self.saved));
        let Some(stem_norm) = saved.stem.take() else { bail!("stack: a second backward pass") };
        let dy = dy.contiguous()?;
        let mut gradient = vec![0.0; packed.elem_count()];
        {
            let (x, packed, y) = (Reader::new(x), Reader::new(packed), Reader::new(y));
            let (sizes, count) = (self.sizes, self.stack.dilations.len());
            let (stem, blocks) = unpack(sizes, count, cutter(packed.values()?));
            let (d_stem, d_blocks) = unpack(sizes, count, cutter_mut(&mut gradient));
            let mut dh = Buffer::new(sizes.activation());
            dh.0.copy_from_slice(Reader::new(&dy).values()?);
            let mut output: Option<Buffer> = None;
            let each = blocks.iter().zip(d_blocks).zip(saved.blocks).zip(saved.inputs);
            for (number, (((block, d_block), saved), input)) in each.enumerate().rev() {
                let h = Hidden {
                    input: &input.0,
                    output: match &output {
                        Some(output) => &output.0,
                        None => y.values()?,
                    },
                    dilation: self.stack.dilations[number],
                };
                dh = self.block_backward(h, dh, block, d_block, saved);
                output = Some(input);
            }
            let gate = match &output {
                Some(output) => &output.0,
                None => y.values()?,
            };
            let passed = Passed { dy: &dh.0, gate, lowest: 0.0 };
            let mut d_linear = Buffer::new(sizes.activation());
            let d_norm = [d_stem.gamma, d_stem.beta];
            let Norm { normalize, x: linear } = stem_norm;
            normalize.gradients(passed, &linear.0, stem.gamma, &mut d_linear.0, d_norm);
            let x = Matrix::new(x.values()?, sizes.inputs).transposed();
            let d_linear = Matrix::new(&d_linear.0, sizes.channels);
            product(x, d_linear, d_stem.weight, Onto::Nothing);
        }
        Ok((None, Some(Tensor::from_vec(gradient, packed.shape(), packed.device())?)))
    }
}

/// Activations around a block.
struct Hidden<'a> {
    input: &'a [f32],
    output: &'a [f32],
    dilation: usize,
}

impl Op {
    fn normalize(&self, x: Buffer, moments: &mut Vec<Moments>) -> Norm {
        let (normalize, found) =
            Normalize::of_batch(&x.0, self.sizes.channels, self.stack.epsilon, true);
        moments.push(found);
        Norm { normalize, x }
    }

    fn block(
        &self,
        h: &[f32],
        block: &BlockOf<&[f32]>,
        dilation: usize,
        moments: &mut Vec<Moments>,
    ) -> (Buffer, SavedBlock) {
        let (sizes, buffer) = (self.sizes, || Buffer::new(self.sizes.activation()));
        let mut y = buffer();
        convolve(sizes.depthwise(dilation), Direction::Past, h, block.taps, &mut y.0);
        let first = self.normalize(y, moments);
        let (scale, shift) = first.normalize.coefficients(block.gamma1, block.beta1);
        let mut middle = buffer();
        scale_rows(&first.x.0, &scale, &shift, 0.0, &mut middle.0);
        let mut y = buffer();
        let weight = Matrix::new(block.weight, sizes.channels);
        product(Matrix::new(&middle.0, sizes.channels), weight, &mut y.0, Onto::Nothing);
        let second = self.normalize(y, moments);
        let (scale, shift) = second.normalize.coefficients(block.gamma2, block.beta2);
        let mut next = buffer();
        scale_onto(&second.x.0, &scale, &shift, h, &mut next.0);
        (next, SavedBlock { first, middle, second })
    }

    /// Computes the gradients of a block's input and parameters from the gradient of its output.
    fn block_backward(
        &self,
        h: Hidden<'_>,
        dy: Buffer,
        block: &BlockOf<&[f32]>,
        d_block: BlockOf<&mut [f32]>,
        saved: SavedBlock,
    ) -> Buffer {
        let (sizes, c) = (self.sizes, self.sizes.channels);
        let SavedBlock { first, middle, second } = saved;
        let passed = Passed { dy: &dy.0, gate: h.output, lowest: 0.0 };
        let mut d_second = Buffer::new(sizes.activation());
        let d_norm = [d_block.gamma2, d_block.beta2];
        second.normalize.gradients(passed, &second.x.0, block.gamma2, &mut d_second.0, d_norm);
        // The norm's input is no longer needed, so its buffer takes the next gradient.
        let mut d_middle = second.x;
        let d_linear = Matrix::new(&d_second.0, c);
        let weight = Matrix::new(block.weight, c).transposed();
        product(d_linear, weight, &mut d_middle.0, Onto::Nothing);
        let transposed = Matrix::new(&middle.0, c).transposed();
        product(transposed, d_linear, d_block.weight, Onto::Nothing);
        let passed = Passed { dy: &d_middle.0, gate: &middle.0, lowest: 0.0 };
        let mut d_first = d_second;
        let d_norm = [d_block.gamma1, d_block.beta1];
        first.normalize.gradients(passed, &first.x.0, block.gamma1, &mut d_first.0, d_norm);
        let depthwise = sizes.depthwise(h.dilation);
        tap_gradient(depthwise, h.input, &d_first.0, d_block.taps);
        let mut dx = d_middle;
        convolve(depthwise, Direction::Future, &d_first.0, block.taps, &mut dx.0);
        add_passed(&dy.0, h.output, &mut dx.0);
        dx
    }
}

simd! {
    /// Computes `y = max(x · scale + shift + onto, 0)`.
    fn scale_onto(x: &[f32], scale: &[f32], shift: &[f32], onto: &[f32], y: &mut [f32]) {
        let channels = scale.len();
        let rows = x.chunks_exact(channels).zip(onto.chunks_exact(channels));
        for ((x, onto), y) in rows.zip(y.chunks_exact_mut(channels)) {
            let coefficients = scale.iter().zip(shift);
            for (((y, &x), &o), (&a, &b)) in y.iter_mut().zip(x).zip(onto).zip(coefficients) {
                let v = x.mul_add(a, b) + o;
                // This form lets NaN pass.
                *y = if v < 0.0 { 0.0 } else { v };
            }
        }
    }

    /// Adds `dy` to `dx` where `y > 0`.
    fn add_passed(dy: &[f32], y: &[f32], dx: &mut [f32]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx += if y > 0.0 { dy } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        batch_norm::batch_norm, depthwise::depthwise_causal, linear::linear, residual::add_relu,
        testing::random,
    };
    use super::*;
    use candle_core::{Device, Var};

    const EPSILON: f64 = 1e-3;

    /// Returns random parameters, and an input `[2, 9, 5]`.
    fn given(dilations: &[usize]) -> (Tensor, Vec<Var>) {
        let (inputs, channels, taps) = (5, 35, 3);
        let mut shapes = vec![vec![inputs, channels], vec![channels], vec![channels]];
        for _ in dilations {
            shapes.extend([vec![taps, channels], vec![channels], vec![channels]]);
            shapes.extend([vec![channels, channels], vec![channels], vec![channels]]);
        }
        let var = |(seed, shape): (usize, &Vec<usize>)| {
            let values = random(shape.iter().product(), 7 + seed as u64);
            Var::from_vec(values, shape.clone(), &Device::Cpu).unwrap()
        };
        let x = Tensor::from_vec(random(2 * 9 * inputs, 3), (2, 9, inputs), &Device::Cpu).unwrap();
        (x, shapes.iter().enumerate().map(var).collect())
    }

    /// Runs the same network as single operations, whose gradients are checked against finite
    /// differences.
    fn composed(x: &Tensor, p: &[Var], dilations: &[usize]) -> Result<(Tensor, Vec<Moments>)> {
        let mut moments = Vec::new();
        let mut norm = |x: &Tensor, p: &[Var], relu| -> Result<Tensor> {
            let (y, found) = batch_norm(x, &p[0], &p[1], EPSILON, relu)?;
            moments.push(found);
            Ok(y)
        };
        let mut h = norm(&linear(x, &p[0], None)?, &p[1..], true)?;
        for (p, &dilation) in p[STEM_PARAMETERS..].chunks(BLOCK_PARAMETERS).zip(dilations) {
            let y = norm(&depthwise_causal(&h, &p[0], dilation)?, &p[1..], true)?;
            let y = norm(&linear(&y, &p[3], None)?, &p[4..], false)?;
            h = add_relu(&h, &y)?;
        }
        Ok((h, moments))
    }

    fn close(a: &Tensor, b: &Tensor) {
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(a.dims(), b.dims());
        for (a, b) in values(a).into_iter().zip(values(b)) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
        }
    }

    #[test]
    fn values_moments_and_gradients_are_those_of_the_single_operations() -> Result<()> {
        for dilations in [vec![], vec![1], vec![2, 1, 4]] {
            let (x, p) = given(&dilations);
            let tensors: Vec<&Tensor> = p.iter().map(Var::as_tensor).collect();
            let config = Stack { dilations: dilations.clone(), epsilon: EPSILON };
            // Runs twice, because the second call gets buffers that are not zero.
            for _ in 0..2 {
                let (y, moments) = stack(&x, &tensors, &config)?;
                let (expected, expected_moments) = composed(&x, &p, &dilations)?;
                close(&y, &expected);
                assert_eq!(moments.len(), expected_moments.len());
                for (found, expected) in moments.iter().zip(&expected_moments) {
                    assert_eq!(found.rows, expected.rows);
                    let pairs = found.variance.iter().zip(&expected.variance);
                    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b)));
                }
                let weights =
                    Tensor::from_vec(random(y.elem_count(), 99), y.shape(), &Device::Cpu)?;
                let found = (y * &weights)?.sum_all()?.backward()?;
                let expected = (expected * &weights)?.sum_all()?.backward()?;
                for var in &p {
                    close(found.get(var).expect("a gradient"), expected.get(var).expect("one"));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn other_shapes_are_refused() {
        let (x, p) = given(&[1]);
        let tensors: Vec<&Tensor> = p.iter().map(Var::as_tensor).collect();
        let config =
            |dilations: &[usize]| Stack { dilations: dilations.to_vec(), epsilon: EPSILON };
        assert!(stack(&x, &tensors, &config(&[1, 1])).is_err());
        assert!(stack(&x, &tensors, &config(&[0])).is_err());
        assert!(stack(&x, &tensors[..8], &config(&[1])).is_err());
        let swapped: Vec<&Tensor> = tensors.iter().rev().copied().collect();
        assert!(stack(&x, &swapped, &config(&[1])).is_err());
    }
}
