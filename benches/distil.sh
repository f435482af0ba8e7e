#!/usr/bin/env bash
# The built-in cross-encoder drawn to what both built-in models say together, three seeds, and its figures on dev in one order
# and in both. Some 35 minutes a seed on two cores; a run that was stopped goes on.
#   benches/distil.sh [TRAIN] [DEV]
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/data.sh
train=${1:-$data/qqp/train.parquet} dev=${2:-$data/qqp/dev.parquet}
need "$train" "$dev"
train=$(realpath "$train") dev=$(realpath "$dev")
mine=${MINE:-$PWD/target/release/mine}
recipe=$PWD/benches/distil.toml
mkdir -p "${WORK:=/tmp/mine-distil}"
cd "$WORK"
for seed in 42 43 44; do
    $mine run "$recipe" --set pairs="$train" --set dev="$dev" --set seed=$seed --set output=cross-$seed
    $mine evaluate --pairs "$dev" --cross-encoder cross-$seed --one-order
    $mine evaluate --pairs "$dev" --cross-encoder cross-$seed
done
