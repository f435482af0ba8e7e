//! `metrics.parquet` of a training: figures of every step and every evaluation.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray, UInt64Array};

use crate::tables::write::{Column, write};

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingFigure {
    /// Finished steps.
    pub step: u64,
    /// `train` or `dev`.
    pub part: &'static str,
    pub metric: &'static str,
    pub value: f64,
}

/// Writes figures in their order.
pub fn write_figures(path: &Path, figures: &[TrainingFigure]) -> Result<()> {
    let steps = UInt64Array::from_iter_values(figures.iter().map(|figure| figure.step));
    let texts = |of: fn(&TrainingFigure) -> &str| StringArray::from_iter_values(figures.iter().map(of));
    let values = Float64Array::from_iter_values(figures.iter().map(|figure| figure.value));
    let columns = vec![
        Column::new("step", Arc::new(steps), "steps", "steps finished when it was measured"),
        Column::new(
            "part",
            Arc::new(texts(|figure| figure.part)),
            "",
            "train: of that step's batch; dev: of the dev pairs",
        ),
        Column::new("metric", Arc::new(texts(|figure| figure.metric)), "", "what was measured"),
        Column::new("value", Arc::new(values), "", "its value"),
    ];
    write(path, columns)
}
