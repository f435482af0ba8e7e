#!/usr/bin/env python3
"""Writes scored, labelled pairs for timing `mine evaluate`: make_scores.py PAIRS OUTPUT.parquet (needs numpy and pyarrow)."""
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

pairs, output = int(sys.argv[1]), sys.argv[2]
random = np.random.default_rng(1)
labels = random.random(pairs) < 0.37
scores = np.clip(0.5 + 0.2 * labels + 0.2 * random.standard_normal(pairs), 0, 1).astype(np.float32)
ids = random.integers(0, pairs // 4, size=(2, pairs))
pq.write_table(pa.table({"id_a": ids[0], "id_b": ids[1], "is_duplicate": labels.astype(np.int8), "score": scores}), output)
