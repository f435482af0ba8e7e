#!/usr/bin/env bash
# What mine writes, opened in sentence-transformers: outputs must be equal. Makes the environment .peer when PEER does
# not name a Python that has the packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PEER:-.peer/bin/python}
if [ -z "${PEER:-}" ] && [ ! -x "$python" ]; then
    python3 -m venv .peer
    .peer/bin/pip install --quiet sentence-transformers==6.2.0 torch==2.15.0 pandas pyarrow scikit-learn duckdb
fi
cargo build --release --quiet
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "$python" -W ignore tests/parity/open_in_python.py
