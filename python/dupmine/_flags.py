"""Keyword arguments to flags of the binary."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from dupmine._frames import FrameFiles
from dupmine._options import COMMANDS, Option

# what the functions of this package call otherwise
_RENAMED = {"text_column": "text", "id_column": "id"}


def flags(command: str, options: Mapping[str, object], files: FrameFiles) -> list[str]:
    """The flags of `command` (such as `mine evaluate`) for keyword arguments named like them; None is left out.

    A frame becomes a file in `files`.

    Raises:
        TypeError: An option is unknown, or has a value of a type that it cannot take.
    """
    known = COMMANDS[command]
    found: list[str] = []
    for name, value in options.items():
        option = known.get(name)
        if option is None:
            raise TypeError(_unknown(command, name, known))
        if value is not None:
            found.extend(_written(name, option, value, files))
    return found


def _written(name: str, option: Option, value: Any, files: FrameFiles) -> list[str]:
    if option.kind in ("switch", "boolean"):
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}, expected True or False")
        if option.kind == "boolean":
            return [f"{option.flag}={str(value).lower()}"]
        return [option.flag] if value else []
    values = value if option.kind == "list" and isinstance(value, (list, tuple)) else [value]
    return [f"{option.flag}={_text(name, value, files)}" for value in values]


def _text(name: str, value: Any, files: FrameFiles) -> str:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return str(value)
    try:
        return files.path_of(value)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _unknown(command: str, name: str, known: Iterable[str]) -> str:
    function = command.rpartition(" ")[2]
    message = f"{function}() has no option {name!r}"
    near = [_RENAMED[name]] if name in _RENAMED else difflib.get_close_matches(name, known, n=1)
    return f"{message}; did you mean {near[0]!r}?" if near else message
