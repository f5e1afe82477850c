"""Counting activations and low-rate neurons while the generator runs only as deep as needed."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from generators import Noisy, dcgan, latents, numbered, recorded
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents, latent_batches
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.profiling.rates import count_active, lr_counts

CPU = torch.device("cpu")


def drawn(G: nn.Module, n: int, size: int, **options: Any) -> list[tuple[Tensor, Tensor | None]]:
    latents = Latents.of(Generator.of(G), **options)
    return list(latents.batches(n, size, CPU))


def slow_counts(G: nn.Module, batches: list[tuple[Tensor, Tensor | None]]) -> dict[str, Tensor]:
    """Full passes, hooks of torch's own, and one sample after the other."""
    generator = Generator.of(G)
    layers = generator.layers
    counts = {layer.name: torch.zeros(layer.channels, *layer.resolution).int() for layer in layers}
    for z, c in batches:
        with recorded(G, layers) as found, torch.no_grad():
            generator.synthesize(z, c)
        for name, x in found.items():
            for sample in x:
                counts[name] += (sample > 0).int()
    return counts


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in found
    )


@pytest.mark.slow
def test_counts_equal_a_plain_loop_over_full_passes(own_cache: Path, G: nn.Module) -> None:
    profile = ganfix.profile(G, layers="all", samples=50, scores=False, batch=16)
    assert equal(profile.counts, slow_counts(G, drawn(G, 50, 16)))
    assert all(count.dtype == torch.int32 for count in profile.counts.values())


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_counts_do_not_depend_on_the_batch_size(face: nn.Module, batch: int) -> None:
    generator, latents = Generator.of(face), Latents((100, 1, 1), 0)
    layers = generator.layers[:3]
    counts = count_active(generator, layers, latents, 60, batch)
    assert equal(counts, count_active(generator, layers, latents, 60, 32))


def test_more_than_255_activations_are_counted_in_one_batch() -> None:
    G = dcgan()
    with torch.no_grad():
        G[0].bias.fill_(1e3)
    found = count_active(Generator.of(G), numbered(G)[:1], Latents((8, 1, 1), 0), 300, batch=300)
    assert found["1"].min() == found["1"].max() == 300


def test_the_same_settings_give_the_same_counts_and_another_seed_others(
    own_cache: Path, face: nn.Module
) -> None:
    def counts(seed: int) -> Tensor:
        profile = ganfix.profile(face, layers="0", samples=40, seed=seed, scores=False)
        return profile.counts["main.2"]

    again = copy.deepcopy(counts(0))
    (path,) = own_cache.rglob("*-s0.safetensors")
    path.unlink()
    assert torch.equal(counts(0), again)
    assert not torch.equal(counts(1), again)


def test_a_generators_own_noise_is_drawn_by_the_seed_and_from_nobodys_stream(
    own_cache: Path,
) -> None:
    G = Noisy()

    def measure() -> Tensor:
        profile = ganfix.profile(G, layers=["second"], samples=40, scores=False)
        next(own_cache.rglob("*.safetensors")).unlink()
        return profile.counts["second"]

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = measure()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(measure(), first)


def test_a_corrected_generator_measures_as_if_it_were_not(own_cache: Path, face: nn.Module) -> None:
    plain = ganfix.profile(face, layers="all", samples=40, scores=False)
    next(own_cache.rglob("*.safetensors")).unlink()
    with ganfix.attach(face, "random:portion=90%"):
        corrected = ganfix.profile(face, layers="all", samples=40, scores=False)
    assert equal(corrected.counts, plain.counts)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_latents(face: nn.Module) -> None:
    class Weighed:
        """The adapter, with a look at all tensors that are alive at each pass."""

        def __init__(self, adapter: Adapter) -> None:
            self.adapter, self.alive = adapter, [0]

        def __getattr__(self, name: str) -> Any:
            return getattr(self.adapter, name)

        def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
            tensors = [each for each in gc.get_objects() if issubclass(type(each), Tensor)]
            self.alive.append(sum(each.numel() for each in tensors))
            return self.adapter.synthesize(G, z, c)

    def peak(samples: int) -> int:
        adapter = Weighed(Generator.of(face).adapter)
        count_active(
            Generator(face, adapter),  # type: ignore[arg-type]
            numbered(face)[:3],
            Latents((100, 1, 1), 0),
            samples,
            4,
        )
        return max(adapter.alive)

    gc.collect()
    assert peak(24) <= peak(8)


def test_conditional_generators_draw_labels(own_cache: Path, build_stylegan2: Any) -> None:
    G = build_stylegan2(c_dim=3)
    profile = ganfix.profile(G, layers="all", samples=40, scores=False, batch=8)
    batches = drawn(G, 40, 8)
    assert {int(label) for _, c in batches if c is not None for label in c.argmax(1)} == {0, 1, 2}
    assert equal(profile.counts, slow_counts(G, batches))


def test_conditional_generators_are_measured_on_one_class_if_asked(
    own_cache: Path,
    build_stylegan2: Any,
) -> None:
    G = build_stylegan2(c_dim=3)
    profiles = [
        ganfix.profile(G, layers="all", samples=40, class_index=k, scores=False, batch=8)
        for k in range(3)
    ]
    assert equal(profiles[1].counts, slow_counts(G, drawn(G, 40, 8, class_index=1)))
    assert not equal(profiles[0].counts, profiles[1].counts)


def test_a_class_that_is_not_there_is_refused(
    own_cache: Path, build_stylegan2: Any, pggan: nn.Module
) -> None:
    with pytest.raises(GanfixError, match="class=3: Generator has 3 classes"):
        ganfix.profile(build_stylegan2(c_dim=3), samples=8, class_index=3)
    with pytest.raises(GanfixError, match="class=0: PGGANGenerator has no classes"):
        ganfix.attach(pggan, "seqabl:class=0,samples=8")
    with pytest.raises(GanfixError, match="class=-1: Generator has 3 classes"):
        ganfix.profile(build_stylegan2(c_dim=3), samples=8, class_index=-1)
    assert not list(own_cache.rglob("*.safetensors"))


def test_no_latents_at_all_are_refused(own_cache: Path) -> None:
    with pytest.raises(GanfixError, match="samples=0: expected at least 1"):
        ganfix.profile(dcgan(), samples=0)
    assert not list(own_cache.rglob("*.safetensors"))


def test_lr_counts_equal_a_plain_count(face: nn.Module) -> None:
    layers = numbered(face)[:2]
    masks = [torch.rand(each.channels, *each.resolution) < 0.4 for each in layers]
    with recorded(face, layers) as found, torch.no_grad():
        face(drawn(face, 20, 20)[0][0])
    expected = [
        sum(int(((found[e.name][n] > 0) & mask).sum()) for e, mask in zip(layers, masks))
        for n in range(20)
    ]
    generator, low_rate = Generator.of(face), list(zip(layers, masks))
    batches = latent_batches(generator, Latents.of(generator), 20, 7, "scores")
    assert lr_counts(generator, low_rate, batches).tolist() == expected


def test_a_generator_in_training_mode_is_not_measured() -> None:
    G = dcgan().train()
    mean = G[3].running_mean.clone()
    for measure in (lambda: ganfix.profile(G), lambda: ganfix.detect(G, torch.randn(2, 8, 1, 1))):
        with pytest.raises(GanfixError, match=r"training mode; .* call G.eval\(\) first"):
            measure()
    assert torch.equal(G[3].running_mean, mean)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_generator_in_half_precision_can_be_measured(own_cache: Path, dtype: torch.dtype) -> None:
    whole = ganfix.profile(dcgan(), samples=300).counts
    G = dcgan().to(dtype)
    half = ganfix.profile(G, samples=300).counts
    for name, counts in whole.items():
        assert (counts - half[name]).abs().max() <= 10  # few activations are so near to zero
    assert ganfix.detect(G, latents(G, 4), samples=300).shape == (4,)
