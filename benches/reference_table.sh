#!/usr/bin/env bash
# The published table of fine-tuned models on Quora, as far as MiniLM alone can repeat it: one split by pairs, every row's
# loss, thresholds from valid, figures on test. An hour on two cores; a run that was stopped goes on.
#   benches/reference_table.sh [PAIRS] [MODEL]
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/data.sh
pairs=${1:-$data/qqp/kaggle_train.csv} model=${2:-$model}
need "$pairs" "$model"
pairs=$(realpath "$pairs") model=$(realpath "$model")
mine=${MINE:-$PWD/target/release/mine}
recipe=$PWD/benches/reference_table.toml
mkdir -p "${WORK:=/tmp/mine-reference-table}"
cd "$WORK"
[ -d split ] || $mine split --input "$pairs" --output split --by pairs --seed 42
$mine run "$recipe" --set from="$model" --set pairs=split/train.parquet --set dev=split/dev.parquet \
    --set warmup-steps=100 --set evaluate-every=200 --set allow-shared-questions=true --set write-last=true
$mine evaluate --compare "$model" cosine-similarity online-contrastive ranking cross-encoder \
    --valid split/dev.parquet --test split/test.parquet --grid 0.01 --output table.csv
for siamese in siamese-frozen siamese; do
    echo "$siamese: $(grep -E '"(accuracy|f1)"' $siamese/training.json | tr -d '\n')"
done
