"""--correct on the command line of scripts that do not know it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from ganfix_plugin import GanfixError
from ganfix_plugin.hosts.flags import (
    CORRECT,
    METRIC_FLAGS,
    SCREEN,
    asks_for_help,
    shown_in_help,
    take,
)


@pytest.fixture
def shown() -> Iterator[None]:
    with shown_in_help(CORRECT):
        yield


def test_values_are_taken_out_in_order_and_the_rest_stays() -> None:
    line = ["--seeds=0-3", "--correct", "seqabl", "net.pkl", "--correct=none", "--correction=1"]
    assert take(line) == (["seqabl", "none"], ["--seeds=0-3", "net.pkl", "--correction=1"])


def test_what_follows_two_dashes_is_left_alone() -> None:
    assert take(["a", "--", "--correct", "x"]) == ([], ["a", "--", "--correct", "x"])


@pytest.mark.parametrize("line", [["--correct"], ["--correct="], ["--correct", "--outdir=x"]])
def test_a_missing_value_is_an_error(line: list[str]) -> None:
    with pytest.raises(GanfixError, match="--correct needs a value"):
        take(line)


def test_abbreviations_are_the_host_s_own() -> None:
    assert take(["--c", "file", "--corr", "x"]) == ([], ["--c", "file", "--corr", "x"])


def test_both_ways_to_ask_for_help_are_known() -> None:
    assert asks_for_help(["-h"]) and asks_for_help(["x", "--help"])
    assert not asks_for_help(["--helper"])


@click.command()
@click.option("--network", required=True)
def command(network: str) -> None:
    """A host's command."""
    click.echo(network)


def test_click_shows_the_option_and_the_function_never_hears_of_it(
    shown: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["generate.py", "--help"])
    with pytest.raises(SystemExit):
        command()
    assert "--correct NAME[:key=value,…]" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["generate.py", "--network=x"])
    with pytest.raises(SystemExit):
        command()
    assert capsys.readouterr().out == "x\n"


def test_help_shows_all_flags_that_a_script_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["calc_metrics.py", "--help"])
    with shown_in_help(*METRIC_FLAGS), pytest.raises(SystemExit):
        command()
    text = capsys.readouterr().out
    assert all(flag.name in text for flag in METRIC_FLAGS)
    assert "fid_artifacts" in text


def test_a_click_command_with_arguments_of_its_own_is_left_alone(shown: None) -> None:
    @click.command()
    def inner() -> None: ...

    assert "--correct" not in CliRunner().invoke(inner, ["--help"]).output


def test_argparse_shows_the_option_in_a_group_of_its_own(
    shown: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser(prog="test.py")
    parser.add_argument("--checkpoint")
    monkeypatch.setattr(sys, "argv", ["test.py", "-h"])
    with pytest.raises(SystemExit):
        parser.parse_args()
    text = capsys.readouterr().out
    assert "ganfix:\n  --correct NAME[:key=value,…]" in text
    assert "lowest=30%" in text


def test_argparse_s_namespace_and_abbreviations_stay_as_they_were(
    shown: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint")
    monkeypatch.setattr(sys, "argv", ["test.py", "--c", "net.pth"])
    assert vars(parser.parse_args()) == {"checkpoint": "net.pth"}


def test_a_subparser_does_not_show_the_option(
    shown: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_subparsers().add_parser("inner")
    monkeypatch.setattr(sys, "argv", ["test.py", "inner", "--help"])
    with pytest.raises(SystemExit):
        parser.parse_args()
    assert "--correct" not in capsys.readouterr().out


def test_click_and_argparse_are_themselves_again_afterwards() -> None:
    before = click.Command.main, argparse.ArgumentParser.parse_known_args
    with shown_in_help(CORRECT):
        pass
    assert (click.Command.main, argparse.ArgumentParser.parse_known_args) == before


def test_flags_can_be_taken_out_one_after_the_other() -> None:
    line = ["--screen=10%", "--correct", "none", "--seeds=1"]
    assert take(line, SCREEN) == (["10%"], ["--correct", "none", "--seeds=1"])


def test_a_flag_that_has_one_value_is_given_once() -> None:
    with pytest.raises(GanfixError, match="--screen is given 2 times"):
        take(["--screen=10%", "--screen=20%"], SCREEN)
