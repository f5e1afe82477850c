"""Generators of no known family: called as their script does, or by a guess."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.entry import Latent
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.generators.replay import Replay, Seen, named, put
from ganfix_plugin.hooks.forward import Call, no_latent, what_is
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import bare

IMAGE_CHANNELS = (1, 3, 4)
_WIDTHS = ("z_dim", "latent_dim", "latent_size", "z_space_dim", "dim_z", "nz", "style_dim")
_CLASSES = ("c_dim", "n_classes", "num_classes", "label_size")


class Traced(Adapter):
    """Layers are the feature maps of one call by rising resolution, one of each: the last one
    computed there. They are numbered as they run; ``auto`` takes the first three."""

    name = "traced"
    title = "any generator, by the feature maps of one call"
    first_three = True

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.entry = replay.steps[-1].name
        self.styled = len(replay.steps) > 1 or not replay.drawn

    def latent(self, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Latent:
        """At the place where it was in the call that was traced."""
        call, place = named(entry, (args, kwargs)), self.replay.steps[-1].place
        x: Any = call
        with suppress(KeyError, IndexError, TypeError):
            for key in place:
                x = x[key]
        if not isinstance(x, Tensor):
            raise no_latent(type(entry).__name__, x)
        return Latent(x, self.styled, lambda new: put(call, place, new))

    def mean_latent(self, G: Any) -> Tensor | None:
        declared = inspect.signature(G.get_submodule(self.entry).forward).parameters
        first = self.replay.steps[-1].place == (1, next(iter(declared), ""))
        return torch.zeros(self.replay.latent_shape) if first and not self.styled else None

    def layers(self, G: Any) -> tuple[Layer, ...]:
        """Raises a GanfixError where the maps of the call do not rise up to an image."""
        view, outputs, runs = bare(G), list[tuple[str, Any]](), dict[str, int]()

        def note(name: str) -> Any:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                runs[name] = runs.get(name, 0) + 1
                item, x = feature_map(output)
                if x is not None:
                    outputs.append((name, (item, tuple(x.shape[1:]))))

            return hook

        for name, module in view.named_modules():
            if name:
                module.register_forward_hook(note(name))
        z = torch.randn(2, *self.replay.latent_shape, generator=torch.Generator().manual_seed(0))
        output = self.replay(view, z.to(self.replay.latents))
        image = Layer(-1, "", (0, 0), 0, image_item(output)).read(output)
        if not is_image(image):
            raise GanfixError(f"it returns {what_is(output)}, expected an image")
        by_size: dict[int, Layer] = {}
        for name, (item, (units, height, width)) in outputs:
            size = height * width
            fits = units not in IMAGE_CHANNELS and max(height, width) >= 4 and runs[name] == 1
            if fits and size >= max(by_size, default=0) and size <= math.prod(image.shape[2:]):
                by_size[size] = Layer(0, name, (height, width), units, item)
        if len(by_size) < 2:
            raise GanfixError("its feature maps do not rise to an image")
        return tuple(replace(layer, index=i) for i, layer in enumerate(by_size.values()))


def guessed(G: nn.Module) -> Iterator[Replay]:
    """Calls that a generator may take, of two latents, where no script has shown one."""
    like = next(G.parameters(), torch.zeros(()))
    widths = [getattr(G, name, None) for name in _WIDTHS]
    shapes: list[tuple[int, ...]] = [(width,) for width in widths if isinstance(width, int)]
    shapes += filter(None, [first_width(G)])
    classes = [int(getattr(G, name, 0) or 0) for name in _CLASSES]
    for shape in dict.fromkeys(shapes):
        z = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0)).to(like)
        numbers = torch.arange(64, device=z.device) % max(1, *classes)
        conditions = [z.new_zeros(64, max(classes)), numbers]
        calls: list[Call] = [((z,), {}), *(((z, c), {}) for c in conditions), (([z],), {})]
        for call in calls:
            if replay := Seen({"": call}).replay(G, "", shape, {}):
                yield replay


def first_width(G: nn.Module) -> tuple[int, ...] | None:
    """What the first linear layer or convolution takes: (z,) or (z, 1, 1); None without one, or
    where it takes an image, as that of an encoder does."""
    for module in G.modules():
        if isinstance(module, nn.Linear):
            return (module.in_features,)
        if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
            takes_image = isinstance(module, nn.Conv2d) and module.in_channels in IMAGE_CHANNELS
            return None if takes_image else (module.in_channels, 1, 1)
    return None


def feature_map(output: Any) -> tuple[int | str | None, Tensor | None]:
    """The first feature map [N, C, H, W] in what a module returned, and where it is."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(output, Tensor):
        items = [(None, output)]
    elif isinstance(output, dict):
        items = list(output.items())
    elif isinstance(output, list | tuple):
        items = list(enumerate(output))
    maps = ((item, x) for item, x in items if isinstance(x, Tensor) and x.dim() == 4)
    return next(maps, (None, None))


def image_item(output: Any) -> int | str | None:
    """Where the image is in what a generator returned, the largest one where it returned it in
    several sizes; None where it is the image, or has none."""
    if isinstance(output, dict) and is_image(output.get("image")):
        return "image"
    items: Any = output.items() if isinstance(output, dict) else enumerate(output)
    if isinstance(output, Tensor):
        return None
    images = [(math.prod(x.shape[2:]), item) for item, x in items if is_image(x)]
    return max(images, key=lambda image: image[0], default=(0, None))[1]


def is_image(x: Any) -> bool:
    """Whether something is a batch of images [N, 1, 3 or 4, H, W]."""
    return isinstance(x, Tensor) and x.dim() == 4 and x.shape[1] in IMAGE_CHANNELS
