"""FID of units ([B19])."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from generators import recorded
from PIL import Image
from prepared import EXTRACTOR, SAMPLES, error, look, prepare, run, uncorrected
from torch import Tensor, nn

from ganfix_plugin.artifacts.unit_scores import score_units_by_fid
from ganfix_plugin.features import extractors
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import profile_path
from ganfix_plugin.profiling.unit_images import unit_fids


def features(images: Tensor) -> Tensor:
    return look(images).mean(dim=(2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("top", [10, 30])  # fewer and more than there are features
def test_is_the_distance_of_each_units_top_activating_images_to_real_ones(
    pggan: nn.Module, top: int
) -> None:
    generator = Generator.of(pggan)
    layers, stream = generator.layers[1:3], Latents.of(generator)
    real = features(uncorrected(pggan, range(500, 560)))
    found = unit_fids(
        generator,
        layers,
        64,
        top,
        load_extractor(EXTRACTOR),
        Gaussian.of(real),
    )
    (z, _), *_ = stream.batches(64, 64, torch.device("cpu"))
    with recorded(pggan, layers) as maps, torch.no_grad():
        images = generator.synthesize(z, None)
    for layer in layers:
        highest = maps[layer.name].flatten(2).amax(2)
        assert found[layer.name].shape == (layer.channels,)
        for unit in range(0, layer.channels, 9):
            order = sorted(range(64), key=lambda i: -float(highest[i, unit]))[:top]
            expected = Gaussian.of(real).distance_to_samples(features(images[order]))
            assert float(found[layer.name][unit]) == pytest.approx(expected, rel=1e-3)


def test_goes_to_the_profile_beside_what_is_there(pggan: nn.Module, real: Path) -> None:
    _, before, path = prepare(pggan)
    options = {"samples": SAMPLES, "num": 60, "top": 20, "layers": "1+2"}
    score_units_by_fid(Generator.of(pggan), real, extractor=EXTRACTOR, **options)  # type: ignore[arg-type]
    after = Profile.load(path)
    assert set(after.unit_fid) == {"layer1", "layer2"}
    assert all(torch.equal(after.defective[n], x) for n, x in before.defective.items())
    assert after.made["unit_fid"] == f"extractor={EXTRACTOR},num=60,top=20,real={real}"
    assert after.made["defective"] == before.made["defective"]


@pytest.mark.slow
def test_generations_can_stand_for_real_images(pggan: nn.Module, own_cache: Path) -> None:
    seeds = range(300, 340)
    options = {"samples": SAMPLES, "num": 40, "top": 40, "layers": "1", "extractor": EXTRACTOR}
    generator = Generator.of(pggan)
    profile, _ = score_units_by_fid(generator, seeds, **options)  # type: ignore[arg-type]
    (z, _), *_ = Latents.of(generator).batches(40, 40, torch.device("cpu"))
    with torch.no_grad():
        all_of_them = features(generator.synthesize(z, None))
    reference = Gaussian.of(features(uncorrected(pggan, seeds)))
    expected = reference.distance_to_samples(all_of_them)
    found = profile.unit_fid["layer1"]
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("there", "used"), [(True, "inception"), (False, "prepared:look")])
def test_are_by_inception_where_it_is_at_hand(
    there: bool, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractors, "has_inception", lambda: there)
    monkeypatch.setattr(extractors, "default_extractor", lambda: "prepared:look")
    assert extractors.measuring_extractor() == used


# --- the command


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder of images of the generator's size."""
    folder, chance = tmp_path / "real", np.random.RandomState(3)
    folder.mkdir()
    for place in range(30):
        pixels = chance.randint(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")
    return folder


@pytest.fixture
def units(pggan: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`ganfix units` on a PGGAN, with few samples."""
    monkeypatch.setattr(extractors, "default_extractor", lambda: EXTRACTOR)
    where = [f"--network={CHECKPOINT}", "--host", PGGAN, "--device=cpu"]
    return lambda *options: run("units", *where, f"--samples={SAMPLES}", *options)


PGGAN = Path(__file__).parents[1] / "examples" / "pggan_small"
CHECKPOINT = PGGAN / "checkpoints" / "pggan_footwear32.safetensors"
SMALL = ("--num=60", "--per-unit=20", "--layers=1")


def column(text: str, place: int) -> list[str]:
    """A column of the printed table, without its header."""
    lines = [re.split(r"  +", line) for line in text.splitlines()]
    return [line[place] for line in lines if line[0] == "1" and len(line) > place]


def test_neither_labels_nor_a_classifier_are_needed(
    units: Callable[..., Result], real: Path, own_cache: Path, pggan: nn.Module
) -> None:
    shown = units(f"--real={real}", *SMALL)
    assert shown.exit_code == 0, shown.output
    fids = Profile.load(profile_path(Generator.of(pggan), Settings(SAMPLES))).unit_fid["layer1"]
    highest = sorted(range(len(fids)), key=lambda unit: -float(fids[unit]))[:10]
    assert column(shown.output, 2) == [f"unit {unit}" for unit in highest]
    assert f"FID: extractor={EXTRACTOR},num=60,top=20,real={real}" in shown.output


def test_both_rankings_stand_beside_each_other(
    units: Callable[..., Result], real: Path, pggan: nn.Module, tmp_path: Path
) -> None:
    _, profile, _ = prepare(pggan)
    out = tmp_path / "units.csv"
    shown = units(f"--real={real}", *SMALL, f"--out={out}")
    assert shown.exit_code == 0, shown.output
    with out.open() as file:
        table = list(csv.DictReader(file))
    assert [int(row["unit"]) for row in table] == [*range(64)]
    for score, place in (("fid", 2), ("ds", 4)):
        by_rank = sorted(table, key=lambda row: int(row[f"{score}_rank"]))
        values = [float(row[score]) for row in by_rank]
        assert values == sorted(values, reverse=True)
        assert column(shown.output, place) == [f"unit {row['unit']}" for row in by_rank[:10]]
    scores = profile.defective["layer1"].tolist()
    assert [float(row["ds"]) for row in table] == pytest.approx(scores, rel=1e-4)
    common = {row["unit"] for row in table if int(row["fid_rank"]) <= 20}
    common &= {row["unit"] for row in table if int(row["ds_rank"]) <= 20}
    assert f"{len(common)} of the 20 highest in common" in shown.output


def test_without_real_images_it_shows_what_was_measured(
    units: Callable[..., Result], pggan: nn.Module
) -> None:
    prepare(pggan)
    shown = units("--layers=2", "--show=3")
    assert shown.exit_code == 0, shown.output
    assert "by DS" in shown.output and "DS: classifier=" in shown.output


def test_where_nothing_was_measured_it_says_how(
    units: Callable[..., Result], own_cache: Path
) -> None:
    assert "give --real IMAGES for the one, run ganfix prepare for the other" in error(units())


def test_images_that_are_not_there_are_named_before_anything_is_loaded(
    units: Callable[..., Result], tmp_path: Path
) -> None:
    assert error(units(f"--real={tmp_path / 'none'}")).endswith("none: no such folder or zip")
