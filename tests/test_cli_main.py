"""`ganfix` as a whole: what it lists, how much it says, and what scripts get of it."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from generators import dcgan
from prepared import run

from ganfix_plugin.cli import main
from ganfix_plugin.commands.group import SECTIONS
from ganfix_plugin.generators.generator import Generator, fingerprint

NETWORK = ["--network=generators:dcgan", "--host", "tests", "--device=cpu"]


def every_command() -> list[tuple[str, click.Command]]:
    """All commands with their names, those of groups too."""

    def of(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            return [(name, command)]
        context = click.Context(command)
        names = command.list_commands(context)
        children = ((command.get_command(context, child), child) for child in names)
        return [pair for child, word in children if child for pair in of(child, f"{name} {word}")]

    return of(main, "ganfix")


def test_help_lists_every_command_once_under_what_it_is_for() -> None:
    listed = [name for section in SECTIONS.values() for name in section]
    assert sorted(listed) == sorted(main.list_commands(click.Context(main)))
    shown = run("-h")
    assert shown.exit_code == 0 and shown.output == run("--help").output
    assert all(f"\n{title}:\n" in shown.output for title in SECTIONS)
    assert "..." not in shown.output.split("Correct:")[1]


def helps(option: str) -> set[str]:
    """What the commands that have an option say of it."""
    return {
        str(parameter.help).split("  [")[0]
        for name, command in every_command()
        for parameter in command.params
        if isinstance(parameter, click.Option) and option in parameter.opts
        if name != "ganfix run"  # whose --adapter is that of a script's generator
    }


@pytest.mark.parametrize("option", ["--device", "--host", "--network", "--adapter", "--first"])
def test_an_option_means_the_same_in_every_command(option: str) -> None:
    assert len(helps(option)) == 1


@pytest.mark.parametrize(
    ("option", "meaning"),
    [
        ("--top", "How many of each end of the ranking"),
        ("--per-unit", "those of its highest activation."),
        ("--seed", "Seed of "),
        ("--layers", "0+1+3 or 4x4+8x8."),
        ("--real", "Real images, a folder or zip"),
    ],
)
def test_an_option_that_says_more_in_some_commands_begins_or_ends_alike(
    option: str, meaning: str
) -> None:
    found = {text.partition(" [")[0] for text in helps(option)}
    assert len(found) > 1 and all(
        text.startswith(meaning) or text.endswith(meaning) for text in found
    )


def test_quiet_and_verbose(own_cache: object) -> None:
    line = ["profile", "--samples=20", *NETWORK]
    assert "ganfix: profile saved to" in run(*line).stderr
    assert run("-q", *line, "--seed=1").stderr == ""
    assert "exclude each other" in run("-q", "-v", *line).output
    wrong = ["-m", "ganfix_plugin", "-v", "layers", "--network=none.pkl"]
    done = subprocess.run([sys.executable, *wrong], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "none.pkl" in done.stderr


def test_a_script_gets_the_layers_as_json() -> None:
    found = json.loads(run("layers", "--json", *NETWORK).stdout)
    generator = Generator.of(dcgan())
    assert found["generator"] == fingerprint(dcgan())
    assert found["auto"] == [layer.index for layer in generator.auto]
    assert [layer["channels"] for layer in found["layers"]] == [
        layer.channels for layer in generator.layers
    ]


def test_signs_that_a_console_lacks_are_no_error() -> None:
    line = [sys.executable, "-X", "utf8=0", "-m", "ganfix_plugin", "list"]
    done = subprocess.run(line, capture_output=True, env={"PYTHONIOENCODING": "cp1252"})
    assert done.returncode == 0 and b"rate" in done.stdout
