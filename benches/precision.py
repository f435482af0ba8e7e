"""What a precision or a storage costs: best F1 and average precision on labelled pairs, cosine to the reference's vectors.
precision.py MINE PAIRS.parquet WORK_FOLDER MODEL DEVICE:PRECISION[:MODEL]...
The first is the reference; a third part names another model (`built-in`: 8-bit storage). Added pairs are left out."""
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
    device, precision, named = (*name.split(":", 2), model)[:3]
    out = work / name.replace(":", "-").replace("/", "-")
    subprocess.run([mine, "--quiet", "--force", "--input", work / "texts.parquet", "--output", out, "--bi-encoder", named, "--device", device,
                    "--precision", precision, "--min-cosine", "0.9", "--threshold", "0.9", "--cross-encoder", "none", "--write-embeddings"], check=True, stderr=subprocess.DEVNULL)
    vectors = np.stack(pd.read_parquet(out / "embeddings.parquet").set_index("id").embedding.reindex(texts.index))
    cosine = (vectors[row[pairs.question1]] * vectors[row[pairs.question2]]).sum(axis=1)
    order = np.argsort(-cosine)
    found = np.cumsum(label[order])
    precisions = found / np.arange(1, len(label) + 1)
    f1 = (2 * found / (np.arange(1, len(label) + 1) + label.sum())).max()
    reference = vectors if reference is None else reference
    close = (vectors * reference).sum(axis=1)
    print(f"{name}: best F1 {f1:.4f}, average precision {precisions[label[order] == 1].mean():.4f} on {len(label)} pairs; cosine to {sys.argv[5]} "
          f"lowest {close.min():.6f}, mean {close.mean():.6f} over {len(texts)} questions", flush=True)
