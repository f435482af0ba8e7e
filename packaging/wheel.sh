#!/usr/bin/env bash
# A wheel with the binary and the Python package, in dist/ (or OUT). Needs maturin and ziglang from PyPI; python/test.sh
# puts both into .venv. What `cargo build --release` has compiled is linked again, not compiled again.
#   packaging/wheel.sh                                    for this machine
#   packaging/wheel.sh --target aarch64-apple-darwin      another one; see docs/packaging.md
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-$PWD/dist}
export PATH=$PWD/.venv/bin:$PATH
link=()
if [ $# = 0 ] && [ "$(uname -sm)" = "Linux x86_64" ]; then
    link=(-- -C "linker=$PWD/packaging/zig-cc")
fi
cd python
maturin build --release --locked --target-dir ../target --out "$out" "$@" ${link[@]+"${link[@]}"}
ls -l "$out"/*.whl
