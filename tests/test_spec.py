"""The text after --correct: its grammar, its values, and the text kept as provenance."""

from __future__ import annotations

import pickle

import pytest

from ganfix_plugin import GanfixError
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.spec import (
    Gate,
    LayerChoice,
    Portion,
    choice,
    number,
    portion,
    split_spec,
    whole,
)


def test_a_name_alone_has_no_keys() -> None:
    assert split_spec("seqabl") == ("seqabl", {})


def test_keys_and_values_are_text_split_at_the_first_equals_sign() -> None:
    assert split_spec("seqabl:rate=0.3,profile=a=b")[1] == {"rate": "0.3", "profile": "a=b"}


def test_values_may_hold_colons_plus_and_percent_signs() -> None:
    texts = split_spec("seqabl:gate=lr:70%,layers=4x4+8x8")[1]
    assert texts == {"gate": "lr:70%", "layers": "4x4+8x8"}


def test_white_space_and_the_order_of_keys_do_not_count() -> None:
    assert split_spec(" a : y = 2 , x = 1 ") == split_spec("a:x=1,y=2")
    written = " seqabl : side = high , rate = 0.2 "
    assert parse_spec(written) == parse_spec("seqabl:rate=0.2,side=high")


@pytest.mark.parametrize(
    "text",
    ["", ":", " ", ":rate=1", "Seqabl", "3d", "a b", "-x", "a:", "a:x", "a:x=", "a:=1", "a:x=1,"],
)
def test_what_is_no_spec_is_refused_with_an_example_of_one(text: str) -> None:
    with pytest.raises(GanfixError, match=r"NAME\[:key=value") as error:
        split_spec(text)
    assert "\n" not in str(error.value)


def test_a_key_given_twice_is_refused_by_name() -> None:
    with pytest.raises(GanfixError, match="x is given twice"):
        split_spec("a:x=1,y=2,x=3")


def options(text: str) -> object:
    return parse_spec(text).options


def test_a_share_is_written_with_or_without_percent() -> None:
    assert portion("30%") == portion("0.3") == 0.3
    assert str(portion("0.3")) == "30%"


def test_every_whole_percentage_keeps_its_text() -> None:
    texts = [f"{percent}%" for percent in range(101)]
    assert [str(portion(text)) for text in texts] == texts


@pytest.mark.parametrize("text", ["-1%", "101%", "1.5", "nan", "nan%", "inf"])
def test_a_share_outside_0_to_100_percent_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="0% to 100%"):
        portion(text)


def test_a_number_has_both_bounds_included() -> None:
    assert (number(0, 1)("0"), number(0, 1)("1")) == (0, 1)
    for text in ("-0.01", "1.01", "nan"):
        with pytest.raises(ValueError, match="from 0 to 1"):
            number(0, 1)(text)


def test_a_whole_number_has_no_sign_point_or_space() -> None:
    assert whole(2)("2") == 2
    for text in ("1", "-3", "2.0", "1e3", "", "2_0"):
        with pytest.raises(ValueError, match="at least 2"):
            whole(2)(text)


def test_a_choice_names_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="low or high"):
        choice("low", "high")("medium")


def test_layers_are_auto_numbers_or_square_resolutions() -> None:
    assert LayerChoice.parse("auto").items == ()
    assert LayerChoice.parse("0+1+8x8").items == ("0", "1", "8x8")
    assert str(LayerChoice.parse("4x4+8x8")) == "4x4+8x8"
    for text in ("", "0,1", "0++1", "4y8", "8x", "conv1", "auto+1", "-1"):
        with pytest.raises(ValueError, match="auto"):
            LayerChoice.parse(text)


def test_a_gate_is_off_a_quantile_or_a_count() -> None:
    assert Gate.parse("off") is None
    quantile, count = Gate.parse("lr:70%"), Gate.parse("lr:1200")
    assert quantile and isinstance(quantile.threshold, Portion) and quantile.threshold == 0.7
    assert count and not isinstance(count.threshold, Portion) and count.threshold == 1200


@pytest.mark.parametrize("text", ["lr", "lr:", "lr:-1", "fid:70%", "70%", "lr:101%", "lr:1e3"])
def test_any_other_gate_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Gate.parse(text)


@pytest.mark.parametrize("text", ["lr:70%", "lr:12.5%", "lr:1200", "lr:1234567", "lr:0.5"])
def test_a_gate_keeps_its_text(text: str) -> None:
    assert str(Gate.parse(text)) == text


def test_an_unknown_corrector_lists_the_available() -> None:
    with pytest.raises(GanfixError) as error:
        parse_spec("frq")
    assert str(error.value).startswith("--correct frq: unknown corrector; available: ")
    for name in ("none", "random", "seqabl"):
        assert name in str(error.value)


def test_a_misspelt_corrector_is_recognised() -> None:
    with pytest.raises(GanfixError, match=r"did you mean seqabl\?"):
        parse_spec("seqable")


def test_an_unknown_key_lists_the_known() -> None:
    with pytest.raises(GanfixError) as error:
        parse_spec("none:rate=0.3")
    assert str(error.value) == (
        "--correct none:rate=0.3: none has no key rate; its keys: gate, strength, samples, class, "
        "profile, extractor, real, exact"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seqabl:rate=2", "rate is '2', expected a number from 0 to 1"),
        ("seqabl:rate=much", "rate is 'much', expected a number"),
        ("seqabl:lowest=130%", "lowest is '130%', expected a share from 0% to 100%"),
        ("seqabl:lowest=30 percent", "lowest is '30 percent', expected a number"),
        ("seqabl:side=left", "side is 'left', expected low or high"),
        ("seqabl:layers=4x", "layers is '4x', expected auto, layer numbers"),
        ("seqabl:gate=lr:x", "gate is 'lr:x', expected off, probe:QUANTILE%"),
        ("seqabl:samples=1", "samples is '1', expected a whole number of at least 2"),
        ("seqabl:rate=0.3,lowest=30%", "rate and lowest are two ways"),
        ("random:seed=-1", "seed is '-1', expected a whole number of at least 0"),
    ],
)
def test_a_bad_value_says_what_was_found_and_what_expected(text: str, expected: str) -> None:
    with pytest.raises(GanfixError) as error:
        parse_spec(text)
    assert expected in str(error.value)
    assert str(error.value).startswith("--correct ")
    assert "\n" not in str(error.value)


def test_the_canonical_text_spells_out_the_defaults() -> None:
    assert str(parse_spec("seqabl")) == "seqabl:layers=auto,rate=auto,side=low,dead=with"


def test_the_canonical_text_does_not_depend_on_how_the_spec_was_written() -> None:
    assert str(parse_spec("seqabl:dead=with,lowest=0.3")) == str(parse_spec("seqabl:lowest=30%"))


@pytest.mark.parametrize(
    "text",
    [
        "seqabl",
        "seqabl:lowest=12.5%,gate=lr:70%,layers=4x4+8x8,class=3",
        "seqabl:rate=0.123456789,gate=lr:1234567",
        "random:of=units,portion=33%,seed=7",
        "seqabl:profile=rates.safetensors,gate=lr:70%",
        "none",
    ],
)
def test_the_canonical_text_is_a_spec_with_the_same_meaning(text: str) -> None:
    again = str(parse_spec(text))
    assert options(again) == options(text)
    assert str(parse_spec(again)) == again


def test_a_gate_that_is_taken_off_stays_off_in_the_canonical_text() -> None:
    spec = parse_spec("steer:gate=off")
    assert parse_spec(str(spec)) == spec != parse_spec("steer")


def test_what_is_not_measured_is_not_told() -> None:
    assert "samples" not in str(parse_spec("random"))
    assert "samples" in str(parse_spec("random:gate=lr:70%,samples=300"))


def test_a_given_profile_is_told_and_not_settings_that_it_was_not_measured_with() -> None:
    text = str(parse_spec("seqabl:samples=64").replaced({"profile": "rates.safetensors"}))
    assert text == "seqabl:profile=rates.safetensors,layers=auto,rate=auto,side=low,dead=with"


@pytest.mark.parametrize("text", ["seqabl:lowest=30%,gate=lr:70%", "none", "ds:layer=2"])
def test_specs_survive_pickling(text: str) -> None:
    spec = parse_spec(text)
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec and again.keys == spec.keys


def test_keys_are_replaced_and_the_others_kept() -> None:
    spec = parse_spec("seqabl:rate=0.2,layers=1")
    assert str(spec.replaced({"layers": "1+3"})) == str(parse_spec("seqabl:rate=0.2,layers=1+3"))
    assert spec.replaced({"rate": "", "lowest": "5%"}) == parse_spec("seqabl:lowest=5%,layers=1")
    with pytest.raises(GanfixError, match="rate and lowest are two ways"):
        spec.replaced({"lowest": "5%"})
    with pytest.raises(GanfixError, match="no key units"):
        spec.replaced({"units": "5"})


def test_a_key_that_is_to_vary_must_be_open() -> None:
    assert parse_spec("seqabl", {"lowest": "5%"}) == parse_spec("seqabl:lowest=5%")
    assert parse_spec("units", {"units": "6:1"}) == parse_spec("units:units=6:1")
    with pytest.raises(GanfixError, match="sets stop, which is to vary"):
        parse_spec("seqc:stop=2", {"stop": "5"})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("truncation:profile=x.safetensors", "profile"),
        ("truncation:samples=200", "samples"),
        ("random:class=3", "class"),
        ("none:samples=200", "samples"),
        ("truncation:exact=yes", "exact"),
        ("seqabl:real=photographs", "real"),
        ("steer:extractor=resnet18", "extractor"),
        ("truncation:gate=lr:50%,real=photographs", "real"),
        ("seqabl:profile=x.safetensors,samples=200", "samples"),
        ("seqc:profile=x.safetensors,class=1", "class"),
    ],
)
def test_a_key_that_would_change_nothing_is_refused(text: str, key: str) -> None:
    with pytest.raises(GanfixError, match=f"{key}= would change nothing, since .*; leave it out"):
        parse_spec(text)


@pytest.mark.parametrize(
    "text",
    [
        "truncation:gate=lr:50%,samples=200",
        "truncation:gate=artifact:0.5,real=photographs,samples=200",
        "seqc:extractor=resnet18,real=photographs,samples=200,class=1",
        "steer:samples=200,class=1",
    ],
)
def test_a_key_that_changes_something_is_taken(text: str) -> None:
    parse_spec(text)


def test_what_screens_seeds_may_be_told_how_to_measure_beside_any_corrector() -> None:
    assert parse_spec("none:samples=200", screens=True).options.samples == 200
