"""The pages that show the package."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from .support import REPO


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "fixtures").symlink_to(REPO / "fixtures")
    runpy.run_path(str(REPO / "docs" / "python_example.py"))
    printed = capsys.readouterr().out
    assert "556 questions, 90 clusters" in printed, printed
