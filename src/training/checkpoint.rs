//! A training's state on disk: weights, the optimiser's moments, and what has been measured.
//!
//! One safetensors file holds it all and appears complete or not at all. The learning rate, the place in the data and
//! every dropout mask follow from the seed and the number of finished steps, which is the file's name and the
//! optimiser's count: nothing else needs to be kept for the same bytes to come out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::atomic_file::write_bytes;
use crate::error::hint;
use crate::progress::Progress;
use crate::training::gradients::names;
use crate::training::history::History;
use crate::training::optimizer::Moments;
use crate::training::step::Learner;

const CHECKPOINT: &str = "checkpoint-";
const BEST: &str = "best-";
const EXTENSION: &str = ".safetensors";

/// One tensor of a file.
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn entry_f32(name: String, shape: Vec<usize>, values: &[f32]) -> Entry {
    Entry { name, dtype: Dtype::F32, shape, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
}

fn entry_f64(name: &str, width: usize, values: &[f64]) -> Entry {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Entry { name: name.into(), dtype: Dtype::F64, shape: vec![values.len() / width, width], bytes }
}

fn write(path: &Path, entries: &[Entry]) -> Result<()> {
    let mut views = Vec::with_capacity(entries.len());
    for entry in entries {
        views.push((entry.name.as_str(), TensorView::new(entry.dtype, entry.shape.clone(), &entry.bytes)?));
    }
    write_bytes(path, &safetensors::serialize(views, None)?)
}

/// Writes a checkpoint into `folder` and removes all but the latest `keep`.
pub fn save(folder: &Path, learner: &Learner, history: &History, keep: usize) -> Result<()> {
    let mut entries = weights(&learner.network);
    let of_moments = |at: usize, Moments { first, second }: &Moments| {
        [("first", first), ("second", second)]
            .map(|(kind, values)| entry_f32(format!("{kind}.{at:04}"), vec![values.len()], values))
    };
    let none = Moments::default();
    for at in 0..entries.len() {
        entries.extend(of_moments(at, learner.optimizer.moments.get(at).unwrap_or(&none)));
    }
    let (steps, evaluations) = history.to_rows();
    entries.extend([entry_f64("history.steps", 3, &steps), entry_f64("history.evaluations", 7, &evaluations)]);
    write(&path(folder, CHECKPOINT, learner.optimizer.updates), &entries)?;
    let all = list(folder, CHECKPOINT)?;
    all[..all.len().saturating_sub(keep)].iter().try_for_each(|(_, path)| remove(path))
}

/// Writes the weights of the best evaluation so far. Those before it stay until [`prune_best`]: the latest checkpoint
/// may still mean one of them.
pub fn save_best<M: Module>(folder: &Path, step: u64, module: &M) -> Result<()> {
    write(&path(folder, BEST, step), &weights(module))
}

/// Reads the weights that [`save_best`] wrote at `step` into a module of the same shape.
pub fn load_best<M: Module>(folder: &Path, step: u64, module: M) -> Result<M> {
    let path = path(folder, BEST, step);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    read_weights(&parse(&bytes, &path)?, &path, module)
}

/// Removes all best weights but those of `step`.
pub fn prune_best(folder: &Path, step: u64) -> Result<()> {
    list(folder, BEST)?.iter().filter(|(other, _)| *other != step).try_for_each(|(_, path)| remove(path))
}

fn path(folder: &Path, prefix: &str, step: u64) -> PathBuf {
    folder.join(format!("{prefix}{step:08}{EXTENSION}"))
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Whether `folder` has any checkpoint.
pub fn exists(folder: &Path) -> Result<bool> {
    Ok(!list(folder, CHECKPOINT)?.is_empty())
}

/// Brings the learner to the latest checkpoint of `folder`, or to the one before where that is damaged; `None` when it
/// has none.
pub fn resume(folder: &Path, learner: &mut Learner, progress: &Progress) -> Result<Option<History>> {
    let mut all = list(folder, CHECKPOINT)?;
    while let Some((updates, path)) = all.pop() {
        match read(&path, learner, updates) {
            Ok(history) => return Ok(Some(history)),
            Err(damaged) if all.is_empty() => {
                let advice = format!("remove {} to begin this training anew", folder.display());
                return Err(hint(format!("{damaged:#}"), advice));
            }
            Err(damaged) => progress.warn(format!("{damaged:#}: the checkpoint before it is taken")),
        }
    }
    Ok(None)
}

/// Brings the learner to one checkpoint, or leaves it as it is.
fn read(path: &Path, learner: &mut Learner, updates: u64) -> Result<History> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = parse(&bytes, path)?;
    let network = read_weights(&file, path, learner.network.clone())?;
    let moments = |at: usize| -> Result<Moments> {
        let values = |kind: &str| floats(&file, &format!("{kind}.{at:04}"), path);
        Ok(Moments { first: values("first")?, second: values("second")? })
    };
    let moments = (0..names(&network).len()).map(moments).collect::<Result<_>>()?;
    let rows = |name: &str| doubles(&file, name, path);
    let history = History::from_rows(&rows("history.steps")?, &rows("history.evaluations")?);
    learner.network = network;
    (learner.optimizer.moments, learner.optimizer.updates) = (moments, updates);
    Ok(history)
}

/// Files of one kind with their steps, oldest first.
fn list(folder: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let step = name.strip_prefix(prefix).and_then(|name| name.strip_suffix(EXTENSION));
        if let Some(step) = step.and_then(|step| step.parse().ok()) {
            found.push((step, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(bytes).map_err(|e| anyhow!("{}: not a readable checkpoint ({e})", path.display()))
}

fn floats(file: &SafeTensors, name: &str, path: &Path) -> Result<Vec<f32>> {
    let view = file.tensor(name).with_context(|| format!("{}: tensor `{name}` is missing", path.display()))?;
    Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn doubles(file: &SafeTensors, name: &str, path: &Path) -> Result<Vec<f64>> {
    let view = file.tensor(name).with_context(|| format!("{}: tensor `{name}` is missing", path.display()))?;
    let double = |b: &[u8]| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    Ok(view.data().chunks_exact(8).map(double).collect())
}

fn weights<M: Module>(module: &M) -> Vec<Entry> {
    let mut reader = Reader { names: names(module).into_iter(), entries: Vec::new() };
    module.visit(&mut reader);
    reader.entries
}

struct Reader {
    names: std::vec::IntoIter<String>,
    entries: Vec<Entry>,
}

impl ModuleVisitor for Reader {
    #[expect(clippy::expect_used, reason = "weights are trained in f32")]
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (name, tensor) = (self.names.next().unwrap_or_default(), param.val());
        let shape = tensor.dims().to_vec();
        let values: Vec<f32> = tensor.into_data().try_into_vec().expect("weights are trained in f32");
        self.entries.push(entry_f32(format!("weights.{name}"), shape, &values));
    }
}

fn read_weights<M: Module>(file: &SafeTensors, path: &Path, module: M) -> Result<M> {
    let mut found: HashMap<String, Vec<f32>> = HashMap::new();
    for name in names(&module) {
        found.insert(name.clone(), floats(file, &format!("weights.{name}"), path)?);
    }
    let mut writer = Writer { names: names(&module).into_iter(), values: found, fits: true };
    let module = module.map(&mut writer);
    ensure!(writer.fits, "{}: weights of other shapes than the model's", path.display());
    Ok(module)
}

struct Writer {
    names: std::vec::IntoIter<String>,
    values: HashMap<String, Vec<f32>>,
    fits: bool,
}

impl ModuleMapper for Writer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.names.next().and_then(|name| self.values.remove(&name)).unwrap_or_default();
        param.map(|tensor| {
            let shape = tensor.dims();
            if values.len() != shape.iter().product::<usize>() {
                self.fits = false;
                return tensor;
            }
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}
