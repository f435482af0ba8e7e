#!/usr/bin/env bash
# Types and tests of the Python package, in the environment .venv, which is made if it is not there. They run the binary
# that cargo built (or MINE_BIN). `python/test.sh -k ids` passes its arguments to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
# what a bare Debian lacks
python3 -c 'import venv, ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3 python3-venv; }
# an installation that was cut off is taken up again
if ! cmp --silent python/requirements-test.txt .venv/requirements-test.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement python/requirements-test.txt
    cp python/requirements-test.txt .venv/
fi
cd python
../.venv/bin/ruff check --quiet . && ../.venv/bin/ruff format --check --quiet .
../.venv/bin/mypy
exec ../.venv/bin/pytest --quiet "$@"
