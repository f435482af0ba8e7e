"""Where the binary is."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

_NAME = "mine.exe" if sys.platform == "win32" else "mine"


def find_mine_bin() -> str:
    """Path of the binary `mine`.

    Looks at the environment variable MINE_BIN, then where pip puts commands (of this environment, of the user, of
    `--target`), then on the PATH.

    Raises:
        FileNotFoundError: It is in none of these places.
    """
    chosen = os.environ.get("MINE_BIN")
    if chosen:
        if not os.access(chosen, os.X_OK):
            raise FileNotFoundError(f"MINE_BIN is {chosen}, which is not a program")
        return chosen
    user_scheme = sysconfig.get_preferred_scheme("user") if sys.version_info >= (3, 10) else f"{os.name}_user"
    folders = [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", user_scheme),
        str(Path(__file__).parents[1] / "bin"),  # pip install --target
    ]
    for folder in folders:
        candidate = Path(folder, _NAME)
        if candidate.is_file():
            return str(candidate)
    on_path = shutil.which("mine")
    if on_path is None:
        looked = ", ".join([*folders, "PATH"])
        raise FileNotFoundError(f"the program mine is in none of {looked}: install the wheel again, or set MINE_BIN")
    return on_path
