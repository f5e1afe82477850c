"""What is measured on a CPU is measured apart from styles, unless by the host's own arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin.commands.group import main
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.nvidia import StyleGAN2

HOST = Path(__file__).parents[1] / "examples" / "stylegan2_small"


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The views that are told to compute apart from styles, and with the call's own noise, which
    the trial call of an adapter is not."""
    views: list[Any] = []
    make_quick = StyleGAN2.make_quick

    def told(self: StyleGAN2, entry: Any, quiet: bool = False) -> None:
        views.extend([] if quiet else [entry])
        make_quick(self, entry, quiet)

    monkeypatch.setattr(StyleGAN2, "make_quick", told)
    yield views


def latents(G: nn.Module) -> torch.Tensor:
    return torch.randn(4, G.z_dim, generator=torch.Generator().manual_seed(3))  # type: ignore[call-overload]


def test_a_profile_is_measured_apart_from_styles(
    stylegan2: nn.Module, own_cache: Path, unfused: list[Any]
) -> None:
    ganfix.profile(stylegan2, samples=40)
    assert unfused and not any(view is stylegan2.synthesis for view in unfused)


def test_an_exact_profile_is_the_hosts_own_arithmetic_and_kept_apart(
    stylegan2: nn.Module, own_cache: Path, unfused: list[Any]
) -> None:
    exact = ganfix.profile(stylegan2, samples=40, exact=True)
    assert not unfused and exact.settings.exact
    assert "exact=True" in exact.text
    quick = ganfix.profile(stylegan2, samples=40)
    assert unfused and "exact" not in quick.text
    assert len(list(own_cache.rglob("*.safetensors"))) == 2
    layer, count = next(iter(exact.counts.items()))
    assert (count - quick.counts[layer]).abs().float().mean() < 0.01


def test_latents_are_scored_apart_from_styles_or_exactly(
    stylegan2: nn.Module, own_cache: Path, unfused: list[Any]
) -> None:
    exact = ganfix.detect(stylegan2, latents(stylegan2), samples=40, exact=True)
    assert not unfused
    quick = ganfix.detect(stylegan2, latents(stylegan2), samples=40)
    assert unfused and (exact - quick).abs().max() <= 3


@pytest.mark.parametrize(("key", "apart"), [("", True), (",exact=yes", False)])
def test_gates_count_apart_from_styles_or_exactly_and_images_stay(
    stylegan2: nn.Module, own_cache: Path, unfused: list[Any], key: str, apart: bool
) -> None:
    plain = stylegan2(latents(stylegan2), None, noise_mode="const")
    with ganfix.attach(stylegan2, f"seqabl:samples=40,gate=lr:100%{key}"):
        unfused.clear()
        gated = stylegan2(latents(stylegan2), None, noise_mode="const")
    assert bool(unfused) is apart
    assert torch.equal(gated, plain)


def test_commands_measure_exactly_when_asked(
    network_pickle: Path, own_cache: Path, unfused: list[Any]
) -> None:
    network = [f"--network={network_pickle}", "--host", str(HOST), "--device=cpu"]
    done = CliRunner().invoke(main, ["profile", *network, "--samples=40", "--exact"])
    assert done.exit_code == 0, done.output
    assert not unfused
    (file,) = own_cache.rglob("*.safetensors")
    assert file.stem.endswith("-exact")


def refuses(x: torch.Tensor) -> torch.Tensor:
    raise TypeError("this variant has no such kernels")


@pytest.mark.parametrize("change", [torch.neg, refuses])
def test_a_variant_that_computes_otherwise_apart_from_styles_is_measured_by_its_own_arithmetic(
    stylegan2: Any, own_cache: Path, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    G = copy.deepcopy(stylegan2)
    own = G.synthesis.b4.conv1.forward

    def forward(x: Any, w: Any, fused_modconv: bool = True, **more: Any) -> torch.Tensor:
        y: torch.Tensor = own(x, w, fused_modconv=fused_modconv, **more)
        return y if fused_modconv else change(y)

    G.synthesis.b4.conv1.forward = forward
    assert Generator.of(stylegan2).unfuses and not Generator.of(G).unfuses
    counts, exact = (ganfix.profile(G, samples=40, exact=way).counts for way in (False, True))
    assert all(torch.equal(counts[layer], exact[layer]) for layer in exact)
