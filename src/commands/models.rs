//! `mine models`: download, list, describe, export and compress models.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::json;

use crate::commands::output::print_lines;
use crate::commands::terminal::table;
use crate::error::{hint, usage};
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::compress;
use crate::models::checkpoint::compress::Storage;
use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::models::checkpoint::quantised::Bits;
use crate::models::export;
use crate::models::hub;
use crate::models::hub::cache;
use crate::models::hub::name::HubName;
use crate::models::hub::settings::Hub;
use crate::models::sensitivity::{self, Sensitivity};
use crate::progress::{Progress, readable};

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Download a model from the hub, or update the cached one
    Pull {
        /// For example sentence-transformers/all-MiniLM-L6-v2; add @REVISION for a branch, tag or commit
        name: String,
    },
    /// List the models in the hub's cache, which Python uses too
    List {
        /// Print JSON, with complete names and paths
        #[arg(long)]
        json: bool,
    },
    /// Describe a model
    Show {
        /// Model folder, name of a cached model, `built-in` or `built-in-cross-encoder`
        model: String,
    },
    /// Write a model as a sentence-transformers folder with f32 weights
    Export {
        /// Model folder, name of a cached model, `built-in` or `built-in-cross-encoder`
        #[arg(long, value_name = "DIR|NAME")]
        input: String,
        /// Folder to write; it must not exist
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Store a model with weights of 8 bits or fewer
    Compress {
        /// Model folder, name of a cached model, `built-in` or `built-in-cross-encoder`
        #[arg(long, value_name = "DIR|NAME")]
        input: String,
        /// Folder to write; it must not exist
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// Bits of each weight, 3 to 8
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(3..=8))]
        bits: u32,
        /// Bits of each number in the token table, 3 to 8 [default: the same as --bits]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=8))]
        token_bits: Option<u32>,
        /// Write the token table to a separate file
        #[arg(long)]
        separate_tokens: bool,
    },
}

/// Runs the subcommand.
pub fn run(command: &ModelsCommand, progress: &Progress) -> Result<()> {
    match command {
        ModelsCommand::Pull { name } => pull(name, progress),
        ModelsCommand::List { json: false } => print_lines(&overview()?),
        ModelsCommand::List { json: true } => print_lines(&[json_list()?]),
        ModelsCommand::Show { model } => print_lines(&compress::describe(&local(model)?)?),
        ModelsCommand::Export { input, output } => {
            export::export(&local(input)?, output)?;
            progress.say(&format!("wrote {}", output.display()));
            Ok(())
        }
        ModelsCommand::Compress { input, output, bits, token_bits, separate_tokens } => {
            let bits = Bits { token_table: token_bits.unwrap_or(*bits), others: *bits };
            let storage = Storage { bits, separate_tokens: *separate_tokens };
            let model = local(input)?;
            let sizes = compress::compress(&model, output, storage, || f32_layers(&model, progress))?;
            let (before, after) = (readable(sizes.before), readable(sizes.after));
            progress.say(&format!("wrote {}: {after} bytes of weights, {before} before", output.display()));
            Ok(())
        }
    }
}

fn pull(written: &str, progress: &Progress) -> Result<()> {
    let Some(name) = HubName::parse(written) else {
        return Err(usage(format!(
            "{written:?} is not a hub name, expected organisation/model or organisation/model@revision"
        )));
    };
    let folder = hub::pull(&name, progress)?;
    let config = folder.path("config.json");
    print_lines(&[config.parent().unwrap_or(&config).display().to_string()])
}

/// Measures which layers lose too much in 8 bits, and says what it found.
fn f32_layers(model: &ModelFolder, progress: &Progress) -> Result<Vec<usize>> {
    let Sensitivity { lost, f32_layers, lost_with_f32 } = sensitivity::measure(model, progress)?;
    let loses = |share: f64| format!("loses {:.2} % of the variance of its outputs", share * 100.0);
    progress.say(&format!("int8       {}", loses(lost)));
    if !f32_layers.is_empty() {
        let kept = format!("layers {f32_layers:?}, counted from 0, stay in f32");
        progress.say(&format!("int8       {kept}: {}", loses(lost_with_f32)));
    }
    Ok(f32_layers)
}

/// A model that is already on this machine.
fn local(written: &str) -> Result<ModelFolder> {
    match written {
        built_in::NAME => return Ok(built_in::BI_ENCODER),
        built_in::CROSS_ENCODER_NAME => return Ok(built_in::CROSS_ENCODER),
        _ => {}
    }
    hub::cached(written)?.ok_or_else(|| {
        hint(
            format!("{written} is neither a folder nor a complete model in the hub's cache"),
            format!("`mine models pull {written}` downloads it, `mine models list` shows what is cached"),
        )
    })
}

/// The kind of a cached model; `None` if it is incomplete, damaged or of an unknown family: the cache holds whatever
/// any program downloaded.
fn kind(model: &cache::CachedModel) -> Option<Kind> {
    EncoderConfig::read(&model.folder).and_then(|_| Kind::of(&model.folder)).ok().filter(|_| model.complete)
}

fn overview() -> Result<Vec<String>> {
    let hub = Hub::from_env()?;
    let models = cache::list(&hub.cache)?;
    if models.is_empty() {
        return Ok(vec![format!("no models in {}", hub.cache.path().display())]);
    }
    let mut rows = Vec::new();
    for model in &models {
        let ModelFolder::Hub { name, commit, .. } = &model.folder else { continue };
        let family = compress::family(&model.folder).unwrap_or_default();
        let kind = match kind(model) {
            Some(kind) => kind.name(),
            None if model.complete => "not usable here",
            None => "incomplete, or without safetensors",
        };
        let commit = commit.get(..12).unwrap_or(commit);
        let size = readable(model.size as usize);
        rows.push(vec![name.clone(), model.revisions.join(" "), commit.into(), size, family, kind.into()]);
    }
    Ok(table(&["model", "revision", "commit", "bytes", "family", "kind"], &[3], rows))
}

fn json_list() -> Result<String> {
    let models = cache::list(&Hub::from_env()?.cache)?;
    let row = |model: &cache::CachedModel| {
        let ModelFolder::Hub { name, commit, path } = &model.folder else { return json!(null) };
        json!({
            "model": name,
            "revisions": model.revisions,
            "commit": commit,
            "bytes": model.size,
            "family": compress::family(&model.folder).ok(),
            "kind": kind(model).map(Kind::name),
            "complete": model.complete,
            "path": path,
        })
    };
    let rows: Vec<_> = models.iter().map(row).collect();
    serde_json::to_string_pretty(&rows).context("cannot write the list of models as JSON")
}
