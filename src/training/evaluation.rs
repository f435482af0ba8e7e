//! How good a network is on the dev pairs: scores, figures, and the calibration that goes into `dupmine.json`.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::calibration::choose::ScoreKind;
use crate::calibration::fitted::{FitInput, Goal, KEPT_BY_MIN_COSINE, highest_floor, rounded_down};
use crate::calibration::sigmoid;
use crate::device::Devices;
use crate::executor::batch;
use crate::executor::replicas::Replicas;
use crate::metrics::bootstrap::Clusters;
use crate::metrics::ranking::Ranking;
use crate::mining::score_pairs::QuestionPairs;
use crate::models::checkpoint::calibration::{Calibration, CosineCalibration};
use crate::models::checkpoint::kind::Kind;
use crate::progress::Progress;
use crate::tables::labelled_pairs::LabelledPair;
use crate::text::tokenizer::{TokenizedPair, Tokenizer};
use crate::training::network::{Item, Network};

/// If 90 % of the scores are within this distance, the model gives every pair the same score.
const COLLAPSED_BAND: f64 = 0.05;

/// What decides which checkpoint is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    AveragePrecision,
    F1,
    Accuracy,
    RocAuc,
}

/// Figures of one evaluation. Scores are cosines or probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    pub average_precision: f64,
    pub f1: f64,
    /// Score from which a pair is a duplicate for the best F1.
    pub threshold: f64,
    pub accuracy: f64,
    pub roc_auc: f64,
    /// Between the 5th and the 95th percentile of the scores.
    pub band: f64,
}

impl Figures {
    pub fn get(&self, metric: Metric) -> f64 {
        match metric {
            Metric::AveragePrecision => self.average_precision,
            Metric::F1 => self.f1,
            Metric::Accuracy => self.accuracy,
            Metric::RocAuc => self.roc_auc,
        }
    }

    /// In words.
    pub fn describe(&self) -> String {
        format!(
            "dev average precision {:.4}, F1 {:.4} at {:.3}, accuracy {:.4}",
            self.average_precision, self.f1, self.threshold, self.accuracy
        )
    }

    /// Whether the model gives nearly every pair the same score.
    pub fn is_collapsed(&self) -> bool {
        self.band < COLLAPSED_BAND
    }

    fn new(labels: &[bool], scores: &[f64]) -> Result<Self> {
        ensure!(scores.iter().all(|score| score.is_finite()), "the model gives dev pairs scores that are not numbers");
        let one_class = "the dev pairs are all of one label: nothing can be measured on them";
        let figures = Ranking::new(labels, scores).figures();
        let best = figures.best_f1.context(one_class)?;
        let mut sorted = scores.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Ok(Self {
            average_precision: figures.average_precision.context(one_class)?,
            f1: best.f1,
            threshold: best.threshold,
            accuracy: figures.best_accuracy.context(one_class)?.accuracy,
            roc_auc: figures.roc_auc.context(one_class)?,
            band: quantile(0.95) - quantile(0.05),
        })
    }
}

/// Dev pairs as token ids.
pub struct DevSet {
    kind: Kind,
    labels: Vec<bool>,
    items: Vec<Item>,
    /// Of a bi-encoder: the items of each pair. Of models that read pairs: the pair in both orders.
    pairs: Vec<(u32, u32)>,
    /// Pairs with a text without a word that the bi-encoder's vocabulary knows: their cosine is 0, as in runs.
    unknown: Vec<bool>,
    /// Clusters of pairs that share questions.
    clusters: Clusters,
    /// Most tokens of a sequence that the model takes.
    limit: usize,
    /// The devices of the training: dev figures are computed where it trains.
    devices: Devices,
}

impl DevSet {
    /// Tokenizes the natural pairs: added ones would shift the share of duplicates.
    pub fn new(pairs: &[LabelledPair], kind: Kind, tokenizer: &Tokenizer, devices: &Devices) -> Result<Self> {
        let natural: Vec<&LabelledPair> = pairs.iter().filter(|pair| pair.natural).collect();
        ensure!(!natural.is_empty(), "no natural pair to measure on");
        let labels: Vec<bool> = natural.iter().map(|pair| pair.is_duplicate).collect();
        let questions = QuestionPairs::new(natural.iter().map(|pair| (&*pair.question1, &*pair.question2)));
        let clusters = questions.clusters();
        let in_both_orders = questions.pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        let tokenize = || tokenizer.tokenize(&questions.texts.iter().collect::<Vec<_>>());
        let mut unknown = Vec::new();
        let items: Vec<Item> = match kind {
            Kind::Bi => {
                let tokens = tokenize()?;
                let knows = |text: u32| tokens.unknown.binary_search(&text).is_err();
                unknown = questions.pairs.iter().map(|&(a, b)| !knows(a) || !knows(b)).collect();
                (0..questions.texts.len()).map(|text| Item::of_text(tokens.ids(text))).collect()
            }
            Kind::Cross => {
                let text = |number: u32| questions.texts.get(number as usize);
                let pairs: Vec<(&str, &str)> = in_both_orders.map(|(a, b)| (text(a), text(b))).collect();
                let item = |pair: TokenizedPair| Item { ids: pair.ids, type_ids: pair.type_ids, second: Vec::new() };
                tokenizer.tokenize_pairs(&pairs)?.into_iter().map(item).collect()
            }
            Kind::Siamese => {
                let tokens = tokenize()?;
                let ids = |text: u32| tokens.ids(text as usize).to_vec();
                in_both_orders.map(|(a, b)| Item { ids: ids(a), type_ids: Vec::new(), second: ids(b) }).collect()
            }
        };
        let pairs = match kind {
            Kind::Bi => questions.pairs,
            Kind::Cross | Kind::Siamese => (0..labels.len() as u32).map(|pair| (2 * pair, 2 * pair + 1)).collect(),
        };
        Ok(Self {
            kind,
            labels,
            items,
            pairs,
            unknown,
            clusters,
            limit: tokenizer.max_tokens(),
            devices: devices.clone(),
        })
    }

    /// Pairs measured on.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Figures of a network without autodiff. A cross-encoder reads one order alone, as in most published figures.
    pub fn evaluate(&self, network: &Network, progress: &Progress) -> Result<Figures> {
        let scores = self.scores(network, false, progress)?;
        Figures::new(&self.labels, &self.shown(&scores))
    }

    /// The calibration for runs of the finished model, fitted to the scores that mining would have: for a cross-encoder the
    /// mean logit of both orders. A siamese classifier decides by its own probability.
    pub fn calibrate(&self, network: &Network, seed: u64, progress: &Progress) -> Result<Calibration> {
        let scores = self.scores(network, true, progress)?;
        let labelled = FitInput { labels: &self.labels, clusters: &self.clusters, goal: Goal::default(), seed };
        let fitted = match self.kind {
            Kind::Bi => labelled.fit(&scores, ScoreKind::Cosine).ok(),
            Kind::Cross => labelled.fit(&scores, ScoreKind::LogOdds).ok(),
            Kind::Siamese => None,
        };
        // even a handful of pairs has a best threshold
        let (threshold, goal) = match &fitted {
            Some(fitted) => (fitted.threshold, "best expected F1"),
            None => (rounded_down(Figures::new(&self.labels, &self.shown(&scores))?.threshold), "labels' best F1"),
        };
        let measured_on = Some(format!("{} dev pairs; threshold of the {goal}", self.len()));
        if self.kind != Kind::Bi {
            let calibrator = fitted.map(|fitted| fitted.choice.calibrator);
            let probability_threshold = Some(threshold);
            return Ok(Calibration { probability_threshold, calibrator, measured_on, ..Calibration::default() });
        }
        let both = scores.iter().zip(&self.labels);
        let duplicates = both.filter(|(_, label)| **label).map(|(score, _)| *score).collect();
        let cosine =
            Some(CosineCalibration { threshold, floor: highest_floor(duplicates, KEPT_BY_MIN_COSINE, threshold) });
        Ok(Calibration { cosine, measured_on, ..Calibration::default() })
    }

    /// Scores as figures show them: cosines and probabilities.
    fn shown(&self, scores: &[f64]) -> Vec<f64> {
        match self.kind {
            Kind::Bi => scores.to_vec(),
            Kind::Cross | Kind::Siamese => scores.iter().map(|&score| sigmoid(score)).collect(),
        }
    }

    /// Cosines, or the log-odds of duplicates.
    fn scores(&self, network: &Network, both_orders: bool, progress: &Progress) -> Result<Vec<f64>> {
        let reads_pairs = self.kind != Kind::Bi;
        let wanted: Vec<u32> =
            (0..self.items.len() as u32).step_by(if reads_pairs && !both_orders { 2 } else { 1 }).collect();
        let outputs = self.outputs(network, &wanted, progress)?;
        let row = |item: u32| outputs[item as usize].as_slice();
        let is_unknown = |pair: usize| self.unknown.get(pair).copied().unwrap_or(false);
        let score = |(pair, &(a, b)): (usize, &(u32, u32))| match (self.kind, both_orders) {
            (Kind::Cross, true) => f64::from(row(a)[0] + row(b)[0]) / 2.0,
            (Kind::Cross, false) => f64::from(row(a)[0]),
            // of two log-probabilities; the classifier is used in one order
            (Kind::Siamese, _) => f64::from(row(a)[1]) - f64::from(row(a)[0]),
            (Kind::Bi, _) if is_unknown(pair) => 0.0,
            (Kind::Bi, _) => cosine(row(a), row(b)),
        };
        Ok(self.pairs.iter().enumerate().map(score).collect())
    }

    /// The network's output for each of the `wanted` items, at the item's place; empty for the others.
    fn outputs(&self, network: &Network, wanted: &[u32], progress: &Progress) -> Result<Vec<Vec<f32>>> {
        let models = Replicas::of(network.clone().for_inference(), &self.devices);
        let longest = |&item: &u32| self.items[item as usize].longest() as u32;
        let plan = batch::plan(&wanted.iter().map(longest).collect::<Vec<_>>(), models.tuning.batch);
        let items_of =
            |batch: usize| plan.order[plan.batches[batch].clone()].iter().map(|&at| wanted[at as usize] as usize);
        let mut outputs = vec![Vec::new(); self.items.len()];
        models.run(
            plan.batches.len(),
            |batch| {
                let items: Vec<&Item> = items_of(batch).map(|item| &self.items[item]).collect();
                network.padded_batches(&items, models.tuning.batch, self.limit)
            },
            |network, batches| network.of_batches(batches),
            |_, _, computed| {
                let width = computed.dims()[1];
                let data = computed.try_into_data().context("the device failed")?;
                Ok((width, data.try_into_vec::<f32>().context("outputs are not f32")?))
            },
            |batch, (width, computed)| {
                // rows that only fill a batch's shape come last, and belong to no item
                for (item, row) in items_of(batch).zip(computed.chunks_exact(width)) {
                    outputs[item] = row.to_vec();
                }
                progress.check()
            },
        )?;
        Ok(outputs)
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-24)
}
