"""What `ganfix label` and `ganfix judge` start: the order, the renderer and the pages of a task."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from torch import Tensor

from ganfix_plugin.api import attach
from ganfix_plugin.artifacts.ranking import score_seeds
from ganfix_plugin.artifacts.scores import Scoring, unrendered
from ganfix_plugin.correctors.bind import BoundSpec
from ganfix_plugin.errors import GanfixError
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import fitting_batch, seed_batches
from ganfix_plugin.labels import ARTIFACT, Labels, merge, read, stored_path
from ganfix_plugin.profiling.unit_means import Reader, read_batches
from ganfix_plugin.web.answers import UNCORRECTED, Answers
from ganfix_plugin.web.criteria import Criterion
from ganfix_plugin.web.guard import Guard
from ganfix_plugin.web.judging import add_judging
from ganfix_plugin.web.labelling import Task, add_labelling, waiting
from ganfix_plugin.web.order import Learner, Queue, from_both_ends, shuffled
from ganfix_plugin.web.renderer import Picture, Renderer, drawing
from ganfix_plugin.web.server import Place, invite, new_app, serve

log = logging.getLogger("ganfix")
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
    """The score of each seed: by the probe, if there is one, or the LR count, counted once and kept
    with the answers."""
    seeds, score = range(num), unrendered(generator, Scoring(samples=samples))
    kept = answers.lr_counts(samples, seeds) if score.name == "lr" else None
    if kept is None:
        log.info("scoring %d generations by %s", num, score.how)
        kept = score_seeds(generator, score, seeds).tolist()
        if score.name == "lr":
            answers.keep_lr_counts(samples, dict(zip(seeds, kept)))
    return kept


def _learner(
    generator: Generator, answers: Answers, renderer: Renderer[Picture], queue: Queue
) -> Learner:
    """What learns from the answers, and from the labels that the store has."""
    reader = Reader.of(generator, generator.layers[:3])
    path = stored_path(generator.fingerprint)
    stored = [read(path)] if path.exists() else []

    def look(seeds: Sequence[int]) -> Tensor:
        batches = seed_batches(generator, seeds)
        return renderer.idle(lambda: read_batches(generator, reader, batches).means)

    def labels() -> Labels:
        return merge([*stored, answers.labels()])

    return Learner(queue, look, labels, fitting_batch(reader.layers, generator.device))
