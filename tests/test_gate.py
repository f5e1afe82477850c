"""`gate=`: only samples that an uncorrected early-exit pass finds suspicious are corrected."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from generators import hooks, images, latents, numbered, recorded
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError, attach
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.spec import LayerChoice

pytestmark = pytest.mark.filterwarnings("ignore:seqabl")

SPEC = "seqabl:rate=0.3,samples=200"
NOISE = pytest.mark.parametrize("noise_mode", ["const", "random"])


def passing(G: nn.Module, z: Tensor, quantile: float) -> Tensor:
    """Which latents score above a quantile of the generator's own scores."""
    generator = Generator.of(G)
    defaults = generator.select(LayerChoice())
    threshold = ganfix.profile(G, samples=200).score_at(quantile, defaults)
    return ganfix.detect(G, z, samples=200) > threshold


@NOISE
def test_rows_below_the_gate_are_bit_identical_to_the_uncorrected_run(
    G: nn.Module, noise_mode: str
) -> None:
    z = latents(G, 12)
    before = images(G, z, noise_mode)
    with attach(G, SPEC):
        everything = images(G, z, noise_mode)
    with attach(G, f"{SPEC},gate=lr:50%") as attachment:
        gated = images(G, z, noise_mode)
    corrected = (gated != before).flatten(1).any(1)
    assert 0 < corrected.sum() < 12
    assert torch.equal(gated[~corrected], before[~corrected])
    assert torch.equal(gated[corrected], everything[corrected])
    assert attachment.counts[0].corrected == corrected.sum()


def test_the_samples_that_score_above_the_threshold_are_corrected(G: nn.Module) -> None:
    z = latents(G, 12)
    before = images(G, z)
    with attach(G, f"{SPEC},gate=lr:50%"):
        corrected = (images(G, z) != before).flatten(1).any(1)
    assert torch.equal(corrected, passing(G, z, 0.5))


@pytest.mark.slow
def test_about_the_share_above_the_quantile_of_fresh_latents_passes(G: nn.Module) -> None:
    with attach(G, f"{SPEC},gate=lr:70%") as attachment:
        for seed in range(4):
            images(G, latents(G, 100, seed=100 + seed))
        count = attachment.counts[0]
    assert count.samples == 400
    assert 0.2 < count.corrected / count.samples < 0.4


def test_a_count_is_an_absolute_threshold_and_needs_no_scores(
    own_cache: Any, face: nn.Module
) -> None:
    z = latents(face, 12)
    before = images(face, z)
    scores = ganfix.detect(face, z, samples=200)
    count = int(scores.median())
    with attach(face, f"{SPEC},gate=lr:{count}"):
        corrected = (images(face, z) != before).flatten(1).any(1)
    assert torch.equal(corrected, scores > count)
    assert ganfix.profile(face, samples=200, scores=False).lr_scores is None


def test_a_gate_that_lets_nobody_pass_is_no_failure(G: nn.Module) -> None:
    z = latents(G, 4)
    before = images(G, z)
    with attach(G, f"{SPEC},gate=lr:10000000") as attachment:
        assert torch.equal(images(G, z), before)
        attachment.check()
        assert attachment.summary().endswith("0 of 4 samples corrected")


def test_the_gate_scores_by_the_same_noise_as_the_image_is_made_with(stylegan2: nn.Module) -> None:
    generator = Generator.of(stylegan2)
    defaults = generator.auto
    profile = ganfix.profile(stylegan2, samples=200)
    z = latents(stylegan2, 24)
    with recorded(stylegan2, defaults) as found:
        before = images(stylegan2, z, "random")
    scores = sum(
        ((found[each.name] > 0) & profile.low_rate(each, 0.1)).flatten(1).sum(1)
        for each in defaults
    )
    threshold = int(scores.float().median())
    with attach(stylegan2, f"{SPEC},gate=lr:{threshold}"):
        corrected = (images(stylegan2, z, "random") != before).flatten(1).any(1)
    assert torch.equal(corrected, scores > threshold)


def test_hooks_of_others_run_once_per_call_and_see_the_corrected_pass(G: nn.Module) -> None:
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda m, a, o, name=name: ran.append(name))
        for name, module in G.named_modules()
    ]
    images(G, latents(G, 2))
    expected = list(ran)
    ran.clear()
    with attach(G, f"{SPEC},gate=lr:50%"):
        images(G, latents(G, 2))
    for handle in handles:
        handle.remove()
    assert ran == expected


def test_scripts_that_call_the_synthesis_themselves_are_gated_too(stylegan2: nn.Module) -> None:
    ws = stylegan2.mapping(latents(stylegan2, 12), None, truncation_psi=0.9)
    ws[:, 4:] = ws[0, 4:]  # style mixing
    before = stylegan2.synthesis(ws, noise_mode="const")
    with attach(stylegan2, f"{SPEC},gate=lr:50%") as attachment:
        by_keyword = stylegan2.synthesis(ws=ws, noise_mode="const")
        assert torch.equal(stylegan2.synthesis(ws, noise_mode="const"), by_keyword)
    corrected = (by_keyword != before).flatten(1).any(1)
    assert attachment.counts[0].corrected == 2 * corrected.sum()
    assert 0 < corrected.sum() < 12
    assert torch.equal(by_keyword[~corrected], before[~corrected])


def test_whether_a_sample_passes_does_not_depend_on_its_batch(face: nn.Module) -> None:
    z = latents(face, 12)
    with attach(face, f"{SPEC},gate=lr:50%") as attachment:
        images(face, z)
        together = attachment.counts[0].corrected
        for n in range(12):
            images(face, z[n : n + 1])
    assert attachment.counts[0].corrected == 2 * together


def test_each_correction_has_its_own_gate(face: nn.Module) -> None:
    z = latents(face, 12)
    few, many = passing(face, z, 0.8), passing(face, z, 0.2)
    assert few.sum() < many.sum()
    before = images(face, z)
    with attach(face, f"{SPEC},gate=lr:20%", "random:gate=lr:80%,samples=200") as attachment:
        after = images(face, z)
        assert [count.corrected for count in attachment.counts] == [many.sum(), few.sum()]
    assert torch.equal((after != before).flatten(1).any(1), many)


def test_any_corrector_can_be_gated_whatever_its_layers(face: nn.Module) -> None:
    z = latents(face, 12)
    before = images(face, z)
    with attach(face, "random:layers=3,gate=lr:50%,samples=200"):
        corrected = (images(face, z) != before).flatten(1).any(1)
    assert torch.equal(corrected, passing(face, z, 0.5))


def test_a_layer_called_outside_the_entry_is_refused(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 4)
    ws = stylegan2.mapping(z, None)[:, :2]
    outside = (
        r"synthesis.b4.conv1 ran outside a call that the correction has seen; call the generator"
    )
    with attach(stylegan2, f"{SPEC},gate=lr:50%"):
        with pytest.raises(GanfixError, match=outside) as error:
            stylegan2.synthesis.b4(None, None, ws)
        assert "\n" not in str(error.value)
        images(stylegan2, z)
        with pytest.raises(GanfixError, match=outside):
            stylegan2.synthesis.b4(None, None, ws)


def test_what_a_failed_call_scored_is_not_used_by_the_next(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 4)
    ws = stylegan2.mapping(z, None)[:, :2]
    last = stylegan2.synthesis.b32.register_forward_hook(lambda *_: 1 / 0)
    with attach(stylegan2, f"{SPEC},gate=lr:50%"):
        with pytest.raises(ZeroDivisionError):
            images(stylegan2, z)
        with pytest.raises(GanfixError, match="ran outside a call that the correction has seen"):
            stylegan2.synthesis.b4(None, None, ws)
    last.remove()


def test_the_gate_hooks_the_entry_and_goes_with_the_attachment(stylegan2: nn.Module) -> None:
    with attach(stylegan2, f"{SPEC},gate=lr:50%"):
        assert ("synthesis", "_forward_pre_hooks") in hooks(stylegan2)
        assert not any(name == "" for name, _ in hooks(stylegan2))
    assert not hooks(stylegan2)


def test_a_gated_none_measures_but_changes_nothing(face: nn.Module) -> None:
    z = latents(face, 4)
    before = images(face, z)
    with attach(face, "none:gate=lr:50%,samples=200") as attachment:
        assert torch.equal(images(face, z), before)
        attachment.check()


def test_gradients_reach_the_rows_on_both_sides_of_the_gate(face: nn.Module) -> None:
    z = latents(face, 12).requires_grad_()
    plain = torch.autograd.grad(face(z).square().sum(), z)[0]
    with attach(face, f"{SPEC},gate=lr:50%"):
        gated = torch.autograd.grad(face(z).square().sum(), z)[0]
    rows = passing(face, z.detach(), 0.5)
    assert gated.flatten(1).any(1).all()
    assert torch.equal(gated[~rows], plain[~rows])
    assert not torch.equal(gated[rows], plain[rows])


def test_the_layers_of_the_gate_are_those_of_the_adapter_whatever_is_corrected(
    own_cache: Any, pggan: nn.Module
) -> None:
    attach(pggan, "seqabl:layers=0,lowest=30%,samples=20,gate=lr:50%").detach()
    profile = ganfix.profile(pggan, samples=20)
    assert profile.scored == ("layer1", "layer3", "layer5")
    assert set(profile.counts) == {"layer0", *profile.scored}
    assert len(numbered(pggan)) == 8
