"""The functions of the package: one for each command of the binary that is of use in Python."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dupmine._columns import Text, as_option, columns_to_read, kept_by, unused_name
from dupmine._errors import UsageError
from dupmine._flags import flags
from dupmine._frames import FrameFiles, kind_of, read_file, wrong_type
from dupmine._process import run_binary
from dupmine._run import Run
from dupmine._types import PathLike

if TYPE_CHECKING:
    import pyarrow
    from typing_extensions import Unpack

    from dupmine._options import EvaluateOptions, MineOptions, TrainOptions
    from dupmine._types import AnyFrame, FileLike

Frame = TypeVar("Frame", bound="AnyFrame")


def mine(
    questions: FileLike | Sequence[PathLike],
    *,
    text: Text | None = None,
    id: str | None = None,
    output: PathLike = "mined",
    quiet: bool = False,
    **options: Unpack[MineOptions],
) -> Run:
    """Finds duplicate questions.

    Run it again with the same `output` when the questions have changed: only what is new is computed.

    Args:
        questions: A frame of pandas, polars or pyarrow; or a path, a pattern such as `dumps/*.csv`, or several of
            them (docs/inputs.md).
        text: Column of the question; several columns; or a template such as `"{subject}: {body}"`. Without it, the
            column `text`.
        id: Column of the ids, which are integers or strings and unique. Without it, the column `id` if there is
            one, otherwise row numbers from 0. The index of a pandas frame is not used.
        output: Folder of the results.
        quiet: Show no progress and no summary; still show warnings.
        **options: Any option of `mine --help` with `_` for `-`: `top_k=50`, `cross_encoder="none"`,
            `rerank_budget="30m"`, `force=True`.

    Returns:
        The finished run.

    Raises:
        TypeError: An option is unknown, or `questions` is of an unknown type.
        UsageError: A column, file or model is not there, or a value is out of range.
        RefusedError: A guard refused the results; the ones before stay.
        BusyError: Another run uses `output`.
        MineError: The run failed, for instance because an id occurs twice.
        KeyboardInterrupt: You interrupted the run. The same call continues it.
    """
    with FrameFiles() as files:
        kind = kind_of(questions)
        if kind is not None:
            extra = ([] if id else ["id"]) + (["op"] if options.get("delta") else []) + kept_by(options.get("keep"))
            inputs = [files.add(columns_to_read(questions, kind, text, id, extra), kind)]
        elif isinstance(questions, (list, tuple)):
            inputs = [files.path_of(path) for path in questions]
        else:
            inputs = [files.path_of(questions)]
        return _mine(inputs, text, id, output, quiet, flags("mine", options, files))


@overload
def deduplicate(
    questions: PathLike,
    *,
    text: Text = "text",
    output: PathLike | None = None,
    quiet: bool = False,
    **options: Unpack[MineOptions],
) -> pyarrow.Table: ...


@overload
def deduplicate(
    questions: Frame,
    *,
    text: Text = "text",
    output: PathLike | None = None,
    quiet: bool = False,
    **options: Unpack[MineOptions],
) -> Frame: ...


def deduplicate(
    questions: FileLike,
    *,
    text: Text = "text",
    output: PathLike | None = None,
    quiet: bool = False,
    **options: Unpack[MineOptions],
) -> Any:
    """Keeps one row of each cluster of duplicates, and all rows that are in none.

    Rows keep their order, columns and index. A row without text is a duplicate of nothing, so it stays.

    Args:
        questions: A frame of pandas, polars or pyarrow; or a Parquet, CSV, TSV or JSON-lines file, which pyarrow
            reads.
        text: Column of the question; several columns; or a template such as `"{subject}: {body}"`.
        output: Folder of the results, whose ids are row numbers. Without it, they are removed.
        quiet: Show no progress and no summary; still show warnings.
        **options: As for `mine`, without `delta` and `reference`. `store="cache"` keeps vectors and scores for the
            next call.

    Returns:
        A frame of the type of `questions`; a `pyarrow.Table` for a file.

    Raises:
        TypeError, MineError, KeyboardInterrupt: As for `mine`.
    """
    for name in ("delta", "reference"):
        if options.get(name):
            raise TypeError(f"deduplicate() has no option {name!r}: use mine()")
    frame: Any = read_file(Path(questions)) if isinstance(questions, (str, os.PathLike)) else questions
    kind = kind_of(frame)
    if kind is None:
        raise wrong_type(frame)
    if kind.rows(frame) == 0:
        return frame
    read = columns_to_read(frame, kind, text, id=None, extra=kept_by(options.get("keep")))
    row = unused_name(kind.columns(read))
    with FrameFiles() as files, tempfile.TemporaryDirectory(prefix="dupmine-") as folder:
        inputs = [files.add(read, kind, row_numbers=row)]
        run = _mine(inputs, text, row, output or folder, quiet, flags("mine", options, files))
        questions_of_clusters = zip(kind.values(run.clusters, "id"), kind.values(run.clusters, "is_representative"))
        surplus = {row for row, is_representative in questions_of_clusters if not is_representative}
    return kind.take(frame, [row for row in range(kind.rows(frame)) if row not in surplus])


def evaluate(
    run: Run | PathLike | None = None, *, quiet: bool = False, **options: Unpack[EvaluateOptions]
) -> dict[str, Any]:
    """Measures models, thresholds or a finished run against labels (docs/evaluation.md).

    Args:
        run: A finished run, for `gold` and `sample`.
        quiet: Show no progress; still show warnings.
        **options: Any option of `mine evaluate --help` with `_` for `-`: `pairs=…`, `gold=…`, `sample=…`,
            `target_precision=0.95`. A frame can be given where a file is expected.

    Returns:
        The object that `mine evaluate --json` prints.

    Raises:
        TypeError, MineError, KeyboardInterrupt: As for `mine`.
    """
    with FrameFiles() as files:
        arguments = ["evaluate", "--json", *flags("mine evaluate", options, files)]
        if quiet:
            arguments.append("--quiet")
        if run is not None:
            arguments.append(os.fspath(run))
        answer: dict[str, Any] = json.loads(run_binary(arguments))
        return answer


def train(pairs: FileLike, *, output: PathLike, quiet: bool = False, **options: Unpack[TrainOptions]) -> Path:
    """Trains a model on labelled pairs (docs/training.md).

    Args:
        pairs: A frame or a file with the columns question1, question2, is_duplicate.
        output: Folder of the new model.
        quiet: Show no progress and no summary; still show warnings.
        **options: Any option of `mine train --help` with `_` for `-`: `kind="cross-encoder"`, `max_minutes=30`. The
            option `--from` is `from_`, because `from` is a word of Python.

    Returns:
        The model's folder, to be given to `mine(…, bi_encoder=folder)`.

    Raises:
        TypeError, MineError, KeyboardInterrupt: As for `mine`.
    """
    with FrameFiles() as files:
        arguments = ["train", f"--pairs={files.path_of(pairs)}", f"--output={os.fspath(output)}"]
        if quiet:
            arguments.append("--quiet")
        run_binary([*arguments, *flags("mine train", options, files)])
    return Path(output).absolute()


def open(path: PathLike = "mined") -> Run:
    """A run that has finished before.

    Raises:
        UsageError: The folder holds no finished run.
    """
    run = Run(path)
    if not (run.path / "manifest.json").is_file():
        raise UsageError(f"{path} holds no finished run of mine", "give the output folder of a run")
    return run


def _mine(
    inputs: Sequence[str], text: Text | None, id: str | None, output: PathLike, quiet: bool, more: Sequence[str]
) -> Run:
    arguments = [*(f"--input={path}" for path in inputs), f"--output={os.fspath(output)}", "--json", *more]
    if text is not None:
        arguments.append(f"--text-column={as_option(text)}")
    if id is not None:
        arguments.append(f"--id-column={id}")
    if quiet:
        arguments.append("--quiet")
    return Run(output, json.loads(run_binary(arguments)))
