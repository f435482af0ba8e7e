"""Figures on questions that nothing was chosen on, beside those on dev and on other sets of labelled pairs.

    python benches/quality.py split ../shared/data/qqp/train.parquet /tmp/quality   # train, check and topic, by components of questions
    python benches/quality.py other ../shared/data/other /tmp/quality               # labelled pairs that are not Quora's, in one layout
    python benches/quality.py table target/release/mine "built-in" "built-in-cross-encoder" /tmp/quality/check.parquet …

`check` is an eighth of the components, `topic` all components about health; a model that is measured on them was trained on
`train.parquet` of the same folder alone. The table has best F1, average precision, and F1 at the shipped threshold, of the cosine, of the
cross-encoder and of both together. Needs pandas and pyarrow.
"""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd

CHECK = 0.12
HEALTH = re.compile(
    r"\b(weight|diet|doctor|disease|symptoms?|cancer|pregnan\w*|blood|skin|hair|pain|medicine|sleep|health\w*|surgery|acne|teeth|headache)\b"
)


def components(pairs: pd.DataFrame) -> pd.Series:
    """The component of each pair: pairs that share a question have the same."""
    parent: dict[str, str] = {}

    def find(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    fold = lambda text: " ".join(text.lower().split())
    first, second = pairs.question1.map(fold), pairs.question2.map(fold)
    for a, b in zip(first, second):
        a, b = find(a), find(b)
        if a != b:
            parent[max(a, b)] = min(a, b)
    return first.map(find)


def split(source: Path, output: Path) -> None:
    pairs = pd.read_parquet(source)
    root = components(pairs)
    about_health = [bool(HEALTH.search(f"{a} {b}".lower())) for a, b in zip(pairs.question1, pairs.question2)]
    share = pd.Series(about_health).groupby(root.values).mean()
    topic = set(share[share >= 0.5].index)
    place = lambda text: int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") / 2**32
    part = root.map(lambda text: "topic" if text in topic else "check" if place(text) < CHECK else "train")
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in pairs.groupby(part):
        rows.to_parquet(output / f"{name}.parquet", index=False)
        natural = rows[rows.natural]
        print(f"{name}: {len(rows)} pairs, {len(natural)} natural, {natural.is_duplicate.mean():.3f} of them duplicates")


def other(source: Path, output: Path) -> None:
    """Test parts; graded similarity counts as a duplicate from 0.8 on, in SICK only with entailment."""
    output.mkdir(parents=True, exist_ok=True)
    for name in ["rqe", "mrpc", "stsb", "sick"]:
        pairs = pd.read_parquet(source / f"{name}.parquet")
        if "score" in pairs:
            pairs["is_duplicate"] = pairs.score >= 0.8
        if "entailment" in pairs:
            pairs["is_duplicate"] &= pairs.entailment == "ENTAILMENT"
        pairs = pairs[pairs.split != "train"] if name == "rqe" else pairs[pairs.split == "test"]
        columns = pairs[["question1", "question2", "is_duplicate"]].astype({"is_duplicate": "int64"})
        columns.to_parquet(output / f"{name}.parquet", index=False)
        print(f"{name}: {len(pairs)} pairs, {columns.is_duplicate.mean():.3f} of them duplicates")


def table(mine: str, bi_encoder: str, cross_encoder: str, files: list[Path]) -> None:
    def figures(file: Path, *models: str) -> dict:
        added = ["--include-added"] if "rule" in pd.read_parquet(file).columns else []
        command = [mine, "evaluate", "--pairs", str(file), "--json", "--quiet", "--bootstrap", "0", *added, *models]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        scored = [value for key, value in answer.items() if isinstance(value, dict) and "f1" in value]
        return answer.get("together") or answer.get("cosine") or scored[0]

    print("| set | pairs | cosine | cross-encoder | together |\n|---|---|---|---|---|")
    for file in files:
        one = figures(file, "--bi-encoder", bi_encoder)
        two = figures(file, "--cross-encoder", cross_encoder)
        both = figures(file, "--bi-encoder", bi_encoder, "--cross-encoder", cross_encoder)
        shown = [f"{f['f1']:.3f} / {f['average_precision']:.3f} ({f['at_threshold']['f1']:.3f})" for f in (one, two, both)]
        print(f"| {file.stem} | {one['pairs']} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["help"]
    match what:
        case "split":
            split(Path(rest[0]), Path(rest[1]))
        case "other":
            other(Path(rest[0]), Path(rest[1]))
        case "table":
            table(*rest[:3], [Path(file) for file in rest[3:]])
        case _:
            print(__doc__)
