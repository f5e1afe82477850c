"""The patch door: one line in, one line out, and nothing else."""

from __future__ import annotations

import codecs
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ganfix_plugin import GanfixError, registry
from ganfix_plugin.cli import main
from ganfix_plugin.hosts import patching
from ganfix_plugin.hosts.host import Host, checkout_of

EXAMPLES = Path(__file__).parents[1] / "examples"
NVIDIA: Host = registry.load(registry.HOSTS, "nvidia")
BODY = b'import click\nimport legacy\n\nif __name__ == "__main__":\n    pass\n'
LINE = patching.LINE


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"# comment\n\n", b""),
        (b"#!/usr/bin/env python\n# coding: utf-8\n", b""),
        (b'# comment\n\n"""Docstring."""\n', b"\n"),
        (b'"""Doc\n\nstring."""\nfrom __future__ import annotations\n', b"\n"),
        (b"from __future__ import (\n    annotations,\n)\n", b"import os\n"),
        (codecs.BOM_UTF8, b""),
        (codecs.BOM_UTF8 + b"# comment\n", b""),
    ],
)
def test_the_line_stands_after_comments_docstring_and_future_imports(
    before: bytes, after: bytes
) -> None:
    source = before + after + BODY
    changed = patching.patched(source)
    assert changed == before + LINE + b"\n" + after + BODY
    compile(changed, "script.py", "exec")
    assert patching.reverted(changed) == source


def test_windows_line_endings_stay() -> None:
    source = (b'"""Docstring."""\n' + BODY).replace(b"\n", b"\r\n")
    changed = patching.patched(source)
    assert b"\n" not in changed.replace(b"\r\n", b"")
    assert patching.reverted(changed) == source


def test_patching_twice_changes_nothing_more() -> None:
    changed = patching.patched(BODY)
    assert patching.patched(changed) == changed


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"def (:", "cannot be parsed as Python"),
        (BODY.replace(b"import legacy\n", b""), "imports none of legacy"),
        (BODY.replace(b"import click\n", b""), "by neither click nor argparse"),
        (b"import click, legacy\n", "has no 'if __name__ == \"__main__\"'"),
        (BODY, ""),
    ],
)
def test_a_script_is_recognised_by_what_it_does(source: bytes, reason: str) -> None:
    assert reason in patching.why_unknown(source, NVIDIA)
    assert bool(reason) == bool(patching.why_unknown(source, NVIDIA))


@pytest.fixture(params=["stylegan2_small", "pggan_small"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A git checkout of one of the examples, under a name that says nothing."""
    folder = tmp_path / "x"
    shutil.copytree(EXAMPLES / request.param, folder)
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def git(checkout: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=checkout, capture_output=True, text=True)
    return done.stdout


def ganfix(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_patch_adds_one_line_per_script_and_revert_leaves_git_status_clean(
    checkout: Path,
) -> None:
    assert ganfix("patch", checkout, "--check").exit_code == 1
    done = ganfix("patch", checkout)
    scripts = [line.removesuffix(": patched") for line in done.output.splitlines()]
    assert done.exit_code == 0 and "not patched" not in done.output
    assert git(checkout, "diff", "--numstat") == "".join(
        f"1\t0\t{name}\n" for name in sorted(scripts)
    )
    assert ganfix("patch", checkout, "--check").exit_code == 0
    done = ganfix("patch", checkout, "--revert")
    assert done.exit_code == 0 and done.output.count("not patched") == len(scripts)
    assert git(checkout, "status", "--porcelain", "--ignored") == ""


def test_an_unknown_file_is_refused_and_left_as_it_is(checkout: Path) -> None:
    script = next(
        checkout / name for name in ("generate.py", "synthesize.py") if (checkout / name).is_file()
    )
    script.write_text("print('something else')\n")
    done = ganfix("patch", checkout)
    assert done.exit_code == 1
    assert f"{script.name}: refused: it imports none of" in done.output
    assert script.read_text() == "print('something else')\n"


def test_permissions_and_links_stay(checkout: Path) -> None:
    script, _ = next(patching.states(*checkout_of(checkout)))
    file = checkout / script
    real = checkout / "real.py"
    file.rename(real)
    file.symlink_to(real.name)
    real.chmod(0o755)
    list(patching.patch(checkout))
    assert file.is_symlink() and patching.is_patched(real.read_bytes())
    assert stat.S_IMODE(real.stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(checkout: Path) -> None:
    checkout.chmod(0o555)
    with pytest.raises(GanfixError, match="cannot be written"):
        list(patching.patch(checkout))


@pytest.mark.parametrize("command", [["patch"], ["patch", "--check"]])
def test_a_folder_that_is_no_checkout_is_an_error(command: list[str], tmp_path: Path) -> None:
    done = ganfix(*command, tmp_path)
    assert done.exit_code == 1
    assert "no known host was found here; known: genforce, NVIDIA" in done.output
