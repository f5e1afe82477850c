"""What a corrected network pickle carries: the source of this file, and objects of its classes.

It runs in checkouts that know nothing of ganfix, and so imports only torch. Each class is the twin
of one in `attachment.py`, computes bit for bit the same, and keeps no counts. A pickle holds the
attributes of its hooks; a constructor's arguments would be kept beside them, so there is none.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

_BITS = (1, 2, 4, 8, 16, 32, 64, 128)


class _Local(threading.local):
    """Which rows of a call a gate lets pass, by token: of one call in one thread."""

    def __init__(self) -> None:
        self.rows: dict[str, Tensor] = {}


_local = _Local()


class Hook:
    """What all hooks hold.

    Attributes:
        ganfix: what was baked in, as `export.About` writes it; the mark of a corrected generator.
        token: one per correction; its gate, its edits and its end share it.
    """

    ganfix: str
    token: str

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_constants"}


class EditHook(Hook):
    """A forward hook that puts an edited feature map in the place of a layer's own.

    Attributes:
        kind: "cap", "scale" or "towards".
        numbers: which neurons to cap, packed by `pack`; the factor of each unit; the mean latent.
        shape: of the neurons [C, H, W], with "cap".
        psi: with "towards".
        gated: only rows that the gate of the same token lets pass.
    """

    kind: str
    numbers: Tensor
    shape: tuple[int, ...]
    psi: float
    gated: bool

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        return self._edited(module, output)

    def _edited(self, module: nn.Module, x: Tensor) -> Tensor | None:
        if module.training:
            raise RuntimeError("ganfix: a corrected generator cannot be trained")
        if not self.gated:
            return self._edit(x)
        rows = _local.rows.get(self.token)
        if rows is None or len(rows) != len(x):
            raise RuntimeError(
                "ganfix: a corrected layer ran outside a call that its gate has seen; call the "
                "generator or its synthesis as a whole"
            )
        if not rows.any():
            return None
        y = self._edit(x)
        if rows.all():
            return y
        return torch.where(rows.to(x.device).view(-1, *(1,) * (x.dim() - 1)), y, x)

    def _edit(self, x: Tensor) -> Tensor:
        if self.kind == "cap":
            return x.clamp(max=self._constant(x))
        if self.kind == "scale":
            return x * self._constant(x)
        return self._constant(x).lerp(x, self.psi)

    def _constant(self, x: Tensor) -> Tensor:
        """What the edit needs, like x: made once per device, type and memory format, and never
        pickled."""
        kept: dict[Any, Tensor] = vars(self).setdefault("_constants", {})
        channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        key = (x.device, x.dtype, channels_last)
        if key not in kept:
            # A tensor made in inference mode could not be used by autograd later.
            with torch.inference_mode(False), torch.no_grad():
                kept[key] = self._made(x, channels_last)
        return kept[key]

    def _made(self, x: Tensor, channels_last: bool) -> Tensor:
        if self.kind == "cap":
            neurons = unpack(self.numbers, self.shape)
            cap = torch.full(self.shape, float("inf")).masked_fill_(neurons, 0)
            cap = cap.to(x.device, x.dtype)
            return cap[None].contiguous(memory_format=torch.channels_last) if channels_last else cap
        found = self.numbers.to(x.device, x.dtype, copy=True)
        return found[..., None, None] if self.kind == "scale" else found


class InputEditHook(EditHook):
    """A forward pre-hook that edits the first argument of a call: a latent, or a w.

    Attributes:
        argument: the name of that argument.
    """

    argument: str

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        y = self._edited(module, args[0] if args else kwargs[self.argument])
        if y is None:
            return None
        return ((y, *args[1:]), kwargs) if args else (args, {**kwargs, self.argument: y})


class GateHook(Hook):
    """A forward pre-hook that decides about the samples of a call before it runs: those in which
    more low-rate neurons are activated than a threshold are corrected.

    Attributes:
        threshold: of the count.
        low_rate: by the name of a layer in the module: its low-rate neurons, packed, and their
            shape [C, H, W].
    """

    threshold: float
    low_rate: dict[str, tuple[Tensor, tuple[int, ...]]]

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if kwargs is None:
            raise RuntimeError("ganfix: this gated correction needs PyTorch 2.0 or later")
        if torch.jit.is_tracing():
            raise RuntimeError("ganfix: a generator with a gated correction cannot be traced")
        with random_state_kept(module), torch.no_grad():
            scores = self._scores(module, lambda view: view(*args, **kwargs))
        _local.rows[self.token] = (scores > self.threshold).cpu()

    def _scores(self, module: nn.Module, call: Callable[[nn.Module], Any]) -> Tensor:
        counts: list[Tensor] = []
        view = bare(module)
        left = set(self.low_rate)

        def probe(name: str, neurons: Tensor) -> Callable[..., None]:
            def count(module: nn.Module, args: Any, x: Tensor) -> None:
                if name in left:
                    active = (x > 0) & neurons.to(x.device)
                    counts.append(active.sum(dim=(1, 2, 3), dtype=torch.int32))
                    left.discard(name)
                if not left:
                    raise _Stop

            return count

        kept: dict[str, Tensor] = vars(self).setdefault("_constants", {})
        for name, (packed, shape) in self.low_rate.items():
            if name not in kept:
                kept[name] = unpack(packed, shape)
            dict(view.named_modules())[name].register_forward_hook(probe(name, kept[name]))
        with suppress(_Stop):
            call(view)
        return torch.stack(counts).sum(dim=0, dtype=torch.int32)


class EndHook(Hook):
    """A forward hook that forgets the rows of a call after it."""

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        _local.rows.pop(self.token, None)


class _Stop(BaseException):
    """Leaves a forward pass."""


def pack(neurons: Tensor) -> Tensor:
    """Eight neurons of a bool tensor to a byte: uint8 [ceil(numel / 8)]."""
    flat = neurons.flatten().to(torch.uint8)
    flat = torch.cat([flat, flat.new_zeros(-len(flat) % 8)]).view(-1, 8)
    return (flat * torch.tensor(_BITS, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The bool tensor of that shape that was packed."""
    bits = torch.tensor(_BITS, dtype=torch.uint8, device=packed.device)
    flat = (packed[:, None] & bits).ne(0).flatten()
    return flat[: torch.Size(shape).numel()].view(shape)


def bare(module: nn.Module) -> nn.Module:
    """A view of a module tree without anyone's hooks but torch's own, such as spectral norm's, and
    not compiled."""
    module = module._modules.get("_orig_mod") or module  # torch.compile(module)
    view: nn.Module = object.__new__(type(module))
    vars(view).update(vars(module), _compiled_call_impl=None)
    for table, hooks in vars(module).items():
        if "_hooks" in table and isinstance(hooks, dict):
            vars(view)[table] = OrderedDict(
                (key, hook)
                for key, hook in hooks.items()
                if type(hook).__module__.startswith("torch.nn.utils.")
            )
    vars(view)["_modules"] = OrderedDict(
        (name, None if child is None else bare(child)) for name, child in module._modules.items()
    )
    return view


@contextmanager
def random_state_kept(module: nn.Module) -> Iterator[None]:
    """Leave torch's random state, on the CPU and where a module is, as it was before."""
    # A replica of DataParallel's has buffers, but its parameters are plain attributes.
    tensors = [*module.parameters(), *module.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
        if mps is not None:
            torch.mps.set_rng_state(mps)
