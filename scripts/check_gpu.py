"""Hold ganfix to its promises on a GPU, in parts that can be run alone.

    python scripts/check_gpu.py --hosts DIR --out OUT [PART …]

Needs PyTorch, what ganfix itself requires, pytest for the part "tests", and no network; ganfix need
not be installed. DIR holds checkouts of stylegan2-ada-pytorch, stylegan3 and genforce; without it
the parts of hosts are left out and said to be. Each part runs in a process of its own for at most
8 minutes and leaves OUT/PART.json: its facts, each true or false, and its figures. The exit status
is 1 if a fact is false or a part broke off. With ``--device cpu --small`` every part runs anywhere;
its figures mean nothing then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / name) for name in ("scripts", "benchmarks", "tests"))]
MOST_SECONDS = 480
SPECS = ("none", "seqabl", "seqabl:gate=lr:70%", "truncation:psi=0.7", "random", "steer", "seqc")
SCRIPTS = {"ada": "generate.py", "sg3": "gen_images.py", "genforce": "synthesize.py"}
Result = tuple[str, Any]
"""A fact (a text that says what holds, and whether it does) or a figure (its name and value)."""


@dataclass(frozen=True)
class Setup:
    """Where and how much.

    Attributes:
        device: "cuda" or "cpu".
        small: sizes that only show that everything runs.
        hosts: a folder of checkouts.
    """

    device: str
    small: bool
    hosts: Path | None

    def size(self, full: int, small: int) -> int:
        """A size, or the one that only shows that it runs."""
        return small if self.small else full


def tests(setup: Setup) -> Iterator[Result]:
    """The project's tests, as far as they need no installation."""
    files = ["tests/test_edits.py"] if setup.small else ["tests"]
    workers = ["-n", "auto"] if not setup.small else []
    left_out = ["--deselect=tests/test_packaging.py", "--deselect=tests/test_notebook.py"]
    command = ["-m", "pytest", "-q", "-m", "not slow", *workers, *left_out, *files]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    yield "the last lines of pytest", done.stdout.splitlines()[-25:]
    yield "all tests pass", done.returncode == 0


def ops(setup: Setup) -> Iterator[Result]:
    """The native ops are built by ninja, and compute what the reference does, bit for bit."""
    import torch
    from edits import LAYOUTS, feature_map
    from test_ops import SHAPES, results, same

    from ganfix_plugin.ops import reference
    from ganfix_plugin.ops.dispatch import DTYPES, implementation

    os.environ["GANFIX_OPS"] = "native"
    start = time.perf_counter()
    native = implementation(torch.zeros(1, 1, 1, 1, device=setup.device))
    yield "seconds to build", round(time.perf_counter() - start, 1)
    yield f"there are native ops on {setup.device}", native is not reference
    for dtype in DTYPES:
        for layout, arranged in LAYOUTS.items():
            equal = True
            for shape in SHAPES:
                x = arranged(feature_map(shape, dtype).to(setup.device))
                ours, expected = results(native, x), results(reference, x)
                equal &= all(same(ours[name].cpu(), expected[name].cpu()) for name in ours)
            yield f"they compute what the reference does: {dtype}, {layout}", equal


def agreement(setup: Setup) -> Iterator[Result]:
    """Activation counts on the CPU and on the device differ by rounding only."""
    import torch
    from networks import stylegan2

    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.generators.latents import Latents
    from ganfix_plugin.profiling.rates import count_active

    samples = setup.size(2000, 8)
    for resolution in (setup.size(256, 16), setup.size(1024, 32)):
        counts = []
        for device in ("cpu", setup.device):
            G = stylegan2(resolution, width=setup.size(0, 512)).to(device)
            generator = Generator.of(G).measured_exactly()
            latents = Latents.of(generator)
            counts.append(count_active(generator, generator.auto, latents, samples))
        pairs = [(counts[0][name].flatten(), counts[1][name].flatten()) for name in counts[0]]
        differing = torch.cat([(one != other).float() for one, other in pairs]).mean()
        yield f"share of differing counts, {resolution} pixels", float(differing)
        yield f"at most 1 in 1,000 counts differs, {resolution} pixels", float(differing) <= 1e-3


def figures(setup: Setup) -> Iterator[Result]:
    """What profiling, detection, hooks and steering cost."""
    import torch
    from networks import stylegan2

    import ganfix_plugin as ganfix
    from ganfix_plugin.generators.generator import Generator
    from ganfix_plugin.generators.latents import Latents, latent_batches
    from ganfix_plugin.profiling.rates import count_active, lr_counts

    samples, batch = setup.size(4096, 8), setup.size(64, 4)
    for resolution in (setup.size(256, 16), setup.size(1024, 32)):
        G = stylegan2(resolution, width=setup.size(0, 512)).to(setup.device)
        generator, z = Generator.of(G), torch.randn(setup.size(8, 2), 512, device=setup.device)
        where = f"{resolution} pixels"
        if setup.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

        def profile(count: int) -> dict[str, Any]:
            return count_active(generator, generator.auto, Latents.of(generator), count, batch)  # noqa: B023

        profile(batch)
        seconds, counts = _timed(setup, lambda: profile(samples))  # noqa: B023
        yield f"latents profiled per second, {where}", round(samples / seconds)
        rates = {layer: counts[layer.name] / samples for layer in generator.auto}
        low_rate = [(layer, rate <= 0.3) for layer, rate in rates.items()]
        batches = list(latent_batches(generator, Latents.of(generator, 1), samples, batch, "LR"))
        seconds, _ = _timed(setup, lambda: lr_counts(generator, low_rate, batches))  # noqa: B023
        yield f"latents ranked per second, {where}", round(samples / seconds)

        def render() -> Any:
            with torch.no_grad():
                return G(z, None, noise_mode="const")  # noqa: B023

        render()
        plain = min(_timed(setup, render)[0] for _ in range(5))
        yield f"milliseconds of {len(z)} images, {where}", round(1e3 * plain, 2)
        waits = _synchronisations(setup, render)
        specs = ("seqabl:samples=256", "seqabl:samples=256,gate=lr:70%", "steer:from=lr")
        for spec in specs[: setup.size(3, 2)]:
            with ganfix.attach(G, spec):
                render()
                corrected = min(_timed(setup, render)[0] for _ in range(5))
                more = _synchronisations(setup, render) - waits
            yield f"{spec}: times a plain generation, {where}", round(corrected / plain, 3)
            yield f"{spec}: more synchronisations than a plain generation, {where}", more
            if spec == "seqabl:samples=256":
                yield f"hooks wait for the device no more than the host does, {where}", more <= 0
        if setup.device == "cuda":
            yield f"peak GiB, {where}", round(torch.cuda.max_memory_allocated() / 2**30, 2)


def graphs(setup: Setup) -> Iterator[Result]:
    """torch.compile and CUDA graphs: the corrected images, or a refusal of one line."""
    import torch
    from networks import stylegan2

    import ganfix_plugin as ganfix

    G = stylegan2(setup.size(256, 16), width=setup.size(0, 512)).to(setup.device)
    z = torch.randn(2, 512, device=setup.device)

    def render(generator: Any) -> torch.Tensor:
        with torch.no_grad():
            images: torch.Tensor = generator(z, None, noise_mode="const")
        return images

    before = render(G)
    with ganfix.attach(G, "seqabl:samples=64"):
        expected = render(G)
        yield "seqabl changes the images", not torch.equal(before, expected)
        backend = "aot_eager" if setup.small else "inductor"
        compiled = torch.compile(G, backend=backend)
        yield from _same(f"torch.compile ({backend})", lambda: render(compiled), expected)
        if setup.device == "cuda":
            yield from _same("a CUDA graph", lambda: _captured(render, G), expected)
    yield "afterwards the images are as before", torch.equal(before, render(G))


def hosts_of(kind: str) -> Callable[[Setup], Iterator[Result]]:
    """The part of one host."""

    def part(setup: Setup) -> Iterator[Result]:
        """The unmodified scripts of one host, with all correctors."""
        from check_hosts import Drawing, ada, benches, equal, sg3

        for bench in benches(setup.hosts or Path(), kind, setup.device):
            network = "pggan_bedroom256" if kind == "genforce" else "net"
            before = bench.git_status()
            drawing = Drawing(bench, SCRIPTS[kind], network)
            plain = drawing.draw()
            for spec in SPECS[: setup.size(len(SPECS), 2)]:
                more = "" if spec == "none" else f"{',' if ':' in spec else ':'}samples=256"
                try:
                    images = drawing.draw(f"--correct={spec}{more}")
                except RuntimeError as error:
                    yield f"{kind} {spec}: {str(error).splitlines()[-1]}", False
                    continue
                changed = not equal(plain, images)
                yield (
                    f"{kind} {spec}: {'as without' if spec == 'none' else 'changes images'}",
                    (changed != (spec == "none")),
                )
            yield from {"ada": ada, "sg3": sg3}.get(kind, lambda _: iter(()))(bench)
            yield f"{kind}: the checkout stays as it was", bench.git_status() == before

    return part


PARTS: dict[str, Callable[[Setup], Iterator[Result]]] = {
    "ops": ops,
    "agreement": agreement,
    "figures": figures,
    "graphs": graphs,
    **{kind: hosts_of(kind) for kind in SCRIPTS},
    "tests": tests,
}


def _timed(setup: Setup, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came out, after all that was asked of the device is done."""
    import torch

    wait = torch.cuda.synchronize if setup.device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - start, result


def _synchronisations(setup: Setup, work: Callable[[], Any]) -> int:
    """How often some work waits for the device; 0 where there is none to wait for."""
    import warnings

    import torch

    if setup.device != "cuda":
        return 0
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def _same(what: str, work: Callable[[], Any], expected: Any) -> Iterator[Result]:
    """Whether some work gives the corrected images, or is refused in one line of ganfix's."""
    from ganfix_plugin import GanfixError

    try:
        images = work()
    except GanfixError as error:
        yield f"{what} is refused: {error}", "\n" not in str(error)
        return
    difference = float((images - expected).abs().max())
    yield f"{what}: largest difference of a pixel", difference
    yield f"{what} gives the corrected images", difference < 0.02


def _captured(render: Callable[[Any], Any], G: Any) -> Any:
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            render(G)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        images = render(G)
    graph.replay()
    torch.cuda.synchronize()
    return images


def _run_part(name: str, setup: Setup, out: Path) -> bool:
    """Run one part here, and keep every result at once, so that a part cut short has some."""
    facts, numbers, error = dict[str, bool](), dict[str, Any](), ""
    start = time.time()
    try:
        for text, value in PARTS[name](setup):
            (facts if isinstance(value, bool) else numbers)[text] = value
            click.echo(f"{name}: {text}: {value}")
            _write(out / f"{name}.json", facts, numbers, "broken off", start)
    except Exception:  # a part that breaks must say so in its file
        error = traceback.format_exc()
        click.echo(f"{name}: {error}", err=True)
    _write(out / f"{name}.json", facts, numbers, error, start)
    return all(facts.values()) and not error


def _write(file: Path, facts: Any, numbers: Any, error: str, start: float) -> None:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    about = {"device": device, "torch": torch.__version__, "seconds": round(time.time() - start)}
    results = {**about, "facts": facts, "figures": numbers, "error": error}
    file.write_text(json.dumps(results, indent=1))


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--small", is_flag=True, help="Sizes that only show that everything runs.")
@click.option("--hosts", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/gpu")
@click.option("--here", is_flag=True, hidden=True, help="In this process.")
def main(
    parts: tuple[str, ...], device: str, small: bool, hosts: Path | None, out: Path, here: bool
) -> None:
    """Run PARTS, by default all of them."""
    out.mkdir(parents=True, exist_ok=True)
    if here:
        (name,) = parts
        sys.exit(0 if _run_part(name, Setup(device, small, hosts), out) else 1)
    failed = []
    for name in parts or PARTS:
        if name in SCRIPTS and not hosts:
            click.echo(f"{name}: left out, since --hosts names no checkouts")
            continue
        command = [sys.executable, __file__, "--here", name, f"--device={device}", f"--out={out}"]
        command += ["--small"] * small + ([f"--hosts={hosts}"] if hosts else [])
        with tempfile.TemporaryDirectory(prefix="ganfix-gpu-") as cache:
            environment = {"GANFIX_CACHE": cache, **os.environ, "GANFIX_DEVICE": device}
            try:
                done = subprocess.run(command, env=environment, timeout=MOST_SECONDS)
                holds = done.returncode == 0
            except subprocess.TimeoutExpired:
                click.echo(f"{name}: broken off after {MOST_SECONDS} s")
                holds = False
        failed += [] if holds else [name]
    click.echo(f"failed: {', '.join(failed)}" if failed else "all facts hold")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
