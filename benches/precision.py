"""What a precision costs: best F1 on labelled pairs, and the lowest cosine to the reference's vectors.
precision.py MINE PAIRS.parquet WORK_FOLDER MODEL DEVICE:PRECISION...   (the first is the reference)"""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

mine, pairs, work, model = sys.argv[1], pd.read_parquet(sys.argv[2]).query("natural"), Path(sys.argv[3]), sys.argv[4]
texts = pd.concat([pairs.question1, pairs.question2]).drop_duplicates().reset_index(drop=True)
row = pd.Series(texts.index, index=texts.values)
work.mkdir(parents=True, exist_ok=True)
pd.DataFrame({"id": texts.index, "text": texts}).to_parquet(work / "texts.parquet")
label = pairs.is_duplicate.to_numpy()
reference = None
for name in sys.argv[5:]:
    device, precision = name.split(":")
    out = work / name.replace(":", "-")
    subprocess.run([mine, "--quiet", "--force", "--input", work / "texts.parquet", "--output", out, "--bi-encoder", model, "--device", device,
                    "--precision", precision, "--min-cosine", "0.9", "--threshold", "0.9", "--write-embeddings"], check=True, stderr=subprocess.DEVNULL)
    vectors = np.stack(pd.read_parquet(out / "embeddings.parquet").set_index("id").embedding.reindex(texts.index))
    cosine = (vectors[row[pairs.question1]] * vectors[row[pairs.question2]]).sum(axis=1)
    order = np.argsort(-cosine)
    found = np.cumsum(label[order])
    f1 = (2 * found / (np.arange(1, len(label) + 1) + label.sum())).max()
    reference = vectors if reference is None else reference
    lowest = (vectors * reference).sum(axis=1).min()
    print(f"{name}: best F1 {f1:.4f} on {len(label)} pairs, lowest cosine to {sys.argv[5]} {lowest:.6f} over {len(texts)} questions", flush=True)
