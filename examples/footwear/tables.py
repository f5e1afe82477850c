"""The tables of both papers in kind, on the footwear networks: one command each.

    python tables.py ablation  --network stylegan2   # [C22], Table 1
    python tables.py detection --network stylegan2   # [C22], Table 2
    python tables.py systems   --network pggan       # [T21], Table 2
    python tables.py options   --network pggan       # [T21], Figure 12

Artifacts are the generations of least realism, since nobody labelled them. What is learned (labels,
classifier, unit scores) is learned on even seeds, and all figures are of odd ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import click
import networks
import torch
from torch import nn

from ganfix_plugin.commands import table
from ganfix_plugin.detection.preparing import fit_classifier, score_units, score_units_by_fid
from ganfix_plugin.detection.ranking import score_seeds
from ganfix_plugin.detection.scores import Scoring, lr
from ganfix_plugin.errors import GanfixWarning
from ganfix_plugin.labels import ARTIFACT, NORMAL, Label, Labels
from ganfix_plugin.metrics.manifold import precision_recall
from ganfix_plugin.options import number_text
from ganfix_plugin.population import Population
from ganfix_plugin.profiling.fingerprint import fingerprint
from ganfix_plugin.profiling.store import classifier_path
from ganfix_plugin.sweeps import ablation_rows, ablation_sweep, effect, layer_columns, over_values

EXTRACTOR, MAPS = "classifier:features", "classifier:maps"
NETWORKS = {"stylegan2": networks.stylegan2, "pggan": networks.pggan}


def ablation(G: nn.Module, num: int, artifacts: int, samples: int) -> None:
    """[C22], Table 1: Fréchet distance of artifacts after ablation, by rate and layers."""
    people = population(G, range(num))
    worst = people.artifacts(artifacts)
    every = people.adapter.layers(G)
    columns = layer_columns(people.adapter.auto(every), every)
    rows = ablation_rows(samples=samples)
    none = effect(people, None, worst)
    whole = people.distance(people.features)
    click.echo(f"distance of all {num}: {whole:.1f}; of {artifacts} artifacts: {none.distance:.1f}")
    found = ablation_sweep(people, worst, rows, columns)
    lines = [("ablated", *columns)]
    for name, cells in found.items():
        lines.append((name, *(f"{each.distance:.1f}" for each in cells.values())))
    click.echo(table(lines))
    three = ",".join(str(layer.index) for layer in people.adapter.auto(every))
    realism = found["LR, R = 0.3"][three].realism
    click.echo(f"realism of artifacts, R = 0.3 at {three}: {none.realism:.3f} → {realism:.3f}")


def detection(G: nn.Module, num: int, artifacts: int, samples: int) -> None:
    """[C22], Table 2: precision, recall and realism of fewest and most active LR-neurons."""
    people = population(G, range(num))
    lines = [("LR count", "precision", "recall", "realism", "rank correlation with realism")]
    for rate in (0.1, 0.3, 0.5):
        score = lr(G, people.adapter, Scoring(rate, samples=samples))
        counts = score_seeds(G, people.adapter, score, people.seeds)
        order = counts.argsort(stable=True)
        together = correlation(counts, people.realism)
        for name, places in (("bottom", order[:artifacts]), ("top", order[-artifacts:])):
            precision, recall = precision_recall(people.real, people.features[places])
            realism = float(people.realism[places].mean())
            cells = (f"{precision:.4f}", f"{recall:.4f}", f"{realism:.4f}")
            end = f"{together:+.2f}" if name == "bottom" else ""
            lines.append((f"R = {number_text(rate)}, {name} {artifacts}", *cells, end))
    click.echo(table(lines))


def systems(G: nn.Module, num: int, artifacts: int, samples: int) -> None:
    """[T21], Table 2: Fréchet distance of artifacts by system."""
    people, worst, normals = prepared(G, num, artifacts, samples)
    found = {
        "artifacts, uncorrected": effect(people, None, worst),
        "normals": effect(people, None, normals),
    }
    for name, spec in SYSTEMS.items():
        spec += ("," if ":" in spec else ":") + f"samples={samples}"
        found[f"{name}: {spec}"] = effect(people, spec, worst)
    lines = [("", "Fréchet distance", "realism")]
    lines += [(name, f"{e.distance:.1f}", f"{e.realism:.3f}") for name, e in found.items()]
    click.echo(table(lines))


SYSTEMS = {
    "random": "random:of=units,portion=20%",
    "FID units": "fid-units:layer=2,units=10",
    "DS, one layer": "ds:layer=2,units=10",
    "sequential, the paper's": "seqc:mode=global",
    "sequential, by rank": "seqc:mode=global,normalize=rank",
    "sequential, per sample": "seqc:mode=sample,normalize=rank",
}


def options(G: nn.Module, num: int, artifacts: int, samples: int) -> None:
    """[T21], Figure 12: Fréchet distance and realism over portion and stopping layer."""
    people, worst, _ = prepared(G, num, artifacts, samples)
    none = effect(people, None, worst)
    click.echo(f"uncorrected: {none.distance:.1f}, realism {none.realism:.3f}")
    last = people.adapter.layers(G)[-1].index
    stops = [str(stop) for stop in range(1, last + 1)]
    for key, values in (("top", ["5%", "10%", "20%", "40%", "60%", "100%"]), ("stop", stops)):
        spec = f"seqc:mode=global,normalize=rank,samples={samples}"
        found = over_values(people, worst, spec, key, values)
        lines = [(key, "Fréchet distance", "realism")]
        lines += [(value, f"{e.distance:.1f}", f"{e.realism:.3f}") for value, e in found.items()]
        click.echo(f"{spec}\n{table(lines)}")


def prepared(
    G: nn.Module, num: int, artifacts: int, samples: int
) -> tuple[Population, list[int], list[int]]:
    """Learn on even seeds; the population, artifacts and normals (realism 1 and above) of the odd
    ones."""
    learned = population(G, range(0, num, 2))
    order = learned.realism.argsort(stable=True).tolist()
    ends = {ARTIFACT: order[:300], NORMAL: order[-300:]}
    items = [
        Label(learned.seeds[place], kind, "realism")
        for kind, places in ends.items()
        for place in places
    ]
    labels = Labels(fingerprint(G), tuple(items))
    head = fit_classifier(G, labels, real=networks.REAL, extractor=MAPS)
    head.save(classifier_path(head.generator))
    score_units(G, labels, head, samples=samples)
    score_units_by_fid(G, labels, head, samples=samples, real=networks.REAL, num=num, top=num // 20)
    people = population(G, range(1, num, 2))
    normals = [seed for seed, each in zip(people.seeds, people.realism.tolist()) if each >= 1]
    return people, people.artifacts(artifacts), normals[:artifacts]


def population(G: nn.Module, seeds: Sequence[int]) -> Population:
    """Seeds beside the real images."""
    return Population.of(G, seeds, networks.REAL, EXTRACTOR)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Spearman's rank correlation."""
    ranks = [each.double().argsort().argsort().double() for each in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


TABLES = {
    "ablation": ablation,
    "detection": detection,
    "systems": systems,
    "options": options,
}


@click.command()
@click.argument("which", type=click.Choice(list(TABLES)))
@click.option("--network", type=click.Choice(list(NETWORKS)), default="stylegan2")
@click.option("--num", default=5000, show_default=True, help="Generations.")
@click.option("--artifacts", default=1000, show_default=True, help="Of least realism.")
@click.option("--samples", default=5000, show_default=True, help="Latents of the profile.")
def main(which: str, network: str, num: int, artifacts: int, samples: int) -> None:
    """Print one of the tables."""
    warnings.simplefilter("ignore", GanfixWarning)  # tables show also what nobody would choose
    click.echo(f"{network}, {num} generations, real: {networks.REAL.name}, {EXTRACTOR}")
    TABLES[which](NETWORKS[network](), num, artifacts, samples)


if __name__ == "__main__":
    main()
