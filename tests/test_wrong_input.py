"""What a user may mistype ends in one line that says what was expected, and nothing is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prepared import error, run
from served import NETWORK

from ganfix_plugin import GanfixError
from ganfix_plugin.correctors.bind import parse_spec

MISTYPED = [
    ("profile", "--samples=-4"),
    ("profile", "--samples=0"),
    ("profile", "--samples=123456789012345678901"),
    ("profile", "--batch=0"),
    ("profile", "--seed=-1"),
    ("profile", "--seed=4294967296"),
    ("profile", "--class=-1"),
    ("detect", "--rate=nan"),
    ("detect", "--first=4294967296"),
    ("detect", "--num=0"),
    ("score", "--samples=0"),
    ("score", "--samples=-7"),
    ("score", "--tau=nan"),
    ("score", "--tau=0"),
    ("score", "--cam=nan"),
    ("score", "--active=5"),
    ("label", "--num=0"),
    ("judge", "--num=0"),
    ("prepare", "--num=0"),
    ("prepare", "--top=-3"),
    ("tune", "--trials=0"),
    ("units", "--top=1"),
]


@pytest.mark.parametrize("command, option", MISTYPED, ids=map(" ".join, MISTYPED))
def test_a_number_out_of_range_is_named(command: str, option: str) -> None:
    result = run(command, *NETWORK, option)
    assert result.exit_code == 2
    name, value = option.split("=")
    assert f"Invalid value for '{name}'" in result.stderr and value.lstrip("-") in result.stderr


@pytest.mark.parametrize(
    "spec", ["seqabl:samples=123456789012345678901", "seqabl\n:rate=0.3", "steer:steps=9999999999"]
)
def test_a_spec_out_of_range_is_one_line(spec: str) -> None:
    with pytest.raises(GanfixError) as raised:
        parse_spec(spec)
    assert "\n" not in str(raised.value) and str(raised.value).startswith("--correct ")


def test_a_file_that_is_no_profile_is_not_to_be_deleted(tmp_path: Path) -> None:
    network = tmp_path / "net.pkl"
    network.write_bytes(b"\x80\x04N.")
    line = error(run("report", *NETWORK, f"--correct=seqabl:profile={network}", "--out=x"))
    assert f"profile {network}: damaged or no ganfix profile" in line and "delete" not in line


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["tune", "--help"]], ids=" ".join)
def test_a_console_without_greek_letters_gets_the_rest(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ganfix_plugin", *arguments]
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 0 and done.stdout and b"Traceback" not in done.stderr
