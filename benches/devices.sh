#!/usr/bin/env bash
# A device against the processor (results) and against sentence-transformers (speed), on this machine.
#   benches/devices.sh parity DEVICE          every fixture model on DEVICE in f32 and bf16 against --device cpu in f32
#   benches/devices.sh embed DEVICE PRECISION [TOKENS...]    questions a second, cold and warm, for budgets of batch tokens
#   benches/devices.sh rerank DEVICE PRECISION [TOKENS...]   the same with a cross-encoder
# On a GPU, for instance: parity cuda; embed cuda bf16 16384 65536 262144; rehearsed with cpu and tch.
# MINE is the binary, PEER a Python with sentence-transformers (without it, no peer; python3 needs pandas then), QUESTIONS and MODEL what is embedded
# (default: benches/data.sh), CROSS a cross-encoder folder, LIMIT the number of questions. MINE_LIBRARY_PATH is LD_LIBRARY_PATH for MINE alone: its
# libtorch need not be that of PEER.
set -euo pipefail
cd "$(dirname "$0")/.."
mine=${MINE:-target/release/mine}
python=${PEER:-python3}
source benches/data.sh
questions=${QUESTIONS:-$data/qqp/questions.parquet}
limit=${LIMIT:-10000}
work=${WORK:-/tmp/mine-devices}
what=${1:?parity, embed or rerank}
device=${2:?a device}
shift 2
mkdir -p "$work"
export HF_HUB_OFFLINE=1

mine() {
    LD_LIBRARY_PATH=${MINE_LIBRARY_PATH:-${LD_LIBRARY_PATH:-}} "$mine" "$@"
}

# name, then arguments: a run from an empty folder
run() {
    local output=$work/$1; shift
    rm -rf "${output:?}"
    mine --quiet --output "$output" --threshold 0.75 "$@"
}

parity() {
    for folder in fixtures/models/*/ fixtures/models/families/*/; do
        # the others are laid over these
        if [ ! -e "$folder/config.json" ]; then continue; fi
        name=$(basename "$folder")
        kind=$(mine models show "$folder" | awk '$1 == "kind" { print $2 }')
        case $kind in
            bi-encoder) arguments=(--bi-encoder "$folder" --cross-encoder none --write-embeddings) ;;
            cross-encoder) arguments=(--bi-encoder built-in --cross-encoder "$folder" --swap-margin 1000) ;;
            *) continue ;;
        esac
        run "$name-reference" --min-cosine 0.75 --input fixtures/questions.parquet --device cpu "${arguments[@]}"
        for precision in f32 bf16; do
            run "$name-$precision" --min-cosine 0.75 --input fixtures/questions.parquet --device "$device" --precision $precision "${arguments[@]}"
            "$python" benches/compare_runs.py "$work/$name-reference" "$work/$name-$precision"
        done
    done
}

# stage, then the arguments that make it run
speed() {
    stage=$1; precision=$2; shift 2
    need "$model" "$questions"
    "$python" - "$questions" "$work/questions.parquet" "$limit" <<'PY'
import sys, pandas as pd
pd.read_parquet(sys.argv[1]).head(int(sys.argv[3])).to_parquet(sys.argv[2])
PY
    for tokens in "${budgets[@]}"; do
        for time in cold warm; do
            run speed --input "$work/questions.parquet" --bi-encoder "$model" --device "$device" --precision "$precision" \
                ${tokens:+--batch-tokens "$tokens"} "$@"
            "$python" - "$work/speed/manifest.json" "$stage" "$device $precision ${tokens:-default} tokens $time" <<'PY'
import json, sys
manifest = json.load(open(sys.argv[1]))
stage = next(s for s in manifest["stages"] if s["stage"] == sys.argv[2])
print(f"{sys.argv[3]}: {stage['rows_out']} in {stage['seconds']:.2f} s, {stage['rows_out'] / stage['seconds']:.0f} a second")
PY
        done
    done
}

case $what in
    parity) parity ;;
    embed)
        precision=${1:-f32}; shift || true
        budgets=("${@:-}")
        speed embed "$precision" --cross-encoder none --min-cosine 0.75
        [ -z "${PEER:-}" ] || "$python" benches/peer_devices.py embed "$model" "$work/questions.parquet" "$precision" ;;
    rerank)
        precision=${1:-f32}; shift || true
        budgets=("${@:-}")
        : "${CROSS:?a cross-encoder folder}"
        speed rerank "$precision" --min-cosine 0.6 --cross-encoder "$CROSS" --swap-margin 0 --rerank-budget "$limit"
        [ -z "${PEER:-}" ] || "$python" benches/peer_devices.py rerank "$CROSS" "$work/speed/pairs.parquet" "$precision" "$work/questions.parquet" ;;
    *) echo "usage: $0 parity|embed|rerank DEVICE [PRECISION [TOKENS...]]" >&2; exit 2 ;;
esac
