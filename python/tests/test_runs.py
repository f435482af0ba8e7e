"""Finished runs, evaluation and training."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pandas
import pytest

import dupmine

from .support import REPO, TINY

BEFORE = pandas.DataFrame({"id": range(30), "text": [f"how do i boil {n} eggs" for n in range(30)]})
AFTER = pandas.concat([BEFORE, pandas.DataFrame({"id": [90, 91], "text": ["how do i  boil 3 eggs", "a b c"]})])
PAIRS = REPO / "fixtures" / "pairs.csv"


@pytest.fixture
def run() -> dupmine.Run:
    dupmine.mine(BEFORE, quiet=True, **{**TINY, "threshold": 1})
    return dupmine.mine(AFTER, quiet=True, **{**TINY, "threshold": 1})


def test_every_file_is_a_handle_of_every_library(run: dupmine.Run) -> None:
    for table in (run.pairs, run.clusters, run.cluster_stats, run.changes, run.events, run.skipped, run.metrics):
        rows = table.to_arrow().num_rows
        assert len(table.to_pandas()) == table.to_polars().height == rows, table
        assert table.duckdb().aggregate("count(*)").fetchall() == [(rows,)]
    assert sorted(run.clusters.to_pandas(["id"]).id) == [3, 90]
    with duckdb.connect() as connection:
        found = run.changes.duckdb(connection).filter("version = 2").project("id, reason").fetchall()
    assert sorted(found) == [(3, "scores"), (90, "new")]
    with pytest.raises(FileNotFoundError, match="embeddings"):
        run.embeddings.to_arrow()
    assert "<html" in run.report.read_text("utf-8")
    assert Path(os.fspath(run.pairs)).is_file()


def test_integers_and_booleans_with_nulls_stay_what_they_are(run: dupmine.Run) -> None:
    changes = run.changes.to_pandas()
    assert str(changes.from_cluster_id.dtype) == "Int64" and changes.from_cluster_id.isna().all()
    assert str(changes.to_cluster_id.dtype) == "int64"
    limited = dupmine.mine(AFTER, output="limited", quiet=True, rerank_budget=1, rerank_floor=-1, min_cosine=0)
    pairs = limited.pairs.to_pandas()
    assert str(pairs.is_duplicate.dtype) == "boolean" and pairs.is_duplicate.isna().sum() > 0
    assert len(pairs[pairs.is_duplicate]) == (pairs.is_duplicate == True).sum()


def test_a_run_says_what_it_did_and_can_be_opened_again(run: dupmine.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (run.summary["version"], run.summary["questions"], run.summary["counts"]["new"]) == (2, 32, 2)
    assert [version["number"] for version in run.history] == [2, 1]
    again = dupmine.open("mined")
    monkeypatch.chdir("/")
    assert again.summary == run.summary
    assert repr(again) == repr(run) == f"Run({str(run.path)!r}: version 2, 32 questions, 1 duplicates, 1 clusters)"
    with pytest.raises(dupmine.UsageError, match="no finished run"):
        dupmine.open("/")


def test_a_run_can_be_the_reference_of_another(run: dupmine.Run) -> None:
    new = pandas.DataFrame({"id": [500, 501], "text": ["how do i boil  7 eggs", "x y z"]})
    known = dupmine.mine(new, reference=run, output="new", quiet=True, **{**TINY, "threshold": 1})
    assert sorted(known.clusters.to_pandas().id) == [7, 500]
    of_frame = dupmine.mine(new, reference=AFTER, output="frame", quiet=True, **{**TINY, "threshold": 1})
    assert sorted(of_frame.clusters.to_pandas().id) == [7, 500]


def test_changes_alone_are_enough(run: dupmine.Run) -> None:
    changes = pandas.DataFrame({"id": [90, 92], "op": ["delete", "upsert"], "text": [None, "a b  c"]})
    after = dupmine.mine(changes, delta=True, quiet=True, **{**TINY, "threshold": 1})
    assert sorted(after.clusters.to_pandas().id) == [91, 92]


def test_evaluate_measures_frames_and_files(run: dupmine.Run) -> None:
    by_file = dupmine.evaluate(pairs=PAIRS, bootstrap=0, bi_encoder=TINY["bi_encoder"], quiet=True)
    by_frame = dupmine.evaluate(pairs=pandas.read_csv(PAIRS), bootstrap=0, bi_encoder=TINY["bi_encoder"], quiet=True)
    assert by_file["cosine"]["pairs"] == 60 and by_file == by_frame
    gold = pandas.DataFrame({"id_a": [3], "id_b": [4]})
    answer = dupmine.evaluate(run, gold=gold, bootstrap=0, quiet=True)
    assert answer["gold"]["duplicates"] == 1
    with pytest.raises(dupmine.UsageError):
        dupmine.evaluate()


def test_train_writes_a_model_that_a_run_can_use() -> None:
    model = dupmine.train(
        pandas.read_csv(PAIRS), output="model", from_=TINY["bi_encoder"], max_steps=2, batch_size=4, quiet=True
    )
    assert model == Path("model").absolute() and (model / "config.json").is_file()
    run = dupmine.mine(BEFORE, quiet=True, **{**TINY, "bi_encoder": model})
    assert run.summary["questions"] == 30
