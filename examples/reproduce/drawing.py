"""How a gallery is drawn: the same generations row by row, each row seen in another way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from case import Case
from learning import Learnt, learn
from PIL import Image

from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.ranking import Ranking, score_seeds
from ganfix_plugin.artifacts.scores import Score, Scoring, artifact, lr
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.correctors.seqabl import PAPER_RATE
from ganfix_plugin.features.render import render
from ganfix_plugin.generators.latents import Batch, seed_batches
from ganfix_plugin.labels import ARTIFACT, Labels, Sample
from ganfix_plugin.pictures.palette import brightest, difference, heat, overlay
from ganfix_plugin.pictures.sheet import Band, Row, pictured, save, sheet, side_of
from ganfix_plugin.profiling.store import classifier_path

COLUMNS = 12
PLAIN, DIFFERENCE, LR_HEAT, CAM = "as generated", "difference", "LR heat map", "Grad-CAM"


@dataclass(frozen=True, eq=False)
class Scene:
    """What galleries choose from and look at; each thing is measured when it is first needed."""

    case: Case

    @cached_property
    def learnt(self) -> Learnt:
        """A classifier, unit scores, and the generations held out."""
        return learn(self.case)

    @cached_property
    def labelled(self) -> Labels:
        """Artifacts and normals, by people or by realism."""
        return self.case.labelled(self.case.size("artifacts"))

    @cached_property
    def lr_count(self) -> Score:
        """The LR count at the paper's rate."""
        return lr(self.case.generator, Scoring(PAPER_RATE, samples=self.case.size("latents")))

    @cached_property
    def ranking(self) -> Ranking:
        """Seeds by LR count, the most first."""
        seeds = self.case.seeds
        self.case.say(f"{len(seeds):,} seeds by their active LR-neurons (R = {PAPER_RATE})")
        return Ranking.of(seeds, score_seeds(self.case.generator, self.lr_count, seeds))

    @property
    def conspicuous(self) -> Sequence[Sample]:
        """Labelled artifacts, or else the generations of most active LR-neurons."""
        labels = self.case.labels
        return labels.samples(ARTIFACT) if labels else self.ranking.seeds

    @cached_property
    def cam(self) -> Score:
        """The classifier's, which `learn` keeps in the store."""
        path = classifier_path(self.learnt.head.generator)
        return artifact(self.case.generator, Scoring(classifier=path))


Choice = Callable[[Scene], Sequence[Sample]]


@dataclass(frozen=True)
class Part:
    """Some generations, and the rows in which they are seen.

    Attributes:
        heading: which they are.
        choose: finds them.
        rows: by name, a ``--correct``, in which {learnt.…} are `Learnt`'s, or one of `PLAIN`,
            `DIFFERENCE` (between the first row and the one above), `LR_HEAT` and `CAM`.
        count: how many are shown.
    """

    heading: str
    choose: Choice
    rows: Mapping[str, str]
    count: int = COLUMNS


@dataclass(frozen=True)
class Gallery:
    """A picture of parts, one below the other."""

    title: str
    parts: tuple[Part, ...]


def draw(gallery: Gallery, scene: Scene, name: str = "") -> None:
    """Draw a gallery into the command's picture, or the one of a name."""
    specs: dict[str, str] = {}
    shown = [(part, part.choose(scene)[: part.count]) for part in gallery.parts]
    size = min(side_of(sum(len(samples) * len(part.rows) for part, samples in shown)), 96)
    bands = [band for part, samples in shown for band in _bands(scene, part, samples, specs)]
    measured = [f"{scene.case.size('latents'):,} latents"] if specs else []
    settings = (f"{row}: {spec}" for row, spec in specs.items())
    note = " · ".join([scene.case.name, *measured, *settings])
    save(sheet(gallery.title, note, bands, size), scene.case.picture(name))


def _bands(
    scene: Scene, part: Part, samples: Sequence[Sample], specs: dict[str, str]
) -> list[Band]:
    """Bands of some columns; the specs of corrected rows are noted by name."""
    batches = list(seed_batches(scene.case.generator, samples))
    rows: dict[str, list[Image.Image]] = {}
    for name, way in part.rows.items():
        if way == DIFFERENCE:
            above = list(rows.values())
            rows[name] = [difference(*pair) for pair in zip(above[0], above[-1])]
        elif way in (LR_HEAT, CAM):
            rows[name] = _heated(scene.cam if way == CAM else scene.lr_count, batches, rows[PLAIN])
        else:
            spec = way.format(learnt=scene.learnt) if "{" in way else way
            rows[name] = _images(scene, spec, batches)
            specs |= {} if way == PLAIN else {name: spec}
    captions = [f"seed {sample}" if isinstance(sample, int) else "" for sample in samples]
    bands = []
    for start in range(0, len(samples), COLUMNS):
        columns = slice(start, start + COLUMNS)
        lines = [
            Row(name if len(rows) > 1 else "", "", images[columns]) for name, images in rows.items()
        ]
        heading = "" if start else part.heading
        bands.append(Band(heading, captions[columns], lines))
    return bands


def _images(scene: Scene, spec: str, batches: Sequence[Batch]) -> list[Image.Image]:
    """Images as generated, or corrected."""
    case = scene.case

    def rendered(corrected: bool) -> list[Image.Image]:
        images = (pictured(render(case.generator, z, c, corrected)) for z, c in batches)
        return list(chain.from_iterable(images))

    if spec == PLAIN:
        return rendered(corrected=False)
    if spec.startswith("fid-units"):
        scene.learnt.score_by_fid()
    measured = parse_spec(spec).replaced({"samples": str(case.size("latents"))})
    with attach(case.generator, measured):
        return rendered(corrected=True)


def _heated(
    score: Score, batches: Sequence[Batch], images: Sequence[Image.Image]
) -> list[Image.Image]:
    """A score's heat maps laid over images."""
    side = images[0].width
    maps = [values for z, c in batches for values in score.heat(z, c, side).numpy()]
    high = brightest(maps)
    return [overlay(image, heat(values, 0, high)) for image, values in zip(images, maps)]
