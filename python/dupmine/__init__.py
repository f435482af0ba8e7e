"""Finds duplicate questions.

The work is done by the binary `mine`, which this package brings::

    import dupmine

    unique = dupmine.deduplicate(frame, text="subject")

    run = dupmine.mine(frame, text="subject", id="ticket_id", output="mined")
    run.clusters.to_pandas()
"""

from dupmine._binary import find_mine_bin
from dupmine._commands import deduplicate, evaluate, mine, open, train
from dupmine._errors import BusyError, MineError, RefusedError, UsageError
from dupmine._options import VERSION as __version__
from dupmine._run import Run, Table

__all__ = [
    "BusyError",
    "MineError",
    "RefusedError",
    "Run",
    "Table",
    "UsageError",
    "__version__",
    "deduplicate",
    "evaluate",
    "find_mine_bin",
    "mine",
    "open",
    "train",
]
