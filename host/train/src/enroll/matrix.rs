//! Small square matrices in `f64`, row by row.

/// Square matrix.
#[derive(Clone, Debug)]
pub struct Matrix {
    size: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// Creates a matrix of zeros.
    pub fn zeros(size: usize) -> Self {
        Self { size, values: vec![0.0; size * size] }
    }

    /// Creates a matrix from a function of row and column.
    pub fn of(size: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..size * size).map(|i| value(i / size, i % size)).collect();
        Self { size, values }
    }

    /// Number of rows.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the value at row `i` and column `j`.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.size + j]
    }

    /// Sets the value at row `i` and column `j`.
    pub fn set(&mut self, i: usize, j: usize, value: f64) {
        self.values[i * self.size + j] = value;
    }

    /// Returns row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.size..][..self.size]
    }

    /// Returns row `i`.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.size..][..self.size]
    }

    /// Returns the sum of the diagonal.
    pub fn trace(&self) -> f64 {
        (0..self.size).map(|i| self.at(i, i)).sum()
    }

    /// Returns the product with a matrix of the same size.
    pub fn times(&self, other: &Self) -> Self {
        Self::of(self.size, |i, j| (0..self.size).map(|l| self.at(i, l) * other.at(l, j)).sum())
    }

    /// Solves `self · x = b` for each `b` of `right`, where `self` is symmetric and positive
    /// definite, by Cholesky factors (Golub and Van Loan, Matrix Computations, 4.2).
    pub fn solve(mut self, mut right: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let n = self.size;
        for j in 0..n {
            for i in j..n {
                let sum: f64 = (0..j).map(|l| self.at(i, l) * self.at(j, l)).sum();
                let value = self.at(i, j) - sum;
                let value = if i == j {
                    value.max(f64::MIN_POSITIVE).sqrt()
                } else {
                    value / self.at(j, j)
                };
                self.set(i, j, value);
            }
        }
        for b in &mut right {
            for i in 0..n {
                let sum: f64 = (0..i).map(|l| self.at(i, l) * b[l]).sum();
                b[i] = (b[i] - sum) / self.at(i, i);
            }
            for i in (0..n).rev() {
                let sum: f64 = (i + 1..n).map(|l| self.at(l, i) * b[l]).sum();
                b[i] = (b[i] - sum) / self.at(i, i);
            }
        }
        right
    }
}

/// Returns the eigenvalues and eigenvectors (in columns) of a symmetric matrix, by Jacobi rotations
/// (Golub and Van Loan, Matrix Computations, 8.5).
pub fn eigen(mut a: Matrix) -> (Vec<f64>, Matrix) {
    const SWEEPS: usize = 12;
    let n = a.size;
    let mut vectors = Matrix::of(n, |i, j| if i == j { 1.0 } else { 0.0 });
    for _ in 0..SWEEPS {
        for p in 0..n {
            for q in p + 1..n {
                let off = a.at(p, q);
                if off.abs() < 1e-14 {
                    continue;
                }
                let theta = (a.at(q, q) - a.at(p, p)) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a.at(k, p), a.at(k, q));
                    a.set(k, p, c * x - s * y);
                    a.set(k, q, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a.at(p, k), a.at(q, k));
                    a.set(p, k, c * x - s * y);
                    a.set(q, k, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (vectors.at(k, p), vectors.at(k, q));
                    vectors.set(k, p, c * x - s * y);
                    vectors.set(k, q, s * x + c * y);
                }
            }
        }
    }
    ((0..n).map(|i| a.at(i, i)).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        Matrix { size: 3, values: vec![4.0, 1.0, 0.5, 1.0, 3.0, 0.25, 0.5, 0.25, 1.0] }
    }

    #[test]
    fn eigenvectors_are_those_of_the_matrix() {
        let (values, vectors) = eigen(matrix());
        for (k, value) in values.iter().enumerate() {
            for i in 0..3 {
                let product: f64 = (0..3).map(|j| matrix().at(i, j) * vectors.at(j, k)).sum();
                assert!((product - value * vectors.at(i, k)).abs() < 1e-9);
            }
        }
        assert!((values.iter().sum::<f64>() - 8.0).abs() < 1e-9);
    }

    #[test]
    fn solutions_solve_the_equations() {
        let right = vec![vec![1.0, -2.0, 3.0], vec![0.0, 5.0, 0.5]];
        for (x, b) in matrix().solve(right.clone()).iter().zip(&right) {
            for (i, expected) in b.iter().enumerate() {
                let product: f64 = (0..3).map(|j| matrix().at(i, j) * x[j]).sum();
                assert!((product - expected).abs() < 1e-12);
            }
        }
    }
}
