"""Frames of pandas, polars and pyarrow: written to files that `mine` reads, and rows taken of them.

The libraries are imported only for frames of theirs, so none of them has to be there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dupmine._errors import MineError, UsageError
from dupmine._extras import require
from dupmine._run import Table


class FrameKind(Protocol):
    """What is done with the frames of one library."""

    def columns(self, frame: Any) -> list[str]:
        """Names of the columns."""

    def rows(self, frame: Any) -> int:
        """Number of rows."""

    def select(self, frame: Any, columns: Sequence[str]) -> Any:
        """The frame with these columns alone."""

    def write(self, frame: Any, path: Path, row_numbers: str | None) -> None:
        """Writes Parquet; if `row_numbers` is a name, with a column of it that counts from 0."""

    def take(self, frame: Any, rows: Sequence[int]) -> Any:
        """The rows at these positions, in this order, with everything that belongs to them."""

    def values(self, table: Table, column: str) -> list[Any]:
        """A column of a result file."""


class _Arrow:
    def columns(self, frame: Any) -> list[str]:
        return list(frame.column_names)

    def rows(self, frame: Any) -> int:
        return int(frame.num_rows)

    def select(self, frame: Any, columns: Sequence[str]) -> Any:
        return frame.select(columns)

    def write(self, frame: Any, path: Path, row_numbers: str | None) -> None:
        arrow = require("pyarrow", "pyarrow")
        for at, field in enumerate(frame.schema):
            if arrow.types.is_null(field.type):  # a column of None alone could hold text
                frame = frame.set_column(at, field.name, frame[at].cast(arrow.string()))
        if row_numbers is not None:
            frame = frame.append_column(row_numbers, arrow.array(range(frame.num_rows), arrow.int64()))
        require("pyarrow.parquet", "pyarrow").write_table(frame, path)

    def take(self, frame: Any, rows: Sequence[int]) -> Any:
        return frame.take(require("pyarrow", "pyarrow").array(rows, "int64"))

    def values(self, table: Table, column: str) -> list[Any]:
        return list(table.to_arrow([column])[column].to_pylist())


class _Pandas:
    def columns(self, frame: Any) -> list[str]:
        return list(frame.columns)

    def rows(self, frame: Any) -> int:
        return len(frame)

    def select(self, frame: Any, columns: Sequence[str]) -> Any:
        return frame[list(columns)]

    def write(self, frame: Any, path: Path, row_numbers: str | None) -> None:
        arrow = require("pyarrow", "pandas")
        try:
            table = arrow.Table.from_pandas(frame, preserve_index=False)
        except (arrow.ArrowException, OverflowError) as error:
            raise UsageError(f"the frame cannot be written: {error}", "a column needs values of one type") from error
        _Arrow().write(table, path, row_numbers)

    def take(self, frame: Any, rows: Sequence[int]) -> Any:
        return frame.iloc[list(rows)]

    def values(self, table: Table, column: str) -> list[Any]:
        return _Arrow().values(table, column)


class _Polars:
    def columns(self, frame: Any) -> list[str]:
        return list(frame.columns)

    def rows(self, frame: Any) -> int:
        return int(frame.height)

    def select(self, frame: Any, columns: Sequence[str]) -> Any:
        return frame.select(columns)

    def write(self, frame: Any, path: Path, row_numbers: str | None) -> None:
        polars = require("polars", "polars")
        frame = frame.with_columns(polars.selectors.by_dtype(polars.Null).cast(polars.String))
        if row_numbers is not None:
            frame = frame.with_row_index(row_numbers)
        frame.write_parquet(path)

    def take(self, frame: Any, rows: Sequence[int]) -> Any:
        return frame[list(rows)]

    def values(self, table: Table, column: str) -> list[Any]:
        return list(table.to_polars([column])[column].to_list())


_KINDS: dict[tuple[str, str], FrameKind] = {
    ("pandas", "DataFrame"): _Pandas(),
    ("polars", "DataFrame"): _Polars(),
    ("pyarrow", "Table"): _Arrow(),
}


def kind_of(value: object) -> FrameKind | None:
    """What to do with a frame; None if `value` is no frame of these libraries."""
    for base in type(value).__mro__:
        kind = _KINDS.get((base.__module__.partition(".")[0], base.__name__))
        if kind is not None:
            return kind
    return None


def wrong_type(value: object) -> TypeError:
    """The error for a value that is neither a path nor a frame."""
    return TypeError(
        f"found a {type(value).__name__}, expected a path, a DataFrame of pandas or polars, or a Table of pyarrow"
    )


def read_file(path: Path) -> Any:
    """A Parquet, CSV, TSV or JSON-lines file as a `pyarrow.Table`.

    Raises:
        UsageError: The file's name has another ending, or the file is not there.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        return require("pyarrow.parquet", "pyarrow").read_table(path)
    if name.endswith((".csv", ".csv.gz")):
        return require("pyarrow.csv", "pyarrow").read_csv(path)
    if name.endswith((".tsv", ".tsv.gz")):
        csv = require("pyarrow.csv", "pyarrow")
        return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="\t"))
    if name.endswith((".jsonl", ".ndjson")):
        return require("pyarrow.json", "pyarrow").read_json(path)
    raise UsageError(
        f"{path}: only .parquet, .csv, .tsv and .jsonl files are read here", "read it into a frame and give that"
    )


class FrameFiles:
    """Frames as Parquet files in a temporary folder, which is removed at the end of the `with` block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dupmine-")
        self._paths: list[str] = []

    def __enter__(self) -> FrameFiles:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._folder.cleanup()
        if isinstance(error, MineError):  # nobody knows these paths
            for path in self._paths:
                error.message = error.message.replace(path, "the frame")

    def add(self, frame: Any, kind: FrameKind, row_numbers: str | None = None) -> str:
        """Writes the frame; returns the path."""
        path = Path(self._folder.name, f"frame{len(self._paths) + 1}.parquet")
        kind.write(frame, path, row_numbers)
        self._paths.append(str(path))
        return str(path)

    def path_of(self, value: Any) -> str:
        """A path as text; the path of a frame after it was written.

        Raises:
            TypeError: `value` is neither.
        """
        kind = kind_of(value)
        if kind is not None:
            return self.add(value, kind)
        if not isinstance(value, (str, os.PathLike)):
            raise wrong_type(value)
        return os.fsdecode(value)
