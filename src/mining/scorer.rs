//! Candidates to logits: those that are stored, and the others from the models, which are loaded when the first is missing.

use anyhow::{Context, Result, bail};

use crate::executor::replicas::Replicas;
use crate::executor::tuning::Tuning;
use crate::mining::candidates::Candidate;
use crate::mining::collapse::UniqueTexts;
use crate::mining::logits;
use crate::mining::plan::Plan;
use crate::mining::stored_scores::{Score, Stored, columns_of};
use crate::mining::workers::{Remote, Workers};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder::{self, CrossEncoder};
use crate::progress::{Progress, Task};
use crate::run::decision::Scores;
use crate::run::flags::Budget;
use crate::store::root::folder_of;
use crate::tables::segment_file::Column;
use crate::text::key::TextKey;
use crate::text::pairs::PairTokens;

/// Scores of some candidates, in their order, and what they cost.
pub struct Partition {
    pub scores: Vec<Scores>,
    /// Orders that were cut at the model's limit.
    pub truncated: usize,
}

/// Looks up or computes scores.
pub struct Scorer<'a> {
    pub plan: &'a Plan,
    pub folder: &'a ModelFolder,
    pub workers: &'a Workers<'a>,
    pub remote: Option<Remote<'a>>,
    pub unique: &'a UniqueTexts,
    pub task: &'a Task,
    pub progress: &'a Progress,
    pub models: Option<(Replicas<CrossEncoder>, PairTokens)>,
}

impl Scorer<'_> {
    /// Pairs that are scored and stored together, if there are so many in all.
    pub fn partition_pairs(&self, pairs: usize) -> usize {
        match (&self.remote, self.plan.options.rerank_budget) {
            (None, _) => Tuning::of_devices(&self.workers.devices).rerank_partition_pairs,
            (Some(remote), Some(Budget::Time(_))) => remote.pairs_of_a_wave(),
            (Some(_), _) => pairs.max(1),
        }
    }

    /// Scores the candidates of these numbers: in one order, and in the other if that leaves the decision open. Each counts
    /// in the task when it has its last score, unless it counts already.
    pub fn partition(
        &mut self,
        stored: &mut Stored,
        candidates: &[Candidate],
        (numbers, is_new): (&[u32], bool),
    ) -> Result<Partition> {
        let of = |numbers: &[u32]| -> Vec<(u32, u32)> {
            numbers.iter().map(|&at| candidates[at as usize].texts()).collect()
        };
        let rule = &self.plan.rule;
        let is_open = |at: u32, logit: f32| rule.is_open(logit, candidates[at as usize].cosine);
        let first = self.scores(stored, &of(numbers), &|at, logit| is_new && !is_open(numbers[at], logit))?;
        let mut scores: Vec<Scores> =
            first.iter().map(|score| Scores { logit_ab: Some(score.logit), logit_ba: None }).collect();
        let open: Vec<usize> = (0..numbers.len()).filter(|&at| is_open(numbers[at], first[at].logit)).collect();
        let numbers_of_open: Vec<u32> = open.iter().map(|&at| numbers[at]).collect();
        let swapped: Vec<(u32, u32)> = of(&numbers_of_open).into_iter().map(|(a, b)| (b, a)).collect();
        let second = self.scores(stored, &swapped, &|_, _| is_new)?;
        for (&at, score) in open.iter().zip(&second) {
            scores[at].logit_ba = Some(score.logit);
        }
        let truncated = first.iter().chain(&second).filter(|score| score.truncated).count();
        Ok(Partition { scores, truncated })
    }

    /// One score a pair, in their order; `is_done` as in [`logits::score`].
    fn scores(
        &mut self,
        stored: &mut Stored,
        pairs: &[(u32, u32)],
        is_done: &dyn Fn(usize, f32) -> bool,
    ) -> Result<Vec<Score>> {
        let mut scores: Vec<Option<Score>> = pairs.iter().map(|&pair| stored.find(pair)).collect();
        let found = scores.iter().enumerate();
        self.task.advance(found.filter(|(at, score)| score.is_some_and(|score| is_done(*at, score.logit))).count())?;
        let missing: Vec<usize> = (0..pairs.len()).filter(|&at| scores[at].is_none()).collect();
        if !missing.is_empty() {
            let unique = self.unique;
            let text = |number: u32| unique.texts.get(number as usize);
            stored.computed += missing.len();
            if let (Some(remote), Some(identity)) = (&self.remote, &self.plan.scores) {
                let texts: Vec<(&str, &str)> =
                    missing.iter().map(|&at| (text(pairs[at].0), text(pairs[at].1))).collect();
                remote.score(&texts, self.task, (&mut stored.segments, &folder_of(identity)), |first, columns| {
                    let [_, _, logits, truncated] = columns_of(columns)?;
                    let (Column::Floats(logits), Column::Flags(truncated)) = (logits, truncated) else {
                        bail!("no scores")
                    };
                    let mut done = 0;
                    for (&at, (logit, truncated)) in missing[first..].iter().zip(logits.into_iter().zip(truncated)) {
                        scores[at] = Some(Score { pair: pairs[at], logit, truncated });
                        done += usize::from(is_done(at, logit));
                    }
                    self.task.advance(done)
                })?;
                return Ok(scores.into_iter().flatten().collect());
            }
            if self.models.is_none() {
                self.progress.say(&self.plan.loading(self.folder));
                let models =
                    cross_encoder::replicas(self.folder, &self.workers.devices, self.plan.precision, self.progress)?;
                let tokens = PairTokens::new(&models.first().tokenizer);
                self.models = Some((models, tokens));
            }
            let (models, tokens) = self.models.as_mut().context("the cross-encoder is loaded")?;
            let wanted: Vec<(u32, u32)> = missing.iter().map(|&at| pairs[at]).collect();
            let is_done = |at: usize, logit: f32| is_done(missing[at], logit);
            let computed = logits::score(models, tokens, (&wanted, &text), &is_done, self.task)?;
            for ((&at, &logit), &truncated) in missing.iter().zip(&computed.logits).zip(&computed.truncated) {
                scores[at] = Some(Score { pair: pairs[at], logit, truncated });
            }
            let key = |number: u32| self.unique.keys[number as usize];
            let keys: Vec<(TextKey, TextKey)> =
                missing.iter().map(|&at| (key(pairs[at].0), key(pairs[at].1))).collect();
            stored.segments.append(computed.into_columns(&keys))?;
        }
        Ok(scores.into_iter().flatten().collect())
    }
}
