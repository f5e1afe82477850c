"""However somebody calls a generator: its images are corrected, or the call is refused, or they are
as they were and no count claims them."""

from __future__ import annotations

import asyncio
import copy
import functools
import io
import pickle
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from generators import images
from generators import latents as drawn
from prepared import prepare
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ganfix_plugin import GanfixError, attach

N = 4
SPECS = [
    "seqabl:rate=0.3,samples=200",
    "seqabl:rate=0.3,samples=200,gate=lr:50%",
    "truncation:psi=0.5",
    "seqc:mode=sample,rows=all,samples=200,extractor=prepared:look",
    "steer:from=lr,samples=200,gate=probe:50%",
]
CORRECTED, REFUSED, UNCORRECTED = "corrected", "refused", "uncorrected and not claimed"
# A correction that acts on whole calls refuses what goes past them.
EITHER = f"{CORRECTED} or {REFUSED}"
NOISE = {"noise_mode": "const"}


def latents(G: Any) -> tuple[Tensor, Tensor]:
    z = torch.randn(N, G.z_dim, generator=torch.Generator().manual_seed(0))
    return z, torch.zeros(N, G.c_dim)


def rebuilt(G: Any) -> Any:
    """As scripts make another one of the same weights."""
    other = type(G)(*G.init_args, **G.init_kwargs).eval().requires_grad_(False)
    other.load_state_dict(G.state_dict())
    return other


@dataclass(frozen=True)
class Script:
    """A generator, its inputs, and what was made of it before it is corrected, by name."""

    G: Any
    z: Tensor
    c: Tensor
    w: Tensor
    before: dict[str, Any]


def made_before(G: Any) -> dict[str, Any]:
    return {
        "copy": copy.deepcopy(G),
        "pickle": pickle.dumps(G),
        "rebuilt": rebuilt(G),
        "call": G.__call__,
        "forward": G.forward,
        "synthesis": G.synthesis,
        "wrapped": Wrapped(G),
        "parallel": nn.DataParallel(G),
        "partial": functools.partial(G, **NOISE),
    }


class Wrapped(nn.Module):
    """A network of a script's own around a generator."""

    def __init__(self, G: nn.Module) -> None:
        super().__init__()
        self.G = G

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return self.G(z, c, **NOISE)


def blocks(G: Any, w: Tensor, forward: bool = False) -> Tensor:
    """Block by block, as scripts do that look at what is in between."""
    x = image = None
    place = 0
    for resolution in G.synthesis.block_resolutions:
        block = getattr(G.synthesis, f"b{resolution}")
        of_block = w[:, place : place + block.num_conv + block.num_torgb]
        x, image = (block.forward if forward else block)(x, image, of_block, **NOISE)
        place += block.num_conv
    assert image is not None
    return image


def saved(G: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(G, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def in_thread(call: Callable[[], Tensor]) -> Tensor:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.no_grad()(call)).result()


async def awaited(call: Callable[[], Tensor]) -> Tensor:
    await asyncio.sleep(0)
    return call()


def given_by_name(module: nn.Module, *arguments: Tensor) -> Tensor:
    weights = dict(module.named_parameters()) | dict(module.named_buffers())
    return torch.func.functional_call(module, weights, arguments, NOISE)


def bound_anew(G: Any, z: Tensor, c: Tensor) -> Tensor:
    return types.MethodType(type(G).__call__, G)(z, c, **NOISE)


def with_grad(G: Any, w: Tensor) -> Tensor:
    with torch.enable_grad():
        return G.synthesis(w.clone().requires_grad_(), **NOISE).detach()


def inferred(G: Any, z: Tensor, c: Tensor) -> Tensor:
    with torch.inference_mode():
        return G(z.clone(), c.clone(), **NOISE).clone()


def hooked(G: Any, w: Tensor) -> Tensor:
    images: list[Tensor] = []
    handle = G.synthesis.register_forward_hook(lambda module, args, output: images.append(output))
    try:
        G.synthesis(w, **NOISE)
    finally:
        handle.remove()
    return images[0]


def alike(images: Tensor, others: Tensor) -> bool:
    return torch.allclose(images, others, atol=1e-5)


def one_by_one(G: Any, w: Tensor) -> Tensor:
    return torch.cat([G.synthesis(row, **NOISE) for row in w.split(1)])


# By what a script writes: the call, and what may come of it.
WAYS: dict[str, tuple[Callable[[Script], Tensor], str]] = {
    "G(z, c)": (lambda s: s.G(s.z, s.c, **NOISE), CORRECTED),
    "G(z, None)": (lambda s: s.G(s.z, None, **NOISE), CORRECTED),
    "G(z=z, c=c)": (lambda s: s.G(z=s.z, c=s.c, **NOISE), CORRECTED),
    "G(*[z, c])": (lambda s: s.G(*[s.z, s.c], **NOISE), CORRECTED),
    "G.forward(z, c)": (lambda s: s.G.forward(s.z, s.c, **NOISE), CORRECTED),
    "G.__call__(z, c)": (lambda s: s.G.__call__(s.z, s.c, **NOISE), CORRECTED),
    "type(G).forward(G, z, c)": (
        lambda s: type(s.G).forward(s.G, s.z, s.c, **NOISE),
        CORRECTED,
    ),
    "nn.Module.__call__(G, z, c)": (
        lambda s: nn.Module.__call__(s.G, s.z, s.c, **NOISE),
        CORRECTED,
    ),
    "a method bound anew": (lambda s: bound_anew(s.G, s.z, s.c), CORRECTED),
    "G.__call__ of before": (lambda s: s.before["call"](s.z, s.c, **NOISE), CORRECTED),
    "G.forward of before": (lambda s: s.before["forward"](s.z, s.c, **NOISE), CORRECTED),
    "G.synthesis of before": (lambda s: s.before["synthesis"](s.w, **NOISE), CORRECTED),
    "a partial of before": (lambda s: s.before["partial"](s.z, s.c), CORRECTED),
    "G.synthesis(ws)": (lambda s: s.G.synthesis(s.w, **NOISE), CORRECTED),
    "G.synthesis(ws=ws)": (lambda s: s.G.synthesis(ws=s.w, **NOISE), CORRECTED),
    "map(G.synthesis, …)": (
        lambda s: next(map(functools.partial(s.G.synthesis, **NOISE), [s.w])),
        CORRECTED,
    ),
    "G.synthesis.forward(ws)": (lambda s: s.G.synthesis.forward(s.w, **NOISE), EITHER),
    "type(G.synthesis).forward(…)": (
        lambda s: type(s.G.synthesis).forward(s.G.synthesis, s.w, **NOISE),
        EITHER,
    ),
    "block by block": (lambda s: blocks(s.G, s.w), EITHER),
    "each block's forward": (lambda s: blocks(s.G, s.w, forward=True), EITHER),
    "one latent at a time": (lambda s: one_by_one(s.G, s.w), CORRECTED),
    "ws in another memory order": (
        lambda s: s.G.synthesis(s.w.mT.contiguous().mT, **NOISE),
        CORRECTED,
    ),
    "with gradients": (lambda s: with_grad(s.G, s.w), CORRECTED),
    "a checkpoint": (
        lambda s: checkpoint(s.G.synthesis, s.w, use_reentrant=False, **NOISE),
        CORRECTED,
    ),
    "in inference mode": (lambda s: inferred(s.G, s.z, s.c), CORRECTED),
    "G.eval()(z, c)": (lambda s: s.G.eval()(s.z, s.c, **NOISE), CORRECTED),
    "G.to('cpu')(z, c)": (lambda s: s.G.to("cpu")(s.z, s.c, **NOISE), CORRECTED),
    "behind a hook": (lambda s: hooked(s.G, s.w), CORRECTED),
    "in a thread": (lambda s: in_thread(lambda: s.G(s.z, s.c, **NOISE)), CORRECTED),
    "awaited": (
        lambda s: asyncio.run(awaited(lambda: s.G(s.z, s.c, **NOISE))),
        CORRECTED,
    ),
    "in a module": (lambda s: Wrapped(s.G)(s.z, s.c), CORRECTED),
    "in a module of before": (lambda s: s.before["wrapped"](s.z, s.c), CORRECTED),
    "DataParallel(G)": (lambda s: nn.DataParallel(s.G)(s.z, s.c, **NOISE), CORRECTED),
    "DataParallel(G.synthesis)": (
        lambda s: nn.DataParallel(s.G.synthesis)(s.w, **NOISE),
        CORRECTED,
    ),
    "DataParallel of before": (lambda s: s.before["parallel"](s.z, s.c, **NOISE), CORRECTED),
    "functional_call(G)": (lambda s: given_by_name(s.G, s.z, s.c), CORRECTED),
    "functional_call(G.synthesis)": (
        lambda s: given_by_name(s.G.synthesis, s.w),
        CORRECTED,
    ),
    "a deep copy": (lambda s: copy.deepcopy(s.G)(s.z, s.c, **NOISE), CORRECTED),
    "a deep copy's synthesis": (
        lambda s: copy.deepcopy(s.G).synthesis(s.w, **NOISE),
        CORRECTED,
    ),
    "a copy": (lambda s: copy.copy(s.G)(s.z, s.c, **NOISE), CORRECTED),
    "a pickle": (
        lambda s: pickle.loads(pickle.dumps(s.G)).synthesis(s.w, **NOISE),
        CORRECTED,
    ),
    "torch.save and torch.load": (lambda s: saved(s.G)(s.z, s.c, **NOISE), CORRECTED),
    "torch.jit.trace": (
        lambda s: torch.jit.trace(lambda w: s.G.synthesis(w, **NOISE), s.w)(s.w),
        REFUSED,
    ),
    "a copy of before": (lambda s: s.before["copy"](s.z, s.c, **NOISE), UNCORRECTED),
    "a pickle of before": (
        lambda s: pickle.loads(s.before["pickle"])(s.z, s.c, **NOISE),
        UNCORRECTED,
    ),
    "rebuilt before": (lambda s: s.before["rebuilt"](s.z, s.c, **NOISE), UNCORRECTED),
    "rebuilt of its weights": (lambda s: rebuilt(s.G)(s.z, s.c, **NOISE), UNCORRECTED),
}


@pytest.mark.parametrize("spec", SPECS, ids=[spec.partition(":")[0] for spec in SPECS])
def test_a_call_is_corrected_or_refused_or_not_claimed(stylegan2: Any, spec: str) -> None:
    if spec.startswith("seqc"):
        prepare(stylegan2)
    outcomes, after = {}, {}
    with torch.no_grad():
        z, c = latents(stylegan2)
        script = Script(stylegan2, z, c, stylegan2.mapping(z, c), made_before(stylegan2))
        plain = stylegan2.synthesis(script.w, **NOISE)
        with attach(stylegan2, spec) as attachment:
            corrected = stylegan2.synthesis(script.w, **NOISE)
            assert not alike(corrected, plain)
            for way, (call, _) in WAYS.items():
                claimed = attachment.counts[0].samples
                try:
                    images = call(script)
                except GanfixError as error:
                    outcomes[way] = REFUSED if "\n" not in str(error) else "many lines"
                    continue
                silent = attachment.counts[0].samples > claimed or not alike(images, plain)
                uncorrected = "silent" if silent else UNCORRECTED
                outcomes[way] = CORRECTED if alike(images, corrected) else uncorrected
        for way, (call, expected) in WAYS.items():
            if expected != REFUSED:
                after[way] = alike(call(script), plain)
    wrong = {way: outcomes[way] for way in WAYS if outcomes[way] not in WAYS[way][1].split(" or ")}
    assert not wrong and all(after.values()) and len(WAYS) >= 40


class Redrawn(Tensor):
    """Latents that know how to draw themselves anew; what is computed of them does not."""

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        moved = super().to(*args, **kwargs).as_subclass(Redrawn)
        moved.seed = self.seed
        return moved


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "truncation" not in spec])
def test_a_latent_of_the_scripts_own_class_is_corrected_as_any_other(
    pggan: nn.Module, spec: str
) -> None:
    if spec.startswith("seqc"):
        prepare(pggan)
    z = drawn(pggan, 4 * N)
    with torch.no_grad():
        before = images(pggan, z)
        with attach(pggan, spec):
            corrected, own = images(pggan, z), images(pggan, z.as_subclass(Redrawn))
    assert not torch.equal(corrected, before) and type(own) is Redrawn
    assert torch.equal(own.as_subclass(Tensor), corrected)


@pytest.mark.parametrize("spec", ["truncation:psi=0.5", "steer:from=lr,samples=200"])
def test_a_forward_called_directly_past_the_entry_is_refused(stylegan2: Any, spec: str) -> None:
    with torch.no_grad(), attach(stylegan2, spec):
        w = stylegan2.mapping(*latents(stylegan2))
        stylegan2.synthesis(w, **NOISE)
        with pytest.raises(GanfixError, match="not its forward or its blocks"):
            stylegan2.synthesis.forward(w, **NOISE)
