"""Writes a finished run of many questions, as `mine` would leave it, to time `mine report` and `mine show` on.

    python benches/make_run.py OUTPUT --questions 1000000 --pairs 10000000 [--text-ids]

Needs numpy, pyarrow and blake3. Texts and scores are made up; nothing is mined.
"""

import argparse
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("output", type=pathlib.Path)
parser.add_argument("--questions", type=int, default=1_000_000)
parser.add_argument("--pairs", type=int, default=10_000_000)
parser.add_argument("--text-ids", action="store_true", help="ids are strings of 16 characters")
arguments = parser.parse_args()

n, m = arguments.questions, arguments.pairs
random = np.random.default_rng(42)
folder = arguments.output
folder.mkdir(parents=True, exist_ok=True)


def ids(rows):
    """Ids of rows: a permutation of the numbers, so that they are not the row numbers."""
    numbers = (rows.astype(np.int64) * 7_919) % 1_000_003 if n <= 1_000_003 else rows.astype(np.int64) + 10
    if not arguments.text_ids:
        return pa.array(numbers)
    return pa.array(np.char.add("question-", np.char.zfill(numbers.astype(str), 7)))


def write(name, **columns):
    table = pa.table({key: value if isinstance(value, (pa.Array, pa.ChunkedArray)) else pa.array(value) for key, value in columns.items()})
    pq.write_table(table, folder / name, compression="zstd")


rows = np.arange(n)
words = np.array("how do i can the a best way to learn cook fix open train sell plant draw clean small old rice code bike phone".split())
texts = words[random.integers(0, len(words), (n, 9))]
texts = [" ".join(row) + "?" for row in texts]
write("questions.parquet", id=ids(rows), text=texts)

# clusters of 2 to 6 consecutive rows over the first 60 % of the questions
sizes = random.choice([2, 3, 4, 5, 6], int(0.6 * n / 2.7), p=[0.6, 0.2, 0.1, 0.06, 0.04])
starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
clustered = np.arange(sizes.sum())
cluster = np.repeat(starts, sizes)
probability = np.where(clustered == cluster, 1.0, random.uniform(0.8, 1, len(clustered))).astype(np.float32)
write("clusters.parquet", id=ids(clustered), cluster_id=cluster.astype(np.int64) + 1, is_representative=clustered == cluster,
      is_reference=np.zeros(len(clustered), bool),
      probability_to_representative=probability, cluster_size=np.repeat(sizes, sizes).astype(np.uint32))
low = random.uniform(0.5, 1, len(sizes)).astype(np.float32)
density = np.where(sizes == 2, 1, random.uniform(0.3, 1, len(sizes))).astype(np.float32)
time = pa.array(np.full(len(sizes), 1_763_780_400_000_000), pa.timestamp("us", "UTC"))
first = np.ones(len(sizes), np.uint64)
write("cluster_stats.parquet", cluster_id=starts.astype(np.int64) + 1, size=sizes.astype(np.uint32), edges=(sizes - 1).astype(np.uint64), density=density,
      min_probability=low, mean_probability=(low + 1) / 2, representative=ids(starts), needs_review=density < 0.5,
      first_seen=first, first_seen_at=time, last_changed=first, last_changed_at=time)
nothing = lambda kind: pa.array([], kind)
write("cluster_events.parquet", version=nothing(pa.uint64()), run_time=nothing(time.type), event=nothing(pa.string()),
      cluster_id=nothing(pa.int64()), other_cluster_id=nothing(pa.int64()), size_before=nothing(pa.uint32()),
      size_after=nothing(pa.uint32()), questions=nothing(pa.uint32()), representative=ids(rows[:0]))

a = np.sort(random.integers(0, n - 1, m))
b = np.minimum(a + 1 + random.geometric(0.0001, m), n - 1)
near = random.random(m) < 0.05
b = np.where(near, np.minimum(a + 1, n - 1), b)
cosine = (0.6 + 0.4 * random.beta(1, 5, m)).astype(np.float32)
p = random.beta(0.2, 0.6, m).astype(np.float32)
logit = np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1 - 1e-6)).astype(np.float32)
write("pairs.parquet", id_a=ids(a), id_b=ids(b), cosine=cosine, score_ab=logit, score_ba=pa.array(logit, mask=p < 0.1), probability=p,
      is_duplicate=p >= 0.5, kind=np.where(cosine < 2, "semantic", ""))
write("skipped.parquet", id=ids(rows[:0]), row=np.zeros(0, np.uint32), reason=pa.array([], pa.string()))

figures = [("read", "rows_in", n), ("read", "rows_out", n), ("collapse", "rows_in", n), ("collapse", "rows_out", n),
           ("candidates", "rows_in", n), ("candidates", "rows_out", m), ("candidates", "recall_above_floor", 0.998),
           ("candidates", "recall_at_k", 0.991), ("rerank", "rows_in", m), ("rerank", "rows_out", m), ("pairs", "exact", 0),
           ("pairs", "normalised", 0), ("pairs", "semantic", m), ("pairs", "duplicates", int((p >= 0.5).sum())), ("pairs", "undecided", 0),
           ("cluster", "clusters", len(sizes)), ("cluster", "questions_in_clusters", len(clustered)), ("cluster", "largest", 6),
           ("cluster", "needs_review", int((density < 0.5).sum()))]
write("metrics.parquet", run_id=["made-up"] * len(figures), stage=[f[0] for f in figures], metric=[f[1] for f in figures],
      value=[float(f[2]) for f in figures], unit=["rows"] * len(figures))



def content(ids, texts):
    """Hash of what was read, as `Questions::hash` in src/tables/questions.rs makes it."""
    hasher = blake3()
    add = lambda text: hasher.update(len(text).to_bytes(8, "little") + text)
    add(b"Utf8" if arguments.text_ids else b"Int64")
    for question, text in sorted(zip(ids, texts)):
        add(str(question).encode())
        add(text.encode())
    return hasher.hexdigest()[:32]


questions = folder / "questions.parquet"
stages = [{"stage": s, "seconds": t, "cached": False, "rows_in": i, "rows_out": o, "dropped": {}}
          for s, t, i, o in [("read", 1.1, n, n), ("collapse", 1.4, n, n), ("embed", 1520.5, n, n), ("candidates", 930.2, n, m),
                             ("rerank", 7200.9, m, m), ("cluster", 8.8, m, len(sizes)), ("write", 6.0, m, m)]]
options = {"input": str(questions), "text-column": None, "id-column": None, "store": None, "top-k": 100, "index": "auto",
           "min-cosine": 0.6, "threshold": 0.5, "deterministic": False, "hnsw-links": 16, "hnsw-ef-construction": 100,
           "hnsw-ef-search": 128, "rerank-budget": None, "rerank-floor": None, "swap-margin": 2.0, "clustering": "cohesive",
           "write-embeddings": False, "batch-tokens": None, "precision": "f32", "seed": 42}
manifest = {"format": 2, "run_id": "made-up", "version": "0.1.0", "started": "2026-11-22T03:00:00Z", "seconds": 9670.0,
            "inputs": [{"path": str(questions.absolute()), "bytes": questions.stat().st_size}],
            "content": content(ids(rows).to_pylist(), texts), "options": options,
            "models": {"bi-encoder": {"name": "made up", "hash": "0"}, "cross-encoder": {"name": "made up", "hash": "0"}},
            "device": "cpu", "threads": 2, "stages": stages, "warnings": []}
(folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
