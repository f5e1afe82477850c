"""`ganfix plot`: pictures of corrections and ablations of a generator's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ganfix_plugin.artifacts.scores import Scoring, unrendered
from ganfix_plugin.commands import options
from ganfix_plugin.commands.group import main
from ganfix_plugin.commands.options import PNG, Decorator, Fraction, Network, gathers, preset
from ganfix_plugin.correctors.bind import parse_specs
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import ready
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import check_class, seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.pictures.ablation import layer_by_layer, over_rates
from ganfix_plugin.pictures.corrections import before_after
from ganfix_plugin.pictures.sheet import save
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import ensure
from ganfix_plugin.spec import layer_choice


@main.group()
def plot() -> None:
    """Pictures: what a generator does, and what corrections do to it.

    Every picture carries its title and the settings it was made with. Seeds are the host's own, as
    in generate.py --seeds.
    """


out_option = click.option("--out", type=PNG, required=True, help="The picture, a PNG.")


def rates_option(default: str) -> Decorator:
    """``--rates``, activation rates R."""
    return preset("--rates", default, "Activation rates.", callback=_rates)


def _rates(context: click.Context, option: click.Parameter, text: str) -> list[float]:
    """Parse 0.1,0.3."""
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"found {text!r}, expected rates such as 0.1,0.3") from None
    if not all(0 <= rate <= 1 for rate in rates):
        raise click.BadParameter(f"found {text!r}, expected rates from 0 to 1")
    return rates


@contextmanager
def drawing(network: Network, out: Path) -> Iterator[Generator]:
    """The generator, once it is sure that the picture can be written."""
    ready(out)
    with network.opened() as generator:
        yield generator
    click.echo(f"written to {out}")


@plot.command("corrections")
@options.network
@options.correct("A correction; of several, each by itself.")
@options.seeds_option("0-11")
@options.samples()
@options.class_index
@out_option
def corrections(
    network: Network,
    specs: tuple[str, ...],
    seeds: list[int],
    samples: int | None,
    class_index: int | None,
    out: Path,
) -> None:
    """Seeds before and after --correct, the difference, and where low-rate neurons are, or the
    units of the probe if there is one."""
    bound = parse_specs(specs)
    with drawing(network, out) as generator:
        check_class(generator, class_index)
        score = unrendered(generator, Scoring(samples=samples, class_index=class_index))
        note = f"{network.title} · {' · '.join(map(str, bound))}"
        title = "Before and after correction"
        save(before_after(generator, score, seeds, bound, title, note, class_index), out)


@dataclass(frozen=True)
class Shown:
    """The seeds and the layers of a picture of ablations."""

    seeds: Sequence[int]
    layers: str
    samples: int | None
    class_index: int | None

    def profile(self, generator: Generator) -> tuple[Profile, tuple[Layer, ...]]:
        """The measured activation rates, and the layers chosen; an error if there are no such."""
        layers = generator.select(layer_choice(self.layers))
        settings = Settings(self.samples, class_index=self.class_index)
        return ensure(generator, settings, layers)[0], layers

    def batch(self, generator: Generator) -> tuple[Any, list[str]]:
        """The latents, and a name for each; an error if there are none, or too many to show."""
        if not 1 <= len(self.seeds) <= 64:
            raise GanfixError(
                f"--seeds: found {len(self.seeds)}, expected 1 to 64 for this picture"
            )
        check_class(generator, self.class_index)
        batch = next(seed_batches(generator, self.seeds, len(self.seeds), self.class_index))
        return batch, [f"Seed {seed}" for seed in self.seeds]


@plot.command("ablation")
@options.network
@options.seeds_option("0")
@preset("--layers", "auto", "auto, 0+1+3 or 4x4+8x8.")
@preset("--rate", 0.3, "Neurons of at most this activation rate are ablated.", type=Fraction())
@options.samples()
@options.class_index
@out_option
@gathers(shown=Shown)
def ablation(network: Network, shown: Shown, rate: float, out: Path) -> None:
    """Sequential ablation layer by layer: heat maps and images (IJCAI 2022, Figure 4)."""
    with drawing(network, out) as generator:
        (profile, layers), batch = shown.profile(generator), shown.batch(generator)
        note = f"{network.title} · LR-neurons at R = {rate:g} · {profile.latents_of(layers)}"
        save(layer_by_layer(generator, profile, layers, rate, *batch, note), out)


@plot.command("rates")
@options.network
@options.seeds_option("0")
@preset("--layers", "auto", "auto, 0+1+3 or 4x4+8x8.")
@rates_option("0.1,0.3,0.5,0.7,0.9")
@options.samples()
@options.class_index
@out_option
@gathers(shown=Shown)
def rates(network: Network, shown: Shown, rates: list[float], out: Path) -> None:
    """HR- against LR-ablation over rates, at each layer (IJCAI 2022, Figures 5 and 14)."""
    with drawing(network, out) as generator:
        (profile, layers), batch = shown.profile(generator), shown.batch(generator)
        note = f"{network.title} · {profile.latents_of(layers)}"
        save(over_rates(generator, profile, layers, rates, *batch, note), out)
