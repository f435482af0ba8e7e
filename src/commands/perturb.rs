//! `mine perturb`: pairs made by rules, to test whether a model reads or only compares words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::error::{hint, usage};
use crate::labels::perturb::draw::{Perturbed, draw};
use crate::progress::{Progress, readable};
use crate::tables::perturbed_file::{PerturbedPair, write};
use crate::tables::question_rows::ReadOptions;
use crate::tables::questions;

/// Edits questions by rules whose effect on the meaning is known, and writes question, edit and label.
#[derive(Debug, Args)]
#[command(after_help = "Example: mine perturb --input questions.parquet --held-out --output perturbed.parquet
Then: mine evaluate --pairs perturbed.parquet --include-added")]
pub struct PerturbArgs {
    /// Questions in English: .parquet, .csv, .tsv or .jsonl; can be repeated
    #[arg(long, value_name = "FILE", required = true)]
    input: Vec<PathBuf>,
    /// Column of the text [default: text]
    #[arg(long, value_name = "COLUMN")]
    text_column: Option<String>,
    /// Column of the id; its order and --seed decide which questions are edited [default: id, else row numbers]
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// The file to write
    #[arg(long, default_value = "perturbed.parquet", value_name = "FILE")]
    output: PathBuf,
    /// Pairs to make, half of them duplicates; fewer if the rules do not apply often enough
    #[arg(long, default_value_t = 2000, value_name = "PAIRS")]
    n: usize,
    /// Use the rules that no model was trained on
    #[arg(long)]
    held_out: bool,
    /// Seed of the draw
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Show no summary; still show warnings and errors
    #[arg(long)]
    pub quiet: bool,
}

/// Reads the questions, makes the pairs and writes them.
pub fn run(args: &PerturbArgs, progress: &Progress) -> Result<()> {
    if args.n == 0 {
        return Err(usage("--n is 0, expected at least 1"));
    }
    if args.output.exists() && !args.force {
        return Err(hint(
            format!("{} exists already", args.output.display()),
            "choose another --output, or add --force to replace it",
        ));
    }
    let options = ReadOptions { text: args.text_column.clone(), id: args.id_column.clone(), ..ReadOptions::default() };
    let (read, _) = questions::read(&args.input, &options)?;
    let texts: Vec<&str> = read.texts.iter().collect();
    let drawn = draw(&texts, args.n, args.held_out, args.seed)?;
    if drawn.is_empty() {
        let file = args.input.first().map(|file| file.display().to_string()).unwrap_or_default();
        bail!("{file}: no rule applies to its {} questions; the rules are for questions in English", texts.len());
    }
    let pair = |drawn: Perturbed| PerturbedPair {
        question: texts[drawn.text as usize].to_string(),
        edited: drawn.edited,
        is_duplicate: drawn.rule.keeps_meaning,
        rule: drawn.rule.name,
    };
    let pairs: Vec<PerturbedPair> = drawn.into_iter().map(pair).collect();
    write(&args.output, &pairs)?;
    let mut counts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    pairs.iter().for_each(|pair| *counts.entry((!pair.is_duplicate, pair.rule)).or_default() += 1);
    for ((differs, rule), count) in counts {
        let label = if differs { "another meaning" } else { "the same meaning" };
        progress.say(&format!("{label}: {rule}, {} pairs", readable(count)));
    }
    if pairs.len() < args.n {
        progress.warn(format!("{} pairs instead of {}: the rules do not apply more often", pairs.len(), args.n));
    }
    progress.say(&format!("wrote {}", args.output.display()));
    Ok(())
}
