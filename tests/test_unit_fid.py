"""FID of units ([B19])."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from generators import recorded
from prepared import EXTRACTOR, SAMPLES, judged, look, prepare, uncorrected
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.artifacts.prepare import score_units_by_fid
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.labels import NORMAL, Labels
from ganfix_plugin.profiling.profile import Profile
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


def test_goes_to_the_profile_beside_what_is_there(pggan: nn.Module) -> None:
    head, before, path = prepare(pggan)
    options = {"samples": SAMPLES, "num": 60, "top": 20, "layers": "1+2"}
    score_units_by_fid(Generator.of(pggan), judged(pggan), head, **options)  # type: ignore[arg-type]
    after = Profile.load(path)
    assert set(after.unit_fid) == {"layer1", "layer2"}
    assert all(torch.equal(after.defective[n], x) for n, x in before.defective.items())
    assert after.made["unit_fid"] == f"extractor={EXTRACTOR},num=60,top=20,real=normals"
    assert after.made["defective"] == before.made["defective"]


@pytest.mark.slow
def test_without_real_images_those_labelled_normal_stand_in(
    pggan: nn.Module, own_cache: Path
) -> None:
    head, _, _ = prepare(pggan)
    labels = judged(pggan)
    options = {"samples": SAMPLES, "num": 40, "top": 40, "layers": "1"}
    generator = Generator.of(pggan)
    profile, _ = score_units_by_fid(generator, labels, head, **options)  # type: ignore[arg-type]
    (z, _), *_ = Latents.of(generator).batches(40, 40, torch.device("cpu"))
    with torch.no_grad():
        all_of_them = features(generator.synthesize(z, None))
    normals = features(uncorrected(pggan, labels.seeds(NORMAL)))
    expected = Gaussian.of(normals).distance_to_samples(all_of_them)
    found = profile.unit_fid["layer1"]
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=1e-3, atol=0)


def test_without_normals_or_real_images_it_is_refused(pggan: nn.Module) -> None:
    head, _, _ = prepare(pggan)
    labels = judged(pggan)
    artifacts = tuple(each for each in labels.items if each.label != NORMAL)
    with pytest.raises(GanfixError, match="labels: found no normals; label some, or give real"):
        score_units_by_fid(
            Generator.of(pggan), Labels(labels.generator, artifacts), head, samples=SAMPLES
        )
