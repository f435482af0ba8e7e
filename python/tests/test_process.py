"""The process of the binary: errors, progress, interruption."""

from __future__ import annotations

import os
import pickle
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pandas
import pytest

import dupmine
from dupmine import _process
from dupmine._errors import error_of

from .support import QUESTIONS, TINY, processes_with

# a run that takes seconds, and says when it has begun
LONG_RUN = f"""
import dupmine, pandas
questions = pandas.concat([pandas.read_parquet({str(QUESTIONS)!r})] * 4, ignore_index=True).drop(columns="id")
questions["text"] += questions.index.astype(str)
dupmine.mine(questions, output="long-run")
"""


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the binary by a shell script."""

    def replace(script: str) -> None:
        path = tmp_path / "binary"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("MINE_BIN", str(path))

    return replace


def start(script: str) -> subprocess.Popen[str]:
    """Starts a Python program and waits until the binary has begun to work."""
    program = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    assert any("loading built-in" in line for line in program.stderr)
    assert processes_with("long-run")
    return program


def gone(word: str, seconds: float) -> bool:
    """Whether no process with the word is left, after so many seconds at most."""
    end = time.monotonic() + seconds
    while processes_with(word):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_ctrl_c_ends_the_binary_before_it_ends_python() -> None:
    program = start(LONG_RUN)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=10)
    assert "KeyboardInterrupt" in said and "error: interrupted; finished work is kept" in said
    assert processes_with("long-run") == []


def test_the_binary_ends_when_python_is_killed() -> None:
    program = start(LONG_RUN)
    program.kill()
    program.wait()
    assert gone("long-run", 5)


def test_a_binary_that_does_not_stop_is_killed(binary: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    binary("trap '' INT; echo $$ > pid; sleep 0.5; kill -USR1 $PPID; while true; do sleep 0.1; done")
    monkeypatch.setattr(_process, "_GRACE", 0.3)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            dupmine.mine("x.csv")
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)


def test_an_interrupted_binary_interrupts_python(binary: Callable[[str], None]) -> None:
    binary("exit 130")
    with pytest.raises(KeyboardInterrupt):
        dupmine.mine("x.csv")


def test_errors_have_message_hint_and_exit_code() -> None:
    pandas.DataFrame({"subject": ["a", "b"]}).to_csv("q.csv", index=False)
    with pytest.raises(dupmine.MineError) as caught:
        dupmine.mine("q.csv", quiet=True)
    error = caught.value
    assert error.message == 'q.csv: no column "text"; the columns are: subject'
    assert error.hint == "name it with --text-column, for instance --text-column subject"
    assert error.exit_code == 1 and type(error) is dupmine.MineError
    assert str(error) == f"{error.message}\nhint: {error.hint}"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.message, copy.hint, copy.exit_code) == (error.message, error.hint, error.exit_code)

    with pytest.raises(dupmine.UsageError, match=r"absent\.csv") as caught:
        dupmine.mine("absent.csv", quiet=True)
    assert caught.value.exit_code == 2
    with pytest.raises(dupmine.UsageError, match="--top-k is 0, expected 1 to 100000"):
        dupmine.mine("q.csv", top_k=0)
    with pytest.raises(dupmine.UsageError, match="invalid value 'flat' for '--index <INDEX>'.*possible values"):
        dupmine.mine("q.csv", index="flat")  # type: ignore[arg-type]


def test_a_guard_is_an_error_of_its_own() -> None:
    frame = pandas.DataFrame({"id": range(60), "text": [f"how do i boil {n} eggs" for n in range(60)]})
    dupmine.mine(frame, quiet=True, **TINY)
    with pytest.raises(dupmine.RefusedError, match="--max-deleted: 30 of the 60 questions") as caught:
        dupmine.mine(frame[:30], quiet=True, **TINY)
    assert caught.value.exit_code == 3 and "accepts it" in str(caught.value.hint)
    assert dupmine.mine(frame[:30], quiet=True, max_deleted="60%", **TINY).summary["questions"] == 30


def test_an_output_in_use_is_an_error_of_its_own(binary: Callable[[str], None]) -> None:
    binary("echo 'loading' >&2; echo 'error: mined is in use' >&2; echo 'hint: --wait waits' >&2; exit 4")
    with pytest.raises(dupmine.BusyError) as caught:
        dupmine.mine("x.csv")
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == ("mined is in use", "--wait waits", 4)


def test_a_crash_says_how_it_ended(binary: Callable[[str], None]) -> None:
    binary("kill -KILL $$")
    with pytest.raises(dupmine.MineError, match="mine ended by SIGKILL") as caught:
        dupmine.mine("x.csv")
    assert caught.value.exit_code == -9
    assert error_of("", 7).message == "mine ended with exit code 7"


def test_a_binary_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_BIN", "/absent/mine")
    with pytest.raises(FileNotFoundError, match="/absent/mine"):
        dupmine.mine("x.csv")


def test_progress_is_shown_where_python_writes(capsys: pytest.CaptureFixture[str]) -> None:
    dupmine.mine(QUESTIONS, output="a", **TINY)
    shown = capsys.readouterr()
    assert "questions  556 (0 rows skipped)" in shown.err and shown.out == ""
    dupmine.mine(QUESTIONS, output="b", quiet=True, **TINY)
    assert "questions" not in capsys.readouterr().err


def test_in_a_terminal_the_binary_draws_its_bars(binary: Callable[[str], None]) -> None:
    binary("test -t 2 && stty size <&2 >&2; printf 'half\\rwhole\\n' >&2; echo 'error: at the end' >&2; exit 1")
    script = "import dupmine\ntry: dupmine.mine('x.csv')\nexcept dupmine.MineError as error: print(repr(error))"
    ours, theirs = pty.openpty()
    program = subprocess.Popen([sys.executable, "-c", script], stderr=theirs, stdout=subprocess.PIPE, text=True)
    os.close(theirs)
    printed, _ = program.communicate(timeout=20)
    shown = b""
    while select.select([ours], [], [], 1)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    os.close(ours)
    assert b"0 0\r\nhalf\rwhole\r\nerror: at the end\r\n" in shown
    assert "MineError('at the end', None, 1)" in printed
