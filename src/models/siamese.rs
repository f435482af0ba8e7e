//! A siamese classifier: the same encoder on each question, and a feed-forward head over the two vectors (InferSent,
//! Conneau et al. 2017, arXiv:1705.02364; sentence-transformers' SoftmaxLoss, whose head Python does not save).
//!
//! On disk it is a bi-encoder folder with `siamese_head/{config.json,model.safetensors}`, which Python ignores.
//! The head's tensors have the names of `torch.nn.Sequential(Linear, PReLU, Dropout, …, Linear)`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::module::{Module, Param};
use burn::nn::{PRelu, PReluConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::models::bi_encoder::{BiEncoder, BiEncoderModel};
use crate::models::checkpoint::file_names::SIAMESE_HEAD_CONFIG;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::folder_writer::FolderWriter;
use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::pooling_config::{PoolingConfig, PoolingMode};
use crate::models::checkpoint::weights::Weights;
use crate::models::network::dropout::Dropout;
use crate::models::network::linear::Linear;
use crate::models::network::precision::Precision;
use crate::models::network::token_batch::TokenBatch;

const WEIGHTS: &str = "siamese_head/model";
const PRELU: &str = "torch.nn.modules.activation.PReLU";

/// What the head sees of the vectors u and v.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feature {
    #[serde(rename = "u")]
    First,
    #[serde(rename = "v")]
    Second,
    #[serde(rename = "|u-v|")]
    Difference,
    #[serde(rename = "u*v")]
    Product,
}

/// `siamese_head/config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadConfig {
    /// Concatenated in this order.
    pub features: Vec<Feature>,
    pub hidden_sizes: Vec<usize>,
    pub activation: String,
    pub dropout: f64,
    pub classes: usize,
    /// Pairs are duplicates from this probability of class 1.
    pub threshold: f32,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self {
            features: vec![Feature::First, Feature::Second],
            hidden_sizes: vec![300, 300],
            activation: PRELU.into(),
            dropout: 0.25,
            classes: 2,
            threshold: 0.5,
        }
    }
}

impl HeadConfig {
    fn check(&self) -> Result<()> {
        ensure!((1..=8).contains(&self.features.len()), "features has {} entries", self.features.len());
        ensure!(
            self.hidden_sizes.len() <= 16 && self.hidden_sizes.iter().all(|size| (1..1 << 16).contains(size)),
            "hidden_sizes is {:?}",
            self.hidden_sizes
        );
        ensure!(self.activation == PRELU, "activation {:?} is not supported, expected {PRELU:?}", self.activation);
        ensure!((0.0..1.0).contains(&self.dropout), "dropout is {}, expected a probability below 1", self.dropout);
        ensure!(self.classes == 2, "{} classes, expected 2", self.classes);
        Ok(())
    }

    /// Width of every linear layer's input and output, the last included, for vectors of width `dimensions`.
    fn widths(&self, dimensions: usize) -> Vec<[usize; 2]> {
        let inputs = std::iter::once(self.features.len() * dimensions).chain(self.hidden_sizes.iter().copied());
        inputs.zip(self.hidden_sizes.iter().copied().chain([self.classes])).map(|(d_in, d_out)| [d_in, d_out]).collect()
    }
}

/// The feed-forward head. B rows, D dimensions.
#[derive(Module, Debug)]
pub struct SiameseHead {
    linears: Vec<Linear>,
    slopes: Vec<PRelu>,
    dropout: Dropout,
    #[module(skip)]
    pub config: HeadConfig,
}

impl SiameseHead {
    /// A head to train, initialised as PyTorch initialises its layers.
    pub fn new(config: HeadConfig, dimensions: usize, seed: u64, device: &Device) -> Result<Self> {
        config.check()?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let layer = |widths: [usize; 2]| {
            let bound = 1.0 / (widths[0] as f32).sqrt();
            Linear::seeded(widths, bound, bound, &mut random, device)
        };
        let linears = config.widths(dimensions).into_iter().map(layer).collect();
        let slopes = config.hidden_sizes.iter().map(|_| PReluConfig::new().init(device)).collect();
        Ok(Self { linears, slopes, dropout: Dropout::new(config.dropout), config })
    }

    fn load(folder: &ModelFolder, dimensions: usize, device: &Device) -> Result<Self> {
        let config: HeadConfig = folder.require_json(SIAMESE_HEAD_CONFIG)?;
        config.check().with_context(|| folder.path(SIAMESE_HEAD_CONFIG).display().to_string())?;
        let weights = Weights::open(folder, WEIGHTS, "", device)?;
        let linears = config.widths(dimensions).into_iter().enumerate();
        let linears = linears
            .map(|(at, widths)| Linear::load(&weights, &linear_name(at), widths, true))
            .collect::<Result<_>>()?;
        let slope = |at: usize| -> Result<PRelu> {
            let alpha: Param<Tensor<1>> = weights.vector(&slope_name(at), 1)?;
            Ok(PRelu { alpha, ..PReluConfig::new().init(device) })
        };
        let slopes = (0..config.hidden_sizes.len()).map(slope).collect::<Result<_>>()?;
        Ok(Self { linears, slopes, dropout: Dropout::new(config.dropout), config })
    }

    fn write(&self, writer: &FolderWriter) -> Result<()> {
        let mut tensors = NamedTensors::default();
        for (at, linear) in self.linears.iter().enumerate() {
            linear.tensors(&linear_name(at), &mut tensors);
        }
        for (at, slope) in self.slopes.iter().enumerate() {
            tensors.tensor(&slope_name(at), slope.alpha.val());
        }
        writer.json(SIAMESE_HEAD_CONFIG, &serde_json::to_value(&self.config)?)?;
        writer.write(&format!("{WEIGHTS}.safetensors"), &tensors.into_bytes()?)
    }

    /// Sets the probability of its dropout.
    pub fn set_dropout(&mut self, p: f64) {
        self.dropout.prob = p;
    }

    /// Log-probabilities of the classes, `[B, 2]`, from the vectors `[B, D]` of both texts.
    pub fn forward(&self, u: Tensor<2>, v: Tensor<2>) -> Tensor<2> {
        let feature = |feature: &Feature| match feature {
            Feature::First => u.clone(),
            Feature::Second => v.clone(),
            Feature::Difference => (u.clone() - v.clone()).abs(),
            Feature::Product => u.clone() * v.clone(),
        };
        let mut x = Tensor::cat(self.config.features.iter().map(feature).collect(), 1);
        for (at, linear) in self.linears.iter().enumerate() {
            x = linear.forward(x);
            if let Some(slope) = self.slopes.get(at) {
                x = self.dropout.forward(slope.forward(x));
            }
        }
        log_softmax(x, 1)
    }
}

/// Place of a linear layer in PyTorch's sequence: each is followed by a PReLU and a dropout.
fn linear_name(at: usize) -> String {
    (3 * at).to_string()
}

fn slope_name(at: usize) -> String {
    format!("{}.weight", 3 * at + 1)
}

/// Encoder and head: everything that can be trained. `training/network.rs` freezes the encoder if only the head is trained.
#[derive(Module, Debug)]
pub struct SiameseModel {
    pub encoder: BiEncoderModel,
    pub head: SiameseHead,
}

impl SiameseModel {
    /// Log-probabilities of the classes, `[B, 2]`, of the pairs of `first` and `second`.
    pub fn forward(&self, first: &TokenBatch, second: &TokenBatch) -> Tensor<2> {
        self.head.forward(self.encoder.forward(first), self.encoder.forward(second))
    }

    /// The same model with an encoder that computes in another number format.
    pub fn in_precision(mut self, precision: Precision) -> Self {
        self.encoder = self.encoder.in_precision(precision);
        self
    }

    /// The same model for inference, as fast as its device allows.
    pub fn for_inference(mut self) -> Self {
        self.encoder = self.encoder.for_inference();
        self
    }

    /// The same model with another probability in every dropout.
    pub fn with_dropout(mut self, p: f64) -> Self {
        self.encoder = self.encoder.with_dropout(p);
        self.head.set_dropout(p);
        self
    }
}

/// A bi-encoder folder with a head, loaded.
pub struct SiameseClassifier {
    pub bi_encoder: BiEncoder,
    pub head: SiameseHead,
}

impl SiameseClassifier {
    /// Whether a folder holds a siamese head.
    pub fn is_in(folder: &ModelFolder) -> bool {
        folder.has(SIAMESE_HEAD_CONFIG)
    }

    /// Loads a folder with its head.
    pub fn load(folder: &ModelFolder, device: &Device) -> Result<Self> {
        let bi_encoder = BiEncoder::load(folder, device)?;
        let head = SiameseHead::load(folder, bi_encoder.dimensions(), device)?;
        Ok(Self { bi_encoder, head })
    }

    /// Loads the encoder of any folder, pools its first token and puts a new head on it, to be trained.
    pub fn with_new_head(folder: &ModelFolder, config: HeadConfig, seed: u64, device: &Device) -> Result<Self> {
        let mut bi_encoder = BiEncoder::load(folder, device)?;
        bi_encoder.model.pooling = PoolingConfig::of(PoolingMode::Cls);
        bi_encoder.model.dense.clear();
        bi_encoder.model.normalises = false;
        let head = SiameseHead::new(config, bi_encoder.dimensions(), seed, device)?;
        Ok(Self { bi_encoder, head })
    }

    /// Everything that can be trained; shares the weights.
    pub fn model(&self) -> SiameseModel {
        SiameseModel { encoder: self.bi_encoder.model.clone(), head: self.head.clone() }
    }

    /// The same classifier with trained weights.
    pub fn with_model(mut self, model: SiameseModel) -> Self {
        self.bi_encoder.model = model.encoder;
        self.head = model.head;
        self
    }

    /// Probability that each pair of token ids is a duplicate.
    pub fn probabilities(&self, first: &[&[u32]], second: &[&[u32]]) -> Result<Vec<f32>> {
        let batch = |rows: &[&[u32]]| TokenBatch::new(rows.iter().map(|&ids| (ids, [].as_slice())));
        let logs = self.model().forward(&batch(first), &batch(second));
        let logs: Vec<f32> = logs.into_data().try_into_vec().context("log-probabilities are not f32")?;
        Ok(logs.chunks_exact(2).map(|classes| classes[1].exp()).collect())
    }

    /// Writes the model as it is into the new folder `output`.
    pub fn save(&self, output: &Path) -> Result<()> {
        let writer = FolderWriter::new(output)?;
        self.write(&writer)?;
        writer.finish()
    }

    /// Writes encoder and head.
    pub fn write(&self, writer: &FolderWriter) -> Result<()> {
        self.bi_encoder.write(writer)?;
        self.head.write(writer)
    }
}
