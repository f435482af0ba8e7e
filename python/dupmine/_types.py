"""Types that several modules name. Frames are those of libraries that need not be installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Union

PathLike = Union[str, "os.PathLike[str]"]
# of an option that takes a name, a number with a unit, or a path
TextLike = Union[str, float, "os.PathLike[str]"]

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    AnyFrame = Union[pandas.DataFrame, polars.DataFrame, pyarrow.Table]
    # of an option that takes a file: a frame becomes one
    FileLike = Union[PathLike, AnyFrame]
