"""The tables and figures of [T21], on sequential correction of defective units."""

from __future__ import annotations

from collections.abc import Mapping

from case import Case
from learning import Learnt, learn
from papers import share
from torch import Tensor

from ganfix_plugin.artifacts.discriminator import d_values as values_of
from ganfix_plugin.artifacts.scores import Scoring, lr
from ganfix_plugin.artifacts.unit_scores import score_units_by_fid
from ganfix_plugin.correctors.bind import BoundSpec, parse_spec
from ganfix_plugin.correctors.units import numbered
from ganfix_plugin.evaluate.population import Effect
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.features.extractors import load_extractor
from ganfix_plugin.features.render import seed_features
from ganfix_plugin.labels import KINDS
from ganfix_plugin.pictures import plots
from ganfix_plugin.pictures.corrections import before_after
from ganfix_plugin.pictures.sheet import save
from ganfix_plugin.pictures.units import concept_sheet, unit_sheet
from ganfix_plugin.profiling.unit_images import top_seeds

SEQC = "seqc:mode=global"
BY_RANK = f"{SEQC},normalize=rank"
PORTIONS = ("5%", "10%", "20%", "40%", "60%", "100%")


def table2(case: Case) -> None:
    """Distance of artifacts corrected by each system."""
    learnt, samples = learn(case), case.size("latents")
    score_units_by_fid(
        case.generator,
        case.real,
        extractor=case.extractor,
        layers=str(learnt.stop),
        samples=samples,
        num=case.size("unit_generations"),
        top=case.size("unit_top"),
    )
    one_layer = f"layer={learnt.stop},units={learnt.units}"
    systems = {
        "random": (f"random:of=units,portion=20%,layers={_sequence(learnt)}",),
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
    for name, spec, found in rows:
        theirs = [
            f"{published.column(c)[name]:.2f} ({share(published.column(c)[name], before)})"
            for c, before in zip(published.columns, published.rows["uncorrected"])
        ]
        ours = (f"{found.distance:.1f}", share(found.distance, none.distance))
        lines.append((name, spec, *ours, f"{found.realism:.3f}", *theirs))
    case.table(lines)


def table4(case: Case) -> None:
    """Distance of the artifacts of a style-based or BigGAN-type generator, corrected one by one."""
    learnt, samples = learn(case), case.size("latents")
    lines = [("", "uncorrected", "corrected", "share", "realism before", "after")]
    before = learnt.effect(None)
    layers = case.generator.layers
    stop = min(6, len(layers) // 2)  # 'the middle (6)': the supplement's best for StyleGAN2
    for spec in ("mode=sample", "mode=sample,normalize=rank", "mode=sample,local=yes"):
        spec = f"seqc:{spec},stop={stop}"
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
    last = case.generator.layers[-1].index
    varied = {"top": PORTIONS, "stop": [str(stop) for stop in range(1, last + 1)]}
    spoken = {"top": "portion n of units", "stop": "stopping layer l"}
    best = dict(zip(varied, case.published.rows["PGGAN"]))
    theirs = {
        "top": f"lowest FID at {best['top']:g} %",
        "stop": f"best realism at {best['stop']:g}",
    }
    for key, values in varied.items():
        lines = [(spoken[key], "`seqc` distance", "realism", "by rank: distance", "realism")]
        curves = {
            spec: {
                value: learnt.effect(_measured(spec, samples).replaced({key: value}))
                for value in values
            }
            for spec in (SEQC, BY_RANK)
        }
        lines.append(("none", *2 * (f"{none.distance:.1f}", f"{none.realism:.3f}")))
        for value in values:
            cells = [curve[value] for curve in curves.values()]
            figures = [(f"{each.distance:.1f}", f"{each.realism:.3f}") for each in cells]
            lines.append((value, *(text for pair in figures for text in pair)))
        case.say(f"{spoken[key]}; {case.published.source}: {theirs[key]}")
        case.table(lines)
        _curves(case, learnt, f"-{key}", spoken[key], curves, none)


def figure26(case: Case) -> None:
    """Artifacts before and after correction by sample, in the whole image and locally."""
    learnt, samples = learn(case), case.size("latents")
    layers = case.generator.layers
    keys = f"mode=sample,stop={min(6, len(layers) // 2)},samples={samples}"
    specs = [f"seqc:{keys}", f"seqc:{keys},local=yes"]
    extractor = learnt.head.load_extractor(case.generator.discriminator)
    features = seed_features(case.generator, extractor, learnt.artifacts)
    order = learnt.head.artifact_probability(features).argsort(descending=True).tolist()
    called = int(learnt.head.is_artifact(features).sum())
    case.say(f"the classifier calls {called} of {len(order)} artifacts so; the surest are shown")
    shown = [learnt.artifacts[place] for place in order[: min(called, 12)]]
    score = lr(case.generator, Scoring(samples=samples))
    note = f"{case.name} · {' · '.join(specs)}"
    title = "Artifacts corrected by sample, then in the local region only"
    ways = (score, shown, [parse_spec(spec) for spec in specs], title, note)
    save(before_after(case.generator, *ways), case.picture())


def units(case: Case) -> None:
    """What the most defective units draw: representative generations, and shared concepts."""
    learnt = learn(case)
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
    none = learnt.effect(None)
    lines = [("units zeroed by hand", "distance", "share", "realism")]
    lines.append(("none", f"{none.distance:.1f}", share(1, 1), f"{none.realism:.3f}"))
    chosen = {f"the {learnt.units} of highest DS": order[: learnt.units]}
    chosen |= {f"concept {place}": group[:15] for place, group in enumerate(groups, 1)}
    for name, group in chosen.items():
        by_hand = parse_spec(f"units:units={layer.index}:{'+'.join(map(str, group))}")
        found = learnt.effect(by_hand)
        figures = (f"{found.distance:.1f}", share(found.distance, none.distance))
        lines.append((f"{name} ({len(group)} units)", *figures, f"{found.realism:.3f}"))
    case.say("the paper shows pictures only: 15 units of one concept repair what the top 20 miss")
    case.table(lines)


def d_values(case: Case) -> None:
    """The discriminator's scores of artifacts and of normals."""
    plots.needed()
    _, labels = case.labelled(case.size("artifacts"))
    found: dict[str, Tensor] = {
        kind: values_of(case.generator, labels.samples(kind)) for kind in KINDS
    }
    area = auc(*(-each for each in found.values()))
    case.say(f"ROC AUC of a low D-value as the sign of an artifact: {area:.3f} (chance: 0.5)")
    case.say("[T21]: histograms overlap, the D-value does not separate artifact from normal")
    lines = [("", "images", "mean D-value", "standard deviation")]
    for kind, each in found.items():
        figures = (f"{len(each):,}", f"{each.mean():.2f}", f"{each.std():.2f}")
        lines.append((kind, *figures))
    case.table(lines)
    words = plots.Words(
        "What the discriminator says of artifacts and normals",
        f"{case.name} · ROC AUC of a low D-value {area:.3f}",
        "D-value (logit; high: real)",
    )
    values = {kind: scores.numpy() for kind, scores in found.items()}
    plots.histogram(case.picture(), words, values, {})


def _measured(spec: str, samples: int) -> BoundSpec:
    """A correction that reads the profile of so many latents."""
    return parse_spec(spec).replaced({"samples": str(samples)})


def _sequence(learnt: Learnt) -> str:
    """The layers that the sequential correction covers, 1 to the stopping layer."""
    return "+".join(str(number) for number in range(1, learnt.stop + 1))


def _curves(
    case: Case,
    learnt: Learnt,
    name: str,
    key: str,
    curves: Mapping[str, Mapping[str, Effect]],
    none: Effect,
) -> None:
    """Both measures over the values of one key."""
    note = f"{case.name} · {len(learnt.artifacts):,} artifacts · {len(learnt.people.real):,} real "
    note += f"images · features of {learnt.people.extractor.name}"
    axes = {"distance": "Fréchet distance to real images", "realism": "Mean realism score"}
    for measure, axis in axes.items():
        title = f"{axis.split(' to ')[0]} of corrected artifacts over the {key}"
        figures = {
            spec: {value: getattr(effect, measure) for value, effect in curve.items()}
            for spec, curve in curves.items()
        }
        plots.lines(
            case.picture(f"{name}-{measure}"),
            plots.Words(title, note, key, axis),
            figures,
            ("uncorrected", getattr(none, measure)),
            lowest=measure == "distance",
        )
