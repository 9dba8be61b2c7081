//! Operations for devices other than the CPU, composed of candle's own.
//!
//! Formulas, shapes and gradients are those of [`linear`](super::linear),
//! [`depthwise`](super::depthwise), [`batch_norm`](super::batch_norm),
//! [`residual`](super::residual) and [`stack`](super::stack), whose entry points have already
//! checked the shapes. Candle computes the gradients. Two things differ: sums are taken in f32
//! throughout, and a ReLU passes the gradient at exactly 0.
//!
//! Only those of candle's operations are used whose gradients are correct: matrix products without
//! a batch axis, and no convolutions.

use candle_core::{Result, Tensor};

use super::{
    batch_norm::Moments,
    stack::{BLOCK_PARAMETERS, STEM_PARAMETERS, Stack},
};

/// Computes `y = x · W + b`: `x [.., I]`, `w [I, O]`, `bias [O]`.
pub(super) fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (inputs, outputs) = w.dims2()?;
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    let y = x.reshape(((), inputs))?.matmul(w)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(dims)
}

/// Computes `y[b, t, c] = Σₖ w[k, c] · x[b, t - k·dilation, c]`: `x [B, T, C]`, `w [K, C]`,
/// `K >= 1`.
pub(super) fn depthwise_causal(x: &Tensor, w: &Tensor, dilation: usize) -> Result<Tensor> {
    let (_, steps, _) = x.dims3()?;
    let last = w.dim(0)? - 1;
    let padded = x.pad_with_zeros(1, last * dilation, 0)?;
    let tap = |k: usize| -> Result<Tensor> {
        padded.narrow(1, (last - k) * dilation, steps)?.broadcast_mul(&w.narrow(0, k, 1)?)
    };
    let mut y = tap(0)?;
    for k in 1..=last {
        y = (y + tap(k)?)?;
    }
    Ok(y)
}

/// Computes `y = relu(scale · x + shift)`: `x [.., C]`, `scale` and `shift` `[C]` or `[1, C]`.
pub(super) fn affine(x: &Tensor, scale: &Tensor, shift: &Tensor, relu: bool) -> Result<Tensor> {
    let y = x.broadcast_mul(scale)?.broadcast_add(shift)?;
    if relu { y.relu() } else { Ok(y) }
}

/// Computes `y = relu(a + b)`, all of one shape.
pub(super) fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    (a + b)?.relu()
}

/// Batch norm by the batch's own statistics, which are also returned: `x [.., C]`, `gamma`, `beta`
/// `[C]`.
pub(super) fn batch_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    relu: bool,
) -> Result<(Tensor, Moments)> {
    let (y, statistics) = normalize(x, [gamma, beta], eps, relu)?;
    let rows = x.elem_count() / gamma.elem_count();
    let (mean, variance) = (statistics.get(0)?.to_vec1()?, statistics.get(1)?.to_vec1()?);
    Ok((y, Moments { mean, variance, rows }))
}

/// Batch norm that leaves mean and biased variance on the device, as the rows of `[2, C]`.
fn normalize(
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    eps: f64,
    relu: bool,
) -> Result<(Tensor, Tensor)> {
    let rows = x.reshape(((), gamma.elem_count()))?;
    let mean = rows.mean_keepdim(0)?;
    let centered = rows.broadcast_sub(&mean)?;
    let variance = centered.sqr()?.mean_keepdim(0)?;
    let scale = gamma.unsqueeze(0)?.div(&(&variance + eps)?.sqrt()?)?;
    let y = affine(&centered, &scale, beta, relu)?.reshape(x.shape())?;
    Ok((y, Tensor::cat(&[mean.detach(), variance.detach()], 0)?))
}

/// Runs the backbone in training. The moments of all norms are copied to the host in one transfer.
pub(super) fn stack(
    x: &Tensor,
    parameters: &[&Tensor],
    stack: &Stack,
) -> Result<(Tensor, Vec<Moments>)> {
    let mut statistics = Vec::new();
    let mut norm = |x: &Tensor, parameters: [&Tensor; 2], relu| -> Result<Tensor> {
        let (y, found) = normalize(x, parameters, stack.epsilon, relu)?;
        statistics.push(found);
        Ok(y)
    };
    let (stem, blocks) = parameters.split_at(STEM_PARAMETERS);
    let mut h = norm(&linear(x, stem[0], None)?, [stem[1], stem[2]], true)?;
    for (p, &dilation) in blocks.chunks(BLOCK_PARAMETERS).zip(&stack.dilations) {
        let y = norm(&depthwise_causal(&h, p[0], dilation)?, [p[1], p[2]], true)?;
        let y = norm(&linear(&y, p[3], None)?, [p[4], p[5]], false)?;
        h = add_relu(&h, &y)?;
    }
    let rows = h.elem_count() / h.dim(2)?;
    let mut found = Tensor::cat(&statistics, 0)?.to_vec2::<f32>()?.into_iter();
    let pairs = std::iter::from_fn(|| Some((found.next()?, found.next()?)));
    let moments = pairs.map(|(mean, variance)| Moments { mean, variance, rows });
    let moments = moments.collect();
    Ok((h, moments))
}

#[cfg(test)]
mod tests {
    use super::super::{
        batch_norm as custom_norm,
        ctc::{Segment, ctc_loss},
        depthwise, linear as custom_linear, residual, stack as custom_stack,
        testing::{Input, random},
    };
    use super::*;
    use candle_core::{Device, Var};

    const EPS: f64 = 1e-3;
    /// Allowed difference, absolute and relative, because both sides round in f32 over sums of
    /// hundreds.
    const TOLERANCE: f32 = 1e-4;

    /// Result of an operation and the moments it computed.
    type Found = (Tensor, Vec<Moments>);

    fn alone(y: Tensor) -> Found {
        (y, Vec::new())
    }

    fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (index, (f, e)) in found.iter().zip(expected).enumerate() {
            let allowed = TOLERANCE * (1.0 + e.abs());
            assert!((f - e).abs() <= allowed, "{what} {index}: found {f}, expected {e}");
        }
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Returns value, moments, and the gradients of a random projection.
    fn results(
        inputs: &[Input],
        device: &Device,
        operation: &dyn Fn(&[Tensor]) -> Result<Found>,
    ) -> Vec<(String, Vec<f32>)> {
        let var = |i: &Input| Var::from_vec(i.values.clone(), i.shape.clone(), device).unwrap();
        let vars: Vec<Var> = inputs.iter().map(var).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let (y, moments) = operation(&tensors).unwrap();
        let weights = Tensor::from_vec(random(y.elem_count(), 77), y.shape(), y.device()).unwrap();
        let grads = y.mul(&weights).unwrap().sum_all().unwrap().backward().unwrap();
        let mut results = vec![("value".to_owned(), values(&y))];
        for (index, Moments { mean, variance, rows }) in moments.into_iter().enumerate() {
            results.push((format!("mean {index}"), mean));
            results.push((format!("variance {index}"), variance));
            results.push((format!("rows {index}"), vec![rows as f32]));
        }
        let gradient = |v: &Var| grads.get(v).map_or(Vec::new(), values);
        let gradients = vars.iter().map(gradient).enumerate();
        results.extend(gradients.map(|(i, g)| (format!("gradient of argument {i}"), g)));
        results
    }

    /// Compares a composed operation on `device` with the custom operation on the CPU.
    fn compare(
        inputs: &[Input],
        device: &Device,
        composed: impl Fn(&[Tensor]) -> Result<Found>,
        custom: impl Fn(&[Tensor]) -> Result<Found>,
    ) {
        let found = results(inputs, device, &composed);
        let expected = results(inputs, &Device::Cpu, &custom);
        assert_eq!(found.len(), expected.len());
        for ((what, found), (_, expected)) in found.iter().zip(&expected) {
            assert_close(what, found, expected);
        }
    }

    fn linear_agrees(device: &Device) {
        for (seed, (shape, outputs)) in
            [(vec![1, 1, 1], 1), (vec![2, 7, 5], 3), (vec![13, 19], 17), (vec![3, 5, 33], 40)]
                .into_iter()
                .enumerate()
        {
            let inputs = shape[shape.len() - 1];
            let x = Input::new(&shape, seed as u64);
            let w = Input::new(&[inputs, outputs], 10 + seed as u64);
            let b = Input::new(&[outputs], 20 + seed as u64);
            compare(
                &[x.clone(), w.clone(), b],
                device,
                |t| linear(&t[0], &t[1], Some(&t[2])).map(alone),
                |t| custom_linear::linear(&t[0], &t[1], Some(&t[2])).map(alone),
            );
            compare(
                &[x, w],
                device,
                |t| linear(&t[0], &t[1], None).map(alone),
                |t| custom_linear::linear(&t[0], &t[1], None).map(alone),
            );
        }
    }

    fn depthwise_agrees(device: &Device) {
        // Includes taps that reach beyond the first step.
        for (seed, (shape, taps, dilation)) in [
            ([1, 1, 1], 1, 1),
            ([2, 7, 5], 1, 3),
            ([1, 5, 3], 4, 8),
            ([2, 21, 3], 3, 8),
            ([3, 19, 67], 5, 2),
        ]
        .into_iter()
        .enumerate()
        {
            let x = Input::new(&shape, seed as u64);
            let w = Input::new(&[taps, shape[2]], 10 + seed as u64);
            compare(
                &[x, w],
                device,
                |t| depthwise_causal(&t[0], &t[1], dilation).map(alone),
                |t| depthwise::depthwise_causal(&t[0], &t[1], dilation).map(alone),
            );
        }
    }

    fn norms_agree(device: &Device) {
        for (seed, shape) in
            [vec![1, 2, 3], vec![2, 7, 5], vec![39, 3], vec![3, 5, 33]].into_iter().enumerate()
        {
            let (seed, channels) = (seed as u64, shape[shape.len() - 1]);
            let inputs = [
                Input::new(&shape, seed).map(|v| 1.5 * v + 0.7),
                Input::new(&[channels], 10 + seed),
                Input::new(&[channels], 20 + seed),
            ];
            for relu in [false, true] {
                let with_moments = |(y, moments)| (y, vec![moments]);
                compare(
                    &inputs,
                    device,
                    |t| batch_norm(&t[0], &t[1], &t[2], EPS, relu).map(with_moments),
                    |t| custom_norm::batch_norm(&t[0], &t[1], &t[2], EPS, relu).map(with_moments),
                );
                compare(
                    &inputs,
                    device,
                    |t| affine(&t[0], &t[1], &t[2], relu).map(alone),
                    |t| custom_norm::affine(&t[0], &t[1], &t[2], relu).map(alone),
                );
            }
        }
    }

    fn residual_agrees(device: &Device) {
        for shape in [vec![1, 1, 1], vec![2, 3, 37], vec![4, 64]] {
            compare(
                &[Input::new(&shape, 1), Input::new(&shape, 2)],
                device,
                |t| add_relu(&t[0], &t[1]).map(alone),
                |t| residual::add_relu(&t[0], &t[1]).map(alone),
            );
        }
    }

    const FEATURES: usize = 5;
    const CHANNELS: usize = 35;

    /// Parameters of a backbone with this number of blocks.
    fn backbone_inputs(blocks: usize) -> Vec<Input> {
        let norm = || [vec![CHANNELS], vec![CHANNELS]];
        let mut shapes = vec![vec![FEATURES, CHANNELS]];
        shapes.extend(norm());
        for _ in 0..blocks {
            shapes.push(vec![3, CHANNELS]);
            shapes.extend(norm());
            shapes.push(vec![CHANNELS, CHANNELS]);
            shapes.extend(norm());
        }
        let input = |(seed, shape): (usize, &Vec<usize>)| Input::new(shape, 7 + seed as u64);
        shapes.iter().enumerate().map(input).collect()
    }

    /// Features `[2, 9, FEATURES]` on the device of `like`.
    fn features(like: &Tensor) -> Result<Tensor> {
        Tensor::from_vec(random(2 * 9 * FEATURES, 3), (2, 9, FEATURES), like.device())
    }

    fn stack_agrees(device: &Device) {
        for dilations in [vec![], vec![1], vec![2, 1, 4]] {
            let inputs = backbone_inputs(dilations.len());
            let config = Stack { dilations, epsilon: EPS };
            compare(
                &inputs,
                device,
                |t| stack(&features(&t[0])?, &t.iter().collect::<Vec<_>>(), &config),
                |t| custom_stack::stack(&features(&t[0])?, &t.iter().collect::<Vec<_>>(), &config),
            );
        }
    }

    /// Checks backbone, head, and a loss on the CPU, as in pretraining.
    fn step_agrees(device: &Device) {
        const CLASSES: usize = 6;
        let mut inputs = backbone_inputs(2);
        inputs.extend([Input::new(&[CHANNELS, CLASSES], 40), Input::new(&[CLASSES], 41)]);
        let config = Stack { dilations: vec![1, 2], epsilon: EPS };
        let segments = [(0, vec![1, 2, 2]), (1, vec![5]), (1, vec![])]
            .map(|(row, labels)| Segment { row, start: 1, end: 9, labels });
        let loss = |logits: Tensor| -> Result<Tensor> {
            Ok(ctc_loss(&logits.to_device(&Device::Cpu)?, &segments)?.loss)
        };
        let parts = |t: &[Tensor]| (t[..t.len() - 2].to_vec(), t[t.len() - 2..].to_vec());
        compare(
            &inputs,
            device,
            |t| {
                let (backbone, head) = parts(t);
                let (h, moments) =
                    stack(&features(&t[0])?, &backbone.iter().collect::<Vec<_>>(), &config)?;
                Ok((loss(linear(&h, &head[0], Some(&head[1]))?)?, moments))
            },
            |t| {
                let (backbone, head) = parts(t);
                let backbone: Vec<&Tensor> = backbone.iter().collect();
                let (h, moments) = custom_stack::stack(&features(&t[0])?, &backbone, &config)?;
                Ok((loss(custom_linear::linear(&h, &head[0], Some(&head[1]))?)?, moments))
            },
        );
    }

    const CHECKS: [fn(&Device); 6] =
        [linear_agrees, depthwise_agrees, norms_agree, residual_agrees, stack_agrees, step_agrees];

    #[test]
    fn values_and_gradients_are_those_of_the_cpus_operations() {
        CHECKS.iter().for_each(|check| check(&Device::Cpu));
    }

    #[cfg(feature = "cuda")]
    #[test]
    #[ignore = "needs a GPU"]
    fn a_gpu_computes_what_the_cpu_does() {
        let gpu = Device::new_cuda(0).expect("a GPU");
        CHECKS.iter().for_each(|check| check(&gpu));
    }
}
