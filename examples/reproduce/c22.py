"""The tables and figures of [C22], on sequential ablation of low-rate neurons."""

from __future__ import annotations

import torch
from case import Case
from papers import share
from torch import Tensor

from ganfix_plugin.artifacts.ranking import Ranking, score_seeds
from ganfix_plugin.artifacts.scores import Scoring, lr
from ganfix_plugin.evaluate.population import ablation_rows, ablation_sweep, layer_columns
from ganfix_plugin.features.manifold import precision_recall
from ganfix_plugin.generators.latents import Batch, seed_batches
from ganfix_plugin.labels import ARTIFACT, Sample
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.ablation import layer_by_layer, over_rates
from ganfix_plugin.pictures.sheet import save
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import ensure

PAPER_RATE = 0.3


def table1(case: Case) -> None:
    """Distance of ablated artifacts to real images, by rate and layers."""
    plots.needed()
    people, labels = case.labelled(case.size("artifacts"), [ARTIFACT])
    worst = labels.samples(ARTIFACT)
    columns = layer_columns(case.generator)
    none = people.effect(None, worst)
    rows = ablation_rows(samples=case.size("latents"))
    found = ablation_sweep(people, worst, rows, columns)
    published = case.published
    before = published.rows["uncorrected"][0]
    case.say(f"uncorrected artifacts: {none.distance:.1f}; {published.source}: {before}")
    if tuple(columns) != published.columns:
        case.say(f"columns stand beside the paper's by place, {'; '.join(published.columns)}")
    distances = [("ablated: ours / the paper's", *columns)]
    shares = [("of the uncorrected: ours / the paper's", *columns)]
    realism = [(f"realism (uncorrected {none.realism:.3f}), ours only", *columns)]
    for name, cells in found.items():
        pairs = [*zip([e.distance for e in cells.values()], published.rows[name])]
        distances.append((name, *(f"{own:.1f} / {theirs}" for own, theirs in pairs)))
        between = (
            f"{share(own, none.distance)} / {share(theirs, before)}" for own, theirs in pairs
        )
        shares.append((name, *between))
        realism.append((name, *(f"{each.realism:.3f}" for each in cells.values())))
    for table in (distances, shares, realism):
        case.table(table)
    words = plots.Words(
        "Fréchet distance of ablated artifacts to real images",
        f"{case.name} · {len(worst):,} artifacts · {len(people.real):,} real images · features of "
        f"{people.extractor.name} · {case.size('latents'):,} latents · uncorrected "
        f"{none.distance:.4g}",
        "ablated layers",
        "ablated neurons",
    )
    figures = {name: {c: e.distance for c, e in cells.items()} for name, cells in found.items()}
    plots.matrix(case.picture(), words, figures, none.distance)


def table2(case: Case) -> None:
    """Precision, recall and realism of the generations of fewest and most active LR-neurons."""
    people, ends = case.population(case.seeds), case.size("ends")
    head = ("LR count", *case.published.columns, "top / bottom precision", "rank correlation")
    lines = [head]
    for rate in (0.1, PAPER_RATE, 0.5):
        counts = lr_counts(case, rate, people.seeds)
        order = counts.argsort(stable=True)
        figures = []
        for places in (order[:ends], order[-ends:]):
            figures += precision_recall(people.real, people.features[places])
            figures.append(float(people.realism[places].mean()))
        line = _with_ratio(f"{case.name}, R = {rate:g}", figures)
        lines.append((*line, f"{rank_correlation(counts, people.realism):+.2f}"))
    for name, printed in case.published.rows.items():
        lines.append((*_with_ratio(f"the paper's {name}", printed), "–"))
    case.say("rank correlation: of LR count and realism, Spearman's")
    case.table(lines)


def figure4(case: Case) -> None:
    """Ablation of artifacts layer by layer: heat maps and images."""
    samples = _conspicuous(case, 3)
    profile, layers, batch, names = _shown(case, samples)
    note = f"{case.name} · LR-neurons at R = {PAPER_RATE} · {case.size('latents'):,} latents"
    ways = (profile, layers, PAPER_RATE, batch, names, note)
    save(layer_by_layer(case.generator, *ways), case.picture())


def figure5(case: Case) -> None:
    """Ablation of high-rate neurons above that of low-rate ones, over rates, layer by layer."""
    profile, layers, batch, names = _shown(case, _conspicuous(case, 1))
    note = f"{case.name} · {case.size('latents'):,} latents"
    ways = (profile, layers, (0.1, 0.3, 0.5, 0.7, 0.9), batch, names, note)
    save(over_rates(case.generator, *ways), case.picture())


def lr_counts(case: Case, rate: float, samples: list[int] | tuple[int, ...]) -> Tensor:
    """The number of active LR-neurons of each generation, [n]."""
    score = lr(case.generator, Scoring(rate, samples=case.size("latents")))
    return score_seeds(case.generator, score, samples)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, of two [n]."""
    ranks = [each.double().argsort().argsort().double() for each in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def _with_ratio(name: str, figures: list[float] | tuple[float, ...]) -> tuple[str, ...]:
    return (name, *(f"{each:.4f}" for each in figures), f"{figures[3] / figures[0]:.2f}")


def _conspicuous(case: Case, count: int) -> list[Sample]:
    """Labelled artifacts, or else the generations of most active LR-neurons."""
    if case.labels:
        return case.labels.samples(ARTIFACT)[:count]
    seeds = case.seeds
    case.say(f"shown: most active LR-neurons (R = {PAPER_RATE}) of {len(seeds):,} seeds")
    ranking = Ranking.of(seeds, lr_counts(case, PAPER_RATE, [*seeds]))
    return [*ranking.seeds[:count]]


def _shown(case: Case, samples: list[Sample]) -> tuple[Profile, tuple, Batch, list[str]]:
    """The profile, the default layers, and the images' latents and names."""
    layers = case.generator.auto
    profile, _ = ensure(case.generator, Settings(case.size("latents")), layers)
    batch = next(seed_batches(case.generator, samples, len(samples)))
    return profile, layers, batch, [f"Seed {s}" if isinstance(s, int) else "" for s in samples]
