//! Gradients of every parameter, in the order in which a module visits them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Gradients as Tape, Tensor};
use rayon::prelude::*;

use crate::training::network::TOKEN_TABLE;

/// One parameter's gradient.
#[derive(Debug, Clone, PartialEq)]
pub enum Gradient {
    /// The loss does not depend on it.
    None,
    /// Row-major, of the parameter's shape.
    Dense(Vec<f32>),
    /// Of a table of which few rows were used: `values` holds the gradient of row `rows[i]` at `i`, others are 0.
    Rows { rows: Vec<u32>, values: Vec<f32> },
}

impl Gradient {
    fn values(&self) -> &[f32] {
        match self {
            Self::None => &[],
            Self::Dense(values) | Self::Rows { values, .. } => values,
        }
    }

    fn values_mut(&mut self) -> &mut [f32] {
        match self {
            Self::None => &mut [],
            Self::Dense(values) | Self::Rows { values, .. } => values,
        }
    }
}

/// Reads what a backward pass left for each parameter of a module.
pub fn collect<M: Module>(module: &M, tape: &Tape) -> Vec<Gradient> {
    let mut collector = Collector { tape, gradients: Vec::new() };
    module.visit(&mut collector);
    collector.gradients
}

struct Collector<'a> {
    tape: &'a Tape,
    gradients: Vec<Gradient>,
}

impl ModuleVisitor for Collector<'_> {
    #[expect(clippy::expect_used, reason = "cast to f32 on the same line")]
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.tape).map_or(Gradient::None, |gradient| {
            Gradient::Dense(
                gradient.cast(FloatDType::F32).into_data().try_into_vec().expect("gradients are read as f32"),
            )
        });
        self.gradients.push(gradient);
    }
}

/// `total ← total + part` for every parameter; an empty `total` holds nothing yet. Callers add in a fixed order, so that the
/// sum does not depend on which part was done first.
pub fn accumulate(total: &mut Vec<Gradient>, part: Vec<Gradient>) {
    if total.is_empty() {
        *total = part;
        return;
    }
    total.par_iter_mut().zip(part).for_each(|(total, part)| add(total, part));
}

/// `total ← total + part`. Token tables of two batches may have used different rows.
pub fn add(total: &mut Gradient, part: Gradient) {
    match (&mut *total, &part) {
        (Gradient::None, _) => *total = part,
        (Gradient::Rows { .. }, Gradient::Rows { .. }) => *total = joined(total, &part),
        _ => total.values_mut().iter_mut().zip(part.values()).for_each(|(total, part)| *total += part),
    }
}

/// Multiplies every gradient.
pub fn scale(gradients: &mut [Gradient], factor: f32) {
    gradients.par_iter_mut().for_each(|gradient| gradient.values_mut().iter_mut().for_each(|g| *g *= factor));
}

/// The sum of two sparse gradients.
fn joined(one: &Gradient, other: &Gradient) -> Gradient {
    let mut by_row: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
    for gradient in [one, other] {
        let Gradient::Rows { rows, values } = gradient else { continue };
        for (&row, values) in rows.iter().zip(values.chunks_exact(values.len() / rows.len().max(1))) {
            match by_row.entry(row) {
                Entry::Vacant(empty) => {
                    empty.insert(values.to_vec());
                }
                Entry::Occupied(mut sum) => sum.get_mut().iter_mut().zip(values).for_each(|(sum, v)| *sum += v),
            }
        }
    }
    Gradient::Rows { rows: by_row.keys().copied().collect(), values: by_row.into_values().flatten().collect() }
}

/// Marks the gradient of the cut-down token table as that of `rows` of the whole one.
pub fn of_token_rows<M: Module>(module: &M, gradients: &mut [Gradient], rows: Vec<u32>) {
    let table = names(module).iter().position(|name| name.ends_with(TOKEN_TABLE));
    if let Some(gradient) = table.and_then(|at| gradients.get_mut(at))
        && let Gradient::Dense(values) = gradient
    {
        *gradient = Gradient::Rows { rows, values: std::mem::take(values) };
    }
}

/// Paths of all parameters, in the order in which the module visits them.
pub fn names<M: Module>(module: &M) -> Vec<String> {
    let mut names = Names::default();
    module.visit(&mut names);
    names.found
}

#[derive(Default)]
struct Names {
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        self.found.push(self.path.join("."));
    }
}

/// Euclidean norm over all parameters.
pub fn norm(gradients: &[Gradient]) -> f64 {
    let squares = |gradient: &Gradient| gradient.values().iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
    gradients.par_iter().map(squares).collect::<Vec<f64>>().iter().sum::<f64>().sqrt()
}

/// torch's `clip_grad_norm_`: scales all by `max_norm / (norm + 1e-6)` where that is below 1.
pub fn clip(gradients: &mut [Gradient], norm: f64, max_norm: f64) {
    let factor = (max_norm / (norm + 1e-6)) as f32;
    if factor < 1.0 {
        scale(gradients, factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_in_order_and_clips_to_the_norm() {
        let part = |x: f32| vec![Gradient::None, Gradient::Dense(vec![x, 0.0]), Gradient::Dense(vec![2.0 * x])];
        let mut total = Vec::new();
        [1.0, 2.0].into_iter().for_each(|x| accumulate(&mut total, part(x)));
        assert_eq!(total[1..], [Gradient::Dense(vec![3.0, 0.0]), Gradient::Dense(vec![6.0])]);
        let before = norm(&total);
        assert!((before - 45.0f64.sqrt()).abs() < 1e-6);
        clip(&mut total, before, 1.0);
        assert!((norm(&total) - 1.0).abs() < 1e-5);
        clip(&mut total, 1.0, 5.0);
        assert!((norm(&total) - 1.0).abs() < 1e-5, "a small gradient stays as it is");
    }

    #[test]
    fn rows_of_two_batches_are_joined() {
        let rows = |rows: [u32; 2], values: [f32; 4]| vec![Gradient::Rows { rows: rows.into(), values: values.into() }];
        let mut total = rows([1, 7], [1.0, 2.0, 3.0, 4.0]);
        accumulate(&mut total, rows([3, 7], [10.0, 20.0, 30.0, 40.0]));
        scale(&mut total, 0.5);
        let values = vec![0.5, 1.0, 5.0, 10.0, 16.5, 22.0];
        assert_eq!(total, [Gradient::Rows { rows: vec![1, 3, 7], values }]);
    }
}
