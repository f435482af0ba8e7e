"""sentence-transformers on the texts that mine just took, on the best device it finds:
peer_devices.py embed MODEL QUESTIONS.parquet PRECISION
peer_devices.py rerank MODEL PAIRS.parquet PRECISION QUESTIONS.parquet [PAIRS AT MOST]"""
import sys
import time

import pandas as pd
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

what, model, data, precision = sys.argv[1:5]
dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[precision]
arguments = {"model_kwargs": {"dtype": dtype}}
if what == "embed":
    rows = pd.read_parquet(data).text.tolist()
    peer = SentenceTransformer(model, **arguments)
    work = peer.encode
else:
    pairs = pd.read_parquet(data).dropna(subset=["score_ab"])
    pairs = pairs.head(int(sys.argv[6]) if len(sys.argv) > 6 else len(pairs))
    texts = pd.read_parquet(sys.argv[5]).set_index("id").text
    rows = list(zip(texts[pairs.id_a], texts[pairs.id_b]))
    peer = CrossEncoder(model, **arguments)
    work = peer.predict
sizes = (32, 128) if peer.device.type == "cpu" else (128, 512, 2048)
work(rows[:256])
for size in sizes:
    since = time.time()
    work(rows, batch_size=size)
    seconds = time.time() - since
    print(f"sentence-transformers {peer.device} {precision} batch {size}: {len(rows)} in {seconds:.2f} s, {len(rows) / seconds:.0f} a second")
