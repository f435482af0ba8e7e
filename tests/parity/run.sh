#!/usr/bin/env bash
# What mine writes, opened in sentence-transformers: outputs must be equal. Makes the environment .peer when PEER does
# not name a Python that has the packages; `run.sh environment` does only that.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PEER:-.peer/bin/python}
# an installation that was cut off is taken up again
if [ -z "${PEER:-}" ] && ! cmp --silent tests/parity/requirements.txt .peer/requirements.txt; then
    python3 -m venv .peer
    .peer/bin/pip install --quiet --requirement tests/parity/requirements.txt
    cp tests/parity/requirements.txt .peer/
fi
if [ "${1:-}" = environment ]; then exit; fi
cargo build --release --quiet
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "$python" -W ignore tests/parity/open_in_python.py
