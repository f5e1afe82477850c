"""What sequential ablation does, layer after layer and rate after rate ([C22], Figures 4 and 5).

[C22]: Choi, Chang, Choi, IJCAI 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Batch
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.correction import Correction
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Cap
from ganfix_plugin.pictures.palette import heat
from ganfix_plugin.pictures.sheet import Band, Row, pictured, sheet
from ganfix_plugin.profiling.profile import Profile

Neurons = Mapping[Layer, Tensor]


def layer_by_layer(
    generator: Generator,
    profile: Profile,
    layers: Sequence[Layer],
    rate: float,
    batch: Batch,
    names: Sequence[str],
    note: str,
) -> Image.Image:
    """[C22], Figure 4: per layer, an image's heat map of activated LR-neurons, the same after
    ablation up to the layer before, and the image after ablation up to this layer.

    Args:
        batch: (z, c) of the images to show; ``names``: theirs.
    """
    neurons = {layer: profile.low_rate(layer, rate) for layer in layers}
    # With no layer ablated, with the first one, with the first two, …
    runs = [
        _seen(generator, {layer: neurons[layer] for layer in layers[:end]}, neurons, batch)
        for end in range(len(layers) + 1)
    ]
    maps = runs[0][1]
    residues = [shares[end] for end, (_, shares) in enumerate(runs[:-1])]
    heads = ["layer {}, {}x{}".format(layer.index, *layer.resolution) for layer in layers]
    bands = []
    for place, name in enumerate(names):
        images = [pictures[place] for pictures, _ in runs]
        blank = Image.new("RGB", images[0].size, "white")
        high = max(float(shares[place].max()) for shares in maps)
        own, left = (
            [blank, *(heat(shares[place], 0, high) for shares in by_layer)]
            for by_layer in (maps, residues)
        )
        rows = [
            Row("LR heat map", "no ablation", own),
            Row("LR heat map", "ablated before it", left),
            Row("image", "ablated up to it", images),
        ]
        heading = f"{name} (bright is {high:.2g} of a pixel's channels)"
        bands.append(Band(heading, ["as generated", *heads], rows))
    return sheet("Sequential ablation, layer by layer", note, bands, 128)


def over_rates(
    generator: Generator,
    profile: Profile,
    layers: Sequence[Layer],
    rates: Sequence[float],
    batch: Batch,
    names: Sequence[str],
    note: str,
) -> Image.Image:
    """[C22], Figures 5 and 14: for each layer alone, and all in sequence, a row of images without
    their HR-neurons over several rates, above a row without their LR-neurons."""
    plain, _ = _seen(generator, {}, {}, batch)
    heads = ["as generated", *(f"R = {rate:g}" for rate in rates)]
    sets: list[Sequence[Layer]] = [[layer] for layer in layers]
    sets += [layers] if len(layers) > 1 else []
    bands = []
    for ablated in sets:
        columns: list[tuple[list[Image.Image], ...]] = [(plain, plain)]
        for rate in rates:
            low = {layer: profile.low_rate(layer, rate) for layer in ablated}
            high = {layer: ~neurons for layer, neurons in low.items()}
            columns.append(tuple(_seen(generator, cut, {}, batch)[0] for cut in (high, low)))
        numbers = "+".join(str(layer.index) for layer in ablated)
        what = "layer" if len(ablated) == 1 else "layers"
        for place, name in enumerate(names):
            lines = [
                Row("HR ablated", "rate above R", [images[place] for images, _ in columns]),
                Row("LR ablated", "rate up to R", [images[place] for _, images in columns]),
            ]
            bands.append(Band(f"{name}, {what} {numbers}", heads, lines))
    return sheet("Ablation of high- and low-rate neurons over rates", note, bands)


def _seen(
    generator: Generator, ablated: Neurons, watched: Neurons, batch: Batch
) -> tuple[list[Image.Image], list[np.ndarray]]:
    """Images with some neurons ablated, and in them the share of a pixel's channels that are
    activated among the watched neurons, by layer, [N, H, W] each at the images' size."""
    G, (z, c) = generator.G, batch
    shares: list[Tensor] = []

    def watch(layer: Layer, module: nn.Module, args: object, output: object) -> None:
        active = (layer.read(output) > 0) & watched[layer].to(z.device)
        shares.append(active.float().mean(dim=1, keepdim=True))

    edits = {layer: Cap(neurons) for layer, neurons in ablated.items()}
    with ExitStack() as hooks:
        # Hooks run in the order of their ids, so that what is watched is not ablated yet.
        for layer in watched:
            hook = G.get_submodule(layer.name).register_forward_hook(partial(watch, layer))
            hooks.enter_context(hook)
        hooks.enter_context(Attachment(G, [Correction("ablation", generator.entry, edits)]))
        images = render(generator, z, c, corrected=True)
    side = (images.shape[-1],) * 2
    maps = [interpolate(share, side, mode="bilinear", align_corners=False) for share in shares]
    return pictured(images), [share[:, 0].cpu().numpy() for share in maps]
