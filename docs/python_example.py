# %% [markdown]
# # Duplicate questions, from a frame to a table without them
#
# Each `# %%` is a cell: VS Code, PyCharm and Jupytext open this file as a notebook. As a script:
# `python docs/python_example.py`, in the root of the repository. `docs/python.md` explains the functions.

# %%
import pandas as pd

import dupmine

questions = pd.read_parquet("fixtures/questions.parquet")
print(questions.head())

# %% [markdown]
# One line gives a table without duplicates. It keeps the order, the columns and the index. With `store`, the next cells need
# not compute vectors and scores again.

# %%
unique = dupmine.deduplicate(questions, store="mined-store")
print(f"{len(questions)} questions, {len(unique)} without duplicates")

# %% [markdown]
# `mine` keeps the pairs and clusters. The folder `mined` has the results and a report.

# %%
run = dupmine.mine(questions, text="text", id="id", output="mined", store="mined-store")
print(run)
print(f"{run.summary['questions']} questions, {run.summary['counts']['clusters']} clusters, see {run.report}")

# %% [markdown]
# Results are read when you ask for them: `.to_pandas()`, `.to_polars()`, `.to_arrow()` or `.duckdb()`.

# %%
clusters = run.clusters.to_pandas().merge(questions, on="id")
for _, cluster in list(clusters.groupby("cluster_id"))[:3]:
    print(" = ".join(cluster.text))

# %%
pairs = run.pairs.to_pandas()
print(pairs[pairs.is_duplicate].sort_values("probability").head()[["id_a", "id_b", "probability"]])

# %% [markdown]
# The next night, some questions are new. Only those are computed; clusters keep their ids.

# %%
asked_today = pd.DataFrame({"id": [9001], "text": ["Is the tap water of Mexico City safe to drink?"]})
tonight = pd.concat([questions, asked_today])
run = dupmine.mine(tonight, text="text", id="id", output="mined", store="mined-store", quiet=True)
changes = run.changes.to_pandas()
print(changes[changes.version.eq(run.summary["version"])][["id", "from_cluster_id", "to_cluster_id", "reason"]])

# %% [markdown]
# An error is an exception with the message and the hint of the binary.

# %%
try:
    dupmine.mine(questions, text="text", id="id", output="mined", quiet=True, threshold=7)
except dupmine.UsageError as error:
    print(f"{error.message} (exit code {error.exit_code})")
