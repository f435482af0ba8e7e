//! One pair of a run.

use serde::Serialize;
use serde_json::Value;

use crate::run::reader::FinishedRun;
use crate::run::schema::PairRow;
use crate::view::named::id;

/// A pair for JSON: the columns of `pairs.parquet`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairView {
    pub id_a: Value,
    pub id_b: Value,
    pub cosine: f32,
    pub score_ab: Option<f32>,
    pub score_ba: Option<f32>,
    pub probability: Option<f32>,
    pub is_duplicate: Option<bool>,
    pub kind: &'static str,
}

impl PairView {
    pub fn new(run: &FinishedRun, pair: &PairRow) -> Self {
        Self {
            id_a: id(run, pair.a),
            id_b: id(run, pair.b),
            cosine: pair.cosine,
            score_ab: pair.logit_ab,
            score_ba: pair.logit_ba,
            probability: pair.probability,
            is_duplicate: pair.is_duplicate,
            kind: pair.kind.name(),
        }
    }
}

/// The decision in one word.
pub fn verdict(is_duplicate: Option<bool>) -> &'static str {
    match is_duplicate {
        Some(true) => "duplicate",
        Some(false) => "different",
        None => "undecided",
    }
}

/// A probability, a cosine or a logit for a table.
pub fn score(value: Option<f32>) -> String {
    value.map_or("–".into(), |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_scores_and_open_decisions_have_a_sign_of_their_own() {
        assert_eq!([score(None), score(Some(0.5))], ["–", "0.5000"]);
        assert_eq!([Some(true), Some(false), None].map(verdict), ["duplicate", "different", "undecided"]);
    }
}
