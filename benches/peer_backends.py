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
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.backend import export_dynamic_quantized_onnx_model, export_static_quantized_openvino_model

model, work = sys.argv[1], Path(sys.argv[3])
cross = sys.argv[4] if len(sys.argv) > 4 else None
texts = pd.read_parquet(sys.argv[2]).text.tolist()
pairs = list(zip(texts[:-1:2], texts[1::2]))[:1000]
flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())
arch = "avx512_vnni" if "avx512_vnni" in flags else "avx2"


# the questions at hand: the default is a dataset on the hub
(work / "calibration").mkdir(parents=True, exist_ok=True)
pd.DataFrame({"text": texts[:1000]}).to_parquet(work / "calibration" / "train.parquet")
calibration = {"dataset_name": str(work / "calibration"), "dataset_config_name": "default", "dataset_split": "train", "column_name": "text"}


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


def quantised(kind, load, source, backend, make, pattern, more):
    path = folder(kind, backend, make, load(source, backend=backend, model_kwargs={"export": True, **more}))
    name = next(Path(path).rglob(pattern)).relative_to(path)
    return load(path, backend=backend, model_kwargs={"file_name": str(name), **more})


def backends(kind, load, source):
    """Name and model; a backend that fails is named with its error."""
    cpu = {"provider": "CPUExecutionProvider"}
    to_onnx = lambda m, p: export_dynamic_quantized_onnx_model(m, arch, p)
    to_openvino = lambda m, p: export_static_quantized_openvino_model(m, None, p, **calibration)
    onnx_name = "*quint8*.onnx" if arch == "avx2" else f"*qint8*{arch}*.onnx"
    makers = {
        "torch f32": lambda: load(source),
        "torch bf16": lambda: load(source, model_kwargs={"torch_dtype": torch.bfloat16}),
        "onnx f32": lambda: load(source, backend="onnx", model_kwargs={"export": True, **cpu}),
        f"onnx int8 {arch}": lambda: quantised(kind, load, source, "onnx", to_onnx, onnx_name, cpu),
        "openvino": lambda: load(source, backend="openvino", model_kwargs={"export": True}),
        "openvino int8": lambda: quantised(kind, load, source, "openvino", to_openvino, "*qint8*.xml", {}),
    }
    for name, make in makers.items():
        try:
            yield name, make()
        except Exception as error:
            print(json.dumps({name: f"{type(error).__name__}: {error}"[:300]}), flush=True)


reference = None
for name, loaded in backends("bi", lambda path, **more: SentenceTransformer(path, device="cpu", **more), model):
    encode = lambda batch, count: loaded.encode(texts[:count], batch_size=batch, normalize_embeddings=True)
    speed, batch, vectors = fastest(encode, len(texts))
    reference = vectors if reference is None else reference
    close = np.sum(reference * np.asarray(vectors, dtype=np.float32), axis=1)
    print(json.dumps({"encode": name, "questions_per_s": round(speed, 1), "batch": batch,
                      "cosine_lowest": round(float(close.min()), 5), "cosine_mean": round(float(close.mean()), 6)}), flush=True)
if cross:
    for name, loaded in backends("cross", lambda path, **more: CrossEncoder(path, device="cpu", **more), cross):
        speed, batch, _ = fastest(lambda batch, count: loaded.predict(pairs[:count], batch_size=batch), len(pairs))
        print(json.dumps({"rerank": name, "pairs_per_s": round(speed, 1), "batch": batch}), flush=True)
