"""A generator with what ganfix knows of it, each thing worked out once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.find import recognise, unwrap
from ganfix_plugin.generators.layers import Adapter, select
from ganfix_plugin.generators.replay import Replay, Seen, one_each
from ganfix_plugin.generators.traced import Traced
from ganfix_plugin.hooks.forward import device_of, observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.spec import LayerChoice, layer_choice

# Buffers that do not make another generator: the moving average that only truncation uses, the
# transform that StyleGAN3's scripts overwrite, BatchNorm's counter.
_PASSING = ("w_avg", "transform", "num_batches_tracked")


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator, its adapter and what both determine.

    Attributes:
        G: the generator itself, without any wrapper of DataParallel's or torch.compile's.
        adapter: the adapter that knows its family.
        layers: its numbered layers, in the order in which they run, as a trial call showed them.
        image_item: where the image is in what the entry returns.
        replay: the script's own call of it, where that is how it is called.
        each: how many images that makes of a latent; one of them is measured (`one_each`).
        discriminator: the one that came with it, if any.
        options: with which commands open it, as ``--network net.pkl``; empty in Python.
        exact: what is measured without rendering is by the host's own arithmetic; see `unfuse`.
    """

    G: nn.Module
    adapter: Adapter
    layers: tuple[Layer, ...] = ()
    image_item: int | str | None = None
    replay: Replay | None = None
    each: int = 1
    discriminator: nn.Module | None = None
    options: str = ""
    exact: bool = False

    @classmethod
    def of(
        cls,
        G: nn.Module | Generator,
        adapter_name: str | None = None,
        layers: Sequence[str] | None = None,
        discriminator: nn.Module | None = None,
        seen: Seen | None = None,
        guess: bool = True,
    ) -> Generator:
        """A generator in evaluation mode, with the adapter of `recognise`, which see; a `Generator`
        is itself, unless ``layers`` says how else it is to be seen.

        Raises:
            GanfixError: if it cannot be called, several adapters match, or G is in training mode.
        """
        if isinstance(G, Generator):
            if layers is None:
                return G
            G = G.G
        G = unwrap(G)
        if G.training:
            raise GanfixError(
                f"{type(G).__name__} is in training mode; ganfix works on finished generators: "
                "call G.eval() first"
            )
        recognised = recognise(G, adapter_name, layers, seen, guess)
        return cls(G, **vars(recognised), discriminator=discriminator)

    def measured_exactly(self, exact: bool = True) -> Generator:
        """The same, to be measured by the host's own arithmetic, if so asked."""
        if self.exact or not exact:
            return self
        other = copy.copy(self)  # with what was worked out already
        other.__dict__["exact"] = True
        return other

    @property
    def name(self) -> str:
        """The name of its class, for people."""
        return type(self.G).__name__

    def command(self, words: str) -> str:
        """A command about it, such as ``ganfix label --network net.pkl``, to be copied.

        In Python nobody knows how it was made, so that the user has to fill in a function.
        """
        return f"ganfix {words} {self.options or '--network MODULE:FUNCTION_RETURNING_IT'}"

    @cached_property
    def fingerprint(self) -> str:
        """The hash of its weights (see `fingerprint`), of what it is called with besides a latent
        and a class, if there is such a thing, and of the sizes of layers that are known by a call
        only: the same weights may run less wide, or to a lower resolution."""
        weights, kept = fingerprint(self.G), self.replay.digest() if self.replay else ""
        if isinstance(self.adapter, Traced) and not self.adapter.named:
            kept += repr([(layer.channels, layer.resolution) for layer in self.layers])
        return hashlib.sha256((weights + kept).encode()).hexdigest() if kept else weights

    @cached_property
    def entry(self) -> Layer:
        """The module that scripts really call, and where the image is in what it returns."""
        return Layer(-1, self.adapter.entry, (0, 0), 0, self.image_item)

    @property
    def auto(self) -> tuple[Layer, ...]:
        """The papers' default layers for its family."""
        return self.adapter.auto(self.layers)

    @cached_property
    def early(self) -> tuple[Layer, ...]:
        """Those that a probe reads: the first three, and the fourth where it is of the third's
        resolution, as PGGAN's second layer at 8x8 is, which says more than both at 4x4."""
        sizes = [layer.resolution for layer in self.layers[2:4]]
        return self.layers[: 4 if sizes[1:] == sizes[:1] else 3]

    @cached_property
    def classes(self) -> int:
        """How many classes it is conditioned on; 0 if none."""
        return 0 if self.replay else self.adapter.num_classes(self.G)

    @cached_property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one latent z."""
        return self.replay.latent_shape if self.replay else self.adapter.latent_shape(self.G)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return device_of(self.G)

    def select(self, choice: LayerChoice) -> tuple[Layer, ...]:
        """The chosen layers; see `generators.layers.select`."""
        return select(self.adapter, self.layers, choice)

    def choose(self, text: str) -> tuple[Layer, ...]:
        """The layers of a text: ``all``, ``auto``, or a choice such as ``0+1+3`` or ``4x4+8x8``."""
        return self.layers if text == "all" else self.select(layer_choice(text))

    def synthesize(self, z: Tensor, c: Tensor | None, module: nn.Module | None = None) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] at truncation psi 1 and constant noise, one of each z.

        Args:
            z: latents [N, …] like the generator's parameters; ``c`` one-hot classes [N, classes].
            module: a view of G to run in its place, such as `hooks.standalone.bare` makes.
        """
        view = self.G if module is None else module
        images = self.replay(view, z) if self.replay else self.adapter.synthesize(view, z, c)
        return one_each(images, z)

    def unfuse(self, view: nn.Module) -> None:
        """Have a view of G, which is changed, compute on a CPU with kernels that are not fused with
        each sample's styles, unless it is to be ``exact``. That takes down to a tenth of the time
        and is the same but for rounding, so it is for measuring and not for rendering."""
        if self.unfuses:
            self.adapter.make_quick(view.get_submodule(self.entry.name))

    @property
    def unfuses(self) -> bool:
        """Whether `unfuse` does anything."""
        return not self.exact and self.device.type == "cpu" and self.adapter.quick

    def observe(
        self,
        layers: Sequence[Layer],
        z: Tensor,
        c: Tensor | None,
        visit: Callable[[Layer, Tensor], None],
        to_end: bool = False,
    ) -> Any:
        """Show the feature maps of layers of the uncorrected generator, one row of each z; see
        `forward.observe`, and `unfuse` for passes that end early."""

        def call(view: nn.Module) -> Tensor:
            if not to_end:
                self.unfuse(view)
            return self.synthesize(z, c, view)

        return observe(self.G, layers, lambda layer, x: visit(layer, one_each(x, z)), call, to_end)


def fingerprint(G: nn.Module) -> str:
    """64 hexadecimal digits over the names, shapes, types and bytes of the state dict.

    Equal for a generator, its copies and its reloaded pickle, on any device; different as soon as
    one weight or one noise buffer differs.
    """
    digest = hashlib.sha256(type(G).__name__.encode())
    for name, tensor in sorted(G.state_dict().items()):
        if name.rpartition(".")[2] in _PASSING or not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        # Viewed as bytes because numpy knows no bfloat16.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
