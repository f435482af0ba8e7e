//! What is trained: a model of any kind behind one forward pass, from items to outputs.

use anyhow::Result;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::device::tunes_shapes;
use crate::executor::batch::{BatchShape, Lengths};
use crate::models::bi_encoder::{BiEncoder, BiEncoderModel};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::folder_writer::FolderWriter;
use crate::models::checkpoint::kind::Kind;
use crate::models::cross_encoder::{CrossEncoder, CrossEncoderModel};
use crate::models::network::encoder::Encoder;
use crate::models::network::precision::Precision;
use crate::models::network::token_batch::TokenBatch;
use crate::models::siamese::{HeadConfig, SiameseClassifier, SiameseModel};
use crate::text::tokenizer::Tokenizer;

/// What one row of the outputs is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub ids: Vec<u32>,
    /// Empty means zeros.
    pub type_ids: Vec<u32>,
    /// Of a siamese classifier: the second text.
    pub second: Vec<u32>,
}

impl Item {
    /// A text alone.
    pub fn of_text(ids: &[u32]) -> Self {
        Self { ids: ids.to_vec(), type_ids: Vec::new(), second: Vec::new() }
    }

    /// Tokens of its longest sequence.
    pub fn longest(&self) -> usize {
        self.ids.len().max(self.second.len())
    }

    /// Tokens of all its texts.
    pub fn tokens(&self) -> usize {
        self.ids.len() + self.second.len()
    }
}

/// The trainable part of a model of any kind.
#[derive(Module, Debug)]
pub enum Network {
    Bi(BiEncoderModel),
    Cross(CrossEncoderModel),
    Siamese(SiameseModel),
}

impl Network {
    /// `[R, D]` vectors, `[R, 1]` logits or `[R, 2]` log-probabilities of R items.
    pub fn forward(&self, items: &[&Item]) -> Tensor<2> {
        if !tunes_shapes(&self.encoder().device()) {
            return self.of_batches(&self.batches(items));
        }
        let shape = BatchShape { max_tokens: usize::MAX, lengths: Lengths::Rounded };
        let outputs = self.of_batches(&self.padded_batches(items, shape, self.encoder().config().max_tokens()));
        // rows that only fill the shape come last
        outputs.narrow(0, 0, items.len())
    }

    /// The same from the batches of the items.
    pub fn of_batches(&self, batches: &[TokenBatch]) -> Tensor<2> {
        match self {
            Self::Bi(model) => model.forward(&batches[0]),
            Self::Cross(model) => model.forward(&batches[0]).unsqueeze_dim(1),
            Self::Siamese(model) => model.forward(&batches[0], &batches[1]),
        }
    }

    /// The encoder's hidden states, `[R, H]`, or those of the first tokens, `[B, H]`, where the head reads no others.
    pub fn hidden(&self, batch: &TokenBatch) -> Tensor<2> {
        if self.reads_first_tokens() { self.encoder().first_tokens(batch) } else { self.encoder().forward(batch) }
    }

    /// Whether the head reads the first tokens alone.
    pub fn reads_first_tokens(&self) -> bool {
        matches!(self, Self::Cross(_))
    }

    /// Outputs from the hidden states of each of the batches.
    #[expect(clippy::expect_used, reason = "callers give one hidden state a batch")]
    pub fn of_hidden(&self, hidden: Vec<Tensor<2>>, batches: &[TokenBatch]) -> Tensor<2> {
        let mut inputs = hidden.into_iter().zip(batches);
        let mut next = || inputs.next().expect("one hidden state a batch");
        match self {
            Self::Bi(model) => {
                let (hidden, batch) = next();
                model.of_hidden(hidden, batch)
            }
            Self::Cross(model) => model.head.forward(next().0).unsqueeze_dim(1),
            Self::Siamese(model) => {
                let mut vectors = || {
                    let (hidden, batch) = next();
                    model.encoder.of_hidden(hidden, batch)
                };
                let (first, second) = (vectors(), vectors());
                model.head.forward(first, second)
            }
        }
    }

    /// What the encoder is given for these items: of a siamese classifier the first texts and the second.
    pub fn batches(&self, items: &[&Item]) -> Vec<TokenBatch> {
        let first = TokenBatch::new(items.iter().map(|item| (item.ids.as_slice(), item.type_ids.as_slice())));
        match self {
            Self::Bi(_) | Self::Cross(_) => vec![first],
            Self::Siamese(_) => {
                vec![first, TokenBatch::new(items.iter().map(|item| (item.second.as_slice(), [].as_slice())))]
            }
        }
    }

    /// The same batches in the shape that the device wants, of at most `limit` tokens. Rows that only fill the shape come
    /// last, as many in the second texts as in the first.
    pub fn padded_batches(&self, items: &[&Item], shape: BatchShape, limit: usize) -> Vec<TokenBatch> {
        let batches = self.batches(items);
        if shape.lengths == Lengths::Packed {
            return batches.into_iter().map(|batch| batch.pad_to(shape, limit)).collect();
        }
        let dims = batches.iter().map(|batch| batch.padded_dims(shape, limit));
        let rows = dims.clone().map(|[rows, _]| rows).min().unwrap_or(0);
        let tokens: Vec<usize> = dims.map(|[_, tokens]| tokens).collect();
        batches.into_iter().zip(tokens).map(|(batch, tokens)| batch.padded(rows, tokens)).collect()
    }

    /// The encoder, whose parameters a module visits before all others.
    pub fn encoder(&self) -> &Encoder {
        match self {
            Self::Bi(model) => &model.encoder,
            Self::Cross(model) => &model.encoder,
            Self::Siamese(model) => &model.encoder.encoder,
        }
    }

    /// The same network with another probability in every dropout.
    pub fn with_dropout(self, p: f64) -> Self {
        match self {
            Self::Bi(model) => Self::Bi(model.with_dropout(p)),
            Self::Cross(model) => Self::Cross(model.with_dropout(p)),
            Self::Siamese(model) => Self::Siamese(model.with_dropout(p)),
        }
    }

    /// The network with an encoder that computes in another number format. Off autodiff only: the cast weights are what
    /// is differentiated, and their gradients are those of the weights.
    pub fn in_precision(self, precision: Precision) -> Self {
        match self {
            Self::Bi(model) => Self::Bi(model.in_precision(precision)),
            Self::Cross(model) => Self::Cross(model.in_precision(precision)),
            Self::Siamese(model) => Self::Siamese(model.in_precision(precision)),
        }
    }

    /// The network for measuring it on the device where it is.
    pub fn for_inference(self) -> Self {
        match self {
            Self::Bi(model) => Self::Bi(model.for_inference()),
            Self::Cross(model) => Self::Cross(model.for_inference()),
            Self::Siamese(model) => Self::Siamese(model.for_inference()),
        }
    }

    /// The network with a frozen encoder, without dropout in it: only the head is trained.
    pub fn with_frozen_encoder(self) -> Self {
        match self {
            Self::Siamese(model) => {
                Self::Siamese(SiameseModel { encoder: model.encoder.freeze().with_dropout(0.0), ..model })
            }
            other => other,
        }
    }

    /// The network with a frozen token table.
    pub fn with_frozen_tokens(self) -> Self {
        self.map(&mut TokenTable { rows: None, path: Vec::new() })
    }

    /// The padding id, in families that count positions from it.
    pub fn padding(&self) -> Option<usize> {
        self.encoder().config().padding
    }

    /// The network with the token table cut down to `rows`, in their order.
    pub fn with_token_rows(self, rows: &[u32], device: &Device) -> Self {
        let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
        let count = rows.len();
        let rows = Tensor::from_data(TensorData::new(rows, [count]), device);
        self.map(&mut TokenTable { rows: Some(rows), path: Vec::new() })
    }
}

/// The end of the token table's path in every network.
pub const TOKEN_TABLE: &str = "encoder.words.weight";

/// The end of a parameter's path that two kinds of network share.
pub fn is_token_table(path: &[String]) -> bool {
    path.join(".").ends_with(TOKEN_TABLE)
}

/// Changes only the token table: cuts it down to `rows`, or freezes it if `rows` is `None`.
struct TokenTable {
    rows: Option<Tensor<1, Int>>,
    path: Vec<String>,
}

impl ModuleMapper for TokenTable {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !is_token_table(&self.path) {
            return param;
        }
        match &self.rows {
            Some(rows) => param.map(|table| table.select(0, rows.clone())),
            None => param.set_require_grad(false),
        }
    }
}

/// A model under training: network, tokenizer and the folder whose files go into the new one.
pub enum Trainee {
    Bi(BiEncoder),
    Cross(CrossEncoder),
    Siamese(SiameseClassifier),
}

impl Trainee {
    /// Loads the model to start from. A cross-encoder from a folder without a classification head gets a new one, drawn
    /// from `seed`; so does a siamese classifier.
    pub fn load(kind: Kind, folder: &ModelFolder, seed: u64, device: &Device) -> Result<Self> {
        Ok(match kind {
            Kind::Bi => Self::Bi(BiEncoder::load(folder, device)?),
            Kind::Cross if has_head(folder)? => Self::Cross(CrossEncoder::load(folder, device)?),
            Kind::Cross => Self::Cross(CrossEncoder::with_new_head(folder, seed, device)?),
            Kind::Siamese if SiameseClassifier::is_in(folder) => {
                Self::Siamese(SiameseClassifier::load(folder, device)?)
            }
            Kind::Siamese => {
                Self::Siamese(SiameseClassifier::with_new_head(folder, HeadConfig::default(), seed, device)?)
            }
        })
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::Bi(model) => &model.tokenizer,
            Self::Cross(model) => &model.tokenizer,
            Self::Siamese(model) => &model.bi_encoder.tokenizer,
        }
    }

    /// The trainable part, sharing its weights with this one.
    pub fn network(&self) -> Network {
        match self {
            Self::Bi(model) => Network::Bi(model.model.clone()),
            Self::Cross(model) => Network::Cross(model.model.clone()),
            Self::Siamese(model) => Network::Siamese(model.model()),
        }
    }

    /// The same model with trained weights; a network of another kind changes nothing.
    pub fn with(self, network: Network) -> Self {
        match (self, network) {
            (Self::Bi(model), Network::Bi(trained)) => Self::Bi(BiEncoder { model: trained, ..model }),
            (Self::Cross(model), Network::Cross(trained)) => Self::Cross(CrossEncoder { model: trained, ..model }),
            (Self::Siamese(model), Network::Siamese(trained)) => Self::Siamese(model.with_model(trained)),
            (model, _) => model,
        }
    }

    /// Writes the model's files.
    pub fn write(&self, writer: &FolderWriter) -> Result<()> {
        match self {
            Self::Bi(model) => model.write(writer),
            Self::Cross(model) => model.write(writer),
            Self::Siamese(model) => model.write(writer),
        }
    }
}

/// Whether the folder holds a model for sequence classification.
fn has_head(folder: &ModelFolder) -> Result<bool> {
    let config: serde_json::Value = folder.require_json("config.json")?;
    let named = config.get("architectures").map(ToString::to_string).unwrap_or_default();
    Ok(named.contains("SequenceClassification"))
}
