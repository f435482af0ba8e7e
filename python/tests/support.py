"""What the tests share: the fixtures, options that make a run take no time, and a look at processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
QUESTIONS = REPO / "fixtures" / "questions.parquet"

# two words of a text decide, so that a run takes milliseconds and a test knows what it finds
TINY: dict[str, Any] = {
    "bi_encoder": REPO / "fixtures" / "models" / "tiny-bert",
    "cross_encoder": "none",
    "min_cosine": 0.7,
    "threshold": 0.999,
}


def processes_with(word: str) -> list[int]:
    """Processes that have the word in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (folder / "cmdline").read_bytes()
            is_alive = b"\nState:\tZ" not in (folder / "status").read_bytes()
        except OSError:  # it has just ended
            continue
        if is_alive and word.encode() in command_line:
            found.append(int(folder.name))
    return found
