"""Libraries that need not be installed."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """The module.

    Raises:
        ImportError: It is not installed; the message names the extra of dupmine that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {module}: pip install 'dupmine[{extra}]'") from error
