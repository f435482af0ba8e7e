"""The wheel, in an empty environment without Rust."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .support import QUESTIONS, REPO

MEGABYTE = 1_000_000

# without any library of frames
SCRIPT = f"""
import dupmine, pathlib
run = dupmine.mine({str(QUESTIONS)!r}, output="out", cross_encoder="none", quiet=True)
assert run.summary["questions"] == 556, run
assert pathlib.Path(dupmine.find_mine_bin()).is_relative_to({{environment!r}})
try:
    run.pairs.to_pandas()
except ImportError as error:
    print(error)
"""


@pytest.mark.skipif(shutil.which("cargo") is None, reason="a wheel is built by cargo")
def test_a_wheel_works_in_an_empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OUT": str(tmp_path / "dist")}
    subprocess.run([REPO / "packaging" / "wheel.sh"], check=True, env=environment, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("dupmine-*-py3-none-*.whl")
    assert wheel.stat().st_size < 60 * MEGABYTE
    names = zipfile.ZipFile(wheel).namelist()
    for expected in ("dupmine/py.typed", "dupmine/_options.py", "scripts/mine", "LICENSE-MIT", "LICENSE-APACHE"):
        assert any(name.endswith(expected) for name in names), names

    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", empty], check=True)
    subprocess.run([empty / "bin" / "pip", "install", "--quiet", "--no-index", wheel], check=True)
    monkeypatch.delenv("MINE_BIN")
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    printed = subprocess.run(
        [empty / "bin" / "python", "-c", SCRIPT.format(environment=str(empty))],
        check=True,
        env=bare,
        capture_output=True,
        text=True,
    ).stdout
    assert "pip install 'dupmine[pandas]'" in printed
    version = subprocess.run(
        [empty / "bin" / "mine", "--version"], check=True, env=bare, capture_output=True, text=True
    )
    assert version.stdout.startswith("mine ")
