#!/usr/bin/env python3
"""The same work through sentence-transformers, for figures side by side: benches/versus.sh and peer_multitask.py.

    peer.py encode --model DIR --input questions.parquet [--batch-size N] [--dtype bfloat16]
    peer.py mine   --model DIR --input questions.parquet [--top-k N] [--output pairs.parquet]
    peer.py train  --model DIR --train train.parquet --dev dev.parquet --loss mnr|online_contrastive|contrastive|cosine|bce

Questions have the columns id and text; pairs have question1, question2, is_duplicate and, if only some of them count on
dev, natural. Every command prints one line of JSON per figure. It needs the environment of `just peer`.
"""

import argparse
import json
import resource
import time

import numpy as np
import pandas as pd
import torch

WARM_UP_STEPS, LEARNING_RATE, MARGIN, SEED = 100, 2e-5, 0.5, 42


def say(**figures):
    figures["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures), flush=True)


def best_f1(scores, labels):
    """The best F1 over every distinct score, and that score."""
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order]
    predicted = np.arange(1, len(labels) + 1)
    last_of_its_score = np.append(scores[1:] != scores[:-1], True)
    f1 = np.where(last_of_its_score, 2 * np.cumsum(labels) / (predicted + labels.sum()), 0)
    best = int(f1.argmax())
    return float(f1[best]), float(scores[best])


def quality(step, scores, labels):
    from sklearn.metrics import average_precision_score, roc_auc_score

    f1, threshold = best_f1(scores, labels)
    cuts = np.unique(np.quantile(scores, np.linspace(0, 1, 1001)))
    accuracy = max(((scores >= cut) == labels).mean() for cut in cuts)
    say(
        step=step, pairs=len(labels), f1=round(f1, 4), threshold=round(threshold, 4),
        ap=round(average_precision_score(labels, scores), 4), roc_auc=round(roc_auc_score(labels, scores), 4),
        accuracy=round(float(accuracy), 4),
    )  # fmt: skip


def bi_encoder(folder, dtype="float32"):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})


def cross_encoder(folder):
    from sentence_transformers import CrossEncoder

    return CrossEncoder(folder, num_labels=1, device="cpu", max_length=128)


def natural(path):
    pairs = pd.read_parquet(path)
    return pairs[pairs.natural] if "natural" in pairs else pairs


def scores(model, pairs, batch_size):
    """Logits of a cross-encoder, cosines of a bi-encoder."""
    from sentence_transformers import CrossEncoder

    if isinstance(model, CrossEncoder):
        texts = list(zip(pairs.question1, pairs.question2))
        return np.asarray(model.predict(texts, batch_size=batch_size), dtype=np.float64)
    first, second = (
        model.encode(texts.tolist(), batch_size=batch_size, normalize_embeddings=True)
        for texts in (pairs.question1, pairs.question2)
    )
    return (first * second).sum(1).astype(np.float64)


def examples(pairs, label=float):
    from sentence_transformers import InputExample

    rows = zip(pairs.question1, pairs.question2, pairs.is_duplicate)
    return [InputExample(texts=[first, second], label=label(duplicate)) for first, second, duplicate in rows]


def encode(args):
    model, texts = bi_encoder(args.model, args.dtype), pd.read_parquet(args.input).text.tolist()
    model.encode(texts[:64])
    start = time.time()
    model.encode(texts, batch_size=args.batch_size, convert_to_tensor=True)
    seconds = time.time() - start
    say(step="encode", dtype=args.dtype, questions=len(texts), seconds=round(seconds, 2), per_second=round(len(texts) / seconds, 1))


def mine(args):
    from sentence_transformers import util

    model, questions = bi_encoder(args.model), pd.read_parquet(args.input)
    start = time.time()
    vectors = model.encode(
        questions.text.tolist(), batch_size=args.batch_size, convert_to_tensor=True, normalize_embeddings=True
    ).float()
    encoded = time.time()
    pairs = util.paraphrase_mining_embeddings(vectors, top_k=args.top_k, max_pairs=500_000)
    end = time.time()
    say(
        step="mine", questions=len(questions), top_k=args.top_k, encode_s=round(encoded - start, 2),
        search_s=round(end - encoded, 2), total_s=round(end - start, 2), pairs=len(pairs),
    )  # fmt: skip
    if args.output:
        ids, pairs = questions.id.to_numpy(), pd.DataFrame(pairs, columns=["cosine", "i", "j"])
        found = {"id_a": ids[pairs.i], "id_b": ids[pairs.j], "cosine": pairs.cosine}
        pd.DataFrame(found).to_parquet(args.output)


def train(args):
    from sentence_transformers import losses
    from torch.utils.data import DataLoader

    torch.manual_seed(SEED)
    pairs, dev = pd.read_parquet(args.train).sample(frac=1, random_state=SEED), natural(args.dev)
    is_cross = args.loss == "bce"
    model = cross_encoder(args.model) if is_cross else bi_encoder(args.model)
    if args.loss == "mnr":
        pairs = pairs[pairs.is_duplicate == 1]
    label = (lambda duplicate: 1.0 if duplicate else -1.0) if args.loss == "cosine" else float
    batches = DataLoader(examples(pairs, label), shuffle=True, batch_size=args.batch_size)
    settings = {
        "epochs": 1, "warmup_steps": WARM_UP_STEPS, "optimizer_params": {"lr": LEARNING_RATE}, "show_progress_bar": False,
    }  # fmt: skip
    start = time.time()
    if is_cross:
        model.fit(batches, **settings)
    else:
        distance = {"distance_metric": losses.SiameseDistanceMetric.COSINE_DISTANCE, "margin": MARGIN}
        loss = {
            "mnr": lambda: losses.MultipleNegativesRankingLoss(model),
            "cosine": lambda: losses.CosineSimilarityLoss(model),
            "contrastive": lambda: losses.ContrastiveLoss(model, **distance),
            "online_contrastive": lambda: losses.OnlineContrastiveLoss(model, **distance),
        }[args.loss]()
        model.fit([(batches, loss)], **settings)
    seconds = time.time() - start
    say(
        step="train", loss=args.loss, pairs=len(pairs), seconds=round(seconds, 1),
        pairs_per_second=round(len(pairs) / seconds, 1),
    )  # fmt: skip
    quality("dev_after_" + args.loss, scores(model, dev, args.batch_size), dev.is_duplicate.to_numpy())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"encode": encode, "mine": mine, "train": train}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--model", required=True)
    for name in ("input", "train", "dev", "output"):
        parser.add_argument("--" + name)
    parser.add_argument("--loss", choices=["mnr", "online_contrastive", "contrastive", "cosine", "bce"], default="mnr")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--top-k", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    args = parser.parse_args()
    commands[args.command](args)
