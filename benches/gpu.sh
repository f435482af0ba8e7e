#!/usr/bin/env bash
# What a card does, in the order of importance, within six minutes: run this once on a machine with a card and keep what it prints.
#   benches/gpu.sh                     on the first NVIDIA card
#   DEVICE=cubecl-cpu ROWS=12 …        a rehearsal without a card (tests/it/card_kernels.rs): the same steps, everything small
# MINE is the binary (default target/release/mine), PEER a Python with sentence-transformers (without one, no peer), QUESTIONS
# the corpus (default: benches/data.sh), LARGE a corpus of 500,000 (benches/make_corpus.py; without one, no such step), ROWS how
# many questions of the fixture take the place of all corpora, CROSS the cross-encoder, MORE options for every run, STEP and TOTAL
# the seconds that one step and all may take, TESTS the test program target/release/deps/it-… of a build with both features (without
# it, no tests).
# The last steps need no card: the processor embeds with more and more of its cores.
# Each step prints a line: its name, seconds in all, what the run said of its stages. WORK/log has everything that was printed.
set -uo pipefail
cd "$(dirname "$0")/.."
mine=$(realpath "${MINE:-target/release/mine}")
python=${PEER:-python3}
source benches/data.sh
device=${DEVICE:-cuda}
questions=${QUESTIONS:-$data/qqp/questions.parquet}
limit=${STEP:-90} total=${TOTAL:-360}
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
fixture=$PWD/fixtures/questions.parquet
dev=$data/qqp/questions-dev.parquet
# a cache of its own: the first process finds nothing
export XDG_CACHE_HOME=$work/cache CUDA_CACHE_PATH=$work/cache/nv HF_HUB_OFFLINE=1
read -ra more <<<"${MORE:-}"
cross=(--cross-encoder "${CROSS:-built-in}")
failed=0

# name, then a command: its line in the table
step() {
    local name=$1 since=$EPOCHREALTIME left=$((total - SECONDS)); shift
    if [ "$left" -lt 5 ]; then
        echo "$name: no time left"
        return
    fi
    timeout "$((left < limit ? left : limit))" "$@" >"$work/said" 2>&1
    local status=$? until=$EPOCHREALTIME
    { echo "== $name: $*"; cat "$work/said"; } >>"$work/log"
    local said; said=$(grep -E '^(seconds|error|sentence-transformers)' "$work/said" | tail -1 | cut -c1-170)
    [ $status = 0 ] || failed=1
    printf '%-34s %7.2f s  %s%s\n' "$name" "$(awk "BEGIN { print ${until/,/.} - ${since/,/.} }")" \
        "$([ $status = 0 ] || echo "FAILED ($status) ")" "$said"
}

# name of the output, then options: a run from an empty folder
run() {
    local name=$1; shift
    step "$name" "$mine" --output "$work/$name" --device "$device" ${more[@]+"${more[@]}"} "$@"
}

same() {
    local what=differ
    cmp -s "$work/$1/pairs.parquet" "$work/$2/pairs.parquet" && what=same
    printf '%-34s pairs.parquet: %s\n' "$1, $2" "$what"
}

[ -z "${ROWS:-}" ] || {
    head -n "$((ROWS + 1))" fixtures/questions.tsv >"$work/few.tsv"
    questions=$work/few.tsv fixture=$work/few.tsv dev=$work/few.tsv
}
timeout 60 "$mine" devices | tee -a "$work/log"
run fixture-first --input "$fixture" --precision bf16 "${cross[@]}"
run fixture-second --input "$fixture" --precision bf16 "${cross[@]}"
same fixture-first fixture-second
run embed-first --input "$questions" --precision bf16 --cross-encoder none
run embed-second --input "$questions" --precision bf16 --cross-encoder none
same embed-first embed-second
run rerank-all --input "$questions" --precision bf16 "${cross[@]}" --store "$work/embed-second/.mine"
run f32 --input "$fixture" --precision f32 "${cross[@]}"
step f32-processor "$mine" --output "$work/f32-processor" --device cpu --precision f32 --input "$fixture" "${cross[@]}" \
    ${more[@]+"${more[@]}"}
[ ! -x "${TESTS:-}" ] || MINE_CARD=$device step tests "$TESTS" card_kernels::every twenty_steps_on_a_card
step f32-verify "$mine" verify "$work/f32-processor" --device "$device"
if "$python" -c 'import sentence_transformers' 2>/dev/null; then
    "$mine" models export --input built-in --output "$work/bi" >>"$work/log" 2>&1
    "$mine" models export --input built-in-cross-encoder --output "$work/cross" >>"$work/log" 2>&1
    step peer-embed "$python" benches/peer_devices.py embed "$work/bi" "$questions" bf16
    step peer-rerank "$python" benches/peer_devices.py rerank "$work/cross" "$work/rerank-all/pairs.parquet" bf16 \
        "$questions" 100000
else
    echo "no peer: $python has no sentence-transformers"
fi
if [ -e "${LARGE:-}" ]; then
    run large --input "$LARGE" --precision bf16 "${cross[@]}"
fi
run f32-embed --input "$questions" --precision f32 --cross-encoder none
# the time of every kernel; it lets them run one at a time, so that the sum is more than the step before
CUBECL_DEBUG_OPTION=profile-medium run profile --input "$fixture" --precision bf16 "${cross[@]}"
# last, the processor of this machine with more and more of its cores
for threads in 1 2 4 8 16; do
    [ "$threads" -gt "$(nproc)" ] || step "cpu-$threads" "$mine" --output "$work/cpu-$threads" --device cpu --threads "$threads" \
        --input "$dev" --cross-encoder none ${more[@]+"${more[@]}"}
done
exit $failed
