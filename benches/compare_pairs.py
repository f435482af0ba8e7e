"""Pairs of mine's runs against sentence-transformers' paraphrase mining: compare_pairs.py peer.parquet RUN_FOLDER..."""
import json
import sys
from pathlib import Path

import pandas as pd


def keyed(frame):
    low, high = frame[["id_a", "id_b"]].min(axis=1), frame[["id_a", "id_b"]].max(axis=1)
    return frame.assign(low=low, high=high).set_index(["low", "high"]).cosine


peer = keyed(pd.read_parquet(sys.argv[1]))
for folder in map(Path, sys.argv[2:]):
    ours = keyed(pd.read_parquet(folder / "pairs.parquet"))
    both = peer.index.intersection(ours.index)
    manifest = json.loads((folder / "manifest.json").read_text())
    print(json.dumps({
        "run": folder.name,
        "peer_pairs": len(peer),
        "our_pairs": len(ours),
        "of_peers_pairs_found": round(len(both) / len(peer), 6),
        "largest_cosine_difference": float((peer[both] - ours[both]).abs().max()),
        "missing_are_below": float(peer[peer.index.difference(ours.index)].max()) if len(both) < len(peer) else None,
        "seconds": {stage["stage"]: round(stage["seconds"], 1) for stage in manifest["stages"]},
    }))
