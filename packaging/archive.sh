#!/usr/bin/env bash
# The stripped binary with README, CHANGELOG and licences as dist/mine-VERSION-TARGET.tar.gz, and its SHA-256 beside it.
# On Linux it needs maturin and ziglang as packaging/wheel.sh does.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
link=()
if [ "$(uname -sm)" = "Linux x86_64" ]; then
    link=(-C "linker=$PWD/packaging/zig-cc")
fi
# the release profile strips it
cargo rustc --release --locked --bin mine -- ${link[@]+"${link[@]}"}
version=$(target/release/mine --version | cut -d' ' -f2)
name=mine-$version-$(rustc -vV | sed -n 's/^host: //p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/$name" dist
cp target/release/mine README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$work/$name/"
# one order and one time, so that the same files give the same bytes
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -C "$work" -c "$name" |
    gzip -9n > "dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
ls -l "dist/$name.tar.gz"
