#!/usr/bin/env python3
"""Candidates a question at a floor that keeps 95, 98 and 99 % of the known duplicates: by the cosine, and by a cosine that is lowered in
crowded neighbourhoods.

    mine --input ../shared/data/qqp/questions.parquet --top-k 100 --min-cosine 0.5 --cross-encoder none --output low
    python benches/density.py ../shared/data/qqp/questions.parquet low/pairs.parquet ../shared/data/qqp/dev.parquet

The density of a question is the mean cosine of its ten nearest neighbours. It also prints what lowering does to the average precision of
the labelled pairs. Needs pandas and pyarrow.
"""

import sys

import numpy as np
import pandas as pd

NEAREST = 10
LEAST = 0.5

questions, pairs, labels = (pd.read_parquet(path) for path in sys.argv[1:])
count = len(questions)
number = dict(zip(questions.iloc[:, 0].astype(str), range(count)))
a, b = (pairs[column].astype(str).map(number).to_numpy() for column in ("id_a", "id_b"))
cosine = pairs.cosine.to_numpy()

ends, twice = np.concatenate([a, b]), np.concatenate([cosine, cosine])
order = np.lexsort((-twice, ends))
first = np.r_[0, np.flatnonzero(np.diff(ends[order])) + 1]
rank = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
near = order[rank < NEAREST]
total, found = np.zeros(count), np.zeros(count)
np.add.at(total, ends[near], twice[near])
np.add.at(found, ends[near], 1)
density = (total + (NEAREST - found) * LEAST) / NEAREST

by_text = dict(zip(questions.text, range(count)))
known = {(min(x, y), max(x, y)): at for at, (x, y) in enumerate(zip(a, b))}
labels = labels[labels.natural]
both = list(zip(labels.question1.map(by_text), labels.question2.map(by_text)))
at = np.array([known.get((min(x, y), max(x, y)), -1) for x, y in both])
duplicate = labels.is_duplicate.to_numpy() == 1

for weight in (0, 0.25, 0.5, 0.75):
    score = cosine - weight * (density[a] + density[b]) / 2
    of_labels = np.where(at >= 0, score[at], -1)
    floors = [np.quantile(of_labels[duplicate], 1 - kept, method="lower") for kept in (0.95, 0.98, 0.99)]
    right = duplicate[np.argsort(-of_labels, kind="stable")]
    precision = (np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean()
    a_question = ", ".join(f"{(score >= floor).sum() / count:.1f}" for floor in floors)
    print(f"weight {weight}: {a_question} candidates a question; average precision of labelled pairs {precision:.3f}")
