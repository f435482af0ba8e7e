#!/usr/bin/env bash
# The same work through mine and through sentence-transformers, one after the other on this machine.
# Needs the Python environment of `just peer` (or PEER=path/to/python), and DATA and MODEL as in benches/data.sh.
#   benches/versus.sh encode    20,000 questions, f32
#   benches/versus.sh mine      99,639 questions, top-k 100, for --index exact, the default and hnsw; pairs compared
#   benches/versus.sh int8      6,000 questions and 2,000 pairs in f32 and int8, each twice in turn; BACKENDS is a Python with the packages that
#                               benches/peer_backends.py names, and measures every processor backend of the peer
#   benches/versus.sh train     1,920 pairs: cross-encoder at batch 16, bi-encoder with ranking at batch 64
#   benches/versus.sh losses    quality: 25,636 natural pairs once, with each loss of bi-encoders over labels (2 hours on two cores)
#   benches/versus.sh multitask quality: contrastive and ranking at once, the natural pairs and as many duplicates (an hour)
#   benches/versus.sh large     500,000 questions (mine only: memory and time)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PEER:-.peer/bin/python}
source benches/data.sh
questions=$data/qqp/questions.parquet
need "$model" "$questions" "$data/qqp/train.parquet" "$data/qqp/dev.parquet"
[ -x "$python" ] || command -v "$python" >/dev/null || { echo "$python is missing: run \`just peer\` or set PEER" >&2; exit 1; }
work=${WORK:-/tmp/mine-versus}
mkdir -p "$work"
export HF_HUB_OFFLINE=1
[ -n "${MINE:-}" ] || cargo build --release --quiet
mine=${MINE:-target/release/mine}
peer() { $python benches/peer.py "$@" 2>/dev/null; }
# name, then arguments: a cold run from an empty folder, without the reranking that the peer does not do either; the time
# command prints seconds and peak memory
run() {
    name=$1; shift; rm -rf "$work/$name"
    /usr/bin/time -f "$name: %e s, peak %M kB" $mine --output "$work/$name" --quiet --cross-encoder none "$@"
}

encode() {
    $python - "$questions" "$work/20k.parquet" <<'PY'
import sys, pandas as pd
pd.read_parquet(sys.argv[1]).sample(20000, random_state=1).to_parquet(sys.argv[2])
PY
    run encode --input "$work/20k.parquet" --bi-encoder $model --precision f32 --min-cosine 0.99 --threshold 0.99
    grep -A1 '"stage": "embed"' "$work/encode/manifest.json"
    peer encode --model $model --input "$work/20k.parquet"
    peer encode --model $model --input "$work/20k.parquet" --batch-size 128
}

int8() {
    $python - "$questions" "$work/6k.parquet" <<'PY'
import sys, pandas as pd
pd.read_parquet(sys.argv[1]).sample(6000, random_state=1).to_parquet(sys.argv[2])
PY
    for _ in 1 2; do
        for precision in f32 int8; do
            run $precision --input "$work/6k.parquet" --bi-encoder $model --precision $precision --min-cosine 0.99 --threshold 0.99
            rm -rf "$work/rerank-$precision"
            $mine --output "$work/rerank-$precision" --quiet --input "$work/6k.parquet" --min-cosine 0.7 --rerank-floor -1 --swap-margin 0 \
                --rerank-budget 2000 --precision $precision
            $python - "$precision" "$work/$precision/manifest.json" "$work/rerank-$precision/manifest.json" <<'PY'
import json, sys
for path, stage in ((sys.argv[2], "embed"), (sys.argv[3], "rerank")):
    stage = next(s for s in json.load(open(path))["stages"] if s["stage"] == stage)
    print(f"{stage['stage']} {sys.argv[1]}: {stage['rows_out']} in {stage['seconds']:.2f} s, {stage['rows_out'] / stage['seconds']:.0f} a second")
PY
        done
    done
    peer encode --model $model --input "$work/6k.parquet"
    $mine models export --input built-in-cross-encoder --output "$work/cross-encoder" 2>/dev/null || true
    [ -z "${BACKENDS:-}" ] || $BACKENDS benches/peer_backends.py $model "$work/6k.parquet" "$work/backends" "$work/cross-encoder" 2>/dev/null
}

mine_all() {
    peer mine --model $model --input $questions --top-k 100 --output "$work/peer.parquet"
    floor=$($python -c "import pandas as pd; print(pd.read_parquet('$work/peer.parquet').cosine.min())")
    run exact --input $questions --top-k 100 --bi-encoder $model --precision f32 --min-cosine "$floor" --threshold 0.75 --index exact
    run default --input $questions --top-k 100 --bi-encoder $model --min-cosine "$floor" --threshold 0.75
    run hnsw --input $questions --top-k 100 --bi-encoder $model --precision f32 --min-cosine "$floor" --threshold 0.75 --index hnsw
    $python benches/compare_pairs.py "$work/peer.parquet" "$work"/{exact,default,hnsw}
}

train() {
    $python - "$data/qqp" "$work" <<'PY'
import sys, pandas as pd
data, work = sys.argv[1:]
train = pd.read_parquet(f"{data}/train.parquet")
train[train.natural].sample(1920, random_state=1).to_parquet(f"{work}/train-mixed.parquet")
train[train.is_duplicate == 1].sample(1920, random_state=1).to_parquet(f"{work}/train-duplicates.parquet")
pd.read_parquet(f"{data}/dev.parquet").query("natural").head(100).to_parquet(f"{work}/train-dev.parquet")
PY
    ours() {
        $mine train --from $model --pairs "$work/train-$1.parquet" --dev "$work/train-dev.parquet" --output "$work/trained" \
            --run "$work/trained.run" --force --evaluate-every 1000 "${@:2}" 2>&1 | grep 'pairs a second,'
    }
    theirs() {
        peer train --model $model --train "$work/train-$1.parquet" --dev "$work/train-dev.parquet" "${@:2}" | grep '"train"'
    }
    for _ in 1 2; do
        ours mixed --kind cross --batch-size 16
        theirs mixed --loss bce --batch-size 16
        ours duplicates --kind bi --loss ranking --batch-size 64
        theirs duplicates --loss mnr --batch-size 64
    done
}

losses() {
    $python - "$data/qqp" "$work" <<'PY'
import sys, pandas as pd
data, work = sys.argv[1:]
pd.read_parquet(f"{data}/train.parquet").query("natural").to_parquet(f"{work}/natural.parquet")
PY
    for loss in cosine-similarity contrastive online-contrastive; do
        echo "$loss"
        rm -rf "$work/$loss" "$work/$loss.run"
        $mine train --kind bi --from $model --pairs "$work/natural.parquet" --dev $data/qqp/dev.parquet --loss $loss \
            --batch-size 64 --warmup-steps 100 --evaluate-every 1000 --output "$work/$loss" 2>&1 | grep '^dev '
        theirs=${loss//-/_}
        peer train --model $model --train "$work/natural.parquet" --dev $data/qqp/dev.parquet --loss "${theirs/_similarity/}" \
            --batch-size 64 | grep dev_after
    done
}

multitask() {
    # as many pairs as the peer sees: 400 batches of 64 for each loss
    rm -rf "$work/multitask" "$work/multitask.run"
    $mine train --kind bi --from $model --pairs $data/qqp/train.parquet --dev $data/qqp/dev.parquet \
        --loss contrastive=1,ranking=1 --batch-size 64 --max-steps 800 --warmup-steps 100 --evaluate-every 1000 \
        --output "$work/multitask" 2>&1 | grep '^dev '
    $python benches/peer_multitask.py $model $data/qqp/train.parquet $data/qqp/dev.parquet 2>/dev/null
}

large() {
    $python benches/make_corpus.py $questions 500000 "$work/500k.parquet"
    run large --input "$work/500k.parquet" --top-k 100
}

case ${1:-all} in
    encode) encode ;;
    mine) mine_all ;;
    int8) int8 ;;
    train) train ;;
    losses) losses ;;
    multitask) multitask ;;
    large) large ;;
    all) encode; mine_all; train; large ;;
    *) echo "usage: $0 encode|mine|int8|train|losses|multitask|large|all" >&2; exit 2 ;;
esac
