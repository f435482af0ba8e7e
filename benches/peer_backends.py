#!/usr/bin/env python3
"""Every processor backend of sentence-transformers on the same questions and pairs: `benches/versus.sh int8`.

    peer_backends.py MODEL QUESTIONS.parquet WORK_FOLDER [CROSS_ENCODER]

It needs an environment of its own: pip install "sentence-transformers[onnx,openvino]<6" pandas pyarrow. Each backend runs at
batch sizes 16, 32, 64 and 128; the best is printed, with the lowest and mean cosine to torch in f32.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.backend import export_dynamic_quantized_onnx_model, export_static_quantized_openvino_model

model, work = sys.argv[1], Path(sys.argv[3])
cross = sys.argv[4] if len(sys.argv) > 4 else None
texts = pd.read_parquet(sys.argv[2]).text.tolist()
pairs = list(zip(texts[:-1:2], texts[1::2]))[:1000]
flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())
arch = "avx512_vnni" if "avx512_vnni" in flags else "avx2"


def fastest(run, count):
    best = (0, None, None)
    for batch in (16, 32, 64, 128):
        run(batch, 200)
        start = time.perf_counter()
        out = run(batch, count)
        best = max(best, (count / (time.perf_counter() - start), batch, out), key=lambda b: b[0])
    return best


def folder(kind, name, make, loaded):
    path = work / f"{kind}-{name}"
    if not path.exists():
        path.mkdir(parents=True)
        loaded.save_pretrained(str(path))
        make(loaded, str(path))
    return str(path)


def backends(kind, load, source):
    yield "torch f32", load(source)
    yield "onnx f32", load(source, backend="onnx", model_kwargs={"export": True, "provider": "CPUExecutionProvider"})
    onnx = load(source, backend="onnx", model_kwargs={"export": True, "provider": "CPUExecutionProvider"})
    path = folder(kind, "onnx", lambda m, p: export_dynamic_quantized_onnx_model(m, arch, p), onnx)
    name = next(Path(path).rglob(f"*quint8*.onnx" if arch == "avx2" else f"*qint8*{arch}*.onnx")).relative_to(path)
    yield f"onnx int8 {arch}", load(path, backend="onnx", model_kwargs={"file_name": str(name), "provider": "CPUExecutionProvider"})
    openvino = load(source, backend="openvino", model_kwargs={"export": True})
    yield "openvino f32", openvino
    path = folder(kind, "openvino", lambda m, p: export_static_quantized_openvino_model(m, None, p), openvino)
    name = next(Path(path).rglob("*qint8*.xml")).relative_to(path)
    yield "openvino int8", load(path, backend="openvino", model_kwargs={"file_name": str(name)})


reference = None
for name, loaded in backends("bi", lambda path, **more: SentenceTransformer(path, device="cpu", **more), model):
    encode = lambda batch, count: loaded.encode(texts[:count], batch_size=batch, normalize_embeddings=True)
    speed, batch, vectors = fastest(encode, len(texts))
    reference = vectors if reference is None else reference
    close = np.sum(reference * vectors, axis=1)
    print(json.dumps({"encode": name, "questions_per_s": round(speed, 1), "batch": batch,
                      "cosine_lowest": round(float(close.min()), 5), "cosine_mean": round(float(close.mean()), 6)}), flush=True)
if cross:
    for name, loaded in backends("cross", lambda path, **more: CrossEncoder(path, device="cpu", **more), cross):
        speed, batch, _ = fastest(lambda batch, count: loaded.predict(pairs[:count], batch_size=batch), len(pairs))
        print(json.dumps({"rerank": name, "pairs_per_s": round(speed, 1), "batch": batch}), flush=True)
