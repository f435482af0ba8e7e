"""Frames of every library, ids of every type."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

import dupmine

from .support import QUESTIONS, TINY

RUN_TIME = "2026-11-27T03:00:00Z"
TEXTS = ["how do i boil eggs", "why is the sky blue", "how do i  boil eggs", None, "how do i boil eggs", "  "]


def rows(table: dupmine.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.to_arrow().to_pylist()
    return found


def test_every_frame_and_every_file_gives_the_same_results() -> None:
    table = pyarrow.parquet.read_table(QUESTIONS)
    pyarrow.csv.write_csv(table, "questions.csv")
    inputs = {
        "pandas": table.to_pandas(),
        "polars": polars.from_arrow(table),
        "arrow": table,
        "parquet": QUESTIONS,
        "csv": "questions.csv",
        "list": ["questions.csv"],
    }
    runs = {
        name: dupmine.mine(questions, output=name, store="store", run_time=RUN_TIME, quiet=True, cross_encoder="none")
        for name, questions in inputs.items()
    }
    assert runs["arrow"].summary["counts"]["clusters"] > 20
    for name, run in runs.items():
        for result in ("pairs", "clusters", "cluster_stats", "skipped"):
            assert rows(getattr(run, result)) == rows(getattr(runs["arrow"], result)), (name, result)


@pytest.mark.parametrize(
    ("ids", "arrow_type", "pandas_type"),
    [
        (pandas.Series([5, 3, 9, 7, 1, 2], dtype="int32"), "int32", "int32"),
        (pandas.Series([5, 3, 9, 7, 1, 2], dtype="Int64"), "int64", "int64"),
        (pandas.Series([2**63 + 5, 2**63 + 3, 2**64 - 1, 7, 1, 2], dtype="uint64"), "uint64", "uint64"),
        (pandas.Series(["007", "7", "x", "é", "1.0", "-"]), None, None),
        (pandas.Series([str(uuid.UUID(int=number)) for number in range(6)]), None, None),
    ],
)
def test_ids_come_back_with_their_type(ids: Any, arrow_type: str | None, pandas_type: str | None) -> None:
    frame = pandas.DataFrame({"key": ids, "text": TEXTS})
    expected = {frozenset([ids[0], ids[2], ids[4]])}
    of_pandas = dupmine.mine(frame, id="key", output="pandas", quiet=True, **TINY)
    found = of_pandas.clusters.to_pandas()
    assert {frozenset(cluster.id) for _, cluster in found.groupby("cluster_id")} == expected
    assert pandas_type is None or str(found.id.dtype) == pandas_type
    assert pandas_type is not None or found.id.dtype == frame.key.dtype

    of_polars = dupmine.mine(polars.from_pandas(frame), id="key", output="polars", quiet=True, **TINY)
    clusters = of_polars.clusters.to_polars()
    assert {frozenset(cluster["id"]) for _, cluster in clusters.group_by("cluster_id")} == expected
    assert clusters["id"].dtype == polars.from_pandas(frame)["key"].dtype

    of_arrow = dupmine.mine(pyarrow.Table.from_pandas(frame), id="key", output="arrow", quiet=True, **TINY)
    arrow_ids = of_arrow.clusters.to_arrow()["id"]
    assert frozenset(arrow_ids.to_pylist()) in expected
    assert arrow_type is None or str(arrow_ids.type) == arrow_type


def test_without_an_id_column_ids_are_positions() -> None:
    frame = pandas.DataFrame({"text": TEXTS}, index=list("aabbcc"))
    run = dupmine.mine(frame, quiet=True, **TINY)
    assert sorted(run.clusters.to_pandas().id) == [0, 2, 4]
    assert run.skipped.to_pandas()[["id", "reason"]].values.tolist() == [[3, "null text"], [5, "blank text"]]


def test_a_column_id_is_found() -> None:
    run = dupmine.mine(polars.DataFrame({"id": list("abcdef"), "text": TEXTS, "other": [{}] * 6}), quiet=True, **TINY)
    assert sorted(run.clusters.to_polars()["id"]) == ["a", "c", "e"]


def test_text_can_be_in_several_columns() -> None:
    frame = pandas.DataFrame({"a": ["boil", "sky", "boil"], "b": ["eggs", "blue", "eggs"], "a,b": ["x", "y", "z"]})
    for text in (["a", "b"], "{a} {b}", "a, b"):
        run = dupmine.mine(frame, text=text, quiet=True, force=True, **TINY)
        assert sorted(run.clusters.to_pandas().id) == [0, 2], text
    of_one = dupmine.mine(frame, text="a,b", output="one", quiet=True, **TINY)
    assert "normalised" not in set(of_one.pairs.to_pandas().kind)


def test_categories_are_text() -> None:
    frame = pandas.DataFrame({"text": pandas.Series(TEXTS, dtype="category")})
    assert sorted(dupmine.mine(frame, quiet=True, **TINY).clusters.to_pandas().id) == [0, 2, 4]


def test_a_repeated_id_is_named() -> None:
    frame = pandas.DataFrame({"id": ["a", "b", "c", "d", "b", "f"], "text": TEXTS})
    with pytest.raises(dupmine.MineError) as caught:
        dupmine.mine(frame, quiet=True, **TINY)
    assert caught.value.message == "id b occurs twice: row 1 of the frame and row 4 of the frame"


def test_a_missing_column_is_named_with_those_that_are_there() -> None:
    frame = pandas.DataFrame({"subject": TEXTS, "key": range(6)})
    with pytest.raises(dupmine.UsageError, match="no column 'text'; its columns are: subject, key") as caught:
        dupmine.mine(frame)
    assert caught.value.hint == "name it with text=…"
    with pytest.raises(dupmine.UsageError, match="no column 'ticket'") as caught:
        dupmine.mine(frame, text="subject", id="ticket")
    assert caught.value.hint == "name it with id=…"


def test_a_column_of_mixed_values_is_refused() -> None:
    frame = pandas.DataFrame({"text": ["a", 3, b"x"]})
    with pytest.raises(dupmine.UsageError, match="the frame cannot be written"):
        dupmine.mine(frame)


def test_what_is_no_frame_is_refused() -> None:
    for value in (5, {"text": TEXTS}, pandas.Series(TEXTS), [5]):
        with pytest.raises(TypeError, match="expected a path, a DataFrame of pandas"):
            dupmine.mine(value)


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    dupmine.mine(pandas.DataFrame({"text": TEXTS}), quiet=True, **TINY)
    with pytest.raises(dupmine.UsageError):
        dupmine.mine(pandas.DataFrame({"text": TEXTS}), quiet=True, top_k=-5)
    assert list(folder.iterdir()) == []
