"""Which adapter knows a generator, and what a trial call shows of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin import registry
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.generators.replay import Replay, Seen, extras
from ganfix_plugin.generators.traced import Traced, feature_map, guessed, image_item
from ganfix_plugin.hooks.forward import device_of, what_is
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import random_state_kept, shown, uncompiled

log = logging.getLogger("ganfix")

_TRIED = 2  # latents in a trial of a script's own call
_COMPARED = 2  # layers, one of which doubles the resolution, with and without fused kernels


def unwrap(G: Any) -> nn.Module:
    """The generator inside DataParallel, DistributedDataParallel and torch.compile's wrapper."""
    if not isinstance(G, nn.Module):
        raise GanfixError(f"expected a generator (torch.nn.Module), found {type(G).__name__}")
    if isinstance(G, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrap(G.module)
    original = uncompiled(G)
    return G if original is G else unwrap(original)


@dataclass(frozen=True)
class Recognised:
    """What a trial call has shown of a generator.

    Attributes:
        adapter: that knows how it is built.
        layers: its numbered layers, with the sizes that were observed.
        image_item: where the image is in what the entry returns.
        replay: the script's own call, where that is how it is called.
        each: how many images that makes of a latent.
    """

    adapter: Adapter
    layers: tuple[Layer, ...]
    image_item: int | str | None = None
    replay: Replay | None = None
    each: int = 1


class NotRecognised(GanfixError):
    """No adapter can be believed; ``reason`` says why, without what to do about it."""

    def __init__(self, reason: str, modules: Sequence[str]) -> None:
        self.reason = reason
        first = modules[0].partition(" ")[0] if modules else "…"
        super().__init__(
            f"{reason}; its modules: {', '.join(modules) or 'none'}; in Python, name those whose "
            f'feature maps are to be corrected: ganfix.attach(G, "seqabl", layers=["{first}"]), '
            "with example=lambda: G(…) where it takes more than a latent and a class; for a "
            "variant of a known one: --adapter NAME, of "
            f"{', '.join(registry.names(registry.ADAPTERS))}"
        )


def recognise(
    G: nn.Module,
    adapter_name: str | None = None,
    layers: Sequence[str] | None = None,
    seen: Seen | None = None,
    guess: bool = True,
) -> Recognised:
    """The adapter of a generator, believed after a trial call of its own kind.

    Where none fits, the feature maps of one traced call are its layers.

    Args:
        adapter_name: take this adapter, whatever the generator looks like.
        layers: module names: take these for the layers, whatever the adapter says.
        seen: what a script called it with.
        guess: guess at how else it may be called.

    Raises:
        GanfixError: if nothing runs, several adapters do, or a layer is not there.
    """
    unknown = [name for name in layers or () if name not in dict(G.named_modules())]
    if unknown:
        raise NotRecognised(
            f"layers: {unknown[0]} is no module of {type(G).__name__}", modules_of(G)
        )
    adapters = [adapter_named(adapter_name)] if adapter_name else matching(G)
    believed, reasons = list[Recognised](), list[str]()
    for adapter in adapters:
        if recognised := _first(
            G, [(adapter, way) for way in _ways(G, adapter, seen)], layers, reasons
        ):
            believed.append(recognised)
    if len(believed) > 1:
        several = ", ".join(recognised.adapter.name for recognised in believed)
        raise GanfixError(
            f"{type(G).__name__}: adapters {several} all match; choose one by --adapter, in Python "
            "by adapter="
        )
    if believed:
        return believed[0]
    name = type(G).__name__
    if adapter_name:
        raise NotRecognised(f"{name}: {'; '.join(reasons)}", modules_of(G))
    noises: list[dict[str, Any]] = [{"noise_mode": "const"}, {}]
    of_script = [seen.replay(G, "synthesis", None, noise) for noise in noises] if seen else []
    by_script = [(Traced(replay), replay) for replay in of_script if replay]
    guesses = ((Traced(replay), replay) for replay in (guessed(G) if guess else ()))
    # What is wrong with a guess says nothing where a script has shown how it is called.
    of_guesses = list[str]() if by_script else reasons
    recognised = _first(G, by_script, layers, reasons) or _first(G, guesses, layers, of_guesses)
    if recognised:
        if layers is None:
            numbers = ", ".join(map(str, recognised.layers))
            log.info("%s is of no known family; its layers, traced: %s", name, numbers)
            if not seen and recognised.replay and recognised.replay.digest():
                log.warning(
                    "called with zeros or classes beside its latent; example= would say what with"
                )
        return recognised
    why = "; ".join(dict.fromkeys(reasons)) or "nothing says what latents it is called with"
    if parts := _generators_in(G):
        why += f"; {' and '.join(parts)} inside it looks like one: take that"
    raise NotRecognised(f"{name} is no generator that an adapter knows ({why})", modules_of(G))


def matching(G: nn.Module) -> list[Adapter]:
    """The adapters that a generator's structure fits; no call of it is tried."""
    adapters = map(adapter_named, registry.names(registry.ADAPTERS))
    return [adapter for adapter in adapters if adapter.matches(G)]


def _generators_in(G: nn.Module) -> list[str]:
    """The names of the outermost modules in a network whose structure fits an adapter."""
    names: list[str] = []
    for name, module in G.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in names)
        if name and not inside and matching(module):
            names.append(name)
    return names


def adapter_named(name: str) -> Adapter:
    """The adapter of a name in the registry."""
    adapter: Adapter = registry.load(registry.ADAPTERS, name)()
    return adapter


def _ways(G: nn.Module, adapter: Adapter, seen: Seen | None) -> Iterable[Replay | None]:
    """How to call a generator that an adapter knows: by its family's own call (None), or, first if
    it says more than a latent and a class, by the script's."""
    try:
        shape, classes = adapter.latent_shape(G), adapter.num_classes(G)
        noise = {name: x for name, x in adapter.quiet.items() if "noise" in name and x is not None}
        replay = seen and seen.replay(G, adapter.entry, shape, noise)
    except Exception:  # of a generator that only looks like the adapter's: the trial says it
        return [None]
    if not replay or not replay.drawn:
        return [None]
    return [replay, None] if extras(replay, classes) else [None, replay]


def _first(
    G: nn.Module,
    ways: Iterable[tuple[Adapter, Replay | None]],
    names: Sequence[str] | None,
    reasons: list[str],
) -> Recognised | None:
    """The first way to call a generator that works; what was wrong with the others is added to the
    reasons."""
    for adapter, replay in ways:
        adapter.quick = _quick_is_alike(G, adapter, replay)
        try:
            return _tried(G, adapter, replay, names)
        except Exception as error:
            kind = "" if isinstance(error, GanfixError) else f"{type(error).__name__}: "
            line = str(error).strip().partition("\n")[0]
            reasons.append(f"adapter {adapter.name} does not fit: {kind}{line}")
    return None


def _quick_is_alike(G: nn.Module, adapter: Adapter, replay: Replay | None) -> bool:
    """Whether the first feature maps of a trial are the same but for rounding with kernels that are
    not fused: a variant of a family may compute otherwise."""
    if not (adapter.fused or adapter.unfused):
        return True

    def maps(quick: bool) -> list[Tensor]:
        adapter.quick, observed = quick, list[Tensor]()

        def call(view: nn.Module) -> Any:
            adapter.make_quick(view.get_submodule(adapter.entry), quiet=not replay)
            return _trial(G, adapter, replay, view)

        def visit(name: str, output: Any) -> None:
            observed.extend(x for x in feature_map(output)[1:] if x is not None)

        names = [layer.name for layer in adapter.layers(G)[:_COMPARED]]
        with random_state_kept(G, seed=0), torch.no_grad():
            shown(G, names, visit, call)
        return observed

    try:
        exact = maps(quick=False)
    except Exception:  # what fails by itself, the trial tells
        return True
    try:
        alike = all(map(_alike, exact, maps(quick=True)))
    except Exception:  # a variant's calls are others
        alike = False
    if not alike:
        name = type(G).__name__
        log.info("%s computes otherwise than %s, so measuring takes longer", name, adapter.title)
    return alike


def _alike(exact: Tensor, quick: Tensor) -> bool:
    return torch.allclose(exact, quick, rtol=0, atol=1e-3 * float(exact.abs().max()))


def _tried(
    G: nn.Module, adapter: Adapter, replay: Replay | None, names: Sequence[str] | None
) -> Recognised:
    """A call of a generator past everybody's hooks, and what it showed of the layers."""
    with random_state_kept(G), torch.no_grad():
        if replay:
            replay.check()
        of_adapter = {} if names and replay else {x.name: x for x in adapter.layers(G)}
        claims = [of_adapter.get(name, Layer(0, name, (0, 0), 0)) for name in names or of_adapter]
        observed: dict[str, Layer] = {}
        items: list[int | str | None] = []
        entry = adapter.entry

        def visit(name: str, output: Any) -> None:
            if name == entry:
                items.append(image_item(output))
            else:
                observed[name] = _observed(by_name[name], output)

        def call(view: nn.Module) -> Any:
            if device_of(G).type == "cpu" and not replay:
                adapter.make_quick(view.get_submodule(entry), quiet=True)
            return _trial(G, adapter, replay, view)

        as_built = adapter.returns_alike and all(claim.channels for claim in claims)
        if not names and not replay and as_built:
            # Where the first layers are as the family builds them, the others are, too.
            first = adapter.auto(claims)
            by_name = {claim.name: claim for claim in first}
            _, left = shown(G, by_name, visit, call)
            if first and not left and observed == by_name:
                return Recognised(adapter, tuple(claims), adapter.image_item)
            observed.clear()
        by_name = {claim.name: claim for claim in claims}
        output, left = shown(G, {*by_name, entry}, visit, call, to_end=True)
    left.discard(entry)
    if left or not by_name:
        which = f"layers {', '.join(sorted(left))}" if left else "any layers"
        raise GanfixError(f"{which} never ran in a call of it")
    if names:
        adapter.named = True
        layers = [replace(layer, index=i) for i, layer in enumerate(observed.values())]
    else:
        layers = [observed[claim.name] for claim in claims]
    each = 1
    if replay:
        replay = replace(replay, item=image_item(output))
        each = max(len(replay.read(output)) // _TRIED, 1)
    item = items[0] if items else adapter.image_item
    return Recognised(adapter, tuple(layers), item, replay, each)


def _trial(G: nn.Module, adapter: Adapter, replay: Replay | None, view: nn.Module) -> Any:
    chance = torch.Generator().manual_seed(0)
    if replay:
        z = torch.randn(_TRIED, *replay.latent_shape, generator=chance)
        return replay(view, z.to(replay.latents))
    like = next(G.parameters(), torch.zeros(()))
    z = torch.randn(1, *adapter.latent_shape(G), generator=chance).to(like)
    classes = adapter.num_classes(G)
    return adapter.synthesize(view, z, torch.eye(classes).to(z)[:1] if classes else None)


def _observed(claim: Layer, output: Any) -> Layer:
    """A layer with the place and the size of its feature map in what its module returned."""
    item: Any = claim.item
    try:
        x = claim.read(output)
    except (IndexError, KeyError, TypeError):
        x = None
    if not isinstance(x, Tensor) or x.dim() != 4:
        item, x = feature_map(output)
    if x is None:
        raise GanfixError(
            f"{claim.name} returns {what_is(output)}, expected a feature map [N, C, H, W]"
        )
    _, units, height, width = x.shape
    return replace(claim, resolution=(height, width), channels=units, item=item)


def modules_of(G: nn.Module) -> list[str]:
    """The names of the first modules in a generator, and how many there are, for people."""
    names = [name for name, _ in G.named_modules() if name]
    return [*names[:12], f"… ({len(names)} in all)"] if len(names) > 12 else names
