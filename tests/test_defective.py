"""Defective scores, against a plain and slow reading of Definition 1 in [T21]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from generators import numbered, recorded
from prepared import EXTRACTOR, SAMPLES, judged, look, prepare, uncorrected
from safetensors.torch import save_file
from torch import Tensor, nn

from ganfix_plugin import GanfixError, partial
from ganfix_plugin.artifacts.defective_scores import score_units
from ganfix_plugin.features.classifier import Classifier, Report
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels
from ganfix_plugin.profiling import defective, measure
from ganfix_plugin.profiling.defective import (
    Overlap,
    artifact_sums,
    binary_masks,
    exceeding,
    normalized,
    unit_overlap,
)
from ganfix_plugin.profiling.profile import Profile


def upsampling(size: int, side: int) -> np.ndarray:
    """[side, size]: what bilinear interpolation of a row of pixels does, without align_corners."""
    found = np.zeros((side, size))
    for i in range(side):
        place = min(max((i + 0.5) * size / side - 0.5, 0), size - 1)
        left = int(place)
        right = min(left + 1, size - 1)
        found[i, left] += 1 - (place - left)
        found[i, right] += place - left
    return found


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (upsampling(size, side) for size in image.shape)
    return rows @ image @ columns.T


def definition_1(
    maps: Tensor, thresholds: Tensor, cams: Tensor, side: int, cam: float, active: float
) -> list[float]:
    """DS_{l,u,a} = mean over artifacts x of |A_u ∩ L_a(x)| / |A_u ∪ L_a(x)|, for each unit u."""
    masks = [enlarged(each.double().numpy(), side) >= cam for each in cams]
    scores = []
    for u in range(maps.shape[1]):
        total = 0.0
        for x in range(len(maps)):
            exceeds = maps[x, u].double().numpy() > float(thresholds[u])
            a_u = enlarged(exceeds.astype(float), side) >= active
            both, either = (a_u & masks[x]).sum(), (a_u | masks[x]).sum()
            total += both / either if either else 0.0
        scores.append(total / len(maps))
    return scores


@pytest.fixture
def labels(G: nn.Module) -> Labels:
    """Six artifacts and two normals."""
    items = [Label(seed, ARTIFACT if seed < 6 else NORMAL) for seed in range(8)]
    return Labels(fingerprint(G), tuple(items))


@pytest.fixture
def head() -> Classifier:
    """A classifier of random weights, so that masks are of any shape."""
    chance = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 24, generator=chance)
    mean, deviation = torch.zeros(24), torch.rand(24, generator=chance) + 0.5
    classes, report = (ARTIFACT, NORMAL), Report(0, 0, (0, 1), [])
    return Classifier(weight, torch.zeros(2), mean, deviation, classes, EXTRACTOR, "", report)


@pytest.mark.slow
@pytest.mark.parametrize(("cam", "active"), [(0.5, 0.5), (0.25, 0.5), (0.5, 0.2), (0.8, 0.6)])
def test_scores_equal_definition_1_given_the_same_thresholds(
    G: nn.Module, labels: Labels, head: Classifier, cam: float, active: float
) -> None:
    layers = numbered(G)[1:3]
    choice = "+".join(str(layer.index) for layer in layers)
    # A tau that lets more through than the paper's, so that overlaps are many.
    profile, _ = score_units(
        Generator.of(G),
        labels,
        head,
        layers=choice,
        samples=50,
        tau=0.2,
        cam=cam,
        active=active,
        batch=4,
    )
    with recorded(G, layers) as maps:
        images = uncorrected(G, labels.seeds(ARTIFACT))
    cams = head.cam(look(images))
    for layer in layers:
        few = maps[layer.name][:, :48]
        limits = profile.thresholds[layer.name]
        expected = definition_1(few, limits, cams, images.shape[-1], cam, active)
        found = profile.defective[layer.name][:48]
        assert found.tolist() == pytest.approx(expected, abs=1e-6)
        assert max(expected) > 0


def test_masks_are_where_the_upsampled_cam_reaches_the_threshold() -> None:
    cams = torch.rand(5, 7, 7, generator=torch.Generator().manual_seed(0))
    expected = [enlarged(each.double().numpy(), 64) >= 0.6 for each in cams]
    assert np.array_equal(binary_masks(cams, 0.6, 64).numpy(), np.array(expected))


def test_masks_of_large_images_are_taken_at_256_pixels() -> None:
    assert binary_masks(torch.rand(1, 7, 7), 0.5, 1024).shape == (1, 256, 256)


def test_a_unit_exceeds_its_own_threshold_strictly() -> None:
    x = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    limits = torch.tensor([0.5, 2.0, 3.5], dtype=torch.float64)
    assert exceeding(x, limits)[0, :, 0, 0].tolist() == [True, False, False]


def test_an_empty_mask_and_an_inactive_unit_overlap_by_0() -> None:
    on = torch.zeros(3, 2, 4, 4, dtype=torch.bool)
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    on[1], masks[2] = True, True
    assert unit_overlap(on, masks).eq(0).all()


def test_a_unit_that_is_on_exactly_in_the_mask_overlaps_by_1() -> None:
    on = torch.zeros(1, 2, 8, 8, dtype=torch.bool)
    on[0, 1, 2:5, 3:7] = True
    assert unit_overlap(on, on[:, 1]).tolist() == [[0, 1]]


def test_the_chunks_of_many_units_do_not_matter() -> None:
    chance = torch.Generator().manual_seed(0)
    on = torch.rand(2, 150, 4, 4, generator=chance) > 0.7
    masks = torch.rand(2, 16, 16, generator=chance) > 0.5
    alone = torch.cat([unit_overlap(on[:, [u]], masks) for u in range(150)], dim=1)
    assert torch.equal(unit_overlap(on, masks), alone)


def test_max_divides_by_the_largest_of_the_layer() -> None:
    scores = torch.tensor([0.02, 0.0, 0.08, 0.04], dtype=torch.float64)
    assert normalized(scores, "max").tolist() == pytest.approx([0.25, 0, 1, 0.5])


def test_rank_spreads_the_ranks_evenly() -> None:
    scores = torch.tensor([0.02, 0.0, 0.08, 0.04, 0.01], dtype=torch.float64)
    assert normalized(scores, "rank").tolist() == [0.5, 0, 1, 0.75, 0.25]


@pytest.mark.parametrize("rule", ["max", "rank"])
def test_each_sample_is_normalised_by_itself(rule: str) -> None:
    scores = torch.rand(4, 10, generator=torch.Generator().manual_seed(0)).double()
    alone = torch.stack([normalized(each, rule) for each in scores])
    assert torch.equal(normalized(scores, rule), alone)


def test_scores_of_zero_stay_zero_and_a_single_unit_is_no_division_by_zero() -> None:
    assert normalized(torch.zeros(5).double(), "max").eq(0).all()
    assert normalized(torch.tensor([0.3]).double(), "rank").tolist() == [0]


@pytest.mark.slow
def test_interrupted_scoring_goes_on_where_it_was(
    pggan: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, _, _ = prepare(pggan)
    generator, labels = Generator.of(pggan), judged(pggan, 60)
    options = {"samples": 100, "batch": 2}  # 30 artifacts, 15 batches
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path / "whole"))
    whole, _ = score_units(generator, labels, head, **options)  # type: ignore[arg-type]

    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path / "interrupted"))
    batches, asked = defective.seed_batches, list[int]()

    def interrupting(generator: Generator, seeds: list[int], batch: int) -> object:
        if len(asked) == 22:
            raise KeyboardInterrupt
        asked.extend(seeds)
        return batches(generator, seeds, batch)

    monkeypatch.setattr(defective, "seed_batches", interrupting)
    monkeypatch.setattr(partial, "EVERY", 0)
    monkeypatch.setattr(partial, "_SHARE", 0)
    with pytest.raises(KeyboardInterrupt):
        score_units(generator, labels, head, **options)  # type: ignore[arg-type]
    asked.clear()
    again, path = score_units(generator, labels, head, **options)  # type: ignore[arg-type]

    assert asked == labels.seeds(ARTIFACT)[22:]  # those of 11 batches were kept
    assert again.defective.keys() == whole.defective.keys()
    assert all(torch.equal(again.defective[name], x) for name, x in whole.defective.items())
    assert {file.suffix for file in path.parent.iterdir()} <= {".safetensors", ".lock"}


@pytest.mark.parametrize("kept", ["another's", "damaged", "none"])
def test_without_sums_to_take_up_scoring_starts_from_zero(
    pggan: nn.Module, head: Classifier, tmp_path: Path, kept: str
) -> None:
    generator, file = Generator.of(pggan), tmp_path / "x.partial"
    layers = generator.layers[:2]
    limits = {layer.name: torch.zeros(layer.channels).double() for layer in layers}
    overlap = Overlap(limits, head, head.load_extractor())
    expected = artifact_sums(generator, layers, overlap, [[0, 1], [2]], file)
    if kept == "another's":
        save_file({"another": torch.zeros(3, 5)}, file)
    elif kept == "damaged":
        file.write_bytes(b"\0" * 50)
    sums = artifact_sums(generator, layers, overlap, [[0, 1], [2]], file)
    assert {name: len(rows) for name, rows in sums.items()} == {"layer0": 2, "layer1": 2}
    assert all(torch.equal(sums[name], rows) for name, rows in expected.items())
    assert not list(tmp_path.iterdir())


def test_thresholds_are_measured_once(
    pggan: nn.Module, head: Classifier, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = judged(pggan, 60)
    first, _ = score_units(Generator.of(pggan), labels, head, samples=60)
    monkeypatch.setattr(measure, "sweep", None)  # calling it again would fail
    second, _ = score_units(Generator.of(pggan), labels, head, samples=60, cam=0.3)
    assert all(torch.equal(second.thresholds[n], x) for n, x in first.thresholds.items())
    assert any(not torch.equal(second.defective[n], x) for n, x in first.defective.items())


def test_another_tau_measures_them_anew(
    pggan: nn.Module, head: Classifier, own_cache: Path
) -> None:
    labels = judged(pggan, 60)
    low, _ = score_units(Generator.of(pggan), labels, head, samples=60, tau=0.5, layers="1")
    high, path = score_units(Generator.of(pggan), labels, head, samples=60, tau=0.01, layers="1")
    assert (high.thresholds["layer1"] > low.thresholds["layer1"]).all()
    assert Profile.load(path).made["thresholds"] == "samples=60,tau=0.01"


@pytest.mark.slow
def test_the_profile_says_how_scores_were_made(pggan: nn.Module) -> None:
    head, profile, _ = prepare(pggan)
    assert profile.made["thresholds"] == f"samples={SAMPLES},tau=0.005"
    expected = f"classifier={head.digest()},artifacts=40,cam=0.5,active=0.5"
    assert profile.made["defective"] == expected


def test_labels_of_another_generator_or_without_artifacts_are_refused(pggan: nn.Module) -> None:
    head, _, _ = prepare(pggan)
    with pytest.raises(GanfixError, match="labels: are of another generator"):
        score_units(
            Generator.of(pggan), Labels("0" * 64, judged(pggan).items), head, samples=SAMPLES
        )
    normals = Labels(fingerprint(pggan), (Label(0, NORMAL),))
    with pytest.raises(GanfixError, match="labels: found no artifacts"):
        score_units(Generator.of(pggan), normals, head, samples=SAMPLES)


def test_layers_that_are_not_there_are_refused(pggan: nn.Module) -> None:
    head, _, _ = prepare(pggan)
    for choice in ("99", "bogus"):
        with pytest.raises(GanfixError, match=f"layers={choice}"):
            score_units(Generator.of(pggan), judged(pggan), head, layers=choice, samples=SAMPLES)
