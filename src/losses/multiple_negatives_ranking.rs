//! Multiple negatives ranking: among all questions of the batch each question must find its own duplicate.
//!
//! With queries q (first column), documents d (second column, then hard negatives), `s(x, y) = scale · cos(x, y)`:
//! `L = mean_i(−s(qᵢ, dᵢ) + log Z_i)`, where `Z_i` sums `exp s` over what the chosen directions compare:
//!
//! | direction | compared |
//! |---|---|
//! | query to doc (always) | qᵢ with every document, hard negatives of all examples included |
//! | doc to query | dᵢ with every query |
//! | query to query | qᵢ with every other query |
//! | doc to doc | dᵢ with every document of another example |
//!
//! [`Partition::Joint`] has one softmax over all of them; [`Partition::PerDirection`] one for each, their log Z
//! averaged (the symmetric form: query to doc and doc to query). Hardness adds `strength · cos` without gradient to the
//! logits of negatives, so that hard ones weigh more (Lan et al. 2025, arXiv:2503.04812, eq. 5).
//!
//! - Outputs: `[C·B, D]` vectors, C ≥ 2. Only examples of label 1 are ranked: those of label 0 are left out.
//! - Requirements: duplicates. No two examples of a batch may be from one cluster of duplicates, or a true duplicate is
//!   pushed away as a negative. The trainer makes such batches.
//! - Source: Henderson et al. 2017 (arXiv:1705.00652), van den Oord et al. 2018 (arXiv:1807.03748); sentence-transformers
//!   6.2 `MultipleNegativesRankingLoss`.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::losses::columns::{column, columns};
use crate::losses::similarity::{cosine, cosine_matrix};
use crate::losses::targets::Targets;

/// A logit so low that it does not change a softmax.
const NEVER: f64 = -1e9;

/// How scores are normalised when there is more than one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    Joint,
    PerDirection,
}

/// Which negatives are weighted by their hardness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Hardness {
    /// Documents of other examples
    InBatch,
    /// The example's own hard negatives
    HardNegatives,
    /// Both
    All,
}

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    pub scale: f64,
    pub doc_to_query: bool,
    pub query_to_query: bool,
    pub doc_to_doc: bool,
    pub partition: Partition,
    /// Which negatives, and how strongly.
    pub hardness: Option<(Hardness, f64)>,
}

impl Default for Ranking {
    fn default() -> Self {
        let partition = Partition::Joint;
        Self { scale: 20.0, doc_to_query: false, query_to_query: false, doc_to_doc: false, partition, hardness: None }
    }
}

/// Scalar `[1]`; zero for a batch without duplicates.
pub fn loss(outputs: &Tensor<2>, targets: &Targets, ranking: &Ranking) -> Tensor<1> {
    let (examples, device) = (targets.len(), outputs.device());
    let ranked: Vec<i32> = (0..examples as i32).filter(|&i| targets.labels[i as usize] > 0.5).collect();
    let rows = ranked.len();
    if rows == 0 {
        return outputs.clone().sum() * 0.0;
    }
    let ranked: Tensor<1, Int> = Tensor::from_data(TensorData::new(ranked, [rows]), &device);
    let of = |at: usize| column(outputs, at, examples).select(0, ranked.clone());
    let (queries, positives) = (of(0), of(1));
    let documents: Vec<Tensor<2>> = (1..columns(outputs, examples)).map(of).collect();
    let per_query = documents.len();
    let documents = Tensor::cat(documents, 0);
    let own = |per_row: usize| own_mask(rows, per_row, &device);

    let cosines = cosine_matrix(queries.clone(), documents.clone());
    let mut scores = cosines.clone() * ranking.scale;
    if let Some((which, strength)) = ranking.hardness {
        let excluded = hardness_excluded(which, rows, per_query, &device);
        scores = scores + cosines.detach().mask_fill(excluded, 0.0) * strength;
    }
    let mut directions = vec![scores];
    if ranking.query_to_query {
        let among = cosine_matrix(queries.clone(), queries.clone()) * ranking.scale;
        directions.push(among.mask_fill(own(1), NEVER));
    }
    if ranking.doc_to_query {
        directions.push(cosine_matrix(positives.clone(), queries.clone()) * ranking.scale);
    }
    if ranking.doc_to_doc {
        let among = cosine_matrix(positives.clone(), documents) * ranking.scale;
        directions.push(among.mask_fill(own(per_query), NEVER));
    }
    let log_z = match ranking.partition {
        Partition::Joint => log_sum_exp(Tensor::cat(directions, 1)),
        Partition::PerDirection => {
            let count = directions.len() as f64;
            let sum = directions.into_iter().map(log_sum_exp).reduce(|a, b| a + b);
            sum.map_or_else(|| Tensor::zeros([rows], &device), |sum| sum / count)
        }
    };
    (log_z - cosine(queries, positives) * ranking.scale).mean()
}

/// `[B, K] → [B]`.
fn log_sum_exp(scores: Tensor<2>) -> Tensor<1> {
    let [rows, _] = scores.dims();
    let most = scores.clone().detach().max_dim(1);
    let sum = (scores - most.clone()).exp().sum_dim(1).log();
    (sum + most).reshape([rows])
}

/// `[B, B·K]`, true where column block k of a row is the row's own document.
fn own_mask(rows: usize, per_row: usize, device: &Device) -> Tensor<2, Bool> {
    mask(rows, per_row, device, |row, column| column % rows == row)
}

fn hardness_excluded(which: Hardness, rows: usize, per_row: usize, device: &Device) -> Tensor<2, Bool> {
    mask(rows, per_row, device, |row, column| {
        let (own, positive) = (column % rows == row, column < rows);
        match which {
            Hardness::InBatch => own,
            Hardness::HardNegatives => !own || positive,
            Hardness::All => own && positive,
        }
    })
}

fn mask(rows: usize, per_row: usize, device: &Device, holds: impl Fn(usize, usize) -> bool) -> Tensor<2, Bool> {
    let width = rows * per_row;
    let values: Vec<bool> = (0..rows * width).map(|at| holds(at / width, at % width)).collect();
    Tensor::from_data(TensorData::new(values, [rows, width]), device)
}
