"""A cell of a notebook that is interrupted."""

from __future__ import annotations

import time

import pytest

from .support import processes_with
from .test_process import LONG_RUN

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")


def test_an_interrupted_cell_shows_its_progress_and_leaves_no_process() -> None:
    manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3")
    try:
        cell = client.execute(LONG_RUN)
        shown = ""
        while "loading built-in" not in shown:
            message = client.get_iopub_msg(timeout=20)
            if message["msg_type"] == "stream":
                shown += message["content"]["text"]
        assert processes_with("long-run")
        started = time.monotonic()
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=20)
        while reply["parent_header"].get("msg_id") != cell:
            reply = client.get_shell_msg(timeout=20)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert time.monotonic() - started < 10
        assert processes_with("long-run") == []
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
