"""`ganfix evaluate`: figures of a generator with and without corrections, on the same latents."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganfix_plugin._version import __version__
from ganfix_plugin.artifacts.latent_files import read_latents, seeds_in
from ganfix_plugin.correctors.bind import BoundSpec, parse_specs
from ganfix_plugin.evaluation.alternatives import alternatives
from ganfix_plugin.evaluation.measures import TITLES, Measures
from ganfix_plugin.evaluation.tables import row, table
from ganfix_plugin.evaluation.views import JUDGE, SIDES, Views
from ganfix_plugin.features.bootstrap import RESAMPLES, Bootstrap, Figure, frechet, mean
from ganfix_plugin.features.extractors import load_extractor, measuring_extractor
from ganfix_plugin.features.frechet import Gaussian
from ganfix_plugin.features.kinds import Kinds
from ganfix_plugin.features.manifold import K, Manifold
from ganfix_plugin.features.render import PAIR_BATCH
from ganfix_plugin.files import write_text
from ganfix_plugin.generators.generator import Generator

log = logging.getLogger("ganfix")
NUM = 10_000  # generations, where nobody says how many


@dataclass(frozen=True)
class Evaluation:
    """The figures, and everything that they depend on.

    Attributes:
        figures: Fréchet distance, precision, recall, coverage and realism.
        record: of what, corrected how, against what, seen by what: what a file should keep.
        judged: the same figures by the judge, another network, if there is one.
        alternatives: the same figures of what could be done instead, by its name, with the interval
            of its difference from the uncorrected ones.
        measures: what the correction keeps of the images, by the judge if there is one.
    """

    figures: tuple[Figure, ...]
    record: dict[str, Any]
    judged: tuple[Figure, ...] = ()
    alternatives: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)
    measures: Measures | None = None

    def __str__(self) -> str:
        """All figures, as `ganfix evaluate` prints them."""
        about = "{num} generations, {num_real} real images, features of {extractor}"
        parts = [about.format_map(self.record)]
        parts += [f"{heading}\n" * bool(heading) + table(*rows) for heading, rows in self.tables()]
        return "\n\n".join(parts)

    def tables(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        """What there is to show, each table with a heading; the first row is the header."""
        header = ("", "uncorrected", "corrected", "difference")
        shown = [("", [header, *map(row, self.figures)])]
        if self.judged:
            by = f"by the judge, {self.record['judge']}"
            shown.append((by, [header, *map(row, self.judged)]))
        if others := self.alternatives:
            rows = [map(row, figures) for figures in others.values()]
            cells = [(name[0][0], *(f"{r[2]} ({r[3]})" for r in name)) for name in zip(*rows)]
            shown.append(("instead of correcting what is flagged", [("", *others), *cells]))
        if self.measures:
            names = tuple(TITLES.values())
            shown.append(("what the correction keeps", [names, self.measures.cells()]))
        return shown

    def values(self) -> dict[str, Any]:
        """Figures and record, as JSON holds them."""
        parts: dict[str, Any] = {"results": _values(self.figures)}
        if self.judged:
            parts["judged"] = _values(self.judged)
        parts |= {name: _values(figures) for name, figures in self.alternatives.items()}
        if self.measures:
            parts["measures"] = asdict(self.measures)
        return {**parts, **self.record}

    def save(self, path: Path) -> None:
        """Write `values`, whole or not at all."""
        write_text(path, json.dumps(self.values(), indent=1) + "\n")


def _values(figures: Sequence[Figure]) -> dict[str, dict[str, float]]:
    return {figure.name: figure.values() for figure in figures}


def evaluate(
    G: nn.Module | Generator,
    *specs: str | BoundSpec,
    real: Path | str,
    latents: str | None = None,
    extractor: str | None = None,
    judge: str | None = None,
    num: int | None = None,
    num_real: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    batch: int = PAIR_BATCH,
    share: bool = False,
    with_alternatives: bool = False,
    adapter: str | None = None,
) -> Evaluation:
    """Compare generations of the same latents, uncorrected and corrected, with real images.

        print(ganfix.evaluate(G, "seqabl:gate=lr:70%", real="ffhq.zip", num=2000))

    Memory does not grow with the number of latents: what compares single images, which is all but
    the Fréchet distance, is measured on the first `KEPT` of them.

    Args:
        G: it is left as it was.
        specs: corrections, in order; none measures the generator as it is.
        real: a folder or zip of images of the generator's size.
        latents: as `latent_files.read_latents` takes them; by default seeds 0 to 9,999, or
            to ``num`` - 1.
        extractor: of features, by name; by default Inception where it is at hand, FID's own.
        judge: another one, which had no part in the correction; it sees the same images.
        num: at most this many latents, from the top.
        num_real: this many of the real images, chosen by the seed; all by default.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of that choice and of the bootstrap.
        batch: latents per pass.
        share: let the ranks that were started together (torchrun) do a part each; all of them
            return the same, bit for bit what one process does; of more than `KEPT` latents, the
            Fréchet distance up to rounding.
        with_alternatives: also measure rejection and truncation in the place of a gated
            correction, if the latents are seeds; further seeds are rendered for it.
        adapter: an adapter's name, where none or several recognise G.

    Raises:
        GanfixError: on a spec that does not suit the generator, latents of another width, missing
            or too few images, features that are no numbers.
    """
    generator, bound = Generator.of(G, adapter), parse_specs(specs)
    latents = latents or f"0-{(num or NUM) - 1}"
    chosen = read_latents(latents, generator, num)
    looking = {"": extractor or measuring_extractor()}
    named = {**looking, JUDGE: judge} if judge else looking
    networks = {
        ending: load_extractor(name, generator.discriminator).to(generator.device)
        for ending, name in named.items()
    }
    views = Views(generator, networks, batch, None if share else (0, 1))
    real_rows = views.of_real(Path(real), num_real, seed)
    done = views.of(chosen, latents, bound)
    compared_on = len(done.rows["uncorrected"])
    if compared_on < len(chosen):
        log.info("all but the Fréchet distance: of the first %d generations", compared_on)
    if bound and resamples:
        log.info("intervals: %d resamples of %d generations", resamples, compared_on)
    where = generator.device if generator.device.type == "cuda" else torch.device("cpu")
    how = Bootstrap(resamples, seed)

    def compared(ending: str, *sides: Tensor, more: Sequence[Tensor] = ()) -> tuple[Figure, ...]:
        of_real = real_rows[f"real{ending}"].to(where)
        return figures(of_real, [side.to(where) for side in sides], how, more)

    def of_sides(ending: str) -> tuple[Figure, ...]:
        names = [side + ending for side in (SIDES if bound else SIDES[:1])]
        more = [done.sums[name].to(where) for name in names if name in done.sums]
        return compared(ending, *(done.rows[name] for name in names), more=more)

    by_network = [of_sides(ending) for ending in networks]
    measures, instead = None, {}
    if bound:
        # Content and identity by the last of the networks: the judge, if there is one.
        before, after = (done.rows[side + [*networks][-1]] for side in SIDES)
        kinds = Kinds.among(before)
        measures = Measures.of(before, after, done.rows["changes"], kinds, before.mean(dim=0))
        seeds = [] if os.path.isfile(latents) else seeds_in(latents)
        if with_alternatives and seeds:
            instead = alternatives(views, chosen, done, bound, max(seeds) + 1)
    record = {
        "generator": generator.fingerprint,
        "correct": done.texts,
        "profile": done.profiles,
        "ganfix": __version__,
        "latents": latents,
        "num": len(chosen),
        "num_compared": compared_on,
        "real": str(real),
        "num_real": len(real_rows["real"]),
        "extractor": networks[""].name,
        "judge": judge,
        "k": K,
        "resamples": resamples if bound else 0,
        "seed": seed,
    }
    return Evaluation(
        by_network[0],
        record,
        judged=by_network[1] if judge else (),
        alternatives={
            name: compared("", done.rows["uncorrected"], side) for name, side in instead.items()
        },
        measures=measures,
    )


def figures(
    real: Tensor, sides: Sequence[Tensor], how: Bootstrap, more: Sequence[Tensor] = ()
) -> tuple[Figure, ...]:
    """Fréchet distance, precision, recall, coverage and realism of features [n, D] against real
    [m, D]; the distance also of ``more``, `frechet.sums` by side."""
    manifold, means = Manifold.of(real), ("precision", "recall", "coverage", "realism")
    distance = frechet(Gaussian.of(real), sides, how, more)
    return (distance, *(mean(name, manifold, sides, how) for name in means))
