"""sentence-transformers with two losses at once, which peer.py does not have: contrastive over the natural pairs and ranking
over all duplicates, batch after batch in turn, until the natural pairs have been seen once. benches/versus.sh multitask.
  python benches/peer_multitask.py PEER_FOLDER MODEL TRAIN DEV
"""

import sys
import time
from types import SimpleNamespace

import pandas as pd
import torch

tools, model_folder, train, dev = sys.argv[1:]
sys.path.insert(0, tools)
import peer
from sentence_transformers import InputExample, losses
from torch.utils.data import DataLoader

BATCH_SIZE = 64

args = SimpleNamespace(model=model_folder, device="cpu", dtype="float32", kind="bi", batch_size=BATCH_SIZE)
torch.manual_seed(42)
pairs, dev = pd.read_parquet(train).sample(frac=1, random_state=42), peer.natural(dev)
model = peer.bi(args)


def loader(pairs):
    examples = [
        InputExample(texts=[a, b], label=float(label))
        for a, b, label in zip(pairs.question1, pairs.question2, pairs.is_duplicate)
    ]
    return DataLoader(examples, shuffle=True, batch_size=BATCH_SIZE)


natural, duplicates = pairs[pairs.natural], pairs[pairs.is_duplicate == 1]
distance = losses.SiameseDistanceMetric.COSINE_DISTANCE
objectives = [
    (loader(natural), losses.ContrastiveLoss(model, distance_metric=distance, margin=0.5)),
    (loader(duplicates), losses.MultipleNegativesRankingLoss(model)),
]
start = time.time()
model.fit(objectives, epochs=1, warmup_steps=100, optimizer_params={"lr": 2e-5}, show_progress_bar=False)
seconds = time.time() - start
# as many batches of each as the smaller one has
seen = 2 * BATCH_SIZE * min(len(loader) for loader, _ in objectives)
peer.say(step="train", loss="contrastive+mnr", pairs=seen, seconds=round(seconds, 1), pairs_per_second=round(seen / seconds, 1))
peer.quality("dev_after_multitask", peer.scores(args, model, dev), dev.is_duplicate.to_numpy())
