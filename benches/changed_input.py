#!/usr/bin/env python3
"""What a changed input costs: a run, the same input with 100 questions removed, edited and added, and that from nothing.

Needs pandas and pyarrow, a release build, and the questions of Quora (DATA=../shared/data). Prints one line a run, and whether
the results of a changed store equal those of a run from nothing, byte for byte.
"""
import json, os, shutil, subprocess, sys, tempfile, time
import pandas as pd

DATA = os.environ.get("DATA", "../shared/data")
MINE = os.environ.get("MINE", "target/release/mine")
CORPUS, MORE = f"{DATA}/qqp/questions-dev.parquet", f"{DATA}/qqp/questions.parquet"
FILES = ["pairs", "clusters", "cluster_stats", "metrics", "skipped"]

for file in [CORPUS, MORE, MINE]:
    if not os.path.exists(file):
        sys.exit(f"{file} is not there: set DATA or MINE")
work = tempfile.mkdtemp(prefix="mine-changed-")


def run(name, output):
    started = time.time()
    command = [MINE, "--input", f"{work}/q.parquet", "--output", f"{work}/{output}", "--quiet", *sys.argv[1:]]
    subprocess.run(command, check=True)
    stages = {stage["stage"]: stage for stage in json.load(open(f"{work}/{output}/manifest.json"))["stages"]}
    computed = {name: stages[name]["computed"] for name in ["embed", "rerank"] if name in stages}
    print(json.dumps({"run": name, "seconds": round(time.time() - started, 1), "computed": computed}), flush=True)


questions = pd.read_parquet(CORPUS)[["id", "text"]]
questions.to_parquet(f"{work}/q.parquet")
run("first", "changed")
changed = questions.sample(frac=1, random_state=7).reset_index(drop=True).drop(index=range(100))
changed.loc[changed.index[:100], "text"] += " in 2026"
more = pd.read_parquet(MORE)
more = more[~more.text.isin(questions.text)].sample(100, random_state=5)[["id", "text"]]
more["id"] = range(10_000_000, 10_000_100)
pd.concat([changed, more]).sample(frac=1, random_state=9).to_parquet(f"{work}/q.parquet")
run("changed", "changed")
run("changed, from nothing", "fresh")
read = lambda output, file: open(f"{work}/{output}/{file}.parquet", "rb").read()
same = all(read("changed", file) == read("fresh", file) for file in FILES)
print(json.dumps({"same_bytes": same}))
shutil.rmtree(work)
sys.exit(0 if same else 1)
