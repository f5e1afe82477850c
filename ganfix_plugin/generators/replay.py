"""A script's own call of a generator, made again with other latents.

Some generators take more than a latent and a class: a camera, a time, noise, features of a text.
What they are called with besides the latent is kept from the script's first call, and only the
latent is drawn anew.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.entry import of_rows, with_keywords
from ganfix_plugin.hooks.forward import Call
from ganfix_plugin.hooks.layer import Layer, plain
from ganfix_plugin.hooks.standalone import random_state_kept

Place = tuple[Any, ...]
"""The way to a tensor in a call (args, kwargs): numbers and names, from the outside in."""


@dataclass(frozen=True)
class Step:
    """One call of a module of a generator.

    Attributes:
        name: of the module; "" for the generator itself.
        call: its arguments.
        place: where among them the latent is, or in a second step what the first one returned.
    """

    name: str
    call: Call
    place: Place


@dataclass(frozen=True, eq=False)
class Replay:
    """A script's call of a generator; or of its mapping network and then of its synthesis.

    Attributes:
        steps: one call after the other, each with the result of the one before it.
        latents: that the script called it with [N, …].
        item: where the image is in what the last step returns; None where it is the image.
    """

    steps: tuple[Step, ...]
    latents: Tensor
    item: int | str | None = None

    @property
    def drawn(self) -> bool:
        """Whether the latents are z, and not mapped or truncated before."""
        return looks_drawn(self.latents)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one z: of the latent itself, or, where that is not `drawn`, a weight for
        each of those seen."""
        return tuple(self.latents.shape[1:]) if self.drawn else (len(self.latents),)

    def check(self) -> None:
        """Raises a GanfixError if there is nothing to draw other latents from."""
        if not self.drawn and len(self.latents) < 2:
            raise GanfixError(
                f"its first call has a single latent {list(self.latents.shape)}, which is not "
                "drawn from N(0, 1): nothing says what others are like"
            )

    def digest(self) -> str:
        """Of all tensors that are kept, which make another thing to be measured of the same
        weights; empty where there are none."""
        kept = [x for step in self.steps for place, x in tensors(step.call) if place != step.place]
        kept += [] if self.drawn else [self.latents]
        values = [x.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy() for x in kept]
        said = [text.encode() for step in self.steps for text in texts(step.call)]
        content = b"".join([*map(bytes, values), *said])
        return hashlib.sha256(content).hexdigest()[:16] if content else ""

    def __call__(self, view: nn.Module, z: Tensor) -> Any:
        """The call again, by a view of the generator, for latents z [n, …].

        What belonged to a sample (a camera, features) goes along with one of the new latents: which
        one is a function of the latent, so that it does not depend on the batch.
        """
        seen = len(self.latents)
        rows = _dealt(z.detach().flatten(1)[:, 0], seen)
        x: Any = z if self.drawn else self._alike(z)
        for step in self.steps:
            call = step.call
            for place, kept in tensors(call):
                call = put(call, place, kept.to(z.device))
            args, kwargs = put(of_rows(call, rows, seen), step.place, x)
            x = view.get_submodule(step.name)(*args, **kwargs)
        return self.read(x)

    def read(self, output: Any) -> Any:
        """The images in what the last step returned, or all of it where ``item`` is not known."""
        if self.item is None:
            return plain(output)
        return Layer(-1, "", (0, 0), 0, self.item).read(output)

    def _alike(self, z: Tensor) -> Tensor:
        """Latents of the mean and the covariance of those seen."""
        seen = self.latents.detach().to(z)
        mean = seen.mean(dim=0)
        away = (seen - mean).flatten(1) / math.sqrt(len(seen) - 1)
        return mean + (z @ away).view(len(z), *mean.shape)


def one_each(x: Tensor, z: Tensor) -> Tensor:
    """One row of x [M, …] for each latent z [N, …], so that a latent is one sample.

    Some generators make several images of a latent, one after the other, such as the frames of a
    video. Which one is taken is a function of the latent, as in a `Replay`.

    Raises:
        GanfixError: if M is no multiple of N.
    """
    if len(x) == len(z):
        return x
    each, rest = divmod(len(x), len(z))
    if rest or not each:
        raise GanfixError(f"found {len(x)} rows for {len(z)} latents, expected as many of each")
    first = torch.arange(0, len(x), each, device=x.device)
    return x[first + _dealt(z.detach().flatten(1)[:, -1], each).to(x.device)]


def _dealt(values: Tensor, n: int) -> Tensor:
    """A number below n for each of some values, whatever batch they are in."""
    return (values.float().abs() * 2**16).long() % n


@dataclass
class Seen:
    """What a script called before a generator rendered for the first time.

    Attributes:
        calls: by the name of the module, in the order of their first calls; "" is the generator.
    """

    calls: dict[str, Call] = field(default_factory=dict)

    def note(self, name: str, args: Any, kwargs: Any) -> None:
        """Keep the last call of the generator, or of a module that stands in it directly."""
        if "." not in name:
            self.calls.pop(name, None)
            self.calls[name] = (args, kwargs)

    @classmethod
    def of(cls, G: nn.Module, example: Callable[[], Any]) -> Seen:
        """What an example of its use calls."""
        seen, handles = cls(), []
        for name, module in [("", G), *G.named_children()]:

            def note(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                seen.note(name, args, kwargs)

            handles.append(module.register_forward_pre_hook(note, with_kwargs=True))
        try:
            with random_state_kept(G), torch.no_grad():
                example()
        finally:
            for handle in handles:
                handle.remove()
        return seen

    def replay(
        self, G: nn.Module, entry: str, shape: tuple[int, ...] | None, constant: Mapping[str, Any]
    ) -> Replay | None:
        """The script's call of G, or of its mapping and its entry; None if neither was seen.

        Args:
            shape: of a latent, where it is known.
            constant: arguments of a call with constant noise.
        """
        if "" in self.calls:
            names = [""]
        elif entry in self.calls:
            others = [name for name in self.calls if name != entry]
            names = [*others[-1:], entry]
        else:
            return None
        steps, latents = [], None
        for name in names:
            module = G.get_submodule(name)
            call = _settled(module, self.calls[name], constant if name == names[-1] else {})
            for place, x in tensors(call):
                call = put(call, place, plain(x))
            places = [
                (place, x)
                for place, x in tensors(call)
                if x.is_floating_point() and x.dim() > 1 and x.numel()
                if x.dim() < 4 or sum(side > 1 for side in x.shape[1:]) < 2  # noise is a map
            ]
            if latents is None and shape is not None:
                places = [(place, x) for place, x in places if tuple(x.shape[1:]) == shape]
            if not places:
                return None
            if latents is None:  # what looks drawn at random, among several
                places.sort(key=lambda each: not looks_drawn(each[1]))
            place, x = places[0]
            latents = x if latents is None else latents
            steps.append(Step(name, call, place))
        return None if latents is None else Replay(tuple(steps), latents)


def looks_drawn(x: Tensor) -> bool:
    """Whether values look drawn from N(0, 1), by their mean and deviation."""
    x = x.detach().float()
    if x.numel() < 2:
        return False
    off = 5 / math.sqrt(x.numel())  # five standard errors
    return bool(x.mean().abs() < off) and bool((x.std() - 1).abs() < off / math.sqrt(2))


def extras(replay: Replay, classes: int) -> bool:
    """Whether a call says more than a latent and a class (one-hot): a camera, a time, a text."""

    def says_class(x: Tensor) -> bool:
        one_hot = x.dim() == 2 and x.shape[1] == classes and bool((x.sum(dim=1) == 1).all())
        return one_hot and bool(((x == 0) | (x == 1)).all())

    return any(
        place != step.place and x.numel() and not says_class(x)
        for step in replay.steps
        for place, x in tensors(step.call)
    ) or any(True for step in replay.steps for _ in texts(step.call))


def tensors(value: Any, place: Place = ()) -> Iterator[tuple[Place, Tensor]]:
    """All tensors in the arguments of a call, each with its place."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from tensors(each, (*place, name))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from tensors(each, (*place, number))


def texts(value: Any) -> Iterator[str]:
    """All texts in lists in the arguments of a call, such as prompts; not options."""
    values = value.values() if isinstance(value, Mapping) else value
    for each in values if isinstance(value, Mapping | list | tuple) else ():
        if isinstance(each, str) and isinstance(value, list | tuple):
            yield each
        else:
            yield from texts(each)


def put(value: Any, place: Place, new: Any) -> Any:
    """The arguments of a call with something else at a place."""
    if not place:
        return new
    key, *rest = place
    if isinstance(value, Mapping):
        return {**value, key: put(value[key], tuple(rest), new)}
    items = list(value)
    items[key] = put(items[key], tuple(rest), new)
    return type(value)(items)


def named(module: nn.Module, call: Call) -> Call:
    """A call with all arguments by name, in the order in which the module declares them."""
    args, kwargs = call
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError:
        return call  # which fails by itself
    by_name: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return call
        by_name.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
    return (), by_name


def _settled(module: nn.Module, call: Call, constant: Mapping[str, Any]) -> Call:
    """A call without truncation, which keeps latents away from where artifacts are, and with
    constant noise."""
    args, kwargs = named(module, call)
    declared = inspect.signature(module.forward).parameters
    needed = {name for name, argument in declared.items() if argument.default is argument.empty}
    kwargs = {name: x for name, x in kwargs.items() if "trunc" not in name or name in needed}
    return with_keywords(module, args, kwargs, constant)
