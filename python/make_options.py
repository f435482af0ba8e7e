"""Remakes dupmine/_options.py from what a binary says of its options.

`just python-options` does it, or::

    python3 python/make_options.py target/release/mine
"""

from __future__ import annotations

import json
import keyword
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "dupmine" / "_options.py"

# commands that a function of the package runs, the type of its options, and what the function takes itself or decides
COMMANDS = {
    "mine": ("MineOptions", {"input", "text-column", "id-column", "output", "plan", "quiet", "json"}),
    "mine evaluate": ("EvaluateOptions", {"run", "quiet", "json"}),
    "mine train": ("TrainOptions", {"pairs", "output", "quiet"}),
}

HEADER = '''"""The options of the commands. Made by make_options.py from `mine options --json`: do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    from dupmine._types import FileLike, PathLike, TextLike

VERSION = "{version}"


class Option(NamedTuple):
    """A flag of the binary.

    `kind` is `switch` (no value), `boolean` (true or false), `list` (can be repeated) or `value`.
    """

    flag: str
    kind: Literal["switch", "boolean", "list", "value"]
'''


def described(binary: str) -> dict[str, Any]:
    """What the binary says of its options."""
    printed = subprocess.run([binary, "options", "--json"], check=True, stdout=subprocess.PIPE).stdout
    options: dict[str, Any] = json.loads(printed)
    return options


def render(options: dict[str, Any]) -> str:
    """The module's text."""
    commands = {command["name"]: command["options"] for command in options["commands"]}
    parts = [HEADER.format(version=options["version"])]
    table = ["COMMANDS: dict[str, dict[str, Option]] = {"]
    for command, (type_name, own) in COMMANDS.items():
        chosen = [option for option in commands[command] if option["name"] not in own]
        parts.append(typed_dict(command, type_name, chosen))
        table.append(f'    "{command}": {{')
        table.extend(f'        "{name(o)}": Option("--{o["name"]}", "{kind(o)}"),' for o in chosen)
        table.append("    },")
    return "\n\n".join([*parts, "\n".join([*table, "}", ""])])


def typed_dict(command: str, type_name: str, options: list[dict[str, Any]]) -> str:
    """A class with a documented key for each option."""
    lines = [f"class {type_name}(TypedDict, total=False):", f'    """The options of `{command}`."""', ""]
    for option in options:
        default = option["default"]
        text = f"{option['help']}." if default is None else f"{option['help']} (default: {default})."
        quoted = '"""' + text.replace("\\", "\\\\") + '"""'
        lines.append(f"    {name(option)}: {annotation(option)}")
        lines.extend(
            textwrap.wrap(quoted, 116, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        )
    return "\n".join([*lines, ""])


def name(option: dict[str, Any]) -> str:
    """The keyword argument."""
    written = str(option["name"]).replace("-", "_")
    return f"{written}_" if keyword.iskeyword(written) else written


def kind(option: dict[str, Any]) -> str:
    """How the flag is written."""
    if option["kind"] == "boolean":
        return "boolean" if option["value_name"] else "switch"
    return "list" if option["repeatable"] else "value"


def annotation(option: dict[str, Any]) -> str:
    """The type of the keyword argument."""
    is_file = option["value_name"] in ("FILE", "PATH") and option["name"] != "output"
    of_kind = {
        "boolean": "bool",
        "integer": "int",
        "number": "float",
        "path": "FileLike" if is_file else "PathLike",
        "text": "FileLike" if is_file else "TextLike",
        "choice": "Literal[" + ", ".join(f'"{value["name"]}"' for value in option["possible_values"]) + "]",
    }
    one = of_kind[option["kind"]]
    return f"{one} | Sequence[{one}]" if option["repeatable"] else one


if __name__ == "__main__":
    FILE.write_text(render(described(sys.argv[1])), "utf-8")
