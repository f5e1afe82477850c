"""Run a generator only as deep as its layers are needed, past everybody's hooks.

Profiling, detection and the gate all look at feature maps of the *uncorrected* generator and never
at its image. They go through `observe`, which costs the time of the layers up to the deepest one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Stop, bare, shown

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Call = tuple[Args, Kwargs]
"""The positional and the keyword arguments of a call."""


def device_of(G: nn.Module) -> torch.device:
    """Where a generator's parameters are."""
    return next((tensor.device for tensor in G.parameters()), torch.device("cpu"))


def observe(
    root: nn.Module,
    layers: Sequence[Layer],
    visit: Callable[[Layer, Tensor], None],
    call: Callable[[nn.Module], Any],
    to_end: bool = False,
    gradients: bool = False,
) -> Any:
    """Call a hook-free view of ``root`` and show the feature maps of ``layers`` on the way.

    Args:
        layers: named relative to root; the pass ends when each of them has run once.
        visit: called with a layer and its feature map [N, C, H, W], which it must not change.
        call: runs the view, for example ``lambda G: G(z)``.
        to_end: go on to the image, and return what ``call`` returns.
        gradients: record what gradients with respect to what ``call`` hands in need.

    Raises:
        GanfixError: if the pass ended before every layer had run.
    """
    by_name = {layer.name: layer for layer in layers}

    def show(name: str, output: Any) -> None:
        x = by_name[name].read(output)
        check_size(by_name[name], x)
        visit(by_name[name], x)

    with torch.set_grad_enabled(gradients):
        result, left = shown(root, by_name, show, call, to_end)
    if left:
        raise GanfixError(
            f"{type(root).__name__}: layers {', '.join(sorted(left))} never ran in a forward pass; "
            "choose layers that this generator uses"
        )
    return result


def check_size(layer: Layer, x: Tensor) -> None:
    """Raises a GanfixError where a layer's feature map [N, C, H, W] has another number of units
    than when the layer was looked at: a generator may be told anew how wide to run."""
    if layer.channels and x.shape[1] != layer.channels:
        raise GanfixError(
            f"layer {layer.name} makes feature maps {list(x.shape[1:])}, and made "
            f"{[layer.channels, *layer.resolution]} in the call that corrections were made for; a "
            "generator can be corrected at one width: give each width a run of its own"
        )


def called_with(root: nn.Module, name: str, call: Callable[[nn.Module], Any]) -> Call:
    """What a module (dotted name, "" for the root itself) of a hook-free view of ``root`` is called
    with first; the pass ends there."""
    view, calls = bare(root), []

    def take(module: nn.Module, args: Args, kwargs: Kwargs) -> None:
        calls.append((args, kwargs))
        raise Stop

    view.get_submodule(name).register_forward_pre_hook(take, with_kwargs=True)
    with torch.no_grad(), suppress(Stop):
        call(view)
    return calls[0]


def what_is(x: Any) -> str:
    """A few words about what a module returned or is called with."""
    if isinstance(x, Tensor):
        return f"a tensor {list(x.shape)}"
    if isinstance(x, dict):
        return f"a dictionary of {', '.join(map(str, x))}"
    if isinstance(x, list | tuple):
        return f"{type(x).__name__} of {len(x)}"
    return "nothing" if x is None else type(x).__name__


def no_latent(who: str, x: Any) -> GanfixError:
    """That something else is where a latent would be, by which a call is to be corrected: several
    that are mixed, or None beside styles of each layer."""
    return GanfixError(
        f"{who}: found {what_is(x)} in the place of a latent; take a corrector of feature maps, "
        "such as seqabl without a gate"
    )
