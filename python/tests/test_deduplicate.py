"""Tables without duplicates."""

from __future__ import annotations

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

TEXTS = ["how do i boil eggs", None, "why is the sky blue", "how do i  boil eggs", None, "how do i boil eggs", ""]
KEPT = [0, 1, 2, 4, 6]


def frame(index: Any = None) -> pandas.DataFrame:
    columns = {"text": TEXTS, "row": range(7), "list": [[n] for n in range(7)]}
    return pandas.DataFrame(columns, index=index)


@pytest.mark.parametrize("index", [None, list("aabbccd"), range(70, 0, -10)])
def test_order_columns_and_index_stay(index: Any) -> None:
    given = frame(index)
    unique = dupmine.deduplicate(given, quiet=True, **TINY)
    pandas.testing.assert_frame_equal(unique, given.iloc[KEPT])
    assert len(given) == 7


def test_a_frame_comes_back_in_its_own_type() -> None:
    of_polars = dupmine.deduplicate(polars.from_pandas(frame()), quiet=True, **TINY)
    assert of_polars.equals(polars.from_pandas(frame())[KEPT])
    table = pyarrow.Table.from_pandas(frame(), preserve_index=False)
    of_arrow = dupmine.deduplicate(table, quiet=True, **TINY)
    assert of_arrow.equals(table.take(KEPT))


def test_keep_names_the_row_that_stays() -> None:
    given = frame().assign(votes=[3, 0, 0, 9, 0, 5, 0])
    for keep, row in (("votes", 3), ("votes:lowest", 0), ("first", 0)):
        unique = dupmine.deduplicate(given, quiet=True, keep=keep, **TINY)
        assert list(unique.row) == sorted([1, 2, 4, 6, row]), keep
    run = dupmine.mine(given, id="row", keep="votes", quiet=True, **TINY)
    clusters = run.clusters.to_pandas()
    assert list(clusters[clusters.is_representative].id) == [3]
    with pytest.raises(dupmine.MineError, match="stars"):
        dupmine.deduplicate(given, quiet=True, keep="stars", **TINY)


def test_a_file_comes_back_as_an_arrow_table() -> None:
    table = pyarrow.table({"text": [text or "empty" for text in TEXTS], "n": range(7)})
    pyarrow.parquet.write_table(table, "q.parquet")
    pyarrow.csv.write_csv(table, "q.csv")
    Path("q.jsonl").write_text("".join(f'{{"text": "{row["text"]}", "n": {row["n"]}}}\n' for row in table.to_pylist()))
    for name in ("q.parquet", "q.csv", "q.jsonl"):
        unique = dupmine.deduplicate(name, quiet=True, **TINY)
        assert unique["n"].to_pylist() == [0, 1, 2], name
    Path("q.xlsx").touch()
    with pytest.raises(dupmine.UsageError, match=r"only \.parquet"):
        dupmine.deduplicate("q.xlsx")
    with pytest.raises(dupmine.UsageError, match="no such file"):
        dupmine.deduplicate("absent.csv")


def test_it_keeps_one_row_of_each_cluster() -> None:
    questions = pandas.read_parquet(QUESTIONS)
    unique = dupmine.deduplicate(questions, output="kept", cross_encoder="none", quiet=True)
    run = dupmine.open("kept")
    clusters = run.clusters.to_pandas()
    assert len(unique) == len(questions) - len(clusters) + clusters.cluster_id.nunique()
    assert set(clusters[clusters.is_representative].id) <= set(unique.index)


def test_results_are_removed_unless_an_output_is_named() -> None:
    dupmine.deduplicate(frame(), quiet=True, **TINY)
    assert list(Path().iterdir()) == []
    dupmine.deduplicate(frame(), quiet=True, output="out", store="store", **TINY)
    assert {path.name for path in Path().iterdir()} == {"out", "store"}


@pytest.mark.parametrize("texts", [["how do i boil eggs"], [None, None], []])
def test_a_frame_without_duplicates_stays(texts: list[str]) -> None:
    of_pandas = pandas.DataFrame({"text": texts})
    pandas.testing.assert_frame_equal(dupmine.deduplicate(of_pandas, quiet=True, **TINY), of_pandas)
    of_polars = polars.DataFrame({"text": texts})
    assert dupmine.deduplicate(of_polars, quiet=True, **TINY).equals(of_polars)
    of_arrow = pyarrow.table({"text": texts})
    assert dupmine.deduplicate(of_arrow, quiet=True, **TINY) == of_arrow


def test_options_without_meaning_are_refused() -> None:
    with pytest.raises(TypeError, match="has no option 'reference'"):
        dupmine.deduplicate(frame(), reference="known.parquet")
    with pytest.raises(TypeError, match="did you mean 'top_k'"):
        dupmine.deduplicate(frame(), topk=5)  # type: ignore[call-overload]
