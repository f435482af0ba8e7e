//! Results against what the models say: vectors, neighbours and scores are computed again from nothing, and decisions and
//! clusters are made again from the scores.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

use crate::device::{DeviceChoice, Devices};
use crate::executor::tuning::Tuning;
use crate::mining::candidates::{self, Candidate, SearchConfig, is_usable, sample_rows, unordered};
use crate::mining::collapse::{UniqueTexts, collapse};
use crate::mining::plan::Plan;
use crate::mining::reference::Reference;
use crate::mining::representatives::Choice;
use crate::mining::rows::{self, DecidedPair};
use crate::mining::{cluster, embed, logits};
use crate::models::network::precision::Precision;
use crate::models::{bi_encoder, cross_encoder};
use crate::progress::{Progress, readable};
use crate::run::decision::{Scores, Verdict};
use crate::run::options::Options;
use crate::run::reader::FinishedRun;
use crate::run::schema::{PairKind, PairRow};
use crate::search::engine::Engine;
use crate::search::tiles::Tiles;
use crate::search::{Neighbour, Query, Vectors, exact};
use crate::store::root::Store;
use crate::tables::questions::Questions;
use crate::text::pairs::PairTokens;

/// Differences that are named one by one.
const NAMED: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What was compared, a line each.
    pub lines: Vec<String>,
    /// What differs, a sentence each.
    pub differences: Vec<String>,
}

/// How far numbers may be apart: other devices and batches round differently.
struct Tolerance {
    cosine: f32,
    logit: f32,
}

/// A finished run, ready to be computed again.
struct Subject<'a> {
    plan: &'a Plan,
    questions: &'a Questions,
    unique: &'a UniqueTexts,
    /// Pairs of unique texts (a < b), and the rows that the run has of them.
    pairs: Vec<(Candidate, PairRow)>,
    tolerance: Tolerance,
    progress: &'a Progress,
}

/// Computes `sample` texts and pairs of the run again, or all of them.
pub fn verify(output: &Path, sample: Option<usize>, device: DeviceChoice, progress: &Progress) -> Result<Findings> {
    let run = FinishedRun::open(output)?;
    let questions = run.questions.as_ref().map_err(|why| anyhow!("the questions of the run are not there: {why}"))?;
    // the folder may have been named from elsewhere when it was written
    let options = Options { output: output.to_path_buf(), ..run.manifest.options.clone() };
    let plan = Plan::of_inputs(options, Vec::new(), progress)?;
    let plan = plan.settled(run.manifest.lowered_rerank_floor, run.manifest.unasked.clone());
    ensure!(
        plan.models == run.manifest.models && plan.rule == run.manifest.rule(),
        "the models or their calibration have changed since the run: a new run shows what they give now"
    );
    let devices = &plan.precision.device(device).open(progress)?;
    plan.precision.check(devices)?;
    let unique = collapse(&questions.texts, &questions.is_reference);
    let text_of_row: HashMap<u32, u32> = questions.rows.iter().copied().zip(unique.text_of.iter().copied()).collect();
    let text = |row: u32| text_of_row.get(&row).copied().context("a pair names a row that holds no question");
    let mut pairs = Vec::new();
    for batch in run.results.pairs()? {
        for pair in batch?.into_iter().filter(|pair| pair.kind == PairKind::Semantic) {
            let (a, b) = (text(pair.a)?, text(pair.b)?);
            pairs.push((Candidate { a: a.min(b), b: a.max(b), cosine: pair.cosine }, pair));
        }
    }
    pairs.sort_unstable_by_key(|(candidate, _)| candidate.texts());
    let tolerance = match plan.precision {
        Precision::F32 => Tolerance { cosine: 1e-4, logit: 1e-2 },
        Precision::F16 | Precision::Bf16 | Precision::Int8 => Tolerance { cosine: 2e-2, logit: 0.5 },
    };
    let subject = Subject { plan: &plan, questions, unique: &unique, pairs, tolerance, progress };
    let mut findings = Findings::default();
    let chosen = subject.choose(unique.keys.len(), sample);
    let values = subject.vectors(&chosen, devices, &mut findings)?;
    let vectors = Vectors { width: values.len() / unique.keys.len().max(1), values: &values };
    subject.neighbours(&chosen, sample.is_none(), vectors, devices, &mut findings)?;
    subject.scores(sample, devices, &mut findings)?;
    subject.decisions(&mut findings);
    subject.clusters(&run, &mut findings)?;
    Ok(findings)
}

impl Findings {
    /// Notes that `count` things differ, and names the first.
    fn differ(&mut self, count: usize, what: &str, named: Vec<String>) {
        if count > 0 {
            let rest = if count > named.len() { ", …" } else { "" };
            self.differences.push(format!("{} {what}: {}{rest}", readable(count), named.join(", ")));
        }
    }
}

impl Subject<'_> {
    /// `count` of the numbers below `all`, by the run's seed; all without a count. Ascending.
    fn choose(&self, all: usize, count: Option<usize>) -> Vec<usize> {
        let every: Vec<u32> = (0..all as u32).collect();
        let chosen = match count {
            Some(count) => sample_rows(&every, count, self.plan.options.seed),
            None => every,
        };
        chosen.into_iter().map(|at| at as usize).collect()
    }

    fn named(&self, candidate: &Candidate) -> String {
        let id = |text: u32| {
            let question = self.unique.first_question[text as usize];
            self.questions.ids.display(self.questions.rows[question as usize] as usize)
        };
        format!("{} and {}", id(candidate.a), id(candidate.b))
    }

    /// The vectors of all texts: those of `chosen` computed again and compared, the others as they are stored.
    fn vectors(&self, chosen: &[usize], devices: &Devices, findings: &mut Findings) -> Result<Vec<f32>> {
        let (plan, keys) = (self.plan, &self.unique.keys);
        let store = Store::peek(&plan.options.output, plan.shared_store())?;
        let stored = embed::Stored::read(store.segments(&plan.vectors)?, keys, keys, self.progress)?;
        let missing: BTreeSet<usize> = stored.missing().into_iter().collect();
        let again: Vec<usize> =
            chosen.iter().copied().chain(missing.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect();
        let models = bi_encoder::replicas(&plan.bi_encoder, devices, plan.precision, self.progress)?;
        let width = models.first().dimensions();
        let task = self.progress.task("embed", "questions", again.len());
        let mut values = stored.into_values();
        values.resize(keys.len() * width, 0.0);
        let (mut compared, mut largest, mut differ, mut named) = (0, 0f32, 0, Vec::new());
        for partition in again.chunks(models.tuning.embed_partition_texts) {
            let texts: Vec<&str> = partition.iter().map(|&text| self.unique.texts.get(text)).collect();
            let computed = embed::embed(&models, &texts, &task)?;
            for (&text, vector) in partition.iter().zip(computed.values.chunks_exact(width)) {
                let place = &mut values[text * width..(text + 1) * width];
                if !missing.contains(&text) {
                    let apart = place.iter().zip(vector).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
                    compared += 1;
                    largest = largest.max(apart);
                    if apart > self.tolerance.cosine {
                        differ += 1;
                        named.extend((named.len() < NAMED).then(|| format!("{:?}", self.unique.texts.get(text))));
                    }
                }
                place.copy_from_slice(vector);
            }
        }
        if compared == 0 && !keys.is_empty() {
            self.progress.warn("no vector is stored: none could be compared");
        }
        findings.lines.push(format!(
            "vectors    {} of {} computed again; largest difference {largest:.1e}",
            readable(compared),
            readable(keys.len())
        ));
        findings.differ(differ, "stored vectors are not those of the model", named);
        Ok(values)
    }

    /// Candidates of the chosen texts (of all: in both directions), searched exactly.
    fn neighbours(
        &self,
        chosen: &[usize],
        all: bool,
        vectors: Vectors,
        devices: &Devices,
        findings: &mut Findings,
    ) -> Result<()> {
        let is_known = |text: usize| self.unique.is_reference.get(text) == Some(&true);
        let usable: Vec<bool> = (0..vectors.rows()).map(|row| is_usable(vectors.row(row))).collect();
        let listed: Vec<u32> =
            chosen.iter().filter(|&&text| usable[text] && !is_known(text)).map(|&text| text as u32).collect();
        let count = usable.iter().filter(|usable| **usable).count();
        let query = Query { top_k: self.plan.options.top_k.min(count.saturating_sub(1)), ..self.plan.query() };
        let lists: Vec<Vec<Neighbour>> = if all && self.unique.is_reference.is_empty() {
            let tiles = Tiles::on(devices, Tuning::of_devices(devices).search_tile_rows, [vectors.rows(); 2]);
            let (hnsw, seed) = (self.plan.options.hnsw(), self.plan.options.seed);
            let config = SearchConfig { engine: Engine::Exact, query, reserve: 0, hnsw, seed };
            candidates::search(vectors, &config, None, (&tiles, None), self.progress)?.lists
        } else {
            let task = self.progress.task("search", "texts", listed.len());
            let mut lists = vec![Vec::new(); vectors.rows()];
            for (&row, list) in listed.iter().zip(exact::nearest_by_dot(vectors, &usable, &listed, query, &task)?) {
                lists[row as usize] = list;
            }
            lists
        };
        let expected = unordered(&lists, query.top_k);
        let of_run: BTreeMap<(u32, u32), f32> =
            self.pairs.iter().map(|(candidate, _)| (candidate.texts(), candidate.cosine)).collect();
        let (mut missing, mut apart) = (Vec::new(), Vec::new());
        for candidate in &expected {
            match of_run.get(&candidate.texts()) {
                None if self.is_at_the_edge(candidate, &lists, query) => {}
                None => missing.push(self.named(candidate)),
                Some(cosine) if (cosine - candidate.cosine).abs() > self.tolerance.cosine => {
                    apart.push(self.named(candidate));
                }
                Some(_) => {}
            }
        }
        findings.lines.push(format!(
            "candidates {} of {} texts searched again: {} pairs",
            readable(listed.len()),
            readable(vectors.rows()),
            readable(expected.len())
        ));
        let share = missing.len() as f64 / expected.len().max(1) as f64;
        let is_exact = self.plan.options.index.resolve(vectors.rows()) != Engine::Hnsw;
        if is_exact || 1.0 - share < self.plan.options.min_recall {
            let count = missing.len();
            findings.differ(count, "pairs are missing", missing.into_iter().take(NAMED).collect());
        }
        let count = apart.len();
        findings.differ(count, "pairs have another cosine", apart.into_iter().take(NAMED).collect());
        if all && is_exact {
            let wanted: BTreeSet<(u32, u32)> = expected.iter().map(Candidate::texts).collect();
            let extra: Vec<&Candidate> =
                self.pairs.iter().map(|(candidate, _)| candidate).filter(|c| !wanted.contains(&c.texts())).collect();
            let extra: Vec<&Candidate> =
                extra.into_iter().filter(|candidate| !self.is_at_the_edge(candidate, &lists, query)).collect();
            let named = extra.iter().take(NAMED).map(|candidate| self.named(candidate)).collect();
            findings.differ(extra.len(), "pairs should not be candidates", named);
        }
        Ok(())
    }

    /// Whether rounding alone decides if a pair is a candidate: its cosine is at the minimum, or at the end of a list that
    /// has no room for more.
    fn is_at_the_edge(&self, candidate: &Candidate, lists: &[Vec<Neighbour>], query: Query) -> bool {
        let tolerance = self.tolerance.cosine;
        let at_the_end = |text: u32| {
            let list = &lists[text as usize];
            list.len() == query.top_k
                && list.last().is_some_and(|last| (candidate.cosine - last.cosine).abs() <= tolerance)
        };
        candidate.cosine <= query.floor + tolerance || at_the_end(candidate.a) || at_the_end(candidate.b)
    }

    /// Logits of scored pairs.
    fn scores(&self, sample: Option<usize>, devices: &Devices, findings: &mut Findings) -> Result<()> {
        let Some(folder) = &self.plan.cross_encoder else { return Ok(()) };
        let scored: Vec<&(Candidate, PairRow)> =
            self.pairs.iter().filter(|(_, row)| row.logit_ab.or(row.logit_ba).is_some()).collect();
        let chosen = self.choose(scored.len(), sample);
        if chosen.is_empty() {
            return Ok(());
        }
        let models = cross_encoder::replicas(folder, devices, self.plan.precision, self.progress)?;
        let task = self.progress.task("rerank", "pairs", chosen.len());
        let text = |row: u32| self.questions.rows.binary_search(&row).map(|at| self.unique.text_of[at]);
        let text_of = |number: u32| self.unique.texts.get(number as usize);
        // not each text once, as a run does: what is verified is not what verifies
        let mut tokens = PairTokens::whole();
        let (mut largest, mut differ) = (0f32, Vec::new());
        for partition in chosen.chunks(Tuning::of_devices(devices).rerank_partition_pairs) {
            let mut orders: Vec<(&Candidate, f32, (u32, u32))> = Vec::new();
            for &at in partition {
                let (candidate, row) = scored[at];
                let (Ok(a), Ok(b)) = (text(row.a), text(row.b)) else { continue };
                orders.extend(row.logit_ab.map(|logit| (candidate, logit, (a, b))));
                orders.extend(row.logit_ba.map(|logit| (candidate, logit, (b, a))));
            }
            let pairs: Vec<(u32, u32)> = orders.iter().map(|(_, _, texts)| *texts).collect();
            // a pair is done with its last order
            let is_last = |at: usize, _| orders.get(at + 1).is_none_or(|next| !std::ptr::eq(next.0, orders[at].0));
            let again = logits::score(&models, &mut tokens, (&pairs, &text_of), &is_last, &task)?.logits;
            for ((candidate, logit, _), again) in orders.iter().zip(again) {
                largest = largest.max((logit - again).abs());
                if (logit - again).abs() > self.tolerance.logit {
                    differ.push(self.named(candidate));
                }
            }
        }
        findings.lines.push(format!(
            "scores     {} of {} pairs scored again; largest difference {largest:.1e}",
            readable(chosen.len()),
            readable(scored.len())
        ));
        let count = differ.len();
        findings.differ(count, "logits are not those of the model", differ.into_iter().take(NAMED).collect());
        Ok(())
    }

    /// Probability and decision of every pair, from its cosine and its logits.
    fn decisions(&self, findings: &mut Findings) {
        let verdict = |row: &PairRow| {
            let scores = Scores { logit_ab: row.logit_ab, logit_ba: row.logit_ba };
            self.plan.rule.decide(row.cosine, scores)
        };
        let said = |row: &PairRow| Verdict { probability: row.probability, is_duplicate: row.is_duplicate };
        let differ: Vec<&Candidate> =
            self.pairs.iter().filter(|(_, row)| verdict(row) != said(row)).map(|(candidate, _)| candidate).collect();
        findings.lines.push(format!("decisions  {} made again", readable(self.pairs.len())));
        let named = differ.iter().take(NAMED).map(|candidate| self.named(candidate)).collect();
        findings.differ(differ.len(), "pairs have another decision", named);
    }

    /// The clusters that the run's pairs make.
    fn clusters(&self, run: &FinishedRun, findings: &mut Findings) -> Result<()> {
        let reference = self.plan.options.reference.as_deref().map(|path| Reference::open(path, self.plan));
        let known = match reference.transpose() {
            Ok(reference) => reference.map(|reference| reference.known(self.questions, self.unique)),
            Err(error) => {
                findings.lines.push(format!("clusters   not compared: {error:#}"));
                return Ok(());
            }
        };
        let decided = self.pairs.iter().map(|&(candidate, row)| DecidedPair {
            candidate,
            scores: Scores::default(),
            verdict: Verdict { probability: row.probability, is_duplicate: row.is_duplicate },
        });
        let decided: Vec<DecidedPair> = decided.collect();
        let (_, clustering) = cluster::run(&self.unique.texts, &decided, known.as_ref(), self.plan);
        let keep = &self.plan.options.keep;
        let choice = Choice { keep, questions: self.questions, unique: self.unique, known: known.as_ref() };
        let groups = choice.represent(rows::groups(self.questions, self.unique, &clustering));
        let row = |&question: &u32| self.questions.rows[question as usize];
        let again: BTreeMap<Vec<u32>, u32> = groups
            .iter()
            .map(|group| (group.questions.iter().map(row).collect(), row(&group.representative)))
            .collect();
        let mut members: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for row in run.results.clusters()? {
            members.entry(row.cluster).or_default().push(row.question);
        }
        let stats = run.results.cluster_stats()?;
        let of_run: BTreeMap<Vec<u32>, u32> =
            stats.iter().filter_map(|stats| Some((members.remove(&stats.cluster)?, stats.representative))).collect();
        findings.lines.push(format!("clusters   {} made again", readable(again.len())));
        let other = of_run.iter().filter(|(rows, found)| again.get(*rows).is_some_and(|again| again != *found));
        let other: Vec<String> = other.map(|(_, found)| self.questions.ids.display(*found as usize)).collect();
        let count = other.len();
        findings.differ(count, "questions should not represent their cluster", other.into_iter().take(NAMED).collect());
        let (of_run, again): (BTreeSet<Vec<u32>>, BTreeSet<Vec<u32>>) =
            (of_run.into_keys().chain(members.into_values()).collect(), again.into_keys().collect());
        let differ: Vec<&Vec<u32>> = of_run.symmetric_difference(&again).collect();
        let named = differ.iter().take(NAMED).map(|rows| {
            let ids: Vec<String> =
                rows.iter().take(NAMED).map(|&row| self.questions.ids.display(row as usize)).collect();
            format!("({})", ids.join(", "))
        });
        findings.differ(differ.len(), "clusters are on one side only", named.collect());
        Ok(())
    }
}
