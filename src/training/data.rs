//! From files of labelled pairs to the examples of a training, and the pairs it is measured on.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::device::Devices;
use crate::error::hint;
use crate::executor::replicas::Replicas;
use crate::labels::split;
use crate::losses::mix::Loss;
use crate::mining::score_pairs::log_odds;
use crate::models::bi_encoder::{self, BiEncoder};
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::calibration;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder::{self, CrossEncoder};
use crate::models::hub;
use crate::models::network::precision::Precision;
use crate::progress::{Progress, readable};
use crate::search::Vectors;
use crate::search::engine::Searcher;
use crate::tables::labelled_pairs::{self, LabelledPair};
use crate::tables::texts::Texts;
use crate::text::normalise::normalise;
use crate::training::checked::TrainOptions;
use crate::training::dataset::Dataset;
use crate::training::{cosine_pairs, hard_negatives, perturbed_pairs, teacher};

/// Share of the pairs that is held out without --dev.
const DEV_SHARE: f64 = 0.1;

/// Chooses what is held out, not `--seed`: a refresh with another seed would be measured on what the model has learnt.
const HELD_OUT_SEED: u64 = 42;

/// What a training learns from and is measured on.
pub struct Data {
    pub dataset: Dataset,
    pub dev: Vec<LabelledPair>,
}

/// Reads, checks and mines.
pub fn prepare(options: &TrainOptions, devices: &Devices, progress: &Progress) -> Result<Data> {
    let (train, dev) = read(options, progress)?;
    let duplicates = train.iter().filter(|pair| pair.is_duplicate).count();
    check_labels(options, duplicates, train.len() - duplicates)?;
    // what looks at duplicates alone
    let only_duplicates = !options.loss.any(Loss::uses_others);
    let kept: Vec<LabelledPair> = train.into_iter().filter(|pair| pair.is_duplicate || !only_duplicates).collect();
    let natural: Vec<bool> = kept.iter().map(|pair| pair.natural).collect();
    let mut dataset = Dataset::new(&kept);
    let bi_encoder = |written: Option<&Path>| -> Result<(Replicas<BiEncoder>, ModelFolder)> {
        let folder = hub::open_path_or(written, built_in::BI_ENCODER, progress)?;
        Ok((bi_encoder::replicas(&folder, devices, Precision::F32, progress)?, folder))
    };
    let cross_teacher = match &options.teacher {
        Some(path) if !options.loss.any(|loss| loss == Loss::CosineDistillation) => {
            let folder = hub::open_path_or(Some(path), built_in::CROSS_ENCODER, progress)?;
            Some((cross_encoder::replicas(&folder, devices, Precision::F32, progress)?, folder))
        }
        _ => None,
    };
    let mut miner = None;
    if options.mines() {
        let (model, folder) = bi_encoder(options.negatives_from.as_deref())?;
        let (vectors, width) = hard_negatives::embed_texts(&model, &dataset.texts, progress)?;
        let embedded = Vectors { values: &vectors, width };
        let searcher = hard_negatives::searcher(devices, dataset.texts.len());
        let teacher = cross_teacher.as_ref().map(|(model, _)| model);
        mine(&mut dataset, options, &natural, (embedded, &searcher), teacher, progress)?;
        miner = Some(Miner { fingerprint: folder.fingerprint()?, vectors, width });
    }
    if let Some((model, folder)) = &cross_teacher {
        teach(&mut dataset, options, (model, folder), miner.as_ref(), progress)?;
    }
    if let (Some(path), None) = (&options.teacher, &cross_teacher) {
        teacher::vectors(&mut dataset, &bi_encoder(Some(path))?.0, progress)?;
    }
    // last, so that edits are nobody's negatives, and keep the labels that their rules give
    if let Some(count) = options.perturbed_pairs {
        let added = perturbed_pairs::add(&mut dataset, &dev, count, options.trainer.seed)?;
        progress.say(&format!("{} pairs made by rules", readable(added)));
    }
    Ok(Data { dataset, dev })
}

/// The bi-encoder that mined, and its unit vectors of all texts, row-major `[texts, width]`.
struct Miner {
    fingerprint: String,
    vectors: Vec<f32>,
    width: usize,
}

/// Lets a cross-encoder's scores take the place of labels, where the options ask for it.
fn teach(
    dataset: &mut Dataset,
    options: &TrainOptions,
    (model, folder): (&Replicas<CrossEncoder>, &ModelFolder),
    miner: Option<&Miner>,
    progress: &Progress,
) -> Result<()> {
    let logits = |texts: &Texts, pairs: &[(u32, u32)]| log_odds(model, texts, pairs, false, progress);
    teacher::score(dataset, &options.loss, logits)?;
    if options.teacher_weight > 0.0 {
        let decision = calibration::read(folder)?.decision(miner.map_or("", |miner| &miner.fingerprint));
        let vectors = miner.map(|miner| Vectors { values: &miner.vectors, width: miner.width });
        teacher::blend(dataset, options.teacher_weight, decision.as_ref(), vectors, logits)?;
    }
    Ok(())
}

fn read(options: &TrainOptions, progress: &Progress) -> Result<(Vec<LabelledPair>, Vec<LabelledPair>)> {
    let read = |file| -> Result<Vec<LabelledPair>> {
        let read = labelled_pairs::read(file, &options.columns)?;
        if let Some(warning) = read.warning() {
            progress.warn(warning);
        }
        Ok(read.pairs)
    };
    let all = read(&options.pairs)?;
    let natural = |pairs: Vec<LabelledPair>| -> Vec<LabelledPair> {
        pairs.into_iter().filter(|pair| pair.natural || !options.natural_only).collect()
    };
    match &options.dev {
        Some(file) => {
            let dev = read(file)?;
            if !options.allow_shared_questions {
                check_leaks(options, &all, &dev)?;
            }
            check_dev(&format!("{}: its", file.display()), &dev)?;
            Ok((natural(all), dev))
        }
        None => {
            let parts = split::hold_out(&all, DEV_SHARE, HELD_OUT_SEED);
            let of = |part: &[u32]| part.iter().map(|&pair| all[pair as usize].clone()).collect::<Vec<_>>();
            ensure!(
                !parts.dev.is_empty() && !parts.train.is_empty(),
                "{}: too few pairs, or too many that hang together by their questions: none can be held out; give --dev",
                options.pairs.display()
            );
            progress.say(&format!("{} pairs held out to measure on", readable(parts.dev.len())));
            let dev = of(&parts.dev);
            check_dev(&format!("{}: the held out", options.pairs.display()), &dev)?;
            Ok((natural(of(&parts.train)), dev))
        }
    }
}

/// Refuses dev pairs on which nothing can be measured.
fn check_dev(whose: &str, dev: &[LabelledPair]) -> Result<()> {
    let natural = dev.iter().filter(|pair| pair.natural);
    let (duplicates, others): (Vec<_>, Vec<_>) = natural.partition(|pair| pair.is_duplicate);
    if duplicates.is_empty() || others.is_empty() {
        return Err(hint(
            format!(
                "{whose} natural pairs are {} duplicates and {} others: measuring needs both",
                duplicates.len(),
                others.len()
            ),
            "name a file of labelled pairs with --dev",
        ));
    }
    Ok(())
}

/// Refuses to train on questions that the dev pairs hold: figures on them would be of what was learnt by heart.
fn check_leaks(options: &TrainOptions, train: &[LabelledPair], dev: &[LabelledPair]) -> Result<()> {
    let texts = |pair: &LabelledPair| [&pair.question1, &pair.question2].map(|text| normalise(text).into_owned());
    let measured: HashSet<String> = dev.iter().flat_map(texts).collect();
    let leaks: Vec<String> = train.iter().flat_map(texts).filter(|text| measured.contains(text)).collect();
    let Some(first) = leaks.first() else { return Ok(()) };
    let distinct: HashSet<&String> = leaks.iter().collect();
    Err(hint(
        format!(
            "{} questions of {} are also in the dev pairs, for instance {first:?}: what is measured would be what was \
             learnt by heart",
            readable(distinct.len()),
            options.pairs.display()
        ),
        "split with `mine split`, leave --dev out to have a part held back, or allow it with --allow-shared-questions",
    ))
}

/// Stops where a loss cannot work with the labels there are.
fn check_labels(options: &TrainOptions, duplicates: usize, others: usize) -> Result<()> {
    let place = options.pairs.display();
    for loss in options.loss.losses() {
        if !loss.uses_others() && duplicates < 2 {
            bail!("{place}: {duplicates} duplicates, but {} learns from duplicates", loss.name());
        }
        let others_come = options.mined_pairs.is_some() || negatives_are_pairs(options) && duplicates > 0;
        if loss.contrasts() && !others_come && (duplicates == 0 || others == 0) {
            bail!(
                "{place}: {duplicates} duplicates and {others} others, but {} needs both kinds: with one alone every \
                 pair gets the same score",
                loss.name()
            );
        }
    }
    Ok(())
}

/// Whether mined negatives train as pairs of their own: where no loss takes them as a question's further documents.
fn negatives_are_pairs(options: &TrainOptions) -> bool {
    options.hard_negatives.is_some() && options.loss.losses().all(Loss::uses_others)
}

fn mine(
    dataset: &mut Dataset,
    options: &TrainOptions,
    natural: &[bool],
    (vectors, searcher): (Vectors, &Searcher),
    cross_teacher: Option<&Replicas<CrossEncoder>>,
    progress: &Progress,
) -> Result<()> {
    if let Some(config) = &options.hard_negatives {
        let near = hard_negatives::neighbours(searcher, vectors, config.depth, progress)?;
        let mined = hard_negatives::mine(dataset, (vectors, &near), cross_teacher, config, progress)?;
        progress.say(&format!(
            "{} hard negatives mined, {} dropped as duplicates by the teacher, {} drawn by chance because too few were near",
            readable(mined.negatives),
            readable(mined.dropped),
            readable(mined.random)
        ));
        if negatives_are_pairs(options) {
            let pairs = hard_negatives::as_pairs(dataset);
            progress.say(&format!("{} of all these added as pairs that are no duplicates", readable(pairs)));
        }
        if options.loss.any(|loss| loss == Loss::MarginMse) {
            keep_full(dataset, config.count, progress)?;
        }
    }
    if let Some(count) = options.cosine_pairs {
        let near = hard_negatives::neighbours(searcher, vectors, COSINE_DEPTH, progress)?;
        let added = cosine_pairs::add(dataset, natural, (vectors, &near), count, options.trainer.seed)
            .with_context(|| options.pairs.display().to_string())?;
        progress.say(&format!("{} unlabelled pairs added with the probability of their cosine", readable(added)));
    }
    if let (Some(count), Some(teacher)) = (options.mined_pairs, cross_teacher) {
        let near = hard_negatives::neighbours(searcher, vectors, MINED_DEPTH, progress)?;
        let logits = |texts: &Texts, pairs: &[(u32, u32)]| log_odds(teacher, texts, pairs, false, progress);
        let added = teacher::add_mined_pairs(dataset, &near, count, logits)?;
        progress.say(&format!("{} mined pairs labelled by the teacher", readable(added)));
    }
    Ok(())
}

/// Leaves out examples with fewer than `count` negatives: margins are a table with a column for each.
fn keep_full(dataset: &mut Dataset, count: usize, progress: &Progress) -> Result<()> {
    let before = dataset.examples.len();
    dataset.examples.retain(|example| example.negatives.len() == count);
    let kept = dataset.examples.len();
    ensure!(kept > 0, "no duplicate has {count} negatives, too few questions are unlike it: lower --hard-negatives");
    if kept < before {
        let out = readable(before - kept);
        progress.warn(format!("{out} duplicates left out: fewer than {count} questions can be their negatives"));
    }
    Ok(())
}

/// Neighbours of a text among which pairs for the teacher are looked for.
const MINED_DEPTH: usize = 20;

/// Neighbours of a text from which its partner in a pair with a cosine as its target is drawn.
const COSINE_DEPTH: usize = 50;
