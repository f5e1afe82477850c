"""The text after --correct: its grammar alone."""

from __future__ import annotations

import pytest

from ganfix_plugin import GanfixError
from ganfix_plugin.spec import CorrectionSpec


def parse(text: str) -> CorrectionSpec:
    return CorrectionSpec.parse(text)


def test_a_name_alone_has_no_keys() -> None:
    assert parse("seqabl") == CorrectionSpec("seqabl", ())


def test_keys_and_values_are_text_split_at_the_first_equals_sign() -> None:
    assert dict(parse("seqabl:rate=0.3,profile=a=b").items) == {"rate": "0.3", "profile": "a=b"}


def test_values_may_hold_colons_plus_and_percent_signs() -> None:
    items = dict(parse("seqabl:gate=lr:70%,layers=4x4+8x8").items)
    assert items == {"gate": "lr:70%", "layers": "4x4+8x8"}


def test_white_space_and_the_order_of_keys_do_not_count() -> None:
    assert parse(" a : y = 2 , x = 1 ") == parse("a:x=1,y=2")


def test_its_text_parses_back_to_itself() -> None:
    spec = parse("seqabl:layers=4x4+8x8,gate=lr:70%")
    assert parse(str(spec)) == spec
    assert str(parse("none")) == "none"


def test_specs_are_hashable_and_frozen() -> None:
    assert len({parse("a:x=1,y=2"), parse("a:y=2,x=1")}) == 1
    with pytest.raises(AttributeError):
        parse("a").name = "b"


@pytest.mark.parametrize(
    "text",
    ["", ":", " ", ":rate=1", "Seqabl", "3d", "a b", "-x", "a:", "a:x", "a:x=", "a:=1", "a:x=1,"],
)
def test_what_is_no_spec_is_refused_with_an_example_of_one(text: str) -> None:
    with pytest.raises(GanfixError, match=r"NAME\[:key=value") as error:
        parse(text)
    assert "\n" not in str(error.value)


def test_a_key_given_twice_is_refused_by_name() -> None:
    with pytest.raises(GanfixError, match="x is given twice"):
        parse("a:x=1,y=2,x=3")
