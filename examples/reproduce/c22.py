"""The tables and figures of [C22], on sequential ablation of low-rate neurons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from case import Case
from content import HIGHEST, LOWEST, rank_correlation, separation
from drawing import Scene
from papers import share
from torch import Tensor

from ganfix_plugin.artifacts.ranking import score_seeds
from ganfix_plugin.artifacts.scores import Scoring, lr
from ganfix_plugin.correctors.seqabl import PAPER_RATE
from ganfix_plugin.evaluation.population import ablation_rows, ablation_sweep, layer_columns
from ganfix_plugin.features.kinds import explained
from ganfix_plugin.features.manifold import precision_recall
from ganfix_plugin.generators.latents import Batch, seed_batches
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import ARTIFACT, Sample
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.ablation import layer_by_layer, over_rates
from ganfix_plugin.pictures.sheet import save
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import ensure

BESIDE_KINDS = (
    "rank correlation with realism",
    "within kinds",
    "variance of the count that the kind explains",
    "AUC on artifacts of all",
    "AUC on artifacts of each kind",
)


def table1(case: Case) -> None:
    """Distance of ablated artifacts to real images, by rate and layers."""
    plots.needed()
    labels = case.labelled(case.size("artifacts"), [ARTIFACT])
    population, worst = case.beside_real(labels), labels.samples(ARTIFACT)
    columns = layer_columns(case.generator)
    none = population.effect(None, worst)
    rows = ablation_rows(samples=case.size("latents"))
    effects = ablation_sweep(population, worst, rows, columns)
    published = case.published
    before = published.rows["uncorrected"][0]
    case.say(f"uncorrected artifacts: {none.distance:.1f}; {published.source}: {before}")
    if tuple(columns) != published.columns:
        case.say(f"columns stand beside the paper's by place, {'; '.join(published.columns)}")
    distances = [("ablated: ours / the paper's", *columns)]
    shares = [("of the uncorrected: ours / the paper's", *columns)]
    realism = [(f"realism (uncorrected {none.realism:.3f}), ours only", *columns)]
    for name, cells in effects.items():
        theirs = published.rows.get(name, (None,) * len(cells))
        pairs = [*zip([effect.distance for effect in cells.values()], theirs)]
        distances.append((name, *(_beside(f"{own:.1f}", printed) for own, printed in pairs)))
        between = (
            _beside(share(own, none.distance), printed and share(printed, before))
            for own, printed in pairs
        )
        shares.append((name, *between))
        realism.append((name, *(f"{effect.realism:.3f}" for effect in cells.values())))
    for table in (distances, shares, realism):
        case.table(table)
    words = plots.Words(
        "Fréchet distance of ablated artifacts to real images",
        f"{case.name} · {len(worst):,} artifacts · {len(population.real):,} real images · features "
        f"of {population.extractor.name} · {case.size('latents'):,} latents · uncorrected "
        f"{none.distance:.4g}",
        "ablated layers",
        "ablated neurons",
    )
    distances_by_row = {
        name: {column: effect.distance for column, effect in cells.items()}
        for name, cells in effects.items()
    }
    plots.matrix(case.picture(), words, distances_by_row, none.distance)


def table2(case: Case) -> None:
    """Precision, recall and realism of the generations of fewest and most active LR-neurons."""
    population, ends, kinds = case.generations, case.size("ends"), case.kinds
    one_kind, of_kind = torch.zeros_like(kinds), f"{len(kinds.unique())} kinds of content"
    head = ("LR count", *case.published.columns, "top / bottom precision", "rank correlation")
    lines = [head]
    beside = [(f"LR count and {of_kind}", *BESIDE_KINDS)]
    for rate in (0.1, PAPER_RATE, 0.5):
        counts = lr_counts(case, rate, population.seeds)
        order = counts.argsort(stable=True)
        figures, deviations = [], []
        for places in (order[:ends], order[-ends:]):
            realism = population.realism[places]
            figures += [*precision_recall(population.real, population.features[places])]
            figures.append(float(realism.mean()))
            deviations.append(f" ± {realism.std():.4f}")
        name, correlation = f"R = {rate:g}", rank_correlation(counts, population.realism)
        line = _with_ratio(f"{case.name}, {name}", figures, deviations)
        lines.append((*line, f"{correlation:+.2f}"))
        within = rank_correlation(counts, population.realism, kinds)
        areas = [separation(counts, population.realism, group) for group in (one_kind, kinds)]
        shares = (f"{explained(counts, kinds):.0%}", *(f"{area:.2f}" for area in areas))
        beside.append((name, f"{correlation:+.2f}", f"{within:+.2f}", *shares))
    for name, printed in case.published.rows.items():
        lines.append((*_with_ratio(f"the paper's {name}", printed), "–"))
    case.say(
        "rank correlation: of LR count and realism, Spearman's; ±: the standard deviation of the"
    )
    case.say("generations' realism, whose mean the figure is; we have the paper's means only")
    case.table(lines)
    case.say(
        f"is it the defect, or the kind of content? Artifacts are the lowest {LOWEST:.0%} of "
        f"realism, normals the highest {HIGHEST:.0%}: of all, or of each kind"
    )
    case.table(beside)


def figure4(case: Case) -> None:
    """Ablation of artifacts layer by layer, two layers beyond the default ones: heat maps and
    images."""
    default = case.generator.auto
    step = default[-1].index - default[-2].index if len(default) > 1 else 1
    further = [default[-1].index + step * place for place in (1, 2)]
    layers = (*default, *(layer for layer in case.generator.layers if layer.index in further))
    note = f"{case.name} · LR-neurons at R = {PAPER_RATE} · {case.size('latents'):,} latents"
    batch, names = _shown(case, 3)
    ways = (profile_of(case, layers), layers, PAPER_RATE, batch, names, note)
    save(layer_by_layer(case.generator, *ways), case.picture())


def figure5(case: Case) -> None:
    """Ablation of high-rate neurons above that of low-rate ones, over rates, layer by layer."""
    layers = case.generator.auto
    note = f"{case.name} · {case.size('latents'):,} latents"
    batch, names = _shown(case, 1)
    ways = (profile_of(case, layers), layers, (0.1, 0.3, 0.5, 0.7, 0.9), batch, names, note)
    save(over_rates(case.generator, *ways), case.picture())


def rates(case: Case) -> None:
    """How often neurons are activated, layer by layer."""
    plots.needed()
    layers = case.generator.layers
    profile = profile_of(case, layers)
    values = {str(layer.index): profile.rates(layer).flatten() for layer in layers}
    thresholds = (0.0, 0.1, PAPER_RATE, 0.5, 0.7)
    lines = [("layer", "neurons", *(f"R ≤ {rate:g}" for rate in thresholds))]
    for layer, of_neurons in zip(layers, values.values()):
        shares = (f"{(of_neurons <= rate).float().mean():.1%}" for rate in thresholds)
        lines.append((str(layer), f"{len(of_neurons):,}", *shares))
    case.table(lines)
    words = plots.Words(
        "How often neurons are activated",
        f"{case.name} · {case.size('latents'):,} latents · by layer",
        "activation rate R",
        "share of neurons of at most this rate",
    )
    curves = {f"layer {name}": of_neurons.numpy() for name, of_neurons in values.items()}
    plots.cumulative(case.picture(), words, curves, {f"R = {PAPER_RATE}": PAPER_RATE})


def lr_counts(case: Case, rate: float, samples: Sequence[Sample]) -> Tensor:
    """The number of active LR-neurons of each generation, [n]."""
    score = lr(case.generator, Scoring(rate, samples=case.size("latents")))
    return score_seeds(case.generator, score, samples)


def _beside(own: str, printed: object) -> str:
    """Our figure and the paper's, if it has one."""
    return f"{own} / {'–' if printed is None else printed}"


def _with_ratio(
    name: str, figures: Sequence[float], deviations: Sequence[str] = ("", "")
) -> tuple[str, ...]:
    """A line of Table 2; the deviations are those of realism, at the bottom and at the top."""
    cells = [f"{figure:.4f}" for figure in figures]
    cells[2], cells[5] = cells[2] + deviations[0], cells[5] + deviations[1]
    return (name, *cells, f"{figures[3] / figures[0]:.2f}")


def profile_of(case: Case, layers: tuple[Layer, ...]) -> Profile:
    """The activation rates of some layers."""
    return ensure(case.generator, Settings(case.size("latents")), layers)[0]


def _shown(case: Case, count: int) -> tuple[Batch, list[str]]:
    """Latents and names of conspicuous generations."""
    samples = Scene(case).conspicuous[:count]
    batch = next(seed_batches(case.generator, samples, len(samples)))
    return batch, [f"Seed {s}" if isinstance(s, int) else "" for s in samples]
