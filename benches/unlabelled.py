#!/usr/bin/env python3
"""Can a threshold come from a run's scores alone, without labels? F1 on labelled pairs at thresholds that saw none of them.

    python benches/unlabelled.py target/release/mine /tmp/unlabelled /tmp/quality/{check,topic,rqe,mrpc,stsb,sick}.parquet

Each set's questions are mined with all pairs from cosine 0.6 reranked; then, from the log-odds of all mined pairs: the shipped threshold,
the threshold of the best expected F1 by the probabilities as they are, the same after the share of duplicates was estimated by EM
(Saerens, Latinne & Decaestecker 2002, from the share .10 and .37), and by a mixture of two normal distributions. Needs pandas, pyarrow, scipy.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

SHIPPED = np.log(0.3 / 0.7)
OPTIONS = "--min-cosine 0.6 --rerank-floor 0.6 --rerank-ceiling 1 --rerank-share 100% --top-k 50 --quiet".split()


def mined(mine, work, path):
    """Log-odds of all mined pairs, and for each labelled pair its log-odds (-inf if it was not mined) and label."""
    labels = pd.read_parquet(path)
    labels = labels[labels.natural] if "natural" in labels else labels
    texts = pd.unique(pd.concat([labels.question1, labels.question2]))
    questions, output = work / path.name, work / path.stem
    pd.DataFrame({"id": range(len(texts)), "text": texts}).to_parquet(questions)
    subprocess.run([mine, "--input", questions, "--output", output, *OPTIONS], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pairs = pd.read_parquet(output / "pairs.parquet")
    odds = np.clip(pairs.probability.astype(float), 1e-7, 1 - 1e-7)
    odds = np.log(odds / (1 - odds)).to_numpy()
    number = dict(zip(texts, range(len(texts))))
    key = lambda a, b: (min(int(a), int(b)), max(int(a), int(b)))
    known = {key(a, b): z for a, b, z in zip(pairs.id_a, pairs.id_b, odds)}
    both = zip(labels.question1.map(number), labels.question2.map(number))
    return odds, np.array([known.get(key(a, b), -np.inf) for a, b in both]), labels.is_duplicate.astype(int).to_numpy()


def f1(scores, labels, threshold):
    found = scores >= threshold
    return 2 * (found & (labels == 1)).sum() / max(1, found.sum() + labels.sum())


def best_expected(odds, probability):
    order = np.argsort(-odds)
    right = np.cumsum(probability[order])
    return odds[order][np.argmax(2 * right / (np.arange(1, len(odds) + 1) + probability.sum()))]


def logistic(z):
    return 1 / (1 + np.exp(-z))


def shifted(odds, start):
    share = start
    for _ in range(500):
        probability = logistic(odds + np.log(share / (1 - share)) - np.log(start / (1 - start)))
        share = float(np.clip(probability.mean(), 1e-6, 1 - 1e-6))
    return probability


def mixture(odds):
    mean, spread, share = np.quantile(odds, [0.3, 0.97]), np.array([odds.std(), odds.std() / 2]), np.array([0.9, 0.1])
    for _ in range(300):
        parts = np.stack([share[k] * norm.pdf(odds, mean[k], spread[k]) for k in (0, 1)])
        parts /= parts.sum(0) + 1e-300
        share, mean = parts.mean(1), (parts * odds).sum(1) / parts.sum(1)
        spread = np.sqrt((parts * (odds - mean[:, None]) ** 2).sum(1) / parts.sum(1)) + 1e-3
    return parts[np.argmax(mean)]


mine, work = sys.argv[1], Path(sys.argv[2])
work.mkdir(parents=True, exist_ok=True)
print(f"{'set':8}{'best':>8}{'shipped':>9}{'as is':>8}{'EM .10':>8}{'EM .37':>8}{'mixture':>9}")
for path in map(Path, sys.argv[3:]):
    odds, scores, labels = mined(mine, work, path)
    highest = max(f1(scores, labels, z) for z in np.quantile(scores[np.isfinite(scores)], np.linspace(0, 1, 201)))
    guesses = [logistic(odds), shifted(odds, 0.1), shifted(odds, 0.37), mixture(odds)]
    found = [f1(scores, labels, SHIPPED)] + [f1(scores, labels, best_expected(odds, guess)) for guess in guesses]
    print(f"{path.stem:8}{highest:8.3f}{found[0]:9.3f}" + "".join(f"{value:8.3f}" for value in found[1:4]) + f"{found[4]:9.3f}")
