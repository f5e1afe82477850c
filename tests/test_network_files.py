"""A network file that is none ends in one line, before anything is measured."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from prepared import error, run

# A checkout that opens its pickles as NVIDIA's does: without a word about what may be wrong.
CHECKOUT = {
    "legacy.py": """
import pickle


def load_network_pkl(f):
    data = pickle.load(f)
    assert data["G_ema"] is not None
    return data
""",
    "dnnlib/__init__.py": "",
    "dnnlib/util.py": """
def open_url(url):
    return open(url, "rb")
""",
    "generate.py": """
import click
import dnnlib.util
import legacy


@click.command()
@click.option("--network", required=True)
def generate(network):
    with dnnlib.util.open_url(network) as f:
        legacy.load_network_pkl(f)


generate()
""",
}
CONTENTS = {
    "text": b"a label file, perhaps\n",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "empty": b"",
    "cut short": pickle.dumps({"G_ema": list(range(9999))})[:500],
    "a pickle of a dictionary": pickle.dumps({"weights": [1.0]}),
    "a pickle of a list": pickle.dumps([1, 2, 3]),
    "a pickle of what is not installed": b"\x80\x02cnowhere_to_be_found\nGenerator\n.",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, source in CHECKOUT.items():
        file = tmp_path / "host" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return tmp_path / "host"


@pytest.mark.parametrize("content", [None, *CONTENTS.values()], ids=["missing", *CONTENTS])
def test_a_command_says_in_one_line_what_it_expected(checkout: Path, content: bytes | None) -> None:
    file = checkout / "net.pkl"
    if content is not None:
        file.write_bytes(content)
    line = error(run("layers", f"--network={file}", f"--host={checkout}", "--device=cpu"))
    assert line.startswith(f"Error: --network {file}: ")


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, *CONTENTS.values()], ids=["missing", *CONTENTS])
def test_a_script_to_be_corrected_ends_in_one_line(checkout: Path, content: bytes | None) -> None:
    file = checkout / "net.pkl"
    if content is not None:
        file.write_bytes(content)
    command = [sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu", "generate.py"]
    line = [*command, f"--network={file}", "--correct=seqabl"]
    done = subprocess.run(line, cwd=checkout, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"Error: --network {file}: ")


def test_what_a_checkout_imports_and_is_not_installed_is_named_with_what_brings_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "dnnlib" / "util.py").write_text("import requests\n")
    (checkout / "net.pkl").write_bytes(CONTENTS["a pickle of a dictionary"])
    network = checkout / "net.pkl"
    monkeypatch.setitem(sys.modules, "requests", None)
    line = error(run("layers", f"--network={network}", f"--host={checkout}", "--device=cpu"))
    missing = "imports requests, which is not installed; pip install 'ganfix[hosts]'"
    assert line == f"Error: --network {network}: {missing}"
    assert "missing    requests" in run("doctor", checkout, "--device=cpu").stdout
    hidden = (
        "import sys; sys.modules['requests'] = None; from ganfix_plugin.cli import main; main()"
    )
    words = ["run", "--device=cpu", "generate.py", "--network=net.pkl", "--correct=seqabl"]
    command = [sys.executable, "-c", hidden, *words]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"Error: generate.py: {missing}", done.stderr
    assert "Traceback" not in done.stderr
