"""Correctors, adapters and hosts are found by entry points, each by name alone."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from ganfix_plugin import GanfixError, list_correctors, registry
from ganfix_plugin.correctors.corrector import load

Install = Callable[..., None]


def test_built_ins_are_declared_like_anyone_elses() -> None:
    assert {"none", "random", "seqabl"} <= set(registry.names(registry.CORRECTORS))
    assert registry.origin(registry.entry(registry.CORRECTORS, "seqabl")).startswith("ganfix ")


def test_an_installed_corrector_is_listed_and_loaded(install: Install) -> None:
    source = "from ganfix_plugin.correctors.none import CORRECTOR"
    install("ganfix-gentle", "gentle = gentle_corrector:CORRECTOR", source)
    assert "gentle" in registry.names(registry.CORRECTORS)
    assert load("gentle").name == "none"
    assert registry.origin(registry.entry(registry.CORRECTORS, "gentle")) == "ganfix-gentle 1.5"


def test_an_unknown_name_lists_the_available() -> None:
    with pytest.raises(GanfixError, match=r"frq: unknown corrector; available: .*none, random"):
        registry.load(registry.CORRECTORS, "frq")


def test_two_distributions_with_one_name_are_both_named(install: Install) -> None:
    install("first-plugin", "same = one:CORRECTOR")
    install("second-plugin", "same = two:CORRECTOR")
    with pytest.raises(GanfixError, match="first-plugin 1.5 and second-plugin 1.5; uninstall one"):
        registry.load(registry.CORRECTORS, "same")


def test_a_built_in_cannot_be_replaced_silently(install: Install) -> None:
    install("rival", "seqabl = rival:CORRECTOR")
    with pytest.raises(GanfixError, match="declared by ganfix .* and rival 1.5"):
        load("seqabl")


def test_only_the_requested_name_is_imported(install: Install) -> None:
    install("broken", "broken = broken_corrector:CORRECTOR", "1 / 0")
    assert load("none").name == "none"
    assert "broken_corrector" not in sys.modules


@pytest.mark.parametrize("source", ["import nowhere_to_be_found", "OTHER = 1"])
def test_what_cannot_be_imported_names_its_distribution(install: Install, source: str) -> None:
    install("faulty", "faulty = faulty_corrector:CORRECTOR", source)
    with pytest.raises(GanfixError, match="faulty: the corrector of faulty 1.5 cannot be imported"):
        load("faulty")


def test_an_object_of_another_kind_is_no_corrector(install: Install) -> None:
    install("numbers-only", "seven = seven_corrector:SEVEN", "SEVEN = 7")
    with pytest.raises(GanfixError, match="of numbers-only 1.5 is int, expected a .*Corrector"):
        load("seven")


def test_every_corrector_has_a_line_of_help() -> None:
    assert all(help and "\n" not in help for help in list_correctors().values())
