"""Top-activating images, representative generations, and units by concept."""

from __future__ import annotations

import pytest
import torch
from generators import dcgan, images, latents, numbered, recorded
from torch import nn

from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.profiling.unit_images import clusters, representative, top_seeds


def test_the_top_seeds_maximise_the_mean_magnitude_of_a_unit(G: nn.Module) -> None:
    generator = Generator.of(G)
    layer = generator.layers[1]
    best = top_seeds(generator, layer, range(5, 75), top=4)
    with recorded(G, (layer,)) as maps:
        images(G, latents_of(range(5, 75), generator.latent_shape))
    magnitude = maps[layer.name].abs().mean(dim=(2, 3))
    for unit in range(0, layer.channels, 17):
        expected = magnitude[:, unit].topk(4).values
        assert torch.allclose(magnitude[best[unit] - 5, unit], expected, rtol=1e-4)


def test_fewer_seeds_than_images_are_refused(face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="found 3 seeds, expected 4 or more"):
        top_seeds(Generator.of(face), numbered(face)[0], range(3), top=4)


def test_one_seed_represents_itself(G: nn.Module) -> None:
    generator = Generator.of(G)
    expected = images(G, latents_of([7], generator.latent_shape))
    image = representative(generator, generator.layers[2], [7])
    assert torch.allclose(image, expected, atol=1e-5)


def test_the_representative_goes_on_from_the_mean_of_the_feature_maps() -> None:
    G = dcgan()
    layer = numbered(G)[0]
    with recorded(G, (layer,)) as maps:
        images(G, latents_of([3, 4, 5], (8, 1, 1)))
    mean = maps[layer.name].mean(dim=0, keepdim=True)
    with torch.no_grad():
        expected = G[2:](mean)
    assert torch.allclose(representative(Generator.of(G), layer, [3, 4, 5]), expected, atol=1e-6)


def test_the_generator_is_left_without_hooks(face: nn.Module) -> None:
    representative(Generator.of(face), numbered(face)[0], [1, 2])
    z = latents(face, 2)
    assert torch.equal(images(face, z), images(face, z))


def test_what_looks_alike_is_one_concept() -> None:
    chance = torch.Generator().manual_seed(0)
    centres = torch.eye(3, 16) * 10
    rows = torch.cat(
        [centres[k] + torch.randn(n, 16, generator=chance) for k, n in enumerate((2, 6, 4))]
    )
    assert clusters(rows, 3) == [[2, 3, 4, 5, 6, 7], [8, 9, 10, 11], [0, 1]]


@pytest.mark.parametrize("count", [0, 1])
def test_no_unit_or_a_single_one_can_be_grouped(count: int) -> None:
    assert clusters(torch.randn(count, 4), 3) == [list(range(count))][:count]
