"""Any script: notices the generators in it where they are built, loaded, moved or nested, and has
each of them corrected at the first call that makes it render.

It serves where no host is known, and whatever a known host's functions do not come across.
"""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ganfix_plugin import registry
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.find import adapter_named, modules_of, unwrap
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.layers import Adapter
from ganfix_plugin.generators.replay import Seen, tensors
from ganfix_plugin.hooks.attachment import attached, placed
from ganfix_plugin.hooks.forward import Args, Kwargs
from ganfix_plugin.hooks.standalone import Hook, random_state_kept
from ganfix_plugin.hosts.direct import DirectCalls
from ganfix_plugin.hosts.host import Host
from ganfix_plugin.hosts.import_hooks import replaced
from ganfix_plugin.hosts.modes import same_in_evaluation

log = logging.getLogger("ganfix")

GENERIC = Host(
    name="",
    title="no known host",
    detect=lambda folder: False,
    scripts=(),
    imports=(),
    wrappers=(),
    load=lambda network: {},
)

# What reaches a network before it is used: weights, a device, evaluation mode, a pickle or a copy.
_REACHING = ("load_state_dict", "_apply", "eval", "__setstate__")
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_SHOWN = 8


@dataclass(frozen=True)
class Word:
    """What the user says of the generator, whatever is recognised.

    Attributes:
        adapter_name: of the adapter to take; None where that is to be found out.
        layers: names of modules to take as layers; None for the adapter's own.
    """

    adapter_name: str | None = None
    layers: tuple[str, ...] | None = None

    def fits(self, module: nn.Module, adapters: Sequence[Adapter]) -> bool:
        """Whether a module may be the generator: by the user's word, or else by its structure."""
        if not self:
            style_based = {"mapping", "synthesis"} <= set(vars(module)["_modules"].keys())
            return style_based or any(adapter.matches(module) for adapter in adapters)
        names = list(self.layers or ())
        if self.adapter_name and not names:
            with suppress(Exception):  # what lacks the adapter's modules is no generator of it
                names = [layer.name for layer in adapters[0].layers(module)]
        modules = dict(module.named_modules()) if names else {}
        return bool(names) and all(name in modules for name in names)

    def __bool__(self) -> bool:
        return bool(self.adapter_name or self.layers)


NOTHING_SAID = Word()


@dataclass
class Candidate:
    """A module that may be a generator, and what was called in it so far.

    Attributes:
        settled: whether it was decided if it is corrected.
        layers: names of its layers as far as adapters know them.
    """

    root: weakref.ref[nn.Module]
    layers: tuple[str, ...] = ()
    seen: Seen = field(default_factory=Seen)
    settled: bool = False

    def renders(self, name: str, args: Args, kwargs: Kwargs) -> bool:
        """Note a call of a module in it; whether that makes it render."""
        self.seen.note(name, args, kwargs)
        if name in ("", "synthesis"):
            return True
        near = [f"{layer}." for layer in self.layers]
        return any(layer.startswith(f"{name}.") or f"{name}.".startswith(layer) for layer in near)


class _Own(threading.local):
    """Whether a thread is at work with networks of our own, or with copies to measure."""

    busy = False


@dataclass
class Noticing:
    """The networks of a script.

    Attributes:
        prepare: corrects a `Generator`.
        word: what the user says of the generator.
        watched: classes of which nothing may run uncorrected, as something else of them was
            corrected; each with the specs.
        left_alone: why whatever looked like a generator was not corrected.
        unknown: whether the user's word on what it is may help.
    """

    prepare: Callable[[Generator], None]
    word: Word
    watched: dict[type, str] = field(default_factory=dict)
    left_alone: dict[str, None] = field(default_factory=dict)
    unknown: bool = False
    _names: dict[str, None] = field(default_factory=dict)
    _fresh: list[weakref.ref[nn.Module]] = field(default_factory=list)
    _known: weakref.WeakSet[nn.Module] = field(default_factory=weakref.WeakSet)
    _tops: list[weakref.ref[nn.Module]] = field(default_factory=list)
    _inside: weakref.WeakKeyDictionary[nn.Module, tuple[Candidate, str]] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    _hopeless: weakref.WeakSet[nn.Module] = field(default_factory=weakref.WeakSet)
    _lock: Any = field(default_factory=threading.RLock)
    _own: Any = field(default_factory=_Own)
    _direct: DirectCalls = field(default_factory=DirectCalls)

    def note(self, module: nn.Module) -> None:
        """A network that something of `_REACHING` has reached."""
        if not self._own.busy and module not in self._known:
            self._known.add(module)
            self._fresh.append(weakref.ref(module))
            self._direct.take(module)

    def called(self, module: nn.Module, args: Args, kwargs: Kwargs) -> None:
        """Before any module runs."""
        if self._own.busy or "_ganfix_bare" in vars(module):
            return
        if isinstance(module, _WRAPPERS) or "_orig_mod" in vars(module).get("_modules", ()):
            module = unwrap(module)
        if self._fresh:
            self._look()
        candidate, name = self._inside.get(module, (None, ""))
        if candidate is None and module in self._known and self._may_render(module, args, kwargs):
            candidate = Candidate(weakref.ref(module))
            self._enter(candidate)
        if candidate and not candidate.settled and candidate.renders(name, args, kwargs):
            self._settle(candidate)
        if type(module) in self.watched and not any(
            isinstance(hook, Hook) for _, _, hook in placed(module)
        ):
            raise GanfixError(
                f"--correct {self.watched[type(module)]}: a {type(module).__name__} runs "
                "uncorrected, which is not the one that was loaded and corrected, and which "
                "ganfix has not seen being built; correct it in Python by ganfix_plugin.attach"
            )

    def watch(self, generator: Generator, specs: str) -> None:
        """Let nothing of the class of a generator's entry run uncorrected, but for torch's own."""
        kind = type(generator.G.get_submodule(generator.entry.name))
        if kind.__module__.partition(".")[0] != "torch":
            self.watched[kind] = specs

    def known(self, G: nn.Module) -> None:
        """A generator is corrected already, by whoever came across it."""
        self._enter(Candidate(weakref.ref(G), settled=True))

    def _look(self) -> None:
        """Find the generators among what was reached since, the outermost ones."""
        with self._lock:
            fresh, self._fresh = [reference() for reference in self._fresh], []
            modules = [module for module in fresh if module is not None]
            nested = {id(child) for module in modules for child in module.children()}
            for module in [module for module in modules if id(module) not in nested]:
                self._tops.append(weakref.ref(module))
                self._names[type(module).__name__] = None
                self._known.update(module.modules())
                for root in self._roots(module):
                    outer, name = self._inside.get(root, (None, ""))
                    if outer and (outer.settled or not name):
                        continue
                    names: list[str] = list(self.word.layers or ())
                    for adapter in () if names else self._adapters:
                        with suppress(Exception):  # it only looks like this adapter's
                            if self.word or adapter.matches(root):
                                names += [layer.name for layer in adapter.layers(root)]
                    self._enter(Candidate(weakref.ref(root), tuple(names)))

    def _roots(self, module: nn.Module) -> Iterator[nn.Module]:
        if self.word.fits(module, self._adapters):
            yield module
        else:
            for child in module.children():
                yield from self._roots(child)

    def _enter(self, candidate: Candidate) -> None:
        root = candidate.root()
        assert root is not None
        candidate.settled = candidate.settled or bool(attached(root))
        for name, module in root.named_modules():
            self._inside[module] = (candidate, name)

    @functools.cached_property
    def _adapters(self) -> list[Adapter]:
        names = [self.word.adapter_name] if self.word.adapter_name else None
        names = names or ([] if self.word else registry.names(registry.ADAPTERS))
        return list(map(adapter_named, names))

    def _may_render(self, module: nn.Module, args: Args, kwargs: Kwargs) -> bool:
        """Whether a call of a module that no adapter knows may make an image of a latent."""
        if self.word or module in self._hopeless:
            return False
        inputs = [x for _, x in tensors((args, kwargs))]
        maps = [x.dim() == 4 and min(x.shape[2:]) > 1 for x in inputs]
        # Noise has one channel; what takes other maps is an encoder, or a part of something.
        if not inputs or maps[0] or any(m and x.shape[1] > 1 for m, x in zip(maps, inputs)):
            return False
        kernels = sum(x.dim() >= 4 for x in module.parameters())  # classes differ, shapes do not
        if kernels < 2 or any(inner in self._inside for inner in module.modules()):
            self._hopeless.add(module)  # or it is around a generator
            return False
        return True

    def _settle(self, candidate: Candidate) -> None:
        G = candidate.root()
        assert G is not None
        with self._lock, self.apart():
            if candidate.settled:  # by another thread meanwhile
                return
            if G.training and same_in_evaluation(G, candidate.seen):
                log.info(
                    "%s ran in training mode, and gives the same without: it is corrected",
                    G._get_name(),
                )
                G.eval()
            if G.training:
                reason = f"{type(G).__name__} ran in training mode"
                if torch.is_grad_enabled() and any(x.requires_grad for x in G.parameters()):
                    raise GanfixError(
                        f"{reason}; ganfix corrects finished generators: run it without --correct, "
                        "or call eval() on it before"
                    )
                reason += ": call eval() on it once its weights are loaded"
                if reason not in self.left_alone:  # said before a script has made all its images
                    log.warning("left as it is: %s", reason)
                self.left_alone[reason] = None
                return
            candidate.settled = True
            try:
                with random_state_kept(G):
                    word = self.word
                    generator = Generator.of(G, word.adapter_name, word.layers, seen=candidate.seen)
            except GanfixError as error:
                if self.word:
                    raise
                self.left_alone[getattr(error, "reason", str(error))] = None
                self.unknown = True
                if candidate.layers:
                    log.warning("left as it is: %s", error)
                for inner in list(G.modules())[1:]:  # may be one by itself
                    self._inside.pop(inner, None)
                return
            finally:
                candidate.seen = Seen()
            self.prepare(generator)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is built and run in here is ganfix's own."""
        before, self._own.busy = self._own.busy, True
        try:
            yield
        finally:
            self._own.busy = before

    def tops(self) -> list[nn.Module]:
        """The outermost networks that were noticed and are still there."""
        return [module for module in (reference() for reference in self._tops) if module]

    def story(self) -> str:
        """Why nothing was corrected, and what to do, in one line."""
        self._look()
        if not self._names:
            return "no network was ever loaded and run; see --help of the script for what it needs"
        names = ", ".join(list(self._names)[:_SHOWN])
        lacking = "none has the modules named, or they never ran" if self.word else ""
        reasons = (
            "; ".join(self.left_alone)
            or lacking
            or "none was called that makes images of latents by convolutions"
        )
        if self.left_alone and not self.unknown:
            return reasons
        largest = max(self.tops(), key=lambda top: len(list(top.modules())), default=None)
        modules = ""
        if largest is not None:
            modules = f"modules of {type(largest).__name__}: {', '.join(modules_of(largest))}; "
        return (
            f"no generator was recognised among the networks seen ({names}): {reasons}; {modules}"
            "name the generator's by ganfix run --layers a,b,c SCRIPT … (they must return "
            "feature maps [N, C, H, W]), or its family by --adapter NAME, one of "
            f"{', '.join(registry.names(registry.ADAPTERS))}"
        )

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While a script runs."""
        module_class: Any = nn.Module
        call = module_class.__call__

        @functools.wraps(call)
        def __call__(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return call(module, *args, **kwargs)
            self.called(module, args, kwargs)
            return self._direct.call(call, module, *args, **kwargs)

        with ExitStack() as stack:
            stack.enter_context(self._direct)
            for name in _REACHING:
                method = _noting(self, getattr(module_class, name))
                stack.enter_context(replaced(module_class, name, method))
            stack.enter_context(replaced(module_class, "__call__", __call__))
            yield


def _noting(noticing: Noticing, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def reached(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        result = method(module, *args, **kwargs)
        noticing.note(module)  # which a pickle has filled only now
        return result

    return reached
