"""`truncation`: the host's own remedy as a corrector, a baseline."""

from __future__ import annotations

import pytest
import torch
from generators import StyleGAN2Generator, images, latents
from prepared import SAMPLES
from torch import nn

from ganfix_plugin import GanfixError, attach


@pytest.mark.parametrize("psi", [0, 0.3, 0.7, 1])
def test_equals_the_hosts_own_truncation(stylegan2: nn.Module, psi: float) -> None:
    z = latents(stylegan2, 4)
    with torch.no_grad():
        expected = stylegan2(z, None, truncation_psi=psi, noise_mode="const")
    with attach(stylegan2, f"truncation:psi={psi}"):
        found = images(stylegan2, z)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)


def test_of_1_changes_nothing(stylegan2: nn.Module, face: nn.Module) -> None:
    for G in (stylegan2, face):
        z = latents(G, 4)
        before = images(G, z)
        with attach(G, "truncation:psi=1"):
            assert torch.equal(images(G, z), before)


def test_0_7_is_the_default(stylegan2: nn.Module) -> None:
    with attach(stylegan2, "truncation") as attachment:
        assert attachment.corrections[0].text == "truncation:psi=0.7"


def test_acts_on_w_that_scripts_hand_to_the_synthesis(stylegan2: nn.Module) -> None:
    ws = stylegan2.mapping(latents(stylegan2, 4), None)
    mean = stylegan2.mapping.w_avg
    with torch.no_grad():
        expected = stylegan2.synthesis(mean + 0.5 * (ws - mean), noise_mode="const")
        with attach(stylegan2, "truncation:psi=0.5"):
            by_place = stylegan2.synthesis(ws, noise_mode="const")
            by_name = stylegan2.synthesis(noise_mode="const", ws=ws)
    torch.testing.assert_close(by_place, expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(by_name, by_place)


def test_scales_z_where_there_is_no_mapping_network(face: nn.Module) -> None:
    z = latents(face, 4)
    expected = images(face, 0.7 * z)
    with attach(face, "truncation"):
        torch.testing.assert_close(images(face, z), expected, rtol=1e-6, atol=1e-6)


def test_pulls_genforce_s_w_towards_the_mean_one() -> None:
    G = StyleGAN2Generator()
    G.truncation.w_avg.fill_(0.5)
    z = latents(G, 3)
    with torch.no_grad():
        expected = G.synthesis(0.5 + 0.7 * (G.mapping(z) - 0.5))["image"]
    with attach(G, "truncation"):
        torch.testing.assert_close(images(G, z), expected)


def test_is_refused_where_the_latent_is_normalised(pggan: nn.Module) -> None:
    with pytest.raises(GanfixError, match="this generator normalises its latent"):
        attach(pggan, "truncation")


def test_a_psi_above_1_is_refused(stylegan2: nn.Module) -> None:
    with pytest.raises(GanfixError, match="psi is '1.5', expected a number from 0 to 1"):
        attach(stylegan2, "truncation:psi=1.5")


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_only_samples_that_pass_the_gate_are_truncated(
    stylegan2: nn.Module, noise_mode: str
) -> None:
    z = latents(stylegan2, 12)
    before = images(stylegan2, z, noise_mode)
    with attach(stylegan2, "truncation"):
        all_truncated = images(stylegan2, z, noise_mode)
    with attach(stylegan2, f"truncation:gate=lr:50%,samples={SAMPLES}") as attachment:
        found = images(stylegan2, z, noise_mode)
    corrected = (found != before).flatten(1).any(1)
    assert 0 < corrected.sum() < 12
    assert torch.equal(found[corrected], all_truncated[corrected])
    assert torch.equal(found[~corrected], before[~corrected])
    assert attachment.counts[0].corrected == corrected.sum()
