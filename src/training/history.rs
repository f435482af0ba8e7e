//! What a training has shown so far: kept in checkpoints, written as metrics.parquet, drawn as curves.

use crate::tables::training_metrics::TrainingFigure;
use crate::training::evaluation::{Figures, Metric};
use crate::training::step::StepFigures;

/// Every step in order, and every evaluation with the number of steps finished before it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    pub steps: Vec<StepFigures>,
    pub evaluations: Vec<(u64, Figures)>,
}

impl History {
    /// The first of the best evaluations.
    pub fn best(&self, metric: Metric) -> Option<(u64, Figures)> {
        let better = |best: Option<(u64, Figures)>, &(step, figures): &(u64, Figures)| match best {
            Some((_, best)) if figures.get(metric) <= best.get(metric) => None,
            _ => Some((step, figures)),
        };
        self.evaluations.iter().fold(None, |best, evaluation| better(best, evaluation).or(best))
    }

    /// Evaluations since the best one.
    pub fn evaluations_since_best(&self, metric: Metric) -> usize {
        let best = self.best(metric).map_or(0, |(step, _)| step);
        self.evaluations.iter().filter(|(step, _)| *step > best).count()
    }

    /// Rows of metrics.parquet.
    pub fn figures(&self) -> Vec<TrainingFigure> {
        let train = self.steps.iter().zip(1..).flat_map(|(figures, step)| {
            [("loss", figures.loss), ("learning_rate", figures.rate), ("gradient_norm", figures.norm)]
                .map(|(metric, value)| TrainingFigure { step, part: "train", metric, value })
        });
        let dev = self.evaluations.iter().flat_map(|&(step, figures)| {
            named(&figures).map(|(metric, value)| TrainingFigure { step, part: "dev", metric, value })
        });
        train.chain(dev).collect()
    }

    /// As numbers, row after row: `[steps, 3]` and `[evaluations, 7]`.
    pub fn to_rows(&self) -> (Vec<f64>, Vec<f64>) {
        let steps = self.steps.iter().flat_map(|figures| [figures.loss, figures.rate, figures.norm]).collect();
        let evaluation = |&(step, figures): &(u64, Figures)| {
            std::iter::once(step as f64).chain(named(&figures).map(|(_, value)| value)).collect::<Vec<_>>()
        };
        (steps, self.evaluations.iter().flat_map(evaluation).collect())
    }

    /// From [`History::to_rows`].
    pub fn from_rows(steps: &[f64], evaluations: &[f64]) -> Self {
        let step = |row: &[f64]| StepFigures { loss: row[0], rate: row[1], norm: row[2] };
        let evaluation = |row: &[f64]| {
            let [average_precision, f1, threshold, accuracy, roc_auc, band] = [1, 2, 3, 4, 5, 6].map(|at| row[at]);
            (row[0] as u64, Figures { average_precision, f1, threshold, accuracy, roc_auc, band })
        };
        Self {
            steps: steps.chunks_exact(3).map(step).collect(),
            evaluations: evaluations.chunks_exact(7).map(evaluation).collect(),
        }
    }
}

fn named(figures: &Figures) -> [(&'static str, f64); 6] {
    [
        ("average_precision", figures.average_precision),
        ("f1", figures.f1),
        ("threshold", figures.threshold),
        ("accuracy", figures.accuracy),
        ("roc_auc", figures.roc_auc),
        ("band", figures.band),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_everything_and_the_first_best_counts() {
        let figures = |ap: f64| Figures { average_precision: ap, f1: 0.1 + ap / 3.0, ..Figures::default() };
        let history = History {
            steps: vec![StepFigures { loss: 0.1 + 0.2, rate: 1e-5, norm: 7.0 }; 3],
            evaluations: vec![(0, figures(0.5)), (10, figures(0.7)), (20, figures(0.7)), (30, figures(0.6))],
        };
        let (steps, evaluations) = history.to_rows();
        assert_eq!(History::from_rows(&steps, &evaluations), history);
        assert_eq!(history.best(Metric::AveragePrecision).unwrap().0, 10);
        assert_eq!(history.evaluations_since_best(Metric::AveragePrecision), 2);
        assert_eq!(history.figures().len(), 9 + 24);
    }
}
