"""Where in images the units lie by which an artifact is told, found without rendering them.

[C22]: Choi, Chang, Choi, IJCAI 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.replay import one_each
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept
from ganfix_plugin.profiling.probe import Probe
from ganfix_plugin.profiling.rates import LowRate
from ganfix_plugin.profiling.unit_means import Reader, entry_call

SURE = 0.7  # the share of the population for whose images a probe has nothing to show
UNITS = 20  # of each sample, those that add most to its score


def lr_heatmap(
    generator: Generator, low_rate: LowRate, z: Tensor, c: Tensor | None = None, size: int = 64
) -> Tensor:
    """Where in images low-rate neurons are active ([C22], 4.1), without rendering them.

    Per layer the share of a pixel's channels that are activated LR-neurons, upsampled bilinearly to
    the image and averaged over the layers.

    Args:
        z: latents [N, …] on the generator's device; ``c`` their one-hot classes, if it has any.
        size: height and width of the maps, the image's as a rule.

    Returns:
        float32 [N, size, size] in [0, 1], on the CPU.
    """
    maps: list[Tensor] = []
    neurons = {layer.name: mask for layer, mask in low_rate}

    def visit(layer: Layer, x: Tensor) -> None:
        active = (x > 0) & neurons[layer.name].to(x.device)
        share = active.float().mean(dim=1, keepdim=True)
        maps.append(interpolate(share, size=(size, size), mode="bilinear", align_corners=False))

    with random_state_kept(generator.G, seed=0):  # the noise of `features.render`
        generator.observe([layer for layer, _ in low_rate], z, c, visit)
    return torch.stack(maps).mean(dim=0)[:, 0].cpu()


def probe_heatmap(
    generator: Generator,
    reader: Reader,
    probe: Probe,
    z: Tensor,
    c: Tensor | None = None,
    size: int = 64,
) -> Tensor:
    """Where in images the units lie by which a probe tells artifacts.

    A unit adds weight · (mean − μ) / σ to a sample's score. Of the `UNITS` that add most, these
    terms are shown pixel by pixel, as weight · (map − μ) / σ, upsampled bilinearly and summed; what
    is below 0 is left out. Samples whose score is not above the `SURE` quantile of the generator's
    own stay all 0.

    Args:
        z: latents [N, …] on the generator's device; ``c`` their one-hot classes, if it has any.
        size: height and width of the maps.

    Returns:
        float32 [N, size, size] from 0 on, on the CPU.
    """
    maps: list[Tensor] = []
    call = entry_call(generator, lambda view: generator.synthesize(z, c, view))
    with torch.no_grad():
        reader.visit(*call, lambda _, x: maps.append(one_each(x, z).float().relu()))
    means = torch.cat([x.mean(dim=(2, 3)) for x in maps], dim=1)
    weight, mean = (probe.weight / probe.deviation).to(means), probe.mean.to(means)
    loudest = (weight * (means - mean)).topk(min(UNITS, len(weight)), dim=1).indices
    chosen = torch.zeros_like(means).scatter_(1, loudest, 1.0) * weight
    heat = means.new_zeros(len(means), 1, size, size)
    start = 0
    for x in maps:
        units = slice(start, start := start + x.shape[1])
        terms = torch.einsum("nc,nchw->nhw", chosen[:, units], x - mean[units, None, None])
        heat += interpolate(terms[:, None], (size, size), mode="bilinear", align_corners=False)
    classes = reader.classes(generator.adapter.latent(*call)).to(means)
    sure = probe.score(torch.cat([means, classes], dim=1)) > probe.threshold(
        torch.tensor([SURE])
    ).to(means)
    return (heat[:, 0].relu() * sure[:, None, None]).cpu()
