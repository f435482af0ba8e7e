//! A weighted sum of losses over the same outputs, written `contrastive` or `contrastive=1,ranking=0.5`.
//!
//! Several losses make multi-task training: contrastive losses teach the border between duplicates and other pairs,
//! ranking losses teach to find a duplicate among many questions. Each alone is worse at the other task.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::losses::multiple_negatives_ranking::Ranking;
use crate::losses::targets::Targets;
use crate::losses::{
    binary_cross_entropy, contrastive, cosent, cosine_distillation, cosine_similarity, margin_mse,
    multiple_negatives_ranking, negative_log_likelihood, online_contrastive, score_distillation,
};
use crate::models::checkpoint::kind::Kind;
use crate::models::network::dense::normalise;

/// One loss by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    CosineSimilarity,
    Contrastive,
    OnlineContrastive,
    Cosent,
    Ranking,
    CachedRanking,
    MarginMse,
    CosineDistillation,
    BinaryCrossEntropy,
    ScoreDistillation,
    NegativeLogLikelihood,
}

const NAMES: [(&str, Loss); 11] = [
    ("cosine-similarity", Loss::CosineSimilarity),
    ("contrastive", Loss::Contrastive),
    ("online-contrastive", Loss::OnlineContrastive),
    ("cosent", Loss::Cosent),
    ("ranking", Loss::Ranking),
    ("cached-ranking", Loss::CachedRanking),
    ("margin-mse", Loss::MarginMse),
    ("cosine-distillation", Loss::CosineDistillation),
    ("binary-cross-entropy", Loss::BinaryCrossEntropy),
    ("score-distillation", Loss::ScoreDistillation),
    ("negative-log-likelihood", Loss::NegativeLogLikelihood),
];

impl Loss {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, loss)| *loss == self).map_or("", |(name, _)| name)
    }

    /// Whether it ranks among the questions of a batch.
    pub fn is_ranking(self) -> bool {
        matches!(self, Self::Ranking | Self::CachedRanking)
    }

    /// Whether it uses labels 0 and 1; both must occur.
    pub fn contrasts(self) -> bool {
        matches!(
            self,
            Self::CosineSimilarity
                | Self::Contrastive
                | Self::OnlineContrastive
                | Self::Cosent
                | Self::BinaryCrossEntropy
                | Self::NegativeLogLikelihood
        )
    }

    /// Whether it uses pairs that are not duplicates. The other losses compare a question's duplicate with mined
    /// negatives.
    pub fn uses_others(self) -> bool {
        !self.is_ranking() && self != Self::MarginMse
    }

    /// Whether targets come from another model.
    pub fn needs_teacher(self) -> bool {
        matches!(self, Self::ScoreDistillation | Self::MarginMse | Self::CosineDistillation)
    }

    /// The kind of model whose outputs it compares.
    pub fn kind(self) -> Kind {
        match self {
            Self::BinaryCrossEntropy | Self::ScoreDistillation => Kind::Cross,
            Self::NegativeLogLikelihood => Kind::Siamese,
            _ => Kind::Bi,
        }
    }
}

/// Parameters of the losses that have any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossNumbers {
    /// Margin of the contrastive losses.
    pub margin: f64,
    /// Weight of duplicates in the binary cross-entropy.
    pub pos_weight: f64,
    pub ranking: Ranking,
}

impl Default for LossNumbers {
    fn default() -> Self {
        Self { margin: 0.5, pos_weight: 1.0, ranking: Ranking::default() }
    }
}

/// Losses with their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix(Vec<(Loss, f64)>);

impl Mix {
    pub fn losses(&self) -> impl Iterator<Item = Loss> {
        self.0.iter().map(|(loss, _)| *loss)
    }

    /// Whether `is` holds for any of them.
    pub fn any(&self, is: impl Fn(Loss) -> bool) -> bool {
        self.losses().any(is)
    }

    /// Whether the model's activations are computed a second time instead of kept.
    pub fn is_cached(&self) -> bool {
        self.any(|loss| loss == Loss::CachedRanking)
    }

    /// Scalar `[1]`: `Σ weight · loss`.
    pub fn loss(&self, outputs: &Tensor<2>, targets: &Targets, numbers: &LossNumbers) -> Tensor<1> {
        let one = |loss: Loss| match loss {
            Loss::CosineSimilarity => cosine_similarity::loss(outputs, targets),
            Loss::Contrastive => contrastive::loss(outputs, targets, numbers.margin),
            Loss::OnlineContrastive => online_contrastive::loss(outputs, targets, numbers.margin),
            Loss::Cosent => cosent::loss(outputs, targets),
            Loss::Ranking | Loss::CachedRanking => multiple_negatives_ranking::loss(outputs, targets, &numbers.ranking),
            // mining compares cosines
            Loss::MarginMse => margin_mse::loss(&normalise(outputs.clone()), targets),
            Loss::CosineDistillation => cosine_distillation::loss(outputs, targets),
            Loss::BinaryCrossEntropy => binary_cross_entropy::loss(outputs, targets, numbers.pos_weight),
            Loss::ScoreDistillation => score_distillation::loss(outputs, targets),
            Loss::NegativeLogLikelihood => negative_log_likelihood::loss(outputs, targets),
        };
        let terms = self.0.iter().map(|&(loss, weight)| one(loss) * weight);
        terms.reduce(|a, b| a + b).unwrap_or_else(|| outputs.clone().sum() * 0.0)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |term: &str| {
            let (name, weight) = term.split_once('=').unwrap_or((term, "1"));
            let (name, weight) = (name.trim(), weight.trim());
            let loss = NAMES.iter().find(|(known, _)| *known == name).map(|(_, loss)| *loss).ok_or_else(|| {
                let nearest = NAMES.iter().min_by_key(|(known, _)| strsim::damerau_levenshtein(known, name));
                format!("unknown loss {name:?}; the nearest known one is {:?}", nearest.map_or("", |(n, _)| n))
            })?;
            match weight.parse::<f64>() {
                Ok(weight) if weight > 0.0 && weight.is_finite() => Ok((loss, weight)),
                _ => Err(format!("weight {weight:?} of loss {name} is not a number above 0")),
            }
        };
        text.split(',').map(one).collect::<Result<Vec<_>, _>>().map(Self)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let terms: Vec<String> = match self.0.as_slice() {
            [(loss, 1.0)] => vec![loss.name().into()],
            terms => terms.iter().map(|(loss, weight)| format!("{}={weight}", loss.name())).collect(),
        };
        f.write_str(&terms.join(","))
    }
}

impl Serialize for Mix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
