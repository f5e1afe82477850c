"""One way to render: past hooks or with what is attached, the same random state for every batch."""

from __future__ import annotations

import pytest
import torch
from generators import dcgan
from torch import Tensor, nn

from ganfix_plugin import attach
from ganfix_plugin.features.render import both_sides, image_side, pixel_changes, render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches


class Noise(nn.Module):
    """Adds noise of its own, as generators do that have no constant one."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


def noisy() -> Generator:
    G = dcgan()
    G[-1] = nn.Sequential(Noise(), G[-1])
    return Generator.of(G.eval())


def test_a_batch_has_the_same_noise_whenever_it_is_rendered() -> None:
    generator = noisy()
    ((z, c),) = seed_batches(generator, [3, 4])
    first = render(generator, z, c)
    torch.randn(5)
    assert torch.equal(render(generator, z, c), first)
    assert not torch.equal(generator.synthesize(z, c), first)


def test_the_callers_random_state_is_left_as_it_was() -> None:
    generator = noisy()
    before = torch.random.get_rng_state()
    assert image_side(generator) == 16
    assert torch.equal(torch.random.get_rng_state(), before)


def test_both_sides_have_the_same_noise_and_only_one_is_corrected() -> None:
    generator = noisy()
    batches = list(seed_batches(generator, range(5), 2))

    def look(images: Tensor) -> Tensor:
        return images.flatten(1)

    with attach(generator, "none"):
        sides = list(both_sides(generator, batches, {"": look}, True))
    assert len(sides) == 3
    for side in sides:
        assert torch.equal(side["uncorrected"], side["corrected"])
        assert not side["changes"].any()
    with attach(generator, "random:portion=90%"):
        (z, c), plain = batches[0], sides[0]["uncorrected"]
        assert torch.equal(render(generator, z, c).flatten(1), plain)
        corrected = render(generator, z, c, corrected=True)
    assert not corrected.requires_grad and not torch.equal(corrected.flatten(1), plain)


def test_changes_are_of_255_and_above_zero_where_a_single_bit_differs() -> None:
    before = torch.zeros(3, 3, 4, 4)
    after = before.clone()
    after[1] = 2 / 255
    after[2, 0, 0, 0] = 1e-45
    changes = pixel_changes(before, after)
    assert changes[:2].tolist() == pytest.approx([0, 1])
    assert 0 < changes[2] < 1e-6
