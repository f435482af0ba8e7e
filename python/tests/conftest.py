"""Every test runs the binary that cargo built, so no wheel is needed, in a folder of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .support import REPO

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("MINE_BIN", str(REPO / "target" / "release" / "mine"))
# for the Python programs that tests start
os.environ["PYTHONPATH"] = str(REPO / "python")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
