"""`prepared` makes what the store lacks for seqc, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared import EXTRACTOR, judged
from torch import nn

from ganfix_plugin import GanfixError, partial
from ganfix_plugin.artifacts import defective_scores
from ganfix_plugin.artifacts import prepare as preparing
from ganfix_plugin.artifacts.prepare import Training, prepared
from ganfix_plugin.features import render as rendering
from ganfix_plugin.features.classifier import Classifier
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.labels import Labels, stored_path, write
from ganfix_plugin.profiling import measure
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import classifier_path
from ganfix_plugin.profiling.sweep import Wanted

pytestmark = pytest.mark.slow

REAL = Path(__file__).parents[1] / "examples/stylegan2_small/data/footwear32_test.zip"
FEW = Training(extractor=EXTRACTOR, num=80, top=30)
SETTINGS = Settings(60)
STAGES = [  # in their order
    (measure, "sweep"),
    (preparing, "auto_labels"),
    (preparing, "fit_classifier"),
    (defective_scores, "artifact_sums"),
]


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
    for module, name in STAGES:
        monkeypatch.setattr(module, name, refused)
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
    for before, stage in zip(STAGES, STAGES[1:]):
        with monkeypatch.context() as broken:
            broken.setattr(*stage, refused)
            with pytest.raises(AssertionError):
                done(pggan, scores=True)
        monkeypatch.setattr(*before, refused)
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


class Interrupted(Exception):
    pass


def failing_after(calls: int, function: Any) -> Any:
    def fails(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise Interrupted
        return function(*args, **options)

    return fails


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [
        (preparing, "lr_counts", 1),  # while seeds are ranked
        (preparing, "lr_counts", 2),
        (rendering, "render", 1),  # while labelled artifacts are looked at
        (rendering, "render", 5),  # and normal images
    ],
)
def test_stopped_within_a_stage_it_goes_on_there_to_the_same_numbers(
    pggan: nn.Module,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    calls: int,
) -> None:
    monkeypatch.setattr(rendering, "rendering_batch", lambda layers: 8)
    whole, head = done(pggan)
    for path in own_cache.rglob("*"):
        if path.is_file():
            path.unlink()
    monkeypatch.setattr(partial, "EVERY", 0)
    monkeypatch.setattr(partial, "_SHARE", 0)
    with monkeypatch.context() as broken, pytest.raises(Interrupted):
        broken.setattr(module, name, failing_after(calls, getattr(module, name)))
        done(pggan)
    assert list(own_cache.rglob("*.measuring"))
    again, same = done(pggan)
    assert same.digest() == head.digest()
    assert all(torch.equal(again.thresholds[n], x) for n, x in whole.thresholds.items())
    assert not list(own_cache.rglob("*.measuring"))


def test_rates_and_thresholds_are_measured_in_one_sweep(
    pggan: nn.Module, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps: list[Wanted] = []
    sweep = measure.sweep
    monkeypatch.setattr(
        measure, "sweep", lambda G, wanted, *more: sweeps.append(wanted) or sweep(G, wanted, *more)
    )
    done(pggan)
    (wanted,) = sweeps
    assert [layer.index for layer in wanted.rates] == [1, 3, 5]
    assert [layer.index for layer in wanted.thresholds] == [1, 2]


def test_of_many_real_images_some_are_read_chosen_by_a_seed(
    pggan: nn.Module, own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with zipfile.ZipFile(REAL) as archive:
        archive.extractall(tmp_path / "real", archive.namelist()[:90])
    monkeypatch.setattr(preparing, "MOST_REAL", 40)
    generator, labels = Generator.of(pggan), judged(pggan)
    real = tmp_path / "real"
    head = preparing.fit_classifier(generator, labels, real=real, extractor=EXTRACTOR)
    assert head.counts["real/train"] + head.counts["real/held out"] == 40
    again = preparing.fit_classifier(generator, labels, real=real, extractor=EXTRACTOR)
    assert again.digest() == head.digest()
    monkeypatch.setattr(preparing, "MOST_REAL", 1000)
    head = preparing.fit_classifier(generator, labels, real=real, extractor=EXTRACTOR)
    assert head.counts["real/train"] + head.counts["real/held out"] == 90
