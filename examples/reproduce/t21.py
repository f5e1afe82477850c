"""The tables and figures of [T21], on sequential correction of defective units."""

from __future__ import annotations

from collections.abc import Mapping

from case import Case
from drawing import Gallery, Scene, draw
from galleries import BEFORE, BY_RANK, SEQC, surest
from learning import Learnt, learn
from papers import share
from torch import Tensor

from ganfix_plugin.artifacts.discriminator import d_values as values_of
from ganfix_plugin.artifacts.discriminator import discriminator_of
from ganfix_plugin.correctors.bind import BoundSpec, parse_spec
from ganfix_plugin.correctors.units import numbered
from ganfix_plugin.evaluation.population import Effect
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.labels import KINDS
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.sheet import save
from ganfix_plugin.pictures.units import concept_sheet, unit_sheet
from ganfix_plugin.profiling.unit_images import top_seeds

WAYS = {"global": SEQC, "rank": BY_RANK, "sample": "seqc:mode=sample"}
PORTIONS = ("5%", "10%", "20%", "40%", "60%", "100%")
MEASURES = {
    "distance": "Fréchet distance of corrected artifacts to real images",
    "realism": "Mean realism score of corrected artifacts",
}


def table2(case: Case) -> None:
    """Distance of artifacts corrected by each system."""
    learnt, samples = learn(case), case.size("latents")
    learnt.score_by_fid()
    one_layer = f"layer={learnt.stop},units={learnt.units}"
    systems = {
        "random": (f"random:of=units,portion=20%,layers={learnt.sequence}",),
        "FID units": (f"fid-units:{one_layer}",),
        "DS, one layer": (f"ds:{one_layer}",),
        "sequential": (SEQC, BY_RANK, f"{SEQC},scale=0"),
    }
    none, normals = learnt.effect(None), learnt.effect(None, learnt.normals)
    rows = [("uncorrected", "artifacts", none), ("normals", "uncorrected", normals)]
    for name, specs in systems.items():
        for spec in specs:
            rows.append((name, f"`{spec}`", learnt.effect(_measured(spec, samples))))
    published = case.published
    case.say(f"the paper's: {published.source}; shares are of the uncorrected artifacts")
    lines = [("system", "spec", "distance", "share", "realism", *published.columns)]
    for name, spec, effect in rows:
        theirs = [
            f"{published.column(c)[name]:.2f} ({share(published.column(c)[name], before)})"
            for c, before in zip(published.columns, published.rows["uncorrected"])
        ]
        ours = (f"{effect.distance:.1f}", share(effect.distance, none.distance))
        lines.append((name, spec, *ours, f"{effect.realism:.3f}", *theirs))
    case.table(lines)


def table4(case: Case) -> None:
    """Distance of the artifacts of a style-based or BigGAN-type generator, corrected one by one."""
    learnt, samples = learn(case), case.size("latents")
    lines = [("", "uncorrected", "corrected", "share", "realism before", "after")]
    before = learnt.effect(None)
    local = "mode=sample,local=yes"
    for keys in ("mode=sample", "mode=sample,normalize=rank", local, f"{local},mask=binary"):
        spec = f"seqc:{keys},stop={learnt.middle}"
        after = learnt.effect(_measured(spec, samples))
        figures = (f"{before.distance:.2f}", f"{after.distance:.2f}")
        realism = (f"{before.realism:.3f}", f"{after.realism:.3f}")
        ratio = share(after.distance, before.distance)
        lines.append((f"{case.name}, `{spec}`", *figures, ratio, *realism))
    for name, (theirs, corrected) in case.published.rows.items():
        figures = (f"{theirs:.2f}", f"{corrected:.2f}", share(corrected, theirs))
        lines.append((f"{case.published.source}: {name}", *figures, "–", "–"))
    case.table(lines)


def figure12(case: Case) -> None:
    """Distance and realism over the portion of units and the stopping layer."""
    plots.needed()
    learnt, samples = learn(case), case.size("latents")
    none = learnt.effect(None)
    stops = [str(layer.index) for layer in case.generator.layers if layer.index]
    case.say(f"uncorrected: distance {none.distance:.1f}, realism {none.realism:.3f}")
    best = case.published.rows["PGGAN"]
    case.say(
        f"{case.published.source}: lowest FID at n = {best[0]:g} %, best realism at l = {best[1]:g}"
    )
    for way, spec in WAYS.items():
        grid = {
            portion: {
                stop: learnt.effect(
                    _measured(spec, samples).replaced({"top": portion, "stop": stop})
                )
                for stop in stops
            }
            for portion in PORTIONS
        }
        lines = [("portion n: distance / realism", *(f"l = {stop}" for stop in stops))]
        for portion, effects in grid.items():
            cells = (f"{e.distance:.1f} / {e.realism:.3f}" for e in effects.values())
            lines.append((portion, *cells))
        case.say(f"`{spec}`:")
        case.table(lines)
        _matrices(case, learnt, way, spec, grid, none)


def units(case: Case) -> None:
    """What the most defective units draw, their shared concepts, and artifacts without these."""
    scene = Scene(case)
    learnt = scene.learnt
    layer = numbered(case.generator.layers, learnt.stop)
    scores = learnt.profile.of_units("defective", layer)
    order: list[int] = scores.argsort(descending=True, stable=True).tolist()
    num, top = case.size("unit_generations"), case.size("unit_top")
    best = top_seeds(case.generator, layer, range(num), top)
    tops = {unit: best[unit].tolist() for unit in order[:60]}
    note = f"{case.name} · layer {layer} · each the image of the mean feature map of its {top} of "
    note += f"{num:,} seeds"
    first = {unit: tops[unit] for unit in order[:3]}
    ways = (layer, first, "What the most defective units draw", note, scores)
    save(unit_sheet(case.generator, *ways), case.picture())
    extractor = load_extractor(case.extractor, case.generator.discriminator)
    picture, groups = concept_sheet(case.generator, layer, tops, extractor, 6, note)
    save(picture, case.picture("-concepts"))
    chosen = {f"top {learnt.units}": order[: learnt.units]}
    chosen |= {f"concept {place}": group[:15] for place, group in enumerate(groups, 1)}
    by_hand = {
        name: f"units:units={layer.index}:{'+'.join(map(str, group))}"
        for name, group in chosen.items()
    }
    none = learnt.effect(None)
    lines = [("units zeroed by hand", "distance", "share", "realism")]
    lines.append(("none", f"{none.distance:.1f}", share(1, 1), f"{none.realism:.3f}"))
    for name, spec in by_hand.items():
        effect = learnt.effect(parse_spec(spec))
        figures = (f"{effect.distance:.1f}", share(effect.distance, none.distance))
        lines.append((f"{name} ({len(chosen[name])} units)", *figures, f"{effect.realism:.3f}"))
    case.say("the paper shows pictures only: 15 units of one concept repair what the top 20 miss")
    case.table(lines)
    title = "Artifacts without the units of highest DS, and without those of a concept"
    draw(Gallery(title, (surest(BEFORE | by_hand),)), scene, "-zeroed")


def d_values(case: Case) -> None:
    """The discriminator's scores of artifacts and of normals."""
    plots.needed()
    discriminator_of(case.generator)  # before anything is measured
    labels = case.labelled(case.size("artifacts"))
    values: dict[str, Tensor] = {
        kind: values_of(case.generator, labels.samples(kind)) for kind in KINDS
    }
    area = auc(*(-logits for logits in values.values()))
    case.say(f"ROC AUC of a low D-value as the sign of an artifact: {area:.3f} (chance: 0.5)")
    case.say("[T21]: histograms overlap, the D-value does not separate artifact from normal")
    lines = [("", "images", "mean D-value", "standard deviation")]
    for kind, logits in values.items():
        figures = (f"{len(logits):,}", f"{logits.mean():.2f}", f"{logits.std():.2f}")
        lines.append((kind, *figures))
    case.table(lines)
    words = plots.Words(
        "What the discriminator says of artifacts and normals",
        f"{case.name} · ROC AUC of a low D-value {area:.3f}",
        "D-value (logit; high: real)",
    )
    plots.histogram(case.picture(), words, {k: v.numpy() for k, v in values.items()}, {})


def _measured(spec: str, samples: int) -> BoundSpec:
    """A correction that reads the profile of so many latents."""
    return parse_spec(spec).replaced({"samples": str(samples)})


def _matrices(
    case: Case,
    learnt: Learnt,
    way: str,
    spec: str,
    grid: Mapping[str, Mapping[str, Effect]],
    none: Effect,
) -> None:
    """Both measures over the portion and the stopping layer."""
    real = f"{len(learnt.population.real):,} real images"
    note = f"{case.name} · {spec} · {len(learnt.artifacts):,} artifacts · {real} · features of "
    note += learnt.population.extractor.name
    for measure, title in MEASURES.items():
        words = plots.Words(title, note, "stopping layer l", "portion n of units")
        figures = {
            portion: {stop: getattr(effect, measure) for stop, effect in effects.items()}
            for portion, effects in grid.items()
        }
        path, level = case.picture(f"-{way}-{measure}"), getattr(none, measure)
        plots.matrix(path, words, figures, level, lowest=measure == "distance")
