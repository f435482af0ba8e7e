"""Vectors and scores of one run of mine against another's: compare_runs.py REFERENCE_FOLDER RUN_FOLDER"""
import sys
from pathlib import Path

import numpy as np
import pandas as pd

reference, run = Path(sys.argv[1]), Path(sys.argv[2])
if (run / "embeddings.parquet").exists():
    vectors = [np.stack(pd.read_parquet(folder / "embeddings.parquet").embedding) for folder in (reference, run)]
    # texts of which the vocabulary knows nothing have zero vectors
    known = (vectors[0] != 0).any(axis=1)
    lowest = (vectors[0] * vectors[1]).sum(axis=1)[known].min()
    print(f"{run.name}: largest difference {np.abs(vectors[0] - vectors[1]).max():.2e}, lowest cosine {lowest:.6f}")
else:
    keyed = [pd.read_parquet(folder / "pairs.parquet").set_index(["id_a", "id_b"]) for folder in (reference, run)]
    both = keyed[0].join(keyed[1], rsuffix="_run", how="inner")
    most = max((both[name] - both[name + "_run"]).abs().max() for name in ("score_ab", "score_ba"))
    print(f"{run.name}: largest difference of a logit {most:.2e} over {len(both)} pairs")
