"""Which adapter knows a generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ganfix_plugin import registry
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.generators.plain import DCGAN, Plain
from ganfix_plugin.hooks.standalone import uncompiled


def unwrap(G: Any) -> nn.Module:
    """The generator inside DataParallel, DistributedDataParallel and torch.compile's wrapper."""
    if not isinstance(G, nn.Module):
        raise GanfixError(f"expected a generator (torch.nn.Module), found {type(G).__name__}")
    if isinstance(G, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrap(G.module)
    original = uncompiled(G)
    return G if original is G else unwrap(original)


def find_adapter(
    G: nn.Module, adapter_name: str | None = None, layers: Sequence[str] | None = None
) -> Adapter:
    """The adapter for a generator.

    Args:
        adapter_name: take this adapter instead of looking for one.
        layers: module names, for a generator that no adapter knows.

    Raises:
        GanfixError: if none or several match, or the named one does not fit.
    """
    names = [] if adapter_name else registry.names(registry.ADAPTERS)
    adapters = [registry.load(registry.ADAPTERS, name)() for name in names]
    fitting = [adapter for adapter in adapters if adapter.matches(G)]
    if layers is not None:
        others = [adapter for adapter in fitting if not isinstance(adapter, DCGAN)]
        if others:
            raise GanfixError(
                f"layers=[…]: adapter {others[0].name} knows how to call {type(G).__name__}; leave "
                "them out and choose its layers by number, as in seqabl:layers=0+1"
            )
        return Plain(tuple(layers))
    if adapter_name is not None:
        adapter: Adapter = registry.load(registry.ADAPTERS, adapter_name)()
        if not adapter.matches(G):
            raise GanfixError(
                f"{type(G).__name__}: adapter {adapter_name} ({adapter.title}) does not fit; "
                f"{_seen(G)}"
            )
        return adapter
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        several = ", ".join(adapter.name for adapter in fitting)
        raise GanfixError(
            f"{type(G).__name__}: adapters {several} all match; choose one by --adapter, in Python "
            "by adapter="
        )
    raise GanfixError(f"{type(G).__name__} is no generator that an adapter knows; {_seen(G)}")


def _seen(G: nn.Module) -> str:
    names = [name for name, _ in G.named_modules() if name]
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    kinds = nn.ReLU | nn.LeakyReLU | nn.Conv2d | nn.ConvTranspose2d
    first = next((name for name, module in G.named_modules() if isinstance(module, kinds)), "…")
    return (
        f"its modules: {shown or 'none'}; in Python, name those whose feature maps are to be "
        f'corrected: ganfix.attach(G, "seqabl", layers=["{first}"]); for a variant of a known one: '
        f"--adapter NAME, of {', '.join(registry.names(registry.ADAPTERS))}"
    )
