"""sentence-transformers with two losses at once, which peer.py does not have: contrastive over the natural pairs and ranking
over all duplicates, batch after batch in turn, until the natural pairs have been seen once. benches/versus.sh multitask.
  python benches/peer_multitask.py MODEL TRAIN DEV
"""

import sys
import time

import pandas as pd
import peer
import torch
from sentence_transformers import losses
from torch.utils.data import DataLoader

BATCH_SIZE = 64

model_folder, train, dev = sys.argv[1:]
torch.manual_seed(peer.SEED)
pairs, dev = pd.read_parquet(train).sample(frac=1, random_state=peer.SEED), peer.natural(dev)
model = peer.bi_encoder(model_folder)


def loader(pairs):
    return DataLoader(peer.examples(pairs), shuffle=True, batch_size=BATCH_SIZE)


natural, duplicates = pairs[pairs.natural], pairs[pairs.is_duplicate == 1]
distance = losses.SiameseDistanceMetric.COSINE_DISTANCE
objectives = [
    (loader(natural), losses.ContrastiveLoss(model, distance_metric=distance, margin=peer.MARGIN)),
    (loader(duplicates), losses.MultipleNegativesRankingLoss(model)),
]
start = time.time()
model.fit(objectives, epochs=1, warmup_steps=peer.WARM_UP_STEPS, optimizer_params={"lr": peer.LEARNING_RATE}, show_progress_bar=False)
seconds = time.time() - start
# as many batches of each as the smaller one has
seen = 2 * BATCH_SIZE * min(len(loader) for loader, _ in objectives)
peer.say(step="train", loss="contrastive+mnr", pairs=seen, seconds=round(seconds, 1), pairs_per_second=round(seen / seconds, 1))
peer.quality("dev_after_multitask", peer.scores(model, dev, BATCH_SIZE), dev.is_duplicate.to_numpy())
