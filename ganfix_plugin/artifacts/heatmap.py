"""Where in an image its low-rate neurons are active: Choi, Chang, Choi, IJCAI 2022, section 4.1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept


def lr_heatmap(
    generator: Generator,
    low_rate: Sequence[tuple[Layer, Tensor]],
    z: Tensor,
    c: Tensor | None = None,
    size: int = 64,
) -> Tensor:
    """Heat maps of latents, without rendering them.

    Per layer the share of a pixel's channels that are activated LR-neurons, upsampled bilinearly to
    the image and averaged over the layers.

    Args:
        low_rate: layers with bool [C, H, W] at their LR-neurons.
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

    layers = [layer for layer, _ in low_rate]
    with random_state_kept(generator.G, seed=0):  # the noise of `features.render`
        generator.observe(layers, z, c, visit)
    return torch.stack(maps).mean(dim=0)[:, 0].cpu()
