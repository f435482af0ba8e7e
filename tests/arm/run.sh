#!/usr/bin/env bash
# `mine` for 64-bit ARM, built and run on an x86 machine: its unit tests of the kernels, and the fixture, whose pairs must be those of
# this machine's binary, on a processor with I8MM and on one with the dot product alone. No ARM hardware is needed.
#   tests/arm/run.sh            as root, on Debian with debootstrap; half an hour on two cores from nothing
# ROOT (default /tmp/mine-arm) keeps a Debian with the cross compiler and the build. That Debian's Rust compiles, so no other
# toolchain is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=${ROOT:-/tmp/mine-arm}
mine=${MINE:-target/release/mine}
target=aarch64-unknown-linux-gnu
suite=forky
if [ ! -x "$root/usr/bin/qemu-aarch64" ]; then
    [ -e /usr/share/debootstrap/scripts/$suite ] || ln -s sid /usr/share/debootstrap/scripts/$suite
    debootstrap --variant=minbase $suite "$root" "${DEBIAN:-http://deb.debian.org/debian}"
    # an index that is some days old will do
    echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/99valid"
    chroot "$root" dpkg --add-architecture arm64
    chroot "$root" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -qq --no-install-recommends \
        ca-certificates rustc cargo gcc g++ gcc-aarch64-linux-gnu g++-aarch64-linux-gnu make cmake perl pkg-config qemu-user libstd-rust-dev:arm64
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
fi
mkdir -p "$root/src" "$root/cargo"
work=$(mktemp -d)
# whoever removes ROOT must not remove these sources with it
trap 'umount "$root/src"; rm -rf "$work"' EXIT
mount --bind "$PWD" "$root/src"
inside() {
    chroot "$root" env HOME=/root PATH=/usr/bin:/bin CARGO_HOME=/cargo CARGO_TARGET_DIR=/target \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu" \
        CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++ \
        bash -c "cd /src && $1"
}
inside "cargo build --release --locked --target $target"
inside "cargo test --release --locked --target $target --lib kernels::"
[ -n "${MINE:-}" ] || cargo build --release
"$mine" --input fixtures/questions.parquet --output "$work/here" --quiet >/dev/null
for processor in max cortex-a76; do
    rm -rf "$root/tmp/out"
    inside "qemu-aarch64 -cpu $processor -L /usr/aarch64-linux-gnu /target/$target/release/mine \
        --input fixtures/questions.parquet --output /tmp/out --quiet" >/dev/null
    "${PYTHON:-.venv/bin/python}" - "$processor" "$work/here/pairs.parquet" "$root/tmp/out/pairs.parquet" <<'PY'
import sys
import pandas as pd
here, there = (pd.read_parquet(path) for path in sys.argv[2:])
floats = [column for column in here if here[column].dtype.kind == "f"]
assert here.drop(columns=floats).equals(there.drop(columns=floats)), "another pair or decision"
apart = max((here[column] - there[column]).abs().max() for column in floats)
assert here[floats].isna().equals(there[floats].isna()) and apart < 1e-6, f"{apart} apart"
print(f"{sys.argv[1]}: the same {len(here)} pairs and decisions, numbers within {apart:.1g}")
PY
done
