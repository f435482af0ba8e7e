#!/usr/bin/env python3
"""Opens what `mine models export` writes in Python and compares every number with those of `mine` itself.

    tests/parity/run.sh          # sets up .peer unless PEER names a Python with sentence-transformers

For every family a bi-encoder and a cross-encoder: export, then one run of `mine` over the same questions with both
(vectors from embeddings.parquet, logits from pairs.parquet), then SentenceTransformer and CrossEncoder on the exported
folders. Also dense layers, an XLM-R of SentencePiece, a prompt left out of the pooling, the siamese head, and the built-in model.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers.utils import logging

logging.set_verbosity_error()  # an encoder's pooler, which nothing reads, is reported as missing each time
logging.disable_progress_bar()

REPOSITORY = Path(__file__).resolve().parents[2]
FAMILIES = REPOSITORY / "fixtures" / "models" / "families"
MINE = REPOSITORY / "target" / "release" / "mine"
TOLERANCE = 2e-5
QUESTIONS = [
    "How do I learn to cook rice?",
    "What is the best way to cook rice?",
    "Which book do you learn a language with?",
    "What is a prime number?",
    "Où est le café?",
    "a",
    "Is [MASK] a word, and what of <mask> and 東京?",
    " ".join(["the best way to learn a new language"] * 80),
]
MODULE = "sentence_transformers.models."


def mine(*arguments):
    done = subprocess.run([MINE, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"mine {' '.join(map(str, arguments))}\n{done.stderr}")


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def bi_encoder(work, family, pooling=None, overlay=None, prompt=None):
    """A bi-encoder to export: a checkpoint with modules laid over it."""
    folder = work / "source"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FAMILIES / family, folder)
    if overlay:
        shutil.copytree(FAMILIES / overlay, folder, dirs_exist_ok=True)
    if pooling:
        write(folder / "modules.json", [
            {"idx": 0, "name": "0", "path": "", "type": MODULE + "Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": MODULE + "Pooling"},
        ])
        write(folder / "1_Pooling" / "config.json", pooling)
    if prompt:
        write(folder / "config_sentence_transformers.json", {"prompts": {"q": prompt}, "default_prompt_name": "q"})
    return folder


def xlm_roberta(work):
    """The RoBERTa checkpoint as an XLM-R whose only vocabulary is a SentencePiece model."""
    folder = bi_encoder(work, "roberta", {"embedding_dimension": 32, "pooling_mode": "mean"}, "sentence-piece")
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / file).unlink()
    write(folder / "tokenizer_config.json", {"model_max_length": 512})
    write(folder / "added_tokens.json", {"<mask>": 281})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    write(folder / "config.json", config | {"model_type": "xlm-roberta"})
    return folder


def exported(work, source, name):
    output = work / name
    shutil.rmtree(output, ignore_errors=True)
    mine("models", "export", "--input", source, "--output", output)
    with safe_open(output / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    return output


def unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def check(what, difference):
    print(f"{what:<44} largest difference {difference:.1e}")
    if not difference <= TOLERANCE:
        sys.exit(f"{what}: {difference} is over {TOLERANCE}")


def compare(work, name, source_bi, source_cross=None):
    """Exports, mines with the exported folders, and opens them in Python."""
    bi = exported(work, source_bi, "bi")
    model = SentenceTransformer(str(bi), device="cpu", local_files_only=True)
    vectors = model.encode(QUESTIONS, show_progress_bar=False)
    if isinstance(source_bi, Path):
        original = SentenceTransformer(
            str(source_bi), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
        )
        assert original.max_seq_length == model.max_seq_length
        check(f"{name}: exported and original in Python", np.abs(original.encode(QUESTIONS) - vectors).max())
    questions = work / "questions.parquet"
    pd.DataFrame({"id": range(len(QUESTIONS)), "text": QUESTIONS}).to_parquet(questions)
    output = work / "mined"
    shutil.rmtree(output, ignore_errors=True)
    options = ["--input", questions, "--output", output, "--bi-encoder", bi, "--min-cosine", -1, "--threshold", 0.5,
               "--write-embeddings", "--quiet"]
    if source_cross:
        cross = exported(work, source_cross, "cross")
        options += ["--cross-encoder", cross, "--swap-margin", 1000]
    mine(*options)
    ours = np.stack(pd.read_parquet(output / "embeddings.parquet").sort_values("id").embedding.to_list())
    check(f"{name}: vectors of mine and Python", np.abs(ours - unit(vectors)).max())
    if source_cross:
        pairs = pd.read_parquet(output / "pairs.parquet")
        assert len(pairs) >= 20, len(pairs)
        model = CrossEncoder(str(cross), device="cpu", local_files_only=True)
        assert model.activation_fn.__class__.__name__ == ("Identity" if name == "distilbert" else "Sigmoid")
        for column, first, second in (("score_ab", "id_a", "id_b"), ("score_ba", "id_b", "id_a")):
            texts = [(QUESTIONS[a], QUESTIONS[b]) for a, b in zip(pairs[first], pairs[second])]
            logits = model.predict(texts, activation_fn=torch.nn.Identity(), show_progress_bar=False)
            check(f"{name}: {column} of mine and Python", np.abs(pairs[column].to_numpy() - logits).max())


def siamese(work):
    head = exported(work, bi_encoder(work, "distilbert", {"pooling_mode": "cls", "embedding_dimension": 32}, "siamese"),
                    "bi") / "siamese_head" / "model.safetensors"
    layers = torch.nn.Sequential(torch.nn.Linear(128, 20), torch.nn.PReLU(), torch.nn.Dropout(), torch.nn.Linear(20, 12),
                                 torch.nn.PReLU(), torch.nn.Dropout(), torch.nn.Linear(12, 2))
    with safe_open(head, "pt") as written, safe_open(FAMILIES / "siamese/siamese_head/model.safetensors", "pt") as original:
        layers.load_state_dict({name: written.get_tensor(name) for name in written.keys()})
        check("siamese head", max(
            (written.get_tensor(name) - original.get_tensor(name)).abs().max().item() for name in original.keys()
        ))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        every = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
        for family in ("bert", "roberta", "distilbert", "mpnet"):
            pooling = {"embedding_dimension": 32, "pooling_mode": every if family == "mpnet" else "mean"}
            compare(work, family, bi_encoder(work, family, pooling), FAMILIES / family)
        compare(work, "order of concatenation", bi_encoder(
            work, "roberta", {"embedding_dimension": 32, "pooling_mode": ["mean", "cls"]}
        ))
        compare(work, "dense", bi_encoder(work, "bert", overlay="dense"))
        compare(work, "dense with use_residual", bi_encoder(work, "bert", overlay="residual"))
        compare(work, "XLM-R of SentencePiece", xlm_roberta(work))
        compare(work, "prompt", bi_encoder(
            work, "roberta", {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": False}, prompt="ask: "
        ))
        siamese(work)
        compare(work, "built-in", "built-in")
    print("all equal")
