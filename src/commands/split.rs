//! `mine split`: labelled pairs into train, dev and test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::error::{hint, usage};
use crate::labels::split::{self, Augmented, Protocol};
use crate::option_file::at_least;
use crate::progress::{Progress, readable};
use crate::tables::labelled_pairs::{self, LabelledPair, PairColumns};
use crate::tables::split_files;

/// Splits labelled pairs into train.parquet, dev.parquet and test.parquet.
#[derive(Debug, clap::Args)]
pub struct SplitArgs {
    /// Labelled pairs: .csv, .tsv, .parquet or .jsonl
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Folder to write the parts to
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    columns: PairColumns,
    /// What stays in one part
    #[arg(long, default_value = "questions")]
    by: Protocol,
    /// Shares of train, dev and test
    #[arg(long, value_name = "TRAIN,DEV,TEST", default_value = "80,10,10", value_delimiter = ',')]
    ratios: Vec<f64>,
    /// Split only this many pairs; both labels keep their share
    #[arg(long, value_name = "PAIRS")]
    subset: Option<usize>,
    /// Add to train the pairs that its labels imply: if (a, b) are duplicates, (a, c) has the label of (b, c)
    #[arg(long)]
    augment: bool,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Replace the parts in --output
    #[arg(long)]
    force: bool,
    /// Show no summary; still show warnings and errors
    #[arg(long)]
    pub quiet: bool,
}

/// Reads the pairs, splits them, writes the parts, and says how many pairs each part holds.
pub fn run(args: &SplitArgs, progress: &Progress) -> Result<()> {
    let shares = shares(&args.ratios)?;
    let path = |part: &str| args.output.join(format!("{part}.parquet"));
    let written = ["train", "dev", "test", "skipped", "contradictions"].map(path);
    if let (Some(existing), false) = (written.iter().find(|path| path.exists()), args.force) {
        return Err(hint(format!("{} exists already", existing.display()), "choose another --output, or add --force"));
    }
    let is_input = |path: &&PathBuf| path.canonicalize().ok() == args.input.canonicalize().ok();
    if let Some(input) = written.iter().filter(|path| path.exists()).find(is_input) {
        return Err(hint(format!("{} is the input and would be replaced", input.display()), "choose another --output"));
    }
    let read = labelled_pairs::read(&args.input, &args.columns)?;
    if let Some(warning) = read.warning() {
        progress.warn(warning);
    }
    let all = &read.pairs;
    let chosen = match args.subset {
        Some(count) if count > all.len() => {
            return Err(usage(format!("--subset is {count}, but {} has {} pairs", args.input.display(), all.len())));
        }
        Some(count) => split::subset(all, at_least("subset", count, 1)?, args.seed),
        None => (0..all.len() as u32).collect(),
    };
    let parts = split::split(all, &chosen, args.by, shares, args.seed);
    let of = |part: &[u32]| part.iter().map(|&pair| all[pair as usize].clone()).collect::<Vec<_>>();
    let (mut train, mut contradictions) = (of(&parts.train), Vec::new());
    if args.augment {
        let augmented = split::augment(&train, &[of(&parts.dev), of(&parts.test)].concat())
            .map_err(|why| hint(why, "leave out --augment"))?;
        say_augmented(&augmented, progress);
        (train, contradictions) = (augmented.pairs, augmented.contradictions);
    }
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot create {}", args.output.display()))?;
    // --force removes every part of the old split: parts of two splits share questions
    for old in written.iter().filter(|old| old.exists()) {
        std::fs::remove_file(old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    for (part, pairs) in [("train", train), ("dev", of(&parts.dev)), ("test", of(&parts.test))] {
        split_files::write_pairs(&path(part), &pairs, &metadata(args, part, shares))?;
        say(&path(part), &pairs, progress);
    }
    warn_of_shares(args, [parts.train.len(), parts.dev.len(), parts.test.len()], shares, progress);
    if !read.bad.is_empty() {
        split_files::write_bad_rows(&path("skipped"), &read.bad)?;
        let count = readable(read.bad.len());
        progress.say(&format!("{count} rows without a labelled pair: {}", path("skipped").display()));
    }
    if !contradictions.is_empty() {
        let (path, count) = (path("contradictions"), readable(contradictions.len()));
        split_files::write_pairs(&path, &contradictions, &metadata(args, "contradictions", shares))?;
        progress.say(&format!("{count} contradictions: {}", path.display()));
    }
    Ok(())
}

/// Warns about parts that are far from their share.
fn warn_of_shares(args: &SplitArgs, parts: [usize; 3], shares: [f64; 3], progress: &Progress) {
    let all = parts.iter().sum::<usize>().max(1) as f64;
    for (name, (part, share)) in ["train", "dev", "test"].iter().zip(parts.into_iter().zip(shares)) {
        let actual = part as f64 / all;
        if args.by == Protocol::Questions && (actual - share).abs() > 0.01 && (part as f64 - share * all).abs() > 1.0 {
            progress.warn(format!(
                "{}: {name} holds {:.1} % of the pairs, {:.1} % were requested: pairs that share questions, directly \
                 or through other pairs, stay together, and too many do; --by pairs separates them",
                args.input.display(),
                100.0 * actual,
                100.0 * share
            ));
        }
    }
}

fn shares(ratios: &[f64]) -> Result<[f64; 3]> {
    let wrong = || usage(format!("--ratios is {ratios:?}, expected three numbers from 0 with train above 0"));
    let &[train, dev, test] = ratios else { return Err(wrong()) };
    let sum = train + dev + test;
    if train > 0.0 && dev >= 0.0 && test >= 0.0 && sum.is_finite() {
        Ok([train / sum, dev / sum, test / sum])
    } else {
        Err(wrong())
    }
}

fn metadata(args: &SplitArgs, part: &str, shares: [f64; 3]) -> Vec<(String, String)> {
    let drawn = json!({
        "part": part, "by": args.by, "shares": shares, "subset": args.subset, "augment": args.augment && part == "train",
        "seed": args.seed, "input": args.input.display().to_string(),
    });
    vec![("dupmine.split".into(), drawn.to_string())]
}

fn say_augmented(augmented: &Augmented, progress: &Progress) {
    progress.say(&format!(
        "augmented: the labels of train imply {} more duplicates and {} more other pairs",
        readable(augmented.implied_duplicates),
        readable(augmented.implied_others)
    ));
    if let Some(first) = augmented.contradictions.first() {
        progress.warn(format!(
            "{} pairs labelled 0 are left out of train: a chain of duplicates connects their questions, the first: {:?} \
             and {:?}",
            readable(augmented.contradictions.len()),
            first.question1,
            first.question2
        ));
    }
}

fn say(path: &Path, pairs: &[LabelledPair], progress: &Progress) {
    let duplicates = pairs.iter().filter(|pair| pair.is_duplicate).count();
    progress.say(&format!(
        "{}: {} pairs, {:.1} % duplicates",
        path.display(),
        readable(pairs.len()),
        100.0 * duplicates as f64 / pairs.len().max(1) as f64
    ));
}
