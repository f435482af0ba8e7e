#!/usr/bin/env python3
"""Which threshold holds on other pairs: that of the labels' best F1, or that of the expected F1 (src/calibration/expected_f1.rs)?

    python benches/thresholds.py BI_ENCODER CROSS_ENCODER dev.parquet [--draws 400] [--threads 2]

Scores the natural pairs with sentence-transformers, fits log-odds + weight * cosine and both thresholds on a random half
and measures them on the other, again and again; pairs that share questions stay in one half. Prints one JSON line: mean F1 on the other half, and how far each
threshold strays, as probabilities. Needs sentence-transformers, scikit-learn, pandas.
"""
import argparse, json
import numpy as np, pandas as pd, torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression

ap = argparse.ArgumentParser()
for name in ("bi_encoder", "cross_encoder", "pairs"):
    ap.add_argument(name)
ap.add_argument("--draws", type=int, default=400)
ap.add_argument("--threads", type=int, default=2)
args = ap.parse_args()
torch.set_num_threads(args.threads)

pairs = pd.read_parquet(args.pairs)
pairs = pairs[pairs.natural] if "natural" in pairs else pairs
label = pairs.is_duplicate.to_numpy().astype(int)
a, b = pairs.question1.tolist(), pairs.question2.tolist()
bi = SentenceTransformer(args.bi_encoder, device="cpu")
cosine = (bi.encode(a, normalize_embeddings=True) * bi.encode(b, normalize_embeddings=True)).sum(1)
cross = CrossEncoder(args.cross_encoder, device="cpu", activation_fn=torch.nn.Identity())
logit = (cross.predict(list(zip(a, b))) + cross.predict(list(zip(b, a)))) / 2
scores = np.stack([logit, 50 * cosine], axis=1)


def best(value, gain):
    """The value from which `gain`, summed from the highest value down, gives the best F1."""
    order = np.argsort(-value)
    f1 = 2 * np.cumsum(gain[order]) / (np.arange(1, len(value) + 1) + gain.sum())
    return value[order][f1.argmax()]


texts = pd.factorize(np.array(a + b, dtype=object))[0]
edges = coo_matrix((np.ones(len(a)), (texts[: len(a)], texts[len(a) :])), shape=(texts.max() + 1,) * 2)
groups = connected_components(edges, directed=False)[1][texts[: len(a)]]

random = np.random.default_rng(0)
f1, thresholds = [], []
for _ in range(args.draws):
    first = random.random(groups.max() + 1) < 0.5
    fitted, other = np.flatnonzero(first[groups]), np.flatnonzero(~first[groups])
    model = LogisticRegression(C=1e6, max_iter=1000).fit(scores[fitted], label[fitted])
    p, q = model.predict_proba(scores[fitted])[:, 1], model.predict_proba(scores[other])[:, 1]
    both = [best(p, label[fitted].astype(float)), best(p, p)]
    thresholds.append(both)
    f1.append([2 * label[other][q >= t].sum() / ((q >= t).sum() + label[other].sum()) for t in both])
of = lambda values: dict(zip(("labels", "expected"), np.round(values, 4).tolist()))
print(json.dumps({"f1": of(np.mean(f1, 0)), "threshold": of(np.mean(thresholds, 0)), "strays": of(np.std(thresholds, 0))}))
