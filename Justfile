# `just` lists these. All of them build with the one release profile, so nothing is compiled twice.

# format, lints and docs, as CI checks them
check:
    cargo fmt --check
    cargo clippy --release --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --document-private-items

# licences, bans and sources of the dependencies; once: cargo install cargo-deny --locked
deny:
    cargo deny check licenses bans sources

# every test; those on real data run when ../shared is there
test:
    cargo test --release

# the feature for several machines: its lints and tests; S3 is tried if moto_server is there (pip install 'moto[s3,server]')
cluster-test:
    cargo clippy --release --features cluster --all-targets -- -D warnings
    cargo test --release --features cluster -- cluster:: cluster_faults cluster_store architecture store:: search::cells mining::units

# micro-benchmarks of the hot loops
bench:
    cargo bench

# the README's main command, and a look at what it wrote
smoke:
    cargo run --release -- --input fixtures/questions.parquet --top-k 100 --output /tmp/mine-smoke --force
    ls -l /tmp/mine-smoke

# remake the fixtures; needs the Python packages named at the top of each script
fixtures:
    python3 fixtures/make_questions.py
    python3 fixtures/make_reference.py
    python3 fixtures/make_evaluation_reference.py
    python3 fixtures/make_losses_reference.py
    python3 fixtures/make_families.py
    python3 fixtures/make_tokenizers.py

# remake the built-in models from the original in `model`: train, store in few bits, measure on `dev`
built-in model="../shared/models/all-MiniLM-L6-v2" train="../shared/data/qqp/train.parquet" dev="../shared/data/qqp/dev.parquet":
    cargo build --release
    fixtures/make_built_in.sh {{model}} {{train}} {{dev}}

# side by side with sentence-transformers: `just versus mine`; needs `just peer` once
versus what="all":
    benches/versus.sh {{what}}

# the published table of fine-tuned models, as far as MiniLM alone can repeat it; an hour
reference-table:
    cargo build --release
    benches/reference_table.sh

# the binary for 64-bit ARM, built with Debian's cross compiler and run under QEMU; as root
arm:
    tests/arm/run.sh

# what mine writes, opened in sentence-transformers, which must give the same numbers; sets up .peer on first use
parity:
    tests/parity/run.sh

# the Python environment that `just versus` measures against
peer:
    tests/parity/run.sh environment

# tests and types of the Python package, in .venv; needs target/release/mine
python:
    python/test.sh

# remake python/dupmine/_options.py after an option has changed
python-options:
    cargo build --release
    python3 python/make_options.py target/release/mine

# a wheel with the binary and the Python package, in dist/
wheel:
    packaging/wheel.sh

# the stripped binary with licences as dist/mine-VERSION-TARGET.tar.gz, and its checksum
dist:
    packaging/archive.sh
