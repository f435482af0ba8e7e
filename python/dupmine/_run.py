"""A finished run: its result files, and what is known about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dupmine._extras import require
from dupmine._process import run_binary
from dupmine._types import PathLike

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow

# types of Arrow, and those of pandas that have nulls
_NULLABLE = {
    "bool": "boolean",
    **{f"int{bits}": f"Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UInt{bits}" for bits in (8, 16, 32, 64)},
}


class Table:
    """A Parquet file of a run. It is read when you ask for it, as what you ask for.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Table({str(self.path)!r})"

    def __fspath__(self) -> str:
        return str(self.path)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """The file, or some of its columns, as a pandas frame.

        Integers and booleans of a column with nulls are nullable ones (`Int64`, `boolean`): pandas would make
        floats and objects of them.
        """
        dtype = require("pandas", "pandas").api.types.pandas_dtype
        table = self.to_arrow(columns)
        frame = table.to_pandas()
        for name, column in zip(table.column_names, table.columns):
            nullable = _NULLABLE.get(str(column.type))
            if column.null_count and nullable is not None:
                frame[name] = column.to_pandas(types_mapper={column.type: dtype(nullable)}.get)
        return frame

    def to_polars(self, columns: Sequence[str] | None = None) -> polars.DataFrame:
        """The file, or some of its columns, as a polars frame."""
        frame: polars.DataFrame = require("polars", "polars").read_parquet(self._existing(), columns=columns)
        return frame

    def to_arrow(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """The file, or some of its columns, as a pyarrow table."""
        return require("pyarrow.parquet", "pyarrow").read_table(self._existing(), columns=columns)

    def duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """The file as a DuckDB relation, which reads only what a query needs."""
        return (connection or require("duckdb", "duckdb")).read_parquet(str(self._existing()))

    def _existing(self) -> Path:
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is not there: the run did not write it, or is no longer there")
        return self.path


class Run:
    """A finished run of `mine`. `docs/output.md` describes every file and column.

    A run can be given where a path is expected: `dupmine.mine(new, reference=run)`.

    Attributes:
        path: The output folder.
    """

    def __init__(self, path: PathLike, summary: dict[str, Any] | None = None) -> None:
        self.path = Path(path).absolute()
        self._summary = summary

    def __repr__(self) -> str:
        counts = self.summary["counts"]
        return (
            f"Run({str(self.path)!r}: version {self.summary['version']}, {self.summary['questions']} questions, "
            f"{counts['duplicates']} duplicates, {counts['clusters']} clusters)"
        )

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def pairs(self) -> Table:
        """A row for each pair of similar questions: id_a, id_b, cosine, probability, is_duplicate, kind, …"""
        return self._table("pairs")

    @property
    def clusters(self) -> Table:
        """A row for each question in a cluster of two or more: id, cluster_id, is_representative, …"""
        return self._table("clusters")

    @property
    def cluster_stats(self) -> Table:
        """A row for each cluster: cluster_id, size, density, representative, needs_review, first_seen, …"""
        return self._table("cluster_stats")

    @property
    def changes(self) -> Table:
        """A row for each question that joined, left or changed its cluster in a kept version."""
        return self._table("membership_changes")

    @property
    def events(self) -> Table:
        """A row for each thing that happened to a cluster in a kept version."""
        return self._table("cluster_events")

    @property
    def skipped(self) -> Table:
        """A row for each input row without a question: id, row, reason."""
        return self._table("skipped")

    @property
    def metrics(self) -> Table:
        """A row for each figure of the run: stage, metric, value, unit."""
        return self._table("metrics")

    @property
    def embeddings(self) -> Table:
        """A row for each question: id, embedding. Only with `write_embeddings=True`."""
        return self._table("embeddings")

    @property
    def report(self) -> Path:
        """The run as one HTML page."""
        return self.path / "report.html"

    @property
    def summary(self) -> dict[str, Any]:
        """What the run did: version, questions, counts (what changed, duplicates, clusters), seconds, stages, warnings."""
        if self._summary is None:
            self._summary = _summary_of(self.path)
        return self._summary

    @property
    def history(self) -> list[dict[str, Any]]:
        """The kept versions of this output, the newest first."""
        versions: list[dict[str, Any]] = _history(self.path)["versions"]
        return versions

    def _table(self, name: str) -> Table:
        return Table(self.path / f"{name}.parquet")


def _history(path: Path) -> dict[str, Any]:
    history: dict[str, Any] = json.loads(run_binary(["history", str(path), "--json"]))
    return history


def _summary_of(path: Path) -> dict[str, Any]:
    """What `mine … --json` printed at the end of the run, from the files that it left."""
    history = _history(path)
    version = next(version for version in history["versions"] if version["number"] == history["current"])
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    return {
        "output": str(path),
        "version": version["number"],
        "run_time": version["started"],
        **{key: version[key] for key in ("parent", "run_id", "questions", "counts")},
        **{key: manifest[key] for key in ("seconds", "stages", "warnings")},
    }
