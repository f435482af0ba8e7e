"""Keyword arguments and flags are the same."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pandas
import pytest

import dupmine
import make_options
from dupmine import _options
from dupmine._flags import flags
from dupmine._frames import FrameFiles

from .support import REPO


def test_the_options_are_those_of_the_binary() -> None:
    current = make_options.render(make_options.described(os.environ["MINE_BIN"]))
    assert make_options.FILE.read_text("utf-8") == current, "run `just python-options`"


def test_every_flag_is_in_the_help() -> None:
    for command, options in _options.COMMANDS.items():
        words = [*command.split()[1:], "--help"]
        text = subprocess.run([dupmine.find_mine_bin(), *words], check=True, capture_output=True, text=True).stdout
        known = text.replace(",", " ").split()
        assert [option.flag for option in options.values() if option.flag not in known] == [], command
        assert len(options) > 15


def test_values_become_text() -> None:
    with FrameFiles() as files:
        written = flags(
            "mine",
            {
                "top_k": 5,
                "min_cosine": -1.0,
                "rerank_budget": "30m",
                "threshold": None,
                "force": True,
                "wait": True,
                "delta": False,
                "store": REPO,
                "max_deleted": "5%",
            },
            files,
        )
        more = flags("mine evaluate", {"score_column": ["a", "b"], "one_order": False, "gold": "g.csv"}, files)
        frame = flags("mine evaluate", {"pairs": pandas.DataFrame({"a": [1]})}, files)
        assert os.path.isfile(frame[0].removeprefix("--pairs="))
    assert written == [
        "--top-k=5",
        "--min-cosine=-1.0",
        "--rerank-budget=30m",
        "--force",
        "--wait=true",
        "--delta=false",
        f"--store={REPO}",
        "--max-deleted=5%",
    ]
    assert more == ["--score-column=a", "--score-column=b", "--gold=g.csv"]


def test_unknown_options_are_type_errors_with_a_suggestion() -> None:
    frame = pandas.DataFrame({"text": ["a"]})
    suggested = {"topk": "did you mean 'top_k'", "text_column": "did you mean 'text'", "x": "no option 'x'$"}
    for name, expected in suggested.items():
        options: dict[str, Any] = {name: 5}
        with pytest.raises(TypeError, match=expected):
            dupmine.mine(frame, **options)
    with pytest.raises(TypeError, match=r"evaluate\(\) has no option 'pair'; did you mean 'pairs'"):
        dupmine.evaluate(pair="x")  # type: ignore[call-arg]


def test_values_of_a_wrong_type_are_type_errors() -> None:
    frame = pandas.DataFrame({"text": ["a"]})
    cases: list[tuple[dict[str, Any], str]] = [
        ({"force": "yes"}, "force is 'yes', expected True or False"),
        ({"top_k": [5]}, "top_k: found a list"),
        ({"top_k": True}, "top_k: found a bool"),
    ]
    for options, expected in cases:
        with pytest.raises(TypeError, match=expected):
            dupmine.mine(frame, **options)
