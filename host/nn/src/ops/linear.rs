//! Fully connected layer, also the pointwise (1 x 1) convolution of channels-last activations.
//!
//! `y = x · W + b`; gradients `dx = dy · Wᵀ`, `dW = xᵀ · dy`, `db = Σ_rows dy`.
//! Shapes: `x [.., I]`, `W [I, O]`, `b [O]`, `y [.., O]`.
//!
//! This is a custom operation because candle's matmul makes transposed copies and broadcasts the
//! bias in further passes. Here GEMM reads the transposes by strides and accumulates onto the bias.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::{Reader, channels_of, composed, expect_shape, math::add_column_sums, values};

/// Computes `y[.., o] = b[o] + Σᵢ x[.., i] · W[i, o]`.
///
/// `x [.., I]`, `w [I, O]`, `bias [O]`. The gradient of `x` is skipped if `x` is an input of the
/// network, neither a variable nor computed from one.
///
/// # Errors
/// If shapes disagree or the tensors are not f32 on one device.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let inputs = channels_of("linear x", x)?;
    let outputs = channels_of("linear w", w)?;
    expect_shape("linear w", w, &[inputs, outputs])?;
    if let Some(bias) = bias {
        expect_shape("linear bias", bias, &[outputs])?;
    }
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    if !x.device().is_cpu() {
        return composed::linear(&x, &w, bias);
    }
    match bias {
        Some(bias) => x.apply_op3(&w, &bias.contiguous()?, Linear),
        None => x.apply_op2(&w, Linear),
    }
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = output_shape(x_layout, w_layout);
        let mut y = vec![0.0; shape.elem_count()];
        let w = Matrix::new(values(w, w_layout)?, w_layout.dims()[1]);
        product(Matrix::new(values(x, x_layout)?, w.rows), w, &mut y, Onto::Nothing);
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        Ok((input_gradient(x, w, &dy)?, weight_gradient(x, w, &dy)?))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = output_shape(x_layout, w_layout);
        let w = Matrix::new(values(w, w_layout)?, w_layout.dims()[1]);
        let x = Matrix::new(values(x, x_layout)?, w.rows);
        let mut y = values(bias, bias_layout)?.repeat(x.rows);
        product(x, w, &mut y, Onto::Present);
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let db = if bias.track_op() {
            let mut db = vec![0.0; bias.elem_count()];
            add_column_sums(Reader::new(&dy).values()?, &mut db);
            Some(Tensor::from_vec(db, bias.shape(), bias.device())?)
        } else {
            None
        };
        Ok((input_gradient(x, w, &dy)?, weight_gradient(x, w, &dy)?, db))
    }
}

/// Returns the output shape: `x [.., I]`, `w [I, O]` → `[.., O]`.
fn output_shape(x: &Layout, w: &Layout) -> Shape {
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = w.dims()[1];
    }
    Shape::from(dims)
}

/// Computes `dx = dy · Wᵀ`, or returns `None` if `x` needs no gradient.
fn input_gradient(x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
    if !x.track_op() {
        return Ok(None);
    }
    let (inputs, outputs) = w.dims2()?;
    let mut dx = vec![0.0; x.elem_count()];
    let (w, dy) = (Reader::new(w), Reader::new(dy));
    let w = Matrix::new(w.values()?, outputs).transposed();
    product(Matrix::new(dy.values()?, outputs), w, &mut dx, Onto::Nothing);
    debug_assert_eq!(w.columns, inputs);
    Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
}

/// Computes `dW = xᵀ · dy`, or returns `None` if `w` needs no gradient.
fn weight_gradient(x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
    if !w.track_op() {
        return Ok(None);
    }
    let (inputs, outputs) = w.dims2()?;
    let mut dw = vec![0.0; inputs * outputs];
    let (x, dy) = (Reader::new(x), Reader::new(dy));
    let x = Matrix::new(x.values()?, inputs).transposed();
    product(x, Matrix::new(dy.values()?, outputs), &mut dw, Onto::Nothing);
    Tensor::from_vec(dw, w.shape(), w.device()).map(Some)
}

/// Matrix over borrowed values; strides are in elements.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Creates a row-major matrix with `columns` > 0 columns and as many rows as the values fill.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len() / columns;
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Initial value to which a product is added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    Nothing,
    /// Values already in the destination.
    Present,
}

/// Computes `y = a · b` or `y += a · b`, with `y` row-major.
///
/// # Panics
/// If the sizes disagree.
#[allow(unsafe_code, reason = "the matrix product takes pointers")]
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, y: &mut [f32], onto: Onto) {
    assert_eq!(a.columns, b.rows, "inner sizes");
    assert_eq!(y.len(), a.rows * b.columns, "destination size");
    assert!(a.values.len() >= a.rows * a.columns && b.values.len() >= b.rows * b.columns);
    // SAFETY: the asserts above give every row and column index of the three matrices a value
    // inside its slice (strides are those of a full matrix or its transpose), and `y` is borrowed
    // mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            y.as_mut_ptr(),
            1,
            b.columns as isize,
            onto == Onto::Present,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check, random};
    use super::*;

    fn reference(inputs: &[Vec<f64>], sizes: [usize; 3]) -> Vec<f64> {
        let [rows, i, o] = sizes;
        let mut y = vec![0.0; rows * o];
        for r in 0..rows {
            for c in 0..o {
                let mut sum = inputs.get(2).map_or(0.0, |b| b[c]);
                for k in 0..i {
                    sum += inputs[0][r * i + k] * inputs[1][k * o + c];
                }
                y[r * o + c] = sum;
            }
        }
        y
    }

    #[test]
    fn value_and_gradients_match_the_formula() {
        for (seed, (shape, o)) in
            [(vec![1, 1, 1], 1), (vec![2, 7, 5], 3), (vec![13, 19], 17), (vec![1, 3, 33], 40)]
                .into_iter()
                .enumerate()
        {
            let i = shape[shape.len() - 1];
            let rows = shape.iter().product::<usize>() / i;
            let x = Input::new(&shape, seed as u64);
            let w = Input::new(&[i, o], 10 + seed as u64);
            let b = Input::new(&[o], 20 + seed as u64);
            check(
                &[x.clone(), w.clone(), b],
                |t| linear(&t[0], &t[1], Some(&t[2])),
                |v| reference(v, [rows, i, o]),
            );
            check(&[x, w], |t| linear(&t[0], &t[1], None), |v| reference(v, [rows, i, o]));
        }
    }

    #[test]
    fn an_input_of_the_network_gets_no_gradient() -> Result<()> {
        let device = candle_core::Device::Cpu;
        let x = Tensor::from_vec(random(6, 1), (2, 3), &device)?;
        let w = candle_core::Var::from_vec(random(12, 2), (3, 4), &device)?;
        let grads = linear(&x, &w, None)?.sum_all()?.backward()?;
        assert!(grads.get(&x).is_none() && grads.get(&w).is_some());
        Ok(())
    }

    #[test]
    fn shapes_that_disagree_are_refused() -> Result<()> {
        let device = candle_core::Device::Cpu;
        let x = Tensor::from_vec(random(6, 1), (2, 3), &device)?;
        let w = Tensor::from_vec(random(8, 2), (4, 2), &device)?;
        assert!(linear(&x, &w, None).is_err());
        Ok(())
    }
}
