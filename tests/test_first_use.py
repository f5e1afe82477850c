"""The first use of what needs a classifier: it is announced, made, kept, and then corrects."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from generators import images, latents
from prepared import EXTRACTOR, error, judged, run
from torch import nn

from examples import EXAMPLES
from ganfix_plugin import GanfixError, attach, labels
from ganfix_plugin.artifacts import prepare
from ganfix_plugin.errors import GanfixWarning
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.labels import ARTIFACT, AUTOMATIC, NORMAL, Label, Labels
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import classifier_path, profile_path

SAMPLES = 100
KEYS = f"samples={SAMPLES},extractor={EXTRACTOR}"
STYLEGAN2 = EXAMPLES / "stylegan2_small"


@pytest.fixture(autouse=True)
def quick(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is prepared, and little is labelled."""
    monkeypatch.setattr(prepare, "NUM", 100)
    monkeypatch.setattr(prepare, "TOP", 40)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """The lines that announce a first use."""
    caplog.set_level("INFO", "ganfix")
    return lambda: [x.message for x in caplog.records if x.message.startswith("first use")]


def stored(G: nn.Module) -> tuple[Classifier, Profile]:
    generator = Generator.of(G)
    path = profile_path(generator, Settings(SAMPLES))
    return Classifier.load(classifier_path(generator.fingerprint)), Profile.load(path)


def test_unprepared_seqc_by_sample_prepares_itself_and_corrects_some_rows(
    stylegan2: nn.Module, said: Any, own_cache: Path
) -> None:
    z = latents(stylegan2, 24)
    before = images(stylegan2, z)
    with attach(stylegan2, f"seqc:{KEYS}") as attachment:
        after = images(stylegan2, z)
    changed = (after != before).flatten(1).any(1)
    assert 0 < changed.sum() < 24 and changed.sum() == attachment.counts[0].corrected
    (line,) = said()
    assert re.fullmatch(
        rf"first use on this {type(stylegan2).__name__}: labels 40 of 100 generations artifacts "
        r"and 40 normals, trains the classifier on them, measures layers 0\+1\+2\+3 on "
        r"100 latents; about \d+ \w+ on cpu, kept in (.*); stopped, it goes on from there",
        line,
    )
    assert str(own_cache) in line
    # By sample, no scores over all artifacts are needed, and no other layers.
    _, profile = stored(stylegan2)
    assert len(profile.thresholds) == 3 and not profile.defective


def test_unprepared_seqc_with_one_score_per_unit_prepares_itself(
    pggan: nn.Module, said: Any
) -> None:
    z = latents(pggan, 4)
    before = images(pggan, z)
    with attach(pggan, f"seqc:{KEYS}"):
        assert not torch.equal(images(pggan, z), before)
    assert "scores them on 40 artifacts" in said()[0]
    _, profile = stored(pggan)
    assert set(profile.defective) == set(profile.thresholds) and len(profile.defective) == 3


def test_the_second_use_measures_nothing(pggan: nn.Module, said: Any, tmp_path: Path) -> None:
    z = latents(pggan, 4)
    with attach(pggan, f"seqc:{KEYS}"):
        first = images(pggan, z)
    files = {file: file.read_bytes() for file in (tmp_path / "cache").rglob("*.safetensors")}
    with attach(pggan, f"seqc:{KEYS}"):
        assert torch.equal(images(pggan, z), first)
    assert len(said()) == 1
    assert len(files) == 2 and files == {file: file.read_bytes() for file in files}


def test_labels_of_the_user_s_own_are_learned_from(stylegan2: nn.Module, said: Any) -> None:
    labels.keep(judged(stylegan2, 80))
    with attach(stylegan2, f"seqc:{KEYS}"):
        pass
    assert "trains the classifier on your labels (40 artifacts and 40 normals)" in said()[0]
    head, profile = stored(stylegan2)
    assert head.counts["artifact/train"] == 32 and not profile.counts


def test_too_few_labels_of_the_user_s_own_are_said_to_be_so(
    pggan: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    labels.keep(Labels(fingerprint(pggan), (Label(0, ARTIFACT, "ann"), Label(1, NORMAL, "ann"))))
    caplog.set_level("INFO", "ganfix")
    with attach(pggan, f"ds:layer=1,units=2,{KEYS}"):
        pass
    says = "your own labels, 1 artifacts and 1 normals, are too few to learn from (20 of each)"
    assert says in [each.message for each in caplog.records]


@pytest.mark.parametrize("rater", AUTOMATIC)
def test_automatic_labels_are_never_taken_for_the_user_s_own(pggan: nn.Module, rater: str) -> None:
    made = tuple(Label(seed, ARTIFACT if seed < 30 else NORMAL, rater) for seed in range(60))
    labels.keep(Labels(fingerprint(pggan), made))
    assert labels.stored(fingerprint(pggan)) is None
    # Nor in a file into which they came otherwise.
    own = (Label(0, ARTIFACT, "ann"),)
    path = labels.stored_path(fingerprint(pggan))
    labels.write(Labels(fingerprint(pggan), (*made, *own)), path)
    assert labels.stored(fingerprint(pggan)) == Labels(fingerprint(pggan), own)


def test_an_extractor_that_is_not_there_is_said_before_anything_is_measured(
    pggan: nn.Module, own_cache: Path
) -> None:
    with pytest.raises(GanfixError, match="extractor nosuch:look: cannot be imported"):
        attach(pggan, "seqc:extractor=nosuch:look")
    assert not own_cache.exists()


def test_a_gate_by_the_classifier_prepares_it_and_measures_no_units(
    pggan: nn.Module, said: Any
) -> None:
    with attach(pggan, f"units:units=1:0,gate=artifact:0.5,{KEYS}"):
        pass
    assert "trains the classifier" in said()[0] and "measures layers 1+3+5 on" in said()[0]
    assert not stored(pggan)[1].thresholds


def test_one_layer_s_units_are_measured_for_ds(pggan: nn.Module, said: Any) -> None:
    with attach(pggan, f"ds:layer=2,units=3,{KEYS}") as attachment:
        assert [layer.index for layer in attachment.corrections[0].layers] == [2]
    assert list(stored(pggan)[1].defective) == ["layer2"]


def test_more_units_than_a_layer_has_are_refused_before_anything_is_measured(
    pggan: nn.Module, own_cache: Path
) -> None:
    with pytest.raises(GanfixError, match="units=99: layer 1 .* has 64; ask for fewer"):
        attach(pggan, f"ds:layer=1,units=99,{KEYS}")
    assert not own_cache.exists()


def test_a_classifier_that_may_be_no_better_than_chance_is_warned_of(pggan: nn.Module) -> None:
    by_chance = torch.randperm(80, generator=torch.Generator().manual_seed(0)).tolist()
    kinds = [ARTIFACT if place < 40 else NORMAL for place in by_chance]
    items = tuple(Label(seed, kind, "ann") for seed, kind in enumerate(kinds))
    labels.keep(Labels(fingerprint(pggan), items))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with attach(pggan, f"ds:layer=1,units=2,{KEYS}"):
            pass
    texts = [str(each.message) for each in caught if each.category is GanfixWarning]
    (text,) = (text for text in texts if "hardly tells artifacts" in text)
    assert f"({stored(pggan)[0].held_out.text})" in text
    assert text.endswith("ganfix label --network MODULE:FUNCTION_RETURNING_IT")


def test_commands_prepare_themselves_and_name_the_network_in_what_they_say(
    network_pickle: Path, tmp_path: Path
) -> None:
    where = ["--network", network_pickle, "--host", STYLEGAN2, "--device", "cpu"]
    picture = tmp_path / "a.png"
    spec = f"seqc:{KEYS}"
    shown = run("plot", "corrections", *where, "--correct", spec, "--seeds=0-3", "--out", picture)
    assert shown.exit_code == 0, shown.output
    assert "ganfix: first use on this Generator: labels 40" in shown.stderr and picture.exists()
    options = f"--network {network_pickle} --host {STYLEGAN2} --device cpu"
    shown = run("plot", "corrections", *where, "--correct=fid-units:layer=1", f"--out={picture}")
    assert f"run ganfix units --layers 1 --real IMAGES {options}" in error(shown)


def test_real_images_become_the_third_class(stylegan2: nn.Module) -> None:
    real = STYLEGAN2 / "data" / "footwear32_test.zip"
    with attach(stylegan2, f"seqc:{KEYS},real={real}"):
        pass
    head, _ = stored(stylegan2)
    assert head.classes == ("artifact", "normal", "real")
    # And stay so, though the next call does not name them.
    with attach(stylegan2, f"seqc:{KEYS}"):
        pass
    assert stored(stylegan2)[0].digest() == head.digest()


def test_prepare_does_beforehand_what_the_first_use_would(
    network_pickle: Path, stylegan2: nn.Module, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    where = ["--network", network_pickle, "--host", STYLEGAN2, "--device", "cpu"]
    shown = run("prepare", *where, f"--samples={SAMPLES}", f"--extractor={EXTRACTOR}")
    assert shown.exit_code == 0, shown.output
    assert "held-out AUC" in shown.output and "95 % interval" in shown.output
    assert shown.output.splitlines()[-1] == f"ready for --correct seqc:{KEYS}"
    caplog.clear()
    with attach(stylegan2, f"seqc:{KEYS}"):
        pass
    assert not said()


def test_prepare_measures_the_layers_that_it_is_told(
    network_pickle: Path, stylegan2: nn.Module
) -> None:
    where = ["--network", network_pickle, "--host", STYLEGAN2, "--device", "cpu"]
    options = [f"--samples={SAMPLES}", f"--extractor={EXTRACTOR}", "--layers=0+2"]
    assert run("prepare", *where, *options).exit_code == 0
    assert list(stored(stylegan2)[1].thresholds) == ["synthesis.b4.conv1", "synthesis.b8.conv1"]
