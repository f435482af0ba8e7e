//! Products of matrices that lie in plain slices, on one thread.
//!
//! Burn's product makes a tensor: a buffer set to zero and written over, copied to be aligned, and copied once more to
//! become a slice. The `gemm` below Burn's CPU backend writes straight to where the product is wanted, or adds to what
//! is there; half of the products of a gradient are sums. It takes raw pointers: this file is the only one with
//! `unsafe`, and its functions check all that the calls rely on.

use gemm::{Parallelism, gemm};

/// Rows of numbers, as they lie in memory or transposed.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` numbers one after another.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "{} numbers in rows of {columns}", values.len());
        Self { values, rows: values.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same numbers with rows as columns.
    pub fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `a b`, row by row.
pub fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let numbers = a.rows * b.columns;
    let mut out = Vec::with_capacity(numbers);
    // SAFETY: `out` has room for `numbers` numbers, and all of them are written before they count as there
    unsafe {
        write(a, b, out.as_mut_ptr(), false);
        out.set_len(numbers);
    }
    out
}

/// `total ← total + a b`.
pub fn add_product(total: &mut [f32], a: Matrix, b: Matrix) {
    assert_eq!(total.len(), a.rows * b.columns, "the total has the shape of the product");
    // SAFETY: `total` holds as many numbers as the product, and nobody else sees it
    unsafe { write(a, b, total.as_mut_ptr(), true) }
}

/// `out ← a b`, or `out ← out + a b`.
///
/// # Safety
///
/// `out` is valid for writing `a.rows · b.columns` numbers, and for reading them where it `adds`.
unsafe fn write(a: Matrix, b: Matrix, out: *mut f32, adds: bool) {
    assert_eq!(a.columns, b.rows, "factors of a product");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let stride = |stride: usize| stride as isize;
    // SAFETY: `Matrix::new` has checked that rows · columns numbers are there, and strides come from them alone; the
    // caller answers for `out`, which is written whole, even where k is 0
    unsafe {
        gemm(
            m,
            n,
            k,
            out,
            1,
            stride(n),
            adds,
            a.values.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.values.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whole numbers, so that any order of addition gives the same sum.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 7 + seed) * 31 % 19) as f32 - 9.0).collect()
    }

    /// The factor itself, row by row, and how it is handed over.
    fn at(matrix: &[f32], [rows, columns]: [usize; 2], transposed: bool, row: usize, column: usize) -> f32 {
        if transposed { matrix[column * rows + row] } else { matrix[row * columns + column] }
    }

    proptest! {
        #[test]
        fn equals_the_sum_it_stands_for(
            (m, n, k) in (1usize..70, 1usize..70, 1usize..70), transposed in any::<[bool; 2]>(), seed in 0usize..99,
        ) {
            let (a, b, before) = (numbers(m * k, seed), numbers(k * n, seed + 1), numbers(m * n, seed + 2));
            let as_told = |values, [rows, columns]: [usize; 2], transposed| match transposed {
                true => Matrix::new(values, rows).transposed(),
                false => Matrix::new(values, columns),
            };
            let (left, right) = (as_told(&a, [m, k], transposed[0]), as_told(&b, [k, n], transposed[1]));
            let expected: Vec<f32> = (0..m * n)
                .map(|cell| {
                    let (row, column) = (cell / n, cell % n);
                    let term = |inner| {
                        at(&a, [m, k], transposed[0], row, inner) * at(&b, [k, n], transposed[1], inner, column)
                    };
                    (0..k).map(term).sum()
                })
                .collect();
            prop_assert_eq!(&product(left, right), &expected);
            let mut total = before.clone();
            add_product(&mut total, left, right);
            let sum: Vec<f32> = before.iter().zip(&expected).map(|(before, product)| before + product).collect();
            prop_assert_eq!(total, sum);
        }
    }

    #[test]
    fn factors_without_inner_numbers_give_zeros_and_none_that_do_not_fit_are_taken() {
        let (two, none) = ([1.0, 2.0], []);
        assert_eq!(product(Matrix::new(&none, 2).transposed(), Matrix::new(&none, 1)), [0.0, 0.0]);
        assert!(std::panic::catch_unwind(|| product(Matrix::new(&two, 2), Matrix::new(&two, 2))).is_err());
        assert!(std::panic::catch_unwind(|| Matrix::new(&two, 3)).is_err());
        let into_one = || add_product(&mut [0.0], Matrix::new(&two, 1), Matrix::new(&two, 2));
        assert!(std::panic::catch_unwind(into_one).is_err());
    }
}
