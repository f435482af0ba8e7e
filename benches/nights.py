#!/usr/bin/env python3
"""What nights cost: a first run, then nights with 1 % new, 0.5 % edited and 0.5 % deleted questions.

    benches/nights.py QUESTIONS.parquet [--nights N] [--verify] [-- flags of mine]

Needs pandas, pyarrow and a release build (MINE=target/release/mine). Prints a JSON line a run: seconds, memory, what was computed,
and, from the second on, how many clusters that are in both nights kept their id; beside it the same for the ids that mine had
before, the smallest question id of a cluster. `--verify` ends with a run from nothing and compares pairs and clusters.
"""
import json, os, random, shutil, subprocess, sys, tempfile, time
import pandas as pd

MINE = os.environ.get("MINE", "target/release/mine")
arguments, flags = sys.argv[1:], []
if "--" in arguments:
    at = arguments.index("--")
    arguments, flags = arguments[:at], arguments[at + 1:]
nights = int(arguments[arguments.index("--nights") + 1]) if "--nights" in arguments else 1
work = tempfile.mkdtemp(prefix="mine-nights-", dir=os.environ.get("WORK"))


def run(name, output, night):
    started = time.time()
    command = [MINE, "--input", f"{work}/q.parquet", "--output", f"{work}/{output}", "--quiet",
               "--run-time", f"2026-11-{night + 1:02}T03:00:00Z", *flags]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"mine failed: {status}")
    manifest = json.load(open(f"{work}/{output}/manifest.json"))
    stages = {stage["stage"]: stage for stage in manifest["stages"]}
    line = {
        "run": name,
        "seconds": round(time.time() - started, 1),
        "mb": usage.ru_maxrss // 1024,
        "stages": {name: round(stage["seconds"], 1) for name, stage in stages.items()},
        "computed": {name: stage["computed"] for name, stage in stages.items() if "computed" in stage},
    }
    if "rerank" in stages:
        line["pairs"] = {"candidates": stages["rerank"]["rows_in"], "reranked": stages["rerank"]["rows_out"],
                         "backlog": stages["rerank"]["dropped"]["not_reranked"]}
    return line


def clusters(output):
    rows = pd.read_parquet(f"{work}/{output}/clusters.parquet")
    return {cluster: frozenset(ids) for cluster, ids in rows.groupby("cluster_id").id}


def kept(before, after):
    """Of the clusters of which two questions or more are still together: how many have the same id, new way and old way."""
    cluster_of = {question: cluster for cluster, ids in after.items() for question in ids}
    present = same = same_smallest = 0
    for cluster, ids in before.items():
        parts = pd.Series([cluster_of[question] for question in ids if question in cluster_of]).value_counts()
        if len(parts) and parts.iloc[0] >= 2:
            present += 1
            into = parts.index[0] if cluster not in parts.index or parts[cluster] < parts.iloc[0] else cluster
            same += into == cluster
            same_smallest += min(after[into]) == min(ids)
    return {"in_both": present, "same_id": int(same), "same_smallest_question": int(same_smallest)}


all_questions = pd.read_parquet(arguments[0])[["id", "text"]].sample(frac=1, random_state=7).reset_index(drop=True)
new_a_night = len(all_questions) // 100
held_out = all_questions.iloc[:new_a_night * nights]
questions = all_questions.iloc[new_a_night * nights:].reset_index(drop=True)
questions.to_parquet(f"{work}/q.parquet")
print(json.dumps(run("first", "nightly", 0)), flush=True)
before = clusters("nightly")
for night in range(1, nights + 1):
    some = len(questions) // 200
    picked = random.Random(night).sample(range(len(questions)), 2 * some)
    questions.loc[picked[:some], "text"] += " in 2026"
    new = held_out.iloc[new_a_night * (night - 1):new_a_night * night]
    questions = pd.concat([questions.drop(index=picked[some:]), new]).sample(frac=1, random_state=night)
    questions = questions.reset_index(drop=True)
    questions.to_parquet(f"{work}/q.parquet")
    line = run(f"night {night}", "nightly", night)
    after = clusters("nightly")
    print(json.dumps(line | {"clusters": kept(before, after)}), flush=True)
    before = after
store = sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(f"{work}/nightly/.mine") for file in files)
print(json.dumps({"store_mb": store >> 20}), flush=True)
if "--verify" in arguments:
    print(json.dumps(run("from nothing", "fresh", 0)), flush=True)
    columns = ["id_a", "id_b", "cosine", "probability", "is_duplicate", "kind"]
    pairs = [pd.read_parquet(f"{work}/{output}/pairs.parquet")[columns] for output in ["nightly", "fresh"]]
    same = pairs[0].equals(pairs[1]) and set(clusters("nightly").values()) == set(clusters("fresh").values())
    print(json.dumps({"same_as_from_nothing": bool(same)}))
shutil.rmtree(work)
