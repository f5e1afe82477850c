"""Hold ganfix to its promises on generators of other people's code, as it is.

    python scripts/check_generators.py DIR

DIR holds checkouts of unetgan, stylegan2-pytorch (rosinality's), stylegan-xl and stylegan3-fun,
under any names; the PyPI packages stylegan2-torch and pro-gan-pth are taken from the environment,
or from an unpacked copy in DIR. Tiny random networks on the CPU, one process for each generator;
nothing is written into DIR. Prints one line per fact; the exit status is 1 if one of them does not
hold.
"""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd as Transposed
from torch.utils import cpp_extension

import ganfix_plugin as ganfix
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import Latents
from ganfix_plugin.hosts.custom_ops import fused_bias_act, upfirdn2d
from ganfix_plugin.hosts.host import Situation, find_host
from ganfix_plugin.hosts.import_hooks import installed, replaced, stand_in
from ganfix_plugin.hosts.session import Run, Session

Fact = tuple[str, bool]
SPEC = "seqabl:samples=64,lowest=40%"
N = 6


def planes(x: Tensor, *more: Any) -> Tensor:
    """stylegan2-torch's op takes [N, 1, H, W], rosinality's [N, H, W, 1]."""
    return upfirdn2d(x.permute(0, 2, 3, 1), *more).permute(0, 3, 1, 2).contiguous()


OPS = SimpleNamespace(fused_bias_act=fused_bias_act, upfirdn2d=planes)


@dataclass(frozen=True)
class Case:
    """A generator of somebody's code.

    Attributes:
        file: of the checkout, which tells it from others; a module's name for a package.
        adapter: the one that should recognise it.
        build: makes a tiny one, where the checkout can be imported.
        layers: how many there are.
        folder: the checkout's name in DIR, where its files do not tell it apart.
    """

    title: str
    file: str
    adapter: str
    build: Callable[[], nn.Module]
    layers: int


def biggan(**options: Any) -> nn.Module:
    """BigGAN's or U-net GAN's generator, which the latter's checkout both has."""
    with stand_in("matplotlib", pyplot=None), stand_in("utils"):
        module = importlib.import_module("BigGAN")
    names = {"G_ch": 4, "dim_z": 24, "resolution": 128, "no_optim": True, "skip_init": True}
    return module.Generator(**{**names, "G_attn": "64", **options})


def rosinality() -> nn.Module:
    return importlib.import_module("model").Generator(32, 32, 2, channel_multiplier=1)


def stylegan2_torch() -> nn.Module:
    module = importlib.import_module("stylegan2_torch")
    return module.Generator(32, 32, 2, channels={4: 16, 8: 16, 16: 16, 32: 8})


def pro_gan() -> nn.Module:
    return importlib.import_module("pro_gan_pytorch.networks").Generator(depth=4)


def nvidia(module: str, **options: Any) -> nn.Module:
    """A generator of the NVIDIA kind."""
    common = {"z_dim": 16, "c_dim": 0, "w_dim": 16, "img_resolution": 32, "img_channels": 3}
    widths = {"channel_base": 512, "channel_max": 16}
    Generator = importlib.import_module(module).Generator
    return Generator(**{**common, **widths, "mapping_kwargs": {"num_layers": 2}, **options})


def stylegan_xl(c_dim: int = 0) -> nn.Module:
    """Its mapping reads an embedding from a file; a random one stands in."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "in_embeddings").mkdir()
        path = Path(name, "in_embeddings", "tf_efficientnet_lite0.pkl")
        path.write_bytes(pickle.dumps({"embed": nn.Embedding(1000, 320)}))
        before = os.getcwd()
        os.chdir(name)
        try:
            module = "training.networks_stylegan3_resetting"
            kernels = {"conv_kernel": 3, "use_radial_filters": False}
            return nvidia(module, c_dim=c_dim, num_layers=6, **kernels)
        finally:
            os.chdir(before)


def stylegan3_fun() -> nn.Module:
    return nvidia("training.networks_stylegan3", num_layers=4)


CASES = (
    Case(
        "U-net GAN, faces",
        "BigGAN.py",
        "biggan",
        lambda: biggan(unconditional=True, hier=True, G_shared=False, n_classes=1),
        5,
    ),
    Case(
        "BigGAN, conditional",
        "BigGAN.py",
        "biggan",
        lambda: biggan(unconditional=False, hier=True, G_shared=True, shared_dim=8, n_classes=5),
        5,
    ),
    Case(
        "BigGAN, not hierarchical",
        "BigGAN.py",
        "biggan",
        lambda: biggan(unconditional=False, hier=False, G_shared=False, n_classes=5),
        5,
    ),
    Case("rosinality", "swagan.py", "rosinality-stylegan2", rosinality, 7),
    Case("StyleGAN-XL", "pg_modules/blocks.py", "nvidia-stylegan3", stylegan_xl, 6),
    Case(
        "StyleGAN-XL, conditional",
        "pg_modules/blocks.py",
        "nvidia-stylegan3",
        lambda: stylegan_xl(1000),
        6,
    ),
    Case("stylegan3-fun, StyleGAN3", "sightseeding.py", "nvidia-stylegan3", stylegan3_fun, 4),
    Case(
        "stylegan3-fun, StyleGAN2",
        "sightseeding.py",
        "nvidia-stylegan2",
        lambda: nvidia("training.networks_stylegan2"),
        7,
    ),
    Case("stylegan2-torch", "stylegan2_torch", "stylegan2-torch", stylegan2_torch, 7),
    Case("pro-gan-pth", "pro_gan_pytorch", "pro-gan-pth", pro_gan, 6),
)


def facts(case: Case) -> Iterator[Fact]:
    """What holds for every generator."""
    G = case.build().eval().requires_grad_(False)
    generator = Generator.of(G)
    adapter, layers = generator.adapter, generator.layers
    yield (
        f"adapter {adapter.name}, {len(layers)} layers",
        ((adapter.name, len(layers)) == (case.adapter, case.layers)),
    )
    latents = Latents.of(generator, seed=1)
    ((z, c),) = latents.batches(N, N, torch.device("cpu"))

    def draw() -> Tensor:
        torch.manual_seed(0)
        return generator.synthesize(z, c)

    seen: dict[str, Any] = {}
    handles = [
        G.get_submodule(layer.name).register_forward_hook(
            lambda module, args, output, name=layer.name: seen.update({name: output})
        )
        for layer in layers
    ]
    plain = draw()
    for handle in handles:
        handle.remove()
    shapes = [tuple(layer.read(seen[layer.name]).shape[1:]) for layer in layers]
    expected = [(layer.channels, *layer.resolution) for layer in layers]
    yield "layers are of the sizes that the adapter says", shapes == expected
    with ganfix.attach(G, "none"):
        yield "--correct none: the same images", torch.equal(draw(), plain)
    with ganfix.attach(G, SPEC) as attached:
        corrected = draw()
        yield f"--correct {SPEC}: other images", not torch.equal(corrected, plain)
        (count,) = attached.counts
        yield f"… {count.corrected} of {count.samples}", (count.samples, count.corrected) == (N, N)
    yield "detached: the same images", torch.equal(draw(), plain)
    with ganfix.attach(G, f"{SPEC},gate=lr:50%") as attached:
        gated = draw()
        (count,) = attached.counts
    same = (gated == plain).flatten(1).all(1)
    yield (
        f"gated: {count.corrected} of {N}, the rest is bit-identical",
        (int(same.sum()) == N - count.corrected and 0 < count.corrected < N),
    )
    scores = ganfix.detect(G, z, c, samples=64)
    yield f"detected: scores {scores.int().tolist()}", len(set(scores.tolist())) > 1
    spec = "units:units=1:0+1"
    with ganfix.attach(G, spec):
        yield f"--correct {spec}: other images", not torch.equal(draw(), plain)


@contextmanager
def importable(checkout: Path) -> Iterator[None]:
    """With the checkout on the path, and its workarounds."""
    with ExitStack() as stack:
        sys.path.insert(0, str(checkout))
        situation = Situation(checkout, "cpu")
        found = find_host(checkout)
        if found:
            stack.enter_context(Session(Run(situation, found[0].name)).installed())
        else:
            # stylegan2-torch compiles CUDA ops when it is imported, and pro-gan-pth calls a
            # function of PyTorch's that has got another argument since.
            stack.enter_context(replaced(cpp_extension, "load", lambda *args, **kwargs: OPS))
            padding = functools.partialmethod(Transposed._output_padding, num_spatial_dims=2)
            stack.enter_context(replaced(Transposed, "_output_padding", padding))
        yield


def place(folder: Path, case: Case) -> Path | None:
    """Where a case's code is: a folder to put on the path."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    found = next((each for each in folders if (each / case.file).exists()), None)
    return found or (folder if installed(case.file) else None)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--case", "number", type=int, hidden=True)
def main(folder: Path, number: int | None) -> None:
    """Check the generators of the checkouts in FOLDER."""
    if number is not None:
        case = CASES[number]
        found = place(folder.resolve(), case)
        if found is None:
            return click.echo(f"MISS  {case.title}: {case.file} is nowhere in {folder}")
        with importable(found):
            for text, holds in facts(case):
                click.echo(f"{'PASS' if holds else 'FAIL'}  {case.title}: {text}")
        return None
    failed = 0
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "GANFIX_CACHE": cache, "PYTHONDONTWRITEBYTECODE": "1"}
        env["OMP_NUM_THREADS"] = "1"
        for place_of, case in enumerate(CASES):
            line = [sys.executable, __file__, str(folder), f"--case={place_of}"]
            done = subprocess.run(line, env=env, capture_output=True, text=True)
            lines = [
                each for each in done.stdout.splitlines() if each[:4] in ("PASS", "FAIL", "MISS")
            ]
            click.echo("\n".join(lines))
            failed += sum(each.startswith("FAIL") for each in lines)
            if done.returncode:
                failed += 1
                click.echo(f"FAIL  {case.title}: {done.stderr.strip().splitlines()[-1]}")
    click.echo(f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
