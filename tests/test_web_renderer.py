"""Images from the one thread that renders, and what is kept of them."""

from __future__ import annotations

import io
from threading import Thread

import numpy as np
import pytest
import torch
from generators import dcgan
from PIL import Image
from prepared import uncorrected
from torch import nn

from ganfix_plugin import attach
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.web.renderer import Picture, Renderer, drawing, encoded


def rendering(G: nn.Module, **options: int) -> Renderer[Picture]:
    renderer = Renderer(drawing(Generator.of(G)), **options)
    Thread(target=renderer.run, daemon=True).start()
    return renderer


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def by_hand(G: nn.Module, seed: int) -> np.ndarray:
    image = uncorrected(G, [seed])[0].permute(1, 2, 0)
    return (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy()


def test_corrected_and_uncorrected_images_of_one_generator_do_not_mix() -> None:
    G = dcgan()
    plain = by_hand(G, 3)
    with attach(G, "random:of=units,portion=50%"):
        corrected = by_hand(G, 3)
        renderer = rendering(G)
        for _ in range(2):
            assert np.array_equal(pixels(renderer.png(Picture(3))), plain)
            assert np.array_equal(pixels(renderer.png(Picture(3, corrected=True))), corrected)
    assert not np.array_equal(plain, corrected)


def test_images_for_a_grid_are_at_most_256_wide() -> None:
    large, small = torch.zeros(1, 3, 512, 512), torch.zeros(1, 1, 32, 32)
    assert pixels(encoded(large, small=True)).shape == (256, 256, 3)
    assert pixels(encoded(large)).shape == (512, 512, 3)
    assert pixels(encoded(small, small=True)).shape == (32, 32, 3)


def test_the_cache_stays_within_its_limit_and_keeps_what_was_used_last() -> None:
    G = dcgan()
    size = len(rendering(G).png(Picture(0)))
    renderer = rendering(G, limit=5 * size)
    for seed in range(40):
        renderer.png(Picture(seed))
        assert sum(map(len, renderer._cache.values())) <= 5 * size
    calls = _counted(G)
    renderer.png(Picture(39))
    assert calls == []
    renderer.png(Picture(0))
    assert calls == [1]


def test_what_was_prefetched_is_rendered_once_however_many_ask() -> None:
    G = dcgan()
    renderer = Renderer(drawing(Generator.of(G)))
    calls = _counted(G)
    wanted = [Picture(seed) for seed in range(5)]
    renderer.prefetch(wanted)
    renderer.prefetch(wanted)
    asking = [Thread(target=renderer.png, args=(wanted[4],)) for _ in range(3)]
    for thread in asking:
        thread.start()
    Thread(target=renderer.run, daemon=True).start()
    for thread in asking:
        thread.join()
    for picture in wanted:
        renderer.png(picture)
    assert calls == [1] * 5


def test_who_waits_comes_before_what_is_prefetched_and_before_the_learner() -> None:
    G = dcgan()
    order: list[str] = []
    renderer = Renderer(drawing(Generator.of(G)))
    threads = [Thread(target=lambda: (renderer.idle(int), order.append("idle")))]
    threads[0].start()
    while not renderer._jobs:
        pass
    renderer.prefetch([Picture(1)])
    renderer._pending[Picture(1)].add_done_callback(lambda _: order.append("soon"))
    threads.append(Thread(target=lambda: renderer.png(Picture(2))))
    threads[1].start()
    while len(renderer._jobs) < 3:
        pass
    renderer._pending[Picture(2)].add_done_callback(lambda _: order.append("now"))
    Thread(target=renderer.run, daemon=True).start()
    for thread in threads:
        thread.join()
    assert order == ["now", "soon", "idle"]


def test_an_image_that_cannot_be_rendered_fails_alone() -> None:
    class Fails(nn.Sequential):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            if self.broken:
                raise RuntimeError("out of memory")
            return super().forward(z)

    G = Fails(*dcgan()).eval()
    G.broken = False  # type: ignore[assignment]
    renderer = rendering(G)
    G.broken = True  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="out of memory"):
        renderer.png(Picture(0))
    G.broken = False  # type: ignore[assignment]
    assert renderer.png(Picture(0))


def _counted(G: nn.Module) -> list[int]:
    """The batch sizes of the generator's passes from now on; counted in a layer, since uncorrected
    images run past hooks."""
    calls: list[int] = []
    forward = G[0].forward
    G[0].forward = lambda x: calls.append(len(x)) or forward(x)  # type: ignore[method-assign, operator]
    return calls
