"""How a run of the binary fails, as exceptions."""

from __future__ import annotations

import re
import signal

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HINTS = re.compile(r"(hint|tip): *")


class MineError(Exception):
    """`mine` failed while it worked, or a file holds something wrong.

    Attributes:
        message: What went wrong, on one line.
        hint: What to do about it, or None.
        exit_code: Exit code of the binary; negative for the signal that ended it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message, hint, exit_code)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(MineError):
    """An option is wrong, or an input, model or run is not there."""

    exit_code = 2


class RefusedError(MineError):
    """A guard refused the results; the previous ones stay."""

    exit_code = 3


class BusyError(MineError):
    """Another run uses the output or the store. With `wait=True`, a run waits for it."""

    exit_code = 4


def error_of(stderr: str, exit_code: int) -> MineError:
    """The exception for an exit code other than 0, with the message that `stderr` ends with."""
    message, hint = _message_and_hint(stderr)
    if not message:
        how = f"by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"
        message = f"mine ended {how}"
    kinds = {kind.exit_code: kind for kind in (UsageError, RefusedError, BusyError)}
    return kinds.get(exit_code, MineError)(message, hint, exit_code)


def _message_and_hint(stderr: str) -> tuple[str, str | None]:
    """The last `error: …` of the text, and the `hint: …` or `tip: …` after it."""
    lines = [line.strip() for line in _ESCAPES.sub("", stderr).replace("\r", "\n").splitlines()]
    starts = [at for at, line in enumerate(lines) if line.startswith("error: ")]
    if not starts:
        return "", None
    message: list[str] = []
    hint = None
    for line in lines[starts[-1] :]:
        label = _HINTS.match(line)
        if label:
            hint = line[label.end() :]
        elif line.startswith(("Usage: ", "For more information")):
            break
        elif line:
            message.append(line)
    return " ".join(message)[len("error: ") :], hint
