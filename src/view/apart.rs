//! Why two questions that the run calls duplicates are in different clusters.

use std::collections::{HashMap, HashSet};

use crate::run::reader::FinishedRun;
use crate::run::schema::{ClusterRow, PairRow};
use crate::view::named::shown_id;

/// A cluster, or a question that is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Cluster(i64),
    Alone(u32),
}

/// Where every question is.
pub struct Places {
    cluster_of: HashMap<u32, i64>,
    sizes: HashMap<i64, usize>,
}

impl Places {
    /// `clusters` are all rows of the run.
    pub fn new(clusters: &[ClusterRow]) -> Self {
        let mut sizes = HashMap::new();
        clusters.iter().for_each(|row| *sizes.entry(row.cluster).or_default() += 1);
        Self { cluster_of: clusters.iter().map(|row| (row.question, row.cluster)).collect(), sizes }
    }

    /// The cluster of a question; `None` if it is in none.
    pub fn cluster(&self, question: u32) -> Option<i64> {
        self.cluster_of.get(&question).copied()
    }

    pub fn of(&self, question: u32) -> Place {
        self.cluster(question).map_or(Place::Alone(question), Place::Cluster)
    }

    fn size(&self, place: Place) -> usize {
        match place {
            Place::Cluster(cluster) => self.sizes.get(&cluster).copied().unwrap_or_default(),
            Place::Alone(_) => 1,
        }
    }
}

/// The pairs between the place of one question and the places of its duplicates elsewhere.
pub struct Between {
    question: u32,
    elsewhere: HashSet<Place>,
    pairs: Vec<PairRow>,
}

impl Between {
    /// `own` are the pairs that the question is in; [`Between::add_pairs`] adds the pairs between the places.
    pub fn new(question: u32, own: &[PairRow], places: &Places) -> Self {
        let duplicates = own.iter().filter(|pair| pair.is_duplicate == Some(true));
        let others = duplicates.map(|pair| places.of(if pair.a == question { pair.b } else { pair.a }));
        let elsewhere = others.filter(|place| *place != places.of(question)).collect();
        Self { question, elsewhere, pairs: Vec::new() }
    }

    /// Whether all its duplicates are in its own cluster.
    pub fn is_empty(&self) -> bool {
        self.elsewhere.is_empty()
    }

    /// Whether a pair has one question in either place.
    pub fn is_between(&self, pair: &PairRow, places: &Places) -> bool {
        let (own, a, b) = (places.of(self.question), places.of(pair.a), places.of(pair.b));
        a == own && self.elsewhere.contains(&b) || b == own && self.elsewhere.contains(&a)
    }

    pub fn add_pairs(self, pairs: Vec<PairRow>) -> Self {
        Self { pairs, ..self }
    }

    /// The pair that keeps the place of `other` apart from the question's own: the lowest one of the question or of `other`,
    /// else the lowest one between the two places. Only the default clustering knows such pairs.
    pub fn ruled_out_by(&self, run: &FinishedRun, other: u32, places: &Places) -> Option<&PairRow> {
        if !run.manifest.options.clustering.rules_pairs_out() {
            return None;
        }
        let limit = run.manifest.rule().ruled_out();
        let place = places.of(other);
        let of_place = self.pairs.iter().filter(|pair| places.of(pair.a) == place || places.of(pair.b) == place);
        let low = of_place.filter(|pair| pair.probability.is_some_and(|probability| probability < limit));
        let is_of_either = |pair: &PairRow| [pair.a, pair.b].iter().any(|row| [self.question, other].contains(row));
        let key = |pair: &PairRow| (!is_of_either(pair), pair.probability.unwrap_or(1.0));
        low.min_by(|x, y| key(x).0.cmp(&key(y).0).then(key(x).1.total_cmp(&key(y).1)))
    }

    /// Why the question and `other`, which the run calls duplicates, are not together.
    pub fn why(&self, run: &FinishedRun, other: u32, places: &Places) -> String {
        let options = &run.manifest.options;
        if let Some(pair) = self.ruled_out_by(run, other, places) {
            let [a, b] = [pair.a, pair.b].map(|row| shown_id(run, row));
            return format!(
                "{a} and {b} have {:.4}: a pair below {:.4} keeps two clusters apart",
                pair.probability.unwrap_or_default(),
                run.manifest.rule().ruled_out()
            );
        }
        if options.reference.is_some() {
            return "the known clusters of --reference stay apart".into();
        }
        if !options.clustering.rules_pairs_out() {
            return options.clustering.why_kept_out().into();
        }
        let place = places.of(other);
        let is_own = |pair: &&PairRow| pair.a == self.question || pair.b == self.question;
        let of_place = |pair: &&PairRow| places.of(pair.a) == place || places.of(pair.b) == place;
        let own = self.pairs.iter().filter(is_own).filter(of_place);
        let scores: Vec<f32> = own.filter_map(|pair| pair.probability).collect();
        let mean = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
        format!(
            "no pair between them rules it out, but the scores do not favour it: {} of {} questions there have a score \
             with {}, {mean:.4} on average; a missing score counts as {:.4}",
            scores.len(),
            places.size(place),
            shown_id(run, self.question),
            run.manifest.rule().threshold / 2.0
        )
    }
}
