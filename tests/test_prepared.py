"""`prepared` makes what the store lacks for seqc, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from prepared import EXTRACTOR, judged
from torch import nn

from ganfix_plugin import GanfixError
from ganfix_plugin.artifacts import prepare as preparing
from ganfix_plugin.artifacts.prepare import Training, prepared
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.labels import Labels, stored_path, write
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import classifier_path

pytestmark = pytest.mark.slow

FEW = Training(extractor=EXTRACTOR, num=80, top=30)
SETTINGS = Settings(60)


def done(
    G: nn.Module, training: Training = FEW, layers: str = "1+2", **more: Any
) -> tuple[Profile, Classifier]:
    generator = Generator.of(G)
    return prepared(generator, generator.choose(layers), SETTINGS, training=training, **more)


def refused(*_: Any, **__: Any) -> Any:
    raise AssertionError("it is there already")


def test_thresholds_are_of_the_layers_to_correct_and_scores_of_all_samples_are_left_out(
    pggan: nn.Module, own_cache: Path
) -> None:
    profile, head = done(pggan)
    assert list(profile.thresholds) == ["layer1", "layer2"] and not profile.defective
    assert head.digest() == Classifier.load(classifier_path(profile.fingerprint)).digest()


def test_scores_of_all_samples_come_on_demand(pggan: nn.Module, own_cache: Path) -> None:
    profile, head = done(pggan, scores=True)
    assert list(profile.defective) == ["layer1", "layer2"]
    assert profile.made["defective"].startswith(f"classifier={head.digest()},artifacts=30,")


def test_what_is_there_is_not_made_again(
    pggan: nn.Module, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, head = done(pggan, scores=True)
    for name in ("auto_labels", "fit_classifier", "thresholds", "artifact_sums"):
        monkeypatch.setattr(preparing, name, refused)
    for training in (FEW, Training()):
        again, same = done(pggan, training, scores=True)
        assert same.digest() == head.digest()
        assert all(torch.equal(again.defective[n], x) for n, x in profile.defective.items())


def test_a_run_that_failed_after_a_stage_does_not_do_that_stage_again(
    pggan: nn.Module, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, head = done(pggan, scores=True)
    for path in own_cache.rglob("*"):
        if path.is_file():
            path.unlink()
    stages = ("fit_classifier", "thresholds", "artifact_sums")
    for before, stage in zip(("auto_labels", *stages), stages):
        with monkeypatch.context() as broken:
            broken.setattr(preparing, stage, refused)
            with pytest.raises(AssertionError):
                done(pggan, scores=True)
        monkeypatch.setattr(preparing, before, refused)
    again, same = done(pggan, scores=True)
    assert same.digest() == head.digest()
    assert all(torch.equal(again.thresholds[n], x) for n, x in whole.thresholds.items())
    assert all(torch.equal(again.defective[n], x) for n, x in whole.defective.items())


def test_labels_of_the_users_own_take_the_place_of_automatic_ones(
    pggan: nn.Module, own_cache: Path
) -> None:
    automatic = done(pggan)[1]
    labels = judged(pggan)
    write(labels, stored_path(labels.generator))
    own = done(pggan, Training(extractor=EXTRACTOR))[1]
    assert own.digest() != automatic.digest()
    assert own.counts["artifact/train"] + own.counts["artifact/held out"] == 40
    assert done(pggan, Training())[1].digest() == own.digest()


def test_automatic_labels_are_not_taken_for_the_users_own(
    pggan: nn.Module, own_cache: Path
) -> None:
    _, head = done(pggan)
    assert not stored_path(head.generator).exists()


def test_too_few_labels_of_the_users_own_are_left_alone(pggan: nn.Module, own_cache: Path) -> None:
    labels = judged(pggan)
    write(Labels(labels.generator, labels.items[:10]), stored_path(labels.generator))
    _, head = done(pggan)
    assert head.made.startswith("automatic labels")


def test_another_request_makes_another_classifier(pggan: nn.Module, own_cache: Path) -> None:
    _, head = done(pggan)
    _, other = done(pggan, Training(extractor=EXTRACTOR, num=80, top=25))
    assert other.digest() != head.digest()


def test_a_classifier_file_needs_no_labels(
    pggan: nn.Module, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, head = done(pggan)
    head.save(tmp_path / "head.safetensors")
    monkeypatch.setattr(preparing, "auto_labels", refused)
    profile, other = done(pggan, Training(), layers="3", classifier=tmp_path / "head.safetensors")
    assert other.digest() == head.digest() and "layer3" in profile.thresholds


def test_an_extractor_that_is_not_there_is_said_before_anything_is_measured(
    pggan: nn.Module, own_cache: Path
) -> None:
    with pytest.raises(GanfixError, match="nowhere"):
        done(pggan, Training(extractor="nowhere:look"))
    assert not own_cache.exists()
