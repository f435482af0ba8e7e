"""Which columns of a frame `mine` reads."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any, Union

from dupmine._errors import UsageError
from dupmine._frames import FrameKind

# a column, several columns, or a template with columns in braces
Text = Union[str, Sequence[str]]


def as_option(text: Text) -> str:
    """The columns as `--text-column` takes them."""
    return text if isinstance(text, str) else ",".join(text)


def columns_to_read(frame: Any, kind: FrameKind, text: Text | None, id: str | None, extra: Sequence[str]) -> Any:
    """The frame with the columns of `text` and `id`, and with those of `extra` that it has.

    Raises:
        UsageError: A column of `text` or `id` is not there.
    """
    present = kind.columns(frame)
    wanted = {name: "text" for name in _text_columns(text or "text", present)}
    if id is not None:
        wanted[id] = "id"
    for name, parameter in wanted.items():
        if name not in present:
            raise UsageError(
                f"the frame has no column {name!r}; its columns are: {', '.join(map(str, present))}",
                f"name it with {parameter}=…",
            )
    return kind.select(frame, list(dict.fromkeys([*wanted, *(name for name in extra if name in present)])))


def kept_by(keep: object) -> list[str]:
    """The columns that the option `keep` may name."""
    return [] if keep is None else [str(keep), str(keep).rpartition(":")[0]]


def _text_columns(text: Text, present: Sequence[str]) -> list[str]:
    if not isinstance(text, str):
        return list(text)
    if text in present:
        return [text]
    if "{" in text:
        return re.findall(r"\{([^{}]+)\}", text)
    return [name.strip() for name in text.split(",")]


def unused_name(taken: Iterable[str]) -> str:
    """A column name that is none of `taken`."""
    taken = set(taken)
    names = itertools.chain(["row"], (f"row{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)
