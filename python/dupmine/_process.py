"""One process of the binary: started, shown, interrupted, waited for."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence

from dupmine._binary import find_mine_bin
from dupmine._errors import error_of

# seconds that an interrupted run has to finish its step; then it is killed, which leaves complete files too
_GRACE = 30.0
# bytes of stderr that are kept to find the error in
_KEPT = 1 << 16


def run_binary(arguments: Sequence[str]) -> str:
    """Runs `mine` to its end, shows its progress, and returns what it printed on stdout.

    Raises:
        MineError: The exit code is not 0.
        KeyboardInterrupt: The run was interrupted. The process has ended then.
    """
    with tempfile.TemporaryFile() as stdout, _Stderr() as stderr:
        # A session of its own: Ctrl-C in a terminal reaches this process alone, which passes it on once.
        process = subprocess.Popen(
            [find_mine_bin(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr.child_end,
            start_new_session=True,
            env={**os.environ, "MINE_STOP_WITH_PARENT": str(os.getpid())},
        )
        try:
            stderr.start()
            exit_code = process.wait()
        except BaseException:
            _stop(process)
            raise
        said = stderr.finish()
        if exit_code == 130:
            raise KeyboardInterrupt
        if exit_code != 0:
            raise error_of(said, exit_code)
        stdout.seek(0)
        return stdout.read().decode()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupts the process and waits for it; kills it after `_GRACE` seconds or at a second Ctrl-C."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


class _Stderr:
    """stderr of the process: shown as it comes, and its end kept.

    In a terminal, the process writes to a pseudo-terminal, so that it draws its bars as if it were alone. Otherwise (a
    notebook, a log) it writes plain lines to a pipe. Both ends are closed at the end of the `with` block.
    """

    def __init__(self) -> None:
        self._terminal = _terminal()
        self._read_end, self.child_end = os.pipe() if self._terminal is None else _pseudo_terminal(self._terminal)
        self._kept = b""
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> _Stderr:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:  # the process did not start
            os.close(self.child_end)
        else:
            self.finish()
        os.close(self._read_end)

    def start(self) -> None:
        """Begins to show; the process has its end now."""
        os.close(self.child_end)
        self._thread.start()

    def finish(self) -> str:
        """Waits until all is shown; returns the last of it."""
        self._thread.join()
        return self._kept.decode(errors="replace")

    def _show(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                data = os.read(self._read_end, _KEPT)
            except OSError:  # how Linux says that the other end of a pseudo-terminal is closed
                break
            if not data:
                break
            self._kept = (self._kept + data)[-_KEPT:]
            with contextlib.suppress(OSError, ValueError):  # nobody looks any more
                if self._terminal is None:
                    sys.stderr.write(decoder.decode(data))
                    sys.stderr.flush()
                else:
                    os.write(self._terminal, data)


def _terminal() -> int | None:
    """The file descriptor of stderr, if it is a terminal."""
    try:
        descriptor = sys.stderr.fileno()
        is_terminal = os.name == "posix" and sys.stderr.isatty() and os.isatty(descriptor)
    except (AttributeError, OSError, ValueError):  # notebooks and test runners put objects there that are no files
        return None
    return descriptor if is_terminal else None


def _pseudo_terminal(terminal: int) -> tuple[int, int]:
    """Two ends of a pseudo-terminal as large as `terminal`: the one to read, and the one for the process."""
    import fcntl
    import pty
    import termios
    import tty

    read_end, child_end = pty.openpty()
    tty.setraw(child_end)  # the real terminal does all translation
    size = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, size)
    return read_end, child_end
