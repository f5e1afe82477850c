"""NVIDIA's generators: StyleGAN2 (stylegan2-ada-pytorch, stylegan3) and StyleGAN3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.generators.modulation import demodulated
from ganfix_plugin.hooks.layer import Layer


class _Nvidia(Adapter):
    width = "z_dim"
    classes = "c_dim"
    quiet: Mapping[str, Any] = {"noise_mode": "const"}

    def mean_latent(self, G: Any) -> Tensor | None:
        mean: Tensor | None = getattr(G.mapping, "w_avg", None)
        # StyleGAN-XL keeps one mean per class, and truncates towards that.
        return mean if mean is None or mean.dim() == 1 else None

    def synthesize(self, G: Any, z: Tensor, c: Tensor | None) -> Tensor:
        c = z.new_zeros(len(z), 0) if c is None else c
        # The default, random noise, would make what is measured depend on where the pass ends.
        images: Tensor = G(z, c, noise_mode="const")
        return images


class StyleGAN2(_Nvidia):
    """Layers are the modulated convolutions of each block but for the one to RGB: 0 is b4.conv1;
    2k−1 and 2k are conv0 (upsampling) and conv1 of b{4·2^k}. StyleGAN-T has others, and more."""

    name = "nvidia-stylegan2"
    title = "StyleGAN2 of NVIDIA's stylegan2-ada-pytorch and stylegan3"
    unfused = {"fused_modconv": False}

    def matches(self, G: Any) -> bool:
        synthesis = getattr(G, "synthesis", None)
        return hasattr(synthesis, "block_resolutions") and hasattr(G, "mapping")

    def unfuse(self, entry: Any) -> Mapping[str, Any]:
        _exchange(entry, demodulated_after, _demodulates)
        return self.unfused

    def layers(self, G: Any) -> tuple[Layer, ...]:
        convolutions = [
            (f"synthesis.b{size}.{name}", size, module.bias.shape[0])
            for size in G.synthesis.block_resolutions
            for name, module in getattr(G.synthesis, f"b{size}").named_modules()
            if hasattr(module, "affine") and hasattr(module, "bias") and "rgb" not in name
        ]
        return tuple(
            Layer(i, name, (size, size), units, modulated=True)
            for i, (name, size, units) in enumerate(convolutions)
        )


class StyleGAN3(_Nvidia):
    """Layer i is the i-th of ``synthesis.layer_names``, without the last one, ToRGB."""

    name = "nvidia-stylegan3"
    title = "StyleGAN3 of NVIDIA's stylegan3, StyleGAN-XL"
    first_three = True  # feature maps carry a margin and start at a sampling rate of 16

    def matches(self, G: Any) -> bool:
        synthesis = getattr(G, "synthesis", None)
        return hasattr(synthesis, "layer_names") and hasattr(synthesis, "input")

    def layers(self, G: Any) -> tuple[Layer, ...]:
        layers = []
        for i, name in enumerate(G.synthesis.layer_names[:-1]):
            module = getattr(G.synthesis, name)
            width, height = map(int, module.out_size)
            size, units = (height, width), int(module.out_channels)
            layers.append(Layer(i, f"synthesis.{name}", size, units, modulated=True))
        return tuple(layers)

    def unfuse(self, entry: Any) -> Mapping[str, Any]:
        _exchange(entry, lambda _: unfused, _same_arguments)
        return self.unfused


def unfused(
    x: Tensor,
    w: Tensor,
    s: Tensor,
    demodulate: bool = True,
    padding: int | tuple[int, int] = 0,
    input_gain: Tensor | None = None,
) -> Tensor:
    """StyleGAN3's modulated convolution, with styles on its input and output instead of in kernels
    of each sample's own; equal up to rounding.

    Args:
        x: [N, I, H, W]; ``w`` kernels [O, I, k, k]; ``s`` styles [N, I].
        input_gain: of the input's units: [], [I] or [N, I].
    """
    if demodulate:
        w = w * w.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        s = s * s.square().mean(dim=1, keepdim=True).rsqrt()
    gains = s if input_gain is None else s * input_gain
    y = conv2d(x * gains.to(x.dtype)[:, :, None, None], w.to(x.dtype), padding=padding)
    if not demodulate:
        return y
    return demodulated(y, w, s)


def demodulated_after(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """StyleGAN2's modulated convolution, from the host's own. That finds out by how much to
    demodulate from kernels of each sample's own, even where it does not convolve with them."""

    def convolution(
        x: Tensor,
        weight: Tensor,
        styles: Tensor,
        noise: Tensor | None = None,
        *,
        demodulate: bool = True,
        fused_modconv: bool = False,
        **others: Any,
    ) -> Tensor:
        how = {**others, "fused_modconv": fused_modconv}
        # Half precision is normalised beforehand, where it demodulates.
        if fused_modconv or not demodulate or x.dtype == torch.float16:
            return original(x, weight, styles, noise, demodulate=demodulate, **how)
        y = original(x, weight, styles, demodulate=False, **how)
        y = demodulated(y, weight, styles)
        return y if noise is None else y + noise.to(y.dtype)

    return convolution


_CONVOLUTION = "modulated_conv2d"  # in the modules in which NVIDIA's layers are defined


def _exchange(
    entry: nn.Module,
    other: Callable[[Callable[..., Tensor]], Callable[..., Tensor]],
    fit: Callable[[Sequence[str]], bool],
) -> None:
    """Have the layers of a view of the entry call another convolution, made of the host's, in the
    place of one whose arguments ``fit``."""
    for module in entry.modules():
        forward = type(module).forward
        original = getattr(forward, "__globals__", {}).get(_CONVOLUTION)
        used = _CONVOLUTION in getattr(getattr(forward, "__code__", None), "co_names", ())
        if used and "forward" not in vars(module) and original and fit(_arguments(original)):
            names = {**forward.__globals__, _CONVOLUTION: other(original)}
            code, defaults = forward.__code__, forward.__defaults__
            copy = FunctionType(code, names, forward.__name__, defaults, forward.__closure__)
            module.forward = MethodType(copy, module)


def _same_arguments(names: Sequence[str]) -> bool:
    """Whether a function of a host takes what `unfused` takes."""
    return names == list(signature(unfused).parameters)


def _demodulates(names: Sequence[str]) -> bool:
    """Whether a function of a host takes what `demodulated_after` hands on."""
    first = ["x", "weight", "styles", "noise"]
    return names[:4] == first and {"demodulate", "fused_modconv"} <= set(names)


def _arguments(function: FunctionType) -> list[str]:
    """What a function takes, or the one that NVIDIA's profiling has wrapped in it."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    wrapped = [inside for inside in cells if isinstance(inside, FunctionType)]
    return list(signature(wrapped[0] if wrapped else function).parameters)
