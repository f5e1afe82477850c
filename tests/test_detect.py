"""`ganfix.detect`: how artifact-like each latent's image will be, which is not rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from generators import dcgan, images, latents, numbered, recorded
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError


def test_the_score_is_a_plain_count_of_activated_low_rate_neurons(G: nn.Module) -> None:
    z = latents(G, 16, seed=3)
    profile = ganfix.profile(G, samples=200)
    layers = [each for each in numbered(G) if each.name in profile.scored]
    with recorded(G, tuple(layers)) as found:
        images(G, z)
    expected = torch.zeros(16)
    for layer in layers:
        low = profile.counts[layer.name] <= 0.1 * 200
        for n in range(16):
            expected[n] += (found[layer.name][n][low] > 0).sum()
    assert torch.equal(ganfix.detect(G, z, samples=200), expected)


def test_rate_and_layers_can_be_chosen(face: nn.Module) -> None:
    z = latents(face, 8)
    counts = ganfix.profile(face, samples=200).counts["main.5"]
    with recorded(face, numbered(face)) as found:
        images(face, z)
    expected = ((found["main.5"] > 0) & (counts <= 60)).flatten(1).sum(1).float()
    assert torch.equal(ganfix.detect(face, z, rate=0.3, layers="8x8", samples=200), expected)


@pytest.mark.parametrize("batch", [1, 5, 200])
def test_scores_do_not_depend_on_the_batch_size(face: nn.Module, batch: int) -> None:
    z = latents(face, 40)
    expected = ganfix.detect(face, z, samples=200)
    assert torch.equal(ganfix.detect(face, z, samples=200, batch=batch), expected)


def test_what_scores_high_is_changed_more_by_ablation_than_what_scores_low(face: nn.Module) -> None:
    z = latents(face, 200, seed=7)
    order = ganfix.detect(face, z, samples=200).argsort(descending=True)
    before = images(face, z)
    with ganfix.attach(face, "seqabl:lowest=30%,layers=4x4+8x8,samples=200"):
        change = (images(face, z) - before).abs().flatten(1).mean(1)
    assert change[order[:20]].mean() > 2 * change[order[-20:]].mean()


def test_scores_are_floats_on_the_cpu_also_for_no_latents_at_all(face: nn.Module) -> None:
    scores = ganfix.detect(face, latents(face, 3)[:0], samples=200)
    assert scores.shape == (0,) and scores.dtype == torch.float32


def test_latents_may_be_float64_as_numpy_draws_them(face: nn.Module) -> None:
    z = latents(face, 6)
    expected = ganfix.detect(face, z, samples=200)
    assert torch.equal(ganfix.detect(face, z.double(), samples=200), expected)


def test_a_corrected_generator_is_scored_as_if_it_were_not(face: nn.Module) -> None:
    z = latents(face, 20)
    expected = ganfix.detect(face, z, samples=200)
    with ganfix.attach(face, "random:portion=90%"):
        assert torch.equal(ganfix.detect(face, z, samples=200), expected)


def test_the_random_state_and_the_latents_are_left_alone(face: nn.Module) -> None:
    z = latents(face, 4)
    copy, state = z.clone(), torch.get_rng_state()
    ganfix.detect(face, z, samples=200)
    assert torch.equal(z, copy) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("shape", [(4, 100), (4, 64, 1, 1), (100, 1, 1)])
def test_latents_of_another_shape_are_refused(face: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(GanfixError, match=r"latents: found \[.*\], expected \[N, 100, 1, 1\]"):
        ganfix.detect(face, torch.randn(shape))


def test_conditional_generators_are_scored_with_labels(build_stylegan2: Any) -> None:
    G = build_stylegan2(c_dim=3)
    z = torch.randn(6, 8)
    one, two = (torch.eye(3)[[k] * 6] for k in (1, 2))
    scores = ganfix.detect(G, z, one, samples=50)
    assert scores.shape == (6,)
    assert not torch.equal(scores, ganfix.detect(G, z, two, samples=50))


@pytest.mark.parametrize("labels", [None, torch.eye(3), torch.zeros(2, 4)])
def test_labels_of_another_shape_are_refused(build_stylegan2: Any, labels: Tensor | None) -> None:
    with pytest.raises(GanfixError, match=r"class_labels: found .*, expected one-hot \[2, 3\]"):
        ganfix.detect(build_stylegan2(c_dim=3), torch.randn(2, 8), labels)


def test_unknown_layers_are_refused_before_anything_is_measured(own_cache: Path) -> None:
    with pytest.raises(GanfixError, match="no layer 64x64; there are 0"):
        ganfix.detect(dcgan(), torch.randn(2, 8, 1, 1), layers="64x64")
    with pytest.raises(GanfixError, match="layers=top: expected auto, layer numbers"):
        ganfix.detect(dcgan(), torch.randn(2, 8, 1, 1), layers="top")
    assert not own_cache.exists()


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("layers", ["auto", "4x4+8x8"])
def test_by_the_probe_scores_are_those_that_its_gate_compares(
    face: nn.Module, batch: int, layers: str
) -> None:
    z = latents(face, 20)
    scores = ganfix.detect(face, z, by="probe", layers=layers, samples=200, batch=batch)
    with ganfix.attach(face, f"steer:layers={layers},samples=200,gate=probe:80%") as attachment:
        gate = attachment.corrections[0].gate
        assert gate is not None
        expected = gate.scorer(face, (z,), {})
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_a_score_that_needs_an_image_is_none_of_these(face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="by=realism: expected one of probe, lr"):
        ganfix.detect(face, latents(face, 2), by="realism")
