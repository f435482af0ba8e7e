#!/usr/bin/env python3
"""The same job in dupmine, sentence-transformers and SemHash: keep one question of each cluster of duplicates.

    python_peers.py [--rows 2000] [--threshold 0.9] [--only dupmine]

Questions are those of the labelled pairs of Quora's dev set. Each way runs in a process of its own, from imports to groups of
duplicates, and prints one line of JSON: lines of code, seconds, peak memory of the process and its children, questions that
are superfluous, and how many of the labelled pairs among the questions it put together, right and wrong.

It needs the environment of `just peer` with semhash (`pip install semhash`), the package dupmine (PYTHONPATH=python) with
MINE_BIN, and DATA and MODEL as in benches/data.sh. SemHash's own model is on a hub, so it uses the same MiniLM.
"""

import argparse
import inspect
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import pandas as pd

DATA = os.path.abspath(os.environ.get("DATA", "../shared/data"))
MODEL = os.path.abspath(os.environ.get("MODEL", "../shared/models/all-MiniLM-L6-v2"))


def dupmine(questions, threshold):
    import dupmine

    run = dupmine.mine(questions, quiet=True)
    clusters = run.clusters.to_pandas()
    return clusters.groupby("cluster_id").id.agg(list).tolist()


def dupmine_cosine(questions, threshold):
    import dupmine

    run = dupmine.mine(questions, quiet=True, cross_encoder="none")
    clusters = run.clusters.to_pandas()
    return clusters.groupby("cluster_id").id.agg(list).tolist()


def community_detection(questions, threshold):
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(MODEL, device="cpu")
    embeddings = model.encode(questions.text.tolist(), batch_size=64, convert_to_tensor=True)
    groups = util.community_detection(embeddings, threshold=threshold, min_community_size=2)
    return [questions.id.iloc[group].tolist() for group in groups]


def paraphrase_mining(questions, threshold):
    import networkx
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(MODEL, device="cpu")
    pairs = util.paraphrase_mining(model, questions.text.tolist(), batch_size=64)
    graph = networkx.Graph((a, b) for score, a, b in pairs if score >= threshold)
    return [questions.id.iloc[list(group)].tolist() for group in networkx.connected_components(graph)]


def semhash(questions, threshold):
    from semhash import SemHash
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(MODEL, device="cpu")
    records = questions.astype(str).to_dict("records")
    found = SemHash.from_records(records, columns=["text"], model=model).self_deduplicate(threshold=threshold)
    groups = [[kept.record, *(record for record, _ in kept.duplicates)] for kept in found.selected_with_duplicates]
    return [[int(record["id"]) for record in group] for group in groups if len(group) > 1]


WAYS = [dupmine, dupmine_cosine, community_detection, paraphrase_mining, semhash]


def sample(rows):
    """The first labelled pairs of dev that hold `rows` questions: the questions, and the pairs."""
    pairs = pd.read_parquet(f"{DATA}/qqp/dev.parquet")
    pairs = pairs[pairs.natural]
    one, two = pairs[["qid1", "question1"]], pairs[["qid2", "question2"]]
    questions = pd.concat([part.set_axis(["id", "text"], axis=1) for part in (one, two)]).sort_index(kind="stable")
    questions = questions.drop_duplicates("id").head(rows).reset_index(drop=True)
    inside = pairs.qid1.isin(questions.id) & pairs.qid2.isin(questions.id)
    return questions, pairs[inside]


def measure(way, rows, threshold):
    questions, pairs = sample(rows)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        start = time.perf_counter()
        groups = way(questions, threshold)
        seconds = time.perf_counter() - start
        os.chdir("/")
    cluster = {question: number for number, group in enumerate(groups) for question in group}
    together = pairs.qid1.map(cluster).eq(pairs.qid2.map(cluster)) & pairs.qid1.isin(cluster)
    right, true = int((together & pairs.is_duplicate.eq(1)).sum()), int(pairs.is_duplicate.sum())
    wrong = int(together.sum()) - right
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    code = inspect.getsource(way).splitlines()[1:]
    figures = {
        "way": way.__name__,
        "lines": sum(bool(line.strip()) for line in code),
        "seconds": round(seconds, 1),
        "peak_mb": sum(usage) // 1024,
        "questions": len(questions),
        "dropped": sum(len(group) - 1 for group in groups),
        "true_pairs": true,
        "found": right,
        "wrong": wrong,
        "precision": round(right / max(right + wrong, 1), 3),
        "recall": round(right / max(true, 1), 3),
    }
    print(json.dumps(figures), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--threshold", type=float, default=0.9, help="cosine, for those that have no measured one")
    parser.add_argument("--only", help="one way, in this process")
    chosen = parser.parse_args()
    if chosen.only:
        way = next(way for way in WAYS if way.__name__ == chosen.only)
        return measure(way, chosen.rows, chosen.threshold)
    for way in WAYS:
        arguments = ["--rows", str(chosen.rows), "--threshold", str(chosen.threshold), "--only", way.__name__]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        subprocess.run([sys.executable, "-W", "ignore", __file__, *arguments], check=True, env=environment)


if __name__ == "__main__":
    main()
