//! What a finished run decided about two of its questions.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::run::reader::FinishedRun;
use crate::run::schema::{ClusterRow, PairKind, PairRow};
use crate::text::key::TextKey;
use crate::text::normalise::normalise;
use crate::view::apart::{Between, Place, Places};
use crate::view::block::Block;
use crate::view::named::{NamedQuestion, shown_id};
use crate::view::pair::{PairView, score, verdict};

/// Two questions of a run, while its pairs go by.
pub struct SoughtPair {
    questions: [u32; 2],
    /// The first questions with their texts: a run compares only these.
    first: [u32; 2],
    places: Places,
    pair: Option<PairRow>,
    /// Pairs between the clusters of the two.
    between: Vec<PairRow>,
}

/// What the run decided, for JSON.
#[derive(Debug, Serialize)]
pub struct DecidedPair {
    pub questions: [NamedQuestion; 2],
    /// `None` if the run did not compare the two.
    pub pair: Option<PairView>,
    pub cluster_ids: [Option<i64>; 2],
    pub in_same_cluster: bool,
    /// What the run decided, a sentence each.
    pub said: Vec<String>,
}

impl SoughtPair {
    /// `clusters` are all rows of the run; [`SoughtPair::see`] must see all its pairs.
    pub fn new(run: &FinishedRun, questions: [u32; 2], clusters: &[ClusterRow]) -> Self {
        let rows = run.questions.as_ref().map(|questions| questions.first_rows()).unwrap_or_default();
        let first_with_text = |row: u32| rows.get(&TextKey::of(&normalise(run.text(row)?))).copied();
        let first = questions.map(|row| first_with_text(row).unwrap_or(row));
        Self { questions, first, places: Places::new(clusters), pair: None, between: Vec::new() }
    }

    pub fn see(&mut self, pair: &PairRow) {
        let is = |[a, b]: [u32; 2]| (pair.a, pair.b) == (a.min(b), a.max(b));
        if is(self.questions) || is(self.first) {
            self.pair = Some(*pair);
        }
        let [own, other] = self.questions.map(|row| self.places.of(row));
        let of = [self.places.of(pair.a), self.places.of(pair.b)];
        if own != other && (of == [own, other] || of == [other, own]) {
            self.between.push(*pair);
        }
    }

    /// `cosine` is that of the two texts.
    pub fn finish(self, run: &FinishedRun, cosine: f32) -> DecidedPair {
        let places = self.questions.map(|row| self.places.of(row));
        let mut said = vec![self.decision(run, cosine), self.clusters(run)];
        if let Some(pair) = self.pair.filter(|pair| pair.is_duplicate == Some(true) && places[0] != places[1]) {
            let between = Between::new(pair.a, &[pair], &self.places).add_pairs(self.between);
            said.push(between.why(run, pair.b, &self.places));
        }
        DecidedPair {
            questions: self.questions.map(|row| NamedQuestion::new(run, row)),
            pair: self.pair.map(|pair| PairView::new(run, &pair)),
            cluster_ids: self.questions.map(|row| self.places.cluster(row)),
            in_same_cluster: places[0] == places[1],
            said,
        }
    }

    fn decision(&self, run: &FinishedRun, cosine: f32) -> String {
        let options = &run.manifest.options;
        let min_cosine = options.min_cosine.unwrap_or_default();
        match self.pair {
            Some(PairRow { probability: None, is_duplicate: Some(_), cosine, .. }) => {
                format!("different: the cosine {cosine:.4} is below the rerank floor")
            }
            Some(PairRow { probability: None, .. }) => "undecided: the rerank budget ended before this pair".into(),
            Some(pair) => {
                let rule = run.manifest.rule();
                let is_asked = pair.kind != PairKind::Semantic
                    || pair.logit_ab.or(pair.logit_ba).is_some()
                    || !rule.should_rerank(pair.cosine);
                format!(
                    "{}: probability {}, threshold {}{}",
                    verdict(pair.is_duplicate),
                    score(pair.probability),
                    rule.threshold,
                    if is_asked { "" } else { "; not reranked: it is the mean of the pairs with its cosine" }
                )
            }
            None if self.first[0] == self.first[1] => "both have one text: they are copies".into(),
            None if cosine < min_cosine => {
                format!("not compared: the cosine {cosine:.4} is below the minimum cosine {min_cosine}")
            }
            None => format!("not compared: neither was found among the {} nearest of the other", options.top_k),
        }
    }

    fn clusters(&self, run: &FinishedRun) -> String {
        let name = |row: u32| match self.places.of(row) {
            Place::Cluster(cluster) => format!("{} is in cluster {cluster}", shown_id(run, row)),
            Place::Alone(row) => format!("{} is in no cluster", shown_id(run, row)),
        };
        let [a, b] = self.questions;
        match (self.places.of(a), self.places.of(b)) {
            (Place::Cluster(cluster), other) if other == Place::Cluster(cluster) => {
                format!("both are in cluster {cluster}")
            }
            _ => format!("{}, {}", name(a), name(b)),
        }
    }
}

impl DecidedPair {
    /// With everything that the models say now.
    pub fn json(&self, explanation: &impl Serialize) -> Result<Value> {
        let mut object = serde_json::to_value(explanation)?;
        object["run"] = json!(self);
        Ok(object)
    }

    /// For the terminal.
    pub fn lines(&self) -> Vec<Block> {
        let name = |at: usize| if at == 0 { "the run said".into() } else { String::new() };
        vec![
            Block::gap(),
            Block::table(
                &[],
                &[],
                self.said.iter().enumerate().map(|(at, said)| vec![name(at), said.clone()]).collect(),
            ),
        ]
    }
}
