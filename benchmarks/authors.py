"""ganfix beside the released code of [C22], on the same weights, latents and batches.

    python benchmarks/authors.py --authors DIR [--what equality|speed|memory|all]

DIR is a checkout of the authors' repository; nothing in it is changed or written. As shipped it
cannot be imported, because models/sync_op.py is missing: a stand-in for one process takes its
place, or genforce's own file with --genforce DIR.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"  # before anybody imports tqdm

import click
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin._version import __version__
from ganfix_plugin.adapters import Layer, find_adapter
from ganfix_plugin.profiling.authors import import_rates
from ganfix_plugin.profiling.fingerprint import fingerprint
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.rates import count_active, count_low_rate, fitting_batch

RATE = 0.3
FOOTWEAR = Path(__file__).parents[1] / "examples/pggan_small/checkpoints/pggan_footwear32"
FLOORS = {  # how many times faster than the authors' code, by (model, resolution)
    ("profiling", "stylegan2", 256): 8,
    ("profiling", "stylegan2", 1024): 40,
    ("detection", "stylegan2", 256): 12,
    ("detection", "stylegan2", 1024): 50,
}


class Authors:
    """The authors' classes, imported from their checkout."""

    def __init__(self, checkout: Path, genforce: Path | None):
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(checkout))
        sync_op = types.ModuleType("models.sync_op")
        sync_op.all_gather = lambda tensor: tensor  # type: ignore[attr-defined]
        if genforce:
            path = genforce / "models" / "sync_op.py"
            spec = importlib.util.spec_from_file_location("models.sync_op", path)
            assert spec and spec.loader
            sync_op = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sync_op)
        sys.modules["models.sync_op"] = sync_op
        self.stats = checkout / "stats"
        self.stylegan2 = importlib.import_module("models.stylegan2_generator").StyleGAN2Generator
        self.pggan = importlib.import_module("models.pggan_generator").PGGANGenerator
        released = importlib.import_module("seq_abl").sequential_ablation

        class Ablation(released):  # type: ignore[misc,valid-type]
            """Their class; keeps the scores that their detection drops, and renders no images."""

            def generate_images(self, latents: Tensor) -> Tensor:
                caller = sys._getframe(1).f_locals
                self.scores, self.scored = caller["total_list"], caller["z"]
                return latents

        self.ablation = Ablation

    def generator(self, model: str, resolution: int, seed: int = 0) -> nn.Module:
        """Seeded weights, with biases and noise that spread the activation rates over 0 to 1.

        A network as it is initialised has rates around 0.5 and hardly an LR-neuron; with biases
        drawn from N(-0.5, 1), 55 to 62 % of the neurons have rates ≤ 0.3, as in trained networks.
        """
        torch.manual_seed(seed)
        G: nn.Module = getattr(self, model)(resolution=resolution).eval().requires_grad_(False)
        for name, tensor in G.named_parameters():
            if name.endswith("noise_strength"):
                tensor.fill_(0.3)
            elif name.endswith("bias") and "layer" in name and "style" not in name:
                tensor.normal_(-0.5, 1)
        return G

    def footwear(self, narrow: bool) -> nn.Module:
        """The trained PGGAN of examples/pggan_small; ``narrow`` takes the first 64 of 512 z."""

        class Narrow(self.pggan):  # type: ignore[name-defined]
            def forward(self, z: Tensor) -> Any:
                return super().forward(z[:, : self.z_space_dim])

        G: nn.Module = (Narrow if narrow else self.pggan)(
            resolution=32, z_space_dim=64, fmaps_base=1024, fmaps_max=64
        )
        G.load_state_dict(load_file(FOOTWEAR.with_suffix(".safetensors")))
        return G.eval().requires_grad_(False)

    def run(self, G: nn.Module, model: str, samples: int, batch: int, stats: str = "") -> Any:
        """Their object, which draws its latents and measures (or reads) the rates at once."""
        args = types.SimpleNamespace(
            model=model, sample_size=samples, batch_size=batch, freq_path=stats, dataset="ffhq"
        )
        with quiet():
            return self.ablation(G, "cpu", args)


@dataclass(frozen=True)
class Given:
    """Latents that somebody else drew, in the place of `ganfix_plugin.adapters.Latents`."""

    z: Tensor

    def batches(self, samples: int, size: int, device: Any) -> Iterator[tuple[Tensor, None]]:
        for start in range(0, samples, size):
            yield self.z[start : min(start + size, samples)].to(device), None


@dataclass
class Ours:
    """What ganfix does with the same generator, by the same layers' numbers."""

    G: nn.Module
    batch: int

    @cached_property
    def adapter(self) -> Any:
        return find_adapter(self.G)

    def layers(self, numbers: Sequence[int]) -> list[Layer]:
        return [layer for layer in self.adapter.layers(self.G) if layer.index in numbers]

    def count(self, z: Tensor, numbers: Sequence[int], batch: int = 0) -> dict[str, Tensor]:
        layers, size = self.layers(numbers), batch or self.batch
        return count_active(self.G, self.adapter, layers, Given(z), len(z), size)  # type: ignore[arg-type]

    def profile(self, z: Tensor, numbers: Sequence[int]) -> Profile:
        mark, kind, settings = fingerprint(self.G), type(self.G).__name__, Settings(len(z))
        counts = self.count(z, numbers)
        return Profile(mark, kind, self.adapter.name, settings, __version__, counts)

    def low_rate(self, profile: Profile) -> list[tuple[Layer, Tensor]]:
        layers = self.adapter.auto(self.adapter.layers(self.G))
        return [(layer, profile.low_rate(layer, RATE, dead=False)) for layer in layers]

    def detect(self, z: Tensor, low_rate: list[tuple[Layer, Tensor]], batch: int = 0) -> Tensor:
        given, n = Given(z), len(z)
        return count_low_rate(self.G, self.adapter, low_rate, given, n, batch or self.batch)  # type: ignore[arg-type]

    def correct(self, z: Tensor, profile: Profile) -> Tensor:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder) / "profile.safetensors"
            profile.save(path)
            with ganfix.attach(self.G, f"seqabl:rate={RATE},dead=without,profile={path}"):
                image: Tensor = self.G(z)["image"]
        return image


def measured_by_them(model: str) -> list[int]:
    """The layers that their code profiles; it ablates the first three of them."""
    return [0, 1, 3, 5] if model == "stylegan2" else [1, 3, 5, 7]


def equality(
    authors: Authors, title: str, model: str, theirs: Any, ours: Ours, z_dim: int
) -> Iterator[str]:
    """Rows of a table: what was compared, how much of it, and whether it is equal bit for bit."""
    numbers = measured_by_them(model)
    with quiet():
        torch.manual_seed(1)
        theirs.arti_detection(numbers[:3], sample_num=4 * ours.batch, topn=ours.batch)
        chosen = list(range(ours.batch))
        original, repaired, _ = theirs.seq_abl(chosen, numbers[:3], rate="30")
    z, scored = theirs.latents[:, :z_dim], theirs.scored[:, :z_dim]
    profile = ours.profile(z, numbers)
    for layer in ours.layers(numbers):
        key = f"layer{layer.index}"
        rates = profile.rates(layer).flatten()
        low = profile.low_rate(layer, RATE, dead=False).flatten()
        same = torch.equal(rates, torch.as_tensor(theirs.neurons_freq[key]))
        same &= np.array_equal(low.nonzero()[:, 0], theirs.r_indices_[key]["30"])
        what = f"rates and LR set of layer {layer.index}, {low.float().mean():.0%} LR"
        yield f"| {title} | {what} | {rates.numel()} neurons, {len(z)} latents | {_yes(same)} |"
    scores = ours.detect(scored, ours.low_rate(profile))
    same = torch.equal(scores.float(), theirs.scores)
    what = f"LR counts, {int(scores.min())} to {int(scores.max())}"
    yield f"| {title} | {what} | {len(scores)} latents | {_yes(same)} |"
    image = ours.correct(z[: ours.batch], profile)
    difference = float((image - repaired).abs().max())
    changed = float((original - repaired).abs().mean() / original.abs().mean())
    what = f"images with ablation, which changes them by {changed:.0%}"
    found = _yes(torch.equal(image, repaired)) + f", largest difference {difference:g}"
    yield f"| {title} | {what} | {len(image)} images | {found} |"


def stats_equality(authors: Authors) -> Iterator[str]:
    """The published FFHQ rates: imported by ganfix, and read by the authors' own class."""
    G = authors.generator("stylegan2", 64)
    theirs = authors.run(G, "stylegan2", 1, 1, str(authors.stats))
    profile = import_rates(G, authors.stats, "ffhq", "stylegan2")
    for layer in Ours(G, 1).layers(measured_by_them("stylegan2")):
        key, rates = f"layer{layer.index}", profile.rates(layer).flatten()
        low = profile.low_rate(layer, RATE, dead=False).flatten()
        same = np.array_equal(rates.numpy(), theirs.neurons_freq[key])
        same &= np.array_equal(low.nonzero()[:, 0], theirs.r_indices_[key]["30"])
        what = f"imported rates and LR set of layer {layer.index}, {low.float().mean():.0%} LR"
        yield f"| their stats/ | {what} | {rates.numel()} neurons | {_yes(same)} |"


def speed(
    authors: Authors, model: str, resolution: int, samples: int, batch: int, repeats: int
) -> Iterator[str]:
    """Rows of a table: time per latent, and the median of the ratios of interleaved runs."""
    G = authors.generator(model, resolution)
    numbers = measured_by_them(model)
    ours, theirs = Ours(G, batch), authors.run(G, model, samples, batch)
    z = theirs.latents
    low_rate = ours.low_rate(ours.profile(z, numbers))
    three = numbers[:3]
    fitting = fitting_batch(ours.layers(numbers), torch.device("cpu"))
    runs: dict[str, tuple[Callable[[], Any], dict[tuple[str, int], Callable[[], Any]]]] = {
        "profiling": (
            theirs.neurons_statistic,
            {
                (_sum(numbers), batch): lambda: ours.count(z, numbers),
                (_sum(numbers), fitting): lambda: ours.count(z, numbers, fitting),
                (_sum(three), fitting): lambda: ours.count(z, three, fitting),
            },
        ),
        "detection": (
            lambda: theirs.arti_detection(three, samples, batch),
            {
                (_sum(three), batch): lambda: ours.detect(z, low_rate),
                (_sum(three), fitting): lambda: ours.detect(z, low_rate, fitting),
            },
        ),
    }
    for kind, (slow, variants) in runs.items():
        with quiet():
            for fast in variants.values():
                fast()
            times = [
                [_seconds(work) / samples for work in (slow, *variants.values())]
                for _ in range(repeats)
            ]
        slow_time, *fast_times = (statistics.median(column) for column in zip(*times))
        floor = FLOORS.get((kind, model, resolution))
        for place, ((layers, size), fast_time) in enumerate(zip(variants, fast_times), start=1):
            ratios = [row[0] / row[place] for row in times]
            yield (
                f"| {model} {resolution} | {kind}, layers {layers} | {torch.get_num_threads()} "
                f"| {slow_time * 1e3:.0f} ms, {batch} | {fast_time * 1e3:.1f} ms, {size} "
                f"| **{statistics.median(ratios):.1f}×** ({min(ratios):.1f}–{max(ratios):.1f}) "
                f"| {f'{floor}×' if floor else ''} |"
            )


def peak_memory(model: str, resolution: int, samples: int, batch: int) -> int:
    """MB at the peak of a process of its own that profiles ``samples`` latents."""
    flags = [f"--model={model}", f"--resolution={resolution}", f"--samples={samples}"]
    command = [sys.executable, *sys.argv, *flags, f"--batch={batch}", "--what=peak"]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(found.split()[-1])


def print_peak(authors: Authors, model: str, resolution: int, samples: int, batch: int) -> None:
    """Profile once, on latents drawn as `ganfix profile` draws them, and print the peak in MB."""
    from ganfix_plugin.adapters import Latents

    G = authors.generator(model, resolution)
    ours = Ours(G, batch)
    layers = ours.layers(measured_by_them(model))
    count_active(G, ours.adapter, layers, Latents((512,), 0), samples, batch)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _yes(equal: bool) -> str:
    return "equal" if equal else "**differs**"


def _sum(numbers: Sequence[int]) -> str:
    return "+".join(map(str, numbers))


@click.command()
@click.option("--authors", "checkout", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--genforce", type=click.Path(exists=True, path_type=Path), help="For sync_op.py.")
@click.option("--model", multiple=True, type=click.Choice(["stylegan2", "pggan"]))
@click.option("--resolution", multiple=True, type=int, help="256, 1024, …; may be repeated.")
@click.option(
    "--samples", type=int, help="Latents per run.  [default: 4 batches; memory 16 and 64]"
)
@click.option("--batch", type=int, help="Latents per pass.  [default: 8, or 2 from 512 pixels on]")
@click.option("--threads", multiple=True, type=int, default=[2, 1], show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Interleaved runs of each.")
@click.option(
    "--what", default="all", type=click.Choice(["all", "equality", "speed", "memory", "peak"])
)
@click.option("--out", type=click.Path(path_type=Path), help="Also append the tables to a file.")
def main(
    checkout: Path,
    genforce: Path | None,
    model: tuple[str, ...],
    resolution: tuple[int, ...],
    samples: int | None,
    batch: int | None,
    threads: tuple[int, ...],
    repeats: int,
    what: str,
    out: Path | None,
) -> None:
    """Compare ganfix with the code released with the IJCAI 2022 paper."""
    authors = Authors(checkout.resolve(), genforce)
    cases = [(m, r) for r in resolution or [256] for m in model or ["stylegan2", "pggan"]]
    size = {r: batch or (8 if r < 512 else 2) for _, r in cases}

    def say(*lines: str) -> None:
        for line in lines:
            print(line, flush=True)
            if out:
                with out.open("a") as file:
                    print(line, file=file)

    torch.set_num_threads(threads[0])
    if what == "peak":
        (m, r), *_ = cases
        return print_peak(authors, m, r, samples or size[r], size[r])
    say(
        f"\n{date.today()}, {_processor()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}, ganfix {__version__}"
    )
    if what in ("all", "equality"):
        say("\n| generator | compared | over | result |", "|---|---|---|---|")
        for m, r in cases:
            G = authors.generator(m, r)
            theirs = authors.run(G, m, samples or 4 * size[r], size[r])
            for row in equality(authors, f"{m} {r}", m, theirs, Ours(G, size[r]), 512):
                say(row)
        theirs = authors.run(authors.footwear(narrow=True), "pggan", 512, 32)
        ours = Ours(authors.footwear(narrow=False), 32)
        for row in equality(authors, "pggan_footwear32, trained", "pggan", theirs, ours, 64):
            say(row)
        for row in stats_equality(authors):
            say(row)
    if what in ("all", "speed"):
        say(
            "\n| generator | work | threads | authors: per latent, batch | ganfix | faster by "
            "(range) | floor |",
            "|---|---|---|---|---|---|---|",
        )
        for m, r in cases:
            for count in threads:
                torch.set_num_threads(count)
                for row in speed(authors, m, r, samples or 4 * size[r], size[r], repeats):
                    say(row)
    if what in ("all", "memory"):
        say("\n| generator | latents profiled | peak memory |", "|---|---|---|")
        for m, r in cases:
            n = samples or 16 * size[r]
            for count in (n, 4 * n):
                say(f"| {m} {r} | {count} | {peak_memory(m, r, count, size[r])} MB |")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
