"""Calls of a generator's entry: the latent in them, and the same call with something else instead.

The entry is the module that scripts really call: the synthesis of a style-based generator, which
takes ws, or the generator itself, which takes z.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ganfix_plugin.hooks.forward import Call
from ganfix_plugin.hooks.layer import of_kind, plain


@dataclass(frozen=True)
class Latent:
    """The latent that an entry is called with.

    Attributes:
        x: z [N, …], or with ``styled`` one w [N, d] or several ws [N, …, d] of each sample.
        styled: it is a w, which has no sphere to stay on.
        call: the arguments of the call with another latent of that shape.
        embedding: of each sample's class [N, e], where the entry is called with one.
    """

    x: Tensor
    styled: bool
    call: Callable[[Tensor], Call]
    embedding: Tensor | None = None

    def __post_init__(self) -> None:
        x, call = self.x, self.call
        fields = {"x": plain(x), "call": lambda new: call(of_kind(new, x))}
        for name, value in {**fields, "embedding": plain(self.embedding)}.items():
            object.__setattr__(self, name, value)

    @property
    def condition(self) -> Tensor:
        """What tells a sample's class, float32 [N, e]: an embedding, or its w itself."""
        return self.vectors if self.embedding is None else self.embedding.detach().float()

    @property
    def vectors(self) -> Tensor:
        """One vector of each sample, float32 [N, d]: its z, or the mean of its ws."""
        x = self.x.detach().float()
        return x.flatten(1, -2).mean(dim=1) if self.styled and x.dim() > 2 else x.flatten(1)


def with_keywords(
    entry: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], more: Mapping[str, Any]
) -> Call:
    """A call with those of some arguments that the entry takes, in the place of its own."""
    declared = inspect.signature(entry.forward).parameters
    names = list(declared)
    anything = any(argument.kind is argument.VAR_KEYWORD for argument in declared.values())
    new, keywords = list(args), dict(kwargs)
    for name, value in more.items():
        if name in names[: len(args)]:
            new[names.index(name)] = value
        elif anything or name in declared:
            keywords[name] = value
    return tuple(new), keywords


def _are_texts(value: Any) -> bool:
    """Whether something is a list of texts, such as a prompt for each sample."""
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def of_rows(value: Any, rows: Tensor, n: int) -> Any:
    """Some rows of everything in a call of n samples that has one row for each of them.

    Args:
        value: positional or keyword arguments, or what is in them.
        rows: numbers of rows, int64.
    """
    if isinstance(value, Tensor):
        # A mean latent [d] of floats may happen to be as long.
        by_sample = value.dim() > 1 or (value.dim() == 1 and not value.is_floating_point())
        return value[rows.to(value.device)] if by_sample and len(value) == n else value
    if _are_texts(value) and len(value) == n:
        return type(value)(value[row] for row in rows.tolist())
    if isinstance(value, list | tuple):
        return type(value)(of_rows(item, rows, n) for item in value)
    if isinstance(value, dict):
        return {name: of_rows(each, rows, n) for name, each in value.items()}
    return value
