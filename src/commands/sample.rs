//! `mine sample`: pairs of a finished run for a person to label.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgGroup, Args};

use crate::error::{hint, usage};
use crate::labels::stratified_draw::{self, Pairs};
use crate::progress::Progress;
use crate::run::reader::FinishedRun;
use crate::run::schema::{PairKind, PairRow};
use crate::tables::sample_file::{SampledPair, pair_ids, write};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which_run").required(true).args(["run", "run_flag"]))]
#[command(after_help = "Example: mine sample mined --n 200 --output to-label
Fill in the column is_duplicate of to-label.csv, then: mine evaluate --sample to-label.csv
For more labels: mine sample mined --exclude to-label.csv --output more")]
pub struct SampleArgs {
    /// Output folder of a finished run
    run: Option<PathBuf>,
    /// The same, as older versions took it
    #[arg(long = "run", value_name = "DIR", hide = true)]
    run_flag: Option<PathBuf>,
    /// Pairs to draw
    #[arg(long, default_value_t = 200, value_name = "PAIRS")]
    n: usize,
    /// Path of the files to write, without .csv and .parquet
    #[arg(long, default_value = "sample", value_name = "FILE")]
    output: PathBuf,
    /// Do not draw the pairs of this earlier sample again; can be repeated
    #[arg(long, value_name = "FILE")]
    exclude: Vec<PathBuf>,
    /// Seed of the draw
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Replace existing files; the labels in them are lost
    #[arg(long)]
    force: bool,
    /// Show no progress; still show warnings and errors
    #[arg(long)]
    pub quiet: bool,
}

/// Draws the pairs and writes them.
pub fn run(args: &SampleArgs, progress: &Progress) -> Result<()> {
    if args.n == 0 {
        return Err(usage("--n is 0, expected at least 1"));
    }
    let (csv, parquet) = (with_extension(&args.output, "csv"), with_extension(&args.output, "parquet"));
    if let Some(existing) = [&csv, &parquet].into_iter().find(|path| path.exists() && !args.force) {
        return Err(hint(
            format!("{} exists and may hold labels", existing.display()),
            format!(
                "for other pairs: --exclude {} --output NAME; or replace the file with --force",
                existing.display()
            ),
        ));
    }
    let folder = args.run.as_ref().or(args.run_flag.as_ref()).context("no run is named")?;
    let finished = FinishedRun::open(folder)?;
    if let Err(why) = &finished.questions {
        bail!("{}: the texts to label are not available: {why}", folder.display());
    }
    let taken = taken(&args.exclude, &finished, progress)?;
    // copies are duplicates by definition: a person need not label them
    let mut pairs = Vec::new();
    for batch in finished.results.pairs()? {
        progress.check()?;
        pairs.extend(batch?.into_iter().filter(|pair| pair.kind == PairKind::Semantic));
    }
    if pairs.is_empty() {
        bail!("{}: the run has no pairs to label", folder.display());
    }
    // pairs without a probability are ordered by cosine, just below the others, so that they
    // take few of the strata
    let score = |pair: &PairRow| pair.probability.unwrap_or(pair.cosine - 1.0);
    let scores: Vec<f32> = pairs.iter().map(score).collect();
    let predicted: Vec<bool> = pairs.iter().map(|pair| pair.is_duplicate == Some(true)).collect();
    let is_taken: Vec<bool> = pairs.iter().map(|pair| taken.contains(&(pair.a, pair.b))).collect();
    let all = Pairs { scores: &scores, predicted: &predicted, is_taken: &is_taken };
    let strata = stratified_draw::draw(&all, args.n, args.seed);
    let open = strata.iter().filter(|stratum| stratum.free > 0).count();
    if open == 0 {
        bail!("{}: --exclude names all of its {} pairs: there is no other to label", folder.display(), pairs.len());
    }
    if args.n < open {
        return Err(usage(format!("--n is {}, expected at least {open}: one pair for each stratum", args.n)));
    }
    if open < strata.len() {
        progress.say(&format!(
            "{} of {} strata have no other pair left: evaluate the files together, with one --sample for each",
            strata.len() - open,
            strata.len()
        ));
    }
    let text = |row: u32| {
        let text = finished.text(row).map(String::from);
        text.ok_or_else(|| {
            let id = finished.results.index().ids().display(row as usize);
            anyhow!("{}: pairs.parquet has the id {id}, which has no question in the input", folder.display())
        })
    };
    let mut rows = Vec::new();
    for (stratum, drawn) in strata.iter().enumerate() {
        for &pair in &drawn.drawn {
            let pair = &pairs[pair];
            rows.push(SampledPair {
                a: pair.a,
                b: pair.b,
                question1: text(pair.a)?,
                question2: text(pair.b)?,
                cosine: pair.cosine,
                probability: pair.probability,
                predicted: drawn.predicted,
                stratum: stratum as u32,
                stratum_pairs: drawn.pairs,
                stratum_drawn: drawn.drawn.len() as u64,
            });
        }
    }
    // sorted by score, the first labels would bias the later ones: the order is that of the ids
    rows.sort_by_key(|row| (row.a, row.b));
    write(&csv, &parquet, finished.results.index().ids(), &rows)?;
    progress.say(&format!(
        "{} of {} pairs from {} strata written to {} and {}: fill in the column is_duplicate",
        rows.len(),
        pairs.len(),
        strata.len(),
        csv.display(),
        parquet.display()
    ));
    Ok(())
}

/// The pairs of earlier samples by the rows of the run, the lower one first.
fn taken(files: &[PathBuf], finished: &FinishedRun, progress: &Progress) -> Result<HashSet<(u32, u32)>> {
    let mut taken = HashSet::new();
    for file in files {
        let ids = pair_ids(file)?;
        let row = |id: &String| finished.results.index().find(id);
        let rows = ids.iter().filter_map(|[a, b]| Some((row(a)?, row(b)?)));
        let rows: Vec<(u32, u32)> = rows.map(|(a, b)| (a.min(b), a.max(b))).collect();
        if rows.len() < ids.len() {
            let unknown = ids.len() - rows.len();
            progress.warn(format!("{}: {unknown} of {} pairs have ids that the run lacks", file.display(), ids.len()));
        }
        taken.extend(rows);
    }
    Ok(taken)
}

fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}
