//! Writing models as sentence-transformers folders of the old layout, which versions from 2 on and
//! text-embeddings-inference read. Unknown keys of the source's configuration are kept.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::models::bi_encoder::{BiEncoder, BiEncoderModel};
use crate::models::checkpoint::file_names::TOKENIZER_FILES;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::folder_writer::FolderWriter;
use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::sentence_config::limit_settings;
use crate::models::cross_encoder::{CrossEncoder, CrossEncoderModel};
use crate::text::tokenizer::Tokenizer;

/// Version of sentence-transformers whose layout is written.
const LAYOUT: &str = "4.1.0";

impl BiEncoder {
    /// Writes the model as it is into the new folder `output`.
    pub fn save(&self, output: &Path) -> Result<()> {
        let writer = FolderWriter::new(output)?;
        self.write(&writer)?;
        writer.finish()
    }

    /// Writes every file except calibration and a siamese head.
    pub fn write(&self, writer: &FolderWriter) -> Result<()> {
        let model = &self.model;
        let mut tensors = NamedTensors::default();
        model.encoder.tensors(&mut tensors);
        writer.write("model.safetensors", &tensors.into_bytes()?)?;
        write_config(&self.source, writer, |_| {})?;
        write_tokenizer(&self.source, writer, None)?;
        write_limits(&self.source, &self.tokenizer, writer)?;
        let mut settings: Map<String, Value> =
            self.source.json("config_sentence_transformers.json")?.unwrap_or_default();
        settings.entry("__version__").or_insert_with(|| json!({ "sentence_transformers": LAYOUT }));
        settings.entry("prompts").or_insert_with(|| json!({}));
        settings.entry("default_prompt_name").or_insert(Value::Null);
        settings.insert("model_type".into(), json!("SentenceTransformer"));
        writer.json("config_sentence_transformers.json", &Value::Object(settings))?;
        write_modules(model, writer)
    }
}

/// `modules.json` and the folders it names.
fn write_modules(model: &BiEncoderModel, writer: &FolderWriter) -> Result<()> {
    let mut modules: Vec<Value> = Vec::new();
    let mut add = |kind: &str, has_folder: bool| -> String {
        let idx = modules.len();
        let path = if has_folder { format!("{idx}_{kind}") } else { String::new() };
        let kind = format!("sentence_transformers.models.{kind}");
        modules.push(json!({ "idx": idx, "name": idx.to_string(), "path": path, "type": kind }));
        path
    };
    add("Transformer", false);
    let pooling = model.pooling.to_config(model.encoder.config().hidden);
    writer.json(&format!("{}/config.json", add("Pooling", true)), &pooling)?;
    for dense in &model.dense {
        if dense.normalise_input {
            writer.empty_folder(&add("Normalize", true))?;
        }
        let path = add("Dense", true);
        writer.json(&format!("{path}/config.json"), &dense.to_config())?;
        let mut tensors = NamedTensors::default();
        dense.tensors(&mut tensors);
        writer.write(&format!("{path}/model.safetensors"), &tensors.into_bytes()?)?;
    }
    if model.normalises {
        writer.empty_folder(&add("Normalize", true))?;
    }
    writer.json("modules.json", &Value::Array(modules))
}

impl CrossEncoder {
    /// Writes the model as it is into the new folder `output`.
    pub fn save(&self, output: &Path) -> Result<()> {
        let writer = FolderWriter::new(output)?;
        self.write(&writer)?;
        writer.finish()
    }

    /// Writes every file except the calibration.
    pub fn write(&self, writer: &FolderWriter) -> Result<()> {
        let CrossEncoderModel { encoder, head } = &self.model;
        let family = encoder.config().family;
        let mut tensors = NamedTensors::default();
        encoder.tensors(&mut tensors);
        tensors.prefix(family.prefix);
        head.tensors(&mut tensors);
        writer.write("model.safetensors", &tensors.into_bytes()?)?;
        write_config(&self.source, writer, |config| {
            let architecture = config.get("architectures").map(Value::to_string).unwrap_or_default();
            if !architecture.contains("ForSequenceClassification") {
                config.insert("architectures".into(), json!([family.classifier]));
            }
            config.entry("id2label").or_insert_with(|| json!({ "0": "LABEL_0" }));
            config.entry("label2id").or_insert_with(|| json!({ "LABEL_0": 0 }));
            let activation = json!({ "activation_fn": self.activation.name(), "version": LAYOUT });
            config.insert("sentence_transformers".into(), activation);
            config.remove("sbert_ce_default_activation_function");
        })?;
        // a cross-encoder's limit has no other place in this layout
        write_tokenizer(&self.source, writer, Some(self.tokenizer.max_tokens()))
    }
}

/// `config.json` of the source, changed by `change`. The written weights are f32.
fn write_config(
    source: &ModelFolder,
    writer: &FolderWriter,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<()> {
    let mut config: Map<String, Value> = source.require_json("config.json")?;
    for key in ["torch_dtype", "dtype"] {
        config.entry(key).and_modify(|dtype| *dtype = json!("float32"));
    }
    change(&mut config);
    writer.json("config.json", &Value::Object(config))
}

fn write_limits(source: &ModelFolder, tokenizer: &Tokenizer, writer: &FolderWriter) -> Result<()> {
    let limits = limit_settings(source)?;
    let lower_case = limits.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
    let limits = json!({ "max_seq_length": tokenizer.max_tokens(), "do_lower_case": lower_case });
    writer.json("sentence_bert_config.json", &limits)
}

/// The tokenizer's files unchanged, except the length limit if this layout keeps it among them.
fn write_tokenizer(source: &ModelFolder, writer: &FolderWriter, max_tokens: Option<usize>) -> Result<()> {
    writer.copy(source, &TOKENIZER_FILES)?;
    if let Some(max_tokens) = max_tokens {
        let mut config: Map<String, Value> = source.json("tokenizer_config.json")?.unwrap_or_default();
        config.insert("model_max_length".into(), json!(max_tokens));
        writer.json("tokenizer_config.json", &Value::Object(config))?;
    }
    Ok(())
}
