"""What `ganfix label`, `judge` and `explore` start: an order, the renderer and their pages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

from torch import Tensor

from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.ranking import score_seeds
from ganfix_plugin.artifacts.scores import Score, Scoring, counts_are_there, unrendered
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import measuring_batch, seed_batches
from ganfix_plugin.labels import ARTIFACT, Labels, merge, read, stored_path
from ganfix_plugin.profiling.unit_means import Reader, read_batches
from ganfix_plugin.web.answers import UNCORRECTED, Answers
from ganfix_plugin.web.criteria import Criterion
from ganfix_plugin.web.exploring import Exploration, add_exploring
from ganfix_plugin.web.guard import Guard
from ganfix_plugin.web.judging import add_judging
from ganfix_plugin.web.labelling import Task, add_labelling, waiting
from ganfix_plugin.web.order import Learner, Queue, from_both_ends, shuffled
from ganfix_plugin.web.population import Population
from ganfix_plugin.web.renderer import Picture, Renderer, drawing
from ganfix_plugin.web.server import Place, invite, new_app, serve
from ganfix_plugin.web.studio import Studio

log = logging.getLogger("ganfix")
SHOT_BYTES = 48 * 2**20  # of images that were looked at, kept for going back to them
INFORMATIVE, RANDOM = "informative", "random"


def label(
    generator: Generator,
    answers: Answers,
    place: Place,
    raters: Sequence[str],
    *,
    num: int,
    order: str = INFORMATIVE,
    criteria: tuple[Criterion, ...] = (),
    samples: int | None = None,
) -> None:
    """Serve the labelling page until the process is interrupted."""
    renderer = Renderer(drawing(generator))
    if order == RANDOM:
        queue = Queue(shuffled(range(num), "order"))
    else:
        queue = Queue(from_both_ends(range(num), _scores(generator, answers, num, samples)))
    learner = _learner(generator, answers, renderer, queue) if order == INFORMATIVE else None
    task = Task(
        generator=f"{generator.name} {answers.generator[:8]}",
        correction=UNCORRECTED,
        seeds=frozenset(range(num)),
        order=lambda rater: queue.now,
        criteria=criteria,
        answered=learner.changed if learner else lambda: None,
    )
    _open(task, answers, renderer, place, raters)
    if learner:
        threading.Thread(target=learner.run, name="learner", daemon=True).start()
    renderer.run()


def judge(
    generator: Generator,
    answers: Answers,
    place: Place,
    raters: Sequence[str],
    specs: Sequence[BoundSpec],
    seeds: Sequence[int],
    *,
    criteria: tuple[Criterion, ...] = (),
) -> None:
    """Serve the two questions about corrections of some seeds until the process is interrupted.

    First the corrected images alone: artifact or normal? Then each beside its original: which one
    is better? Every rater has an order, and sides, of their own.
    """
    with attach(generator, *specs) as attachment:
        correction = "; ".join(done.text for done in attachment.corrections)
        renderer = Renderer(drawing(generator))
        task = Task(
            generator=f"{generator.name} {answers.generator[:8]}",
            correction=correction,
            seeds=frozenset(seeds),
            order=lambda rater: shuffled(seeds, answers.secret, rater, correction),
            criteria=criteria,
        )
        log.info("%d images, corrected by %s", len(seeds), correction)
        _open(task, answers, renderer, place, raters)
        renderer.run()


def explore(
    generator: Generator,
    answers: Answers,
    place: Place,
    raters: Sequence[str],
    specs: Sequence[BoundSpec],
    *,
    optional: bool,
    num: int,
    scoring: Scoring,
) -> None:
    """Serve the exploring page until the process is interrupted.

    Args:
        specs: corrections to choose from, each by itself; with ``optional``, those of them that
            the generator can have.
        num: seeds to rank; all others can be looked at, too.
        scoring: by what they can be ranked.
    """

    def score_of(name: str) -> Score:
        return population.score_of(name)

    studio = Studio(generator, score_of, scoring.class_index)
    renderer = Renderer(studio.draw, SHOT_BYTES)
    population = Population(studio, renderer, answers, scoring, num)
    # What is needed is measured here, where people see how far it is, and not while they look.
    suitable = tuple(_ready(studio, specs, optional))
    exploration = Exploration(studio, suitable, population, unrendered(generator, scoring).name)
    guard = Guard(raters, place.address)
    app = new_app(guard, {"": "explore.html"})
    add_exploring(app, exploration, answers, renderer)
    serve(app, place, len(raters))
    for line in invite(guard, place):
        print(line, flush=True)
    population.scored(exploration.by)
    if counts_are_there(generator, scoring):
        population.scored("lr")
    renderer.run()


def _ready(studio: Studio, specs: Sequence[BoundSpec], optional: bool) -> Iterator[BoundSpec]:
    """The corrections that the generator can have; one that it cannot is an error, unless nobody
    asked for it."""
    for spec in specs:
        try:
            studio.correction(spec)
            yield spec
        except GanfixError as error:
            if not optional:
                raise
            log.info("left out: %s", error)


def artifacts(answers: Answers, labels: Labels | None, most: int) -> list[int]:
    """The seeds to correct: those labelled artifact, by a file or in the answers; a choice of them
    where they are more than ``most``.

    Raises:
        GanfixError: if there are none.
    """
    seeds = (labels or answers.labels()).seeds(ARTIFACT)
    if not seeds:
        raise GanfixError(
            f"answers {answers.path}: nothing is labelled artifact there; run ganfix label first, "
            "or give --labels FILE"
        )
    return sorted(shuffled(seeds, answers.secret)[:most])


def _open(
    task: Task, answers: Answers, renderer: Renderer[Picture], place: Place, raters: Sequence[str]
) -> None:
    """Let the raters in, when the image that each of them sees first is ready."""
    guard = Guard(raters, place.address)
    pages = {"": "label.html", "pairs": "judge.html"} if task.correction else {"": "label.html"}
    app = new_app(guard, pages)
    add_labelling(app, task, answers, renderer)
    if task.correction:
        add_judging(app, task, answers, renderer)
    first = [seed for rater in raters for seed in waiting(task, answers, rater)[:1]]
    renderer.prefetch(Picture(seed, bool(task.correction)) for seed in first)
    renderer.run(forever=False)
    serve(app, place, len(raters))
    for line in invite(guard, place):
        print(line, flush=True)


def _scores(generator: Generator, answers: Answers, num: int, samples: int | None) -> list[float]:
    """The score of each seed: by the probe, if there is one, or the LR count; kept with the
    answers."""
    seeds, score = range(num), unrendered(generator, Scoring(samples=samples))
    kept = answers.scores(score.key)
    if new := [seed for seed in seeds if seed not in kept]:
        log.info("scoring %d generations by %s", len(new), score.how)
        values = dict(zip(new, score_seeds(generator, score, new).tolist()))
        answers.keep_scores(score.key, values)
        kept |= values
    return [kept[seed] for seed in seeds]


def _learner(
    generator: Generator, answers: Answers, renderer: Renderer[Picture], queue: Queue
) -> Learner:
    """What learns from the answers, and from the labels that the store has."""
    reader = Reader.of(generator, generator.early)
    path = stored_path(generator.fingerprint)
    stored = [read(path)] if path.exists() else []

    def look(seeds: Sequence[int]) -> Tensor:
        batches = seed_batches(generator, seeds)
        return renderer.idle(lambda: read_batches(generator, reader, batches).means)

    def labels() -> Labels:
        return merge([*stored, answers.labels()])

    return Learner(queue, look, labels, measuring_batch(generator, reader.layers))
