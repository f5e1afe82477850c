"""Generators that make several images of each latent, such as the frames of a video."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from edits import Dim
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import LatentList, latents_of
from ganfix_plugin.generators.replay import Seen, one_each
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.correction import SecondPassCorrection
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import lr_counts
from ganfix_plugin.profiling.store import ensure

FRAMES = 3


class Frames(nn.Module):
    """z [N, 8] and times [N, T] to images [N·T, 3, 16, 16], those of a latent one after the
    other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(9, 16 * 4 * 4)
        self.first = nn.Sequential(nn.Conv2d(16, 12, 3, padding=1), nn.LeakyReLU(0.2))
        self.second = nn.Sequential(nn.Conv2d(12, 8, 3, padding=1), nn.LeakyReLU(0.2))
        self.image = nn.Conv2d(8, 3, 1)
        self.eval()

    def forward(self, z: Tensor, times: Tensor) -> Tensor:
        frames = torch.cat([z.repeat_interleave(times.shape[1], dim=0), times.reshape(-1, 1)], 1)
        x = self.dense(frames).view(-1, 16, 4, 4)
        for block in (self.first, self.second):
            x = block(nn.functional.interpolate(x, scale_factor=2))
        images: Tensor = self.image(x)
        return images


TIMES = torch.arange(float(FRAMES)).repeat(4, 1) - 1


def latents(n: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def called(G: nn.Module) -> Generator:
    """As a script that renders three frames of four latents shows it."""
    return Generator.of(G, seen=Seen.of(G, lambda: G(latents(4), TIMES)))


def test_rates_are_shares_of_latents_and_a_stored_profile_is_read_again(own_cache: Any) -> None:
    generator = called(Frames())
    profile, path = ensure(generator, Settings(40), generator.layers)
    again = Profile.load(path).check(generator, path)
    for layer in generator.layers:
        rates = again.rates(layer)
        assert rates.max() <= 1
        torch.testing.assert_close(rates, profile.rates(layer))

    maps: list[Tensor] = []
    layer = generator.layers[-1]
    with torch.no_grad():
        z = latents(400, seed=3)
        hook = generator.G.second.register_forward_hook(lambda *call: maps.append(call[2]))  # type: ignore[union-attr]
        generator.G(z, TIMES[:1].repeat(400, 1))
        hook.remove()
    profile, _ = ensure(generator, Settings(2000), generator.layers)
    of_all = (maps[0] > 0).float().mean(dim=0)
    assert (profile.rates(layer) - of_all).abs().mean() < 0.03


def test_a_seed_is_one_image_and_one_score_whatever_its_batch(own_cache: Any) -> None:
    generator = called(Frames())
    assert generator.each == FRAMES
    z = latents_of(range(6), generator.latent_shape)
    profile, _ = ensure(generator, Settings(100), generator.layers)
    low_rate = profile.low_rates(generator.layers, 0.4)
    with torch.no_grad():
        together = generator.synthesize(z, None)
        alone = torch.cat([generator.synthesize(z[i : i + 1], None) for i in range(6)])
        frames = generator.G(z, TIMES[:1].repeat(6, 1)).unflatten(0, (6, FRAMES))
    assert together.shape == (6, 3, 16, 16)
    torch.testing.assert_close(together, alone)
    away = (frames - together[:, None]).abs().amax(dim=(2, 3, 4))
    assert (away.amin(dim=1) < 1e-5).all()  # each is one of the latent's own frames
    assert len(away.argmin(dim=1).unique()) > 1  # not the first of all

    batches = [LatentList(z, None).batches(generator, size) for size in (6, 1)]
    scores = [lr_counts(generator, low_rate, batch) for batch in batches]
    assert scores[0].shape == (6,) and torch.equal(*scores) and scores[0].unique().numel() > 1


@pytest.mark.parametrize(
    ("spec", "frames"),
    [
        ("seqabl:samples=64,lowest=40%", 18),
        ("seqabl:samples=64,lowest=40%,gate=lr:50%", 18),
        ("seqabl:samples=64,lowest=40%,gate=probe:50%", 18),
        ("steer:from=lr,samples=200", 6),  # latents, with all their frames
    ],
)
def test_every_frame_can_be_corrected(spec: str, frames: int, own_cache: Any) -> None:
    G, z = Frames(), latents(6, seed=5)
    times = TIMES[:1].repeat(6, 1)
    with torch.no_grad():
        plain = G(z, times)
        with ganfix.attach(G, spec, example=lambda: G(z, times)) as attachment:
            changed = (G(z, times) != plain).flatten(1).any(dim=1)
        assert torch.equal(G(z, times), plain)
    (count,) = attachment.counts
    assert count.samples == frames and count.corrected
    per_sample = changed.view(frames, -1).any(dim=1)
    assert per_sample.sum() == count.corrected


def test_a_second_pass_decides_frame_by_frame(own_cache: Any) -> None:
    G, z = Frames(), latents(6, seed=5)
    generator, times = called(G), TIMES[:1].repeat(6, 1)
    layer, brightness = generator.layers[0], list[Tensor]()
    hook = G.first.register_forward_hook(
        lambda *call: brightness.append(call[2].flatten(1).mean(dim=1))
    )
    with torch.no_grad():
        plain = G(z, times)
        hook.remove()
        with Attachment(G, [SecondPassCorrection("dim", generator.entry, Dim(layer))]):
            changed = (G(z, times) != plain).flatten(1).any(dim=1)
    assert torch.equal(changed, brightness[0] > brightness[0].mean())


def test_rows_that_belong_to_no_latent_are_refused() -> None:
    with pytest.raises(GanfixError, match="found 5 rows for 2 latents, expected as many of each"):
        one_each(torch.zeros(5, 3), torch.zeros(2, 8))
