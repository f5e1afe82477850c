"""The code on the pages of the documentation: found, checked against the command, and run.

``python tests/pages.py FOLDER`` runs the pages that it reads the names of, each from top to bottom
and in a process of its own, in a folder that holds what they speak of (`test_docs.workplace`).
What is shown is run as it is, except that

- ``ganfix …`` runs in a fork of this process, which spares the import of PyTorch each time, with
  numbers of images and latents cut down to `SMALL`, and a small extractor as the default one;
- ``pip install`` is not run: `wrong` compares the names of extras instead;
- a block with a ``title`` is a file to write; ``…`` stands for the usual options of a script.

In front of a block, ``<!-- not run: REASON -->`` leaves it out and ``<!-- first: CODE -->`` adds
lines that readers need not see.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
from markdown_it import MarkdownIt

SHELL, PYTHON, SHOWN = ("", "sh"), ("python",), ("text", "toml")
SMALL = {
    "samples": 100,
    "num": 48,
    "top": 24,
    "trials": 2,
    "num_real": 40,
    "artifacts": 12,
    "resamples": 5,
    "units": 8,
    "detect top": 4,
    "report top": 4,
    "tune num": 64,
    "tune top": 32,
}
USUAL = {"generate.py": "--network=ffhq.pkl --seeds=0-9 --outdir=out"}
_MARK = re.compile(r"<!--\s*(not run|first): (.*?)\s*-->", re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        place: page and line, for messages.
        language: the fence's first word.
        title: the name of the file that it shows, or "".
        code: the text, after what a mark puts first.
        not_run: the reason why it is left out; None if it is run.
    """

    place: str
    language: str
    title: str
    code: str
    not_run: str | None

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each command of a shell block."""
        for line in self.lines:
            words = shlex.split(line, comments=True)
            if words:
                yield words

    @property
    def lines(self) -> list[str]:
        """The commands of a shell block, one a line."""
        return self.code.replace("\\\n", " ").splitlines()


def blocks(page: Path) -> list[Block]:
    """Every block of a page, in order."""
    found, marks = [], {}
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            marks |= {kind: text for kind, text in _MARK.findall(token.content)}
        if token.type == "fence":
            language, _, rest = token.info.partition(" ")
            title = re.search(r'title="(.+?)"', rest)
            code = f"{marks['first']}\n{token.content}" if "first" in marks else token.content
            place = f"{page.name}, line {(token.map or [0])[0] + 1}"
            name = title[1] if title else ""
            found.append(Block(place, language, name, code, marks.get("not run")))
            marks = {}
    return found


def wrong(words: list[str], extras: set[str]) -> Iterator[str]:
    """What the command line would refuse in a command, which is not run for that."""
    from ganfix_plugin.cli import main
    from ganfix_plugin.correctors.bind import parse_spec

    if words[:2] == ["pip", "install"]:
        for each in re.findall(r"ganfix\[(.+?)\]", " ".join(words)):
            yield from (f"no extra {extra}" for extra in set(each.split(",")) - extras)
    if "ganfix_plugin" in words:  # python -m, torchrun -m
        words = ["ganfix", *words[words.index("ganfix_plugin") + 1 :]]
    if words[0] != "ganfix":
        return
    command: click.Command = main
    rest = words[1:]
    context = click.Context(command)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, *rest = rest
        if not (subcommand := command.get_command(context, name)):
            yield f"no command {name}"
            return
        command = subcommand
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    known |= {"--help", "--version"}
    for place, word in enumerate(rest):
        option, _, value = word.partition("=")
        if option == "--correct":
            spec = value or rest[place + 1]
            if not re.search(r"\.safetensors$|…", spec):
                parse_spec(spec)
        # What follows the script of ganfix run is the script's.
        if command.name == "run" and word.endswith(".py"):
            known |= {each.partition("=")[0] for each in rest[place:]}
        if option.startswith("--") and option not in known:
            yield f"{command.name} has no option {option}"


def run(page: Path) -> None:
    """Run a page in the current folder; the first block that fails ends the process."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.not_run is not None or block.language in SHOWN:
            continue
        print(f"--- {block.place}", flush=True)
        if block.title:
            Path(block.title).write_text(block.code)
        elif block.language in PYTHON:
            exec(compile(block.code, block.place, "exec"), names)
        else:
            for line in block.lines:
                shell(line)


def shell(line: str) -> None:
    """Run one command of a shell block."""
    words = shlex.split(line, comments=True)
    if not words or words[:2] == ["pip", "install"]:
        return
    print(f"$ {line}", flush=True)
    if words[0] == "cd":
        os.chdir(words[1])
        return
    if words[0] == "export":
        os.environ.update([words[1].split("=", 1)])
        return
    if words[0] == "ganfix":
        script = next((word for word in words if word.endswith(".py")), "")
        if "…" in words:
            place = words.index("…")
            words[place : place + 1] = USUAL[script].split()
        from ganfix_plugin.cli import main

        status = forked(lambda: main(words[1:], prog_name="ganfix"))
    else:
        status = subprocess.run(["bash", "-euc", line]).returncode
    if status:
        sys.exit(f"status {status}: {line}")


def forked(work: Callable[[], object], said: IO[str] | None = None) -> int:
    """The exit status of a work in a process of its own, which speaks to a file if there is one."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        if said:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def make_small() -> None:
    """Cut down how much the commands in this process measure and generate."""
    import prepared  # and so PyTorch and most of ganfix

    from ganfix_plugin.artifacts import prepare as preparing
    from ganfix_plugin.cli import main
    from ganfix_plugin.features import extractors
    from ganfix_plugin.features.extractors import Extractor
    from ganfix_plugin.profiling import measure, sweep
    from ganfix_plugin.profiling.profile import Settings

    sweep.MOST, sweep.BLOCK = SMALL["samples"], SMALL["samples"] // 2
    measure.SCORED = SMALL["samples"]
    preparing.NUM, preparing.TOP = SMALL["num"], SMALL["top"]
    extractors.resnet18 = lambda: Extractor("resnet18", prepared.look)
    initialise = Settings.__init__

    def small(self: Settings, samples: int | None = None, *args: Any, **kwargs: Any) -> None:
        fewer = None if samples is None else min(samples, SMALL["samples"])
        initialise(self, fewer, *args, **kwargs)

    Settings.__init__ = small  # type: ignore[method-assign]

    def cut(context: click.Context, option: click.Parameter, value: Any) -> Any:
        name = str(option.name)
        most = SMALL.get(f"{context.command.name} {name}", SMALL[name])
        return None if value is None else min(value, most)

    def visit(command: click.Command) -> None:
        for option in command.params:
            if option.name in SMALL and option.callback is None:
                option.callback = cut
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                if subcommand := command.get_command(context, name):
                    visit(subcommand)

    visit(main)


def main() -> None:
    """Run the pages whose names come in, and answer each with a line: status and what was said."""
    os.chdir(sys.argv[1])
    sys.path.insert(0, "")  # what lies in the current folder can be imported
    make_small()
    for page in sys.stdin:
        with tempfile.TemporaryFile("w+") as said:
            status = forked(functools.partial(run, Path(page.strip())), said)
            said.seek(0)
            print(json.dumps([status, said.read()]), flush=True)


if __name__ == "__main__":
    main()
