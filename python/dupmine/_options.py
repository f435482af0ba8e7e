"""The options of the commands. Made by make_options.py from `mine options --json`: do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    from dupmine._types import FileLike, PathLike, TextLike

VERSION = "0.1.0"


class Option(NamedTuple):
    """A flag of the binary.

    `kind` is `switch` (no value), `boolean` (true or false), `list` (can be repeated) or `value`.
    """

    flag: str
    kind: Literal["switch", "boolean", "list", "value"]


class MineOptions(TypedDict, total=False):
    """The options of `mine`."""

    format: Literal["parquet", "csv", "tsv", "json"]
    """How the input is read (default: by the file's name; standard input by its first bytes)."""
    encoding: Literal["utf-8", "latin1", "windows-1252"]
    """Encoding of the characters of text files (default: utf-8)."""
    delta: bool
    """The input holds changes alone: rows to add or replace, and, with a column `op`, rows to `delete` (default:
    false)."""
    reference: FileLike
    """Known questions, as a file or the output of another run: the input is compared with them, they stay as they
    are."""
    store: PathLike
    """Folder, or s3://bucket/prefix, of stored vectors, neighbours and scores, which outputs can share (default:
    .mine in the output)."""
    cluster: TextLike
    """Have the work done by the executors of this scheduler, df://host:port; needs a --store that they share."""
    wait: bool
    """Wait for another run that uses the output or the store, instead of failing (default: false)."""
    keep_versions: int
    """Versions of the results that are kept, the current one included (default: 7)."""
    run_time: TextLike
    """Time to record for the run, such as 2026-11-27T03:00:00Z (default: now)."""
    max_deleted: TextLike
    """Refuse results if more of the previous questions are gone or edited (default: 5%, from 20 questions on)."""
    max_cluster_size: int
    """Refuse results with a larger cluster (default: 1000, or 10 times the largest before; none in a first run)."""
    max_new_duplicates: TextLike
    """Refuse results if more of the questions are in a cluster now and were in none before (default: 20%, from 20
    on)."""
    top_k: int
    """Nearest neighbours taken per question (default: 100)."""
    bi_encoder: TextLike
    """A sentence-transformers folder, a name on the hub (`organisation/model@revision`), or `built-in` (default:
    built-in)."""
    cross_encoder: TextLike
    """A cross-encoder's folder, name on the hub, `built-in`, or `none` to decide by cosine alone (default:
    built-in)."""
    index: Literal["hnsw", "exact", "auto"]
    """How neighbours are found (default: auto)."""
    min_cosine: float
    """Lowest cosine of a candidate pair (default: from the bi-encoder's dupmine.json)."""
    threshold: float
    """Lowest probability of a duplicate; without a cross-encoder, lowest cosine (default: from dupmine.json)."""
    min_recall: float
    """Warn if the measured recall of the index is below this (default: 0.99)."""
    deterministic: bool
    """Build the HNSW index one vector at a time: slower, but the same bytes every time (default: false)."""
    hnsw_links: int
    """Links per node of the HNSW graph (M) (default: 16)."""
    hnsw_ef_construction: int
    """Candidates kept while building the HNSW graph (efConstruction) (default: 100)."""
    hnsw_ef_search: int
    """Candidates kept while searching the HNSW graph (ef) (default: 128)."""
    rerank_share: TextLike
    """Share of the similar pairs that is reranked: those that can change a cluster; the cosine decides the others
    (default: 20%, but at least 50,000 pairs)."""
    rerank_budget: TextLike
    """Limit reranking to a number of pairs, or to a time (`30m`, `1h`, `45s`); the most promising pairs come
    first."""
    rerank_floor: float
    """Skip reranking below this cosine and call the pairs different; -1 reranks all (default: measured for the two
    models)."""
    rerank_ceiling: float
    """Skip reranking above this cosine and let the cosine decide; 1 reranks all (default: measured for the two
    models)."""
    swap_margin: float
    """Score a pair's second order if the first is within this many logits of the threshold (default: 2)."""
    clustering: Literal["cohesive", "star", "components"]
    """How scored pairs become clusters (default: cohesive)."""
    keep: TextLike
    """Which question represents a cluster: first, longest, most-central, or a column of the input whose highest
    value wins (votes, or votes:lowest) (default: most-central)."""
    write_embeddings: bool
    """Also write embeddings.parquet (default: false)."""
    device: TextLike
    """Where models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N (default: auto)."""
    batch_tokens: int
    """Most tokens of a batch, padding included; the results do not depend on it (default: by device)."""
    precision: TextLike
    """Number format of the encoders: auto, f32, bf16, f16, int8 (default: auto)."""
    threads: int
    """Worker threads; the results do not depend on it (default: 0, which is one a core)."""
    seed: int
    """Seed of every random choice (default: 42)."""
    force: bool
    """Replace files in --output that no run wrote, and accept what a guard (--max-deleted …) would refuse."""


class EvaluateOptions(TypedDict, total=False):
    """The options of `mine evaluate`."""

    pairs: FileLike
    """Labelled pairs: question1, question2, is_duplicate."""
    question1_column: TextLike
    """Column of the first question (default: question1)."""
    question2_column: TextLike
    """Column of the second question (default: question2)."""
    label_column: TextLike
    """Column of the label: 1 or true for duplicates, 0 or false (default: is_duplicate)."""
    bi_encoder: TextLike
    """Score with this bi-encoder: a folder, a hub name or `built-in`; if no scorer is named, both built-in models
    score, as in a run."""
    cross_encoder: TextLike
    """Score with this cross-encoder, and with both models if they were calibrated together; `none`: the cosine
    alone."""
    score_column: TextLike | Sequence[TextLike]
    """Score with a column of the pairs file; can be repeated."""
    one_order: bool
    """Score only (question1, question2) with the cross-encoder, as Python does, instead of both orders."""
    include_added: bool
    """Keep added pairs (column `natural` is false); they change the share of duplicates."""
    threshold: float
    """Decide at this threshold (default: of --pairs the model's calibrated one, else that of the best F1; of
    --sample the decisions in the file, or the threshold of the run that is named)."""
    grid: float
    """Also try thresholds from 0 to 1 in steps of this size; the reference notebooks use 0.01."""
    gold: FileLike | Sequence[FileLike]
    """Known duplicates of the run's questions: pairs by text (question1, question2, is_duplicate) or by id (id_a,
    id_b), or groups (id, group)."""
    no_closure: bool
    """Use only the labelled pairs; do not add (a, c) if (a, b) and (b, c) are duplicates."""
    sample: FileLike | Sequence[FileLike]
    """A file from `mine sample` whose column is_duplicate is filled in, all of it or a part; can be repeated for
    samples of one run that exclude each other."""
    target_precision: float
    """Name the lowest threshold that reaches this precision on the sample."""
    compare: TextLike | Sequence[TextLike]
    """Models to compare, bi- or cross-encoders: folders, hub names, `built-in` or `built-in-cross-encoder`."""
    valid: FileLike
    """Labelled pairs on which thresholds are chosen."""
    test: FileLike
    """Labelled pairs on which the models are scored."""
    output: PathLike
    """Also write the table to this file: .csv or .parquet."""
    bootstrap: int
    """Bootstrap draws for the 95 % intervals; 0 for none (default: 1000, 100 for more than 200,000 pairs, 10000 of
    a sample)."""
    seed: int
    """Seed of the bootstrap (default: 42)."""
    device: TextLike
    """Where models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N (default: auto)."""
    precision: TextLike
    """Number format of the encoders: auto, f32, bf16, f16, int8; use the same one as in your runs (default:
    auto)."""


class TrainOptions(TypedDict, total=False):
    """The options of `mine train`."""

    kind: Literal["bi", "cross", "siamese"]
    """What is trained (default: what the folder --from holds, else a bi-encoder)."""
    from_: TextLike
    """Model to start from: a folder, a hub name, or `built-in` (default: built-in)."""
    dev: FileLike
    """Labelled pairs to measure on; without it about a tenth of --pairs is held out by questions, and stays held
    out when pairs are added."""
    question1_column: TextLike
    """Column of the first question (default: question1)."""
    question2_column: TextLike
    """Column of the second question (default: question2)."""
    label_column: TextLike
    """Column of the label (default: is_duplicate)."""
    natural_only: bool
    """Leave out pairs whose column `natural` is false."""
    allow_shared_questions: bool
    """Train on questions that are also in --dev, as the protocol by pairs does."""
    run: PathLike
    """Folder of checkpoints, metrics and curves (default: --output with `.run` behind it)."""
    loss: TextLike
    """A loss, or several with weights: contrastive=1,ranking=0.5 (default: ranking, binary-cross-entropy,
    negative-log-likelihood)."""
    margin: float
    """Cosine distance beyond which contrastive losses no longer push others than duplicates apart (default:
    0.5)."""
    pos_weight: float
    """Weight of duplicates in the binary cross-entropy (default: 1)."""
    scale: float
    """What cosines are multiplied by in ranking (default: 20)."""
    directions: Literal["one-way", "both-ways", "all"]
    """What ranking compares (default: one-way)."""
    hardness: Literal["in-batch", "hard-negatives", "all"]
    """Negatives that weigh more the harder they are (default: none)."""
    hardness_strength: float
    """How much more hard negatives weigh, for --hardness (default: 5)."""
    epochs: int
    """Passes over the pairs (default: 1; as many as --max-steps takes)."""
    batch_size: int
    """Pairs of a batch (default: 64 for bi, 16 for cross, 128 for siamese)."""
    accumulate: int
    """Batches whose mean gradient makes one step (default: 1)."""
    learning_rate: float
    """Learning rate after the warm-up (default: 2e-5)."""
    warmup_steps: int
    """Steps in which the rate rises from 0 to --learning-rate (default: 100, at most a tenth of all)."""
    decay: Literal["linear", "cosine", "constant"]
    """How the rate falls after the warm-up (default: linear)."""
    weight_decay: float
    """Decay of matrices; biases and norms have none (default: 0.01)."""
    max_norm: float
    """Largest norm of a gradient; a larger one is scaled down to it (default: 1)."""
    dropout: float
    """Share of numbers that dropout zeroes (default: as the model's config.json says)."""
    swap_orders: bool
    """A cross-encoder reads pairs in the other order every second time (default: false)."""
    freeze_encoder: bool
    """Train the head of a siamese classifier alone (default: false)."""
    freeze_tokens: bool
    """Leave the token table as it is: steps cost a third less, and models from one start share it."""
    group_lengths: bool
    """Pairs of like length share a batch; ranking never does it (default: true)."""
    hard_negatives: int
    """Mine this many hard negatives for every duplicate with --negatives-from."""
    negatives_from: TextLike
    """Bi-encoder that mines: a folder, a hub name or `built-in` (default: --from where a bi-encoder is trained,
    else built-in)."""
    negatives_skip: int
    """Nearest neighbours passed over: most are unlabelled duplicates (default: 0)."""
    negatives_depth: int
    """Neighbours looked at (default: 50, more where --negatives-skip needs them)."""
    negatives_margin: float
    """A negative's cosine is at least this far below the duplicate's (default: 0.05)."""
    negatives_choice: Literal["nearest", "random"]
    """Which of the neighbours that qualify are taken (default: nearest)."""
    negatives_probability: float
    """A mined text is no negative where the teacher gives the pair this probability or more (default: 0.3)."""
    mined_pairs: int
    """Add this many mined pairs with the teacher's probability as label (augmented SBERT)."""
    perturbed_pairs: int
    """Add this many pairs made by rules from the training questions: swapped arguments, other numbers, other words;
    for English."""
    cosine_pairs: int
    """Add this many unlabelled pairs of near questions; the target is the probability that the cosine of
    --negatives-from gives."""
    teacher: PathLike
    """Cross-encoder (for cosine-distillation: bi-encoder) that checks negatives and is distilled: a folder or a hub
    name."""
    teacher_weight: float
    """Share of the teacher's probability in the targets of binary-cross-entropy; the rest is the label (default:
    0)."""
    start_share: float
    """Share of the start's weights in the model that is measured and written; the rest is trained (default: 0)."""
    max_steps: int
    """Stop after this many steps; the learning rate decays by then."""
    max_minutes: float
    """Stop after this long."""
    evaluate_every: int
    """Steps between evaluations (default: 200)."""
    metric: Literal["average-precision", "f1", "accuracy", "roc-auc"]
    """What makes a checkpoint the best (default: average-precision)."""
    write_last: bool
    """Write the last step's model and not the best: what a published protocol without a choice of steps asks for
    (default: false)."""
    patience: int
    """Stop after this many evaluations without a better one (default: never)."""
    checkpoint_every: int
    """Steps between checkpoints (default: 100)."""
    device: TextLike
    """Where the model is trained (default: auto)."""
    precision: Literal["f32", "bf16", "f16", "int8"]
    """What the encoder computes in, forward and back; weights and optimiser stay in f32 (default: f32)."""
    threads: int
    """Worker threads; the weights do not depend on it (default: one a core)."""
    seed: int
    """Seed of every random choice (default: 42)."""
    force: bool
    """Replace the model in --output, and what another training left in --run."""


COMMANDS: dict[str, dict[str, Option]] = {
    "mine": {
        "format": Option("--format", "value"),
        "encoding": Option("--encoding", "value"),
        "delta": Option("--delta", "boolean"),
        "reference": Option("--reference", "value"),
        "store": Option("--store", "value"),
        "cluster": Option("--cluster", "value"),
        "wait": Option("--wait", "boolean"),
        "keep_versions": Option("--keep-versions", "value"),
        "run_time": Option("--run-time", "value"),
        "max_deleted": Option("--max-deleted", "value"),
        "max_cluster_size": Option("--max-cluster-size", "value"),
        "max_new_duplicates": Option("--max-new-duplicates", "value"),
        "top_k": Option("--top-k", "value"),
        "bi_encoder": Option("--bi-encoder", "value"),
        "cross_encoder": Option("--cross-encoder", "value"),
        "index": Option("--index", "value"),
        "min_cosine": Option("--min-cosine", "value"),
        "threshold": Option("--threshold", "value"),
        "min_recall": Option("--min-recall", "value"),
        "deterministic": Option("--deterministic", "boolean"),
        "hnsw_links": Option("--hnsw-links", "value"),
        "hnsw_ef_construction": Option("--hnsw-ef-construction", "value"),
        "hnsw_ef_search": Option("--hnsw-ef-search", "value"),
        "rerank_share": Option("--rerank-share", "value"),
        "rerank_budget": Option("--rerank-budget", "value"),
        "rerank_floor": Option("--rerank-floor", "value"),
        "rerank_ceiling": Option("--rerank-ceiling", "value"),
        "swap_margin": Option("--swap-margin", "value"),
        "clustering": Option("--clustering", "value"),
        "keep": Option("--keep", "value"),
        "write_embeddings": Option("--write-embeddings", "boolean"),
        "device": Option("--device", "value"),
        "batch_tokens": Option("--batch-tokens", "value"),
        "precision": Option("--precision", "value"),
        "threads": Option("--threads", "value"),
        "seed": Option("--seed", "value"),
        "force": Option("--force", "switch"),
    },
    "mine evaluate": {
        "pairs": Option("--pairs", "value"),
        "question1_column": Option("--question1-column", "value"),
        "question2_column": Option("--question2-column", "value"),
        "label_column": Option("--label-column", "value"),
        "bi_encoder": Option("--bi-encoder", "value"),
        "cross_encoder": Option("--cross-encoder", "value"),
        "score_column": Option("--score-column", "list"),
        "one_order": Option("--one-order", "switch"),
        "include_added": Option("--include-added", "switch"),
        "threshold": Option("--threshold", "value"),
        "grid": Option("--grid", "value"),
        "gold": Option("--gold", "list"),
        "no_closure": Option("--no-closure", "switch"),
        "sample": Option("--sample", "list"),
        "target_precision": Option("--target-precision", "value"),
        "compare": Option("--compare", "list"),
        "valid": Option("--valid", "value"),
        "test": Option("--test", "value"),
        "output": Option("--output", "value"),
        "bootstrap": Option("--bootstrap", "value"),
        "seed": Option("--seed", "value"),
        "device": Option("--device", "value"),
        "precision": Option("--precision", "value"),
    },
    "mine train": {
        "kind": Option("--kind", "value"),
        "from_": Option("--from", "value"),
        "dev": Option("--dev", "value"),
        "question1_column": Option("--question1-column", "value"),
        "question2_column": Option("--question2-column", "value"),
        "label_column": Option("--label-column", "value"),
        "natural_only": Option("--natural-only", "boolean"),
        "allow_shared_questions": Option("--allow-shared-questions", "boolean"),
        "run": Option("--run", "value"),
        "loss": Option("--loss", "value"),
        "margin": Option("--margin", "value"),
        "pos_weight": Option("--pos-weight", "value"),
        "scale": Option("--scale", "value"),
        "directions": Option("--directions", "value"),
        "hardness": Option("--hardness", "value"),
        "hardness_strength": Option("--hardness-strength", "value"),
        "epochs": Option("--epochs", "value"),
        "batch_size": Option("--batch-size", "value"),
        "accumulate": Option("--accumulate", "value"),
        "learning_rate": Option("--learning-rate", "value"),
        "warmup_steps": Option("--warmup-steps", "value"),
        "decay": Option("--decay", "value"),
        "weight_decay": Option("--weight-decay", "value"),
        "max_norm": Option("--max-norm", "value"),
        "dropout": Option("--dropout", "value"),
        "swap_orders": Option("--swap-orders", "boolean"),
        "freeze_encoder": Option("--freeze-encoder", "boolean"),
        "freeze_tokens": Option("--freeze-tokens", "boolean"),
        "group_lengths": Option("--group-lengths", "boolean"),
        "hard_negatives": Option("--hard-negatives", "value"),
        "negatives_from": Option("--negatives-from", "value"),
        "negatives_skip": Option("--negatives-skip", "value"),
        "negatives_depth": Option("--negatives-depth", "value"),
        "negatives_margin": Option("--negatives-margin", "value"),
        "negatives_choice": Option("--negatives-choice", "value"),
        "negatives_probability": Option("--negatives-probability", "value"),
        "mined_pairs": Option("--mined-pairs", "value"),
        "perturbed_pairs": Option("--perturbed-pairs", "value"),
        "cosine_pairs": Option("--cosine-pairs", "value"),
        "teacher": Option("--teacher", "value"),
        "teacher_weight": Option("--teacher-weight", "value"),
        "start_share": Option("--start-share", "value"),
        "max_steps": Option("--max-steps", "value"),
        "max_minutes": Option("--max-minutes", "value"),
        "evaluate_every": Option("--evaluate-every", "value"),
        "metric": Option("--metric", "value"),
        "write_last": Option("--write-last", "boolean"),
        "patience": Option("--patience", "value"),
        "checkpoint_every": Option("--checkpoint-every", "value"),
        "device": Option("--device", "value"),
        "precision": Option("--precision", "value"),
        "threads": Option("--threads", "value"),
        "seed": Option("--seed", "value"),
        "force": Option("--force", "switch"),
    },
}
